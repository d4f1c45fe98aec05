//! A large record, searched by principal and day.
//!
//! `CREWGATE_SEARCH_MB` says how large (default 50): criterion would fill the disk again and again, so this measures by
//! itself and prints what it found.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and tells on standard output"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use crewgate_audit::{AuditStore, Entry, Lane, Phase, Query};
use crewgate_core::{Fact, PrincipalKey, PrincipalKind, RequestId, RunId, Timestamp};
use crewgate_store::{Options, Store};
use futures_util::future::join_all;

/// Bytes of a body; with what else a leaf has, about 4.5 KiB of the file.
const BODY: usize = 3500;

/// Leaves appended at a time.
const BATCH: u64 = 512;

/// Persons who call.
const PERSONS: u64 = 1000;

/// Days the record goes over.
const DAYS: u64 = 180;

/// The first of them.
const FIRST: i64 = 1_767_225_600;

/// The `n`-th leaf: somebody's call, at its time.
fn entry(n: u64, of: u64) -> Entry {
    let second = FIRST + i64::try_from(u128::from(n) * u128::from(DAYS * 86_400) / u128::from(of)).unwrap();
    // No body is like another: a disk that packs would not be measured.
    let body: Vec<u8> =
        (0..BODY as u64).map(|at| b'a' + u8::try_from((at * 31 + n * 7919) % 26).unwrap()).collect();
    let mut entry = Entry::new(Phase::Outcome, RequestId::random(), Timestamp::from_secs(second))
        .with_fact(Fact::Authenticated {
            principal: PrincipalKey::new("okta", format!("person-{}", n * 7 % PERSONS)),
            kind: PrincipalKind::User,
            client: Some("cli".to_owned()),
            expires: Timestamp::from_secs(second + 600),
            token: "0123456789abcdef".to_owned(),
        })
        .with_fact(Fact::Answered { status: 200 })
        .with_run(Some(RunId::random()));
    entry.request_body = Some(Bytes::from(body));
    entry
}

#[tokio::main]
async fn main() {
    let megabytes: u64 = std::env::var("CREWGATE_SEARCH_MB").map_or(50, |text| text.parse().unwrap());
    let folder = std::env::temp_dir().join(format!("crewgate-search-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("crewgate.db");
    let store = Store::open(&file, Options::default()).await.unwrap();
    let all = (megabytes * 1_000_000 / 4600).max(BATCH) / BATCH * BATCH;
    let began = Instant::now();
    for first in (0..all).step_by(usize::try_from(BATCH).unwrap()) {
        let batch = (first..first + BATCH).map(|n| store.append(Lane::Outcome, entry(n, all)));
        assert!(join_all(batch).await.iter().all(Result::is_ok));
    }
    let filled = began.elapsed();
    store.close().await;

    let store = Store::open_read_only(&file).await.unwrap();
    let bytes = std::fs::metadata(&file).unwrap().len();
    println!(
        "{all} leaves, {:.2} GB, {PERSONS} persons, {DAYS} days; written at {:.0} leaves/s",
        bytes as f64 / 1e9,
        all as f64 / filled.as_secs_f64()
    );
    let mut times = Vec::new();
    for n in 0..200_u64 {
        let day = FIRST + i64::try_from(n * 37 % DAYS * 86_400).unwrap();
        let query = Query {
            principal: Some(format!("okta:person-{}", n * 13 % PERSONS)),
            since: Some(Timestamp::from_secs(day)),
            until: Some(Timestamp::from_secs(day + 86_400)),
            ..Query::default()
        };
        let began = Instant::now();
        let found = store.leaves(query).await.unwrap();
        times.push((began.elapsed(), found.len()));
    }
    let found: usize = times.iter().map(|(_, found)| found).sum();
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(Duration::ZERO, |(time, _)| *time);
    let slowest = times.last().unwrap().0;
    println!(
        "by principal and day, 200 searches, {found} leaves: p50 {:?}, p99 {:?}, slowest {slowest:?}",
        at(50),
        at(99)
    );
    store.close().await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(found > 0 && slowest < Duration::from_secs(1), "a search by principal and day took {slowest:?}");
}
