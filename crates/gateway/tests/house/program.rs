//! The `crewgate` program itself.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// Runs the program to its end.
pub(crate) fn crewgate(folder: &Path, arguments: &[&str], input: &str) -> Output {
    crewgate_in(&[], folder, arguments, input)
}

/// As [`crewgate`], with this token of a person's own.
pub(crate) fn crewgate_as(token: Option<&str>, folder: &Path, arguments: &[&str], input: &str) -> Output {
    let token = token.map(|token| ("CREWGATE_TOKEN", token));
    crewgate_in(token.as_slice(), folder, arguments, input)
}

/// As [`crewgate`], in this environment.
pub(crate) fn crewgate_in(
    environment: &[(&str, &str)],
    folder: &Path,
    arguments: &[&str],
    input: &str,
) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crewgate"))
        .args(arguments)
        .current_dir(folder)
        .env("SUPPORT_CREW_TOKEN", "org-5b1c0d9e7f3a")
        .envs(environment.iter().copied())
        .env_remove("CREWGATE_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What the program said, on both streams.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The program, serving.
pub(crate) struct Serving {
    child: Child,
    ready: Value,
}

impl Serving {
    /// Starts it, and waits for the line with its addresses.
    pub(crate) fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_crewgate"))
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = line.strip_prefix("crewgate ready ").unwrap_or_else(|| panic!("it said {line:?}"));
        let ready = serde_json::from_str(ready).unwrap();
        Self { child, ready }
    }

    /// `data`, `console` or `ops`.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.ready.get(name).and_then(Value::as_str).unwrap().parse().unwrap()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After `terminate` it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
