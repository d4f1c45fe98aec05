#![forbid(unsafe_code)]
//! The record.

pub mod frames;

mod entry;
mod leaf;
mod memory;
mod quota;
mod store;
mod verify;

pub use self::{
    entry::{Entry, Frame, Phase},
    leaf::{Hash, Head, Leaf, Prepared},
    memory::{DEFAULT_MEMORY_LEAVES, MemoryStore},
    quota::{DEFAULT_REFUSALS_PER_MINUTE, RefusalQuota},
    store::{AuditError, AuditStore, DEFAULT_QUERY_LIMIT, Lane, Query, Receipt, Seat},
    verify::{Fault, FaultKind, Verifier, verify},
};
