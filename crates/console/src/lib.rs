#![forbid(unsafe_code)]
//! What people need of Crewgate: the JSON API that approvers decide through and auditors read by.
//!
//! [`router`] is an axum router over three ports. It expects a [`Principal`](crewgate_core::Principal) in the
//! request's extensions and answers `401` without one: whoever mounts it wraps an authentication layer around it.
//! Who may speak for which set is asked of an [`Eligible`](crewgate_approval::Eligible) at every request, and what an
//! approver sees passes through a [`Show`], which masks. Nobody decides on their own request; that is the store's
//! state machine, and this crate has no way around it. Reading a run is itself put on the record first.
//!
//! It knows no layer of the data path, no token, no SQL and no CrewAI.
//!
//! | route | for | does |
//! |---|---|---|
//! | `GET /api/approvals` | approvers, requesters | what waits for the caller, and what the caller asked for |
//! | `GET /api/approvals/{id}` | the same, record readers | what exactly will be sent, masked; digest, needs, votes |
//! | `POST /api/approvals/{id}/decision` | approvers | `{"verdict", "digest", "reason"?}` |
//! | `POST /api/approvals/{id}/reveal` | approvers | the masked inputs that rules decide on: `{"digest"}`; on the record |
//! | `POST /api/approvals/{id}/break-glass` | the requester, where they may | lets it go at once: `{"digest", "reason"}` |
//! | `POST /api/approvals/{id}/review` | who reviews | looks at a broken glass: `{"verdict", "reason"}` |
//! | `POST /api/approvals/{id}/cancel` | the requester | takes it back |
//! | `GET /api/approvers` | record readers | which sets have how many people who could answer |
//! | `GET /api/delegations` | lenders, whom they name, record readers | voices that are lent |
//! | `POST /api/delegations` | approvers | lends one's voice: `{"to", "sets"?, "starts_in"?, "seconds", "reason"}` |
//! | `POST /api/delegations/{id}/end` | the same two | ends it |
//! | `GET /api/grants` | holders, approvers, record readers | temporary grants: one's own, those one may take away |
//! | `POST /api/grants` | anybody | asks for a role for a while: `{"role", "seconds", "reason", "narrowed"?}` |
//! | `POST /api/grants/{id}/revoke` | the holder, approvers | takes one away: `{"reason"?}` |
//! | `GET /api/record` | record readers | leaves of the record, by what they say |
//! | `POST /api/record/access` | record readers | puts it on the record that the store itself is read: `{"reads", "id"?}` |
//! | `POST /api/record/erase` | erasers | destroys the key of a person: `{"person"}` |
//! | `POST /api/record/hold` | erasers | keeps what is held of a person, or no longer: `{"person", "held"}` |
//! | `POST /api/record/prune` | erasers | gives up what is old: `{"older_than_seconds", "class"?}` |
//! | `GET /api/revocations` | who may revoke | what is revoked and has not ended |
//! | `POST /api/revocations` | who may revoke | revokes tokens: `{"tokens", "reason"?}` |
//! | `POST /api/revocations/lift` | who may revoke | takes a revocation back: `{"tokens", "reason"?}` |
//! | `GET /api/runs` | owners, record readers | runs, newest first |
//! | `GET /api/runs/{id}` | the owner, record readers | the run as it happened, step by step |
//! | `POST /api/runs/{id}/restore` | the same, where policy and the profile entitle them | turns masks back: `{"text", "json"?}` |
//! | `GET /api/tokens` | record readers | whose tokens are in use: how signed, how long, with which roles |
//! | `GET /api/openapi.json` | anybody | this table for machines |
//!
//! ```
//! use std::{collections::BTreeSet, sync::Arc};
//! use axum::body::Body;
//! use crewgate_approval::NewApproval;
//! use crewgate_console::{Console, Shown, router};
//! use crewgate_core::{ApproverSet, Principal};
//! use http::{Request, StatusCode};
//! # use crewgate_testkit::suites::approval::person;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let console = Console::new(
//!     Arc::new(crewgate_approval::MemoryStore::new()),
//!     Arc::new(crewgate_audit::MemoryStore::new()),
//!     Arc::new(crewgate_runs::MemoryLedger::new()),
//!     Arc::new(|_: &Principal| BTreeSet::from([ApproverSet::new("data-owners")])),
//!     Arc::new(|asked: &NewApproval| Shown::nothing_but_length(asked)),
//! );
//! let api = router(console);
//!
//! let anonymous = Request::new(Body::empty());
//! assert_eq!(api.clone().oneshot(anonymous).await.unwrap().status(), StatusCode::NOT_FOUND);
//!
//! let mut request = Request::get("/api/approvals").body(Body::empty()).unwrap();
//! assert_eq!(api.clone().oneshot(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
//!
//! request = Request::get("/api/approvals").body(Body::empty()).unwrap();
//! request.extensions_mut().insert(person("bob"));
//! assert_eq!(api.oneshot(request).await.unwrap().status(), StatusCode::OK);
//! # }
//! ```

mod approvals;
mod body;
mod console;
mod delegations;
mod drill;
mod erasure;
mod glass;
mod grants;
mod leaves;
mod pages;
mod problem;
mod record;
mod resolve;
mod restore;
mod reveal;
mod revocations;
mod router;
mod runs;
mod show;
mod tokens;
mod view;
mod wish;

pub use self::{
    approvals::{MAX_DECISION_BYTES, MAX_REASON_BYTES},
    console::{Console, Erases, ReadsRecord, Revokes},
    drill::{Drill, Reach},
    glass::{BreaksGlass, GlassTerms},
    pages::{FORM_TOKEN, Form, Visit, escape, notice, pages, style},
    restore::{MAX_RESTORE_BYTES, MaskedText, Restore, Restored},
    router::router,
    runs::MAX_STEPS_LEAVES,
    show::{MaskedSpan, Show, Shown},
    wish::{ROLE, Requestable, Terms},
};
