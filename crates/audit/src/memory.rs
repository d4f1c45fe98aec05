use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{Clock, Fact, RequestId, RunId, SystemClock};
use futures_util::future::{BoxFuture, FutureExt, ready};

use crate::{
    AuditError, AuditStore, Entry, Lane, Leaf, Log, Phase, Place, Prepared, Query, RefusalQuota, Seat,
    tlog::{Checkpoint, Hash, KeyKind, Signer, TILE, Tiles, Tree, VerifierKey},
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
    log: Mutex<State>,
    clock: Arc<dyn Clock>,
    admit: Box<dyn Admit>,
    capacity: usize,
    /// `None`: the system has no random bytes.
    signer: Option<Signer>,
}

struct State {
    leaves: Vec<Leaf>,
    /// Whose each leaf is, and whose the requests and runs are.
    owners: Vec<Option<String>>,
    requests: HashMap<RequestId, String>,
    runs: HashMap<RunId, String>,
    tree: Tree,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
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
        let log = Mutex::new(State {
            leaves: Vec::new(),
            owners: Vec::new(),
            requests: HashMap::new(),
            runs: HashMap::new(),
            tree: Tree::default(),
            tiles: BTreeMap::new(),
            open: BTreeMap::new(),
            quota,
            reserved: 0,
        });
        let signer = Signer::generate("memory", KeyKind::Log).ok();
        Self { shared: Arc::new(Shared { log, clock, admit: Box::new(admit), capacity, signer }) }
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

    fn log(&self) -> MutexGuard<'_, State> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, lane: Option<Lane>, entry: Entry) -> Result<Place, AuditError> {
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

impl State {
    /// Whose an entry is: the principal's it names, else that of the request, of which it may be part, or of the run.
    fn owner(&mut self, entry: &Entry) -> Option<String> {
        let asked = entry.facts.iter().find_map(|fact| match fact {
            Fact::PartOf { request } => Some(*request),
            _ => None,
        });
        let known = [Some(entry.request), asked].into_iter().flatten().find_map(|id| self.requests.get(&id));
        let known = known.or_else(|| self.runs.get(&entry.run?)).cloned();
        let owner = entry.principal().map(ToString::to_string).or(known)?;
        self.requests.entry(entry.request).or_insert_with(|| owner.clone());
        if let Some(run) = entry.run {
            self.runs.entry(run).or_insert_with(|| owner.clone());
        }
        Some(owner)
    }

    fn push(&mut self, entry: Entry) -> Result<Place, AuditError> {
        let (phase, request) = (entry.phase, entry.request);
        let owner = self.owner(&entry);
        let prepared = Prepared::new(entry)?;
        self.owners.push(owner);
        let index = self.tree.size();
        for tile in self.tree.extend([prepared.hash]) {
            self.tiles.insert((tile.level, tile.n), tile.hashes);
        }
        match phase {
            Phase::Intent => _ = self.open.insert(request, self.leaves.len()),
            Phase::Outcome => _ = self.open.remove(&request),
            _ => {}
        }
        self.leaves.push(prepared.at(index));
        Ok(Place { index })
    }
}

impl Tiles for MemoryStore {
    type Error = AuditError;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, AuditError>> {
        ready(Ok(self.log().tiles.get(&(level, n)).cloned().unwrap_or_default())).boxed()
    }
}

impl Log for MemoryStore {
    fn keys(&self) -> Vec<VerifierKey> {
        self.shared.signer.iter().map(|signer| signer.verifier().clone()).collect()
    }

    /// Signed when it is asked for: nobody else could have seen an earlier one.
    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>> {
        let head = self.log().tree.head();
        let signed = self.shared.signer.as_ref().and_then(|signer| {
            let origin = signer.verifier().name().to_owned();
            Checkpoint { origin, head }.sign(std::slice::from_ref(signer))
        });
        ready(signed.map(|signed| signed.to_string()).ok_or(AuditError::Unavailable)).boxed()
    }

    fn checkpoints(&self, _: u64, _: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        let log = self.log();
        let leaves = log.leaves.iter().filter(|leaf| leaf.index / TILE == n).cloned().collect();
        ready(Ok(leaves)).boxed()
    }
}

impl AuditStore for MemoryStore {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
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
        let leaves = log.leaves.iter().zip(&log.owners);
        let leaves =
            leaves.filter(|(leaf, owner)| matches(&query, leaf, owner.as_deref())).map(|(leaf, _)| leaf);
        let found = if query.newest_first {
            let before = query.after.unwrap_or(u64::MAX);
            leaves.rev().filter(|leaf| leaf.index < before).take(limit).cloned().collect()
        } else {
            leaves.filter(|leaf| Some(leaf.index) > query.after).take(limit).cloned().collect()
        };
        ready(Ok(found)).boxed()
    }

    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        let log = self.log();
        let mut open: Vec<_> =
            log.open.values().filter_map(|index| log.leaves.get(*index)).cloned().collect();
        open.sort_by_key(|leaf| leaf.index);
        open.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        ready(Ok(open)).boxed()
    }
}

struct MemorySeat(MemoryStore);

impl Seat for MemorySeat {
    fn submit(self: Box<Self>, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
        ready(self.0.write(None, entry)).boxed()
    }
}

impl Drop for MemorySeat {
    fn drop(&mut self) {
        let mut log = self.0.log();
        log.reserved = log.reserved.saturating_sub(1);
    }
}

fn matches(query: &Query, leaf: &Leaf, owner: Option<&str>) -> bool {
    let Ok(entry) = leaf.entry() else { return false };
    let words = leaf.words();
    query.run.is_none_or(|run| entry.run == Some(run))
        && query.request.is_none_or(|request| entry.request == request)
        && query.approval.is_none_or(|approval| entry.approval == Some(approval))
        && query.phase.is_none_or(|phase| entry.phase == phase)
        && query.since.is_none_or(|since| entry.time >= since)
        && query.until.is_none_or(|until| entry.time < until)
        && query.words.is_subset(&words)
        && query.principal.as_deref().is_none_or(|principal| owner == Some(principal))
}
