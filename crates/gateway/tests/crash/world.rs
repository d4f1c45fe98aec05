//! A gateway that comes and goes, the people who call it, and the crew behind it, which counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::Path,
    sync::{Mutex, RwLock},
    time::Duration,
};

use ::http::Request;
use crewgate_approval::{Approval, ApprovalStore, Filter, GrantFilter, GrantStore};
use crewgate_audit::{AuditStore as _, Entry, Query};
use crewgate_core::{ApprovalId, Clock as _, Fact, SystemClock};
use crewgate_store::Store;
use crewgate_testkit::{DevIdp, Script, ScriptedCrew};
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::real::{self, Answer, CREW_KEY, Folder, Gateway, Http, text, until};

const POLICY: &str = r#"
@id("analysts-run-crews")
permit(principal in Role::"analysts", action, resource);

@id("risky-crews-need-an-owner")
@approval("owners")
forbid(principal, action == Action::"kickoff", resource)
when { resource == Crew::"risky" || resource == Crew::"absent" };

@id("grave-crews-need-two")
@approval("pairs")
forbid(principal, action == Action::"kickoff", resource == Crew::"grave");

@id("who-is-suspended-starts-nothing")
forbid(principal in Role::"suspended", action == Action::"kickoff", resource);
"#;

/// `approval`: more of what ends when.
fn configuration(issuer: &str, crew: &str, approval: &str) -> String {
    // Nobody listens there.
    let absent = "http://127.0.0.1:1";
    let crews = [("plain", crew), ("risky", crew), ("grave", crew), ("absent", absent)].map(|(name, url)| {
        format!(
            "[[crew]]\nname = \"{name}\"\nurl = \"{url}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             inputs.topic = {{ type = \"text\" }}\n"
        )
    });
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
         [policy]\npath = \"policy/\"\n[store]\nurl = \"sqlite:crewgate.db\"\n\
         [[issuer]]\nname = \"idp\"\nurl = \"{issuer}\"\naudience = [\"crewgate\"]\ngroups = \"groups\"\n\
         {}[[role]]\nname = \"analysts\"\ngroups = [\"idp:analysts\"]\n\
         [[role]]\nname = \"suspended\"\ngroups = [\"idp:suspended\"]\n\
         [[role]]\nname = \"owner\"\ngroups = [\"idp:owners\"]\n\
         [[role]]\nname = \"night\"\ngroups = []\nrequest = {{ approvers = [\"owners\"] }}\n\
         [[approvers]]\nname = \"owners\"\nroles = [\"owner\"]\nneed = 1\n\
         [[approvers]]\nname = \"pairs\"\nroles = [\"owner\"]\nneed = 2\n[approval]\n{approval}\n\
         [break_glass]\nroles = [\"analysts\"]\ninstead_of = [\"owners\"]\nreviewers = [\"owners\"]\nfresh = \"1h\"\n",
        crews.concat()
    )
}

/// The world around a gateway that comes and goes.
pub(crate) struct World {
    pub(crate) crew: ScriptedCrew,
    pub(crate) folder: Folder,
    gateway: Mutex<Option<Gateway>>,
    addresses: RwLock<(String, String)>,
    pub(crate) alice: Http,
    /// Alice, since somebody has thought better of it.
    pub(crate) suspended: Http,
    pub(crate) bob: Http,
    pub(crate) hanna: Http,
    _idp: DevIdp,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With this in `[approval]`.
    pub(crate) async fn with(approval: &str) -> Self {
        let idp = DevIdp::start().await.unwrap();
        let crew = ScriptedCrew::start_with(Script::new().key(CREW_KEY)).await.unwrap();
        let folder = Folder::new(&configuration(idp.url(), crew.url(), approval), POLICY);
        let now = SystemClock.now().as_micros() / 1_000_000;
        let token = |name: &str, groups: &[&str]| {
            let token = idp.token().subject(name).groups(groups.iter().copied()).audience("crewgate");
            Http::with(token.claim("auth_time", now).lifetime(Duration::from_secs(3000)).sign())
        };
        let world = Self {
            alice: token("alice", &["analysts"]),
            suspended: token("alice", &["analysts", "suspended"]),
            bob: token("bob", &["analysts"]),
            hanna: token("hanna", &["owners"]),
            crew,
            folder,
            gateway: Mutex::default(),
            addresses: RwLock::default(),
            _idp: idp,
        };
        world.start();
        world
    }

    pub(crate) fn start(&self) {
        let gateway = Gateway::start(&self.folder);
        *self.addresses.write().unwrap() = (gateway.data.clone(), gateway.console.clone());
        *self.gateway.lock().unwrap() = Some(gateway);
    }

    pub(crate) fn kill(&self) {
        let gateway = self.gateway.lock().unwrap().take();
        if let Some(gateway) = gateway {
            gateway.kill();
        }
    }

    pub(crate) fn stop(&self) {
        let gateway = self.gateway.lock().unwrap().take();
        assert!(gateway.unwrap().stop().success(), "the gateway did not end well");
    }

    pub(crate) fn data(&self, path: &str) -> String {
        format!("{}{path}", self.addresses.read().unwrap().0)
    }

    pub(crate) fn console(&self, path: &str) -> String {
        format!("{}{path}", self.addresses.read().unwrap().1)
    }

    /// Starts a run once, whatever becomes of it: a kickoff is never sent twice.
    pub(crate) async fn kickoff(&self, crew: &str, topic: &str) -> Result<String, String> {
        let body = json!({ "inputs": { "topic": topic } });
        let answer = self.alice.try_post(&self.data(&format!("/{crew}/kickoff")), &body).await?;
        if answer.status != 200 {
            return Err(format!("{answer:?}"));
        }
        Ok(text(&answer.json(), "kickoff_id").to_owned())
    }

    /// The status, however often the gateway is away.
    pub(crate) async fn status(&self, crew: &str, run: &str) -> Value {
        until("a status", Duration::from_secs(60), async || {
            let answer = self.alice.try_get(&self.data(&format!("/{crew}/status/{run}"))).await.ok()?;
            (answer.status == 200).then(|| answer.json())
        })
        .await
    }

    /// The approval of this run, however often the gateway is away.
    pub(crate) async fn approval(&self, run: &str) -> Value {
        until("the approval", Duration::from_secs(60), async || {
            let answer = self.hanna.try_get(&self.console("/api/approvals")).await.ok()?;
            let list = (answer.status == 200).then(|| answer.json())?;
            real::waiting(&list).into_iter().find(|row| text(row, "run") == run)
        })
        .await
    }

    /// Says yes until the gateway has understood: that it was said, or that it is too late.
    pub(crate) async fn approve(&self, run: &str) {
        let row = self.approval(run).await;
        let path = format!("/api/approvals/{}", text(&row, "id"));
        until("a decision", Duration::from_secs(60), async || {
            let sheet = self.hanna.try_get(&self.console(&path)).await.ok()?;
            let yes = json!({ "verdict": "approve", "digest": text(&sheet.json(), "digest") });
            let answer = self.hanna.try_post(&self.console(&format!("{path}/decision")), &yes).await.ok()?;
            matches!(answer.status.as_u16(), 200 | 409).then_some(())
        })
        .await;
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.gateway.lock().unwrap().as_ref().unwrap().id()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.gateway.lock().unwrap().as_mut().is_some_and(Gateway::is_alive)
    }

    /// Does this to the approval with this row, on what was read.
    pub(crate) async fn act(
        &self,
        who: &Http,
        row: &Value,
        what: &str,
        mut body: Value,
    ) -> Result<Answer, String> {
        let path = self.console(&format!("/api/approvals/{}", text(row, "id")));
        if body.is_null() {
            return who.send(Request::post(format!("{path}/{what}")).body(Full::default()).unwrap()).await;
        }
        if let Some(body) =
            body.as_object_mut().filter(|body| !body.contains_key("found") && what != "review")
        {
            let sheet = who.try_get(&path).await?;
            body.insert("digest".to_owned(), json!(text(&sheet.json(), "digest")));
        }
        who.try_post(&format!("{path}/{what}"), &body).await
    }

    /// What Alice asked for: the row of this run, or of this approval where it has none.
    pub(crate) async fn own(&self, run: &str) -> Result<Value, String> {
        let list = self.alice.try_get(&self.console("/api/approvals")).await?.expect(200).json();
        let own = list.get("own").and_then(Value::as_array).unwrap().clone();
        let is_it = |row: &Value| ["run", "id"].iter().any(|key| row.get(key).is_some_and(|id| id == run));
        Ok(own.into_iter().find(is_it).unwrap())
    }

    /// Every approval as it is stored, by the topic of its call.
    pub(crate) async fn stored(&self) -> BTreeMap<String, Approval> {
        let store = Store::open_read_only(&self.folder.file("crewgate.db")).await.unwrap();
        let limit = NonZeroUsize::new(10_000).unwrap();
        let rows =
            ApprovalStore::list(&store, Filter { limit, ..Filter::at(SystemClock.now()) }).await.unwrap();
        store.close().await;
        rows.into_iter().map(|row| (topic(&row.asked.outgoing.body), row)).collect()
    }

    /// The roles that were given, by the approval that gave them.
    pub(crate) async fn given(&self) -> BTreeSet<ApprovalId> {
        let store = Store::open_read_only(&self.folder.file("crewgate.db")).await.unwrap();
        let filter = GrantFilter::at(SystemClock.now());
        let grants = GrantStore::list(&store, filter).await.unwrap();
        store.close().await;
        grants.into_iter().map(|grant| grant.given.approval).collect()
    }

    /// How often CrewAI received a kickoff of this topic: its own counter.
    pub(crate) fn sent(&self, about: &str) -> usize {
        self.received().iter().filter(|body| topic(body) == about).count()
    }

    /// The whole record, read from the file.
    pub(crate) async fn record(&self) -> Vec<Entry> {
        entries(&self.folder.file("crewgate.db")).await
    }

    /// Bodies of the kickoffs CrewAI received.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.crew.kickoffs().into_iter().map(|kickoff| kickoff.body.to_vec()).collect()
    }
}

pub(crate) async fn entries(database: &Path) -> Vec<Entry> {
    let store = Store::open_read_only(database).await.unwrap();
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let leaves = store.leaves(Query { after, limit: 500, ..Query::default() }).await.unwrap();
        let Some(last) = leaves.last() else { return entries };
        after = Some(last.index);
        entries.extend(leaves.iter().map(|leaf| leaf.entry().unwrap()));
    }
}

pub(crate) fn sealed(entry: &Entry) -> Option<&str> {
    entry.facts.iter().find_map(|fact| match fact {
        Fact::Sealed { sha256, .. } => Some(sha256.as_str()),
        _ => None,
    })
}

/// What a kickoff is about, or a request for a role.
pub(crate) fn topic(body: &[u8]) -> String {
    let sent: Value = serde_json::from_slice(body).unwrap();
    match sent.get("inputs") {
        Some(inputs) => text(inputs, "topic").to_owned(),
        None => text(&sent, "reason").to_owned(),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
