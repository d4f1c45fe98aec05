//! The enforcing layer, at the door.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};

use crewgate_core::{
    ApprovalId, Approvals, ApproverSet, Basis, Clock, Decision, Duties, Fact, MaskProfile, Operation,
    Principal, RateDuty, Refusal, RequestId, RoleName, RuleId, Timestamp, Trail,
};
use crewgate_policy::{
    BoxFuture, EnforceLayer, HeldRole, MemoryMeter, Policy, Query, RoleBinding, RoleSource, RolesUnavailable,
    StaticRoles, Swap,
};
use crewgate_testkit::{ManualClock, ReadyProbe, suites::meter::duty};
use http::{Request, Response, StatusCode};
use support::{alice, operation};
use tower::{Layer as _, ServiceExt};

const HOUR: Duration = Duration::from_secs(3600);

/// The inner service's answer is the decision it was given.
type Answered = Response<Option<Decision>>;

struct Door {
    request: Request<()>,
    trail: Trail,
}

impl Door {
    /// A described request of a known caller.
    fn new() -> Self {
        let trail = Trail::new(RequestId::random());
        let mut request = Request::new(());
        request.extensions_mut().insert(alice());
        request.extensions_mut().insert(operation("kickoff"));
        request.extensions_mut().insert(trail.clone());
        Self { request, trail }
    }

    async fn knock<P: Policy + ?Sized>(self, layer: &EnforceLayer<P>) -> (Answered, Vec<Fact>) {
        let probe = ReadyProbe::new(|request: Request<()>| {
            Response::new(request.extensions().get::<Decision>().cloned())
        });
        let response = layer.layer(probe.clone()).oneshot(self.request).await.unwrap();
        let refused = response.extensions().get::<Refusal>().is_some();
        assert_eq!(probe.calls() == 0, refused, "refused requests, and only they, stop here");
        (response, self.trail.facts())
    }
}

fn refusal(response: &Answered) -> &Refusal {
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.status, response.status());
    refusal
}

fn rated(duty: RateDuty) -> Decision {
    let duties = Duties { rates: [duty].into(), ..Duties::default() };
    Decision::Allow { duties, basis: Basis::default() }
}

fn asked() -> Decision {
    let approvals: BTreeSet<_> = [ApproverSet::new("owners")].into();
    let masks = [MaskProfile::new("pii-basic")].into();
    let rates = [duty("hourly", 1, HOUR)].into();
    let duties = Duties { approvals: approvals.clone(), masks, rates };
    Decision::Ask { approvals, duties, basis: Basis::default() }
}

fn no_by_rule() -> Decision {
    let basis = Basis { rules: [RuleId::new("night")].into(), ..Basis::default() };
    Decision::Refuse {
        rule: Some(RuleId::new("night")),
        reason: "Not at night.".to_owned(),
        hints: Vec::new(),
        basis,
    }
}

#[tokio::test]
async fn an_allowed_request_passes_with_its_decision() {
    let (response, facts) = Door::new().knock(&EnforceLayer::new(|_: &Query<'_>| Decision::allow())).await;
    assert_eq!(response.into_body(), Some(Decision::allow()));
    let expected = Fact::Decided {
        outcome: "allow".to_owned(),
        duties: Some(Duties::default()),
        reason: None,
        basis: Basis::default(),
    };
    assert_eq!(facts, [expected]);
}

#[tokio::test]
async fn a_rule_that_says_no_is_named_and_the_default_is_not() {
    let (response, facts) = Door::new().knock(&EnforceLayer::new(|_: &Query<'_>| no_by_rule())).await;
    let said = refusal(&response);
    assert_eq!(
        (said.status, said.code, said.detail.as_str()),
        (StatusCode::FORBIDDEN, "policy_refused", "Not at night.")
    );
    assert_eq!(said.rule, Some(RuleId::new("night")));
    assert!(matches!(&facts[..], [Fact::Decided { outcome, reason: Some(reason), .. }]
        if outcome == "refuse" && reason == "Not at night."));

    let (response, _) =
        Door::new().knock(&EnforceLayer::new(|_: &Query<'_>| Decision::refuse("Not permitted."))).await;
    assert_eq!((refusal(&response).code, refusal(&response).rule.as_ref()), ("policy_denied", None));
}

#[tokio::test]
async fn a_question_for_people_is_passed_on_and_takes_no_rate() {
    let layer = EnforceLayer::new(|_: &Query<'_>| asked());
    let (response, facts) = Door::new().knock(&layer).await;
    assert_eq!(response.into_body(), Some(asked()));
    assert!(matches!(&facts[..], [Fact::Decided { outcome, .. }] if outcome == "ask"));
    // There is no meter; had a rate been taken it would have been a 503.
}

#[tokio::test]
async fn a_missing_principal_or_operation_refuses_even_what_is_only_observed() {
    for observed in [false, true] {
        let layer = EnforceLayer::new(|_: &Query<'_>| Decision::allow()).observe_when(move |_, _| observed);
        let mut door = Door::new();
        door.request.extensions_mut().remove::<Principal>();
        let (response, facts) = door.knock(&layer).await;
        assert_eq!(
            (refusal(&response).status, refusal(&response).code),
            (StatusCode::FORBIDDEN, "principal_missing")
        );
        assert!(facts.is_empty());
        let mut door = Door::new();
        door.request.extensions_mut().remove::<Operation>();
        let (response, _) = door.knock(&layer).await;
        assert_eq!(
            (refusal(&response).status, refusal(&response).code),
            (StatusCode::FORBIDDEN, "operation_missing")
        );
    }
}

#[tokio::test]
async fn a_decision_somebody_left_there_is_not_believed() {
    let mut door = Door::new();
    door.request.extensions_mut().insert(Decision::allow());
    let (response, _) = door.knock(&EnforceLayer::new(|_: &Query<'_>| asked())).await;
    assert_eq!(response.into_body(), Some(asked()));
}

#[tokio::test]
async fn the_question_holds_the_roles_the_approvals_and_the_time() {
    let clock = ManualClock::new();
    let end = clock.now().saturating_add(HOUR);
    let roles = StaticRoles::new([RoleBinding {
        subjects: vec!["okta:alice".to_owned()],
        until: Some(end),
        ..RoleBinding::new(RoleName::new("operators"))
    }]);
    let given = Approvals { approval: ApprovalId::random(), sets: [ApproverSet::new("owners")].into() };
    let (expected, now) = (given.clone(), clock.now());
    let policy = move |query: &Query<'_>| {
        let known = query.principal.key == alice().key && query.operation.action.as_str() == "kickoff";
        if known && query.now == now && query.approvals == Some(&expected) && query.roles.len() == 1 {
            Decision::allow()
        } else {
            Decision::refuse(format!("{query:?}"))
        }
    };
    let layer = EnforceLayer::new(policy).roles(Arc::new(roles)).clock(Arc::new(clock.clone()));
    let knock = || {
        let mut door = Door::new();
        door.request.extensions_mut().insert(given.clone());
        door.knock(&layer)
    };
    assert_eq!(knock().await.0.status(), StatusCode::OK);
    clock.set(end);
    assert_eq!(
        knock().await.0.status(),
        StatusCode::FORBIDDEN,
        "the role has ended, and the time is another"
    );
}

struct NoRoles;

impl RoleSource for NoRoles {
    fn roles<'a>(
        &'a self,
        _: &'a Principal,
        _: Option<&'a Operation>,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<HeldRole>, RolesUnavailable>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            Err(RolesUnavailable { reason: "the directory at ldap.internal is down".to_owned() })
        })
    }
}

#[tokio::test]
async fn without_roles_nobody_is_decided_on_and_nobody_learns_why() {
    for observed in [false, true] {
        let layer = EnforceLayer::new(|_: &Query<'_>| Decision::allow())
            .roles(Arc::new(NoRoles))
            .observe_when(move |_, _| observed);
        let (response, facts) = Door::new().knock(&layer).await;
        let said = refusal(&response);
        assert_eq!((said.status, said.code), (StatusCode::SERVICE_UNAVAILABLE, "roles_unavailable"));
        assert!(!said.detail.contains("ldap") && facts.is_empty());
    }
}

#[tokio::test]
async fn a_rate_is_taken_from_or_the_caller_waits() {
    let clock = ManualClock::new();
    let layer = EnforceLayer::new(|_: &Query<'_>| rated(duty("hourly", 2, HOUR)))
        .meter(Arc::new(MemoryMeter::new()))
        .clock(Arc::new(clock.clone()));
    for _ in 0..2 {
        assert_eq!(Door::new().knock(&layer).await.0.status(), StatusCode::OK);
        clock.advance(Duration::from_secs(60));
    }
    let (response, facts) = Door::new().knock(&layer).await;
    let said = refusal(&response);
    assert_eq!((said.status, said.code), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
    assert_eq!(
        (said.rule.as_ref(), said.retry_after),
        (Some(&RuleId::new("hourly")), Some(Duration::from_secs(3480)))
    );
    assert_eq!(said.detail, "No more than 2/h calls are allowed.");
    assert!(matches!(&facts[..], [Fact::Decided { outcome, .. }] if outcome == "allow"));
    clock.advance(Duration::from_secs(3480));
    assert_eq!(Door::new().knock(&layer).await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_counted_does_not_pass() {
    for observed in [false, true] {
        let layer = EnforceLayer::new(|query: &Query<'_>| {
            rated(duty(query.operation.resource.name.as_str(), 1, HOUR))
        })
        .observe_when(move |_, _| observed);
        let (response, _) = Door::new().knock(&layer).await;
        assert_eq!(
            (refusal(&response).status, refusal(&response).code),
            (StatusCode::SERVICE_UNAVAILABLE, "meter_missing")
        );

        let layer = layer.meter(Arc::new(MemoryMeter::with_keys(NonZeroUsize::MIN)));
        assert_eq!(Door::new().knock(&layer).await.0.status(), StatusCode::OK);
        let mut door = Door::new();
        door.request.extensions_mut().get_mut::<Operation>().unwrap().resource.name = "other".to_owned();
        let (response, _) = door.knock(&layer).await;
        assert_eq!(
            (refusal(&response).status, refusal(&response).code),
            (StatusCode::SERVICE_UNAVAILABLE, "meter_unavailable")
        );
    }
}

#[tokio::test]
async fn an_observed_refusal_is_recorded_and_passes() {
    let layer = EnforceLayer::new(|_: &Query<'_>| no_by_rule()).observe_when(|_, _| true);
    let (response, facts) = Door::new().knock(&layer).await;
    let Some(Decision::Allow { duties, basis }) = response.into_body() else { panic!() };
    assert_eq!((duties, basis), (Duties::default(), no_by_rule().basis().clone()));
    let observed = Fact::Observed { reason: "Not at night.".to_owned(), rule: Some(RuleId::new("night")) };
    assert!(
        matches!(&facts[..], [Fact::Decided { outcome, .. }, last] if outcome == "refuse" && *last == observed)
    );
}

#[tokio::test]
async fn an_observed_question_passes_masked_and_claims_no_approval() {
    let layer = EnforceLayer::new(|_: &Query<'_>| asked()).observe_when(|_, _| true);
    let (response, facts) = Door::new().knock(&layer).await;
    let Some(Decision::Allow { duties, .. }) = response.into_body() else { panic!() };
    assert_eq!(duties, Duties { masks: [MaskProfile::new("pii-basic")].into(), ..Duties::default() });
    let observed = Fact::Observed { reason: "needs the approval of owners".to_owned(), rule: None };
    assert_eq!(facts.last(), Some(&observed));
}

#[tokio::test]
async fn an_observed_rate_is_recorded_and_passes() {
    let layer = EnforceLayer::new(|_: &Query<'_>| rated(duty("hourly", 1, HOUR)))
        .meter(Arc::new(MemoryMeter::new()))
        .clock(Arc::new(ManualClock::new()))
        .observe_when(|_, _| true);
    let (first, facts) = Door::new().knock(&layer).await;
    assert_eq!((first.into_body(), facts.len()), (Some(rated(duty("hourly", 1, HOUR))), 1));
    let (second, facts) = Door::new().knock(&layer).await;
    assert_eq!(second.into_body(), Some(Decision::allow()));
    assert!(
        matches!(facts.last(), Some(Fact::Observed { rule: Some(rule), .. }) if rule.as_str() == "hourly")
    );
}

#[tokio::test]
async fn observing_ends_at_its_instant_and_holds_for_its_operations_only() {
    let clock = ManualClock::new();
    let until = clock.now().saturating_add(HOUR);
    let layer = EnforceLayer::new(|_: &Query<'_>| no_by_rule())
        .clock(Arc::new(clock.clone()))
        .observe_when(move |operation, now| operation.resource.name == "support" && now < until);
    assert_eq!(Door::new().knock(&layer).await.0.status(), StatusCode::OK);
    let mut door = Door::new();
    door.request.extensions_mut().get_mut::<Operation>().unwrap().resource.name = "payroll".to_owned();
    assert_eq!(door.knock(&layer).await.0.status(), StatusCode::FORBIDDEN);
    clock.set(until);
    let (response, facts) = Door::new().knock(&layer).await;
    assert_eq!((response.status(), facts.len()), (StatusCode::FORBIDDEN, 1));
}

#[tokio::test]
async fn a_replaced_policy_decides_the_next_request() {
    let closed: fn(&Query<'_>) -> Decision = |_| Decision::refuse("closed");
    let swap = Arc::new(Swap::new(closed));
    let layer = EnforceLayer::shared(Arc::clone(&swap));
    assert_eq!(Door::new().knock(&layer).await.0.status(), StatusCode::FORBIDDEN);
    swap.replace(|_| Decision::allow());
    assert_eq!(Door::new().knock(&layer).await.0.status(), StatusCode::OK);
    let any: Arc<dyn Policy> = swap;
    assert_eq!(Door::new().knock(&EnforceLayer::shared(any)).await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_layer_works_without_a_trail() {
    let mut door = Door::new();
    door.request.extensions_mut().remove::<Trail>();
    let (response, facts) = door.knock(&EnforceLayer::new(|_: &Query<'_>| Decision::allow())).await;
    assert_eq!((response.status(), facts.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_question_is_recorded_where_asked_for_with_what_may_be_shown_of_it() {
    let layer = EnforceLayer::new(|_: &Query<'_>| Decision::allow())
        .clock(Arc::new(ManualClock::new()))
        .record_questions(|operation| {
            operation.inputs.iter().map(|(name, _)| (name.clone(), None)).collect()
        });
    let (_, facts) = Door::new().knock(&layer).await;
    let [Fact::Asked(asked), Fact::Decided { .. }] = &facts[..] else { panic!("{facts:?}") };
    assert_eq!(asked.at, ManualClock::new().now());
    assert_eq!(asked.issued, alice().token.issued);
    assert_eq!(asked.body_bytes, operation("kickoff").body_bytes);
    assert!(asked.inputs.iter().all(|(_, value)| value.is_none()));
    assert!(asked.roles.is_empty() && asked.approved.is_empty());
}
