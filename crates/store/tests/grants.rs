//! Row and leaf in one transaction: what an intent does to the grants it relies on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use crewgate_approval::{Grant, GrantState, GrantStore, NewGrant};
use crewgate_audit::{AuditError, AuditStore, Entry, Lane, Log, Phase, Query};
use crewgate_core::{
    Action, Basis, Effect, Fact, GrantId, GrantStep, PrincipalKey, RequestId, RunId, Timestamp,
};
use crewgate_store::Store;
use crewgate_testkit::suites::grant::{given, limited, revocation};
use support::{Dir, intruder, verified};

/// An intent of a call of this effect that policy allowed because of these grants.
fn intent(effect: Effect, grants: &[GrantId], now: Timestamp) -> Entry {
    let basis = Basis { grants: grants.iter().copied().collect(), ..Basis::default() };
    Entry::new(Phase::Intent, RequestId::random(), now)
        .with_fact(Fact::Described {
            action: Action::of("kickoff"),
            resource: "support".to_owned(),
            effect,
            datasets: Vec::new(),
            inputs: Vec::new(),
        })
        .with_fact(decided("allow", basis))
}

fn decided(outcome: &str, basis: Basis) -> Fact {
    Fact::Decided { outcome: outcome.to_owned(), duties: None, reason: None, basis }
}

async fn used(store: &Store, id: GrantId) -> u32 {
    store.find(id).await.unwrap().unwrap().used
}

/// The moves of grants on the record, in order.
async fn steps(store: &Store) -> Vec<(Entry, GrantStep)> {
    let leaves = store.leaves(Query::default().phase(Phase::Grant)).await.unwrap();
    let told = leaves.iter().map(|leaf| leaf.entry().unwrap()).map(|entry| match entry.facts.as_slice() {
        [Fact::Grant { step, .. }] => (entry.clone(), step.clone()),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[tokio::test]
async fn an_intent_spends_the_uses_it_relies_on() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (new, endless) = (limited("ana", 2), given("ana"));
    store.give(new.clone()).await.unwrap();
    store.give(endless.clone()).await.unwrap();
    let run = Some(RunId::random());
    let first = intent(Effect::Write, &[new.id, endless.id], new.from).with_run(run);
    let request = first.request;
    store.append(Lane::Intent, first).await.unwrap();
    assert_eq!((used(&store, new.id).await, used(&store, endless.id).await), (1, 0));

    // Reading is no use; an intent that does not say what it is changes something.
    store.append(Lane::Intent, intent(Effect::Read, &[new.id], new.from)).await.unwrap();
    assert_eq!(used(&store, new.id).await, 1);
    let mut undescribed = intent(Effect::Read, &[new.id], new.from);
    undescribed.facts.remove(0);
    store.append(Lane::Intent, undescribed).await.unwrap();
    assert_eq!(used(&store, new.id).await, 2);

    let head = store.head().await.unwrap();
    let third = store.append(Lane::Intent, intent(Effect::Write, &[endless.id, new.id], new.from)).await;
    assert_eq!(third, Err(AuditError::GrantOver));
    assert_eq!(store.head().await.unwrap(), head, "nothing of it is on the record");
    assert_eq!(store.open_intents(10).await.unwrap().len(), 3);

    let steps = steps(&store).await;
    let [
        (_, GrantStep::Given { .. }),
        (_, GrantStep::Given { .. }),
        (one, GrantStep::Used { number: 1, of: 2 }),
        (_, GrantStep::Used { number: 2, of: 2 }),
    ] = steps.as_slice()
    else {
        panic!("{steps:?}")
    };
    assert_eq!((one.request, one.run), (request, run), "a use belongs to the call that spent it");
    verified(&store).await;
}

#[tokio::test]
async fn no_intent_relies_on_what_does_not_count() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (live, revoked) = (given("ana"), given("ana"));
    let coming = NewGrant { from: live.from.saturating_add(Duration::from_secs(60)), ..given("ana") };
    for new in [&live, &revoked, &coming] {
        store.give(new.clone()).await.unwrap();
    }
    store.revoke(revocation(revoked.id, "ana", &[])).await.unwrap();
    let now = live.from.saturating_add(Duration::from_secs(2));
    let head = store.head().await.unwrap();
    for wrong in [
        intent(Effect::Read, &[revoked.id], now),
        intent(Effect::Write, &[live.id, revoked.id], now),
        intent(Effect::Read, &[coming.id], now),
        intent(Effect::Read, &[GrantId::random()], now),
        intent(Effect::Read, &[live.id], live.until),
    ] {
        assert_eq!(store.append(Lane::Intent, wrong).await, Err(AuditError::GrantOver));
    }
    assert_eq!(store.head().await.unwrap(), head);
    store.append(Lane::Intent, intent(Effect::Write, &[live.id], now)).await.unwrap();
    verified(&store).await;
}

#[tokio::test]
async fn the_last_decision_counts_and_only_one_that_allowed() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (first, last) = (limited("ana", 5), limited("ana", 5));
    store.give(first.clone()).await.unwrap();
    store.give(last.clone()).await.unwrap();
    let twice = intent(Effect::Write, &[first.id], first.from)
        .with_fact(decided("allow", Basis { grants: [last.id].into(), ..Basis::default() }));
    store.append(Lane::Intent, twice).await.unwrap();
    // Only observed: what would have been refused or asked relied on nothing.
    for outcome in ["ask", "refuse"] {
        let observed = intent(Effect::Write, &[first.id], first.from)
            .with_fact(decided(outcome, Basis { grants: [last.id].into(), ..Basis::default() }));
        store.append(Lane::Intent, observed).await.unwrap();
    }
    assert_eq!((used(&store, first.id).await, used(&store, last.id).await), (0, 1));
}

#[tokio::test]
async fn grants_and_their_uses_survive_a_restart() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (kept, taken) = (limited("ana", 2), given("ana"));
    for new in [&kept, &taken] {
        store.give(new.clone()).await.unwrap();
    }
    store.append(Lane::Intent, intent(Effect::Write, &[kept.id], kept.from)).await.unwrap();
    store.revoke(revocation(taken.id, "bob", &["owners"])).await.unwrap();
    store.close().await;

    let store = dir.open().await;
    let now = kept.from.saturating_add(Duration::from_secs(2));
    let held = store.of(&PrincipalKey::new("okta", "ana"), now).await.unwrap();
    assert_eq!(held, [Grant { given: kept, used: 1, revoked: None }]);
    let gone = store.find(taken.id).await.unwrap().unwrap();
    assert_eq!(gone.state_at(now), GrantState::Revoked);
    let told = store.leaves(Query::default().phase(Phase::Grant)).await.unwrap();
    let last = told.last().unwrap().entry().unwrap();
    assert_eq!(last.principal(), Some(&PrincipalKey::new("okta", "bob")));
    verified(&store).await;
}

#[tokio::test]
async fn a_database_from_before_grants_is_brought_up_to_date() {
    let dir = Dir::new();
    let store = dir.open().await;
    let entry = support::entry(Phase::Control, 0);
    store.append(Lane::Outcome, entry).await.unwrap();
    store.close().await;
    let mut conn = intruder(&dir.db()).await;
    for sql in [
        "DROP TABLE role_grant",
        "DROP TABLE role_grant_set",
        "DROP TABLE mask_token",
        "DELETE FROM _sqlx_migrations WHERE version IN (2, 3)",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    drop(conn);
    // Who only reads does not change it.
    assert!(Store::open_read_only(dir.db()).await.is_err());
    let store = dir.open().await;
    assert_eq!(store.head().await.unwrap().size, 1);
    store.give(given("ana")).await.unwrap();
    verified(&store).await;
}
