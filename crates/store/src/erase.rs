//! What the record holds, given up: a person's by destroying their key, everybody's by age, first what lies beside
//! leaves and then the leaves. What stays keeps its proofs.

use crewgate_audit::{Class, Entry, EraseError, Erasure, Log, Phase, tlog::TILE};
use crewgate_core::{Clock, Fact, PrincipalKey, RequestId, SystemClock, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store, approval_rows, db,
    fault::{Fault, FromFault},
    rows,
    tx::{Pseudonym, Tx},
};

/// Leaves that lose their content in one transaction: a call waits for it some milliseconds.
const AT_ONCE: i64 = 1000;

/// Leaves that are cut off in one transaction.
const CUT_AT_ONCE: u64 = 4 * TILE;

/// Words that are taken out of the index by one statement.
const WORDS_AT_ONCE: usize = 250;

impl FromFault for EraseError {
    fn from_fault(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

impl Erasure for Store {
    fn erase<'a>(
        &'a self,
        person: &'a str,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'a, Result<u64, EraseError>> {
        async move {
            let subject = self.pseudonym(person)?;
            // With its key destroyed it is unreadable; what is left of it is only room.
            let name = person.to_owned();
            let end =
                self.change(move |tx| async move { erase(tx, subject, &name, by).await }.boxed()).await?;
            let (mut after, mut done) = ((i64::MIN, -1), 0);
            loop {
                let full = self.sealed_of(subject, after, end).await.map_err(EraseError::from_fault)?;
                let Some(last) = full.last() else { return Ok(done) };
                after = *last;
                done += self.change(move |tx| async move { empty(tx, &full).await }.boxed()).await?;
            }
        }
        .boxed()
    }

    fn hold<'a>(
        &'a self,
        person: &'a str,
        held: bool,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'a, Result<(), EraseError>> {
        async move {
            let subject = self.pseudonym(person)?;
            self.change(move |tx| async move { hold(tx, subject, held, by).await }.boxed()).await
        }
        .boxed()
    }

    fn prune(
        &self,
        class: Class,
        before: Timestamp,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'_, Result<u64, EraseError>> {
        async move {
            let below = self.written_since(before).await.map_err(EraseError::from_fault)?;
            let fact = Fact::Pruned {
                below: rows::unsigned(below).map_err(EraseError::from_fault)?,
                class: class.as_str().to_owned(),
            };
            let mut told = Some(told("erasure.oldest", by, fact));
            let (mut from, mut done) = (0, 0);
            loop {
                let ripe = self.ripe(class, from..below).await.map_err(EraseError::from_fault)?;
                let Some(last) = ripe.last() else { break };
                from = last + 1;
                // Said before it is done: a crash in between leaves more than was said, never less.
                let entry = told.take();
                done += self.change(move |tx| async move { prune(tx, &ripe, entry).await }.boxed()).await?;
            }
            if class == Class::Approvals {
                self.forget_ended(before, told).await?;
            }
            Ok(done)
        }
        .boxed()
    }

    fn cut(
        &self,
        before: Timestamp,
        keep_from: u64,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'_, Result<u64, EraseError>> {
        async move {
            let mut first = self.first().await?;
            let written = self.written_since(before).await.and_then(rows::unsigned);
            let wanted = written.map_err(EraseError::from_fault)?.min(keep_from);
            let goal = self.change(move |tx| async move { tx.cut_to(wanted).await }.boxed()).await;
            let goal = goal.map_err(EraseError::from_fault)?;
            let mut told = Some(told("erasure.cut", by, Fact::Cut { below: goal }));
            while first < goal {
                let (entry, next) = (told.take(), goal.min(first + CUT_AT_ONCE));
                let cut =
                    self.change(move |tx| async move { tx.cut(first, next, entry).await }.boxed()).await;
                // A hold that came meanwhile ends it here.
                match cut.map_err(EraseError::from_fault)? {
                    done if done > first => first = done,
                    _ => break,
                }
            }
            Ok(first)
        }
        .boxed()
    }
}

impl Store {
    fn pseudonym(&self, person: &str) -> Result<Pseudonym, EraseError> {
        let seal = self.shared().reading.seal.as_ref();
        let closed = || EraseError::from_fault(Fault::Unavailable("there is no seal key".to_owned()));
        Ok(seal.ok_or_else(closed)?.pseudonym(person))
    }

    /// Forgets approvals that ended before this instant; `told` is said first.
    async fn forget_ended(&self, before: Timestamp, mut told: Option<Entry>) -> Result<(), EraseError> {
        loop {
            let ended = approval_rows::ended(before, AT_ONCE).fetch_all(self.readers()).await;
            let ended = ended.map_err(unavailable)?;
            let ids = ended.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>();
            let ids = ids.map_err(unavailable)?;
            if ids.is_empty() {
                return Ok(());
            }
            let entry = told.take();
            self.change(move |tx| async move { forget(tx, ids, entry).await }.boxed()).await?;
        }
    }

    /// The first leaf written at this instant or later.
    async fn written_since(&self, instant: Timestamp) -> Result<i64, Fault> {
        let sql = "SELECT idx FROM leaf WHERE time >= $1 ORDER BY time, idx LIMIT 1";
        let query = db::query(sql).bind(instant.as_micros());
        if let Some(found) = query.scalar_optional(self.readers()).await? {
            return Ok(found);
        }
        let sql = "SELECT coalesce(max(idx) + 1, 0) FROM leaf";
        Ok(db::query(sql).scalar(self.readers()).await?)
    }

    /// Leaves of a person below this one that still have what lay beside them, from after this instant and leaf on.
    async fn sealed_of(
        &self,
        subject: Pseudonym,
        after: (i64, i64),
        end: i64,
    ) -> Result<Vec<(i64, i64)>, Fault> {
        let sql = "SELECT time, idx FROM leaf WHERE subject = $1 AND (time, idx) > ($2, $3) AND idx < $4
                   AND length(sealed) > 0 ORDER BY time, idx LIMIT $5";
        let query = db::query(sql).bind(subject.as_slice()).bind(after.0).bind(after.1).bind(end);
        let rows = query.bind(AT_ONCE).fetch_all(self.readers()).await?;
        let place = |row: &db::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(place).collect()
    }

    /// Leaves of a class in this range whose content may go, the oldest first. Found by a reader: the writer is not kept
    /// waiting for it.
    async fn ripe(&self, class: Class, range: std::ops::Range<i64>) -> Result<Vec<i64>, Fault> {
        let mut sql = db::query("SELECT idx FROM leaf WHERE idx >= ");
        sql.push_bind(range.start).push(" AND idx < ").push_bind(range.end).push(" AND phase IN ");
        let phases = Phase::ALL.into_iter().filter(|phase| Class::of(*phase) == class);
        sql.push_list(phases.map(|phase| phase.as_str()));
        sql.push(" AND subject IS NOT NULL AND ").push(FREE);
        sql.push(" ORDER BY idx LIMIT ").push_bind(AT_ONCE);
        let rows = sql.fetch_all(self.readers()).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }
}

/// What was given to a person and what they lent lies open, with the words said for it: it goes with them.
const RIGHTS: [&str; 3] = [
    "DELETE FROM role_grant_set
     WHERE grant_id IN (SELECT id FROM role_grant WHERE issuer || ':' || subject = $1)",
    "DELETE FROM role_grant WHERE issuer || ':' || subject = $1",
    "DELETE FROM delegation WHERE $1 IN (lender_issuer || ':' || lender_subject, to_issuer || ':' || to_subject)",
];

/// Of nobody on hold, and of no call in progress.
const FREE: &str = "subject NOT IN (SELECT subject FROM subject_key WHERE held <> 0)
                    AND request NOT IN (SELECT request FROM open_intent)";

/// Destroys the person's key. Gives the leaf before which nothing of theirs can be read any more.
async fn erase(
    tx: &mut Tx,
    subject: Pseudonym,
    person: &str,
    by: Option<PrincipalKey>,
) -> Result<i64, EraseError> {
    let query = db::query("SELECT held FROM subject_key WHERE subject = $1").bind(subject.as_slice());
    match query.scalar_optional(&mut tx.conn).await.map_err(unavailable)? {
        None => return Err(EraseError::Unknown),
        Some(0_i64) => {}
        Some(_) => return Err(EraseError::Held),
    }
    let query = db::query("DELETE FROM subject_key WHERE subject = $1").bind(subject.as_slice());
    query.execute(&mut tx.conn).await.map_err(unavailable)?;
    tx.persons.remove(&subject);
    approval_rows::empty(tx, subject).await.map_err(EraseError::from_fault)?;
    for sql in RIGHTS {
        db::query(sql).bind(person).execute(&mut tx.conn).await.map_err(unavailable)?;
    }
    let end = rows::signed(tx.next()).map_err(EraseError::from_fault)?;
    let told = told("erasure.person", by, Fact::Erased { subject: rows::hex(&subject) });
    tx.tell_entry(told).await.map_err(EraseError::from_fault)?;
    Ok(end)
}

/// Empties what lay beside these leaves, which nobody can open any more.
async fn empty(tx: &mut Tx, leaves: &[(i64, i64)]) -> Result<u64, EraseError> {
    let mut sql = db::query("UPDATE leaf SET key = ");
    sql.push_bind(Vec::new()).push(", sealed = ").push_bind(Vec::new()).push(" WHERE idx IN ");
    sql.push_list(leaves.iter().map(|(_, idx)| *idx));
    sql.execute(&mut tx.conn).await.map_err(unavailable)
}

async fn hold(
    tx: &mut Tx,
    subject: Pseudonym,
    held: bool,
    by: Option<PrincipalKey>,
) -> Result<(), EraseError> {
    let sql = "UPDATE subject_key SET held = $1 WHERE subject = $2";
    let query = db::query(sql).bind(held).bind(subject.as_slice());
    if query.execute(&mut tx.conn).await.map_err(unavailable)? == 0 {
        return Err(EraseError::Unknown);
    }
    let word = if held { "hold" } else { "release" };
    let what = format!("erasure.{word} {}", rows::hex(&subject));
    let entry = Entry::told(what, by, RequestId::random(), SystemClock.now());
    tx.tell_entry(entry).await.map_err(EraseError::from_fault)
}

async fn prune(tx: &mut Tx, leaves: &[i64], told: Option<Entry>) -> Result<u64, EraseError> {
    if let Some(entry) = told {
        tx.tell_entry(entry).await.map_err(EraseError::from_fault)?;
    }
    let mut sql = db::query("UPDATE leaf SET subject = NULL, key = NULL, sealed = NULL WHERE idx IN ");
    // Asked again: a hold may have come since they were found.
    sql.push_list(leaves.iter().copied()).push(" AND ").push(FREE);
    sql.execute(&mut tx.conn).await.map_err(unavailable)
}

/// Forgets approvals that have ended.
async fn forget(tx: &mut Tx, ids: Vec<String>, told: Option<Entry>) -> Result<(), EraseError> {
    if let Some(entry) = told {
        tx.tell_entry(entry).await.map_err(EraseError::from_fault)?;
    }
    approval_rows::remove(tx, ids).await.map_err(EraseError::from_fault)
}

impl Tx {
    /// How far the log may be cut now, if it is wanted up to this leaf: before the tile of the first leaf on hold and of
    /// the first call in progress, and not beyond what witnesses have cosigned, from where they go on.
    async fn cut_to(&mut self, wanted: u64) -> Result<u64, Fault> {
        let bounds = [
            "SELECT min(idx) FROM leaf WHERE subject IN (SELECT subject FROM subject_key WHERE held <> 0)",
            "SELECT min(leaf) FROM open_intent",
            "SELECT max(size) FROM checkpoint WHERE cosigned > 0",
        ];
        let mut goal = wanted.min(self.tree.size());
        for sql in bounds {
            let bound: Option<i64> = db::query(sql).scalar(&mut self.conn).await?;
            goal = bound.map(rows::unsigned).transpose()?.map_or(goal, |bound| bound.min(goal));
        }
        Ok(goal / TILE * TILE)
    }

    /// Cuts off the leaves from `first` to `next`, or as many whole tiles of them as may go. Gives the first that stays.
    async fn cut(&mut self, first: u64, next: u64, told: Option<Entry>) -> Result<u64, Fault> {
        let next = self.cut_to(next).await?;
        if next <= first {
            return Ok(first);
        }
        if let Some(entry) = told {
            self.tell_entry(entry).await?;
        }
        let end = rows::signed(next)?;
        let mut query = rows::record_of(&self.conn);
        query.push(" FROM leaf WHERE idx < ").push_bind(end);
        let mut words = std::collections::BTreeSet::new();
        for row in query.fetch_all(&mut self.conn).await? {
            words.extend(rows::bare_leaf(&row)?.words());
        }
        let words: Vec<_> = words.into_iter().map(|word| word.to_string()).collect();
        for words in words.chunks(WORDS_AT_ONCE) {
            let mut query = db::query("DELETE FROM leaf_word WHERE idx < ");
            query.push_bind(end).push(" AND word IN ").push_list(words);
            query.execute(&mut self.conn).await?;
        }
        db::query("DELETE FROM leaf WHERE idx < $1").bind(end).execute(&mut self.conn).await?;
        db::query("DELETE FROM checkpoint WHERE size < $1").bind(end).execute(&mut self.conn).await?;
        // A tile is above nothing else that stays when all its leaves go: its hash stands in the level above.
        let mut level = 0_u8;
        let mut tiles = next / TILE;
        while tiles > 0 {
            let query = db::query("DELETE FROM tile WHERE level = $1 AND n < $2");
            query.bind(level).bind(rows::signed(tiles)?).execute(&mut self.conn).await?;
            (level, tiles) = (level + 1, tiles / TILE);
        }
        // Keys of persons of whom nothing is left, once all that is told of them is there to be seen.
        self.write_out().await?;
        let sql = "DELETE FROM subject_key WHERE held = 0
                   AND NOT EXISTS (SELECT 1 FROM leaf WHERE leaf.subject = subject_key.subject)
                   AND NOT EXISTS (SELECT 1 FROM approval WHERE approval.subject = subject_key.subject)";
        db::query(sql).execute(&mut self.conn).await?;
        self.persons.clear();
        Ok(next)
    }
}

fn told(what: &str, by: Option<PrincipalKey>, fact: Fact) -> Entry {
    Entry::told(what, by, RequestId::random(), SystemClock.now()).with_fact(fact)
}

fn unavailable(error: sqlx::Error) -> EraseError {
    EraseError::from_fault(error.into())
}
