//! Grants in memory, and the laws of their ends.

use std::sync::{Arc, Mutex};

use crewgate_approval::{
    GiveError, Grant, GrantState, GrantStore, MemoryGrants, MemoryStore, Narrowing, NewGrant, RevokeError,
    SpendError, StoreError, grants,
};
use crewgate_core::{Effect, Fact, GrantStep, InputValue, Operation, RequestId, Timestamp};
use crewgate_testkit::suites::{
    approval::operation,
    grant::{self as suite, given, limited, revocation},
};
use proptest::prelude::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_conforms() {
    suite::conforms(|| async { Arc::new(MemoryGrants::new()) as suite::Store }).await;
}

#[tokio::test]
async fn what_is_agreed_to_is_given_with_the_last_yes() {
    let grants = Arc::new(MemoryGrants::new());
    let gives = Arc::clone(&grants);
    let approvals = MemoryStore::new().gives(move |new| gives.give_now(new));
    suite::is_given_with_the_last_yes(&approvals, &*grants).await;
}

#[tokio::test]
async fn every_transition_is_recorded_before_it_happens() {
    let facts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&facts);
    let store = MemoryGrants::new().record(move |fact| {
        sink.lock().unwrap().push(fact.clone());
        Ok(())
    });
    let new = limited("ana", 1);
    store.give(new.clone()).await.unwrap();
    store.spend(new.id, Effect::Read, RequestId::random(), new.from).await.unwrap();
    store.spend(new.id, Effect::Write, RequestId::random(), new.from).await.unwrap();
    store.revoke(revocation(new.id, "bob", &["owners"])).await.unwrap();
    assert!(store.revoke(revocation(new.id, "bob", &["owners"])).await.is_err());
    let facts = facts.lock().unwrap();
    let steps: Vec<_> = facts
        .iter()
        .map(|fact| match fact {
            Fact::Grant { grant, step } if *grant == new.id => step,
            other => panic!("{other:?}"),
        })
        .collect();
    let [
        GrantStep::Given { role, approval, .. },
        GrantStep::Used { number: 1, of: 1 },
        GrantStep::Revoked { by, .. },
    ] = steps.as_slice()
    else {
        panic!("{steps:?}")
    };
    assert_eq!((role, approval, by.subject.as_str()), (&new.role, &new.approval, "bob"));
    // As they are stored, they are read again.
    for fact in facts.iter() {
        let text = serde_json::to_string(fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), *fact, "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let broken = Arc::new(Mutex::new(false));
    let switch = Arc::clone(&broken);
    let full = StoreError::Unavailable("disk full".to_owned());
    let error = full.clone();
    let store = MemoryGrants::new().record(move |_| match *switch.lock().unwrap() {
        true => Err(error.clone()),
        false => Ok(()),
    });
    let new = limited("ana", 1);
    store.give(new.clone()).await.unwrap();
    *broken.lock().unwrap() = true;
    let spent = store.spend(new.id, Effect::Write, RequestId::random(), new.from).await;
    assert_eq!(spent, Err(SpendError::Store(full.clone())));
    let revoked = store.revoke(revocation(new.id, "bob", &["owners"])).await;
    assert_eq!(revoked, Err(RevokeError::Store(full.clone())));
    assert_eq!(store.give(given("ana")).await, Err(GiveError::Store(full)));
    let row = store.find(new.id).await.unwrap().unwrap();
    assert_eq!((row.used, row.revoked), (0, None));
}

#[tokio::test]
async fn a_full_store_forgets_what_is_over_and_nothing_that_counts() {
    let store = MemoryGrants::new().limit(2.try_into().unwrap());
    let [first, second, third] = [(); 3].map(|()| given("ana"));
    store.give(first.clone()).await.unwrap();
    store.give(second.clone()).await.unwrap();
    assert!(matches!(store.give(third.clone()).await, Err(GiveError::Store(StoreError::Unavailable(_)))));
    store.revoke(revocation(second.id, "ana", &[])).await.unwrap();
    store.give(third.clone()).await.unwrap();
    assert!(store.find(first.id).await.unwrap().is_some());
    assert!(store.find(second.id).await.unwrap().is_none());
}

fn kickoff(crew: &str, inputs: &[(&str, &str)]) -> Operation {
    let mut operation = operation();
    operation.resource.name = crew.to_owned();
    let value = |(name, value): &(&str, &str)| ((*name).to_owned(), InputValue::String((*value).to_owned()));
    operation.inputs = inputs.iter().map(value).collect();
    operation
}

#[test]
fn a_narrowed_grant_counts_only_where_it_says() {
    let inputs = [("dataset".to_owned(), InputValue::String("sales".to_owned()))];
    let narrowed = Narrowing { resources: ["support".to_owned()].into(), inputs: inputs.into(), uses: None };
    let grant = Grant { given: NewGrant { narrowed, ..given("ana") }, used: 0, revoked: None };
    let now = grant.given.from;
    let counts = |operation: &Operation| grant.counts_for(Some(operation), now);
    assert!(counts(&kickoff("support", &[("dataset", "sales")])));
    assert!(counts(&kickoff("support", &[("topic", "churn"), ("dataset", "sales")])));
    for wrong in [
        kickoff("payroll", &[("dataset", "sales")]),
        kickoff("support", &[("dataset", "salaries")]),
        kickoff("support", &[("topic", "sales")]),
        kickoff("support", &[]),
        kickoff("support", &[("dataset", "sales"), ("dataset", "salaries")]),
    ] {
        assert!(!counts(&wrong), "{wrong:?}");
    }
    // One spelling of a value is not another.
    let mut typed = kickoff("support", &[]);
    typed.inputs = vec![("dataset".to_owned(), InputValue::Strings(vec!["sales".to_owned()]))];
    assert!(!counts(&typed));
    assert!(!grant.counts_for(None, now), "it is held for no operation in particular");
    let wide = Grant { given: given("ana"), used: 0, revoked: None };
    assert!(wide.counts_for(None, now) && wide.counts_for(Some(&kickoff("payroll", &[])), now));
}

#[test]
fn what_is_used_up_still_reads() {
    let mut grant = Grant { given: limited("ana", 1), used: 1, revoked: None };
    let (now, mut operation) = (grant.given.from, operation());
    assert!(!grant.counts_for(Some(&operation), now), "a kickoff changes something");
    operation.effect = Effect::Read;
    assert!(grant.counts_for(Some(&operation), now));
    grant.revoked = grants::revoke(&grant, &revocation(grant.id(), "ana", &[])).unwrap().grant.revoked;
    assert!(!grant.counts_for(Some(&operation), now));
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

proptest! {
    /// A grant counts exactly in `[from, until)` and never after it was revoked or, for calls that change something,
    /// after its last use; and a call leaves on it exactly when it counts.
    #[test]
    fn a_grant_counts_exactly_in_its_time(
        from in 0..50_i64,
        length in 1..50_i64,
        revoked in proptest::option::of(0..100_i64),
        uses in proptest::option::of(1..4_u32),
        calls in proptest::collection::vec((0..100_i64, any::<bool>()), 0..20),
    ) {
        let until = from + length;
        let mut new = uses.map_or_else(|| given("ana"), |uses| limited("ana", uses));
        (new.given, new.from, new.until) = (at(0), at(from), at(until));
        let mut grant = grants::give(new, 0).unwrap().grant;
        let mut calls = calls;
        calls.sort_unstable();
        let mut gone = false;
        let mut left = 0;
        for (now, writes) in calls {
            if let Some(when) = revoked && !gone && when <= now {
                let revocation = grants::revoke(&grant, &crewgate_approval::Revocation {
                    at: at(when), ..revocation(grant.id(), "bob", &["owners"])
                });
                prop_assert_eq!(revocation.is_ok(), when < until);
                if let Ok(next) = revocation {
                    grant = next.grant;
                    gone = true;
                }
            }
            let mut operation = operation();
            operation.effect = if writes { Effect::Write } else { Effect::Read };
            let expected = !gone && from <= now && now < until && (!writes || uses.is_none_or(|uses| left < uses));
            prop_assert_eq!(grant.counts_for(Some(&operation), at(now)), expected);
            let spent = grants::spend(&grant, operation.effect, RequestId::random(), at(now));
            prop_assert_eq!(spent.is_ok(), expected);
            if let Ok(Some(next)) = spent {
                left += 1;
                grant = next.grant;
            }
        }
        prop_assert!(uses.is_none_or(|uses| left <= uses));
        prop_assert_eq!(grant.state_at(at(until)).is_over(), true);
        prop_assert_eq!(grant.state_at(at(from - 1)) == GrantState::Live, false);
    }
}
