#![forbid(unsafe_code)]
//! Holds a risky request until the right people have said yes, and lets it run exactly once.

mod approval;
mod digest;
mod eligible;
mod hint;
pub mod machine;
mod memory;
mod quorum;
mod store;
mod wire;

pub use self::{
    approval::{Approval, Ballot, End, Lease, Need, NewApproval, Phase, ReleaseMode, State, Vote},
    digest::{Digest, InvalidDigest, digest},
    eligible::{EligibilityUnknown, Eligible},
    hint::Hint,
    memory::{DEFAULT_MEMORY_LIMIT, MemoryStore},
    store::{
        ApprovalStore, CancelError, DEFAULT_LIST_LIMIT, Filter, LeaseError, OpenError, StoreError, VoteError,
    },
};
