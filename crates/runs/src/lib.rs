#![forbid(unsafe_code)]
//! Which run belongs to whom.
//!
//! Callers never see an upstream id. Each gets one of our own when the upstream first gives it out, durably and with
//! its owner, before the caller sees it ([`RegisterLayer`]); each id a caller sends is looked up with its owner before
//! anybody decides anything ([`ResolveLayer`]). Guessing an id, sharing one, or finding one in another's result opens
//! nothing: an id that is unknown, another's or another crew's is answered with one and the same 404.
//!
//! The ids live behind the port [`RunLedger`]; [`MemoryLedger`] keeps them in memory.
//!
//! It does not know what a run does, what the upstream's answers look like ([`AnswerIds`] does), policies, tokens, or
//! SQL.
//!
//! # Looking ids up
//!
//! ```
//! use std::sync::Arc;
//! use crewgate_core::{Operation, Principal};
//! use crewgate_runs::{MemoryLedger, NewRun, ResolveLayer, RunLedger};
//! use crewgate_testkit::suites::runs::{asking_about, person, run};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let ledger = Arc::new(MemoryLedger::new());
//! let id = ledger.start(run("support", "ana", 0), "their-id".into()).await.unwrap();
//!
//! let service = ResolveLayer::new(ledger).layer(tower::service_fn(|request: Request<()>| async move {
//!     let operation = request.extensions().get::<Operation>().unwrap();
//!     Ok::<_, std::convert::Infallible>(Response::new(operation.ids[0].upstream.clone().unwrap_or_default()))
//! }));
//! let ask = |who: &str| {
//!     let mut request = Request::new(());
//!     request.extensions_mut().insert(person(who));
//!     request.extensions_mut().insert(asking_about("support", id.own));
//!     request
//! };
//! assert_eq!(service.clone().oneshot(ask("ana")).await.unwrap().body(), "their-id");
//! assert_eq!(service.oneshot(ask("bob")).await.unwrap().status(), StatusCode::NOT_FOUND);
//! # }
//! ```
//!
//! Ana's runs, under either of her identities:
//!
//! ```
//! # use std::sync::Arc;
//! # use crewgate_core::{Operation, Principal, PrincipalKey};
//! # use crewgate_runs::{MemoryLedger, ResolveLayer, RunLedger};
//! # use crewgate_testkit::suites::runs::{asking_about, person, run};
//! # use http::{Request, Response, StatusCode};
//! # use tower::{Layer, ServiceExt};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let ledger = Arc::new(MemoryLedger::new());
//! # let id = ledger.start(run("support", "ana", 0), "their-id".into()).await.unwrap();
//! let same_person = |who: &Principal, owner: &PrincipalKey, _: &Operation| {
//!     who.key == *owner || (who.key.subject == "ana-admin" && owner.subject == "ana")
//! };
//! let layer = ResolveLayer::new(ledger).owned_by(same_person);
//! # let service = layer.layer(tower::service_fn(|_: Request<()>| async {
//! #     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//! # }));
//! # let mut request = Request::new(());
//! # request.extensions_mut().insert(person("ana-admin"));
//! # request.extensions_mut().insert(asking_about("support", id.own));
//! assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
//! # }
//! ```
//!
//! # Registering ids
//!
//! An upstream that answers a call with nothing but the id of the run it has started:
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use crewgate_core::{Operation, Refusal};
//! use crewgate_runs::{AnswerIds, FoundId, MemoryLedger, OwnIds, Place, RegisterLayer, RunLedger, Whole};
//! # use crewgate_testkit::suites::runs::{person, starting};
//! use http::{Request, Response, response::Parts};
//! use http_body_util::BodyExt;
//! use tower::{Layer, ServiceExt};
//!
//! struct BareId;
//!
//! impl AnswerIds for BareId {
//!     type Answer = String;
//!
//!     fn read(&self, _: &Operation, _: &Parts, body: &Bytes) -> Result<String, Refusal> {
//!         Ok(String::from_utf8_lossy(body).into_owned())
//!     }
//!
//!     fn ids(&self, answer: &String) -> Vec<FoundId> {
//!         vec![FoundId { upstream: answer.clone(), place: Place::NewRun }]
//!     }
//!
//!     fn write(&self, answer: String, own: &OwnIds) -> Result<Bytes, Refusal> {
//!         Ok(own.own(&answer, true).map(|id| id.to_string()).unwrap_or_default().into())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let ledger = Arc::new(MemoryLedger::new());
//! let upstream = tower::service_fn(|_: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Whole::from(Bytes::from_static(b"their-id"))))
//! });
//! let service = RegisterLayer::new(ledger.clone(), BareId).max_answer(1024).layer(upstream);
//! let mut request = Request::new(());
//! request.extensions_mut().insert(person("ana"));
//! request.extensions_mut().insert(starting("support"));
//!
//! let shown = service.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
//! let own = std::str::from_utf8(&shown).unwrap().parse().unwrap();
//! let id = ledger.find(own).await.unwrap().unwrap();
//! assert_eq!((id.owner.subject.as_str(), id.upstream.as_deref()), ("ana", Some("their-id")));
//! # }
//! ```

mod answer;
mod body;
mod ledger;
mod memory;
mod owned;
mod refuse;
mod register;
mod resolve;

pub use self::{
    answer::{AnswerIds, FoundId, OwnIds, Place},
    body::Whole,
    ledger::{LedgerError, RegisterError, RunLedger},
    memory::{DEFAULT_MEMORY_LIMIT, MemoryLedger},
    owned::{DEFAULT_LIST_LIMIT, NewRun, OwnedId, PendingTask, RunFilter},
    register::{DEFAULT_MAX_ANSWER, Register, RegisterLayer, Reserved},
    resolve::{Owns, Resolve, ResolveLayer, SameKey},
};
