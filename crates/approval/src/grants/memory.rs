use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{Effect, Fact, GrantId, PrincipalKey, RequestId, Timestamp};
use futures_util::future::{BoxFuture, ready};

use super::{
    GiveError, Grant, GrantFilter, GrantMove, GrantState, GrantStore, NewGrant, Revocation, RevokeError,
    SpendError,
};
use crate::{DEFAULT_MEMORY_LIMIT, StoreError};

type Record = dyn Fn(&Fact) -> Result<(), StoreError> + Send + Sync;

/// Grants in memory, for tests and for services that may forget: a restart takes everybody's away.
pub struct MemoryGrants {
    // A std mutex: held for a look at a map and a pure function, never across an await.
    rows: Mutex<BTreeMap<GrantId, Grant>>,
    record: Box<Record>,
    limit: NonZeroUsize,
}

impl MemoryGrants {
    /// An empty one that keeps no record.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Mutex::default(), record: Box::new(|_| Ok(())), limit: DEFAULT_MEMORY_LIMIT }
    }

    /// Where each transition's fact goes. It is called before the transition happens; an error prevents it.
    #[must_use]
    pub fn record(
        mut self,
        record: impl Fn(&Fact) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        self.record = Box::new(record);
        self
    }

    /// How many to keep; beyond it those that are over are forgotten, and when none is over new ones are refused.
    /// Default [`DEFAULT_MEMORY_LIMIT`].
    #[must_use]
    pub fn limit(mut self, limit: NonZeroUsize) -> Self {
        self.limit = limit;
        self
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<GrantId, Grant>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`GrantStore::give`], which here waits for nothing.
    ///
    /// # Errors
    ///
    /// [`GiveError`]; nothing was given.
    pub fn give_now(&self, new: NewGrant) -> Result<Grant, GiveError> {
        let mut rows = self.rows();
        if rows.contains_key(&new.id) {
            return Err(GiveError::Exists);
        }
        if rows.len() >= self.limit.get() {
            rows.retain(|_, row| !row.state_at(new.given).is_over());
        }
        if rows.len() >= self.limit.get() {
            return Err(StoreError::Unavailable("as many as this store keeps have not ended".into()).into());
        }
        let others = GrantFilter::at(new.given).of(&new.principal);
        let next = super::give(new, rows.values().filter(|row| others.matches(row)).count())?;
        (self.record)(&next.fact)?;
        rows.insert(next.grant.id(), next.grant.clone());
        Ok(next.grant)
    }

    /// Applies one function under the lock, so that no two can meet on one row.
    fn change<E: From<StoreError>>(
        &self,
        id: GrantId,
        unknown: E,
        step: impl FnOnce(&Grant) -> Result<Option<GrantMove>, E>,
    ) -> Result<Grant, E> {
        let mut rows = self.rows();
        let row = rows.get_mut(&id).ok_or(unknown)?;
        if let Some(next) = step(row)? {
            (self.record)(&next.fact)?;
            *row = next.grant;
        }
        Ok(row.clone())
    }
}

impl Default for MemoryGrants {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryGrants")
            .field("rows", &self.rows().len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl GrantStore for MemoryGrants {
    fn give(&self, new: NewGrant) -> BoxFuture<'_, Result<Grant, GiveError>> {
        Box::pin(ready(self.give_now(new)))
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<Grant, RevokeError>> {
        let done = self
            .change(revocation.grant, RevokeError::Unknown, |row| super::revoke(row, &revocation).map(Some));
        Box::pin(ready(done))
    }

    fn spend(
        &self,
        id: GrantId,
        effect: Effect,
        request: RequestId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), SpendError>> {
        let done = self.change(id, SpendError::Unknown, |row| super::spend(row, effect, request, now));
        Box::pin(ready(done.map(|_| ())))
    }

    fn of<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Grant>, StoreError>> {
        let filter = GrantFilter { limit: NonZeroUsize::MAX, ..GrantFilter::at(now).of(principal) };
        Box::pin(async move {
            let mut found = self.list(filter).await?;
            found.retain(|grant| grant.state_at(now) != GrantState::Coming);
            Ok(found)
        })
    }

    fn find(&self, id: GrantId) -> BoxFuture<'_, Result<Option<Grant>, StoreError>> {
        Box::pin(ready(Ok(self.rows().get(&id).cloned())))
    }

    fn list(&self, filter: GrantFilter) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>> {
        let mut found = self.rows().values().filter(|row| filter.matches(row)).cloned().collect::<Vec<_>>();
        found.sort_by_key(|row| (row.given.until, row.id()));
        if filter.over {
            found.reverse();
        }
        found.truncate(filter.limit.get());
        Box::pin(ready(Ok(found)))
    }
}
