//! A process that is killed in the middle of writing, and a disk that stops taking bytes.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crewgate_audit::{AuditError, AuditStore, Lane, Log, Phase, tlog::SignedCheckpoint, verify};
use crewgate_store::{Options, Store};
use support::{Dir, entry, verified};

/// Tells this test binary, started again as a child, which database to write to.
const DATABASE: &str = "CREWGATE_CRASH_DATABASE";

/// This test binary again, running only this one of its ignored tests.
fn child(test: &str, database: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(DATABASE, database)
        .stdout(Stdio::piped());
    command
}

/// Kills at random, unless `CREWGATE_KILLS` says how many: a few hundred milliseconds each.
const KILLS: u32 = 20;

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let kills = std::env::var("CREWGATE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let dir = Dir::new();
    let (mut acknowledged, mut told) = (0_usize, Vec::new());
    for _ in 0..kills {
        let mut writer = child("a_child_writes_until_it_is_killed", &dir.db(), "").spawn().unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // After another number of acknowledgements each time, and a moment later, while 16 more are on their way.
        let (enough, moment) = (1 + random(60), Duration::from_micros(random(3_000)));
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            seen += u64::from(line.starts_with("ack "));
            if line.starts_with("ack ") || line.starts_with("signed ") {
                told.push(line);
            }
            if seen == enough {
                std::thread::sleep(moment);
                writer.kill().unwrap();
            }
        }
        let status = writer.wait().unwrap();
        assert!(!status.success() && seen >= enough, "it was not killed: {status}, {seen} acknowledged");
        acknowledged += usize::try_from(seen).unwrap();
    }
    // Every checkpoint that was seen must be a beginning of the log; of many, twenty from first to last.
    let signed = told.iter().filter(|line| line.starts_with("signed ")).count();
    let (mut nth, every) = (0, signed.div_ceil(20).max(1));
    told.retain(|line| {
        nth += usize::from(line.starts_with("signed "));
        line.starts_with("ack ") || nth % every == 0
    });
    nothing_is_lost_or_contradicted(&dir, &told, "killed at random");
    eprintln!("{kills} kills, {acknowledged} acknowledged, {signed} checkpoints seen");
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of another test"]
async fn a_child_writes_until_it_is_killed() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let store = Store::open(database, Options::default().checkpoint_pages(64)).await.unwrap();
    let writers: Vec<_> = (0..16)
        .map(|n: usize| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let (intent, size) = (entry(Phase::Intent, n * 300), n * 500);
                    let request = intent.request;
                    store.append(Lane::Intent, intent).await.unwrap();
                    let seat = store.reserve().await.unwrap();
                    let outcome = crewgate_audit::Entry { request, ..entry(Phase::Outcome, size) };
                    seat.submit(outcome).await.unwrap();
                    println!("ack {request}");
                    if n == 0 {
                        tell(&store).await;
                    }
                }
            })
        })
        .collect();
    // They never end; the kill does.
    let _ = futures_util::future::join_all(writers).await;
}

#[test]
fn a_disk_that_takes_no_more_poisons_the_store_and_loses_nothing_acknowledged() {
    let dir = Dir::new();
    // Files may grow to 4,000 blocks of 512 bytes; a write beyond that fails instead of killing the process.
    let limit = "trap '' XFSZ; ulimit -f 4000;";
    let mut writer = child("a_child_writes_until_the_disk_is_full", &dir.db(), limit).spawn().unwrap();
    let lines: Vec<_> = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    assert!(writer.wait().unwrap().success(), "{lines:?}");
    let acknowledged: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("ack ")).collect();
    assert!(lines.iter().any(|line| line == "fault injected"), "the fault was never injected: {lines:?}");
    assert!(!acknowledged.is_empty());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = dir.open().await;
        let found: BTreeSet<_> =
            verified(&store).await.iter().map(|leaf| leaf.entry().unwrap().request.to_string()).collect();
        for request in acknowledged {
            assert!(found.contains(request), "{request} is lost");
        }
        // A new process writes again.
        store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
        store.close().await;
    });
}

#[tokio::test]
#[ignore = "the child of another test"]
async fn a_child_writes_until_the_disk_is_full() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let store = Store::open(database, Options::default().checkpoint_pages(u64::MAX)).await.unwrap();
    for _ in 0..1000 {
        // Two in one transaction: both are told the same.
        let batch = [entry(Phase::Outcome, 10_000), entry(Phase::Outcome, 10_000)];
        let requests = batch.clone().map(|entry| entry.request);
        let [first, second] = batch.map(|entry| store.append(Lane::Outcome, entry));
        match (first.await, second.await) {
            (Ok(_), Ok(_)) => requests.iter().for_each(|request| println!("ack {request}")),
            (Err(AuditError::Unknown), Err(AuditError::Unknown)) => {
                println!("fault injected");
                store.poisoned().await;
                let after = store.append(Lane::Outcome, entry(Phase::Outcome, 0)).await;
                assert_eq!(after, Err(AuditError::Unavailable));
                assert!(!store.is_writable());
                assert_eq!(AuditStore::reserve(&store).await.err(), Some(AuditError::Unavailable));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the disk took everything");
}

/// This child under `strace`, which does something at its fsyncs, and under another program. Absent: said loudly, and a failure where everything
/// is required.
fn traced(under: &str, inject: &str, database: &Path, trace: &Path) -> Option<Vec<String>> {
    for program in ["strace", under].into_iter().filter(|program| !program.is_empty()) {
        if Command::new(program).arg("true").output().is_err() {
            assert!(
                std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(),
                "{program} is required and not there"
            );
            eprintln!("!!! NOT TRIED: faults at fsync, for {program} is not there");
            return None;
        }
    }
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,write", "-e", inject, "-o"])
        .arg(trace)
        .args(Some(under).filter(|under| !under.is_empty()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_writes_and_tells_what_was_signed", "--ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(DATABASE, database)
        .stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect())
}

/// After the child's end, with a disk that works again: all that was acknowledged is there, and the log begins with
/// every checkpoint anybody saw.
fn nothing_is_lost_or_contradicted(dir: &Dir, lines: &[String], why: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = dir.open().await;
        let found: BTreeSet<_> =
            verified(&store).await.iter().map(|leaf| leaf.entry().unwrap().request.to_string()).collect();
        for request in lines.iter().filter_map(|line| line.strip_prefix("ack ")) {
            assert!(found.contains(request), "{why}: {request} is lost");
        }
        for note in lines.iter().filter_map(|line| line.strip_prefix("signed ")) {
            let note: String = serde_json::from_str(note).unwrap();
            let kept = SignedCheckpoint::parse(&note).unwrap();
            let verdict = verify(&store, Some(&kept), |_, _| ()).await.unwrap();
            assert!(verdict.is_ok(), "{why}: {verdict:?} against\n{note}");
        }
        store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
        store.close().await;
    });
}

/// The first fsyncs of a life: of one that makes the database, and of one that finds it made.
fn fsyncs() -> impl Iterator<Item = (Dir, u32)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let both = (1..=24).flat_map(|at| [(false, at), (true, at)]);
    both.map(move |(made, at)| {
        let dir = Dir::new();
        if made {
            runtime.block_on(async { dir.open().await.close().await });
        }
        (dir, at)
    })
}

#[test]
fn a_process_killed_at_any_fsync_loses_nothing_and_contradicts_nothing() {
    for (dir, at) in fsyncs() {
        let trace = dir.db().with_extension("trace");
        let Some(lines) = traced("", &format!("inject=fsync:signal=SIGKILL:when={at}"), &dir.db(), &trace)
        else {
            return;
        };
        assert!(!lines.iter().any(|line| line == "done"), "fsync {at} never came: {lines:?}");
        assert!(
            std::fs::read_to_string(trace).unwrap().contains("killed by SIGKILL"),
            "no fault at fsync {at}"
        );
        nothing_is_lost_or_contradicted(&dir, &lines, &format!("killed at fsync {at}"));
    }
}

#[tokio::test]
#[ignore = "the child of another test"]
async fn a_child_writes_and_tells_what_was_signed() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    // The test harness has begun the line.
    println!();
    let Ok(store) = Store::open(database, Options::default().checkpoint_pages(24)).await else {
        return println!("shut");
    };
    for n in 0..60 {
        let entry = entry(Phase::Outcome, n * 100);
        let request = entry.request;
        match store.append(Lane::Outcome, entry).await {
            Ok(_) => println!("ack {request}"),
            Err(_) => {
                store.poisoned().await;
                assert_eq!(
                    store.append(Lane::Outcome, self::entry(Phase::Outcome, 0)).await,
                    Err(AuditError::Unavailable)
                );
                return println!("poisoned");
            }
        }
        tell(&store).await;
    }
    println!("done");
}

/// What is signed now, for whoever watches.
async fn tell(store: &Store) {
    if let Ok(note) = store.checkpoint().await {
        println!("signed {}", serde_json::to_string(&note).unwrap());
    }
}

#[test]
fn an_fsync_that_fails_poisons_the_store_or_keeps_it_shut_and_is_never_tried_again() {
    let mut poisoned = BTreeSet::new();
    for (dir, at) in fsyncs() {
        let trace = dir.db().with_extension("trace");
        let Some(lines) = traced("", &format!("inject=fsync:error=EIO:when={at}"), &dir.db(), &trace) else {
            return;
        };
        let trace = std::fs::read_to_string(trace).unwrap();
        let why = format!("EIO at fsync {at}");
        let fault = trace.lines().find(|line| line.contains("(INJECTED)"));
        let fault = fault.unwrap_or_else(|| panic!("{why} was not injected: {lines:?}"));
        // SQLite does not look at what syncing a directory says; the store syncs it itself before it serves.
        let of_file = ["-wal>", ".db>", "-journal>"].into_iter().find(|end| fault.contains(end));
        if let Some(of_file) = of_file {
            let ended = lines.iter().find(|line| ["poisoned", "shut"].contains(&line.as_str()));
            let ended = ended.unwrap_or_else(|| panic!("{why} ({fault}): it went on\n{lines:?}"));
            if ended == "poisoned" {
                poisoned.insert(of_file);
                let after = trace.split_once("(INJECTED)").map_or("", |(_, after)| after);
                assert!(!after.contains("sync("), "{why}: it synced again\n{trace}");
            }
        }
        nothing_is_lost_or_contradicted(&dir, &lines, &why);
    }
    // A commit syncs the log that is written ahead, a checkpoint the database.
    assert_eq!(poisoned, BTreeSet::from(["-wal>", ".db>"]), "not every kind of fault came while it served");
}

/// Whether an fsync of the log that is written ahead came before each acknowledgement; how many there were.
fn synced_before_told(trace: &str) -> Result<usize, String> {
    let (mut synced, mut told) = (false, 0);
    for line in trace.lines() {
        synced |= line.contains("sync(") && line.contains("-wal>");
        if line.contains("write(1<") && line.contains("\"ack ") {
            if !synced {
                return Err(format!("told before it was synced: {line}"));
            }
            (synced, told) = (false, told + 1);
        }
    }
    if told == 0 { Err("nothing was told".to_owned()) } else { Ok(told) }
}

#[test]
fn what_is_told_was_synced_before_and_where_nothing_is_synced_the_same_check_fails() {
    let traces = ["", "eatmydata"].map(|under| {
        let dir = Dir::new();
        let trace = dir.db().with_extension("trace");
        let lines = traced(under, "status=successful,failed", &dir.db(), &trace)?;
        assert!(lines.iter().any(|line| line == "done"), "{under}: {lines:?}");
        Some(std::fs::read_to_string(trace).unwrap())
    });
    let [Some(real), Some(eaten)] = &traces else { return };
    assert_eq!(synced_before_told(real), Ok(60));
    assert!(
        synced_before_told(eaten).is_err(),
        "the check does not notice a disk that promises and does not keep"
    );
}
