//! Row and leaf in one transaction: what an intent and its outcome do to the approval they release.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use crewgate_approval::{ApprovalStore, Lease, LeaseError, NewApproval, Phase as Stands, State};
use crewgate_audit::{AuditError, AuditStore, Entry, Lane, Log, Phase, Query};
use crewgate_core::{ApprovalStep, Fact, RequestId, Timestamp};
use crewgate_store::Store;
use crewgate_testkit::suites::approval::{asked, person, start, yes};
use support::{Dir, verified};

fn now() -> Timestamp {
    start().saturating_add(Duration::from_secs(30))
}

/// Asked for, approved and claimed.
async fn claimed(store: &Store) -> (NewApproval, Lease) {
    let new = asked(&person("ana"), &[("owners", 1)]);
    store.open(new.clone()).await.unwrap();
    store.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap();
    let lease = store.claim(new.id, now(), Duration::from_secs(60)).await.unwrap().unwrap();
    (new, lease)
}

fn released(phase: Phase, request: RequestId, lease: Lease) -> Entry {
    Entry::new(phase, request, now())
        .with_fact(Fact::Released { approval: lease.approval, lease: lease.number })
}

async fn state(store: &Store, lease: Lease) -> State {
    store.find(lease.approval).await.unwrap().unwrap().state
}

async fn steps(store: &Store, lease: Lease) -> Vec<ApprovalStep> {
    let query = Query { approval: Some(lease.approval), phase: Some(Phase::Approval), ..Query::default() };
    let leaves = store.leaves(query).await.unwrap();
    let facts = leaves.iter().flat_map(|leaf| leaf.entry().unwrap().facts);
    facts.filter_map(|fact| if let Fact::Approval { step, .. } = fact { Some(step) } else { None }).collect()
}

#[tokio::test]
async fn an_intent_marks_its_approval_as_sent_and_the_outcome_settles_it() {
    let outcomes = [
        (vec![Fact::Answered { status: 200 }], Stands::Executed),
        (vec![Fact::Unanswered { code: "upstream_unreachable".to_owned(), sent: false }], Stands::Failed),
        (vec![Fact::Unanswered { code: "upstream_timeout".to_owned(), sent: true }], Stands::Indeterminate),
        (vec![], Stands::Indeterminate),
    ];
    for (facts, stands) in outcomes {
        let dir = Dir::new();
        let store = dir.open().await;
        let (_, lease) = claimed(&store).await;
        let request = RequestId::random();
        store.append(Lane::Intent, released(Phase::Intent, request, lease)).await.unwrap();
        assert!(matches!(state(&store, lease).await, State::Executing { sent: true, .. }));

        let outcome = facts.into_iter().fold(released(Phase::Outcome, request, lease), Entry::with_fact);
        store.append(Lane::Outcome, outcome).await.unwrap();
        assert_eq!(state(&store, lease).await.phase(), stands);
        assert!(store.open_intents(10).await.unwrap().is_empty());
        verified(&store).await;
    }
}

#[tokio::test]
async fn every_move_has_its_leaf() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (new, lease) = claimed(&store).await;
    let request = RequestId::random();
    store.append(Lane::Intent, released(Phase::Intent, request, lease)).await.unwrap();
    let outcome = released(Phase::Outcome, request, lease).with_fact(Fact::Answered { status: 200 });
    store.append(Lane::Outcome, outcome).await.unwrap();
    let steps = steps(&store, lease).await;
    let [
        ApprovalStep::Requested { .. },
        ApprovalStep::Voted { settles: true, .. },
        ApprovalStep::Claimed,
        ApprovalStep::Executed,
    ] = steps.as_slice()
    else {
        panic!("{steps:?}")
    };
    // They belong to the run and the request that asked.
    let leaves = store.leaves(Query::request(new.request)).await.unwrap();
    assert_eq!(leaves.len(), 4);
    assert!(leaves.iter().all(|leaf| leaf.entry().unwrap().run == new.run));
}

#[tokio::test]
async fn an_intent_without_the_lease_is_refused_and_leaves_nothing() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (_, lease) = claimed(&store).await;
    let head = store.head().await.unwrap();
    let conflict = Err(AuditError::Conflict);

    let stranger = Lease { number: lease.number + 1, ..lease };
    let unknown = Lease { approval: crewgate_core::ApprovalId::random(), number: 1 };
    for wrong in [stranger, unknown] {
        let entry = released(Phase::Intent, RequestId::random(), wrong);
        assert_eq!(store.append(Lane::Intent, entry).await, conflict);
    }
    // Too late: the lease has ended.
    let mut late = released(Phase::Intent, RequestId::random(), lease);
    late.time = now().saturating_add(Duration::from_secs(61));
    assert_eq!(store.append(Lane::Intent, late).await, conflict);
    assert_eq!(store.head().await.unwrap(), head);
    assert!(store.open_intents(10).await.unwrap().is_empty());

    // Two attempts of one lease: one leaves.
    let twice =
        [(); 2].map(|()| store.append(Lane::Intent, released(Phase::Intent, RequestId::random(), lease)));
    let [first, second] = twice;
    assert!(first.await.is_ok());
    assert_eq!(second.await, conflict);
    verified(&store).await;
}

#[tokio::test]
async fn an_outcome_nobody_expects_is_recorded_and_moves_nothing() {
    let dir = Dir::new();
    let store = dir.open().await;
    let (_, lease) = claimed(&store).await;
    let outcome =
        released(Phase::Outcome, RequestId::random(), lease).with_fact(Fact::Answered { status: 200 });
    store.append(Lane::Outcome, outcome).await.unwrap();
    assert!(matches!(state(&store, lease).await, State::Executing { sent: false, .. }));
    verified(&store).await;
}

#[tokio::test]
async fn after_a_restart_what_was_sent_is_indeterminate_and_what_was_not_can_be_claimed_again() {
    let dir = Dir::new();
    let store = dir.open().await;
    let ((_, sent), (_, unsent)) = (claimed(&store).await, claimed(&store).await);
    store.append(Lane::Intent, released(Phase::Intent, RequestId::random(), sent)).await.unwrap();
    store.close().await;

    let store = dir.open().await;
    assert_eq!(state(&store, sent).await, State::Indeterminate);
    assert_eq!(steps(&store, sent).await.last(), Some(&ApprovalStep::Indeterminate));
    assert_eq!(store.open_intents(10).await.unwrap().len(), 1);
    let later = now().saturating_add(Duration::from_secs(61));
    assert_eq!(store.claim(sent.approval, later, Duration::from_secs(60)).await.unwrap(), None);

    assert_eq!(store.claim(unsent.approval, now(), Duration::from_secs(60)).await.unwrap(), None);
    let again = store.claim(unsent.approval, later, Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(again.number, unsent.number + 1);
    assert_eq!(store.mark_sent(unsent, later).await, Err(LeaseError::Lost));
    verified(&store).await;
}
