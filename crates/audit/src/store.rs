use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use crate::{Entry, Leaf, Log, Query};

/// Which queue an entry waits in. Each has room of its own, so that a flood in one never takes a seat of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a store must decide what room each lane gets")]
pub enum Lane {
    /// Calls that are about to leave.
    Intent,
    /// Calls that ended, and everything else that was authenticated.
    Outcome,
    /// Refusals of strangers: best effort, with a quota; beyond it they are counted, not told one by one.
    Refusal,
}

/// The log of entries, written to durably and in one order.
pub trait AuditStore: Log {
    /// Puts an entry in line. It is in line when this method returns, before the future is first polled; the future
    /// resolves once the entry is durable.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; only with [`Unknown`](AuditError::Unknown) may the entry be on the record all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the entry out of line.
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>>;

    /// A seat in the [`Outcome`](Lane::Outcome) lane for later, so that ending a call can always be recorded.
    ///
    /// # Errors
    ///
    /// [`AuditError::Full`] when none came free in the time the store gives it, [`AuditError::Unavailable`].
    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Seat>, AuditError>>;

    /// Leaves that match, in the order the query asks for.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the store cannot be read.
    fn leaves(&self, query: Query) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>>;

    /// Intents without an outcome, oldest first, at most `limit`: calls in progress, and after a crash calls whose end
    /// nobody knows.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the store cannot be read.
    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>>;
}

impl<T: AuditStore + ?Sized> AuditStore for Arc<T> {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
        (**self).append(lane, entry)
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Seat>, AuditError>> {
        (**self).reserve()
    }

    fn leaves(&self, query: Query) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        (**self).leaves(query)
    }

    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        (**self).open_intents(limit)
    }
}

/// How far exports of the record have come. What was handed over and not acknowledged is handed over again.
pub trait Cursors: Send + Sync + 'static {
    /// The first leaf of which nobody has acknowledged to this export that it was received; 0 before the first.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when it cannot be read.
    fn exported<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<u64, AuditError>>;

    /// Everything before this leaf was acknowledged; it never goes back.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when it could not be written down.
    fn acknowledge<'a>(&'a self, name: &'a str, next: u64) -> BoxFuture<'a, Result<(), AuditError>>;

    /// Whether this is the one that hands on under this name now. Of several gateways that share a record one does, as
    /// long as it asks again within [`EXPORT_TURN`]; then another may.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when that cannot be told: then nobody hands on.
    fn leads<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, AuditError>>;
}

/// How long a gateway that hands on need not ask again whether it does: longer than a batch takes.
pub const EXPORT_TURN: Duration = Duration::from_secs(60);

/// Room for one entry, held until it is needed. Dropping it gives the room back.
pub trait Seat: Send + 'static {
    /// Puts the entry in line, at once and without waiting: fit for `Drop`. Never [`AuditError::Full`].
    ///
    /// # Errors
    ///
    /// Those of [`AuditStore::append`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the entry out of line.
    fn submit(self: Box<Self>, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>>;
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its leaf, counted from 0.
    pub index: u64,
}

/// Why an entry is not known to be on the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditError {
    /// The entry contradicts the approval it names: another attempt holds it, or none.
    Conflict,
    /// A stored leaf cannot be read.
    Corrupt {
        /// Which.
        leaf: u64,
    },
    /// What was asked for lies in the beginning of the log, which was cut off.
    Cut {
        /// The first leaf that is there.
        first: u64,
    },
    /// A temporary grant the entry relies on has ended, was taken away or is used up: nothing was written.
    GrantOver,
    /// No room: nothing was written.
    Full,
    /// The entry cannot be written as it is: nothing was written.
    Invalid,
    /// The name the caller chose for the call stands for another one: nothing was written.
    KeyTaken,
    /// The store is closed, broken or was never reached: nothing was written.
    Unavailable,
    /// The entry was handed to the disk and nobody knows whether it got there.
    Unknown,
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("the approval is not held by this attempt"),
            Self::Corrupt { leaf } => write!(f, "leaf {leaf} cannot be read"),
            Self::Cut { first } => {
                write!(f, "the record begins at leaf {first}: what came before it was cut off")
            }
            Self::GrantOver => f.write_str("a grant it relies on does not count now"),
            Self::Full => f.write_str("no room on the record"),
            Self::Invalid => f.write_str("the entry cannot be written"),
            Self::KeyTaken => f.write_str("the caller's name for it stands for another call"),
            Self::Unavailable => f.write_str("the record is not available"),
            Self::Unknown => f.write_str("it is not known whether the entry is on the record"),
        }
    }
}

impl std::error::Error for AuditError {}
