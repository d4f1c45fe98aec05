//! A person's browser: one page of a real Chromium.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// A running browser, which has never been anywhere.
pub(crate) struct Chromium {
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What it shows.
#[derive(Debug)]
pub(crate) struct Page {
    /// Status of the answer that brought it.
    pub(crate) status: u64,
    pub(crate) url: String,
    /// What a person can read.
    pub(crate) text: String,
}

impl Chromium {
    pub(crate) fn start(program: &Path) -> Self {
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/chromium.mjs"))
            .env("CREWGATE_REAL_CHROMIUM", program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { asks: child.stdin.take(), answers, child }
    }

    /// Goes there as from the address bar.
    pub(crate) fn open(&mut self, url: &str) {
        self.act(&json!(["open", url]));
    }

    /// Types into the element, once it is there.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.act(&json!(["fill", selector, text]));
    }

    /// Presses the element, once it is there.
    pub(crate) fn press(&mut self, selector: &str) {
        self.act(&json!(["press", selector]));
    }

    /// The page, once it shows this text.
    pub(crate) fn see(&mut self, text: &str) -> Page {
        let page = self.act(&json!(["see", text]));
        let part = |name: &str| page.get(name).and_then(Value::as_str).unwrap().to_owned();
        Page {
            status: page.get("status").and_then(Value::as_u64).unwrap(),
            url: part("url"),
            text: part("text"),
        }
    }

    /// The test goes on when it is done, and ends when it cannot be done.
    fn act(&mut self, action: &Value) -> Value {
        tokio::task::block_in_place(|| {
            let asks = self.asks.as_mut().unwrap();
            writeln!(asks, "{action}").unwrap();
            let mut line = String::new();
            self.answers.read_line(&mut line).unwrap();
            let answer: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{action}: {line:?}: {error}"));
            answer.get("done").unwrap_or_else(|| panic!("{action}: {answer}")).clone()
        })
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its input ends, and so does it, once the browser and its profile are gone.
        self.asks = None;
        let _ = self.child.wait();
    }
}
