#![forbid(unsafe_code)]
//! Which run belongs to whom.

mod ledger;
mod memory;
mod owned;

pub use self::{
    ledger::{LedgerError, RegisterError, RunLedger},
    memory::{DEFAULT_MEMORY_LIMIT, MemoryLedger},
    owned::{DEFAULT_LIST_LIMIT, NewRun, OwnedId, PendingTask, RunFilter},
};
