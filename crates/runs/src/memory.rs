use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{IdKind, RunId, TaskId, Timestamp};
use futures_util::future::{BoxFuture, ready};
use uuid::Uuid;

use crate::{LedgerError, NewRun, OwnedId, PendingTask, RegisterError, RunFilter, RunLedger};

/// Ids a [`MemoryLedger`] keeps: about 300 bytes each, so 100,000 are 30 MB.
pub const DEFAULT_MEMORY_LIMIT: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Ids in memory, for tests and for services that may forget: after a restart nobody owns anything, and every id is
/// unknown.
pub struct MemoryLedger {
    // A std mutex: held for map lookups, never across an await.
    rows: Mutex<Rows>,
    limit: NonZeroUsize,
}

#[derive(Default)]
struct Rows {
    ids: HashMap<Uuid, OwnedId>,
    /// Own ids of any kind by crew and upstream id.
    upstream: HashMap<(String, String), Vec<Uuid>>,
    /// Own id by crew and the upstream's run id.
    runs: HashMap<(String, String), Uuid>,
    /// Own id by run, kind and upstream id, for every other kind.
    parts: HashMap<(RunId, IdKind, String), Uuid>,
    tasks: HashMap<RunId, (u64, Option<PendingTask>)>,
}

impl MemoryLedger {
    /// An empty one that keeps [`DEFAULT_MEMORY_LIMIT`] ids.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Mutex::default(), limit: DEFAULT_MEMORY_LIMIT }
    }

    /// How many ids to keep; beyond it new ones are refused, because forgetting one would lose its owner.
    #[must_use]
    pub fn limit(mut self, limit: NonZeroUsize) -> Self {
        self.limit = limit;
        self
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self, rows: &Rows, more: usize) -> Result<(), LedgerError> {
        if rows.ids.len().saturating_add(more) > self.limit.get() {
            return Err(LedgerError::Unavailable("it holds as many ids as it may".into()));
        }
        Ok(())
    }

    fn bind_now(&self, run: RunId, upstream: String) -> Result<OwnedId, RegisterError> {
        let mut rows = self.rows();
        let Some(row) = rows.ids.get(&run.as_uuid()) else { return Err(RegisterError::NoRun) };
        if row.run != run || row.kind != IdKind::Run {
            return Err(RegisterError::NoRun);
        }
        match &row.upstream {
            Some(bound) if *bound == upstream => return Ok(row.clone()),
            Some(_) => return Err(RegisterError::Bound),
            None => {}
        }
        let key = (row.crew.clone(), upstream.clone());
        if rows.runs.contains_key(&key) {
            return Err(RegisterError::Taken);
        }
        rows.upstream.entry(key.clone()).or_default().push(run.as_uuid());
        rows.runs.insert(key, run.as_uuid());
        let Some(row) = rows.ids.get_mut(&run.as_uuid()) else { return Err(RegisterError::NoRun) };
        row.upstream = Some(upstream);
        Ok(row.clone())
    }

    fn register_now(
        &self,
        run: RunId,
        ids: Vec<(IdKind, String)>,
        at: Timestamp,
    ) -> Result<Vec<OwnedId>, RegisterError> {
        let mut rows = self.rows();
        let Some(parent) = rows.run(run) else { return Err(RegisterError::NoRun) };
        // All or none: checked before the first is inserted, counting those that may exist already.
        self.room(&rows, ids.len())?;
        Ok(ids
            .into_iter()
            .map(|(kind, upstream)| {
                let own = match rows.own(&parent, kind, &upstream) {
                    Some(found) => return found,
                    None => Uuid::new_v4(),
                };
                let upstream = Some(upstream);
                rows.insert(OwnedId { own, kind, upstream, at, ..parent.clone() })
            })
            .collect())
    }
}

impl Rows {
    fn run(&self, run: RunId) -> Option<OwnedId> {
        self.ids.get(&run.as_uuid()).filter(|id| id.run == run && id.kind == IdKind::Run).cloned()
    }

    fn own(&self, parent: &OwnedId, kind: IdKind, upstream: &str) -> Option<OwnedId> {
        let own = match kind {
            IdKind::Run => self.runs.get(&(parent.crew.clone(), upstream.to_owned())),
            _ => self.parts.get(&(parent.run, kind, upstream.to_owned())),
        };
        own.and_then(|own| self.ids.get(own)).cloned()
    }

    fn insert(&mut self, id: OwnedId) -> OwnedId {
        if let Some(upstream) = id.upstream.clone() {
            self.upstream.entry((id.crew.clone(), upstream.clone())).or_default().push(id.own);
            match id.kind {
                IdKind::Run => self.runs.insert((id.crew.clone(), upstream), id.own),
                kind => self.parts.insert((id.run, kind, upstream), id.own),
            };
        }
        self.ids.insert(id.own, id.clone());
        id
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLedger").field("ids", &self.rows().ids.len()).finish_non_exhaustive()
    }
}

fn fresh(new: NewRun, upstream: Option<String>) -> OwnedId {
    let run = RunId::random();
    let NewRun { crew, owner, at } = new;
    OwnedId { own: run.as_uuid(), kind: IdKind::Run, crew, owner, run, upstream, at }
}

impl RunLedger for MemoryLedger {
    fn reserve(&self, new: NewRun) -> BoxFuture<'_, Result<RunId, LedgerError>> {
        let mut rows = self.rows();
        let done = self.room(&rows, 1).map(|()| rows.insert(fresh(new, None)).run);
        Box::pin(ready(done))
    }

    fn start(&self, new: NewRun, upstream: String) -> BoxFuture<'_, Result<OwnedId, LedgerError>> {
        let mut rows = self.rows();
        let known = rows.runs.get(&(new.crew.clone(), upstream.clone())).and_then(|own| rows.ids.get(own));
        let done = match known {
            Some(known) => Ok(known.clone()),
            None => self.room(&rows, 1).map(|()| rows.insert(fresh(new, Some(upstream)))),
        };
        Box::pin(ready(done))
    }

    fn bind(&self, run: RunId, upstream: String) -> BoxFuture<'_, Result<OwnedId, RegisterError>> {
        Box::pin(ready(self.bind_now(run, upstream)))
    }

    fn register(
        &self,
        run: RunId,
        ids: Vec<(IdKind, String)>,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OwnedId>, RegisterError>> {
        Box::pin(ready(self.register_now(run, ids, at)))
    }

    fn find(&self, own: Uuid) -> BoxFuture<'_, Result<Option<OwnedId>, LedgerError>> {
        Box::pin(ready(Ok(self.rows().ids.get(&own).cloned())))
    }

    fn find_upstream<'a>(
        &'a self,
        crew: &'a str,
        mut upstream: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<OwnedId>, LedgerError>> {
        upstream.sort_unstable();
        upstream.dedup();
        let rows = self.rows();
        let owns = upstream.into_iter().filter_map(|id| rows.upstream.get(&(crew.to_owned(), id)));
        let found = owns.flatten().filter_map(|own| rows.ids.get(own)).cloned().collect();
        Box::pin(ready(Ok(found)))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<Vec<OwnedId>, LedgerError>> {
        let rows = self.rows();
        let newest: BTreeMap<_, _> = rows
            .ids
            .values()
            .filter(|id| filter.matches(id))
            .map(|id| (std::cmp::Reverse((id.at, id.own)), id))
            .collect();
        let found = newest.into_values().take(filter.limit.get()).cloned().collect();
        Box::pin(ready(Ok(found)))
    }

    fn task_waiting(
        &self,
        run: RunId,
        execution: RunId,
        task: TaskId,
    ) -> BoxFuture<'_, Result<PendingTask, RegisterError>> {
        let mut rows = self.rows();
        if rows.run(run).is_none() {
            return Box::pin(ready(Err(RegisterError::NoRun)));
        }
        let (turn, waits) = rows.tasks.entry(run).or_default();
        *turn = turn.saturating_add(1);
        let pending = PendingTask { execution, task, turn: *turn };
        *waits = Some(pending);
        Box::pin(ready(Ok(pending)))
    }

    fn task_of(&self, run: RunId) -> BoxFuture<'_, Result<Option<PendingTask>, LedgerError>> {
        Box::pin(ready(Ok(self.rows().tasks.get(&run).and_then(|(_, waits)| *waits))))
    }

    fn task_answered(&self, run: RunId, answered: PendingTask) -> BoxFuture<'_, Result<bool, LedgerError>> {
        let mut rows = self.rows();
        let done = match rows.tasks.get_mut(&run) {
            Some((_, waits)) if *waits == Some(answered) => waits.take().is_some(),
            _ => false,
        };
        Box::pin(ready(Ok(done)))
    }
}
