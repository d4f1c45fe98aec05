use std::convert::Infallible;

use crewgate_approval::{
    GiveError, GrantFilter, MemoryGrants, Narrowing, NewGrant, Revocation, RevokeError, SpendError,
    StoreError,
};
use crewgate_core::{ApprovalId, Clock, Decision, Effect, GrantId, Groups, PrincipalKey, RequestId};
use crewgate_policy::{EnforceLayer, Inclusion, Nesting, Query};
use crewgate_testkit::{
    ManualClock,
    suites::{
        approval::{operation, person, start},
        grant::{given, limited, revocation},
    },
};
use http::{Request, Response, StatusCode};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::*;

/// A store that is down.
struct Down;

fn down<T, E: From<StoreError>>() -> BoxFuture<'static, Result<T, E>> {
    Box::pin(async { Err(StoreError::Unavailable("disk gone".to_owned()).into()) })
}

impl GrantStore for Down {
    fn give(&self, _: NewGrant) -> BoxFuture<'_, Result<Grant, GiveError>> {
        down()
    }
    fn revoke(&self, _: Revocation) -> BoxFuture<'_, Result<Grant, RevokeError>> {
        down()
    }
    fn spend(
        &self,
        _: GrantId,
        _: Effect,
        _: RequestId,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<(), SpendError>> {
        down()
    }
    fn of<'a>(&'a self, _: &'a PrincipalKey, _: Timestamp) -> BoxFuture<'a, Result<Vec<Grant>, StoreError>> {
        down()
    }
    fn find(&self, _: GrantId) -> BoxFuture<'_, Result<Option<Grant>, StoreError>> {
        down()
    }
    fn list(&self, _: GrantFilter) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>> {
        down()
    }
}

fn name(role: &str) -> RoleName {
    RoleName::new(role)
}

/// `ana` is an analyst by her group; operators are nobody, and include auditors until the year's end.
fn roles(grants: Arc<dyn GrantStore>) -> JoinedRoles {
    let nesting = Nesting::new([Inclusion {
        until: Some(start().saturating_add(SOON * 20)),
        ..Inclusion::new(name("operators"), name("auditors"))
    }]);
    let bindings = StaticRoles::new([
        RoleBinding {
            groups: vec!["okta:analysts".to_owned()],
            until: Some(start().saturating_add(SOON / 2)),
            ..RoleBinding::new(name("analysts"))
        },
        RoleBinding { subjects: vec!["okta:bob".to_owned()], ..RoleBinding::new(name("owners")) },
        RoleBinding::new(name("operators")),
        RoleBinding::new(name("auditors")),
    ])
    .nested(nesting.unwrap());
    JoinedRoles { bindings, grants }
}

fn ana() -> Principal {
    Principal { groups: Groups::of("okta", ["analysts"]), ..person("ana") }
}

async fn held(roles: &JoinedRoles, operation: Option<&Operation>, now: Timestamp) -> Vec<String> {
    let held = roles.roles(&ana(), operation, now).await.unwrap();
    held.into_iter().map(|role| role.name.as_str().to_owned()).collect()
}

#[tokio::test]
async fn bindings_and_grants_are_held_together_and_end_by_the_clock() {
    let grants = Arc::new(MemoryGrants::new());
    let roles = roles(grants.clone());
    let new = given("ana");
    grants.give(new.clone()).await.unwrap();
    let just_before = new.until.saturating_sub(Duration::from_micros(1));
    assert_eq!(held(&roles, None, just_before).await, ["analysts", "auditors", "operators"]);
    assert_eq!(held(&roles, None, new.until).await, ["analysts"]);
    let found = roles.roles(&ana(), None, just_before).await.unwrap();
    let auditors = found.iter().find(|role| role.name.as_str() == "auditors").unwrap();
    assert_eq!((auditors.by.grant(), &auditors.through[..]), (Some(new.id), &[name("operators")][..]));
    assert_eq!(auditors.until, Some(new.until));
}

#[tokio::test]
async fn what_is_taken_away_is_gone_with_the_next_question() {
    let grants = Arc::new(MemoryGrants::new());
    let roles = roles(grants.clone());
    let new = given("ana");
    grants.give(new.clone()).await.unwrap();
    let now = start().saturating_add(Duration::from_secs(2));
    assert_eq!(held(&roles, None, now).await.len(), 3);
    grants.revoke(revocation(new.id, "ana", &[])).await.unwrap();
    assert_eq!(held(&roles, None, now).await, ["analysts"]);
}

#[tokio::test]
async fn a_narrowed_grant_is_held_for_its_calls_and_nobody_knows_of_it_otherwise() {
    let grants = Arc::new(MemoryGrants::new());
    let roles = roles(grants.clone());
    let narrowed = Narrowing { resources: ["payroll".to_owned()].into(), ..Narrowing::default() };
    grants.give(NewGrant { narrowed, ..given("ana") }).await.unwrap();
    let mut call = operation();
    assert_eq!(held(&roles, Some(&call), start()).await, ["analysts"]);
    assert_eq!(held(&roles, None, start()).await, ["analysts"]);
    call.resource.name = "payroll".to_owned();
    assert_eq!(held(&roles, Some(&call), start()).await, ["analysts", "auditors", "operators"]);
}

#[tokio::test]
async fn nobody_is_decided_on_half_their_roles() {
    let clock = ManualClock::at(start());
    for observed in [false, true] {
        let mut service = ServiceBuilder::new()
            .layer(
                EnforceLayer::new(|_: &Query<'_>| Decision::allow())
                    .roles(Arc::new(roles(Arc::new(Down))))
                    .clock(Arc::new(clock.clone()))
                    .observe_when(move |_, _| observed),
            )
            .service(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
        let mut request = Request::new(());
        request.extensions_mut().insert(ana());
        request.extensions_mut().insert(operation());
        let answer = service.ready().await.unwrap().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let refusal = answer.extensions().get::<crewgate_core::Refusal>().unwrap();
        assert!(refusal.code == "roles_unavailable" && !refusal.detail.contains("disk"), "{refusal:?}");
    }
}

#[tokio::test]
async fn an_explanation_tells_every_way_and_every_reason_against() {
    let grants = Arc::new(MemoryGrants::new());
    let joined = roles(grants.clone());
    let limited = NewGrant {
        narrowed: Narrowing { resources: ["payroll".to_owned()].into(), ..limited("ana", 2).narrowed },
        role: name("owners"),
        ..given("ana")
    };
    let (live, taken) = (given("ana"), NewGrant { role: name("ghosts"), ..given("ana") });
    let coming = NewGrant {
        from: start().saturating_add(Duration::from_secs(60)),
        approval: ApprovalId::random(),
        ..given("ana")
    };
    for new in [&limited, &live, &taken, &coming] {
        grants.give(new.clone()).await.unwrap();
    }
    grants.revoke(revocation(taken.id, "bob", &["owners"])).await.unwrap();
    let now = start().saturating_add(Duration::from_secs(2));
    let mut all = grants.list(GrantFilter { over: true, ..GrantFilter::at(now) }).await.unwrap();
    all.sort_by_key(|grant| [&limited, &live, &taken, &coming].iter().position(|new| new.id == grant.id()));
    let text = explain(&joined.bindings, &all, &ana(), now).to_string();
    let until = live.until;
    let expected = format!(
        "okta:ana in okta:analysts, at 2026-06-15T12:00:02.000000Z

held
  analysts
    by group okta:analysts, until 2026-06-19T00:00:00.000000Z (ends soon)
  auditors
    by grant {live}, through operators, since {since}, until {until} (ends soon)
  operators
    by grant {live}, since {since}, until {until} (ends soon)
    not: grant {coming}, which begins at 2026-06-15T12:01:00.000000Z

held for some calls only
  owners
    by grant {limited}, since {since}, until {until} (ends soon); only on payroll, 2 of 2 times more
    not: bound to subject okta:bob: the caller is none of these

not held
  ghosts
    not: grant {taken} was taken away by okta:bob at 2026-06-15T12:00:01.000000Z
    not: the configuration has no such role: no rule can name it",
        live = live.id,
        since = start(),
        coming = coming.id,
        limited = limited.id,
        taken = taken.id,
    );
    assert_eq!(text, expected);

    // To a stranger everything is told by its reason against.
    let text = explain(&joined.bindings, &[], &person("eve"), ManualClock::new().now()).to_string();
    let expected = "okta:eve in no group, at 2026-06-15T12:00:00.000000Z

not held
  analysts
    not: bound to group okta:analysts: the caller is none of these
  auditors
    not: operators includes it, which is not held
  operators
    not: nobody is bound to it, and it was not given
  owners
    not: bound to subject okta:bob: the caller is none of these";
    assert_eq!(text, expected);
}
