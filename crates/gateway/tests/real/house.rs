//! The whole house: a real provider, a real CrewAI server behind a tap, the gateway between them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    APP, Answer, CREW_KEY, CREWAI, CrewServer, Folder, Gateway, Http, IDP, Idp, ORIGINAL, Tap, parts, until,
};

/// How CrewAI speaks: its documents and its deployments differ in the status body and in the keys of `/resume`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    /// `state` in the status; `execution_id` in `/resume`.
    Live,
    /// The OpenAPI document's status; `executionId` in `/resume`.
    OpenApi,
}

static LIVE: OnceCell<CrewServer> = OnceCell::const_new();
static OPEN_API: OnceCell<CrewServer> = OnceCell::const_new();

/// Who may do what in these tests.
pub(crate) const POLICY: &str = r#"
@id("analysts-run-customer-crews")
permit(principal in Role::"analysts", action, resource in Fleet::"customer");

@id("ci-runs-customer-crews")
permit(
    principal in Role::"ci",
    action in [Action::"inputs", Action::"kickoff", Action::"status"],
    resource in Fleet::"customer"
);

@id("clerks-run-payroll")
permit(principal in Role::"payroll-clerks", action, resource in Fleet::"hr");

@id("analysts-ask-for-restricted-data")
permit(principal in Role::"analysts", action, resource in Fleet::"restricted");

@id("ci-asks-for-restricted-data")
permit(principal in Role::"ci", action, resource in Fleet::"restricted");

@id("former-contractors")
permit(principal in Role::"contractors", action, resource in Fleet::"customer");

@id("clerks-run-salaries")
permit(principal in Role::"payroll-clerks", action, resource == Crew::"salaries");

@id("salaries-need-their-owner")
@approval("data-owners")
forbid(principal, action == Action::"kickoff", resource == Crew::"salaries");

@id("who-started-it-does-not-answer-it")
forbid(principal, action in [Action::"resume", Action::"feedback"], resource == Crew::"salaries")
when { context has is_owner && context.is_owner };

@id("restricted-data-needs-its-owner")
@approval("data-owners")
forbid(principal, action == Action::"kickoff", resource in Fleet::"restricted");

@id("personal-data-is-masked")
@mask("pii-basic")
forbid(principal, action in Action::"read", resource);
"#;

fn configuration(issuer: &str, crews: u16) -> String {
    let crew = |name: &str, path: &str, fleet: &str, more: &str| {
        format!(
            "[[crew]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{crews}{path}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             fleet = [\"{fleet}\"]\n{more}\n"
        )
    };
    let support = "inputs.topic = { type = \"text\" }\ninputs.audience = { type = \"string\" }\n\
                   inputs.customer_id = { type = \"string\", dataset = true }";
    let payroll = "human_input = true\ninputs.audience = { type = \"string\" }\n\
                   inputs.employee_id = { type = \"string\", dataset = true }";
    [
        format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
             [policy]\npath = \"policy/\"\n[store]\nurl = \"sqlite:crewgate.db\"\n\
             [[issuer]]\nname = \"idp\"\nurl = \"{issuer}\"\naudience = [\"crewgate\"]\ngroups = \"groups\"\nskew = \"1s\"\n"
        ),
        crew("root", "", "customer", support),
        crew("support", "/support", "customer", support),
        crew("notes", "/notes", "customer", "inputs.note = { type = \"text\" }"),
        crew("payroll", "/payroll", "hr", payroll),
        crew("salaries", "/payroll", "shared", &format!("runs = \"shared\"\n{payroll}")),
        crew("restricted", "/support", "restricted", support),
        "[[role]]\nname = \"analysts\"\ngroups = [\"idp:analysts\"]\n\
         [[role]]\nname = \"payroll-clerks\"\ngroups = [\"idp:payroll\"]\n\
         [[role]]\nname = \"ci\"\nsubjects = [\"idp:ci-job\"]\n\
         [[role]]\nname = \"hr-data-owner\"\ngroups = [\"idp:hr-data-owners\"]\n\
         [[role]]\nname = \"contractors\"\ngroups = [\"idp:contractors\"]\nuntil = \"2026-01-31\"\n\
         [[approvers]]\nname = \"data-owners\"\nroles = [\"hr-data-owner\"]\nneed = 1\n\
         [record]\nreaders = [\"hr-data-owner\"]\n"
            .to_owned(),
    ]
    .join("\n")
}

/// Everything running.
pub(crate) struct House {
    pub(crate) idp: Idp,
    pub(crate) tap: Tap,
    pub(crate) gateway: Gateway,
    folder: Folder,
    seen: Arc<Mutex<Vec<Answer>>>,
    tokens: Mutex<Vec<String>>,
    /// Of a reader of the record.
    reader: String,
}

/// Somebody with a token. What they see is kept for [`House::close`].
#[derive(Clone)]
pub(crate) struct Caller {
    http: Http,
    data: String,
    seen: Arc<Mutex<Vec<Answer>>>,
}

impl House {
    /// `None` when a real part is missing.
    pub(crate) async fn open(dialect: Dialect) -> Option<Self> {
        Self::with_tokens_of(dialect, 600).await
    }

    /// With tokens that live this many seconds, and a gateway that takes none a second after its end.
    pub(crate) async fn with_tokens_of(dialect: Dialect, lifetime: u32) -> Option<Self> {
        let [python, app, node] = parts([CREWAI, APP, IDP])?;
        let (shared, options) = match dialect {
            Dialect::Live => (&LIVE, [("STATUS_SHAPE", "live"), ("RESUME_FIELDS", "docs")]),
            Dialect::OpenApi => (&OPEN_API, [("STATUS_SHAPE", "openapi"), ("RESUME_FIELDS", "live")]),
        };
        let server = shared.get_or_init(|| CrewServer::start(&python, &app, &options)).await;
        let tap = Tap::before(server.port).await;
        let idp = Idp::start_with(&node, 0, lifetime);
        let folder = Folder::new(&configuration(&idp.issuer, tap.port), POLICY);
        let gateway = Gateway::start(&folder);
        let reader = idp.person("hanna").await;
        let (seen, tokens) = (Arc::default(), Mutex::new(vec![reader.clone()]));
        Some(Self { idp, tap, gateway, folder, seen, tokens, reader })
    }

    pub(crate) async fn person(&self, name: &str) -> Caller {
        self.caller(self.idp.person(name).await)
    }

    pub(crate) async fn job(&self, client: &str) -> Caller {
        self.caller(self.idp.job(client).await)
    }

    pub(crate) fn caller(&self, token: String) -> Caller {
        self.tokens.lock().unwrap().push(token.clone());
        Caller { http: Http::with(token), data: self.gateway.data.clone(), seen: Arc::clone(&self.seen) }
    }

    pub(crate) fn token_of_person(&self, token: String) -> String {
        self.tokens.lock().unwrap().push(token.clone());
        token
    }

    /// Runs a command of the program.
    pub(crate) fn command(&self, arguments: &[&str], token: &str) -> std::process::Output {
        self.folder.run(arguments, &[("APPROVER_TOKEN", token)])
    }

    /// What the program says of its record.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let reader = [("CREWGATE_CONSOLE", self.gateway.console.as_str()), ("CREWGATE_TOKEN", &self.reader)];
        self.folder.ask_as(&reader, arguments)
    }

    /// Ends the gateway and checks what every test must leave behind: nothing personal and no id of CrewAI's reached
    /// a caller, no caller's token reached CrewAI, CrewAI's key reached nobody, and the record is whole.
    pub(crate) fn close(self) {
        let Self { tap, gateway, folder, seen, tokens, .. } = self;
        let log = gateway.log();
        assert!(gateway.stop().success(), "the gateway did not end well");
        let upstream_ids = tap.upstream_ids();
        let (asked, answered) = (tap.asked(), tap.answered());
        let seen = seen.lock().unwrap();
        let bytes: Vec<String> =
            seen.iter().map(|answer| format!("{:?}\n{}", answer.headers, answer.text())).collect();
        for secret in ORIGINAL.into_iter().chain([CREW_KEY]).chain(upstream_ids.iter().map(String::as_str)) {
            for answer in &bytes {
                assert!(!answer.contains(secret), "a caller saw {secret}: {answer}");
            }
        }
        for token in tokens.lock().unwrap().iter() {
            assert!(!asked.contains(token.as_str()), "CrewAI saw a caller's token");
            assert!(!log.contains(token.as_str()), "the log holds a caller's token");
        }
        assert!(!log.contains(CREW_KEY), "the log holds CrewAI's key");
        let requests = asked.matches(" HTTP/1.1\r\n").count();
        let keys =
            asked.to_ascii_lowercase().matches(&format!("authorization: bearer {CREW_KEY}\r\n")).count();
        assert_eq!(requests, keys, "not every request to CrewAI carried its key, or one carried it twice");
        assert!(
            upstream_ids.is_empty()
                || ORIGINAL.iter().any(|secret| answered.contains(secret))
                || tap.kickoffs() == 0,
            "CrewAI answered nothing personal: these tests would prove nothing"
        );
        drop(seen);
        folder.ask(&["audit", "verify"]);
    }
}

impl Caller {
    fn keep(&self, answer: Answer) -> Answer {
        self.seen.lock().unwrap().push(answer.clone());
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.keep(self.http.get(&format!("{}{path}", self.data)).await)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.keep(self.http.post(&format!("{}{path}", self.data), body).await)
    }

    /// Starts a run; its id.
    pub(crate) async fn kickoff(&self, crew: &str, inputs: &Value) -> String {
        let answer = self.post(&format!("/{crew}/kickoff"), &json!({ "inputs": inputs })).await.expect(200);
        answer.json().get("kickoff_id").and_then(Value::as_str).unwrap().to_owned()
    }

    pub(crate) async fn status(&self, crew: &str, run: &str) -> Value {
        self.get(&format!("/{crew}/status/{run}")).await.expect(200).json()
    }

    /// Asks for the status until `enough` says so.
    pub(crate) async fn poll(&self, crew: &str, run: &str, enough: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{crew}/{run}"), Duration::from_secs(60), async || {
            Some(self.status(crew, run).await).filter(|status| enough(status))
        })
        .await
    }

    /// Asks for the status until the run has ended well.
    pub(crate) async fn result(&self, crew: &str, run: &str) -> Value {
        let status = self.poll(crew, run, |status| is(status, "SUCCESS") || is(status, "FAILED")).await;
        assert!(is(&status, "SUCCESS"), "{status}");
        status
    }
}

/// Whether the live status has this state.
pub(crate) fn is(status: &Value, state: &str) -> bool {
    text(status, "state") == state
}

/// A member that is text, or nothing.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Inputs of the support crew about the first customer.
pub(crate) fn churn() -> Value {
    json!({ "topic": "churn", "audience": "sales", "customer_id": "C-1001" })
}
