//! A person's desk: the program's settings and logins, in a folder of their own.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use super::Folder;

/// Settings of the public client `cli` of a real provider.
pub(crate) struct Desk(Folder);

/// A login that waits for a person.
pub(crate) struct Login {
    child: Child,
    /// What the person is told.
    pub(crate) prompt: Value,
}

impl Desk {
    pub(crate) fn new(gateway: &str, issuer: &str) -> Self {
        let folder = Folder::new("", "");
        let settings = format!(
            "gateway = \"{gateway}\"\nissuer = \"{issuer}\"\nclient_id = \"cli\"\n\
             scopes = [\"openid\", \"offline_access\", \"crews\"]\nresource = \"urn:crewgate\"\n"
        );
        std::fs::create_dir_all(folder.file("crewgate")).unwrap();
        std::fs::write(folder.file("crewgate/client.toml"), settings).unwrap();
        Self(folder)
    }

    /// Where the login is kept.
    pub(crate) fn login_file(&self) -> PathBuf {
        self.0.file("crewgate/logins/default.json")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crewgate"));
        command.args(arguments).env("XDG_CONFIG_HOME", self.0.file("")).env_remove("CREWGATE_CLIENT_CONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Begins to sign somebody in with a code.
    pub(crate) fn login(&self) -> Login {
        let mut child = self.command(&["login", "--json"]).spawn().unwrap();
        let mut prompt = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut prompt).unwrap();
        let prompt = serde_json::from_str(&prompt).unwrap_or_else(|error| panic!("{error}: {prompt:?}"));
        Login { child, prompt }
    }
}

impl Login {
    /// How it ended.
    pub(crate) async fn end(self) -> Output {
        tokio::task::spawn_blocking(move || self.child.wait_with_output()).await.unwrap().unwrap()
    }
}
