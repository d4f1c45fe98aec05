//! The real CrewAI server.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Http, free_port, until};

/// CrewAI's own key for all of its deployments: only the gateway may know it.
pub(crate) const CREW_KEY: &str = "org-5b1c0d9e7f3a";

/// What the synthetic records hold and no caller may see.
pub(crate) const ORIGINAL: [&str; 9] = [
    "maria.keller@example.com",
    "DE89370400440532013000",
    "+49 30 901820",
    "jonas.weber@example.org",
    "aylin.demir@example.com",
    "536-90-4399",
    "4111 1111 1111 1111",
    "5500 0055 5555 5559",
    "219-09-9999",
];

/// Runs a program until our end of the pipe closes, then removes its files. A server that several tests share is
/// never dropped, but it must not outlive them, however they end.
const LEASH: &str = r#""$@" & cat >/dev/null; kill $!; wait $!; rm -rf "$CREWAI_STORAGE_DIR""#;

/// A running server.
pub(crate) struct CrewServer {
    child: Child,
    pub(crate) port: u16,
}

impl CrewServer {
    /// Starts it and waits until it answers; `options` are environment variables of `app.py`.
    pub(crate) async fn start(python: &Path, app: &Path, options: &[(&str, &str)]) -> Self {
        let port = free_port();
        // Flow state and task outputs of its own: two servers must not share CrewAI's files.
        let storage = std::env::temp_dir().join(format!("crewgate-crewai-{}-{port}", std::process::id()));
        let child = Command::new("sh")
            .args(["-c", LEASH, "sh"])
            .args([python, app])
            .args(["--port", &port.to_string()])
            .env("AMP_TOKEN", CREW_KEY)
            .env("LLM_DELAY_MS", "0")
            .env("CREWAI_STORAGE_DIR", storage)
            .envs(options.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        let http = Http::with(CREW_KEY);
        let url = format!("http://127.0.0.1:{port}/inputs");
        until("the CrewAI server", Duration::from_secs(180), async || {
            http.try_get(&url).await.ok().filter(|answer| answer.status == 200)
        })
        .await;
        server
    }
}

impl Drop for CrewServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
