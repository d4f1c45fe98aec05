use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{Clock, RequestId, SystemClock};
use futures_util::future::{BoxFuture, FutureExt, ready};

use crate::{
    AuditError, AuditStore, Entry, Head, Lane, Leaf, Phase, Prepared, Query, Receipt, RefusalQuota, Seat,
};

/// Leaves a [`MemoryStore`] takes before it refuses; at 4 KiB each 400 MiB.
pub const DEFAULT_MEMORY_LEAVES: usize = 100_000;

/// A log in memory, for tests, examples and services that only want to look at it: gone with the process.
///
/// Clones share the log.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    log: Mutex<Log>,
    clock: Arc<dyn Clock>,
    admit: Box<dyn Admit>,
    capacity: usize,
}

struct Log {
    leaves: Vec<Leaf>,
    open: BTreeMap<RequestId, usize>,
    quota: RefusalQuota,
    reserved: usize,
}

/// A say in what goes on the record, before it does.
trait Admit: Fn(&Entry) -> Result<(), AuditError> + Send + Sync {}
impl<F: Fn(&Entry) -> Result<(), AuditError> + Send + Sync> Admit for F {}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("leaves", &self.log().leaves.len()).finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty log of at most [`DEFAULT_MEMORY_LEAVES`].
    #[must_use]
    pub fn new() -> Self {
        Self::with(RefusalQuota::default(), Arc::new(SystemClock), DEFAULT_MEMORY_LEAVES, |_: &Entry| Ok(()))
    }

    /// An empty log with this quota for strangers, this clock and at most `capacity` leaves. `admit` is asked before
    /// each entry and may refuse it: where approvals live in memory too, it is what ties the two together (an intent
    /// that releases an approval marks it as sent, or is refused).
    pub fn with<F>(quota: RefusalQuota, clock: Arc<dyn Clock>, capacity: usize, admit: F) -> Self
    where
        F: Fn(&Entry) -> Result<(), AuditError> + Send + Sync + 'static,
    {
        let log = Mutex::new(Log { leaves: Vec::new(), open: BTreeMap::new(), quota, reserved: 0 });
        Self { shared: Arc::new(Shared { log, clock, admit: Box::new(admit), capacity }) }
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Leaf> {
        self.log().leaves.clone()
    }

    /// Everything so far, decoded.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.log().leaves.iter().filter_map(|leaf| leaf.entry().ok()).collect()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, lane: Option<Lane>, entry: Entry) -> Result<Receipt, AuditError> {
        let mut log = self.log();
        if let Some(counts) = log.quota.due(self.shared.clock.now()) {
            log.push(counts)?;
        }
        if lane == Some(Lane::Refusal) && !log.quota.admit(&entry) {
            return Err(AuditError::Full);
        }
        // An entry with a seat (no lane) has had its room set aside.
        if lane.is_some() && log.leaves.len() + log.reserved >= self.shared.capacity {
            return Err(AuditError::Full);
        }
        // The lock is held on purpose: what `admit` agrees to and what is written happen as one.
        (self.shared.admit)(&entry)?;
        log.push(entry)
    }
}

impl Log {
    fn head(&self) -> Head {
        self.leaves.last().map_or_else(Head::default, |leaf| Head { count: leaf.seq, hash: leaf.hash })
    }

    fn push(&mut self, entry: Entry) -> Result<Receipt, AuditError> {
        let (phase, request) = (entry.phase, entry.request);
        let leaf = Prepared::new(entry)?.after(self.head());
        let seq = leaf.seq;
        match phase {
            Phase::Intent => _ = self.open.insert(request, self.leaves.len()),
            Phase::Outcome => _ = self.open.remove(&request),
            _ => {}
        }
        self.leaves.push(leaf);
        Ok(Receipt { seq })
    }
}

impl AuditStore for MemoryStore {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Receipt, AuditError>> {
        ready(self.write(Some(lane), entry)).boxed()
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Seat>, AuditError>> {
        let mut log = self.log();
        let seat = if log.leaves.len() + log.reserved < self.shared.capacity {
            log.reserved += 1;
            Ok(Box::new(MemorySeat(self.clone())) as Box<dyn Seat>)
        } else {
            Err(AuditError::Full)
        };
        ready(seat).boxed()
    }

    fn leaves(&self, query: Query) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        let log = self.log();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let found = if query.newest_first {
            let before = if query.after == 0 { u64::MAX } else { query.after };
            let leaves = log.leaves.iter().rev().filter(|leaf| leaf.seq < before && matches(&query, leaf));
            leaves.take(limit).cloned().collect()
        } else {
            let leaves = log.leaves.iter().filter(|leaf| leaf.seq > query.after && matches(&query, leaf));
            leaves.take(limit).cloned().collect()
        };
        ready(Ok(found)).boxed()
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, AuditError>> {
        ready(Ok(self.log().head())).boxed()
    }

    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        let log = self.log();
        let mut open: Vec<_> =
            log.open.values().filter_map(|index| log.leaves.get(*index)).cloned().collect();
        open.sort_by_key(|leaf| leaf.seq);
        open.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        ready(Ok(open)).boxed()
    }
}

struct MemorySeat(MemoryStore);

impl Seat for MemorySeat {
    fn submit(self: Box<Self>, entry: Entry) -> BoxFuture<'static, Result<Receipt, AuditError>> {
        ready(self.0.write(None, entry)).boxed()
    }
}

impl Drop for MemorySeat {
    fn drop(&mut self) {
        let mut log = self.0.log();
        log.reserved = log.reserved.saturating_sub(1);
    }
}

fn matches(query: &Query, leaf: &Leaf) -> bool {
    let Ok(entry) = leaf.entry() else { return false };
    query.run.is_none_or(|run| entry.run == Some(run))
        && query.request.is_none_or(|request| entry.request == request)
        && query.approval.is_none_or(|approval| entry.approval == Some(approval))
        && query.phase.is_none_or(|phase| entry.phase == phase)
        && query
            .principal
            .as_ref()
            .is_none_or(|principal| entry.principal().is_some_and(|key| key.to_string() == *principal))
}
