//! `kill -9` in the middle of everything: what must hold after the restart. Needs nothing that is not here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crewgate_audit::{AuditStore as _, Entry, Phase, Query};
use crewgate_core::{Clock as _, Ending, Fact, SystemClock};
use crewgate_store::Store;
use crewgate_testkit::{DevIdp, Script, ScriptedCrew};
use futures_util::{StreamExt as _, stream};
use real::{CREW_KEY, Folder, Gateway, Http, is, text, until};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const POLICY: &str = r#"
@id("analysts-run-crews")
permit(principal in Role::"analysts", action, resource);

@id("risky-crews-need-an-owner")
@approval("owners")
forbid(principal, action == Action::"kickoff", resource == Crew::"risky");
"#;

/// Calls, as many as the promise says.
const CALLS: u32 = 200;
/// Times the power goes.
const KILLS: u32 = 8;

fn configuration(issuer: &str, crew: &str) -> String {
    let crews = ["plain", "risky"].map(|name| {
        format!(
            "[[crew]]\nname = \"{name}\"\nurl = \"{crew}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             inputs.topic = {{ type = \"text\" }}\n"
        )
    });
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
         [policy]\npath = \"policy/\"\n[store]\nurl = \"sqlite:crewgate.db\"\n\
         [[issuer]]\nname = \"idp\"\nurl = \"{issuer}\"\naudience = [\"crewgate\"]\ngroups = \"groups\"\n\
         {}[[role]]\nname = \"analysts\"\ngroups = [\"idp:analysts\"]\n\
         [[role]]\nname = \"owner\"\ngroups = [\"idp:owners\"]\n\
         [[approvers]]\nname = \"owners\"\nroles = [\"owner\"]\nneed = 1\n\
         [break_glass]\nroles = [\"analysts\"]\ninstead_of = [\"owners\"]\nreviewers = [\"owners\"]\nfresh = \"1h\"\n",
        crews.concat()
    )
}

/// The world around a gateway that comes and goes.
struct World {
    crew: ScriptedCrew,
    folder: Folder,
    gateway: Mutex<Option<Gateway>>,
    addresses: RwLock<(String, String)>,
    alice: Http,
    bob: Http,
    hanna: Http,
    _idp: DevIdp,
}

impl World {
    async fn new() -> Self {
        let idp = DevIdp::start().await.unwrap();
        let crew = ScriptedCrew::start_with(Script::new().key(CREW_KEY)).await.unwrap();
        let folder = Folder::new(&configuration(idp.url(), crew.url()), POLICY);
        let now = SystemClock.now().as_micros() / 1_000_000;
        let token = |name: &str, group: &str| {
            let token = idp.token().subject(name).groups([group]).audience("crewgate");
            Http::with(token.claim("auth_time", now).sign())
        };
        let (alice, bob, hanna) =
            (token("alice", "analysts"), token("bob", "analysts"), token("hanna", "owners"));
        let world = Self {
            crew,
            folder,
            gateway: Mutex::default(),
            addresses: RwLock::default(),
            alice,
            bob,
            hanna,
            _idp: idp,
        };
        world.start();
        world
    }

    fn start(&self) {
        let gateway = Gateway::start(&self.folder);
        *self.addresses.write().unwrap() = (gateway.data.clone(), gateway.console.clone());
        *self.gateway.lock().unwrap() = Some(gateway);
    }

    fn kill(&self) {
        let gateway = self.gateway.lock().unwrap().take();
        if let Some(gateway) = gateway {
            gateway.kill();
        }
    }

    fn stop(&self) {
        let gateway = self.gateway.lock().unwrap().take();
        assert!(gateway.unwrap().stop().success(), "the gateway did not end well");
    }

    fn data(&self, path: &str) -> String {
        format!("{}{path}", self.addresses.read().unwrap().0)
    }

    fn console(&self, path: &str) -> String {
        format!("{}{path}", self.addresses.read().unwrap().1)
    }

    /// Starts a run once, whatever becomes of it: a kickoff is never sent twice.
    async fn kickoff(&self, crew: &str, topic: &str) -> Result<String, String> {
        let body = json!({ "inputs": { "topic": topic } });
        let answer = self.alice.try_post(&self.data(&format!("/{crew}/kickoff")), &body).await?;
        if answer.status != 200 {
            return Err(format!("{answer:?}"));
        }
        Ok(text(&answer.json(), "kickoff_id").to_owned())
    }

    /// The status, however often the gateway is away.
    async fn status(&self, crew: &str, run: &str) -> Value {
        until("a status", Duration::from_secs(60), async || {
            let answer = self.alice.try_get(&self.data(&format!("/{crew}/status/{run}"))).await.ok()?;
            (answer.status == 200).then(|| answer.json())
        })
        .await
    }

    /// The approval of this run, however often the gateway is away.
    async fn approval(&self, run: &str) -> Value {
        until("the approval", Duration::from_secs(60), async || {
            let answer = self.hanna.try_get(&self.console("/api/approvals")).await.ok()?;
            let list = (answer.status == 200).then(|| answer.json())?;
            real::waiting(&list).into_iter().find(|row| text(row, "run") == run)
        })
        .await
    }

    /// Says yes until the gateway has understood: that it was said, or that it is too late.
    async fn approve(&self, run: &str) {
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

    /// The whole record, read from the file.
    async fn record(&self) -> Vec<Entry> {
        entries(&self.folder.file("crewgate.db")).await
    }

    /// Bodies of the kickoffs CrewAI received.
    fn received(&self) -> Vec<Vec<u8>> {
        self.crew.kickoffs().into_iter().map(|kickoff| kickoff.body.to_vec()).collect()
    }
}

async fn entries(database: &Path) -> Vec<Entry> {
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

fn sealed(entry: &Entry) -> Option<&str> {
    entry.facts.iter().find_map(|fact| match fact {
        Fact::Sealed { sha256, .. } => Some(sha256.as_str()),
        _ => None,
    })
}

/// Whether this subject called. A release has no caller of its own: it is part of the request that asked.
fn belongs_to(entry: &Entry, record: &[Entry], subject: &str) -> bool {
    let asked = entry.facts.iter().find_map(|fact| match fact {
        Fact::PartOf { request } => Some(*request),
        _ => None,
    });
    let of_it = |other: &&Entry| asked.is_some_and(|asked| other.request == asked);
    let mut principals = record.iter().filter(of_it).chain([entry]).filter_map(Entry::principal);
    principals.any(|principal| principal.to_string().contains(subject))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number below `bound`, different every time.
fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(std::time::Instant::now()) % bound
}

async fn pause(at_most: u64) {
    tokio::time::sleep(Duration::from_millis(random(at_most))).await;
}

/// What the callers know when all is over.
#[derive(Default)]
struct Known {
    /// Tickets nobody decided.
    undecided: Mutex<Vec<String>>,
    /// Tickets that were approved, and the topic of each.
    approved: Mutex<Vec<(String, String)>>,
    failed: AtomicU32,
    hung_up: AtomicU32,
}

async fn call(world: &World, known: &Known, n: u32) {
    let topic = format!("call {n}");
    match n % 4 {
        0 => match world.kickoff("plain", &topic).await {
            Ok(run) => drop(world.status("plain", &run).await),
            Err(_) => drop(known.failed.fetch_add(1, Ordering::Relaxed)),
        },
        1 => {
            hang_up(world, &topic).await;
            known.hung_up.fetch_add(1, Ordering::Relaxed);
        }
        2 => match world.kickoff("risky", &topic).await {
            Ok(run) => {
                world.approve(&run).await;
                // The claim, and perhaps the end of the run.
                world.status("risky", &run).await;
                known.approved.lock().unwrap().push((run, topic));
            }
            Err(_) => drop(known.failed.fetch_add(1, Ordering::Relaxed)),
        },
        _ => match world.kickoff("risky", &topic).await {
            Ok(run) => known.undecided.lock().unwrap().push(run),
            Err(_) => drop(known.failed.fetch_add(1, Ordering::Relaxed)),
        },
    }
}

/// Sends a kickoff and is gone before, while or after it is answered.
async fn hang_up(world: &World, topic: &str) {
    let base = world.data("");
    let Some(host) = base.strip_prefix("http://") else { return };
    let Ok(mut stream) = TcpStream::connect(host).await else { return };
    let body = json!({ "inputs": { "topic": topic } }).to_string();
    let head = format!(
        "POST /plain/kickoff HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        world.alice.bearer(),
        body.len()
    );
    if stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok() {
        pause(60).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_nothing_left_unrecorded_nothing_ran_twice_and_what_waited_waits() {
    let world = Arc::new(World::new().await);
    world.crew.set_delay(Duration::from_millis(20));
    let known = Known::default();
    let running = Arc::new(AtomicBool::new(true));
    let power = tokio::spawn({
        let (world, running) = (Arc::clone(&world), Arc::clone(&running));
        async move {
            let mut kills = 0;
            while kills < KILLS && running.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(150 + random(500))).await;
                world.kill();
                kills += 1;
                tokio::task::block_in_place(|| world.start());
            }
            kills
        }
    });
    // Ten callers at a time.
    stream::iter(0..CALLS)
        .for_each_concurrent(10, async |n| {
            pause(150).await;
            call(&world, &known, n).await;
        })
        .await;
    running.store(false, Ordering::Relaxed);
    let kills = power.await.unwrap();
    let failed = known.failed.load(Ordering::Relaxed);
    eprintln!(
        "{kills} kills; {failed} calls cut off, {} hung up, {} approved, {} undecided, {} received by CrewAI",
        known.hung_up.load(Ordering::Relaxed),
        known.approved.lock().unwrap().len(),
        known.undecided.lock().unwrap().len(),
        world.received().len(),
    );
    // The fault was real: the power went while calls were under way.
    assert!(kills >= 3 && failed > 0, "{kills} kills cut off {failed} calls: this run proved nothing");

    // Once more, and every approved ticket is claimed again and again, also those that were being sent.
    world.kill();
    world.start();
    let approved = known.approved.lock().unwrap().clone();
    for _ in 0..3 {
        for (run, _) in &approved {
            world.status("risky", run).await;
        }
    }
    // What waited for a person still waits.
    let undecided = known.undecided.lock().unwrap().clone();
    for run in &undecided {
        let status = world.status("risky", run).await;
        assert!(is(&status, "PENDING") && text(&status, "status").contains("owners"), "{status}");
        // And is still put before those who may decide: only what is pending is listed.
        world.approval(run).await;
    }
    world.stop();

    let received = world.received();
    let record = world.record().await;
    let intents: BTreeMap<&str, &Entry> = record
        .iter()
        .filter(|entry| entry.phase == Phase::Intent)
        .filter_map(|entry| Some((sealed(entry)?, entry)))
        .collect();
    let decided: BTreeSet<&str> = approved.iter().map(|(_, topic)| topic.as_str()).collect();
    let mut topics = BTreeSet::new();
    for body in &received {
        let digest = sha256(body);
        let intent = intents.get(digest.as_str());
        let intent = intent.unwrap_or_else(|| panic!("no intent for {}", String::from_utf8_lossy(body)));
        assert!(belongs_to(intent, &record, "alice"), "{intent:#?}");
        let sent: Value = serde_json::from_slice(body).unwrap();
        let topic = text(sent.get("inputs").unwrap(), "topic").to_owned();
        let n: u32 = topic.strip_prefix("call ").unwrap().parse().unwrap();
        assert_ne!(n % 4, 3, "{topic} ran and nobody had approved it");
        assert!(n % 4 != 2 || decided.contains(topic.as_str()), "{topic} ran unapproved");
        // Neither an approval nor anything else ran twice.
        assert!(topics.insert(topic), "{} ran twice", String::from_utf8_lossy(body));
    }
    world.folder.ask(&["audit", "verify"]);
}

/// Where the approvals of these runs stand, for who asked for them.
async fn states(world: &World) -> BTreeMap<String, String> {
    let list = world.alice.get(&world.console("/api/approvals")).await.expect(200).json();
    let own = list.get("own").and_then(Value::as_array).unwrap().clone();
    let state = |row: &Value| text(row.get("state").unwrap(), "name").to_owned();
    own.iter().map(|row| (text(row, "run").to_owned(), state(row))).collect()
}

/// How often CrewAI received a kickoff of this topic: its own counter.
fn sent(world: &World, topic: &str) -> usize {
    world
        .received()
        .iter()
        .filter(|body| String::from_utf8_lossy(body).contains(&format!("\"{topic}\"")))
        .count()
}

/// One approval for each state it can be left in, and the power goes while all of them are. I1 to I7 are those of
/// `docs/approval.md`.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_state_changes_no_state_and_sends_nothing_again() {
    let world = World::new().await;
    let ask = async |topic: &str| world.kickoff("risky", topic).await.unwrap();
    let act = async |who: &Http, run: &str, what: &str, body: Value| {
        let list = world.alice.get(&world.console("/api/approvals")).await.expect(200).json();
        let own = list.get("own").and_then(Value::as_array).unwrap().clone();
        let row = own.into_iter().find(|row| text(row, "run") == run).unwrap();
        let path = world.console(&format!("/api/approvals/{}", text(&row, "id")));
        let digest = text(&who.get(&path).await.expect(200).json(), "digest").to_owned();
        let mut body = body;
        if let Some(body) = body.as_object_mut() {
            body.insert("digest".to_owned(), json!(digest));
        }
        who.post(&format!("{path}/{what}"), &body).await.expect(200);
    };
    let (yes, no) = (json!({ "verdict": "approve" }), json!({ "verdict": "deny", "reason": "no" }));
    let pending = ask("pending").await;
    let denied = ask("denied").await;
    act(&world.hanna, &denied, "decision", no).await;
    let approved = ask("approved").await;
    act(&world.hanna, &approved, "decision", yes.clone()).await;
    let executed = ask("executed").await;
    act(&world.hanna, &executed, "decision", yes.clone()).await;
    until("the run", Duration::from_secs(30), async || {
        is(&world.status("risky", &executed).await, "SUCCESS").then_some(())
    })
    .await;
    let broken = ask("broken").await;
    let reason = json!({ "reason": "production is down and nobody answers" });
    act(&world.alice, &broken, "break-glass", reason).await;
    until("the broken glass", Duration::from_secs(30), async || (sent(&world, "broken") == 1).then_some(()))
        .await;
    until("its end", Duration::from_secs(30), async || {
        is(&world.status("risky", &broken).await, "SUCCESS").then_some(())
    })
    .await;
    // The last one is with CrewAI, which does not answer.
    let executing = ask("executing").await;
    act(&world.hanna, &executing, "decision", yes).await;
    world.crew.set_delay(Duration::from_secs(600));
    world.status("risky", &executing).await;
    until("the call", Duration::from_secs(30), async || (sent(&world, "executing") == 1).then_some(())).await;
    let before = states(&world).await;
    let name = |states: &BTreeMap<String, String>, run: &str| states.get(run).cloned().unwrap_or_default();
    assert_eq!(name(&before, &executing), "executing", "{before:?}");

    // Twice: what a restart does must stand the next one.
    for _ in 0..2 {
        world.kill();
        world.crew.set_delay(Duration::ZERO);
        world.start();
        let after = states(&world).await;
        // I5, I7: nothing moved, except that nobody knows what became of what was with CrewAI.
        for (run, expected) in [
            (&pending, "pending"),
            (&denied, "denied"),
            (&approved, "approved"),
            (&executed, "executed"),
            (&broken, "executed"),
            (&executing, "indeterminate"),
        ] {
            assert_eq!(name(&after, run), expected, "{after:?}");
        }
    }
    // It is still to be reviewed, and what waits is still put before who decides.
    let list = world.hanna.get(&world.console("/api/approvals")).await.expect(200).json();
    assert_eq!(list.get("review").and_then(Value::as_array).map(Vec::len), Some(1), "{list}");
    world.approval(&pending).await;
    // I1, I4: whoever comes back starts what was approved, once, and nothing else.
    for _ in 0..3 {
        for run in [&pending, &denied, &approved, &executed, &broken, &executing] {
            world.status("risky", run).await;
        }
    }
    until("the approved one", Duration::from_secs(30), async || {
        (sent(&world, "approved") == 1).then_some(())
    })
    .await;
    world.stop();
    for (topic, times) in
        [("pending", 0), ("denied", 0), ("approved", 1), ("executed", 1), ("broken", 1), ("executing", 1)]
    {
        assert_eq!(sent(&world, topic), times, "{topic}");
    }
    // I2, I6: every body CrewAI received is that of an intent on the record, which carries out an approval.
    let record = world.record().await;
    let intents = record.iter().filter(|entry| entry.phase == Phase::Intent && entry.release().is_some());
    let intents: BTreeSet<&str> = intents.filter_map(sealed).collect();
    for body in world.received() {
        assert!(intents.contains(sha256(&body).as_str()), "{}", String::from_utf8_lossy(&body));
    }
    // I3: each was agreed to by somebody else, but the one that says it was not.
    let told = |kind: &str| record.iter().filter(|entry| entry.kind().as_deref() == Some(kind)).count();
    assert_eq!((told("approval.voted"), told("approval.glass_broken")), (4, 1));
    world.folder.ask(&["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kickoff_whose_caller_hung_up_keeps_its_owner_and_its_outcome() {
    let world = World::new().await;
    // Long after she has hung up, on a busy machine too.
    world.crew.set_delay(Duration::from_secs(2));
    let base = world.data("");
    let host = base.strip_prefix("http://").unwrap();
    let body = json!({ "inputs": { "topic": "gone" } }).to_string();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /plain/kickoff HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        world.alice.bearer(),
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    until("CrewAI to receive it", Duration::from_secs(10), async || world.received().pop()).await;
    drop(stream);

    // She was never told the id, but the run is hers.
    let id = until("the run on the ledger", Duration::from_secs(20), async || {
        let list = world.alice.get(&world.console("/api/runs")).await.expect(200).json();
        let run = list.get("runs").and_then(|runs| runs.get(0)).cloned()?;
        run.get("started").and_then(Value::as_bool).unwrap().then(|| text(&run, "id").to_owned())
    })
    .await;
    let status = world.status("plain", &id).await;
    assert!(!is(&status, "PENDING") && !is(&status, "NOT FOUND"), "{status}");
    let stranger = world.bob.get(&world.data(&format!("/plain/status/{id}"))).await;
    assert_eq!(stranger.status, 404, "{stranger:?}");
    world.stop();
    let record = world.record().await;
    let outcome = record.iter().find(|entry| {
        entry.phase == Phase::Outcome
            && entry.run.is_some_and(|run| run.to_string() == id)
            && sealed(entry).is_some()
    });
    let outcome = outcome.unwrap_or_else(|| panic!("no outcome of {id}: {record:#?}"));
    let how = outcome.facts.iter().find_map(|fact| match fact {
        Fact::Ended { how, .. } => Some(*how),
        _ => None,
    });
    // It was read for the record, to its end.
    assert_eq!(how, Some(Ending::Unheard), "{outcome:#?}");
    assert!(
        outcome.principal().is_some_and(|principal| principal.to_string().contains("alice")),
        "{outcome:#?}"
    );
}
