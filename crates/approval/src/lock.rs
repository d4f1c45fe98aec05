//! The lock of the approvals that are kept in memory. It has a place of its own so that `tests/schedules.rs` can put one
//! there whose every schedule is tried.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
