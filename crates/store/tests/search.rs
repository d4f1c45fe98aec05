//! A large record is searched by its indexes: what the database plans, and how long it takes.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use crewgate_audit::{AuditStore, Entry, Lane, Phase, Query, Word};
use crewgate_core::{Fact, PrincipalKey, PrincipalKind, RequestId, Timestamp};
use crewgate_store::{Options, Store};
use sqlx::Row;
use support::{Dir, intruder};

/// Synthetic leaves, unless `CREWGATE_SEARCH_ROWS` says how many; a million are 1.2 GB.
const ROWS: u64 = 20_000;

/// Persons whose leaves they are.
const PERSONS: u64 = 200;

/// Days over which they are spread.
const DAYS: u32 = 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn first() -> Timestamp {
    "2026-01-01".parse().unwrap()
}

fn of_anna() -> Entry {
    Entry::new(Phase::Intent, RequestId::random(), first()).with_fact(Fact::Authenticated {
        principal: PrincipalKey::new("okta", "anna"),
        kind: PrincipalKind::User,
        client: None,
        expires: first(),
        token: "0123456789abcdef".to_owned(),
    })
}

#[tokio::test]
async fn a_person_and_a_day_are_found_by_index_however_large_the_record_is() {
    let rows: u64 = std::env::var("CREWGATE_SEARCH_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let dir = Dir::new();
    let store = Store::open(dir.db(), Options::default()).await.unwrap();
    store.append(Lane::Intent, of_anna()).await.unwrap();
    store.close().await;

    // Copies of her leaf, spread over the days and dealt to as many persons: every 200th is hers.
    let mut conn = intruder(&dir.db()).await;
    sqlx::query("PRAGMA synchronous = OFF").execute(&mut conn).await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO leaf (idx, record, subject, key, sealed)
         SELECT i, json_set(record, '$.time', (record ->> '$.time') + i * ?2),
                CASE WHEN i % ?3 = 0 THEN subject ELSE randomblob(length(subject)) END, key, randomblob(600)
         FROM n, leaf WHERE idx = 0",
    )
    .bind(i64::try_from(rows).unwrap())
    .bind(i64::try_from((DAY * DAYS).as_micros() / u128::from(rows)).unwrap())
    .bind(i64::try_from(PERSONS).unwrap())
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::query("INSERT OR IGNORE INTO leaf_word (word, idx) SELECT 'kind=intent', idx FROM leaf")
        .execute(&mut conn)
        .await
        .unwrap();
    let bytes: i64 =
        sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            .fetch_one(&mut conn)
            .await
            .unwrap();

    let plan = sqlx::query(
        "EXPLAIN QUERY PLAN SELECT idx FROM leaf
         WHERE time >= 1 AND time < 2 AND subject = x'00' ORDER BY idx DESC LIMIT 200",
    );
    let plan = plan.fetch_all(&mut conn).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
    assert!(plan.iter().any(|step| step.contains("leaf_subject (subject=? AND time>?")), "{plan:?}");
    drop(conn);

    let keys = crewgate_store::Keys::beside(&dir.db()).unwrap().unwrap();
    let store = Store::open_read_only_with(dir.db(), Some(&keys)).await.unwrap();
    let day = first().saturating_add(10 * DAY);
    let query = Query {
        principal: Some("okta:anna".to_owned()),
        since: Some(day),
        until: Some(day.saturating_add(DAY)),
        ..Query::default().newest_first()
    };
    let begun = Instant::now();
    let found = store.leaves(query.clone()).await.unwrap();
    let alone = begun.elapsed();
    let begun = Instant::now();
    let words = [Word::Kind("intent".to_owned())].into();
    let with_word = store.leaves(Query { words, ..query }).await.unwrap();
    eprintln!(
        "{rows} leaves, {} MB: {} found in {alone:?}, by a word as well in {:?}; {plan:?}",
        bytes / 1_000_000,
        found.len(),
        begun.elapsed()
    );
    let expected = usize::try_from((rows / PERSONS / u64::from(DAYS)).min(200)).unwrap();
    assert!(found.len().abs_diff(expected) <= 1, "{} and not {expected}", found.len());
    assert_eq!(found.len(), with_word.len());
}
