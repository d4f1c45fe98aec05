//! Opening a database, and refusing to.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crewgate_approval::Hint;
use crewgate_audit::{
    Entry,
    tlog::{Hash, SignedCheckpoint, TILE, Tile, Tree},
};
use crewgate_core::RequestId;
use sqlx::{
    Connection, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use crate::{
    keys::Keys,
    lanes::{Lanes, Refusals},
    options::{OpenError, Options},
    rows,
    store::{Reading, Shared, SqliteStore},
    tx::Tx,
    writer::{Life, Writer},
};

/// The first SQLite in which a crash cannot corrupt a database in WAL mode (the WAL-reset defect of 3.7.0 to 3.51.2).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long to wait for a lock another process holds for a moment.
const BUSY: Duration = Duration::from_secs(5);

pub(crate) async fn open(path: &Path, options: Options) -> Result<SqliteStore, OpenError> {
    let lock = lock(path)?;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // SQLite's own checkpoints swallow their errors; the writer does it and looks.
        .pragma("wal_autocheckpoint", "0")
        // What is erased is overwritten, not only forgotten.
        .pragma("secure_delete", "ON");
    let mut conn = SqliteConnection::connect_with(&connect).await?;
    version(&mut conn).await?;
    migrator().run_direct(None, &mut conn, false).await.map_err(|e| OpenError::Migration(e.to_string()))?;
    let (busy, ..): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut conn).await?;
    if busy != 0 {
        return Err(OpenError::Busy);
    }
    let latest = checkpoint(&mut conn).await?;
    let keys = match (&options.keys, &latest) {
        (Some(keys), _) => keys.clone(),
        // Made for a new record only: an old one with new keys would be another log under its name.
        (None, None) => Keys::make_beside(path)?,
        (None, Some(_)) => {
            let missing = || OpenError::Key("the keys of the record are not beside it".to_owned());
            Keys::beside(path)?.ok_or_else(missing)?
        }
    };
    sync_directory(path)?;
    let tree = tree(&mut conn, latest.as_ref(), &keys).await?;

    let reading = Reading { keys: keys.verifiers(), seal: Some(keys.seal.clone()) };
    let (lanes, inbox) = Lanes::new(&options, keys.seal.clone());
    let persons = HashMap::new();
    let mut tx = Tx { conn, tree, pending: Vec::new(), keys, persons, moved: Vec::new(), bytes: 0 };
    recover(&mut tx, latest.as_ref(), &options).await?;
    let readers = readers(path, options.readers).await?;

    let (life, alive) = watch::channel(Life::Running);
    let (commits, hint) = (Arc::new(AtomicU64::new(0)), Hint::new());
    let refusals = Arc::new(Refusals::new(options.refusals_per_minute));
    let writer = Writer {
        tx,
        inbox,
        life,
        commits: Arc::clone(&commits),
        hint: hint.clone(),
        refusals: Arc::clone(&refusals),
        options,
        uncheckpointed: 0,
        lock,
    };
    tokio::spawn(writer.run());
    Ok(SqliteStore::new(Shared { readers, lanes: Some(lanes), refusals, alive, commits, hint, reading }))
}

pub(crate) async fn open_read_only(path: &Path, reading: Reading) -> Result<SqliteStore, OpenError> {
    let readers = readers(path, 1).await?;
    let mut conn = readers.acquire().await?;
    version(&mut conn).await?;
    let known: Vec<i64> = migrator().iter().map(|migration| migration.version).collect();
    let found: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut *conn)
            .await
            .map_err(|e| OpenError::Migration(e.to_string()))?;
    if found != known {
        return Err(OpenError::Migration("start the gateway once to bring it up to date".to_owned()));
    }
    drop(conn);
    let (_, alive) = watch::channel(Life::Closed);
    Ok(SqliteStore::new(Shared {
        readers,
        lanes: None,
        refusals: Arc::new(Refusals::new(0)),
        alive,
        commits: Arc::default(),
        hint: Hint::new(),
        reading,
    }))
}

async fn readers(path: &Path, count: u32) -> Result<SqlitePool, OpenError> {
    let connect = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
    Ok(SqlitePoolOptions::new().max_connections(count).acquire_timeout(BUSY).connect_with(connect).await?)
}

/// One writer per file, by a lock beside it: a second gateway would fork the log. Those who only read need no lock.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let database = |error: std::io::Error| OpenError::Database(format!("{}: {error}", path.display()));
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(database)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(database(error)),
    }
}

/// A file that was just created is durable only when its directory is.
fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| OpenError::Database(format!("{}: {error}", parent.display())))
}

async fn version(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(conn).await?;
    if is_new_enough(&found) { Ok(()) } else { Err(OpenError::OldSqlite { found }) }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten();
    matches!((next(), next(), next()), (Some(a), Some(b), Some(c)) if (a, b, c) >= OLDEST_SQLITE)
}

fn migrator() -> Migrator {
    let step = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "first tables", include_str!("../migrations/sqlite/0001_first_tables.sql")),
        step(2, "role grants", include_str!("../migrations/sqlite/0002_role_grants.sql")),
        step(3, "mask tokens", include_str!("../migrations/sqlite/0003_mask_tokens.sql")),
        step(10, "revocations", include_str!("../migrations/sqlite/0010_revocations.sql")),
        step(11, "used ids", include_str!("../migrations/sqlite/0011_used_ids.sql")),
        step(12, "seen tokens", include_str!("../migrations/sqlite/0012_seen_tokens.sql")),
        step(13, "sessions", include_str!("../migrations/sqlite/0013_sessions.sql")),
        step(30, "log", include_str!("../migrations/sqlite/0030_log.sql")),
        step(31, "call keys", include_str!("../migrations/sqlite/0031_call_keys.sql")),
        step(32, "export cursors", include_str!("../migrations/sqlite/0032_export_cursors.sql")),
        step(33, "search", include_str!("../migrations/sqlite/0033_search.sql")),
    ])
}

fn damaged(reason: impl ToString) -> OpenError {
    OpenError::Damaged { reason: reason.to_string() }
}

/// The latest checkpoint, whoever signed it.
async fn checkpoint(conn: &mut SqliteConnection) -> Result<Option<SignedCheckpoint>, OpenError> {
    let Some((size, note)) = rows::checkpoint(conn).await.map_err(damaged)? else { return Ok(None) };
    let signed = SignedCheckpoint::parse(&note).map_err(damaged)?;
    if signed.claimed().head.size == size {
        Ok(Some(signed))
    } else {
        Err(damaged("its checkpoint was edited"))
    }
}

/// The tree to go on with, by its checkpoint, its edge and the leaves under that. If they disagree, going on would
/// bury the evidence.
async fn tree(
    conn: &mut SqliteConnection,
    latest: Option<&SignedCheckpoint>,
    keys: &Keys,
) -> Result<Tree, OpenError> {
    let head = match latest {
        Some(signed) if signed.claimed().origin != keys.origin() => {
            let (theirs, ours) = (&signed.claimed().origin, keys.origin());
            return Err(OpenError::Key(format!(
                "the record is the log `{theirs}`, and the key signs for `{ours}`"
            )));
        }
        Some(signed) => {
            let verified = signed.verify(&keys.verifiers());
            verified.map_err(|error| damaged(format!("its checkpoint cannot be trusted: {error}")))?.head
        }
        None => Tree::default().head(),
    };
    let mut edge = Vec::new();
    for ((n, width), level) in Tree::edge_of(head.size).zip(0_u8..) {
        let tile = rows::tile(conn, level, n).await.map_err(damaged)?;
        let tile = tile.and_then(|bytes| Tile::hashes_of(&bytes)).unwrap_or_default();
        edge.push(if width == 0 { Vec::new() } else { tile });
    }
    let tree = Tree::resume(head.size, edge).filter(|tree| tree.head() == head);
    let tree = tree.ok_or_else(|| damaged("the edge of its tree is not the signed one"))?;

    let begin = head.size.saturating_sub(1) / TILE * TILE;
    let sql = "SELECT idx, record FROM leaf WHERE idx >= ?1 OR idx < 0 ORDER BY idx";
    let begin = rows::signed(begin).map_err(damaged)?;
    let last: Vec<(i64, Vec<u8>)> = sqlx::query_as(sql).bind(begin).fetch_all(&mut *conn).await?;
    let end = last.last().map_or(0, |(index, _)| index.saturating_add(1));
    if Ok(end) != rows::signed(head.size).map_err(|_| ()) {
        return Err(damaged(format!("it should have {} leaves and has {end}", head.size)));
    }
    let n = head.size.saturating_sub(1) / TILE;
    let written = rows::tile(conn, 0, n).await.map_err(damaged)?.and_then(|bytes| Tile::hashes_of(&bytes));
    let found = last.iter().map(|(_, record)| Hash::leaf(record));
    if !found.eq(written.unwrap_or_default()) {
        return Err(damaged("its last leaves are not the signed ones"));
    }
    Ok(tree)
}

/// What the last process left undone, and what is new with this one.
async fn recover(tx: &mut Tx, latest: Option<&SignedCheckpoint>, options: &Options) -> Result<(), OpenError> {
    let database = |fault: crate::fault::Fault| OpenError::Database(fault.to_string());
    let now = options.clock.now();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut tx.conn).await?;
    match latest {
        // An empty log is signed too: there is never a time at which nothing is.
        None => {
            let tree = tx.tree.clone();
            tx.sign(&tree).await.map_err(database)?;
        }
        Some(latest) => {
            for key in tx.keys.verifiers() {
                if latest.time_by(&key).map_err(damaged)?.is_none() {
                    let what = format!("key.add {key}");
                    tx.tell_entry(Entry::told(what, None, RequestId::random(), now))
                        .await
                        .map_err(database)?;
                }
            }
        }
    }
    let settled = tx.settle_interrupted(now).await.map_err(database)?;
    let tree = tx.grow().await.map_err(database)?;
    sqlx::query("COMMIT").execute(&mut tx.conn).await?;
    tx.tree = tree;
    if settled > 0 {
        tracing::warn!(
            settled,
            "approvals were sent when the last process ended: their outcome is not known"
        );
    }
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM open_intent").fetch_one(&mut tx.conn).await?;
    if open > 0 {
        tracing::warn!(open, "calls had left when the last process ended: nobody knows how they ended");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_that_can_lose_a_wal_is_refused() {
        for (version, good) in [
            ("3.51.3", true),
            ("3.54.1", true),
            ("4.0.0", true),
            ("3.51.2", false),
            ("3.40.1", false),
            ("3.51", false),
            ("three", false),
        ] {
            assert_eq!(is_new_enough(version), good, "{version}");
        }
    }
}
