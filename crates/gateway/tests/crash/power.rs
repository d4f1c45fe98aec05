//! The power goes while calls are under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crewgate_audit::{Entry, Phase};
use crewgate_core::{Ending, Fact};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    real::{is, text, until},
    world::{World, sealed, sha256, topic},
};

/// Calls, as many as the promise says.
const CALLS: u32 = 200;
/// Times the power goes.
const KILLS: u32 = 8;

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
        let topic = topic(body);
        let n: u32 = topic.strip_prefix("call ").unwrap().parse().unwrap();
        assert_ne!(n % 4, 3, "{topic} ran and nobody had approved it");
        assert!(n % 4 != 2 || decided.contains(topic.as_str()), "{topic} ran unapproved");
        // Neither an approval nor anything else ran twice.
        assert!(topics.insert(topic), "{} ran twice", String::from_utf8_lossy(body));
    }
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
