//! Somebody with the file and a SQL prompt: what they change is found and named.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use crewgate_audit::{
    AuditStore, Entry, Fault, FaultKind, Folder, Lane, Log, Phase, Prepared, export,
    tlog::{Checkpoint, Hash, KeyKind, NoteError, SignedCheckpoint, Signer, Tree},
    verify,
};
use crewgate_core::{RequestId, Timestamp};
use crewgate_store::{OpenError, Options, Store};
use sqlx::{Connection, Executor, SqliteConnection};
use support::{Dir, entry, intruder};

/// What verification says of a log of six leaves, each signed for, once these statements have changed it.
async fn tampered(statements: &[&'static str]) -> Result<(), Fault> {
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    for statement in statements {
        let done = conn.execute(*statement).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was changed by {statement}");
    }
    conn.close().await.unwrap();
    verdict(&dir, None).await
}

async fn six(dir: &Dir) {
    let store = dir.open().await;
    for _ in 0..6 {
        store.append(Lane::Outcome, entry(Phase::Outcome, 10)).await.unwrap();
    }
    store.close().await;
}

async fn verdict(dir: &Dir, since: Option<&SignedCheckpoint>) -> Result<(), Fault> {
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    let verdict = verify(&reader, since, |_, _| ()).await.unwrap().map(|_| ());
    // What is exported is as it is, and whoever has only the public key finds the same in the folder.
    let folder = dir.db().with_extension("exported");
    if export(&reader, &folder, true, |_, _| ()).await.is_ok() {
        let exported = Folder::open(&folder, reader.keys()).unwrap();
        let found = verify(&exported, since, |_, _| ()).await.unwrap().map(|_| ());
        // A file has no numbers of its own, so there an untold gap closes.
        assert_eq!(found.map_err(|fault| fault.leaf), verdict.map_err(|fault| fault.leaf));
        std::fs::remove_dir_all(folder).unwrap();
    }
    reader.close().await;
    verdict
}

fn fault(leaf: u64, kind: FaultKind) -> Result<(), Fault> {
    Err(Fault { leaf, kind })
}

async fn latest(dir: &Dir) -> SignedCheckpoint {
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    let note = reader.checkpoint().await.unwrap();
    reader.close().await;
    SignedCheckpoint::parse(&note).unwrap()
}

#[tokio::test]
async fn an_untouched_log_verifies() {
    let dir = Dir::new();
    six(&dir).await;
    assert_eq!(verdict(&dir, Some(&latest(&dir).await)).await, Ok(()));
}

#[tokio::test]
async fn an_edited_row_is_named() {
    for edit in [
        "UPDATE leaf SET record = replace(record, 'outcome', 'refused') WHERE idx = 3",
        "UPDATE leaf SET record = record || ' ' WHERE idx = 3",
    ] {
        assert_eq!(tampered(&[edit]).await, fault(3, FaultKind::Edited), "{edit}");
    }
    let edit = "UPDATE tile SET hashes = CAST(substr(hashes, 1, 96) || substr(hashes, 1, 32) || substr(hashes, 129) AS BLOB)";
    assert_eq!(tampered(&[edit]).await, fault(3, FaultKind::Tile { level: 0 }));
}

#[tokio::test]
async fn edited_or_removed_content_is_named() {
    for edit in [
        "UPDATE leaf SET sealed = zeroblob(length(sealed)) WHERE idx = 3",
        "UPDATE leaf SET sealed = (SELECT sealed FROM leaf WHERE idx = 2) WHERE idx = 3",
        "UPDATE leaf SET key = zeroblob(60) WHERE idx = 3",
    ] {
        assert_eq!(tampered(&[edit]).await, fault(3, FaultKind::Content), "{edit}");
    }
    for edit in
        ["UPDATE leaf SET sealed = NULL WHERE idx = 3", "UPDATE leaf SET subject = x'00' WHERE idx = 3"]
    {
        assert_eq!(tampered(&[edit]).await, fault(3, FaultKind::Removed), "{edit}");
    }
    assert_eq!(tampered(&["DELETE FROM subject_key"]).await, fault(0, FaultKind::Removed));
}

#[tokio::test]
async fn a_deleted_row_is_named() {
    assert_eq!(tampered(&["DELETE FROM leaf WHERE idx = 3"]).await, fault(3, FaultKind::Deleted));
    assert_eq!(tampered(&["DELETE FROM leaf WHERE idx = 0"]).await, fault(0, FaultKind::Deleted));
    let renumbered = ["DELETE FROM leaf WHERE idx = 3", "UPDATE leaf SET idx = idx - 1 WHERE idx > 3"];
    assert_eq!(tampered(&renumbered).await, fault(3, FaultKind::Deleted));
}

#[tokio::test]
async fn a_log_cut_at_its_end_is_named() {
    assert_eq!(tampered(&["DELETE FROM leaf WHERE idx >= 4"]).await, fault(4, FaultKind::Truncated));
    assert_eq!(tampered(&["DELETE FROM leaf"]).await, fault(0, FaultKind::Truncated));
    let and_hashes = ["DELETE FROM leaf WHERE idx >= 4", "UPDATE tile SET hashes = substr(hashes, 1, 128)"];
    assert_eq!(tampered(&and_hashes).await, fault(4, FaultKind::Truncated));
}

#[tokio::test]
async fn an_inserted_row_is_named() {
    let behind = "INSERT INTO leaf (idx, record, subject, key, sealed)
                  SELECT 6, record, subject, key, sealed FROM leaf WHERE idx = 5";
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    conn.execute(behind).await.unwrap();
    conn.close().await.unwrap();
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    let found = verify(&reader, None, |_, _| ()).await.unwrap().map(|_| ());
    assert_eq!(found, fault(6, FaultKind::Inserted));
    reader.close().await;
    let between = [
        "UPDATE leaf SET idx = -1 - idx WHERE idx > 2",
        "UPDATE leaf SET idx = -idx WHERE idx < 0",
        "INSERT INTO leaf (idx, record) VALUES (3, '{}')",
    ];
    assert_eq!(tampered(&between).await, fault(3, FaultKind::Inserted));
}

#[tokio::test]
async fn reordered_rows_are_named() {
    let swap = [
        "UPDATE leaf SET idx = 100 WHERE idx = 2",
        "UPDATE leaf SET idx = 2 WHERE idx = 4",
        "UPDATE leaf SET idx = 4 WHERE idx = 100",
    ];
    assert_eq!(tampered(&swap).await, fault(2, FaultKind::Moved { from: 4 }));
}

/// Replaces a leaf and all hashes above it; with a key, every checkpoint from there on too.
async fn rewrite(conn: &mut SqliteConnection, at: usize, signer: Option<&Signer>) {
    let records: Vec<String> =
        sqlx::query_scalar("SELECT record FROM leaf ORDER BY idx").fetch_all(&mut *conn).await.unwrap();
    let mut hashes: Vec<_> = records.iter().map(|record| Hash::leaf(record.as_bytes())).collect();
    let forged = Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(1));
    let forged = Prepared::new(forged).unwrap();
    hashes[at] = forged.hash;
    sqlx::query("UPDATE leaf SET record = ?1, subject = NULL, key = NULL, sealed = NULL WHERE idx = ?2")
        .bind(forged.record)
        .bind(at as i64)
        .execute(&mut *conn)
        .await
        .unwrap();
    let mut tree = Tree::default();
    for hash in hashes {
        for tile in tree.extend([hash]) {
            let query = sqlx::query("UPDATE tile SET hashes = ?1").bind(tile.to_bytes());
            query.execute(&mut *conn).await.unwrap();
        }
        let (Some(signer), size) = (signer, tree.size() as i64) else { continue };
        let origin = signer.verifier().name().to_owned();
        let signed = Checkpoint { origin, head: tree.head() }.sign(std::slice::from_ref(signer)).unwrap();
        let query = sqlx::query("UPDATE checkpoint SET note = ?1 WHERE size = ?2 AND size > ?3");
        let query = query.bind(signed.to_string()).bind(size).bind(at as i64);
        query.execute(&mut *conn).await.unwrap();
    }
}

#[tokio::test]
async fn a_leaf_rewritten_with_its_hashes_contradicts_what_was_signed() {
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    rewrite(&mut conn, 3, None).await;
    conn.close().await.unwrap();
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    let found = verify(&reader, None, |_, _| ()).await.unwrap().map(|_| ());
    assert_eq!(found, fault(3, FaultKind::Rewritten { to: 3 }));
    reader.close().await;
}

#[tokio::test]
async fn a_swapped_key_is_named_from_where_it_signs() {
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    let origin = latest(&dir).await.claimed().origin.clone();
    rewrite(&mut conn, 3, Some(&Signer::generate(&origin, KeyKind::Log).unwrap())).await;
    conn.close().await.unwrap();
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    let found = verify(&reader, None, |_, _| ()).await.unwrap().map(|_| ());
    assert_eq!(found, fault(3, FaultKind::Unsigned(NoteError::Untrusted)));
    reader.close().await;
}

/// The signing key beside the database, stolen.
fn stolen(dir: &Dir) -> Signer {
    let mut path = dir.db().into_os_string();
    path.push(".signing-key");
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_fork_by_whoever_has_the_key_is_found_by_a_checkpoint_kept_elsewhere() {
    let dir = Dir::new();
    six(&dir).await;
    let kept = latest(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    rewrite(&mut conn, 3, Some(&stolen(&dir))).await;
    conn.close().await.unwrap();
    assert_eq!(verdict(&dir, None).await, fault(3, FaultKind::Removed), "even now its content is missed");
    let reader = Store::open_read_only(dir.db()).await.unwrap();
    let found = verify(&reader, Some(&kept), |_, _| ()).await.unwrap().map(|_| ());
    assert_eq!(found, fault(5, FaultKind::Forked));
    reader.close().await;
}

#[tokio::test]
async fn an_older_copy_put_back_is_found_by_a_checkpoint_kept_elsewhere() {
    let dir = Dir::new();
    six(&dir).await;
    let copy = dir.db().with_extension("copy");
    std::fs::copy(dir.db(), &copy).unwrap();
    let store = dir.open().await;
    store.append(Lane::Outcome, entry(Phase::Outcome, 10)).await.unwrap();
    store.close().await;
    let kept = latest(&dir).await;
    assert_eq!(verdict(&dir, Some(&kept)).await, Ok(()));
    std::fs::copy(&copy, dir.db()).unwrap();
    assert_eq!(verdict(&dir, None).await, Ok(()), "by itself it is a good log");
    assert_eq!(verdict(&dir, Some(&kept)).await, fault(6, FaultKind::RolledBack));
}

#[tokio::test]
async fn what_is_found_by_a_column_cannot_be_hidden_by_changing_the_column() {
    let dir = Dir::new();
    six(&dir).await;
    let mut conn = intruder(&dir.db()).await;
    let error = conn.execute("UPDATE leaf SET run = NULL WHERE idx = 1").await.unwrap_err();
    assert!(error.to_string().contains("generated column"), "{error}");
    conn.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_added_to_a_log_whose_edge_is_not_the_signed_one() {
    for statement in [
        "DELETE FROM leaf WHERE idx = 5",
        "DELETE FROM leaf WHERE idx = 2",
        "UPDATE leaf SET record = '{}' WHERE idx = 2",
        "UPDATE tile SET hashes = zeroblob(192)",
        "DELETE FROM tile",
        "DELETE FROM checkpoint WHERE size = 6",
        "DELETE FROM checkpoint",
        "UPDATE checkpoint SET note = replace(note, char(10) || '6' || char(10), char(10) || '5' || char(10))",
        "INSERT INTO checkpoint SELECT 7, note, 0 FROM checkpoint WHERE size = 6",
    ] {
        let dir = Dir::new();
        six(&dir).await;
        let mut conn = intruder(&dir.db()).await;
        conn.execute(statement).await.unwrap();
        conn.close().await.unwrap();
        match Store::open(dir.db(), Options::default()).await {
            Err(OpenError::Damaged { .. }) => {}
            other => panic!("{statement}: {other:?}"),
        }
    }
}
