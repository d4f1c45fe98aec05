//! What a command can do inside the writer's transaction.

use std::collections::{BTreeSet, HashMap};

use crewgate_approval::{
    Approval, End, Gift, GiveError, Lease, OpenError, State,
    grants::{self, GrantMove},
    hand_over, machine,
    machine::Transition,
};
use crewgate_audit::{
    AuditError, Entry, Phase, Place, Prepared, SealKey, Word,
    tlog::{Checkpoint, Hash, SignedCheckpoint, Tree},
};
use crewgate_core::{ApprovalId, Effect, Fact, GrantId, Keyed, RequestId, RunId, Timestamp};

use crate::{
    approval_rows,
    db::{self, Conn},
    fault::{Fault, FromFault},
    keys::Keys,
    open, postgres, rows,
    unwritten::{Row, Unwritten},
};

/// The writer's connection, and what it knows of the log without asking.
pub(crate) struct Tx {
    pub(crate) conn: Conn,
    pub(crate) tree: Tree,
    /// Leaves of this transaction, not yet in the tree.
    pub(crate) pending: Vec<Hash>,
    /// Those of them that are not in the database.
    pub(crate) unwritten: Unwritten,
    pub(crate) keys: Keys,
    /// Keys of persons that were used lately, by pseudonym.
    pub(crate) persons: HashMap<Pseudonym, SealKey>,
    /// Approvals that have moved: whoever waits for one of them is told after the commit.
    pub(crate) moved: Vec<ApprovalId>,
    /// Bytes of leaves written since the last checkpoint.
    pub(crate) bytes: u64,
}

impl Tx {
    /// Begins a transaction of the only one who writes, where the log stands now.
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        self.take_pen().await?;
        match self.conn {
            Conn::Sqlite(_) => Ok(()),
            Conn::Postgres(_) => self.follow().await,
        }
    }

    /// Begins a transaction of the only one who writes: of a file there is one writer, and gateways that share a
    /// PostgreSQL take turns.
    pub(crate) async fn take_pen(&mut self) -> Result<(), Fault> {
        match self.conn {
            Conn::Sqlite(_) => {
                db::query("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
            }
            Conn::Postgres(_) => {
                db::query("BEGIN").execute(&mut self.conn).await?;
                let query = db::query("SELECT pg_advisory_xact_lock($1)").bind(postgres::PEN);
                query.execute(&mut self.conn).await?;
                // Whoever had the pen may have erased a person.
                self.persons.clear();
            }
        }
        Ok(())
    }

    /// Goes on where the last writer stopped. What is not signed by our keys, or is older than what we have signed, is
    /// not gone on with.
    async fn follow(&mut self) -> Result<(), Fault> {
        let damaged = |error: crate::OpenError| Fault::Unavailable(error.to_string());
        let Some((size, note)) = rows::checkpoint(&mut self.conn).await? else {
            return if self.tree.size() == 0 { Ok(()) } else { Err(Fault::unreadable("checkpoint")) };
        };
        let signed = SignedCheckpoint::parse(&note).map_err(|_| Fault::unreadable("checkpoint"))?;
        if size == self.tree.size() && signed.claimed().head == self.tree.head() {
            return Ok(());
        }
        if size < self.tree.size() {
            return Err(Fault::Unavailable(format!(
                "the record has gone back from {} leaves to {size}: it was changed from outside",
                self.tree.size()
            )));
        }
        if !open::goes_on_from(&mut self.conn, &self.tree).await.map_err(damaged)? {
            return Err(Fault::Unavailable(
                "the record goes on from another one than this gateway has signed: it was changed from outside".to_owned(),
            ));
        }
        self.tree = open::tree(&mut self.conn, Some(&signed), &self.keys).await.map_err(damaged)?;
        Ok(())
    }

    /// Fails where something has failed before: PostgreSQL takes the commit of a transaction that failed as its end, and
    /// says nothing.
    pub(crate) async fn intact(&mut self) -> Result<(), Fault> {
        if let Conn::Postgres(_) = self.conn {
            db::query("SELECT 1").execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Tells other gateways which approvals have moved, once this is committed.
    pub(crate) async fn notify(&mut self) -> Result<(), Fault> {
        if let Conn::Postgres(_) = self.conn {
            for approval in &self.moved {
                let query = db::query("SELECT pg_notify($1, $2)").bind(postgres::CHANNEL);
                query.bind(approval.to_string()).execute(&mut self.conn).await?;
            }
        }
        Ok(())
    }

    /// Puts an entry on the record, with what follows from it: a released approval counts as sent with its intent, and
    /// is settled with its outcome; an intent spends the uses of the grants it relies on.
    pub(crate) async fn record(&mut self, entry: Sorted) -> Result<Place, AuditError> {
        let Sorted { sealed, phase, release, keyed, grants, effect, time, end } = entry;
        let (request, run) = (sealed.request, sealed.run);
        match phase {
            Phase::Intent => {
                if let Some(keyed) = keyed
                    && !self.take_key(&keyed, request, None, time).await?
                {
                    return Err(AuditError::KeyTaken);
                }
                if let Some(lease) = release {
                    let approval = approval_rows::find(self, lease.approval).await?;
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
                let place = self.leaf(sealed).await?;
                self.unwritten.open_intent(request, rows::signed(place.index)?);
                for used in &uses {
                    self.step_grant(used, run).await?;
                }
                Ok(place)
            }
            Phase::Outcome => {
                let place = self.leaf(sealed).await?;
                self.unwritten.close_intent(request);
                if keyed.is_some() && matches!(end, End::Failed { .. }) {
                    self.give_back_key(request).await?;
                }
                if let Some(lease) = release {
                    self.settle(lease, end, run, time).await?;
                }
                Ok(place)
            }
            _ => Ok(self.leaf(sealed).await?),
        }
    }

    /// Writes a move of an approval and the leaf that tells it.
    pub(crate) async fn step(&mut self, next: &Transition, now: Timestamp) -> Result<(), Fault> {
        self.overwrite(&next.approval).await?;
        self.tell(&next.approval, next.fact.clone(), now).await
    }

    /// Writes a move that may have been the last yes. What it gives is given with it, or not at all: where it stands
    /// then.
    pub(crate) async fn agree(
        &mut self,
        next: Transition,
        gift: Option<Gift>,
        now: Timestamp,
    ) -> Result<State, Fault> {
        self.step(&next, now).await?;
        let (State::Approved { .. }, Some(gift)) = (&next.approval.state, gift) else {
            return Ok(next.approval.state);
        };
        let (mut is_given, mut beside) = (false, 0);
        if let Ok(new) = &gift {
            is_given = rows::grant(&mut self.conn, new.id).await?.is_some();
            beside = rows::standing_grants(&mut self.conn, &new.principal, new.given).await?;
        }
        let give = |new| if is_given { Err(GiveError::Exists) } else { grants::give(new, beside) };
        let (moves, given) = hand_over(&next.approval, gift, now, give).unwrap_or_default();
        for step in &moves {
            self.step(step, now).await?;
        }
        if let Some(given) = given {
            self.give(&given).await?;
        }
        Ok(moves.into_iter().last().unwrap_or(next).approval.state)
    }

    /// Writes a new approval and the leaf that tells it, unless its id, its run or its caller's name for it is taken.
    pub(crate) async fn open(&mut self, next: &Transition) -> Result<(), OpenError> {
        let asked = &next.approval.asked;
        if !approval_rows::insert(self, &next.approval).await.map_err(OpenError::from_fault)? {
            return Err(OpenError::Exists);
        }
        if let Some(keyed) = &asked.keyed {
            let taken = self.take_key(keyed, asked.request, Some(asked.id), asked.opened).await;
            if !taken.map_err(OpenError::from_fault)? {
                return Err(OpenError::KeyTaken);
            }
        }
        self.moved.push(next.approval.id());
        self.tell(&next.approval, next.fact.clone(), asked.opened).await.map_err(OpenError::from_fault)
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
        end: End,
        run: Option<RunId>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(approval) = approval_rows::find(self, lease.approval).await? else { return Ok(()) };
        match machine::settle(&approval, lease, &end, now) {
            Ok(next) => self.step(&next, now).await,
            Err(error) => {
                tracing::warn!(approval = %lease.approval, ?run, %error, "an outcome did not settle its approval");
                Ok(())
            }
        }
    }

    async fn overwrite(&mut self, approval: &Approval) -> Result<(), Fault> {
        if !approval_rows::update(self, approval).await? {
            // One writer, one transaction: the version cannot have changed under it.
            return Err(Fault::Unavailable("an approval was changed from outside".to_owned()));
        }
        self.moved.push(approval.id());
        Ok(())
    }

    async fn tell(&mut self, approval: &Approval, fact: Fact, now: Timestamp) -> Result<(), Fault> {
        let entry = Entry::new(Phase::Approval, approval.asked.request, now)
            .with_fact(fact)
            .with_run(approval.asked.run);
        // What people say of a request is its requester's, also before the record names them.
        let whose = self.keys.seal.pseudonym(&approval.asked.requester.key.to_string());
        self.tell_of(entry, Some(whose)).await
    }

    /// Writes an entry that only tells.
    pub(crate) async fn tell_entry(&mut self, entry: Entry) -> Result<(), Fault> {
        self.tell_of(entry, None).await
    }

    /// As [`tell_entry`](Self::tell_entry), where the entry names nobody sealed with this person's key.
    async fn tell_of(&mut self, entry: Entry, whose: Option<Pseudonym>) -> Result<(), Fault> {
        let mut sealed =
            Sealed::new(entry, &self.keys.seal).map_err(|error| Fault::Unavailable(error.to_string()))?;
        sealed.subject = sealed.subject.or(whose);
        self.leaf(sealed).await?;
        Ok(())
    }

    /// The leaf that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.tree.size() + u64::try_from(self.pending.len()).unwrap_or(u64::MAX)
    }

    async fn leaf(&mut self, leaf: Sealed) -> Result<Place, Fault> {
        let index = self.next();
        let (subject, person) = self.person(&leaf).await?;
        let key =
            person.wrap(leaf.hash.as_bytes(), &leaf.key).map_err(|e| Fault::Unavailable(e.to_string()))?;
        let size = u64::try_from(leaf.record.len() + leaf.content.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(size);
        self.unwritten.push(Row {
            index: rows::signed(index)?,
            record: leaf.record,
            subject,
            key,
            sealed: leaf.content,
            words: leaf.words,
            request: leaf.request,
            run: leaf.run,
        });
        self.pending.push(leaf.hash);
        Ok(Place { index })
    }

    /// Whose key a leaf is sealed with: of the person it names, else of whom its request, the request that is part of,
    /// or its run belongs to; else nobody's, who has one too.
    async fn person(&mut self, leaf: &Sealed) -> Result<(Pseudonym, SealKey), Fault> {
        let subject = match leaf.subject {
            Some(subject) => subject,
            None => {
                let nobody = self.keys.seal.pseudonym("");
                let sql = "SELECT subject FROM leaf
                           WHERE (request IN ($1, $2) OR run = $3) AND subject IS NOT NULL AND subject <> $4
                           ORDER BY idx LIMIT 1";
                let query = db::query(sql)
                    .bind(leaf.request.to_string())
                    .bind(leaf.part_of.map(|request| request.to_string()))
                    .bind(leaf.run.map(|run| run.to_string()))
                    .bind(nobody.as_slice());
                let found: Option<Vec<u8>> = query.scalar_optional(&mut self.conn).await?;
                let found = found.and_then(|subject| subject.try_into().ok());
                let requests = [Some(leaf.request), leaf.part_of];
                found.or_else(|| self.unwritten.subject_of(requests, leaf.run, nobody)).unwrap_or(nobody)
            }
        };
        Ok((subject, self.key_of(subject).await?))
    }

    /// The key of this person, who gets one with the first thing that is theirs.
    pub(crate) async fn key_of(&mut self, subject: Pseudonym) -> Result<SealKey, Fault> {
        if let Some(key) = self.persons.get(&subject) {
            return Ok(key.clone());
        }
        let sql = "SELECT wrapped FROM subject_key WHERE subject = $1";
        let query = db::query(sql).bind(subject.as_slice());
        let wrapped: Option<Vec<u8>> = query.scalar_optional(&mut self.conn).await?;
        let key = match wrapped {
            Some(wrapped) => self.keys.seal.unwrap_key(&subject, &wrapped).ok_or(Fault::unreadable("key"))?,
            None => {
                let key = SealKey::generate().map_err(|e| Fault::Unavailable(e.to_string()))?;
                let wrapped =
                    self.keys.seal.wrap(&subject, &key).map_err(|e| Fault::Unavailable(e.to_string()))?;
                db::query("INSERT INTO subject_key (subject, wrapped, since) VALUES ($1, $2, $3)")
                    .bind(subject.as_slice())
                    .bind(wrapped)
                    .bind(rows::signed(self.next())?)
                    .execute(&mut self.conn)
                    .await?;
                key
            }
        };
        if self.persons.len() >= KNOWN_PERSONS {
            self.persons.clear();
        }
        self.persons.insert(subject, key.clone());
        Ok(key)
    }

    /// Puts the transaction's leaves into the tree and signs it; the last thing before a commit. The tree to go on with
    /// once that has happened: until then nobody may see what was signed.
    pub(crate) async fn grow(&mut self) -> Result<Tree, Fault> {
        self.write_out().await?;
        let mut tree = self.tree.clone();
        let tiles = tree.extend(std::mem::take(&mut self.pending));
        for tile in &tiles {
            db::query(PUT_TILE)
                .bind(tile.level)
                .bind(rows::signed(tile.n)?)
                .bind(tile.to_bytes())
                .execute(&mut self.conn)
                .await?;
        }
        if !tiles.is_empty() {
            self.sign(&tree).await?;
        }
        Ok(tree)
    }

    /// Keeps a checkpoint of this tree.
    pub(crate) async fn sign(&mut self, tree: &Tree) -> Result<(), Fault> {
        let checkpoint = Checkpoint { origin: self.keys.origin().to_owned(), head: tree.head() };
        let signed = checkpoint.sign(&self.keys.signers).ok_or_else(|| Fault::unreadable("signing key"))?;
        db::query("INSERT INTO checkpoint (size, note) VALUES ($1, $2)")
            .bind(rows::signed(tree.size())?)
            .bind(signed.as_str())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Forgets what a rollback took back.
    pub(crate) fn forget(&mut self, leaves: usize) {
        self.pending.truncate(leaves);
        self.unwritten.clear();
        self.persons.clear();
    }

    /// After a crash: what was sent and has no outcome is indeterminate, for good. What was not sent goes back to
    /// approved by evaluation when its lease ends.
    pub(crate) async fn settle_interrupted(&mut self, now: Timestamp) -> Result<u64, Fault> {
        let mut settled = 0;
        for id in approval_rows::executing(&mut self.conn).await? {
            let Some(approval) = approval_rows::find(self, id).await? else { continue };
            let State::Executing { lease, sent: true, .. } = approval.state else { continue };
            let lease = Lease { approval: id, number: lease };
            if let Ok(next) = machine::settle(&approval, lease, &End::Indeterminate, now) {
                self.step(&next, now).await?;
                settled += 1;
            }
        }
        Ok(settled)
    }
}

const PUT_TILE: &str = "INSERT INTO tile (level, n, hashes) VALUES ($1, $2, $3)
                        ON CONFLICT (level, n) DO UPDATE SET hashes = excluded.hashes";

/// What stands for a person; see [`SealKey::pseudonym`].
pub(crate) type Pseudonym = [u8; 16];

/// Persons whose keys are kept unwrapped; a few hundred bytes each.
const KNOWN_PERSONS: usize = 4096;

/// A leaf made ready outside of the writer: hashed, and its content sealed with a key of its own.
pub(crate) struct Sealed {
    record: String,
    words: BTreeSet<Word>,
    hash: Hash,
    key: SealKey,
    content: Vec<u8>,
    subject: Option<Pseudonym>,
    request: RequestId,
    part_of: Option<RequestId>,
    run: Option<RunId>,
}

impl Sealed {
    fn new(entry: Entry, seal: &SealKey) -> Result<Self, AuditError> {
        let subject = entry.principal().map(|principal| seal.pseudonym(&principal.to_string()));
        let part_of = entry.facts.iter().find_map(|fact| match fact {
            Fact::PartOf { request } => Some(*request),
            _ => None,
        });
        let (request, run) = (entry.request, entry.run);
        let Prepared { record, words, hash, content } = Prepared::new(entry)?;
        let key = SealKey::generate()?;
        let content = key.seal(hash.as_bytes(), &content.encode())?;
        Ok(Self { record, words, hash, key, content, subject, request, part_of, run })
    }
}

/// An entry prepared outside of the writer, with the few things the writer decides by.
pub(crate) struct Sorted {
    sealed: Sealed,
    phase: Phase,
    release: Option<Lease>,
    keyed: Option<Keyed>,
    grants: BTreeSet<GrantId>,
    effect: Effect,
    time: Timestamp,
    end: End,
}

impl Sorted {
    /// Whether it is a leaf and nothing that follows from it: there is nothing to take back.
    pub(crate) fn is_plain(&self) -> bool {
        self.release.is_none() && self.keyed.is_none() && self.grants.is_empty()
    }

    pub(crate) fn new(entry: Entry, seal: &SealKey) -> Result<Self, AuditError> {
        let release = entry.release();
        Ok(Self {
            phase: entry.phase,
            release: release.map(|(approval, number): (ApprovalId, u64)| Lease { approval, number }),
            keyed: entry.keyed().cloned(),
            grants: entry.grants(),
            effect: entry.effect(),
            time: entry.time,
            end: end_of(&entry.facts),
            sealed: Sealed::new(entry, seal)?,
        })
    }
}

/// What an outcome's facts say became of the call. Silence means that nobody knows: never that nothing happened.
fn end_of(facts: &[Fact]) -> End {
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
