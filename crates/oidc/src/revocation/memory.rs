use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{Fact, RevokedTokens, Timestamp};
use futures_util::future::{BoxFuture, ready};

use super::{Lift, MAX_REVOCATIONS, Revocation, RevocationStore, RevokeError, StoreError};

type Record = dyn Fn(&[Fact]) -> Result<(), StoreError> + Send + Sync;

/// Revocations in memory, for tests and for services whose tokens do not outlive them.
pub struct MemoryRevocations {
    // A std mutex: held for a look at a map, never across an await.
    rows: Mutex<Rows>,
    record: Box<Record>,
}

#[derive(Default)]
struct Rows {
    standing: BTreeMap<RevokedTokens, Revocation>,
    version: u64,
}

impl MemoryRevocations {
    /// An empty one that keeps no record.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Mutex::default(), record: Box::new(|_| Ok(())) }
    }

    /// Where the facts of each change go. It is called before the change happens; an error prevents it.
    #[must_use]
    pub fn record(
        mut self,
        record: impl Fn(&[Fact]) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        self.record = Box::new(record);
        self
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revoke_now(&self, new: Revocation) -> Result<Revocation, RevokeError> {
        let mut rows = self.rows();
        rows.standing.retain(|_, row| row.until > new.at);
        let earlier = rows.standing.get(&new.tokens).cloned();
        let next = new.over(earlier.as_ref());
        if rows.standing.len() >= MAX_REVOCATIONS && !rows.standing.contains_key(&next.tokens) {
            return Err(RevokeError::Full);
        }
        (self.record)(&next.facts())?;
        rows.version += 1;
        rows.standing.insert(next.tokens.clone(), next.clone());
        Ok(next)
    }

    fn lift_now(&self, lift: &Lift) -> Result<(), RevokeError> {
        let mut rows = self.rows();
        if rows.standing.get(&lift.tokens).is_none_or(|row| row.until <= lift.at) {
            return Err(RevokeError::NotRevoked);
        }
        (self.record)(&lift.facts())?;
        rows.version += 1;
        rows.standing.remove(&lift.tokens);
        Ok(())
    }
}

impl Default for MemoryRevocations {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRevocations")
            .field("standing", &self.rows().standing.len())
            .finish_non_exhaustive()
    }
}

impl RevocationStore for MemoryRevocations {
    fn revoke(&self, new: Revocation) -> BoxFuture<'_, Result<Revocation, RevokeError>> {
        Box::pin(ready(self.revoke_now(new)))
    }

    fn lift(&self, lift: Lift) -> BoxFuture<'_, Result<(), RevokeError>> {
        Box::pin(ready(self.lift_now(&lift)))
    }

    fn version(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(ready(Ok(self.rows().version)))
    }

    fn standing(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        let rows = self.rows();
        let standing = rows.standing.values().filter(|row| row.until > now).cloned().collect();
        Box::pin(ready(Ok(standing)))
    }
}
