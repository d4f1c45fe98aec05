use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crewgate_approval::Hint;
use crewgate_audit::{SealKey, tlog::VerifierKey};
use crewgate_core::Clock;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    db::Pool,
    fault::{Fault, FromFault},
    keys::Keys,
    lanes::{Lanes, Refusals},
    options::{OpenError, Options},
    postgres::{self, Postgres},
    sqlite,
    tx::Tx,
    writer::Life,
};

/// One database, a file of SQLite's or a PostgreSQL, behind the ports of approval, audit, policy and runs. Clones share
/// it.
///
/// One task owns the one connection that writes; gateways that share a PostgreSQL take turns. When the last clone is dropped it finishes what is in line and
/// closes the database; [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) readers: Pool,
    /// `None`: opened to be read only.
    pub(crate) lanes: Option<Lanes>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) alive: watch::Receiver<Life>,
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) hint: Hint,
    pub(crate) reading: Reading,
    /// What this process is known by to others that share the database; another one after each start.
    pub(crate) me: Uuid,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What is needed to believe and to open what is read.
pub(crate) struct Reading {
    pub(crate) keys: Vec<VerifierKey>,
    pub(crate) seal: Option<SealKey>,
}

impl Reading {
    fn with(keys: Option<&Keys>) -> Self {
        Self { keys: keys.map(Keys::verifiers).unwrap_or_default(), seal: keys.map(|keys| keys.seal.clone()) }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("life", &*self.shared.alive.borrow()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database at this path, creating it if it is not there, and becomes its only writer.
    ///
    /// What was sent when the last process ended and has no outcome is settled as indeterminate here.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: nothing is served from a database that is locked, damaged or of another version.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        sqlite::open(path.as_ref(), options).await
    }

    /// Opens a PostgreSQL database, making its tables if they are not there, and writes to it in turn with other
    /// gateways. The keys must be given: they are the same for all who share it.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: nothing is served from a server that need not keep what it says, or from tables that are damaged
    /// or of another version.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn connect(postgres: Postgres, options: Options) -> Result<Self, OpenError> {
        postgres::open(postgres, options).await
    }

    /// Opens a PostgreSQL database to be read; without keys nothing is believed or opened. Every change is answered
    /// "unavailable".
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn connect_read_only(postgres: &Postgres, keys: Option<&Keys>) -> Result<Self, OpenError> {
        postgres::open_read_only(postgres, Reading::with(keys)).await
    }

    /// Opens the database at this path to be read, beside the process that writes to it or without one, with the keys
    /// beside it if they are there. Every change is answered "unavailable".
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let keys = Keys::beside(path.as_ref())?;
        Self::open_read_only_with(path, keys.as_ref()).await
    }

    /// As [`open_read_only`](Self::open_read_only), with these keys; without any nothing is believed or opened.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open_read_only_with(path: impl AsRef<Path>, keys: Option<&Keys>) -> Result<Self, OpenError> {
        sqlite::open_read_only(path.as_ref(), Reading::with(keys)).await
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Resolves when the disk failed in a way after which nobody knows what is on it. Everything is refused from then
    /// on, and the process should end: the next one reads what is really there. Never resolves otherwise.
    pub async fn poisoned(&self) {
        let mut alive = self.shared.alive.clone();
        let poisoned = alive.wait_for(|life| *life == Life::Poisoned).await.is_ok();
        // A writer that is gone without having said why is as bad as one that failed.
        if !poisoned && *self.shared.alive.borrow() != Life::Running {
            std::future::pending::<()>().await;
        }
    }

    /// Whether changes are taken.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        // An error: the writer is gone.
        self.shared.alive.has_changed().is_ok() && *self.shared.alive.borrow() == Life::Running
    }

    /// Finishes what is in line, closes the database and waits for that. Later changes are answered "unavailable".
    pub async fn close(&self) {
        let Some(lanes) = &self.shared.lanes else { return self.shared.readers.close().await };
        // First, so that the writer's connection is the last and empties the write-ahead log.
        self.shared.readers.close().await;
        lanes.close();
        // An error: the writer is gone, which is what was asked for.
        let _ = self.shared.alive.clone().wait_for(|life| *life != Life::Running).await;
    }

    /// Transactions committed since it was opened; commands share them.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether nobody but this process may write.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.shared.readers, Pool::Sqlite(_))
    }

    pub(crate) fn readers(&self) -> &Pool {
        &self.shared.readers
    }

    /// Does work in the writer's transaction and waits until it is durable.
    pub(crate) fn change<'a, F, T, E>(&'a self, work: F) -> BoxFuture<'a, Result<T, E>>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: FromFault,
    {
        Box::pin(async move {
            match &self.shared.lanes {
                Some(lanes) => lanes.change(work).await,
                None => Err(E::from_fault(Fault::Unavailable("it was opened to be read only".to_owned()))),
            }
        })
    }
}
