//! The approvals' port: the pure machine, applied to a row inside the writer's transaction.

use std::time::Duration;

use crewgate_approval::{
    Approval, ApprovalStore, Ballot, BreakError, CancelError, End, Filter, GlassBreak, Hindsight, Hint,
    Lease, LeaseError, NewApproval, OpenError, Resolution, ResolveError, ReviewError, State, StoreError,
    VoteError, machine, machine::Transition,
};
use crewgate_audit::SealKey;
use crewgate_core::{ApprovalId, Principal, PrincipalKey, RunId, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store, approval_rows, db,
    fault::{Fault, FromFault},
};

/// Rows read at a time while a list is filled.
const PAGE: i64 = 200;

impl Store {
    /// Loads a row, moves it by one function of the machine, and writes row and leaf.
    fn transition<'a, T, E, F>(
        &'a self,
        id: ApprovalId,
        now: Timestamp,
        unknown: E,
        step: F,
    ) -> BoxFuture<'a, Result<T, E>>
    where
        F: FnOnce(&Approval) -> Result<(Transition, T), E> + Send + 'static,
        T: Send + 'static,
        E: FromFault,
    {
        self.change(move |tx| {
            async move {
                let row = approval_rows::find(tx, id).await.map_err(E::from_fault)?;
                let (next, answer) = step(&row.ok_or(unknown)?)?;
                tx.step(&next, now).await.map_err(E::from_fault)?;
                Ok(answer)
            }
            .boxed()
        })
    }

    fn lease<'a, F>(&'a self, lease: Lease, now: Timestamp, step: F) -> BoxFuture<'a, Result<(), LeaseError>>
    where
        F: FnOnce(&Approval) -> Result<Transition, LeaseError> + Send + 'static,
    {
        self.transition(lease.approval, now, LeaseError::Unknown, move |row| Ok((step(row)?, ())))
    }

    async fn one(&self, column: &'static str, value: String) -> Result<Option<Approval>, StoreError> {
        let row =
            approval_rows::by(column, value).fetch_optional(self.readers()).await.map_err(Fault::from)?;
        Ok(row.as_ref().map(|row| approval_rows::open(row, self.seal()?)).transpose()?)
    }

    /// What opens approvals.
    fn seal(&self) -> Result<&SealKey, Fault> {
        let closed = || Fault::Unavailable("there is no seal key".to_owned());
        self.shared().reading.seal.as_ref().ok_or_else(closed)
    }
}

impl ApprovalStore for Store {
    fn open(&self, new: NewApproval) -> BoxFuture<'_, Result<Approval, OpenError>> {
        self.change(move |tx| {
            async move {
                let next = machine::open(new)?;
                tx.open(&next).await?;
                Ok(next.approval)
            }
            .boxed()
        })
    }

    fn vote(&self, ballot: Ballot) -> BoxFuture<'_, Result<State, VoteError>> {
        self.change(move |tx| {
            async move {
                let row = approval_rows::find(tx, ballot.approval).await.map_err(VoteError::from_fault)?;
                let next = machine::vote(&row.ok_or(VoteError::Unknown)?, &ballot)?;
                tx.agree(next, ballot.gives, ballot.vote.at).await.map_err(VoteError::from_fault)
            }
            .boxed()
        })
    }

    fn cancel<'a>(
        &'a self,
        id: ApprovalId,
        by: &'a Principal,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<State, CancelError>> {
        let by = by.clone();
        self.transition(id, now, CancelError::Unknown, move |row| {
            let next = machine::cancel(row, &by, now)?;
            let state = next.approval.state.clone();
            Ok((next, state))
        })
    }

    fn claim(
        &self,
        id: ApprovalId,
        now: Timestamp,
        lease_for: Duration,
    ) -> BoxFuture<'_, Result<Option<Lease>, StoreError>> {
        self.change(move |tx| {
            async move {
                let Some(row) = approval_rows::find(tx, id).await? else { return Ok(None) };
                let Some((next, lease)) = machine::claim(&row, now, lease_for) else { return Ok(None) };
                tx.step(&next, now).await?;
                Ok(Some(lease))
            }
            .boxed()
        })
    }

    fn return_unsent(&self, lease: Lease, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, now, move |row| machine::return_unsent(row, lease, now))
    }

    fn invalidate(
        &self,
        lease: Lease,
        reason: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, now, move |row| machine::invalidate(row, lease, &reason, now))
    }

    fn mark_sent(&self, lease: Lease, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, now, move |row| machine::mark_sent(row, lease, now))
    }

    fn settle(&self, lease: Lease, end: End, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.lease(lease, now, move |row| machine::settle(row, lease, &end, now))
    }

    fn break_glass(&self, glass: GlassBreak) -> BoxFuture<'_, Result<State, BreakError>> {
        self.change(move |tx| {
            async move {
                let row = approval_rows::find(tx, glass.approval).await.map_err(BreakError::from_fault)?;
                let unreviewed = approval_rows::unreviewed(tx).await.map_err(BreakError::from_fault)?;
                let next = machine::break_glass(&row.ok_or(BreakError::Unknown)?, &glass, &unreviewed)?;
                tx.agree(next, glass.gives, glass.at).await.map_err(BreakError::from_fault)
            }
            .boxed()
        })
    }

    fn review(&self, hindsight: Hindsight) -> BoxFuture<'_, Result<(), ReviewError>> {
        self.transition(hindsight.approval, hindsight.at, ReviewError::Unknown, move |row| {
            Ok((machine::review(row, &hindsight)?, ()))
        })
    }

    fn resolve(&self, resolution: Resolution) -> BoxFuture<'_, Result<State, ResolveError>> {
        self.transition(resolution.approval, resolution.at, ResolveError::Unknown, move |row| {
            let next = machine::resolve(row, &resolution)?;
            let state = next.approval.state.clone();
            Ok((next, state))
        })
    }

    fn find(&self, id: ApprovalId) -> BoxFuture<'_, Result<Option<Approval>, StoreError>> {
        self.one("id", id.to_string()).boxed()
    }

    fn by_run(&self, run: RunId) -> BoxFuture<'_, Result<Option<Approval>, StoreError>> {
        self.one("run", run.to_string()).boxed()
    }

    fn waiting<'a>(
        &'a self,
        requester: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<usize, StoreError>> {
        async move {
            let sql =
                "SELECT count(*) FROM approval WHERE phase = 'pending' AND requester = $1 AND ends > $2";
            let query = db::query(sql).bind(requester.to_string()).bind(now.as_micros());
            let waiting: i64 = query.scalar(self.readers()).await.map_err(Fault::from)?;
            Ok(usize::try_from(waiting).map_err(|_| Fault::unreadable("number"))?)
        }
        .boxed()
    }

    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<Approval>, StoreError>> {
        async move {
            let mut found: Vec<Approval> = Vec::new();
            let mut last = filter.after;
            loop {
                let page = approval_rows::page(&filter, last.as_ref(), PAGE).fetch_all(self.readers()).await;
                let page = page.map_err(Fault::from)?;
                for row in &page {
                    let approval = approval_rows::open(row, self.seal()?)?;
                    last = Some(approval.place());
                    if filter.matches(&approval) {
                        found.push(approval);
                    }
                    if found.len() >= filter.limit.get() {
                        return Ok(found);
                    }
                }
                if i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE {
                    return Ok(found);
                }
            }
        }
        .boxed()
    }

    fn is_erased(&self, id: ApprovalId) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            let query = db::query("SELECT 1 FROM approval WHERE id = $1 AND phase = 'erased'");
            let found =
                query.bind(id.to_string()).fetch_optional(self.readers()).await.map_err(Fault::from)?;
            Ok(found.is_some())
        }
        .boxed()
    }

    fn hint(&self) -> Hint {
        self.shared().hint.clone()
    }
}
