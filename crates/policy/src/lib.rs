#![forbid(unsafe_code)]
//! May this pass? Three tower layers around one question.
//!
//! [`DescribeLayer`] turns bytes into an [`Operation`](crewgate_core::Operation), [`EnforceLayer`] puts principal and
//! operation to a [`Policy`] and refuses or passes on, and [`SealLayer`] renders the operation to the bytes that will
//! be sent. Policy, roles, rates and the wire format come from outside, each through a one-method trait that a
//! closure or a small type implements.
//!
//! A [`Swap`] exchanges the policy while requests are decided, each by one version, whole. A [`Shadow`] puts every decided
//! question to a second policy as well, which reports where it would decide otherwise and can change nothing.
//!
//! It does not know who authenticated the caller, what language the rules are written in, where roles are kept, nor
//! who approves: it reads a [`Principal`](crewgate_core::Principal) and
//! [`Approvals`](crewgate_core::Approvals) from the request's extensions and leaves a
//! [`Decision`](crewgate_core::Decision) there. What is missing refuses.
//!
//! | happens | answer | code |
//! |---|---|---|
//! | a rule says no | 403 | `policy_refused` and the rule |
//! | nothing says yes | 403 | `policy_denied` |
//! | no principal, no operation | 403 | `principal_missing`, `operation_missing` |
//! | body too long, broken off | 413, 400 | `body_too_large`, `body_unreadable` |
//! | a rate has no room | 429 and `Retry-After` | `rate_limited` and the rule |
//! | roles or rates cannot be looked up | 503 | `roles_unavailable`, `meter_missing`, `meter_unavailable` |
//!
//! # A closure decides
//!
//! ```
//! use crewgate_core::{Action, Decision, Operation, Principal};
//! use crewgate_policy::{EnforceLayer, Query};
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use crewgate_core::{Effect, Message, PrincipalKey, PrincipalKind, Resource, Timestamp, TokenFacts};
//! # fn alice() -> Principal {
//! #     let (issued, expires) = (Timestamp::from_secs(0), Timestamp::from_secs(3600));
//! #     let token = TokenFacts { issued, expires, fingerprint: String::new(), mfa: false, sender_constrained: false, authenticated: None, class: None, actors: Vec::new(), exchanged: None };
//! #     let (key, kind) = (PrincipalKey::new("okta", "alice"), PrincipalKind::User);
//! #     Principal { key, kind, groups: Default::default(), client: None, token, human: None }
//! # }
//! # fn operation(action: &'static str) -> Operation {
//! #     let (path, free_text) = (Vec::new(), Vec::new());
//! #     Operation {
//! #         action: Action::of(action), effect: Effect::Read, inputs: Vec::new(), datasets: Vec::new(),
//! #         resource: Resource { kind: "Crew".into(), name: "support".into(), parents: Vec::new() },
//! #         prompts: Vec::new(), has_undeclared_inputs: false, body_bytes: 0, webhook_hosts: Vec::new(), ids: Vec::new(),
//! #         owner: None, run: None,
//! #         message: Message { method: http::Method::GET, path, body: None, free_text },
//! #     }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let read_only = |query: &Query<'_>| match query.operation.action.as_str() {
//!     "status" => Decision::allow(),
//!     _ => Decision::refuse("Only status may be read here."),
//! };
//! let service = ServiceBuilder::new()
//!     .layer(EnforceLayer::new(read_only))
//!     .service(service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(()))));
//!
//! // Usually an authenticating and a describing layer put these here.
//! let mut request = Request::new(());
//! request.extensions_mut().insert(alice());
//! request.extensions_mut().insert(operation("kickoff"));
//! let answer = service.clone().oneshot(request).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::FORBIDDEN);
//!
//! // Forgetting them costs a refusal, never a pass.
//! let answer = service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::FORBIDDEN);
//! # }
//! ```
//!
//! # Roles, rates and a describer of your own
//!
//! ```
//! use std::{convert::Infallible, num::NonZeroU32, sync::Arc, time::Duration};
//! use bytes::Bytes;
//! use crewgate_core::{Basis, Decision, Duties, Layer, Operation, Principal, Rate, RateDuty, Refusal, RoleName, RuleId};
//! use crewgate_policy::{DescribeLayer, EnforceLayer, MemoryMeter, Query, RoleBinding, StaticRoles};
//! use http::{Request, Response, StatusCode, request::Parts};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use crewgate_core::{Action, Effect, Message, PrincipalKey, PrincipalKind, Resource, Timestamp, TokenFacts};
//! # fn alice() -> Principal {
//! #     let (issued, expires) = (Timestamp::from_secs(0), Timestamp::from_secs(3600));
//! #     let token = TokenFacts { issued, expires, fingerprint: String::new(), mfa: false, sender_constrained: false, authenticated: None, class: None, actors: Vec::new(), exchanged: None };
//! #     let (key, kind) = (PrincipalKey::new("okta", "alice"), PrincipalKind::User);
//! #     Principal { key, kind, groups: Default::default(), client: None, token, human: None }
//! # }
//! # fn operation(action: &'static str) -> Operation {
//! #     let (path, free_text) = (Vec::new(), Vec::new());
//! #     Operation {
//! #         action: Action::of(action), effect: Effect::Read, inputs: Vec::new(), datasets: Vec::new(),
//! #         resource: Resource { kind: "Crew".into(), name: "support".into(), parents: Vec::new() },
//! #         prompts: Vec::new(), has_undeclared_inputs: false, body_bytes: 0, webhook_hosts: Vec::new(), ids: Vec::new(),
//! #         owner: None, run: None,
//! #         message: Message { method: http::Method::GET, path, body: None, free_text },
//! #     }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let describe = |head: &Parts, _: &Bytes| match head.uri.path() {
//!     "/kickoff" => Ok(operation("kickoff")),
//!     _ => Err(Refusal::new(Layer::Describe, StatusCode::NOT_FOUND, "no_such_route", "No such route.")),
//! };
//! let roles = StaticRoles::new([RoleBinding {
//!     subjects: vec!["okta:alice".to_owned()],
//!     ..RoleBinding::new(RoleName::new("operators"))
//! }]);
//! let operators_once_an_hour = |query: &Query<'_>| {
//!     if !query.roles.iter().any(|role| role.name.as_str() == "operators") {
//!         return Decision::refuse("Only operators may.");
//!     }
//!     let rate = Rate { calls: NonZeroU32::MIN, period: Duration::from_secs(3600) };
//!     let rates = [RateDuty { rule: RuleId::new("hourly"), rate }].into();
//!     Decision::Allow { duties: Duties { rates, ..Duties::default() }, basis: Basis::default() }
//! };
//! let service = ServiceBuilder::new()
//!     .layer(DescribeLayer::new(describe).max_body(4096))
//!     .layer(
//!         EnforceLayer::new(operators_once_an_hour)
//!             .roles(Arc::new(roles))
//!             .meter(Arc::new(MemoryMeter::new())),
//!     )
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! let mut statuses = Vec::new();
//! for (path, bytes) in [("/kickoff", 10), ("/kickoff", 10), ("/elsewhere", 10), ("/kickoff", 5000)] {
//!     let mut request = Request::builder().uri(path).body(Full::from(vec![b' '; bytes])).unwrap();
//!     request.extensions_mut().insert(alice());
//!     statuses.push(service.clone().oneshot(request).await.unwrap().status().as_u16());
//! }
//! assert_eq!(statuses, [200, 429, 404, 413]);
//! # }
//! ```

mod describe;
mod enforce;
mod future;
mod meter;
mod nesting;
mod policy;
mod roles;
mod seal;
mod shadow;
mod verdict;

pub use self::{
    describe::{DEFAULT_MAX_BODY, Describe, DescribeLayer, Described},
    enforce::{Enforce, EnforceLayer},
    future::AnswerFuture,
    meter::{DEFAULT_KEYS, MemoryMeter, Meter, TakeError},
    nesting::{Inclusion, Nesting, RoleCycle},
    policy::{Policy, Query, Swap},
    roles::{BoxFuture, HeldBy, HeldRole, RoleBinding, RoleSource, RolesUnavailable, StaticRoles},
    seal::{Seal, SealLayer, Sealed},
    shadow::{SHADOW_QUEUE, Shadow, Sight, Witness, divergence},
};
