use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{ApproverSet, DelegationId, Fact, PrincipalKey, RequestId, Timestamp};
use futures_util::future::{BoxFuture, ready};

use super::{Delegation, DelegationFilter, DelegationStore, EndError, LendError, NewDelegation};
use crate::{DEFAULT_MEMORY_LIMIT, StoreError};

type Record = dyn Fn(&Fact) -> Result<(), StoreError> + Send + Sync;

/// Delegations in memory, for tests and for services that may forget: a restart ends everybody's.
pub struct MemoryDelegations {
    // A std mutex: held for a look at a map and a pure function, never across an await.
    rows: Mutex<BTreeMap<DelegationId, Delegation>>,
    record: Box<Record>,
}

impl MemoryDelegations {
    /// An empty one that keeps no record.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Mutex::default(), record: Box::new(|_| Ok(())) }
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

    fn rows(&self) -> MutexGuard<'_, BTreeMap<DelegationId, Delegation>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend_now(&self, new: NewDelegation, own: &BTreeSet<ApproverSet>) -> Result<Delegation, LendError> {
        let mut rows = self.rows();
        if rows.contains_key(&new.id) {
            return Err(LendError::Exists);
        }
        if rows.len() >= DEFAULT_MEMORY_LIMIT.get() {
            rows.retain(|_, row| !row.is_over(new.given));
        }
        if rows.len() >= DEFAULT_MEMORY_LIMIT.get() {
            return Err(StoreError::Unavailable("as many as this store keeps have not ended".into()).into());
        }
        let theirs = |row: &&Delegation| row.given.by.key == new.by.key && !row.is_over(new.given);
        let beside = rows.values().filter(theirs).count();
        let next = super::lend(new, own, beside)?;
        (self.record)(&next.fact)?;
        rows.insert(next.delegation.id(), next.delegation.clone());
        Ok(next.delegation)
    }

    fn end_now(
        &self,
        id: DelegationId,
        by: &PrincipalKey,
        request: RequestId,
        at: Timestamp,
    ) -> Result<Delegation, EndError> {
        let mut rows = self.rows();
        let row = rows.get_mut(&id).ok_or(EndError::Unknown)?;
        let next = super::end(row, by, request, at)?;
        (self.record)(&next.fact)?;
        *row = next.delegation;
        Ok(row.clone())
    }
}

impl Default for MemoryDelegations {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDelegations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDelegations").field("rows", &self.rows().len()).finish_non_exhaustive()
    }
}

impl DelegationStore for MemoryDelegations {
    fn lend(
        &self,
        new: NewDelegation,
        own: BTreeSet<ApproverSet>,
    ) -> BoxFuture<'_, Result<Delegation, LendError>> {
        Box::pin(ready(self.lend_now(new, &own)))
    }

    fn end(
        &self,
        id: DelegationId,
        by: PrincipalKey,
        request: RequestId,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<Delegation, EndError>> {
        Box::pin(ready(self.end_now(id, &by, request, at)))
    }

    fn to<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Delegation>, StoreError>> {
        let rows = self.rows();
        let found = rows.values().filter(|row| row.given.to == *principal && row.counts_at(now)).cloned();
        Box::pin(ready(Ok(found.collect())))
    }

    fn list(&self, filter: DelegationFilter) -> BoxFuture<'_, Result<Vec<Delegation>, StoreError>> {
        let mut found = self.rows().values().filter(|row| filter.matches(row)).cloned().collect::<Vec<_>>();
        found.sort_by_key(|row| (row.given.until, row.id()));
        found.truncate(filter.limit.get());
        Box::pin(ready(Ok(found)))
    }
}
