//! A database of its own for each test.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use crewgate_audit::{AuditStore, Entry, Frame, Leaf, Phase, Query, verify};
use crewgate_core::{Fact, RequestId, Timestamp};
use crewgate_store::{Options, Store};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// A directory that is removed when the test is over.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("crewgate-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.0.join("crewgate.db")
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.db(), Options::default()).await.unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Directories and the stores in them, for suites that make many.
#[derive(Debug, Default)]
pub(crate) struct Dirs(std::sync::Mutex<Vec<Dir>>);

impl Dirs {
    pub(crate) async fn open(&self) -> Store {
        let dir = Dir::new();
        let store = dir.open().await;
        self.0.lock().unwrap().push(dir);
        store
    }
}

/// How often a race is run: as often as `CREWGATE_RACES` says, 100 times without it.
pub(crate) fn rounds() -> usize {
    std::env::var("CREWGATE_RACES").map_or(100, |rounds| rounds.parse().unwrap())
}

/// An entry of this size.
pub(crate) fn entry(phase: Phase, size: usize) -> Entry {
    let mut entry = Entry::new(phase, RequestId::random(), Timestamp::from_secs(1_781_524_800))
        .with_fact(Fact::Answered { status: 200 });
    if size > 0 {
        entry.request_body = Some(Bytes::from(vec![b'x'; size]));
        entry.frames = vec![Frame { offset_micros: 7, bytes: Bytes::from_static(b"answer") }];
    }
    entry
}

/// The whole log, verified.
pub(crate) async fn verified(store: &Store) -> Vec<Leaf> {
    let leaves = store.leaves(Query::default().limit(u32::MAX)).await.unwrap();
    let verified = verify(store, None, |_, _| ()).await.unwrap().unwrap();
    assert_eq!((verified.head.size, verified.sealed), (leaves.len() as u64, 0));
    leaves
}

/// A connection that may do anything to the file.
pub(crate) async fn intruder(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}
