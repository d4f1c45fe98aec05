//! What opening either database comes to: the log in it is the signed one, and one task writes to it.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, atomic::AtomicU64},
};

use crewgate_approval::Hint;
use crewgate_audit::{
    Entry,
    tlog::{Hash, SignedCheckpoint, TILE, Tile, Tree},
};
use crewgate_core::{RequestId, SystemClock};
use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    approval_rows,
    db::{self, Conn, Pool},
    fault::Fault,
    keys::Keys,
    lanes::{Lanes, Refusals},
    options::{OpenError, Options},
    postgres::Postgres,
    rows,
    store::{Reading, Shared, Store},
    tx::Tx,
    unwritten::Unwritten,
    writer::{Life, Writer},
};

/// A database with its tables, before anybody looked at the log in it.
pub(crate) struct Opened {
    pub(crate) conn: Conn,
    pub(crate) readers: Pool,
    pub(crate) keys: Keys,
    /// Held, and so locked, until the writer has ended.
    pub(crate) lock: Option<File>,
    /// How a connection that was lost is made again; `None` where that cannot be.
    pub(crate) reconnect: Option<Postgres>,
}

/// Begins to write.
pub(crate) async fn start(opened: Opened, options: Options) -> Result<Store, OpenError> {
    let Opened { conn, readers, keys, lock, reconnect } = opened;
    let reading = Reading { keys: keys.verifiers(), seal: Some(keys.seal.clone()) };
    let (lanes, inbox) = Lanes::new(&options, keys.seal.clone());
    let mut tx = Tx {
        conn,
        tree: Tree::default(),
        pending: Vec::new(),
        unwritten: Unwritten::default(),
        keys,
        persons: HashMap::new(),
        moved: Vec::new(),
        bytes: 0,
    };
    recover(&mut tx, &options).await?;

    let (life, alive) = watch::channel(Life::Running);
    let (commits, hint) = (Arc::new(AtomicU64::new(0)), Hint::new());
    let refusals = Arc::new(Refusals::new(options.refusals_per_minute));
    let (me, clock) = (Uuid::new_v4(), Arc::clone(&options.clock));
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
        reconnect,
        lost: false,
    };
    tokio::spawn(writer.run());
    Ok(Store::new(Shared { readers, lanes: Some(lanes), refusals, alive, commits, hint, reading, me, clock }))
}

/// Only reads, from tables of this version.
pub(crate) async fn read_only(readers: Pool, steps: Steps, reading: Reading) -> Result<Store, OpenError> {
    let query = db::query("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
    let found = query.fetch_all(&readers).await.map_err(|e| OpenError::Migration(e.to_string()))?;
    let found = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if !found.iter().eq(steps.iter().map(|(version, ..)| version)) {
        return Err(OpenError::Migration("start the gateway once to bring it up to date".to_owned()));
    }
    let (_, alive) = watch::channel(Life::Closed);
    Ok(Store::new(Shared {
        readers,
        lanes: None,
        refusals: Arc::new(Refusals::new(0)),
        alive,
        commits: Arc::default(),
        hint: Hint::new(),
        reading,
        me: Uuid::new_v4(),
        clock: Arc::new(SystemClock),
    }))
}

/// Steps that make a database's tables: number, name, statements.
pub(crate) type Steps = &'static [(i64, &'static str, &'static str)];

pub(crate) fn migrator(steps: Steps) -> Migrator {
    let step = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

fn damaged(reason: impl ToString) -> OpenError {
    OpenError::Damaged { reason: reason.to_string() }
}

/// The latest checkpoint, whoever signed it.
pub(crate) async fn checkpoint(conn: &mut Conn) -> Result<Option<SignedCheckpoint>, OpenError> {
    let Some((size, note)) = rows::checkpoint(conn).await.map_err(damaged)? else { return Ok(None) };
    let signed = SignedCheckpoint::parse(&note).map_err(damaged)?;
    if signed.claimed().head.size == size {
        Ok(Some(signed))
    } else {
        Err(damaged("its checkpoint was edited"))
    }
}

/// The tree to go on with, by its checkpoint and its edge. If they disagree, going on would bury the evidence.
pub(crate) async fn tree(
    conn: &mut Conn,
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
        let tile = rows::tile(&mut *conn, level, n).await.map_err(damaged)?;
        let tile = tile.and_then(|bytes| Tile::hashes_of(&bytes)).unwrap_or_default();
        edge.push(if width == 0 { Vec::new() } else { tile });
    }
    let tree = Tree::resume(head.size, edge).filter(|tree| tree.head() == head);
    tree.ok_or_else(|| damaged("the edge of its tree is not the signed one"))
}

/// Whether the log in the database has this tree's leaves as its first. Where they have been cut off since, the signature
/// under what is left is all there is to go by.
pub(crate) async fn goes_on_from(conn: &mut Conn, tree: &Tree) -> Result<bool, OpenError> {
    let mut edge = Vec::new();
    for ((n, width), level) in Tree::edge_of(tree.size()).zip(0_u8..) {
        let tile = rows::tile(&mut *conn, level, n).await.map_err(damaged)?;
        let mut tile = tile.and_then(|bytes| Tile::hashes_of(&bytes)).unwrap_or_default();
        tile.truncate(width);
        edge.push(tile);
    }
    if Tree::resume(tree.size(), edge).is_some_and(|found| found.head() == tree.head()) {
        return Ok(true);
    }
    let first: Option<i64> = db::query("SELECT min(idx) FROM leaf").scalar(conn).await?;
    Ok(first.map(rows::unsigned).transpose().map_err(damaged)?.is_some_and(|first| first >= tree.size()))
}

/// The leaves under the edge are those it was made of, and there are no more.
async fn last_leaves(conn: &mut Conn, size: u64) -> Result<(), OpenError> {
    let begin = rows::signed(size.saturating_sub(1) / TILE * TILE).map_err(damaged)?;
    let mut query = rows::record_of(conn);
    query.push(" FROM leaf WHERE idx >= ").push_bind(begin).push(" OR idx < 0 ORDER BY idx");
    let last = query.fetch_all(&mut *conn).await?;
    let last = last.iter().map(|row| Ok((row.try_get("idx")?, row.try_get("record")?)));
    let last = last.collect::<Result<Vec<(i64, Vec<u8>)>, sqlx::Error>>()?;
    let end = last.last().map_or(0, |(index, _)| index.saturating_add(1));
    if Ok(end) != rows::signed(size).map_err(|_| ()) {
        return Err(damaged(format!("it should have {size} leaves and has {end}")));
    }
    let n = size.saturating_sub(1) / TILE;
    let written = rows::tile(conn, 0, n).await.map_err(damaged)?.and_then(|bytes| Tile::hashes_of(&bytes));
    let found = last.iter().map(|(_, record)| Hash::leaf(record));
    if !found.eq(written.unwrap_or_default()) {
        return Err(damaged("its last leaves are not the signed ones"));
    }
    Ok(())
}

/// What the last process left undone, and what is new with this one.
async fn recover(tx: &mut Tx, options: &Options) -> Result<(), OpenError> {
    let database = |fault: Fault| OpenError::Database(fault.to_string());
    let now = options.clock.now();
    tx.take_pen().await.map_err(database)?;
    let latest = checkpoint(&mut tx.conn).await?;
    tx.tree = tree(&mut tx.conn, latest.as_ref(), &tx.keys).await?;
    last_leaves(&mut tx.conn, tx.tree.size()).await?;
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
    let sealed = approval_rows::seal_clear_rows(tx).await.map_err(database)?;
    if sealed > 0 {
        tracing::info!(sealed, "approvals that lay in clear are sealed");
    }
    // Beside other gateways nobody knows whose calls are over: theirs become indeterminate when their leases end.
    let settled = match tx.conn {
        Conn::Sqlite(_) => tx.settle_interrupted(now).await.map_err(database)?,
        Conn::Postgres(_) => 0,
    };
    let tree = tx.grow().await.map_err(database)?;
    db::query("COMMIT").execute(&mut tx.conn).await?;
    tx.tree = tree;
    if settled > 0 {
        tracing::warn!(
            settled,
            "approvals were sent when the last process ended: their outcome is not known"
        );
    }
    let open: i64 = db::query("SELECT count(*) FROM open_intent").scalar(&mut tx.conn).await?;
    if open > 0 {
        tracing::warn!(open, "calls had left when the last process ended: nobody knows how they ended");
    }
    Ok(())
}
