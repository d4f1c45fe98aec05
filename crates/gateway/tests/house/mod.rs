//! A gateway with an identity provider and two scripted crews, in a folder of its own, and a client that writes the
//! bytes it is given.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this module")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod program;
mod wire;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crewgate_audit::{
    AuditStore, Entry, Leaf, Phase, Query, SealKey,
    tlog::{KeyKind, Signer},
    verify,
};
use crewgate_core::{Clock, Fact, RequestId, SystemClock};
use crewgate_gateway::{Gateway, Running, config::Settings};
use crewgate_store::Store;
use crewgate_testkit::{DevIdp, Script, ScriptedCrew};
use serde_json::{Value, json};

pub(crate) use self::{
    program::{Serving, crewgate, crewgate_as, crewgate_in, said},
    wire::{Answer, Wire, request},
};

/// Longest wait for anything; nothing is asserted about how long it really took.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How a house differs from the plain one. The texts are TOML.
#[derive(Default)]
pub(crate) struct Plan {
    /// More keys of `[gateway]`.
    pub(crate) gateway: &'static str,
    /// More keys of the crew `support`, which runs what it is asked to.
    pub(crate) support: &'static str,
    /// More keys of the crew `payroll`, whose kickoffs need a data owner.
    pub(crate) payroll: &'static str,
    /// What a task of `payroll` asks a person.
    pub(crate) payroll_asks: Option<&'static str>,
    /// More tables.
    pub(crate) tables: String,
    /// What `support` does.
    pub(crate) script: Option<Script>,
    /// Where `support` is, when it is not the scripted one.
    pub(crate) support_url: Option<String>,
    /// The PostgreSQL database the store is in, when it is not a file.
    pub(crate) postgres: Option<String>,
}

/// A folder that goes away with its owner.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(format!("crewgate-house-{process}-{count}"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Every byte the database is made of.
    pub(crate) fn database(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for file in fs::read_dir(&self.0).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("crewgate.db") {
                bytes.extend(fs::read(path).unwrap());
            }
        }
        bytes
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open_read_only(self.0.join("crewgate.db")).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What stands around a gateway, and its configuration file.
pub(crate) struct Ground {
    pub(crate) idp: DevIdp,
    pub(crate) support: ScriptedCrew,
    pub(crate) payroll: ScriptedCrew,
    pub(crate) folder: Folder,
    pub(crate) config: PathBuf,
}

impl Ground {
    pub(crate) async fn lay(plan: Plan) -> Self {
        let idp = DevIdp::start().await.unwrap();
        let support = ScriptedCrew::start_with(plan.script.unwrap_or_default()).await.unwrap();
        let script = Script::new().inputs(["employee_id"]).key("org-payroll-7f3a5b1c");
        let script = match plan.payroll_asks {
            Some(question) => script.human_input(question),
            None => script,
        };
        let payroll = ScriptedCrew::start_with(script).await.unwrap();
        let folder = Folder::new();
        folder.write("support.key", support.key());
        folder.write("payroll.key", payroll.key());
        folder.write("policy/crews.cedar", POLICY);
        let url = plan.support_url.unwrap_or_else(|| support.url().to_owned());
        let record = if plan.tables.contains("[record]") { "" } else { RECORD };
        let text = CONFIG
            .replace("{record}", record)
            .replace("{gateway}", plan.gateway)
            .replace("{support}", plan.support)
            .replace("{payroll}", plan.payroll)
            .replace("{tables}", &plan.tables)
            .replace("{idp}", idp.url())
            .replace("{support_url}", &url)
            .replace("{payroll_url}", payroll.url());
        let text = match &plan.postgres {
            None => text,
            Some(url) => {
                let signer = Signer::generate("crewgate/house", KeyKind::Log).unwrap();
                folder.write("signing.key", signer.expose().as_bytes());
                folder.write("seal.key", SealKey::generate().unwrap().expose().as_bytes());
                let record = format!("[record]\n{KEYS}");
                text.replace("sqlite:crewgate.db", url).replacen("[record]\n", &record, 1)
            }
        };
        let config = folder.write("crewgate.toml", text);
        Self { idp, support, payroll, folder, config }
    }

    pub(crate) fn token(&self, subject: &str, groups: &[&str]) -> String {
        self.idp.token().subject(subject).groups(groups.iter().copied()).audience("crewgate").sign()
    }

    /// An analyst.
    pub(crate) fn alice(&self) -> String {
        self.token("alice", &["analysts"])
    }

    /// A data owner.
    pub(crate) fn dora(&self) -> String {
        self.token("dora", &["data-owners"])
    }
}

/// A running gateway on its ground.
pub(crate) struct House {
    pub(crate) ground: Ground,
    pub(crate) running: Running,
}

impl std::ops::Deref for House {
    type Target = Ground;

    fn deref(&self) -> &Ground {
        &self.ground
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with(Plan::default()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        Self::start(Ground::lay(plan).await).await
    }

    pub(crate) async fn start(ground: Ground) -> Self {
        Self::start_at(ground, SystemClock).await
    }

    /// With this clock, by which tokens begin and end too.
    pub(crate) async fn start_at(ground: Ground, clock: impl Clock) -> Self {
        let settings = Settings::load(&ground.config).unwrap_or_else(|error| panic!("{error}"));
        let registry = prometheus::Registry::new();
        let running = Gateway::start_with(settings, registry, Arc::new(clock)).await.unwrap();
        Self { ground, running }
    }

    /// Ends the gateway; its files stay.
    pub(crate) async fn stop(self) -> Ground {
        self.running.stop().await;
        self.ground
    }

    pub(crate) fn data(&self) -> SocketAddr {
        self.running.data()
    }

    /// A call to the data plane.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        call(self.data(), "GET", path, token, None).await
    }

    /// A call to the data plane.
    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        call(self.data(), "POST", path, token, Some(body)).await
    }

    /// A call to the control API.
    pub(crate) async fn control(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        call(self.running.console().unwrap(), method, path, token, body).await
    }

    /// A call to health and metrics.
    pub(crate) async fn ops(&self, path: &str) -> Answer {
        call(self.running.ops().unwrap(), "GET", path, "", None).await
    }

    /// Asks for a run of payroll: the ticket's id.
    pub(crate) async fn ask(&self, token: &str) -> String {
        let body = json!({ "inputs": { "employee_id": "E-2001" } });
        let answer = self.post("/payroll/kickoff", token, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().get("kickoff_id").and_then(Value::as_str).unwrap().to_owned()
    }

    /// Rows that wait for Dora.
    pub(crate) async fn waiting(&self) -> Vec<Value> {
        let list = self.control("GET", "/api/approvals", &self.dora(), None).await;
        list.json().get("waiting").and_then(Value::as_array).unwrap().clone()
    }

    /// The approver's sheet of the one request that waits.
    pub(crate) async fn sheet(&self) -> Value {
        let waiting = self.waiting().await;
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        let id = waiting.first().and_then(|row| row.get("id")).and_then(Value::as_str).unwrap().to_owned();
        let sheet = self.control("GET", &format!("/api/approvals/{id}"), &self.dora(), None).await;
        assert_eq!(sheet.status, 200, "{}", sheet.text());
        sheet.json()
    }

    /// Dora approves the one request that waits.
    pub(crate) async fn approve(&self) -> String {
        let sheet = self.sheet().await;
        let text = |name: &str| sheet.get(name).and_then(Value::as_str).unwrap().to_owned();
        let (id, digest) = (text("id"), text("digest"));
        let yes = json!({ "verdict": "approve", "digest": digest, "reason": "quarterly review" });
        let path = format!("/api/approvals/{id}/decision");
        let answer = self.control("POST", &path, &self.dora(), Some(yes)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        id
    }

    pub(crate) async fn leaves(&self, query: Query) -> Vec<Leaf> {
        self.running.store().leaves(query.limit(5000)).await.unwrap()
    }

    pub(crate) async fn entries(&self, query: Query) -> Vec<Entry> {
        self.leaves(query).await.iter().map(|leaf| leaf.entry().unwrap()).collect()
    }

    /// Runs the program to its end as a reader of the record.
    pub(crate) fn reader(&self, arguments: &[&str], input: &str) -> std::process::Output {
        let (console, token) = (format!("http://{}", self.running.console().unwrap()), self.dora());
        let environment = [("CREWGATE_CONSOLE", console.as_str()), ("CREWGATE_TOKEN", token.as_str())];
        program::crewgate_in(&environment, self.folder.path(), arguments, input)
    }

    /// What the record holds of the call that got this answer, once it is there: for a stranger's nobody waits.
    pub(crate) async fn record(&self, answer: &Answer) -> Vec<Entry> {
        let id: RequestId = answer.header("request-id").unwrap().parse().unwrap();
        until("the record of a call", async || {
            let found = self.entries(Query::request(id)).await;
            (!found.is_empty()).then_some(found)
        })
        .await
    }

    /// The outcomes on the record, once there are as many as this.
    pub(crate) async fn outcomes(&self, count: usize) -> Vec<Entry> {
        until("an outcome on the record", async || {
            let found = self.entries(Query::default().phase(Phase::Outcome)).await;
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

/// One call on a connection of its own. An empty token is none.
pub(crate) async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Answer {
    let mut headers = vec!["connection: close".to_owned()];
    if !token.is_empty() {
        headers.push(format!("authorization: Bearer {token}"));
    }
    let body = body.map(|body| {
        headers.push("content-type: application/json".to_owned());
        body.to_string()
    });
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut wire = Wire::connect(address).await;
    wire.send(&request(method, path, &headers, body.unwrap_or_default().as_bytes())).await;
    wire.answer().await.unwrap_or_else(|| panic!("{method} {path} got no answer"))
}

/// The refusals these entries tell: status and code.
pub(crate) fn refusals(entries: &[Entry]) -> Vec<(u16, String)> {
    let facts = entries.iter().flat_map(|entry| &entry.facts);
    facts
        .filter_map(|fact| match fact {
            Fact::Refused { status, code, .. } => Some((*status, code.clone())),
            _ => None,
        })
        .collect()
}

/// What these entries say about an upstream that gave no answer: the code, and whether bytes may have reached it.
pub(crate) fn unanswered(entries: &[Entry]) -> Vec<(String, bool)> {
    let facts = entries.iter().flat_map(|entry| &entry.facts);
    facts
        .filter_map(|fact| match fact {
            Fact::Unanswered { code, sent } => Some((code.clone(), *sent)),
            _ => None,
        })
        .collect()
}

/// Checks the whole log of a gateway that has ended.
pub(crate) async fn verifies(folder: &Folder) {
    let store = folder.store().await;
    verify(&store, None, |_, _| ()).await.unwrap().unwrap();
    store.close().await;
}

/// Asks again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = tokio::time::Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Data owners read the record, and give up what it holds.
pub(crate) const RECORD: &str = "[record]\nreaders = [\"data-owners\"]\nerasers = [\"data-owners\"]\n";

const CONFIG: &str = r#"[gateway]
listen = "127.0.0.1:0"
{gateway}

[console]
listen = "127.0.0.1:0"

[ops]
listen = "127.0.0.1:0"

[[issuer]]
name = "dev"
url = "{idp}"
audience = ["crewgate"]

[[crew]]
name = "support"
url = "{support_url}"
credential = { file = "support.key" }
inputs.topic = { type = "string" }
{support}

[[crew]]
name = "payroll"
url = "{payroll_url}"
credential = { file = "payroll.key" }
fleet = ["hr"]
inputs.employee_id = { type = "string" }
inputs.note = { type = "text" }
{payroll}

[[role]]
name = "analysts"
groups = ["dev:analysts"]

[[role]]
name = "data-owners"
groups = ["dev:data-owners"]

[[approvers]]
name = "data-owners"
roles = ["data-owners"]
need = 1

[policy]
path = "policy"

[store]
url = "sqlite:crewgate.db"

{record}
{tables}
"#;

const KEYS: &str = r#"signing_keys = [{ file = "signing.key" }]
seal_key = { file = "seal.key" }
"#;

const POLICY: &str = r#"@id("analysts-run-crews")
permit (
  principal in Role::"analysts",
  action in [Action::"inputs", Action::"kickoff", Action::"status", Action::"resume"],
  resource
);

@id("payroll-needs-a-data-owner")
@approval("data-owners")
forbid (principal, action == Action::"kickoff", resource in Fleet::"hr");

@id("payroll-gets-no-secrets")
@mask("secrets")
forbid (principal, action == Action::"kickoff", resource in Fleet::"hr");

@id("answers-are-masked")
@mask("pii-basic")
forbid (principal, action in Action::"read", resource);
"#;
