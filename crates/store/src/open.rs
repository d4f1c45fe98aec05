//! Opening a database, and refusing to.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crewgate_approval::Hint;
use crewgate_audit::Head;
use sqlx::{
    Connection, Row, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use crate::{
    lanes::{Lanes, Refusals},
    options::{OpenError, Options},
    rows,
    store::{Shared, SqliteStore},
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
        .pragma("wal_autocheckpoint", "0");
    let mut conn = SqliteConnection::connect_with(&connect).await?;
    version(&mut conn).await?;
    migrator().run_direct(None, &mut conn, false).await.map_err(|e| OpenError::Migration(e.to_string()))?;
    let (busy, ..): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut conn).await?;
    if busy != 0 {
        return Err(OpenError::Busy);
    }
    sync_directory(path)?;
    let head = head(&mut conn).await?;

    let mut tx = Tx { conn, head, moved: false, bytes: 0 };
    recover(&mut tx, &options).await?;
    let readers = readers(path, options.readers).await?;

    let (lanes, inbox) = Lanes::new(&options);
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
    Ok(SqliteStore::new(Shared { readers, lanes: Some(lanes), refusals, alive, commits, hint }))
}

pub(crate) async fn open_read_only(path: &Path) -> Result<SqliteStore, OpenError> {
    let readers = readers(path, 1).await?;
    let mut conn = readers.acquire().await?;
    version(&mut conn).await?;
    let known = migrator().iter().map(|migration| migration.version).max();
    let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut *conn)
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
    ])
}

/// Where the log ends, by its head and by its last leaf. If the two disagree, going on would bury the evidence.
async fn head(conn: &mut SqliteConnection) -> Result<Head, OpenError> {
    let damaged = |reason: String| OpenError::Damaged { reason };
    let head = rows::head(conn).await.map_err(|fault| damaged(fault.to_string()))?;
    let last =
        sqlx::query("SELECT seq, prev, hash, record, body, frames FROM leaf ORDER BY seq DESC LIMIT 1");
    let last = last.fetch_optional(&mut *conn).await?;
    let last = last.as_ref().map(rows::leaf).transpose().map_err(|fault| damaged(fault.to_string()))?;
    let end = last.map_or_else(Head::default, |leaf| Head { count: leaf.seq, hash: leaf.hash });
    if end != head {
        return Err(damaged(format!("it should end with leaf {} and ends with {}", head.count, end.count)));
    }
    let leaves = sqlx::query("SELECT count(*) AS leaves FROM leaf").fetch_one(conn).await?;
    let leaves = rows::unsigned(leaves.try_get("leaves")?).map_err(|fault| damaged(fault.to_string()))?;
    if leaves != head.count {
        return Err(damaged(format!("it should have {} leaves and has {leaves}", head.count)));
    }
    Ok(head)
}

async fn recover(tx: &mut Tx, options: &Options) -> Result<(), OpenError> {
    let database = |fault: crate::fault::Fault| OpenError::Database(fault.to_string());
    sqlx::query("BEGIN IMMEDIATE").execute(&mut tx.conn).await?;
    let settled = tx.settle_interrupted(options.clock.now()).await.map_err(database)?;
    tx.write_head().await.map_err(database)?;
    sqlx::query("COMMIT").execute(&mut tx.conn).await?;
    if settled > 0 {
        tracing::warn!(
            settled,
            "approvals were sent when the last process ended: their outcome is not known"
        );
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
