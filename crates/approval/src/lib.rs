#![forbid(unsafe_code)]
//! Holds a risky request until the right people have said yes, and lets it run exactly once.
//!
//! [`AwaitApproval`] reads the [`Decision`](crewgate_core::Decision) somebody put on the request. `Allow` passes.
//! `Ask` becomes an [`Approval`] in an [`ApprovalStore`]: bound by its [`Digest`] to the bytes that will be sent, to
//! who asked and to where they go. The caller gets a ticket at once or is held for a while; a caller who hangs up
//! changes nothing. People vote; who asked never does, by no identity of theirs, and one person counts once and for
//! one set. What is approved is *claimed*, by at most one attempt at a time, and a [`Releaser`] puts it back into the
//! stack above whoever decides: only the same bytes under an equal decision get the [`Release`] that the sender asks
//! for. What was sent is never sent again by itself.
//!
//! Every rule of that stands in [`machine`], a handful of pure functions that all stores share.
//!
//! A role that people agreed to give for a while is a [`Grant`] in a [`GrantStore`]: it ends by the clock, can be taken
//! away, and may be narrowed to resources, inputs and a number of uses.
//!
//! A voice that an approver lends somebody for a while is a [`Delegation`] in a [`DelegationStore`]; it stays one voice.
//! Where nobody can be waited for, a requester who may breaks the glass ([`GlassBreak`]): it is let go without a vote, and
//! somebody else must look at it afterwards.
//!
//! This crate knows nothing of policies, tokens, SQL or CrewAI. Who may speak for which set comes from a closure
//! ([`Eligible`]), what a ticket looks like from a trait ([`Tickets`]), and the record is whatever the store writes
//! beside each transition.
//!
//! # Asking people
//!
//! ```
//! use std::sync::Arc;
//! use crewgate_approval::{ApprovalStore, AwaitApprovalLayer, Filter, MemoryStore, Phase};
//! use crewgate_core::{ApproverSet, Clock, Decision, Duties, SystemClock};
//! # use crewgate_testkit::suites::approval::{operation, outgoing, person};
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
//! let service = AwaitApprovalLayer::new(store.clone())
//!     .layer(service_fn(|_: Request<String>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new("done".to_owned()))
//!     }));
//!
//! // The layers above say who asks for what, and that policy wants somebody to look at it.
//! let sets = [ApproverSet::new("data-owners")];
//! let mut request = Request::new(String::new());
//! let extensions = request.extensions_mut();
//! extensions.insert(person("ana"));
//! extensions.insert(operation());
//! extensions.insert(outgoing());
//! extensions.insert(Decision::Ask {
//!     approvals: sets.clone().into(),
//!     duties: Duties { approvals: sets.into(), ..Duties::default() },
//!     basis: Default::default(),
//! });
//!
//! // Nobody decides within the 25 seconds a caller is held: it is told where to look, and nothing was sent.
//! let answer = service.oneshot(request).await.unwrap();
//! assert_eq!(answer.status(), 202);
//! assert!(answer.headers()["location"].to_str().unwrap().starts_with("/approvals/"));
//! let waiting = store.list(Filter::at(SystemClock.now()).phase(Phase::Pending)).await.unwrap();
//! assert_eq!(waiting.len(), 1);
//! # }
//! ```
//!
//! # From question to answer, without a gateway
//!
//! The release path closes the circle: what is approved while its caller is held re-enters the stack and is
//! answered. Without a durable record the layer marks and settles attempts itself.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use crewgate_approval::{
//!     ApprovalStore, AwaitApprovalLayer, MemoryStore, ReleasePath, Releaser, Filter, State, Wait,
//! };
//! use crewgate_core::{Approvals, Clock, Decision, Duties, SystemClock};
//! # use crewgate_core::{Timestamp, Verdict};
//! # use crewgate_testkit::{ManualClock, suites::approval::{ballot, operation, outgoing, person, set}};
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! # let clock = ManualClock::new();
//! let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
//! let path = ReleasePath::closed();
//! let inner = AwaitApprovalLayer::new(store.clone())
//!     .wait_for(|_, _| Wait::Hold(Duration::from_secs(5)))
//!     .release_through(path.clone())
//! #   .clock(clock.clone())
//!     .settles_itself()
//!     .layer(service_fn(|_: Request<String>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new("done".to_owned()))
//!     }));
//! // A policy of one line: everything needs a data owner.
//! let stack = inner.map_request(|mut request: Request<String>| {
//!     let duties = Duties { approvals: [set("data-owners")].into(), ..Duties::default() };
//!     let basis = Default::default();
//!     let decision = match request.extensions().get::<Approvals>() {
//!         Some(approvals) if approvals.sets == duties.approvals => Decision::Allow { duties, basis },
//!         _ => Decision::Ask { approvals: duties.approvals.clone(), duties, basis },
//!     };
//!     request.extensions_mut().insert(decision);
//!     request.extensions_mut().insert(outgoing());
//!     request
//! });
//! let releaser = Releaser::new(store.clone(), stack.clone());
//! # let releaser = releaser.clock(clock.clone());
//! path.open(move |approval, principal| releaser.release(approval, principal));
//!
//! let mut request = Request::new(String::new());
//! request.extensions_mut().insert(person("ana"));
//! request.extensions_mut().insert(operation());
//! let answer = tokio::spawn(stack.oneshot(request));
//! # tokio::time::sleep(Duration::from_millis(1)).await;
//!
//! // Meanwhile somebody who may, and who did not ask, reads it and says yes.
//! # let clock_now = clock.now();
//! let waiting = store.list(Filter::at(clock_now)).await.unwrap().remove(0);
//! store.vote(ballot(&waiting.asked, &person("bob"), &["data-owners"], Verdict::Approve)).await.unwrap();
//!
//! assert_eq!(answer.await.unwrap().unwrap().body(), "done");
//! let row = store.find(waiting.id()).await.unwrap().unwrap();
//! assert!(matches!(row.state, State::Executed { .. }));
//! # }
//! ```

mod approval;
pub mod delegations;
mod digest;
mod eligible;
mod future;
mod gift;
mod glass;
pub mod grants;
mod hint;
mod hold;
mod keys;
mod layer;
mod lock;
pub mod machine;
mod memory;
mod prefer;
mod quorum;
mod release;
mod releaser;
mod seats;
mod service;
mod store;
mod ticket;
mod waiting_room;
mod walk;
mod wire;

pub use self::{
    approval::{
        Approval, Ballot, End, Finding, Lease, Loan, Need, NewApproval, Phase, ReleaseMode, Resolution,
        State, Tier, Vote,
    },
    delegations::{
        Delegation, DelegationEnd, DelegationFilter, DelegationStore, EndError, LONGEST_DELEGATION,
        LendError, MAX_DELEGATIONS_OF_ONE, MemoryDelegations, NewDelegation,
    },
    digest::{Digest, InvalidDigest, digest},
    eligible::{EligibilityUnknown, Eligible},
    future::ResponseFuture,
    gift::{Gift, hand_over},
    glass::{
        BreakError, Broken, GlassBreak, Hindsight, LEAST_GLASS_REASON, MOST_UNREVIEWED, Review, ReviewError,
    },
    grants::{
        GiveError, Grant, GrantFilter, GrantState, GrantStore, MAX_GRANTS_OF_ONE, MemoryGrants, Narrowing,
        NewGrant, Revocation, RevokeError, Revoked, SpendError,
    },
    hint::{Ear, Hint},
    keys::{KeptKey, KeyStore},
    layer::{
        AwaitApprovalLayer, DEFAULT_HOLD, DEFAULT_HOLD_LIMIT, DEFAULT_LONGEST_WAIT, DEFAULT_UNDECIDED_FOR,
        DEFAULT_USABLE_FOR, DEFAULT_WAITING_EACH,
    },
    memory::{DEFAULT_MEMORY_LIMIT, MemoryStore},
    prefer::{PREFERENCE_APPLIED, Preference},
    release::{Release, ReleasePath, Releasing},
    releaser::{DEFAULT_LEASE, Releaser, pending_auto_runs},
    service::AwaitApproval,
    store::{
        ApprovalStore, CancelError, DEFAULT_LIST_LIMIT, Filter, LeaseError, OpenError, ResolveError,
        StoreError, VoteError,
    },
    ticket::{Tickets, Wait},
    waiting_room::{WaitingRoom, Watch},
    walk::{Found, walk},
};
