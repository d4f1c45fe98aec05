use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use crewgate_audit::DEFAULT_REFUSALS_PER_MINUTE;
use crewgate_core::{Clock, SystemClock};

use crate::Keys;

/// Commands that share one transaction. An fsync takes a millisecond or so, a command some ten microseconds: with 256
/// the disk, not the number of transactions, is the limit.
pub const DEFAULT_BATCH: usize = 256;

/// Intents in line. More than calls can be in progress, so that only a stalled disk fills it.
pub const DEFAULT_INTENT_SEATS: usize = 4096;

/// Outcomes in line or promised: one for each call in progress.
pub const DEFAULT_OUTCOME_SEATS: usize = 8192;

/// Refusals of strangers in line; beyond it they are only counted.
pub const DEFAULT_REFUSAL_SEATS: usize = 256;

/// Changes of approvals and runs in line.
pub const DEFAULT_CONTROL_SEATS: usize = 4096;

/// How long a call waits for a seat: less than callers wait for an answer.
pub const DEFAULT_SEAT_WAIT: Duration = Duration::from_secs(5);

/// Pages of 4 KiB in the write-ahead log after which the writer moves them into the database: 16 MiB. A page of an index
/// that grows in all places is in there many times and is moved once.
pub const DEFAULT_CHECKPOINT_PAGES: u64 = 4000;

/// Connections that only read.
pub const DEFAULT_READERS: u32 = 4;

/// How a [`Store`](crate::Store) is run. Every bound here has a reason at its default.
#[derive(Clone)]
pub struct Options {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) batch: usize,
    pub(crate) intent_seats: usize,
    pub(crate) outcome_seats: usize,
    pub(crate) refusal_seats: usize,
    pub(crate) control_seats: usize,
    pub(crate) refusals_per_minute: u32,
    pub(crate) seat_wait: Duration,
    pub(crate) checkpoint_pages: u64,
    pub(crate) readers: u32,
    pub(crate) keys: Option<Keys>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            batch: DEFAULT_BATCH,
            intent_seats: DEFAULT_INTENT_SEATS,
            outcome_seats: DEFAULT_OUTCOME_SEATS,
            refusal_seats: DEFAULT_REFUSAL_SEATS,
            control_seats: DEFAULT_CONTROL_SEATS,
            refusals_per_minute: DEFAULT_REFUSALS_PER_MINUTE,
            seat_wait: DEFAULT_SEAT_WAIT,
            checkpoint_pages: DEFAULT_CHECKPOINT_PAGES,
            readers: DEFAULT_READERS,
            keys: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

impl Options {
    /// Reads the time here: for the minute in which strangers' refusals are counted.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Keys that sign and seal the record. Default: those beside the database, made when there are none.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Outcomes in line or promised. Default [`DEFAULT_OUTCOME_SEATS`].
    #[must_use]
    pub fn outcome_seats(mut self, seats: usize) -> Self {
        self.outcome_seats = seats;
        self
    }

    /// Intents in line. Default [`DEFAULT_INTENT_SEATS`].
    #[must_use]
    pub fn intent_seats(mut self, seats: usize) -> Self {
        self.intent_seats = seats;
        self
    }

    /// Refusals of strangers that get a leaf of their own per minute. Default
    /// [`DEFAULT_REFUSALS_PER_MINUTE`](crewgate_audit::DEFAULT_REFUSALS_PER_MINUTE).
    #[must_use]
    pub fn refusals_per_minute(mut self, refusals: u32) -> Self {
        self.refusals_per_minute = refusals;
        self
    }

    /// How long to wait for a seat before refusing. Default [`DEFAULT_SEAT_WAIT`].
    #[must_use]
    pub fn seat_wait(mut self, wait: Duration) -> Self {
        self.seat_wait = wait;
        self
    }

    /// Pages in the write-ahead log after which it is moved into the database. Default
    /// [`DEFAULT_CHECKPOINT_PAGES`].
    #[must_use]
    pub fn checkpoint_pages(mut self, pages: u64) -> Self {
        self.checkpoint_pages = pages;
        self
    }
}

/// Why a database was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Its write-ahead log could not be moved into it: something else holds it.
    Busy,
    /// The log in it does not end where it says it does.
    Damaged {
        /// What was found.
        reason: String,
    },
    /// The keys that sign or seal the record are missing, or are not those of this record.
    Key(String),
    /// Another process writes to it.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Its tables are of another version of this program.
    Migration(String),
    /// The linked SQLite is older than 3.51.3, which can corrupt a database in WAL mode.
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// The PostgreSQL server is not one that keeps what it says it keeps.
    Server(String),
    /// The database or the operating system says no.
    Database(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the database is in use: its write-ahead log could not be emptied"),
            Self::Damaged { reason } => {
                write!(f, "the record was changed from outside: {reason}; `audit verify` tells more")
            }
            Self::Key(reason) => f.write_str(reason),
            Self::Locked { path } => {
                write!(f, "another gateway writes to this database ({} is locked)", path.display())
            }
            Self::Migration(reason) => write!(f, "the database is of another version: {reason}"),
            Self::OldSqlite { found } => write!(f, "SQLite {found} is too old, 3.51.3 or later is needed"),
            Self::Server(reason) | Self::Database(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}
