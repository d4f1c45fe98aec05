//! Chromium in front of the pages.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// A running browser with one page.
pub(crate) struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    pub(crate) fn start(chromium: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/browser.mjs");
        let mut child = Command::new("node")
            .args(["--experimental-websocket", "--no-warnings", script])
            .arg(chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self { child, commands, answers };
        assert_eq!(browser.answer("its start"), json!("ready"));
        browser
    }

    fn answer(&mut self, to: &str) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{to}: {error}: {line:?}"));
        assert!(answer.get("error").is_none(), "{to}: {answer}");
        answer.get("value").cloned().unwrap_or_default()
    }

    fn command(&mut self, name: &str, what: &str) -> Value {
        let line = json!({ name: what });
        writeln!(self.commands.as_mut().unwrap(), "{line}").unwrap();
        self.answer(what)
    }

    /// Opens a page and gives where it ended up.
    pub(crate) fn open(&mut self, url: &str) -> String {
        self.command("goto", url).as_str().unwrap().to_owned()
    }

    /// Does what leads to another page and gives where that is.
    pub(crate) fn act(&mut self, script: &str) -> String {
        self.command("do", script).as_str().unwrap().to_owned()
    }

    /// The value of an expression on the page.
    pub(crate) fn ask(&mut self, expression: &str) -> Value {
        self.command("ask", expression)
    }

    /// What a person reads.
    pub(crate) fn text(&mut self) -> String {
        self.ask("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Clicks what this selector finds.
    pub(crate) fn click(&mut self, selector: &str) -> String {
        self.act(&format!("document.querySelector({selector:?}).click()"))
    }

    /// Signs in on the provider's two pages.
    pub(crate) fn sign_in(&mut self, name: &str) -> String {
        self.act(&format!(
            "document.querySelector('[name=login]').value = {name:?};\
             document.querySelector('[name=password]').value = 'any';\
             document.querySelector('form').requestSubmit()"
        ));
        self.act("document.querySelector('form').requestSubmit()")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The script ends Chromium when its input ends.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
