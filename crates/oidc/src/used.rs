//! Ids that count once: of tokens that were exchanged, of events that were received.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use crewgate_core::Timestamp;
use futures_util::future::{BoxFuture, ready};

use crate::StoreError;

/// Ids remembered at once: a day of a large company's CI jobs.
pub const MAX_USED: usize = 1_000_000;

/// Remembers ids that were used, durably and for all replicas.
pub trait UsedIds: Send + Sync + 'static {
    /// Whether this id of this owner was used.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn is_used<'a>(&'a self, owner: &'a str, id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Uses it: `false` when it was used before. Of several at once exactly one is told `true`. It is remembered until
    /// it can no longer count.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also when [`MAX_USED`] are remembered: what cannot be remembered must not count.
    fn spend<'a>(
        &'a self,
        owner: &'a str,
        id: &'a str,
        until: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
}

/// Used ids in memory, for tests and for single processes whose tokens do not outlive them.
#[derive(Default)]
pub struct MemoryUsed(Mutex<HashMap<(String, String), Timestamp>>);

impl fmt::Debug for MemoryUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryUsed(..)")
    }
}

impl UsedIds for MemoryUsed {
    fn is_used<'a>(&'a self, owner: &'a str, id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(ready(Ok(used.contains_key(&(owner.to_owned(), id.to_owned())))))
    }

    fn spend<'a>(
        &'a self,
        owner: &'a str,
        id: &'a str,
        until: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner.to_owned(), id.to_owned());
        if used.contains_key(&key) {
            return Box::pin(ready(Ok(false)));
        }
        if used.len() >= MAX_USED {
            used.retain(|_, until| *until > now);
        }
        let spent = if used.len() >= MAX_USED {
            Err(StoreError::Unavailable("as many ids as can be are remembered".to_owned()))
        } else {
            used.insert(key, until);
            Ok(true)
        };
        Box::pin(ready(spent))
    }
}
