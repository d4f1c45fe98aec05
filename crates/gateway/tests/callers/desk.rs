//! A caller's desk: settings and logins in a folder of their own, the program, and services that grant tokens.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use crewgate_gateway::config::ClientSettings;
use crewgate_testkit::DevIdp;
use serde_json::{Value, json};

use crate::house::Folder;

/// Variables of the machine that must not decide what a test sees.
const FOREIGN: [&str; 9] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "CREWGATE_CLIENT_CONFIG",
    "CREWGATE_CONFIG",
    "CREWGATE_CONSOLE",
    "CREWGATE_GATEWAY",
    "CREWGATE_PROFILE",
    "CREWGATE_TOKEN",
    "RUST_LOG",
];

/// A caller's desk.
pub(crate) struct Desk {
    folder: Folder,
}

impl Desk {
    /// With this `client.toml`.
    pub(crate) fn new(settings: &str) -> Self {
        let folder = Folder::new();
        folder.write("crewgate/client.toml", settings);
        Self { folder }
    }

    /// At this provider, as the public client `cli`.
    pub(crate) fn at(idp: &DevIdp) -> Self {
        Self::new(&format!("issuer = \"{}\"\nclient_id = \"cli\"\n", idp.url()))
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The login kept for a profile.
    pub(crate) fn login_file(&self, profile: &str) -> PathBuf {
        self.folder.path().join(format!("crewgate/logins/{profile}.json"))
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crewgate"));
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        self.command(arguments, environment).spawn().unwrap()
    }

    /// Runs a command to its end, beside the services of the test.
    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        tokio::task::block_in_place(|| self.command(arguments, environment).output().unwrap())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// Signs somebody in.
    pub(crate) fn sign_in(&self, idp: &DevIdp, subject: &str, groups: &[&str]) -> Output {
        self.login(|code| assert!(idp.approve_device(code, subject, groups), "no device waits for {code}"))
    }

    /// Runs `login` and lets `answer` do what a person does with the code.
    pub(crate) fn login(&self, answer: impl FnOnce(&str)) -> Output {
        tokio::task::block_in_place(|| {
            let mut child = self.spawn(&["login", "--json"], &[]);
            let mut lines = BufReader::new(child.stderr.take().unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            let prompt: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            answer(prompt.get("user_code").and_then(Value::as_str).unwrap());
            let mut output = child.wait_with_output().unwrap();
            lines.read_to_end(&mut output.stderr).unwrap();
            output
        })
    }

    /// Lets this much of the kept token's life go by.
    pub(crate) fn age_login(&self, profile: &str, seconds: i64) {
        let path = self.login_file(profile);
        let mut kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for name in ["from", "ends"] {
            let at = kept.get(name).and_then(Value::as_i64).unwrap();
            kept.as_object_mut().unwrap().insert(name.to_owned(), json!(at - seconds * 1_000_000));
        }
        std::fs::write(&path, kept.to_string()).unwrap();
    }
}

/// How a command ended, with everything it said where it ended otherwise.
pub(crate) fn ended(output: &Output, code: i32) -> String {
    let text =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// The token on standard output, which must hold nothing else.
pub(crate) fn printed(output: &Output) -> String {
    ended(output, 0);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let token = text.strip_suffix('\n').unwrap();
    assert!(!token.contains(char::is_whitespace), "{text:?}");
    token.to_owned()
}

/// Settings from the text of a `client.toml`.
pub(crate) fn settings(text: &str) -> ClientSettings {
    ClientSettings::parse("client.toml".as_ref(), text, None).unwrap_or_else(|error| panic!("{error}"))
}

/// GitHub's token service: an ID token for the audience of the query, for who shows the job's request token.
#[derive(Clone)]
pub(crate) struct TokenService {
    pub(crate) url: String,
    idp: DevIdp,
    /// What it answers instead, when not 200.
    pub(crate) status: Arc<AtomicU16>,
}

impl TokenService {
    pub(crate) async fn start(idp: &DevIdp) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let service = Self { url, idp: idp.clone(), status: Arc::new(AtomicU16::new(200)) };
        let router = Router::new().route("/token", get(Self::answer)).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    async fn answer(
        State(service): State<Self>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
    ) -> (StatusCode, Json<Value>) {
        let status = service.status.load(Ordering::SeqCst);
        if headers.get("authorization").is_none_or(|value| value != "Bearer of-the-job") {
            return (StatusCode::UNAUTHORIZED, Json(json!({ "message": "bad credentials" })));
        }
        if status != 200 {
            return (StatusCode::from_u16(status).unwrap(), Json(json!({ "message": "no" })));
        }
        let field = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(field("api-version"), Some("2.0"));
        let token = service.idp.token().subject("job").audience(field("audience").unwrap()).sign();
        (StatusCode::OK, Json(json!({ "count": 1, "value": token })))
    }
}
