//! The one writer: group commit, seats, locks, and the end of its life.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use crewgate_audit::{AuditError, AuditStore, Lane, Phase, Query};
use crewgate_core::Fact;
use crewgate_runs::{LedgerError, RunLedger};
use crewgate_store::{OpenError, Options, Store};
use crewgate_testkit::{ManualClock, suites};
use support::{Dir, entry, intruder, verified};

#[tokio::test]
async fn many_commands_share_few_commits() {
    let dir = Dir::new();
    let store = dir.open().await;
    // All in line before the writer's task first runs: this runtime has one thread, and nothing here awaits.
    let waiting: Vec<_> = (0..512).map(|_| store.append(Lane::Intent, entry(Phase::Intent, 100))).collect();
    for receipt in waiting {
        receipt.await.unwrap();
    }
    assert_eq!(store.commits(), 2, "512 commands in batches of 256");
    assert_eq!(verified(&store).await.len(), 512);
}

#[tokio::test]
async fn a_command_that_is_refused_does_not_take_the_others_with_it() {
    let dir = Dir::new();
    let store = dir.open().await;
    let release = Fact::Released { approval: crewgate_core::ApprovalId::random(), lease: 1 };
    let good = store.append(Lane::Intent, entry(Phase::Intent, 0));
    let bad = store.append(Lane::Intent, entry(Phase::Intent, 0).with_fact(release));
    let also_good = store.append(Lane::Intent, entry(Phase::Intent, 0));
    assert_eq!(good.await.unwrap().index, 0);
    assert_eq!(bad.await, Err(AuditError::Conflict));
    assert_eq!(also_good.await.unwrap().index, 1);
    assert_eq!(store.commits(), 1);
    assert_eq!(verified(&store).await.len(), 2);
}

#[tokio::test]
async fn a_second_writer_is_refused_and_readers_are_not() {
    let dir = Dir::new();
    let store = dir.open().await;
    store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
    match Store::open(dir.db(), Options::default()).await {
        Err(OpenError::Locked { path }) => assert!(path.ends_with("crewgate.db.lock")),
        other => panic!("{other:?}"),
    }
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    assert_eq!(verified(&reader).await.len(), 1);
    // It sees what is written meanwhile, and cannot write.
    store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
    assert_eq!(verified(&reader).await.len(), 2);
    assert_eq!(reader.append(Lane::Outcome, entry(Phase::Control, 0)).await, Err(AuditError::Unavailable));
    assert!(AuditStore::reserve(&reader).await.is_err());
    let refused = RunLedger::reserve(&reader, suites::runs::run("support", "ana", 0)).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    store.close().await;
    reader.close().await;
    dir.open().await.close().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_created_by_reading() {
    let dir = Dir::new();
    assert!(Store::open_read_only(dir.db()).await.is_err());
    assert!(!dir.db().exists());
}

#[tokio::test]
async fn a_closed_store_has_written_what_was_in_line_and_refuses_the_rest() {
    let dir = Dir::new();
    let store = dir.open().await;
    let waiting: Vec<_> = (0..10).map(|_| store.append(Lane::Outcome, entry(Phase::Outcome, 0))).collect();
    store.close().await;
    for receipt in waiting {
        receipt.await.unwrap();
    }
    assert_eq!(store.append(Lane::Outcome, entry(Phase::Outcome, 0)).await, Err(AuditError::Unavailable));
    assert!(!store.is_writable());
    assert_eq!(verified(&dir.open().await).await.len(), 10);
}

#[tokio::test]
async fn dropping_the_last_clone_finishes_what_is_in_line() {
    let dir = Dir::new();
    let store = dir.open().await;
    drop((0..10).map(|_| store.append(Lane::Outcome, entry(Phase::Outcome, 0))).collect::<Vec<_>>());
    drop(store);
    // The lock is free once the writer has ended.
    let store = loop {
        match Store::open(dir.db(), Options::default()).await {
            Ok(store) => break store,
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(verified(&store).await.len(), 10);
}

#[tokio::test]
async fn lanes_do_not_take_each_others_seats() {
    let dir = Dir::new();
    let options = Options::default().outcome_seats(2).intent_seats(1).seat_wait(Duration::ZERO);
    let store = Store::open(dir.db(), options).await.unwrap();
    let first = AuditStore::reserve(&store).await.unwrap();
    let _second = AuditStore::reserve(&store).await.unwrap();
    assert_eq!(AuditStore::reserve(&store).await.err(), Some(AuditError::Full));
    assert_eq!(store.append(Lane::Outcome, entry(Phase::Outcome, 0)).await, Err(AuditError::Full));
    // Intents have their own, and a promised outcome has its seat.
    let intent = store.append(Lane::Intent, entry(Phase::Intent, 0));
    assert_eq!(store.append(Lane::Intent, entry(Phase::Intent, 0)).await, Err(AuditError::Full));
    intent.await.unwrap();
    first.submit(entry(Phase::Outcome, 0)).await.unwrap();
    AuditStore::reserve(&store).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_strangers_is_folded_into_counts() {
    let dir = Dir::new();
    let clock = ManualClock::at(entry(Phase::Refused, 0).time);
    let options = Options::default().clock(clock.clone()).refusals_per_minute(3);
    let store = Store::open(dir.db(), options).await.unwrap();
    let answers: Vec<_> = (0..100).map(|_| store.append(Lane::Refusal, entry(Phase::Refused, 0))).collect();
    let mut told = 0;
    for answer in answers {
        match answer.await {
            Ok(_) => told += 1,
            Err(error) => assert_eq!(error, AuditError::Full),
        }
    }
    assert_eq!(told, 3);
    clock.advance(Duration::from_secs(61));
    store.append(Lane::Intent, entry(Phase::Intent, 0)).await.unwrap();
    let leaves = store.leaves(Query::default().phase(Phase::Refused).newest_first().limit(1)).await.unwrap();
    let counts = leaves.first().unwrap().entry().unwrap();
    assert_eq!(counts.facts, [Fact::Folded { remote: None, count: 97 }]);
    verified(&store).await;
}

#[tokio::test]
async fn counts_that_are_not_yet_due_are_written_when_it_closes() {
    let dir = Dir::new();
    let clock = ManualClock::at(entry(Phase::Refused, 0).time);
    let store = Store::open(dir.db(), Options::default().clock(clock).refusals_per_minute(0)).await.unwrap();
    assert_eq!(store.append(Lane::Refusal, entry(Phase::Refused, 0)).await, Err(AuditError::Full));
    store.close().await;
    assert_eq!(verified(&dir.open().await).await.len(), 1);
}

#[tokio::test]
async fn the_write_ahead_log_is_moved_into_the_database_by_the_writer() {
    let dir = Dir::new();
    let store = Store::open(dir.db(), Options::default().checkpoint_pages(16)).await.unwrap();
    let size = || std::fs::metadata(dir.db()).unwrap().len();
    let before = size();
    for _ in 0..40 {
        store.append(Lane::Outcome, entry(Phase::Outcome, 8000)).await.unwrap();
    }
    assert!(size() > before + 200_000, "{before} to {}", size());
    verified(&store).await;
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() {
    use sqlx::Executor;
    let dir = Dir::new();
    dir.open().await.close().await;
    let mut conn = intruder(&dir.db()).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'from the future', 1, x'00', 0)";
    conn.execute(newer).await.unwrap();
    drop(conn);
    for refused in [Store::open(dir.db(), Options::default()).await, Store::open_read_only(dir.db()).await] {
        assert!(matches!(refused, Err(OpenError::Migration(_))), "{refused:?}");
    }
}
