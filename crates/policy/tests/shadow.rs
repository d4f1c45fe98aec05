//! A second policy reports and changes nothing, whatever it does.
#![expect(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use crewgate_core::{
    ApproverSet, Basis, Decision, Divergence, Duties, Fact, MaskProfile, RequestId, RuleId, Shadowed, Trail,
};
use crewgate_policy::{EnforceLayer, Policy, Query, SHADOW_QUEUE, Shadow, Sight, divergence};
use http::{Request, Response};
use proptest::prelude::*;
use support::{alice, operation};
use tower::{Layer, ServiceExt, service_fn};

/// Longest wait for a report; nothing is asserted about how long it took.
const PATIENCE: Duration = Duration::from_secs(30);

fn shadow(next: impl Policy) -> (Arc<Shadow>, mpsc::Receiver<Sight>) {
    let (report, reported) = mpsc::channel();
    let shadow = Shadow::new(move |sight| drop(report.send(sight))).unwrap();
    shadow.watch(Some(Arc::new(next)));
    (Arc::new(shadow), reported)
}

/// Status, and the facts on the trail.
async fn asked(layer: &EnforceLayer<dyn Policy>) -> (u16, Vec<Fact>) {
    let trail = Trail::new(RequestId::random());
    let mut request = Request::new(());
    request.extensions_mut().insert(alice());
    request.extensions_mut().insert(operation("kickoff"));
    request.extensions_mut().insert(trail.clone());
    let inner = service_fn(async |request: Request<()>| {
        assert!(request.extensions().get::<Decision>().is_some());
        Ok::<_, Infallible>(Response::new(()))
    });
    let answer = layer.layer(inner).oneshot(request).await.unwrap();
    (answer.status().as_u16(), trail.facts())
}

fn layer(first: impl Policy) -> EnforceLayer<dyn Policy> {
    EnforceLayer::shared(Arc::new(first) as Arc<dyn Policy>)
}

fn ask() -> Decision {
    let approvals = [ApproverSet::new("data-owners")].into();
    let duties = Duties { approvals, ..Duties::default() };
    Decision::Ask { approvals: duties.approvals.clone(), duties, basis: Basis::default() }
}

#[tokio::test]
async fn what_the_second_policy_would_deny_passes_and_is_reported() {
    let (shadow, reported) = shadow(|query: &Query<'_>| {
        // Rules read what was declared; the message is for the upstream.
        assert!(query.operation.message.body.is_none());
        let (rule, reason) = (Some(RuleId::new("new")), "no more".to_owned());
        Decision::Refuse { rule, reason, hints: Vec::new(), basis: Basis::default() }
    });
    let (status, facts) = asked(&layer(|_: &Query<'_>| Decision::allow()).shadow(shadow)).await;
    assert_eq!(status, 200);
    assert!(facts.iter().all(|fact| !matches!(fact, Fact::Shadowed(_))), "{facts:?}");
    let Sight::Differed { request: Some(_), how, .. } = reported.recv_timeout(PATIENCE).unwrap() else {
        panic!("no difference was seen")
    };
    let Shadowed { principal, action, divergence, decided, shadow_reason, .. } = *how;
    assert_eq!((principal.to_string().as_str(), action.as_str()), ("okta:alice", "kickoff"));
    assert_eq!((divergence, decided.as_str()), (Divergence::NewlyDenied, "allow"));
    assert_eq!(shadow_reason.as_deref(), Some("no more"));
}

#[tokio::test]
async fn what_the_second_policy_would_allow_stays_refused() {
    let (shadow, reported) = shadow(|_: &Query<'_>| Decision::allow());
    let (status, _) = asked(&layer(|_: &Query<'_>| Decision::refuse("closed")).shadow(shadow)).await;
    assert_eq!(status, 403);
    let sight = reported.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(sight, Sight::Differed { .. }), "{sight:?}");
}

#[tokio::test]
async fn a_second_policy_that_panics_is_reported_and_asked_again() {
    let (shadow, reported) = shadow(|query: &Query<'_>| match query.operation.action.as_str() {
        "kickoff" => panic!("broken"),
        _ => Decision::allow(),
    });
    let layer = layer(|_: &Query<'_>| Decision::allow()).shadow(shadow);
    for _ in 0..3 {
        assert_eq!(asked(&layer).await.0, 200);
        assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), Sight::Failed);
    }
}

#[tokio::test]
async fn a_witness_that_panics_ends_nothing() {
    let (report, reported) = mpsc::channel();
    let shadow = Shadow::new(move |_| {
        report.send(()).unwrap();
        panic!("broken");
    })
    .unwrap();
    shadow.watch(Some(Arc::new(|_: &Query<'_>| Decision::allow())));
    let layer = layer(|_: &Query<'_>| Decision::allow()).shadow(Arc::new(shadow));
    for _ in 0..2 {
        assert_eq!(asked(&layer).await.0, 200);
        reported.recv_timeout(PATIENCE).unwrap();
    }
}

#[tokio::test]
async fn no_request_waits_for_a_second_policy_that_never_answers() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (shadow, reported) = shadow(move |_: &Query<'_>| {
        let _ = held.lock().unwrap().recv();
        Decision::allow()
    });
    let layer = layer(|_: &Query<'_>| Decision::allow()).shadow(shadow);
    // One is being thought about, the queue is full, and the rest are left out; every request is answered.
    let more = 50;
    for _ in 0..SHADOW_QUEUE + 1 + more {
        assert_eq!(asked(&layer).await.0, 200);
    }
    let skipped = reported.try_iter().filter(|sight| *sight == Sight::Skipped).count();
    assert!(skipped >= more, "{skipped}");
    drop(release);
    assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), Sight::Agreed);
}

#[tokio::test]
async fn without_a_second_policy_nobody_is_asked() {
    let (shadow, reported) = shadow(|_: &Query<'_>| Decision::refuse("no"));
    shadow.watch(None);
    let layer = layer(|_: &Query<'_>| Decision::allow()).shadow(shadow);
    assert_eq!(asked(&layer).await.0, 200);
    drop(layer);
    // The thread has ended with the last holder, and had nothing to say.
    assert!(reported.recv_timeout(PATIENCE).is_err());
}

fn decision() -> impl Strategy<Value = Decision> {
    let duties = (any::<bool>(), any::<bool>()).prop_map(|(mask, approval)| {
        let mut duties = Duties::default();
        duties.masks.extend(mask.then(|| MaskProfile::new("pii")));
        duties.approvals.extend(approval.then(|| ApproverSet::new("owners")));
        duties
    });
    let rules = prop::collection::btree_set("[ab]".prop_map(RuleId::new), 0..2);
    let basis = rules.prop_map(|rules| Basis { rules, ..Basis::default() });
    (0..3, duties, basis, "[ab]").prop_map(|(kind, duties, basis, reason)| match kind {
        0 => Decision::Allow { duties, basis },
        1 => Decision::Ask { approvals: duties.approvals.clone(), duties, basis },
        _ => Decision::Refuse { rule: None, reason, hints: Vec::new(), basis },
    })
}

proptest! {
    #[test]
    fn only_what_a_caller_would_notice_is_a_difference(first in decision(), second in decision()) {
        let noticed = first.outcome() != second.outcome() || first.duties() != second.duties();
        prop_assert_eq!(divergence(&first, &second).is_some(), noticed);
        let named = match divergence(&first, &second) {
            Some(Divergence::NewlyAllowed) => second.outcome() == "allow" && first.outcome() != "allow",
            Some(Divergence::NewlyAsking) => second.outcome() == "ask" && first.outcome() != "ask",
            Some(Divergence::NewlyDenied) => second.outcome() == "refuse" && first.outcome() != "refuse",
            Some(Divergence::OtherDuties) => first.outcome() == second.outcome(),
            None => true,
        };
        prop_assert!(named);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_outcome_is_the_first_policys_whatever_the_second_says(first in decision(), second in decision()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, two) = (first.clone(), first);
        let (shadow, reported) = shadow(move |_: &Query<'_>| second.clone());
        let alone = runtime.block_on(asked(&layer(move |_: &Query<'_>| one.clone())));
        let beside = runtime.block_on(asked(&layer(move |_: &Query<'_>| two.clone()).shadow(shadow)));
        prop_assert_eq!(alone, beside);
        prop_assert!(reported.recv_timeout(PATIENCE).is_ok());
    }
}

#[test]
fn asking_where_the_first_allows_is_newly_asking() {
    assert_eq!(divergence(&Decision::allow(), &ask()), Some(Divergence::NewlyAsking));
    assert_eq!(divergence(&ask(), &Decision::allow()), Some(Divergence::NewlyAllowed));
    assert_eq!(divergence(&Decision::refuse("a"), &Decision::refuse("b")), None);
}
