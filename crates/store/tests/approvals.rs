//! How approvals lie in the file: sealed, in their places, found by indexes; and what is left of them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use crewgate_approval::{
    ApprovalStore, DelegationStore, GrantStore, NewApproval, NewDelegation, NewGrant, StoreError,
};
use crewgate_audit::Erasure;
use crewgate_store::Store;
use crewgate_testkit::suites::{
    approval::{asked, no, person, set, yes},
    delegation::lent,
    grant::given,
};
use sqlx::Row;
use support::{Dir, intruder};

const BODY: &str = "canary-body-3f9c";
const GROUP: &str = "canary-group-81aa";
const REASON: &str = "canary-reason-c07d";

/// A request with something in it that must not lie about.
fn secret() -> NewApproval {
    let mut ana = person("ana");
    ana.groups = [("groups", GROUP)].into_iter().collect();
    let mut new = asked(&ana, &[("owners", 1)]);
    new.outgoing.body = Bytes::from(format!("{{\"inputs\":{{\"salary\":\"{BODY}\"}}}}"));
    new
}

/// What of this can be read in the database's files.
fn read_in(dir: &Dir, words: &[&'static str]) -> Vec<&'static str> {
    let folder = dir.db().parent().unwrap().to_owned();
    let files = std::fs::read_dir(folder).unwrap();
    let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    // As it is, and as base64 has its middle, wherever it begins.
    let spelled = |word: &str| {
        let shifted = (0..3).map(|pad| {
            let text = STANDARD.encode([&b"ab"[..pad.min(2)], word.as_bytes()].concat());
            text[4..text.len() - 4].to_owned()
        });
        shifted.chain([word.to_owned()]).collect::<Vec<_>>()
    };
    let is_there = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    words.iter().filter(|word| spelled(word).iter().any(is_there)).copied().collect()
}

#[tokio::test]
async fn nothing_of_what_was_asked_or_said_lies_open_in_the_file() {
    let dir = Dir::new();
    let store = dir.open().await;
    let new = secret();
    store.open(new.clone()).await.unwrap();
    let mut ballot = no(&new, &person("bob"), &["owners"]);
    ballot.vote.reason = Some(REASON.to_owned());
    store.vote(ballot).await.unwrap();
    let found = ApprovalStore::find(&store, new.id).await.unwrap().unwrap();
    assert_eq!(found.asked, new, "whoever has the keys reads it whole: its digest can be checked");
    assert_eq!(found.votes.first().unwrap().reason.as_deref(), Some(REASON));
    store.close().await;
    assert_eq!(read_in(&dir, &[BODY, GROUP, REASON]), [""; 0]);

    let reader = Store::open_read_only_with(dir.db(), None).await.unwrap();
    assert!(
        matches!(ApprovalStore::find(&reader, new.id).await, Err(StoreError::Unavailable(_))),
        "without a key nobody does"
    );
}

#[tokio::test]
async fn nothing_that_an_erased_person_sent_or_said_is_found_in_any_table() {
    let dir = Dir::new();
    let store = dir.open().await;
    let new = secret();
    store.open(new.clone()).await.unwrap();
    store.give(NewGrant { reason: REASON.to_owned(), ..given("ana") }).await.unwrap();
    let mut by = person("ana");
    by.groups = [("groups", GROUP)].into_iter().collect();
    let loan = NewDelegation { by, reason: REASON.to_owned(), ..lent("ana", "bob") };
    store.lend(loan, [set("owners")].into()).await.unwrap();
    assert!(!read_in(&dir, &[REASON]).is_empty(), "what is given and lent lies open while it counts");
    store.erase("okta:ana", None).await.unwrap();
    store.close().await;
    assert_eq!(read_in(&dir, &[BODY, GROUP, REASON, "the night shift"]), [""; 0]);
}

#[tokio::test]
async fn a_part_that_was_put_into_another_row_or_is_an_older_one_is_not_read() {
    let dir = Dir::new();
    let store = dir.open().await;
    let [mine, other] = [(); 2].map(|()| asked(&person("ana"), &[("owners", 2)]));
    store.open(mine.clone()).await.unwrap();
    store.open(other.clone()).await.unwrap();
    let mut conn = intruder(&dir.db()).await;
    let old: Vec<u8> = sqlx::query("SELECT moved FROM approval WHERE id = $1")
        .bind(mine.id.to_string())
        .fetch_one(&mut conn)
        .await
        .unwrap()
        .get(0);
    store.vote(yes(&mine, &person("bob"), &["owners"])).await.unwrap();
    sqlx::query("UPDATE approval SET moved = $2 WHERE id = $1")
        .bind(mine.id.to_string())
        .bind(old)
        .execute(&mut conn)
        .await
        .unwrap();
    assert!(ApprovalStore::find(&store, mine.id).await.is_err(), "a vote was taken back from outside");
    sqlx::query("UPDATE approval SET asked = (SELECT asked FROM approval WHERE id = $2) WHERE id = $1")
        .bind(other.id.to_string())
        .bind(mine.id.to_string())
        .execute(&mut conn)
        .await
        .unwrap();
    assert!(ApprovalStore::find(&store, other.id).await.is_err(), "it is not what people were asked");
    assert!(store.vote(yes(&other, &person("bob"), &["owners"])).await.is_err());
}

/// The table as it was before rows were sealed.
const CLEAR: &str = "CREATE TABLE approval_clear (id TEXT PRIMARY KEY, run TEXT UNIQUE, asked TEXT NOT NULL,
    state TEXT NOT NULL, votes TEXT NOT NULL, leases INTEGER NOT NULL, version INTEGER NOT NULL,
    opened INTEGER NOT NULL, expires INTEGER NOT NULL, requester TEXT NOT NULL, auto_run INTEGER NOT NULL,
    phase TEXT NOT NULL, until INTEGER, broken TEXT, review_due INTEGER) STRICT";

#[tokio::test]
async fn rows_of_before_are_sealed_at_the_next_start() {
    let dir = Dir::new();
    dir.open().await.close().await;
    let new = secret();
    let mut conn = intruder(&dir.db()).await;
    sqlx::query(CLEAR).execute(&mut conn).await.unwrap();
    sqlx::query(
        "INSERT INTO approval_clear VALUES ($1, $2, $3, '{\"state\":\"pending\"}', '[]', 0, 1, 0, 0, 'okta:ana', 0,
             'pending', NULL, NULL, NULL)",
    )
    .bind(new.id.to_string())
    .bind(new.run.unwrap().to_string())
    .bind(serde_json::to_string(&new).unwrap())
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    assert_eq!(read_in(&dir, &[GROUP, BODY]), [GROUP, BODY]);
    let store = dir.open().await;
    assert_eq!(store.by_run(new.run.unwrap()).await.unwrap().unwrap().asked, new);
    store.close().await;
    assert_eq!(read_in(&dir, &[GROUP, BODY]), [""; 0]);
}

#[tokio::test]
async fn what_nobody_decided_on_in_time_is_not_walked_over() {
    let dir = Dir::new();
    let store = dir.open().await;
    let mut conn = intruder(&dir.db()).await;
    for (wanted, bound) in [
        ("phase = 'pending' AND ends > 7", "(phase=? AND ends>?)"),
        ("phase IN ('approved', 'executing') AND ends > 7", "(phase=? AND ends>?)"),
        ("requester = 'okta:ana' AND phase <> 'erased'", "(requester=?)"),
        (
            "phase = 'pending' AND requester = 'okta:ana' AND ends > 7",
            "approval_waiting (requester=? AND ends>?)",
        ),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT id FROM approval WHERE {wanted} ORDER BY opened, id LIMIT 200"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(plan.iter().any(|line| line.contains(bound)), "{wanted}: {plan:?}");
    }
    store.close().await;
}
