//! A caller's own name for a call is taken with what the call begins, and so with nothing less.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use crewgate_approval::{ApprovalStore, KeptKey, KeyStore, NewApproval, OpenError};
use crewgate_audit::{AuditError, AuditStore, Entry, Lane, Phase};
use crewgate_core::{Fact, RequestId};
use crewgate_testkit::suites::{
    approval::{asked, person, start},
    keys::keyed,
};
use support::{Dir, verified};

fn entry(phase: Phase, request: RequestId, key: &str) -> Entry {
    Entry::new(phase, request, start()).with_fact(Fact::Keyed(keyed(key, "f")))
}

#[tokio::test]
async fn an_intent_takes_the_name_of_its_call_and_a_second_one_is_not_written() {
    let dir = Dir::new();
    let store = dir.open().await;
    let [first, second] = [RequestId::random(), RequestId::random()];
    store.append(Lane::Intent, entry(Phase::Intent, first, "k")).await.unwrap();
    let taken = store.append(Lane::Intent, entry(Phase::Intent, second, "k")).await;
    assert_eq!(taken, Err(AuditError::KeyTaken));
    let leaves = verified(&store).await;
    assert!(leaves.iter().all(|leaf| leaf.entry().unwrap().request == first), "{leaves:?}");
    assert_eq!(store.open_intents(10).await.unwrap().len(), 1);
    // Neither can an approval be opened under it.
    let new = NewApproval { keyed: Some(keyed("k", "f")), ..asked(&person("ana"), &[("owners", 1)]) };
    assert_eq!(store.open(new.clone()).await, Err(OpenError::KeyTaken));
    assert!(store.find(new.id).await.unwrap().is_none());
    store.close().await;

    // The next process knows it as this one did.
    let store = dir.open().await;
    let kept = KeptKey { fingerprint: "f".to_owned(), request: first, approval: None };
    assert_eq!(store.kept("k", start()).await.unwrap(), Some(kept));
    let taken = store.append(Lane::Intent, entry(Phase::Intent, second, "k")).await;
    assert_eq!(taken, Err(AuditError::KeyTaken));
}

#[tokio::test]
async fn the_name_of_a_call_that_did_not_leave_is_free_again() {
    let dir = Dir::new();
    let store = dir.open().await;
    let unanswered = |sent| Fact::Unanswered { code: "upstream_unreachable".to_owned(), sent };
    for (facts, free) in [
        (vec![unanswered(false)], true),
        (vec![unanswered(true)], false),
        (vec![Fact::Answered { status: 500 }], false),
        (vec![], false),
    ] {
        let request = RequestId::random();
        let key = request.to_string();
        store.append(Lane::Intent, entry(Phase::Intent, request, &key)).await.unwrap();
        let outcome = facts.iter().cloned().fold(entry(Phase::Outcome, request, &key), Entry::with_fact);
        store.append(Lane::Outcome, outcome).await.unwrap();
        assert_eq!(store.kept(&key, start()).await.unwrap().is_none(), free, "{facts:?}");
    }
}
