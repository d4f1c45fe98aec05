//! The program under test, in a folder of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde_json::Value;

use super::CREW_KEY;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A temporary folder with configuration, policy and database; gone with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(configuration: &str, policy: &str) -> Self {
        let n = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("crewgate-test-{}-{n}", std::process::id()));
        fs::create_dir_all(path.join("policy")).unwrap();
        fs::write(path.join("crewgate.toml"), configuration).unwrap();
        fs::write(path.join("policy/rules.cedar"), policy).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.file("crewgate.toml")
    }

    /// Runs a command of the program to its end.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_crewgate"))
            .args(arguments)
            .current_dir(&self.0)
            .env("CREW_KEY", CREW_KEY)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command with `--config` and `--json`; its answer. The test ends when it fails.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        self.ask_as(&[], arguments)
    }

    /// As [`ask`](Self::ask), in this environment.
    pub(crate) fn ask_as(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Value {
        let config = self.config().display().to_string();
        let output = self.run(&[arguments, &["--config", &config, "--json"]].concat(), environment);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("CREWGATE_KEEP").is_some() {
            eprintln!("kept: {}", self.0.display());
            return;
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `crewgate serve`.
pub(crate) struct Gateway {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) data: String,
    pub(crate) console: String,
    pub(crate) ops: String,
}

impl Gateway {
    /// Starts it and waits for its ready line.
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[])
    }

    /// As [`start`](Self::start), in this environment.
    pub(crate) fn start_with(folder: &Folder, environment: &[(&str, &str)]) -> Self {
        let config = folder.config().display().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_crewgate"))
            .args(["serve", "--config", &config])
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .env("CREW_KEY", CREW_KEY)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, ready) = mpsc::channel();
        read(child.stdout.take().unwrap(), &log, Some(tell));
        read(child.stderr.take().unwrap(), &log, None);
        let Ok(ready) = ready.recv_timeout(Duration::from_secs(60)) else {
            panic!("the gateway did not start:\n{}", log.lock().unwrap());
        };
        let address = |key: &str| format!("http://{}", ready.get(key).and_then(Value::as_str).unwrap());
        Self { data: address("data"), console: address("console"), ops: address("ops"), child, log }
    }

    /// Ends it without a word, as a power cut would: `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// What it wrote to both of its outputs.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

fn read(stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>, ready: Option<mpsc::Sender<Value>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let (Some(ready), Some(json)) = (&ready, line.strip_prefix("crewgate ready ")) {
                let _ = ready.send(serde_json::from_str(json).unwrap());
            }
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("--- the gateway's log ends with\n{}", log.get(from..).unwrap_or_default());
        }
    }
}
