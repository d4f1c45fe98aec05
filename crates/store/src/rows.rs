//! Rows, and what they mean.

use crewgate_approval::{Grant, NewGrant, Revoked};
use crewgate_audit::{Content, Held, Leaf, SealKey, tlog::Hash};
use crewgate_core::{GrantId, IdKind, PrincipalKey, RunId, Timestamp};
use crewgate_runs::OwnedId;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    db::{self, At, Conn, Pool, Row, Sql},
    fault::Fault,
};

/// Databases count with a sign.
pub(crate) fn signed(count: u64) -> Result<i64, Fault> {
    i64::try_from(count).map_err(|_| Fault::Unavailable("a number is too large to be stored".to_owned()))
}

pub(crate) fn unsigned(count: i64) -> Result<u64, Fault> {
    u64::try_from(count).map_err(|_| Fault::unreadable("number"))
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Unavailable(error.to_string()))
}

pub(crate) fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::unreadable(what))
}

/// The latest checkpoint and the size it is kept under.
pub(crate) async fn checkpoint<'a>(conn: impl Into<At<'a>>) -> Result<Option<(u64, String)>, Fault> {
    let sql = "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1";
    let row = db::query(sql).fetch_optional(conn).await?;
    row.as_ref().map(sized).transpose()
}

/// A checkpoint and the size it is kept under.
pub(crate) fn sized(row: &Row) -> Result<(u64, String), Fault> {
    Ok((unsigned(row.try_get("size")?)?, row.try_get("note")?))
}

pub(crate) async fn tile<'a>(conn: impl Into<At<'a>>, level: u8, n: u64) -> Result<Option<Vec<u8>>, Fault> {
    let query = db::query("SELECT hashes FROM tile WHERE level = $1 AND n = $2");
    Ok(query.bind(level).bind(signed(n)?).scalar_optional(conn).await?)
}

/// The beginning of what reads leaves.
pub(crate) fn leaf_of(pool: &Pool) -> Sql {
    let mut sql = record(matches!(pool, Pool::Postgres(_)));
    // A person who was erased may have come again: their new key opens nothing that is older.
    sql.push(", leaf.subject, key, sealed, wrapped FROM leaf LEFT JOIN subject_key");
    sql.push(" ON subject_key.subject = leaf.subject AND subject_key.since <= leaf.idx");
    sql
}

/// The beginning of what reads leaves' places and records alone.
pub(crate) fn record_of(conn: &Conn) -> Sql {
    record(matches!(conn, Conn::Postgres(_)))
}

/// Records as bytes: what somebody wrote into the database need not be text, and must still be shown to whoever
/// verifies.
fn record(postgres: bool) -> Sql {
    db::query(if postgres {
        "SELECT idx, convert_to(record, 'UTF8') AS record"
    } else {
        "SELECT idx, CAST(record AS BLOB) AS record"
    })
}

pub(crate) fn leaf(row: &Row, seal: Option<&SealKey>) -> Result<Leaf, Fault> {
    let bare = bare_leaf(row)?;
    Ok(Leaf { held: held(row, seal, bare.hash())?, ..bare })
}

/// A leaf without what lies beside it.
pub(crate) fn bare_leaf(row: &Row) -> Result<Leaf, Fault> {
    let record: Vec<u8> = row.try_get("record")?;
    Ok(Leaf {
        index: unsigned(row.try_get("idx")?)?,
        record: String::from_utf8_lossy(&record).into_owned(),
        held: Held::Missing,
    })
}

/// Opens what lies beside a leaf: the house's key opens the person's, that one the record's, and that one the content.
fn held(row: &Row, seal: Option<&SealKey>, hash: Hash) -> Result<Held, Fault> {
    let (subject, key): (Option<&[u8]>, Option<&[u8]>) = (row.try_get("subject")?, row.try_get("key")?);
    let (sealed, wrapped): (Option<&[u8]>, Option<&[u8]>) = (row.try_get("sealed")?, row.try_get("wrapped")?);
    let (Some(subject), Some(key), Some(sealed)) = (subject, key, sealed) else { return Ok(Held::Missing) };
    let erased = || Ok(Held::Erased { subject: hex(subject) });
    let Some(wrapped) = wrapped.filter(|_| !sealed.is_empty()) else { return erased() };
    let Some(seal) = seal else { return Ok(Held::Sealed) };
    let open = || {
        let person = seal.unwrap_key(subject, wrapped)?;
        let content = person.unwrap_key(hash.as_bytes(), key)?.open(hash.as_bytes(), sealed)?;
        Content::decode(content.into())
    };
    Ok(open().map_or(Held::Broken, Held::Open))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) const GRANT: &str = "SELECT given, used, revoked FROM role_grant";

pub(crate) fn to_grant(row: &Row) -> Result<Grant, Fault> {
    let (given, revoked): (&str, Option<&str>) = (row.try_get("given")?, row.try_get("revoked")?);
    Ok(Grant {
        given: parse::<NewGrant>(given, "grant")?,
        used: unsigned(row.try_get("used")?)?.try_into().map_err(|_| Fault::unreadable("number"))?,
        revoked: revoked.map(|text| parse::<Revoked>(text, "grant's end")).transpose()?,
    })
}

pub(crate) async fn grant(conn: &mut Conn, id: GrantId) -> Result<Option<Grant>, Fault> {
    let sql = "SELECT given, used, revoked FROM role_grant WHERE id = $1";
    let row = db::query(sql).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(to_grant).transpose()
}

/// Grants of a principal that are not over.
pub(crate) async fn standing_grants(
    conn: &mut Conn,
    principal: &PrincipalKey,
    now: Timestamp,
) -> Result<usize, Fault> {
    let sql = "SELECT count(*) FROM role_grant
               WHERE issuer = $1 AND subject = $2 AND ends > $3 AND revoked IS NULL";
    let query =
        db::query(sql).bind(principal.issuer.as_str()).bind(principal.subject.as_str()).bind(now.as_micros());
    let count: i64 = query.scalar(conn).await?;
    usize::try_from(count).map_err(|_| Fault::unreadable("number"))
}

/// `false` when the id is taken.
pub(crate) async fn insert_grant(conn: &mut Conn, new: &Grant) -> Result<bool, Fault> {
    let sql = "INSERT INTO role_grant (id, issuer, subject, begins, ends, given, used, revoked)
               VALUES ($1, $2, $3, $4, $5, $6, 0, NULL) ON CONFLICT DO NOTHING";
    let done = db::query(sql)
        .bind(new.id().to_string())
        .bind(new.given.principal.issuer.as_str())
        .bind(new.given.principal.subject.as_str())
        .bind(new.given.from.as_micros())
        .bind(new.given.until.as_micros())
        .bind(json(&new.given)?)
        .execute(&mut *conn)
        .await?;
    for set in &new.given.sets {
        let query =
            db::query("INSERT INTO role_grant_set (grant_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        query.bind(new.id().to_string()).bind(set.as_str()).execute(&mut *conn).await?;
    }
    Ok(done == 1)
}

/// `false` when it was taken away, or used more often, since it was read.
pub(crate) async fn update_grant(conn: &mut Conn, next: &Grant) -> Result<bool, Fault> {
    let revoked = next.revoked.as_ref().map(json).transpose()?;
    let sql =
        "UPDATE role_grant SET used = $1, revoked = $2 WHERE id = $3 AND used <= $1 AND revoked IS NULL";
    let query = db::query(sql).bind(next.used).bind(revoked).bind(next.id().to_string());
    Ok(query.execute(conn).await? == 1)
}

pub(crate) fn kind_text(kind: IdKind) -> Result<String, Fault> {
    Ok(json(&kind)?.trim_matches('"').to_owned())
}

pub(crate) fn to_owned_id(row: &Row) -> Result<OwnedId, Fault> {
    let (own, kind, run): (&str, &str, &str) =
        (row.try_get("own")?, row.try_get("kind")?, row.try_get("run")?);
    Ok(OwnedId {
        own: own.parse().map_err(|_| Fault::unreadable("id"))?,
        kind: parse(&format!("\"{kind}\""), "kind of id")?,
        crew: row.try_get("crew")?,
        owner: PrincipalKey { issuer: row.try_get("owner_issuer")?, subject: row.try_get("owner_subject")? },
        run: run.parse::<RunId>().map_err(|_| Fault::unreadable("run"))?,
        upstream: row.try_get("upstream")?,
        at: Timestamp::from_micros(row.try_get("at")?),
    })
}
