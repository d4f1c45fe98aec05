//! Somebody with the file and a SQL prompt: what they change is found and named.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use crewgate_audit::{AuditStore, Entry, Fault, FaultKind, Head, Lane, Phase, Prepared, Query, verify};
use crewgate_core::{RequestId, Timestamp};
use crewgate_store::{OpenError, Options, SqliteStore};
use sqlx::{Connection, Executor};
use support::{Dir, entry, intruder};

/// A log of six leaves, changed by these statements; what verification says of it.
async fn tampered(statements: &[&'static str]) -> Result<(), Fault> {
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    for statement in statements {
        let done = conn.execute(*statement).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was changed by {statement}");
    }
    conn.close().await.unwrap();
    verdict(&dir).await
}

async fn six(dir: &Dir) {
    let store = dir.open().await;
    for _ in 0..6 {
        store.append(Lane::Outcome, entry(Phase::Outcome, 10)).await.unwrap();
    }
    store.close().await;
}

async fn verdict(dir: &Dir) -> Result<(), Fault> {
    let reader = SqliteStore::open_read_only(dir.db()).await.unwrap();
    let leaves = reader.leaves(Query::default().limit(u32::MAX)).await.unwrap();
    let verdict = verify(&leaves, reader.head().await.unwrap());
    reader.close().await;
    verdict
}

fn fault(seq: u64, kind: FaultKind) -> Result<(), Fault> {
    Err(Fault { seq, kind })
}

#[tokio::test]
async fn an_untouched_log_verifies() {
    let dir = Dir::new();
    six(&dir).await;
    assert_eq!(verdict(&dir).await, Ok(()));
}

#[tokio::test]
async fn an_edited_row_is_named() {
    for edit in [
        "UPDATE leaf SET record = replace(record, '\"status\":200', '\"status\":500') WHERE seq = 3",
        "UPDATE leaf SET body = x'00' WHERE seq = 3",
        "UPDATE leaf SET body = NULL WHERE seq = 3",
        "UPDATE leaf SET frames = x'' WHERE seq = 3",
        "UPDATE leaf SET hash = zeroblob(32) WHERE seq = 3",
        "UPDATE leaf SET hash = x'01' WHERE seq = 3",
        "UPDATE leaf SET prev = zeroblob(32) WHERE seq = 3",
    ] {
        assert_eq!(tampered(&[edit]).await, fault(3, FaultKind::Edited), "{edit}");
    }
}

#[tokio::test]
async fn a_deleted_row_is_named() {
    assert_eq!(tampered(&["DELETE FROM leaf WHERE seq = 3"]).await, fault(3, FaultKind::Missing));
    assert_eq!(tampered(&["DELETE FROM leaf WHERE seq = 1"]).await, fault(1, FaultKind::Missing));
    assert_eq!(tampered(&["DELETE FROM leaf WHERE seq >= 5"]).await, fault(5, FaultKind::Truncated));
    assert_eq!(tampered(&["DELETE FROM leaf"]).await, fault(1, FaultKind::Truncated));
    let renumbered = ["DELETE FROM leaf WHERE seq = 3", "UPDATE leaf SET seq = seq - 1 WHERE seq > 3"];
    assert_eq!(tampered(&renumbered).await, fault(3, FaultKind::Moved { from: 4 }));
    let and_head = ["DELETE FROM leaf WHERE seq = 6", "UPDATE head SET count = 5"];
    assert_eq!(tampered(&and_head).await, fault(5, FaultKind::Unlinked));
}

#[tokio::test]
async fn an_inserted_row_is_named() {
    let copy = "INSERT INTO leaf (seq, prev, hash, record, body, frames)
                SELECT 7, prev, hash, record, body, frames FROM leaf WHERE seq = 6";
    assert_eq!(tampered(&[copy]).await, fault(6, FaultKind::Inserted));

    // Forged so that it fits: the right predecessor and a right hash. Only its successor gives it away.
    let dir = Dir::new();
    six(&dir).await;
    let reader = SqliteStore::open_read_only(dir.db()).await.unwrap();
    let second = reader.leaves(Query::default().limit(2)).await.unwrap().pop().unwrap();
    reader.close().await;
    let forged = Prepared::new(Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(1)))
        .unwrap()
        .after(Head { count: 2, hash: second.hash });
    let mut conn = intruder(&dir.db()).await;
    conn.execute("UPDATE leaf SET seq = -seq WHERE seq > 2").await.unwrap();
    conn.execute("UPDATE leaf SET seq = 1 - seq WHERE seq < 0").await.unwrap();
    sqlx::query("INSERT INTO leaf (seq, prev, hash, record, frames) VALUES (3, ?1, ?2, ?3, x'')")
        .bind(forged.prev.as_bytes().as_slice())
        .bind(forged.hash.as_bytes().as_slice())
        .bind(forged.record)
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    assert_eq!(verdict(&dir).await, fault(3, FaultKind::Inserted));
}

#[tokio::test]
async fn reordered_rows_are_named() {
    let swap = [
        "UPDATE leaf SET seq = 100 WHERE seq = 2",
        "UPDATE leaf SET seq = 2 WHERE seq = 4",
        "UPDATE leaf SET seq = 4 WHERE seq = 100",
    ];
    assert_eq!(tampered(&swap).await, fault(2, FaultKind::Moved { from: 4 }));
}

#[tokio::test]
async fn what_is_found_by_a_column_cannot_be_hidden_by_changing_the_column() {
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    let error = conn.execute("UPDATE leaf SET run = NULL WHERE seq = 1").await.unwrap_err();
    assert!(error.to_string().contains("generated column"), "{error}");
    conn.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_added_to_a_log_that_was_cut_or_lengthened() {
    for statement in
        ["DELETE FROM leaf WHERE seq = 6", "DELETE FROM leaf WHERE seq = 2", "UPDATE head SET count = 7"]
    {
        let dir = Dir::new();
        six(&dir).await;
        let mut conn = intruder(&dir.db()).await;
        conn.execute(statement).await.unwrap();
        conn.close().await.unwrap();
        match SqliteStore::open(dir.db(), Options::default()).await {
            Err(OpenError::Damaged { .. }) => {}
            other => panic!("{statement}: {other:?}"),
        }
    }
}
