use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::json;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// Prints a value as JSON, or through its text form.
    pub(super) fn print<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let line = if self.json {
            serde_json::to_string_pretty(value).map_err(|error| Failure::no(error.to_string()))?
        } else {
            text(value)
        };
        // A reader that closes the pipe early (`| head`) has what it wanted.
        match writeln!(io::stdout(), "{line}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::unavailable(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The answer is no.
    pub(super) fn no(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The command line or the configuration is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Something needed is not there.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    pub(super) fn report(&self, output: Output) -> ExitCode {
        let line = if output.json {
            json!({ "error": self.message, "exit": self.code }).to_string()
        } else if self.message.starts_with("error: ") {
            self.message.clone()
        } else {
            format!("error: {}", self.message)
        };
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
