//! What a command can do inside the writer's transaction.

use std::collections::BTreeSet;

use crewgate_approval::{
    Approval, Lease, State,
    grants::{self, GrantMove},
    machine,
    machine::Transition,
};
use crewgate_audit::{AuditError, Entry, Head, Phase, Prepared, Receipt};
use crewgate_core::{ApprovalId, Effect, Fact, GrantId, RequestId, RunId, Timestamp};
use sqlx::SqliteConnection;

use crate::{fault::Fault, rows};

/// The writer's connection, and what it knows of the log without asking.
pub(crate) struct Tx {
    pub(crate) conn: SqliteConnection,
    pub(crate) head: Head,
    /// Whether an approval has moved: whoever waits for one is told after the commit.
    pub(crate) moved: bool,
    /// Bytes of leaves written since the last checkpoint.
    pub(crate) bytes: u64,
}

impl Tx {
    /// Puts an entry on the record, with what follows from it: a released approval counts as sent with its intent, and
    /// is settled with its outcome; an intent spends the uses of the grants it relies on.
    pub(crate) async fn record(&mut self, entry: Sorted) -> Result<Receipt, AuditError> {
        let Sorted { prepared, phase, request, run, release, grants, effect, time, end } = entry;
        match phase {
            Phase::Intent => {
                if let Some(lease) = release {
                    let approval = rows::approval(&mut self.conn, lease.approval).await?;
                    let approval = approval.ok_or(AuditError::Conflict)?;
                    let sent =
                        machine::mark_sent(&approval, lease, time).map_err(|_| AuditError::Conflict)?;
                    self.overwrite(&sent.approval).await?;
                }
                let mut uses = Vec::new();
                for id in grants {
                    let grant = rows::grant(&mut self.conn, id).await?.ok_or(AuditError::GrantOver)?;
                    let used = grants::spend(&grant, effect, request, time);
                    uses.extend(used.map_err(|_| AuditError::GrantOver)?);
                }
                let receipt = self.leaf(prepared).await?;
                self.open_intent(request, receipt).await?;
                for used in &uses {
                    self.step_grant(used, run).await?;
                }
                Ok(receipt)
            }
            Phase::Outcome => {
                let receipt = self.leaf(prepared).await?;
                self.close_intent(request).await?;
                if let Some(lease) = release {
                    self.settle(lease, end, run, time).await?;
                }
                Ok(receipt)
            }
            _ => Ok(self.leaf(prepared).await?),
        }
    }

    /// Writes a move of an approval and the leaf that tells it.
    pub(crate) async fn step(&mut self, next: &Transition, now: Timestamp) -> Result<(), Fault> {
        self.overwrite(&next.approval).await?;
        self.tell(&next.approval, next.fact.clone(), now).await
    }

    /// Writes a new approval and the leaf that tells it. `false`: its id or run has one already.
    pub(crate) async fn open(&mut self, next: &Transition) -> Result<bool, Fault> {
        if !rows::insert_approval(&mut self.conn, &next.approval).await? {
            return Ok(false);
        }
        self.moved = true;
        self.tell(&next.approval, next.fact.clone(), next.approval.asked.opened).await?;
        Ok(true)
    }

    /// Writes a move of a grant and the leaf that tells it.
    pub(crate) async fn step_grant(&mut self, next: &GrantMove, run: Option<RunId>) -> Result<(), Fault> {
        if !rows::update_grant(&mut self.conn, &next.grant).await? {
            return Err(Fault::Unavailable("a grant was changed from outside".to_owned()));
        }
        self.tell_grant(next, run).await
    }

    /// Writes a new grant and the leaf that tells it. `false`: there is one with its id.
    pub(crate) async fn give(&mut self, next: &GrantMove) -> Result<bool, Fault> {
        let fresh = rows::insert_grant(&mut self.conn, &next.grant).await?;
        if fresh {
            self.tell_grant(next, None).await?;
        }
        Ok(fresh)
    }

    async fn tell_grant(&mut self, next: &GrantMove, run: Option<RunId>) -> Result<(), Fault> {
        let entry =
            Entry::new(Phase::Grant, next.request, next.at).with_fact(next.fact.clone()).with_run(run);
        self.tell_entry(entry).await
    }

    /// The outcome stands already; that an approval cannot be settled by it must not take it off the record.
    async fn settle(
        &mut self,
        lease: Lease,
        end: crewgate_approval::End,
        run: Option<RunId>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(approval) = rows::approval(&mut self.conn, lease.approval).await? else { return Ok(()) };
        match machine::settle(&approval, lease, &end, now) {
            Ok(next) => self.step(&next, now).await,
            Err(error) => {
                tracing::warn!(approval = %lease.approval, ?run, %error, "an outcome did not settle its approval");
                Ok(())
            }
        }
    }

    async fn overwrite(&mut self, approval: &Approval) -> Result<(), Fault> {
        if !rows::update_approval(&mut self.conn, approval).await? {
            // One writer, one transaction: the version cannot have changed under it.
            return Err(Fault::Unavailable("an approval was changed from outside".to_owned()));
        }
        self.moved = true;
        Ok(())
    }

    async fn tell(&mut self, approval: &Approval, fact: Fact, now: Timestamp) -> Result<(), Fault> {
        let entry = Entry::new(Phase::Approval, approval.asked.request, now)
            .with_fact(fact)
            .with_run(approval.asked.run);
        self.tell_entry(entry).await
    }

    /// Writes a leaf.
    pub(crate) async fn tell_entry(&mut self, entry: Entry) -> Result<(), Fault> {
        let prepared = Prepared::new(entry).map_err(|error| Fault::Unavailable(error.to_string()))?;
        self.leaf(prepared).await?;
        Ok(())
    }

    async fn leaf(&mut self, prepared: Prepared) -> Result<Receipt, Fault> {
        let leaf = prepared.after(self.head);
        let seq = rows::signed(leaf.seq)?;
        sqlx::query(
            "INSERT INTO leaf (seq, prev, hash, record, body, frames) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(seq)
        .bind(leaf.prev.as_bytes().as_slice())
        .bind(leaf.hash.as_bytes().as_slice())
        .bind(leaf.record.as_str())
        .bind(leaf.body.as_deref())
        .bind(leaf.frames.as_ref())
        .execute(&mut self.conn)
        .await?;
        let size = leaf.record.len() + leaf.frames.len() + leaf.body.as_ref().map_or(0, bytes::Bytes::len);
        self.bytes = self.bytes.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        self.head = Head { count: leaf.seq, hash: leaf.hash };
        Ok(Receipt { seq: leaf.seq })
    }

    async fn open_intent(&mut self, request: RequestId, receipt: Receipt) -> Result<(), Fault> {
        let sql = "INSERT INTO open_intent (request, seq) VALUES (?1, ?2)
                   ON CONFLICT (request) DO UPDATE SET seq = excluded.seq";
        let query = sqlx::query(sql).bind(request.to_string()).bind(rows::signed(receipt.seq)?);
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    async fn close_intent(&mut self, request: RequestId) -> Result<(), Fault> {
        let query = sqlx::query("DELETE FROM open_intent WHERE request = ?1").bind(request.to_string());
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    /// Writes where the log ends; the last thing before a commit.
    pub(crate) async fn write_head(&mut self) -> Result<(), Fault> {
        let query = sqlx::query("UPDATE head SET count = ?1, hash = ?2 WHERE only = 1")
            .bind(rows::signed(self.head.count)?)
            .bind(self.head.hash.as_bytes().as_slice());
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    /// After a crash: what was sent and has no outcome is indeterminate, for good. What was not sent goes back to
    /// approved by evaluation when its lease ends.
    pub(crate) async fn settle_interrupted(&mut self, now: Timestamp) -> Result<u64, Fault> {
        let mut settled = 0;
        for id in rows::executing(&mut self.conn).await? {
            let Some(approval) = rows::approval(&mut self.conn, id).await? else { continue };
            let State::Executing { lease, sent: true, .. } = approval.state else { continue };
            let lease = Lease { approval: id, number: lease };
            if let Ok(next) = machine::settle(&approval, lease, &crewgate_approval::End::Indeterminate, now) {
                self.step(&next, now).await?;
                settled += 1;
            }
        }
        Ok(settled)
    }
}

/// An entry prepared outside of the writer, with the few things the writer decides by.
pub(crate) struct Sorted {
    prepared: Prepared,
    phase: Phase,
    request: RequestId,
    run: Option<RunId>,
    release: Option<Lease>,
    grants: BTreeSet<GrantId>,
    effect: Effect,
    time: Timestamp,
    end: crewgate_approval::End,
}

impl Sorted {
    pub(crate) fn new(entry: Entry) -> Result<Self, AuditError> {
        let release = entry.release();
        Ok(Self {
            phase: entry.phase,
            request: entry.request,
            run: entry.run,
            release: release.map(|(approval, number): (ApprovalId, u64)| Lease { approval, number }),
            grants: entry.grants(),
            effect: entry.effect(),
            time: entry.time,
            end: end_of(&entry.facts),
            prepared: Prepared::new(entry)?,
        })
    }
}

/// What an outcome's facts say became of the call. Silence means that nobody knows: never that nothing happened.
fn end_of(facts: &[Fact]) -> crewgate_approval::End {
    use crewgate_approval::End;
    let answered = facts.iter().any(|fact| matches!(fact, Fact::Answered { .. }));
    let unsent = facts.iter().rev().find_map(|fact| match fact {
        Fact::Unanswered { code, sent } => Some((!sent).then_some(code)),
        _ => None,
    });
    match (answered, unsent) {
        (true, _) => End::Executed,
        (false, Some(Some(code))) => End::Failed { reason: code.clone() },
        (false, Some(None) | None) => End::Indeterminate,
    }
}
