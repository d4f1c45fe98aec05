//! A file of SQLite's, and when it is not opened.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    db::{self, At, Conn, Pool},
    keys::Keys,
    open::{self, Opened, Steps, migrator},
    options::{OpenError, Options},
    store::{Reading, Store},
};

/// The first SQLite in which a crash cannot corrupt a database in WAL mode (the WAL-reset defect of 3.7.0 to 3.51.2).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long to wait for a lock another process holds for a moment.
const BUSY: Duration = Duration::from_secs(5);

/// Pages the writer keeps in memory, in KiB as SQLite wants them said: 32 MiB.
const CACHE_KIB: &str = "-32768";

pub(crate) async fn open(path: &Path, options: Options) -> Result<Store, OpenError> {
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
        // A batch changes more pages than the 2 MiB of the default hold, and what does not fit is written twice.
        .pragma("cache_size", CACHE_KIB)
        // What a statement keeps to be taken back needs no file.
        .pragma("temp_store", "MEMORY")
        // What is erased is overwritten, not only forgotten.
        .pragma("secure_delete", "ON");
    let mut raw = SqliteConnection::connect_with(&connect).await?;
    migrator(MIGRATIONS)
        .run_direct(None, &mut raw, false)
        .await
        .map_err(|e| OpenError::Migration(e.to_string()))?;
    let mut conn = Conn::Sqlite(raw);
    version(&mut conn).await?;
    let busy: i64 = db::query("PRAGMA wal_checkpoint(TRUNCATE)").scalar(&mut conn).await?;
    if busy != 0 {
        return Err(OpenError::Busy);
    }
    let keys = match &options.keys {
        Some(keys) => keys.clone(),
        // Made for a new record only: an old one with new keys would be another log under its name.
        None if open::checkpoint(&mut conn).await?.is_none() => Keys::make_beside(path)?,
        None => {
            let missing = || OpenError::Key("the keys of the record are not beside it".to_owned());
            Keys::beside(path)?.ok_or_else(missing)?
        }
    };
    sync_directory(path)?;
    let readers = readers(path, options.readers).await?;
    open::start(Opened { conn, readers, keys, lock: Some(lock), reconnect: None }, options).await
}

pub(crate) async fn open_read_only(path: &Path, reading: Reading) -> Result<Store, OpenError> {
    let readers = readers(path, 1).await?;
    version(&readers).await?;
    open::read_only(readers, MIGRATIONS, reading).await
}

async fn readers(path: &Path, count: u32) -> Result<Pool, OpenError> {
    let connect = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
    let pool = db::lasting(SqlitePoolOptions::new()).max_connections(count).acquire_timeout(BUSY);
    Ok(Pool::Sqlite(pool.connect_with(connect).await?))
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

async fn version<'a>(at: impl Into<At<'a>>) -> Result<(), OpenError> {
    let found: String = db::query("SELECT sqlite_version()").scalar(at).await?;
    if is_new_enough(&found) { Ok(()) } else { Err(OpenError::OldSqlite { found }) }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten();
    matches!((next(), next(), next()), (Some(a), Some(b), Some(c)) if (a, b, c) >= OLDEST_SQLITE)
}

const MIGRATIONS: Steps = &[
    (1, "first tables", include_str!("../migrations/sqlite/0001_first_tables.sql")),
    (2, "role grants", include_str!("../migrations/sqlite/0002_role_grants.sql")),
    (3, "mask tokens", include_str!("../migrations/sqlite/0003_mask_tokens.sql")),
    (10, "revocations", include_str!("../migrations/sqlite/0010_revocations.sql")),
    (11, "used ids", include_str!("../migrations/sqlite/0011_used_ids.sql")),
    (12, "seen tokens", include_str!("../migrations/sqlite/0012_seen_tokens.sql")),
    (13, "sessions", include_str!("../migrations/sqlite/0013_sessions.sql")),
    (30, "log", include_str!("../migrations/sqlite/0030_log.sql")),
    (31, "call keys", include_str!("../migrations/sqlite/0031_call_keys.sql")),
    (32, "export cursors", include_str!("../migrations/sqlite/0032_export_cursors.sql")),
    (33, "search", include_str!("../migrations/sqlite/0033_search.sql")),
    (34, "broken glasses", include_str!("../migrations/sqlite/0034_broken_glasses.sql")),
    (35, "delegations", include_str!("../migrations/sqlite/0035_delegations.sql")),
    (36, "keys since", include_str!("../migrations/sqlite/0036_keys_since.sql")),
    (37, "sealed approvals", include_str!("../migrations/sqlite/0037_sealed_approvals.sql")),
    (38, "waiting of one", include_str!("../migrations/sqlite/0038_waiting_of_one.sql")),
];

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
