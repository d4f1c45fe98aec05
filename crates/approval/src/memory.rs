use std::{collections::BTreeMap, fmt, num::NonZeroUsize, time::Duration};

use crewgate_core::{ApprovalId, Fact, Principal, PrincipalKey, RunId, Timestamp};
use futures_util::future::{BoxFuture, ready};

use crate::{
    Approval, ApprovalStore, Ballot, BreakError, Broken, CancelError, End, Filter, Gift, GiveError,
    GlassBreak, Grant, Hindsight, Hint, KeptKey, KeyStore, Lease, LeaseError, NewApproval, NewGrant,
    OpenError, Resolution, ResolveError, ReviewError, State, StoreError, VoteError, hand_over,
    lock::{Mutex, MutexGuard, PoisonError},
    machine,
    machine::Transition,
};

/// Approvals a [`MemoryStore`] keeps: each holds its body, so 10,000 of 10 KiB are 100 MB.
pub const DEFAULT_MEMORY_LIMIT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

type Gives = dyn Fn(NewGrant) -> Result<Grant, GiveError> + Send + Sync;
type Record = dyn Fn(&Fact) -> Result<(), StoreError> + Send + Sync;

/// Approvals in memory, for tests and for services that may forget: a restart loses what waits.
pub struct MemoryStore {
    // A std mutex: held for a map lookup and a pure function, never across an await.
    rows: Mutex<BTreeMap<ApprovalId, Approval>>,
    record: Box<Record>,
    limit: NonZeroUsize,
    hint: Hint,
    gives: Option<Box<Gives>>,
}

impl MemoryStore {
    /// An empty one that keeps no record.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: Mutex::default(),
            record: Box::new(|_| Ok(())),
            limit: DEFAULT_MEMORY_LIMIT,
            hint: Hint::new(),
            gives: None,
        }
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

    /// How many to keep; beyond it ended ones are forgotten, oldest first, and when none has ended new ones are
    /// refused. Default [`DEFAULT_MEMORY_LIMIT`].
    #[must_use]
    pub fn limit(mut self, limit: NonZeroUsize) -> Self {
        self.limit = limit;
        self
    }

    /// How roles that are agreed to are given. Without it none is: the request for it stays approved until it ends.
    #[must_use]
    pub fn gives(
        mut self,
        give: impl Fn(NewGrant) -> Result<Grant, GiveError> + Send + Sync + 'static,
    ) -> Self {
        self.gives = Some(Box::new(give));
        self
    }

    /// Carries out a request for a role that has just been agreed to; where it stands then.
    fn hand_over(
        &self,
        id: ApprovalId,
        agreed: State,
        gift: Option<Gift>,
        now: Timestamp,
    ) -> Result<State, StoreError> {
        let (State::Approved { .. }, Some(gift), Some(give)) = (&agreed, gift, &self.gives) else {
            return Ok(agreed);
        };
        let mut rows = self.rows();
        let moves = rows.get(&id).and_then(|row| hand_over(row, gift, now, give));
        let mut state = agreed;
        for Transition { approval, fact } in moves.map(|(moves, _)| moves).unwrap_or_default() {
            (self.record)(&fact)?;
            state = approval.state.clone();
            rows.insert(id, approval);
        }
        drop(rows);
        self.hint.ring_for(id);
        Ok(state)
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<ApprovalId, Approval>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_now(&self, new: NewApproval) -> Result<Approval, OpenError> {
        let mut rows = self.rows();
        let taken = rows.contains_key(&new.id)
            || new.run.is_some() && rows.values().any(|other| other.asked.run == new.run);
        if taken {
            return Err(OpenError::Exists);
        }
        if new.keyed.as_ref().is_some_and(|keyed| holder(&rows, &keyed.key, new.opened).is_some()) {
            return Err(OpenError::KeyTaken);
        }
        if rows.len() >= self.limit.get() {
            let ended = rows
                .values()
                .filter(|row| row.state_at(new.opened).phase().is_terminal() && !is_unreviewed(row))
                .min_by_key(|row| row.asked.opened)
                .map(Approval::id);
            let Some(ended) = ended else {
                return Err(StoreError::Unavailable("as many as this store keeps are waiting".into()).into());
            };
            rows.remove(&ended);
        }
        let Transition { approval, fact } = machine::open(new)?;
        (self.record)(&fact)?;
        rows.insert(approval.id(), approval.clone());
        drop(rows);
        self.hint.ring_for(approval.id());
        Ok(approval)
    }

    /// Applies one function of the machine under the lock, so that no two can meet on one row.
    fn change<T, E: From<StoreError>>(
        &self,
        id: ApprovalId,
        unknown: E,
        step: impl FnOnce(&Approval) -> Result<(Transition, T), E>,
    ) -> Result<T, E> {
        self.change_beside(id, unknown, |row, _| step(row))
    }

    /// As [`change`](Self::change), with a look at the other rows.
    fn change_beside<T, E: From<StoreError>>(
        &self,
        id: ApprovalId,
        unknown: E,
        step: impl FnOnce(&Approval, &BTreeMap<ApprovalId, Approval>) -> Result<(Transition, T), E>,
    ) -> Result<T, E> {
        let mut rows = self.rows();
        let row = rows.get(&id).ok_or(unknown)?;
        let (Transition { approval, fact }, answer) = step(row, &rows)?;
        (self.record)(&fact)?;
        rows.insert(id, approval);
        drop(rows);
        self.hint.ring_for(id);
        Ok(answer)
    }

    fn lease(
        &self,
        lease: Lease,
        step: impl FnOnce(&Approval) -> Result<Transition, LeaseError>,
    ) -> BoxFuture<'_, Result<(), LeaseError>> {
        let done = self.change(lease.approval, LeaseError::Unknown, |row| Ok((step(row)?, ())));
        Box::pin(ready(done))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("rows", &self.rows().len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn is_unreviewed(row: &Approval) -> bool {
    row.broken.as_ref().is_some_and(Broken::is_open)
}

/// The approval a caller's name stands for.
fn holder<'a>(rows: &'a BTreeMap<ApprovalId, Approval>, key: &str, now: Timestamp) -> Option<&'a Approval> {
    rows.values().find(|row| row.asked.keyed.as_ref().is_some_and(|k| k.key == key && now < k.until))
}

impl KeyStore for MemoryStore {
    fn kept<'a>(
        &'a self,
        key: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<KeptKey>, StoreError>> {
        let kept = holder(&self.rows(), key, now).and_then(|row| {
            let fingerprint = row.asked.keyed.as_ref()?.fingerprint.clone();
            Some(KeptKey { fingerprint, request: row.asked.request, approval: Some(row.id()) })
        });
        Box::pin(ready(Ok(kept)))
    }
}

impl ApprovalStore for MemoryStore {
    fn open(&self, new: NewApproval) -> BoxFuture<'_, Result<Approval, OpenError>> {
        Box::pin(ready(self.open_now(new)))
    }

    fn vote(&self, ballot: Ballot) -> BoxFuture<'_, Result<State, VoteError>> {
        let done = self.change(ballot.approval, VoteError::Unknown, |row| {
            let next = machine::vote(row, &ballot)?;
            let state = next.approval.state.clone();
            Ok((next, state))
        });
        let done = done
            .and_then(|state| Ok(self.hand_over(ballot.approval, state, ballot.gives, ballot.vote.at)?));
        Box::pin(ready(done))
    }

    fn cancel<'a>(
        &'a self,
        id: ApprovalId,
        by: &'a Principal,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<State, CancelError>> {
        let done = self.change(id, CancelError::Unknown, |row| {
            let next = machine::cancel(row, by, now)?;
            let state = next.approval.state.clone();
            Ok((next, state))
        });
        Box::pin(ready(done))
    }

    fn claim(
        &self,
        id: ApprovalId,
        now: Timestamp,
        lease_for: Duration,
    ) -> BoxFuture<'_, Result<Option<Lease>, StoreError>> {
        // `None` inside the error: not there to be claimed, which is an answer.
        struct Not(Option<StoreError>);
        impl From<StoreError> for Not {
            fn from(error: StoreError) -> Self {
                Self(Some(error))
            }
        }
        let done = self.change(id, Not(None), |row| machine::claim(row, now, lease_for).ok_or(Not(None)));
        Box::pin(ready(match done {
            Ok(lease) => Ok(Some(lease)),
            Err(Not(None)) => Ok(None),
            Err(Not(Some(error))) => Err(error),
        }))
    }

    fn return_unsent(&self, lease: Lease, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, |row| machine::return_unsent(row, lease, now))
    }

    fn invalidate(
        &self,
        lease: Lease,
        reason: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, |row| machine::invalidate(row, lease, &reason, now))
    }

    fn mark_sent(&self, lease: Lease, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, |row| machine::mark_sent(row, lease, now))
    }

    fn settle(&self, lease: Lease, end: End, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, |row| machine::settle(row, lease, &end, now))
    }

    fn break_glass(&self, glass: GlassBreak) -> BoxFuture<'_, Result<State, BreakError>> {
        let done = self.change_beside(glass.approval, BreakError::Unknown, |row, rows| {
            let unreviewed: Vec<Approval> = rows.values().filter(|row| is_unreviewed(row)).cloned().collect();
            let next = machine::break_glass(row, &glass, &unreviewed)?;
            let state = next.approval.state.clone();
            Ok((next, state))
        });
        let done = done.and_then(|state| Ok(self.hand_over(glass.approval, state, glass.gives, glass.at)?));
        Box::pin(ready(done))
    }

    fn review(&self, hindsight: Hindsight) -> BoxFuture<'_, Result<(), ReviewError>> {
        let done = self.change(hindsight.approval, ReviewError::Unknown, |row| {
            Ok((machine::review(row, &hindsight)?, ()))
        });
        Box::pin(ready(done))
    }

    fn resolve(&self, resolution: Resolution) -> BoxFuture<'_, Result<State, ResolveError>> {
        let done = self.change(resolution.approval, ResolveError::Unknown, |row| {
            let next = machine::resolve(row, &resolution)?;
            let state = next.approval.state.clone();
            Ok((next, state))
        });
        Box::pin(ready(done))
    }

    fn find(&self, id: ApprovalId) -> BoxFuture<'_, Result<Option<Approval>, StoreError>> {
        Box::pin(ready(Ok(self.rows().get(&id).cloned())))
    }

    fn by_run(&self, run: RunId) -> BoxFuture<'_, Result<Option<Approval>, StoreError>> {
        let found = self.rows().values().find(|row| row.asked.run == Some(run)).cloned();
        Box::pin(ready(Ok(found)))
    }

    fn waiting<'a>(
        &'a self,
        requester: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<usize, StoreError>> {
        let waits =
            |row: &&Approval| row.asked.requester.key == *requester && row.state_at(now) == State::Pending;
        Box::pin(ready(Ok(self.rows().values().filter(waits).count())))
    }

    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<Approval>, StoreError>> {
        let mut found = self.rows().values().filter(|row| filter.matches(row)).cloned().collect::<Vec<_>>();
        found.sort_by_key(Approval::place);
        if filter.newest_first {
            found.reverse();
        }
        found.truncate(filter.limit.get());
        Box::pin(ready(Ok(found)))
    }

    fn hint(&self) -> Hint {
        self.hint.clone()
    }
}
