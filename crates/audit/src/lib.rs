#![forbid(unsafe_code)]
//! The record: what was about to happen, before it happened; what the caller saw, and how it ended.
//!
//! [`AuditLayer`] stands outermost. It opens a record for every request, puts a [`Trail`](crewgate_core::Trail) on it
//! for the layers further in, and closes the record when the last byte of the answer has been handed over, or when the
//! caller hangs up. [`BarrierLayer`] stands innermost and lets nothing leave before the *intent* is durable. Entries
//! become [leaves](Leaf) of a [transparency log](tlog) in an [`AuditStore`]: a Merkle tree with signed checkpoints.
//! [`verify`](verify()) finds a leaf that was edited, deleted, inserted or moved, a [receipt](tlog::Receipt) proves one
//! to a stranger, and a [`Timeline`] tells a run again with its timing.
//!
//! It does not know who authenticated, what was decided or why: other layers note that as
//! [`Fact`](crewgate_core::Fact)s. It knows no database: [`MemoryStore`] is the only store here. It does not mask; what
//! it is handed is what it keeps, so it stands outside of whatever masks answers, and the request body it keeps is the
//! one [`BarrierLayer::mask_body`] makes.
//!
//! # A call on the record
//!
//! ```
//! use std::{convert::Infallible, sync::Arc};
//!
//! use bytes::Bytes;
//! use crewgate_audit::{AuditLayer, MemoryStore, Phase, verify};
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let store = MemoryStore::new();
//! let hello = service_fn(|_: Request<()>| async {
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
//! });
//! let service = AuditLayer::new(Arc::new(store.clone())).layer(hello);
//!
//! let answer = service.oneshot(Request::new(())).await.unwrap();
//! assert!(answer.headers().contains_key("request-id"));
//! answer.into_body().collect().await.unwrap();
//!
//! let entry = &store.entries()[0];
//! assert_eq!((entry.phase, entry.frames[0].bytes.as_ref()), (Phase::Outcome, b"hello".as_slice()));
//! assert_eq!(verify(&store, None, |_, _| ()).await.unwrap().unwrap().head.size, 1);
//! # }
//! ```
//!
//! # With a barrier, an address and a masked body
//!
//! ```
//! use std::{convert::Infallible, net::SocketAddr, sync::Arc};
//!
//! use bytes::Bytes;
//! use crewgate_audit::{AuditLayer, BarrierLayer, MemoryStore, Phase};
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let store = MemoryStore::new();
//! let barrier = BarrierLayer::new(Arc::new(store.clone()))
//!     .mask_body(|_| Some(Bytes::from_static(b"{\"inputs\":\"***\"}")));
//! let audit = AuditLayer::new(Arc::new(store.clone()))
//!     .remote(|extensions| extensions.get::<SocketAddr>().map(ToString::to_string))
//!     .keep_bytes(4096);
//! let upstream = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::<Full<Bytes>>::default()) });
//!
//! // Nobody has described this call: it is refused, and the refusal is on the record.
//! let answer = audit.layer(barrier.layer(upstream)).oneshot(Request::new(())).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
//! assert_eq!(store.entries()[0].phase, Phase::Refused);
//! # }
//! ```

pub mod frames;
pub mod tlog;

mod barrier;
mod body;
mod content;
mod entry;
mod erasure;
mod extract;
mod folder;
mod fork;
mod kind;
mod layer;
mod leaf;
mod log;
mod memory;
mod open;
mod quota;
mod repeats;
mod seal;
mod search;
mod store;
mod timeline;
mod verify;

pub use self::{
    barrier::{Barrier, BarrierLayer},
    body::{AuditBody, Recipient},
    content::Content,
    entry::{Entry, Frame, Phase},
    erasure::{Class, EraseError, Erasure, NoClass},
    extract::{Extract, ExtractFault},
    folder::{Folder, FolderError, bundle_files, export, tile_files},
    fork::parted,
    kind::KINDS,
    layer::{Audit, AuditLayer, DEFAULT_KEPT_BYTES, LEAF_HEADER, Parent, REQUEST_ID_HEADER},
    leaf::{Held, Leaf, Prepared, canonical},
    log::{Log, prove},
    memory::{DEFAULT_MEMORY_LEAVES, MemoryStore},
    quota::{DEFAULT_REFUSALS_PER_MINUTE, RefusalQuota},
    seal::SealKey,
    search::{DEFAULT_QUERY_LIMIT, Query, Word},
    store::{AuditError, AuditStore, Cursors, EXPORT_TURN, Lane, Place, Seat},
    timeline::{Line, LineKind, Step, StepKind, Timeline, run_leaves},
    verify::{Fault, FaultKind, Verified, verify},
};
