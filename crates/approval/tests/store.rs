//! The in-memory store passes the suite every store passes.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use crewgate_approval::{
    ApprovalStore, MemoryDelegations, MemoryStore, OpenError, State, StoreError, VoteError,
};
use crewgate_core::{ApprovalStep, Fact};
use crewgate_testkit::suites::{
    approval::{self as suite, asked, no, person, yes},
    delegation, glass,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_keeps_callers_names() {
    crewgate_testkit::suites::keys::conforms(|| async { Arc::new(MemoryStore::new()) }).await;
}

#[tokio::test]
async fn the_memory_store_conforms() {
    suite::conforms(|| async { Arc::new(MemoryStore::new()) as suite::Store }).await;
    glass::conforms(|| async { Arc::new(MemoryStore::new()) as suite::Store }).await;
    delegation::conforms(|| async { Arc::new(MemoryDelegations::new()) as delegation::Store }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_have_one_winner() {
    // Ten stores of a thousand rounds: one of ten thousand would spend its time looking for ids.
    for _ in 0..10 {
        let store = MemoryStore::new().limit(NonZeroUsize::new(10_000).unwrap());
        let store: suite::Store = Arc::new(store);
        suite::races([Arc::clone(&store), store], 1000).await;
    }
}

#[tokio::test]
async fn every_transition_is_recorded_before_it_happens() {
    let facts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&facts);
    let store = MemoryStore::new().record(move |fact| {
        sink.lock().unwrap().push(fact.clone());
        Ok(())
    });
    let new = asked(&person("ana"), &[("owners", 1)]);
    store.open(new.clone()).await.unwrap();
    store.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap();
    assert!(store.vote(no(&new, &person("dan"), &["owners"])).await.is_err());
    let facts = facts.lock().unwrap();
    assert_eq!(facts.len(), 2, "a refused vote moved nothing");
    let Fact::Approval { approval, step: ApprovalStep::Requested { digest, .. } } = &facts[0] else {
        panic!("{facts:?}")
    };
    assert_eq!((approval, digest), (&new.id, &new.digest.to_string()));
    assert!(matches!(
        &facts[1],
        Fact::Approval { step: ApprovalStep::Voted { by, settles: true, .. }, .. } if *by == person("bob").key
    ));
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let broken = Arc::new(Mutex::new(false));
    let switch = Arc::clone(&broken);
    let store = MemoryStore::new().record(move |_| match *switch.lock().unwrap() {
        true => Err(StoreError::Unavailable("disk full".to_owned())),
        false => Ok(()),
    });
    let new = asked(&person("ana"), &[("owners", 1)]);
    store.open(new.clone()).await.unwrap();
    *broken.lock().unwrap() = true;
    let refused = store.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap_err();
    assert_eq!(refused, VoteError::Store(StoreError::Unavailable("disk full".to_owned())));
    assert_eq!(store.find(new.id).await.unwrap().unwrap().state, State::Pending);
}

#[tokio::test]
async fn a_full_store_forgets_what_ended_and_nothing_that_waits() {
    let store = MemoryStore::new().limit(NonZeroUsize::new(2).unwrap());
    let [first, second, third, fourth] = [(); 4].map(|()| asked(&person("ana"), &[("owners", 1)]));
    store.open(first.clone()).await.unwrap();
    store.open(second.clone()).await.unwrap();
    assert!(matches!(store.open(third.clone()).await, Err(OpenError::Store(StoreError::Unavailable(_)))));
    store.vote(no(&second, &person("bob"), &["owners"])).await.unwrap();
    store.open(third.clone()).await.unwrap();
    assert!(store.find(first.id).await.unwrap().is_some());
    assert!(store.find(second.id).await.unwrap().is_none());
    assert!(store.open(fourth).await.is_err());
}
