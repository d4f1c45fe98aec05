//! Approvals as they lie in the database: what was asked, said and done is sealed with the requester's key, and by what
//! rows are found stands beside it.

use crewgate_approval::{Approval, Broken, Filter, NewApproval, Phase, ReleaseMode, State, Vote};
use crewgate_audit::SealKey;
use crewgate_core::{ApprovalId, Timestamp};

use crate::{
    db::{self, Conn, Row, Sql},
    fault::Fault,
    rows::{json, parse, signed, unsigned},
    tx::{Pseudonym, Tx},
};

/// The beginning of what reads approvals, whose rows these places name.
const APPROVAL: &str = "SELECT id, asked, moved, leases, version, approval.subject, wrapped
                        FROM approval LEFT JOIN subject_key ON subject_key.subject = approval.subject";

/// What `moved` holds.
type Moved = (State, Vec<Vote>, Option<Broken>);

/// A part opens in its own place alone; `moved` as the version it was written for.
fn place(part: &str, id: impl std::fmt::Display, version: u64) -> Vec<u8> {
    format!("approval {id} {part} {version}").into_bytes()
}

/// What `asked` is kept under: it has one version.
const ASKED: u64 = 1;

/// Opens a row: the house's key opens the person's, and that one what they asked for.
pub(crate) fn open(row: &Row, seal: &SealKey) -> Result<Approval, Fault> {
    let unreadable = || Fault::unreadable("approval");
    let (subject, wrapped): (Option<&[u8]>, Option<&[u8]>) =
        (row.try_get("subject")?, row.try_get("wrapped")?);
    let (subject, wrapped) = subject.zip(wrapped).ok_or_else(unreadable)?;
    let person = seal.unwrap_key(subject, wrapped).ok_or_else(unreadable)?;
    let (id, version): (&str, u64) = (row.try_get("id")?, unsigned(row.try_get("version")?)?);
    let part = |name: &str, version| {
        let plain = person.open(&place(name, id, version), row.try_get::<&[u8]>(name)?);
        String::from_utf8(plain.ok_or_else(unreadable)?).map_err(|_| unreadable())
    };
    let (state, votes, broken) = parse::<Moved>(&part("moved", version)?, "approval's state")?;
    Ok(Approval {
        asked: parse::<NewApproval>(&part("asked", ASKED)?, "approval")?,
        state,
        votes,
        broken,
        leases: unsigned(row.try_get("leases")?)?,
        version,
    })
}

/// The one with this value in a column that names one.
pub(crate) fn by(column: &'static str, value: String) -> Sql {
    let mut sql = db::query(APPROVAL);
    sql.push(" WHERE phase <> 'erased' AND ").push(column).push(" = ").push_bind(value);
    sql
}

pub(crate) async fn find(tx: &mut Tx, id: ApprovalId) -> Result<Option<Approval>, Fault> {
    let row = by("id", id.to_string()).fetch_optional(&mut tx.conn).await?;
    row.as_ref().map(|row| open(row, &tx.keys.seal)).transpose()
}

/// Approvals that were being started when the last process ended.
pub(crate) async fn executing(conn: &mut Conn) -> Result<Vec<ApprovalId>, Fault> {
    ids(&db::query("SELECT id FROM approval WHERE phase = 'executing'").fetch_all(conn).await?)
}

fn ids(rows: &[Row]) -> Result<Vec<ApprovalId>, Fault> {
    let id = |row: &Row| row.try_get::<&str>("id")?.parse().map_err(|_| Fault::unreadable("approval"));
    rows.iter().map(id).collect()
}

/// Broken glasses that nobody has looked at, the one that is due first first.
pub(crate) async fn unreviewed(tx: &mut Tx) -> Result<Vec<Approval>, Fault> {
    let mut sql = db::query(APPROVAL);
    sql.push(" WHERE review_due IS NOT NULL ORDER BY review_due, id");
    let rows = sql.fetch_all(&mut tx.conn).await?;
    rows.iter().map(|row| open(row, &tx.keys.seal)).collect()
}

/// The next rows that can match, so many; whether they do, the filter decides: states are evaluated, not stored. They
/// are found before they are read: what was asked is long.
pub(crate) fn page(filter: &Filter, last: Option<&(Timestamp, ApprovalId)>, rows: i64) -> Sql {
    let order = if filter.newest_first { " ORDER BY opened DESC, id DESC" } else { " ORDER BY opened, id" };
    let mut sql = db::query(APPROVAL);
    sql.push(" WHERE id IN (SELECT id FROM approval WHERE ");
    let now = filter.now.as_micros();
    match filter.phase {
        None => sql.push("phase <> 'erased'"),
        Some(Phase::Pending) => sql.push("phase = 'pending' AND ends > ").push_bind(now),
        Some(Phase::Approved) => sql.push("phase IN ('approved', 'executing') AND ends > ").push_bind(now),
        Some(Phase::Expired) => sql.push("phase IN ('expired', 'pending', 'approved', 'executing')"),
        Some(Phase::Indeterminate) => sql.push("phase IN ('indeterminate', 'executing')"),
        Some(stored) => sql.push("phase = ").push_bind(stored.as_str()),
    };
    if let Some(requester) = &filter.requester {
        sql.push(" AND requester = ").push_bind(requester.to_string());
    }
    if filter.auto_run {
        sql.push(" AND auto_run <> 0");
    }
    if filter.unreviewed {
        sql.push(" AND review_due IS NOT NULL");
    }
    if let Some((opened, id)) = last {
        sql.push(if filter.newest_first { " AND (opened, id) < (" } else { " AND (opened, id) > (" });
        sql.push_bind(opened.as_micros()).push(", ").push_bind(id.to_string()).push(")");
    }
    sql.push(order).push(" LIMIT ").push_bind(rows).push(")").push(order);
    sql
}

/// `false` when the id or the run is taken.
pub(crate) async fn insert(tx: &mut Tx, new: &Approval) -> Result<bool, Fault> {
    let subject = subject_of(tx, new);
    let person = tx.key_of(subject).await?;
    let asked = seal(&person, &place("asked", new.id(), ASKED), &json(&new.asked)?)?;
    let found = Found::of(new);
    let sql =
        "INSERT INTO approval (id, run, subject, asked, opened, requester, leases, version, phase, ends,
                                     auto_run, review_due, moved)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING";
    let query = db::query(sql)
        .bind(new.id().to_string())
        .bind(new.asked.run.map(|run| run.to_string()))
        .bind(subject.as_slice())
        .bind(asked)
        .bind(new.asked.opened.as_micros())
        .bind(new.asked.requester.key.to_string())
        .bind(signed(new.leases)?)
        .bind(signed(new.version)?);
    let query = found.bound(query).bind(moved(&person, new)?);
    Ok(query.execute(&mut tx.conn).await? == 1)
}

/// `false` when the version it was computed from is no longer there.
pub(crate) async fn update(tx: &mut Tx, next: &Approval) -> Result<bool, Fault> {
    let subject = subject_of(tx, next);
    let person = tx.key_of(subject).await?;
    let sql = "UPDATE approval SET leases = $2, version = $3, phase = $4, ends = $5, auto_run = $6,
                   review_due = $7, moved = $8
               WHERE id = $1 AND version = $3 - 1 AND phase <> 'erased'";
    let query =
        db::query(sql).bind(next.id().to_string()).bind(signed(next.leases)?).bind(signed(next.version)?);
    let query = Found::of(next).bound(query).bind(moved(&person, next)?);
    Ok(query.execute(&mut tx.conn).await? == 1)
}

fn subject_of(tx: &Tx, approval: &Approval) -> Pseudonym {
    tx.keys.seal.pseudonym(&approval.asked.requester.key.to_string())
}

fn moved(person: &SealKey, approval: &Approval) -> Result<Vec<u8>, Fault> {
    let place = place("moved", approval.id(), approval.version);
    seal(person, &place, &json(&(&approval.state, &approval.votes, &approval.broken))?)
}

fn seal(person: &SealKey, place: &[u8], text: &str) -> Result<Vec<u8>, Fault> {
    person.seal(place, text.as_bytes()).map_err(|error| Fault::Unavailable(error.to_string()))
}

/// By what a row is found; each follows from where it stands.
struct Found {
    phase: &'static str,
    ends: i64,
    auto_run: bool,
    review_due: Option<i64>,
}

impl Found {
    fn of(approval: &Approval) -> Self {
        let ends = match approval.state {
            State::Approved { until, .. } | State::Executing { until, .. } => until,
            _ => approval.asked.expires,
        };
        let open = approval.broken.as_ref().filter(|broken| broken.is_open());
        Self {
            phase: approval.state.phase().as_str(),
            ends: ends.as_micros(),
            auto_run: approval.broken.is_some()
                || matches!(approval.asked.release, ReleaseMode::AutoRun { .. }),
            review_due: open.map(|broken| broken.due.as_micros()),
        }
    }

    fn bound(self, sql: Sql) -> Sql {
        sql.bind(self.phase).bind(self.ends).bind(self.auto_run).bind(self.review_due)
    }
}

/// Gives up what a person asked for: nobody decides on it or starts it any more. That there was something stays.
pub(crate) async fn empty(tx: &mut Tx, subject: Pseudonym) -> Result<(), Fault> {
    let sql = "UPDATE approval SET phase = 'erased', subject = NULL, requester = '', auto_run = 0,
                   review_due = NULL, version = version + 1, asked = $2, moved = $2
               WHERE subject = $1 RETURNING id";
    let query = db::query(sql).bind(subject.as_slice()).bind(Vec::new());
    let gone = ids(&query.fetch_all(&mut tx.conn).await?)?;
    tx.moved.extend(gone);
    Ok(())
}

/// So many of those that ended before this instant, of nobody on hold. What may have been sent is not among them before
/// somebody knows what became of it, nor a broken glass before somebody has looked at it.
pub(crate) fn ended(before: Timestamp, rows: i64) -> Sql {
    let mut sql = db::query("SELECT id FROM approval WHERE ends < ");
    sql.push_bind(before.as_micros()).push(" AND ").push(FREE).push(" LIMIT ").push_bind(rows);
    sql
}

/// Removes them.
pub(crate) async fn remove(tx: &mut Tx, ids: Vec<String>) -> Result<(), Fault> {
    let mut sql = db::query("DELETE FROM approval WHERE id IN ");
    // Asked again: a hold may have come since they were found.
    sql.push_list(ids).push(" AND ").push(FREE);
    sql.execute(&mut tx.conn).await?;
    Ok(())
}

const FREE: &str = "phase IN ('pending', 'approved', 'executed', 'failed', 'denied', 'expired', 'cancelled',
                              'invalidated', 'erased') AND review_due IS NULL
                    AND (subject IS NULL
                         OR subject NOT IN (SELECT subject FROM subject_key WHERE held <> 0))";

/// Seals what an earlier version left in clear, and leaves nothing of that behind.
pub(crate) async fn seal_clear_rows(tx: &mut Tx) -> Result<usize, Fault> {
    let sql = match tx.conn {
        Conn::Sqlite(_) => "SELECT 1 FROM sqlite_schema WHERE name = 'approval_clear'",
        Conn::Postgres(_) => {
            "SELECT 1 FROM pg_tables WHERE tablename = 'approval_clear'
                              AND schemaname = current_schema()"
        }
    };
    if db::query(sql).fetch_optional(&mut tx.conn).await?.is_none() {
        return Ok(0);
    }
    let mut sealed = 0;
    loop {
        let sql = "SELECT id, asked, state, votes, broken, leases, version FROM approval_clear LIMIT 1";
        let Some(row) = db::query(sql).fetch_optional(&mut tx.conn).await? else { break };
        let (asked, state, votes): (&str, &str, &str) =
            (row.try_get("asked")?, row.try_get("state")?, row.try_get("votes")?);
        let broken: Option<&str> = row.try_get("broken")?;
        let approval = Approval {
            asked: parse(asked, "approval")?,
            state: parse(state, "approval's state")?,
            votes: parse(votes, "approval's votes")?,
            broken: broken.map(|text| parse(text, "broken glass")).transpose()?,
            leases: unsigned(row.try_get("leases")?)?,
            version: unsigned(row.try_get("version")?)?,
        };
        insert(tx, &approval).await?;
        let query = db::query("DELETE FROM approval_clear WHERE id = $1").bind(row.try_get::<&str>("id")?);
        query.execute(&mut tx.conn).await?;
        sealed += 1;
    }
    db::query("DROP TABLE approval_clear").execute(&mut tx.conn).await?;
    Ok(sealed)
}
