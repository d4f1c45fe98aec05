//! What every store of approvals must give up, and when.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, time::Duration};

use crewgate_approval::{
    ApprovalStore, DelegationFilter, DelegationStore, Filter, GrantFilter, GrantStore, OpenError, Phase,
    VoteError,
};
use crewgate_audit::{Class, EraseError, Erasure};
use crewgate_core::{ApprovalId, Timestamp};

use super::{
    approval::{asked, no, person, set, start, yes},
    delegation::lent,
    grant::given,
};

const LEASE: Duration = Duration::from_secs(60);

fn after(seconds: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(seconds))
}

async fn listed(store: &dyn ApprovalStore, phase: Option<Phase>) -> Vec<ApprovalId> {
    let found = store.list(Filter { phase, ..Filter::at(after(2)) }).await.unwrap();
    found.iter().map(|row| row.id()).collect()
}

/// Runs every behaviour, each on a store of its own.
///
/// # Panics
///
/// When one does not hold.
pub async fn conforms<S, F, Fut>(fresh: F)
where
    S: ApprovalStore + GrantStore + DelegationStore + Erasure,
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
{
    what_an_erased_person_asked_for_ends(fresh().await).await;
    what_was_given_to_an_erased_person_or_lent_by_them_ends(fresh().await).await;
    what_has_ended_is_given_up_by_age(fresh().await).await;
}

async fn what_an_erased_person_asked_for_ends<S: ApprovalStore + Erasure>(store: S) {
    let ana = person("ana");
    let [waits, agreed, sent, denied] = [(); 4].map(|()| asked(&ana, &[("owners", 1)]));
    let other = asked(&person("carol"), &[("owners", 1)]);
    for new in [&waits, &agreed, &sent, &denied, &other] {
        store.open(new.clone()).await.unwrap();
    }
    for new in [&agreed, &sent] {
        store.vote(yes(new, &person("bob"), &["owners"])).await.unwrap();
    }
    store.vote(no(&denied, &person("bob"), &["owners"])).await.unwrap();
    let lease = store.claim(sent.id, after(2), LEASE).await.unwrap().unwrap();

    store.hold("okta:ana", true, None).await.unwrap();
    assert_eq!(store.erase("okta:ana", None).await, Err(EraseError::Held));
    assert!(store.find(denied.id).await.unwrap().is_some());
    store.hold("okta:ana", false, None).await.unwrap();
    store.erase("okta:ana", None).await.unwrap();

    for new in [&waits, &agreed, &sent, &denied] {
        assert_eq!(store.find(new.id).await, Ok(None));
        assert_eq!(store.by_run(new.run.unwrap()).await, Ok(None));
        assert_eq!(store.is_erased(new.id).await, Ok(true));
        assert_eq!(store.claim(new.id, after(2), LEASE).await, Ok(None), "nothing of theirs is started");
        let late = store.vote(yes(new, &person("dora"), &["owners"])).await;
        assert_eq!(late, Err(VoteError::Unknown), "nobody decides on what nobody can read");
        assert_eq!(store.open(new.clone()).await, Err(OpenError::Exists), "its id is not another's");
    }
    assert!(store.mark_sent(lease, after(3)).await.is_err(), "what was on its way is not sent");
    for phase in [None, Some(Phase::Pending)] {
        assert_eq!(listed(&store, phase).await, [other.id]);
    }
    assert_eq!(store.is_erased(other.id).await, Ok(false));
    assert_eq!(store.is_erased(ApprovalId::random()).await, Ok(false));

    // They come again: what is new is theirs, what was is not.
    let again = asked(&ana, &[("owners", 1)]);
    store.open(again.clone()).await.unwrap();
    store.vote(yes(&again, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(store.find(again.id).await.unwrap().unwrap().asked, again);
    assert_eq!(store.find(denied.id).await, Ok(None));
}

async fn what_was_given_to_an_erased_person_or_lent_by_them_ends<S>(store: S)
where
    S: ApprovalStore + GrantStore + DelegationStore + Erasure,
{
    store.open(asked(&person("ana"), &[("owners", 1)])).await.unwrap();
    for who in ["ana", "carol"] {
        store.give(given(who)).await.unwrap();
        store.lend(lent(who, "bob"), [set("owners")].into()).await.unwrap();
    }
    store.lend(lent("carol", "ana"), [set("owners")].into()).await.unwrap();
    store.erase("okta:ana", None).await.unwrap();
    let grants = GrantStore::list(&store, GrantFilter::at(after(2))).await.unwrap();
    let whose: Vec<_> = grants.iter().map(|grant| grant.given.principal.to_string()).collect();
    assert_eq!(whose, ["okta:carol"]);
    let lent = DelegationStore::list(&store, DelegationFilter::at(after(2))).await.unwrap();
    let whose: Vec<_> =
        lent.iter().map(|row| (row.given.by.key.to_string(), row.given.to.to_string())).collect();
    assert_eq!(whose, [("okta:carol".to_owned(), "okta:bob".to_owned())]);
}

async fn what_has_ended_is_given_up_by_age<S: ApprovalStore + Erasure>(store: S) {
    let [denied, undecided, lost, held] =
        ["ana", "ana", "ana", "hugo"].map(|who| asked(&person(who), &[("owners", 1)]));
    for new in [&denied, &undecided, &lost, &held] {
        store.open(new.clone()).await.unwrap();
    }
    store.vote(no(&denied, &person("bob"), &["owners"])).await.unwrap();
    store.vote(yes(&lost, &person("bob"), &["owners"])).await.unwrap();
    let lease = store.claim(lost.id, after(2), LEASE).await.unwrap().unwrap();
    store.mark_sent(lease, after(2)).await.unwrap();
    store.hold("okta:hugo", true, None).await.unwrap();

    store.prune(Class::Calls, after(10_000), None).await.unwrap();
    store.prune(Class::Approvals, undecided.expires, None).await.unwrap();
    assert_eq!(listed(&store, None).await.len(), 4, "another class, and what has only just ended");
    store.prune(Class::Approvals, after(10_000), None).await.unwrap();
    let mut kept = [lost.id, held.id];
    let mut left = listed(&store, None).await;
    kept.sort();
    left.sort();
    assert_eq!(left, kept, "what may have run is not given up, nor what is on hold");
    store.hold("okta:hugo", false, None).await.unwrap();
    store.prune(Class::Approvals, after(10_000), None).await.unwrap();
    assert_eq!(listed(&store, None).await, [lost.id]);
}
