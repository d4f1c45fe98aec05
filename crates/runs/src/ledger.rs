use std::fmt;

use crewgate_core::{IdKind, RunId, TaskId, Timestamp};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::{NewRun, OwnedId, PendingTask, RunFilter};

/// The ledger could not do it, or cannot say whether it did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "either it is known that nothing happened or it is not")]
pub enum LedgerError {
    /// Nothing was changed.
    Unavailable(String),
    /// It was asked to change something, and whether it did is not known.
    Unknown(String),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "the ledger of runs is not available: {reason}"),
            Self::Unknown(reason) => write!(f, "the outcome is not known: {reason}"),
        }
    }
}

impl std::error::Error for LedgerError {}

/// Why an id was not bound or registered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The run stands for another upstream id already.
    Bound,
    /// There is no such run.
    NoRun,
    /// The upstream id belongs to another run already.
    Taken,
    /// The ledger failed.
    Ledger(LedgerError),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound => f.write_str("the run stands for another upstream id already"),
            Self::NoRun => f.write_str("there is no such run"),
            Self::Taken => f.write_str("the upstream id belongs to another run already"),
            Self::Ledger(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RegisterError {}

impl From<LedgerError> for RegisterError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Which id belongs to whom. It offers transitions, never "read, change, write back".
///
/// Two laws make ids stable: an upstream id of kind [`Run`](IdKind::Run) has at most one own id per *crew*, and an
/// upstream id of any other kind has at most one own id per *run and kind* (a crew built once may show the same task
/// id in every run). Who asked first owns it for good. As rows: unique `(crew, upstream)` where the kind is `Run`, unique
/// `(run, kind, upstream)` where it is not. Upstream ids are compared byte by byte.
///
/// An answer `Ok` to a change means that the change is durable. Implementations are kept equal by one conformance
/// suite.
///
/// # Cancel safety
///
/// Dropping a future of this trait leaves the transition either wholly done or not done; which, `find` tells.
pub trait RunLedger: Send + Sync + 'static {
    /// Gives out the id of a run that has no upstream id yet: a ticket.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn reserve(&self, new: NewRun) -> BoxFuture<'_, Result<RunId, LedgerError>>;

    /// Gives out the id of a run that has started. When the upstream id is a run of this crew already, that one is
    /// returned as it is, with its own first owner.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn start(&self, new: NewRun, upstream: String) -> BoxFuture<'_, Result<OwnedId, LedgerError>>;

    /// The reserved run has started: it stands for this upstream id from now on. Binding the same id again changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]: [`Bound`](RegisterError::Bound), [`NoRun`](RegisterError::NoRun),
    /// [`Taken`](RegisterError::Taken) or the ledger's own.
    fn bind(&self, run: RunId, upstream: String) -> BoxFuture<'_, Result<OwnedId, RegisterError>>;

    /// Gives each upstream id seen in this run an own id, or finds the one it has, in the order asked; all or none.
    /// New ones belong to the run's crew and owner. A `Run` id that belongs to another run of the crew comes back as
    /// that run's.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]: [`NoRun`](RegisterError::NoRun) or the ledger's own.
    fn register(
        &self,
        run: RunId,
        ids: Vec<(IdKind, String)>,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OwnedId>, RegisterError>>;

    /// The id a caller sent.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn find(&self, own: Uuid) -> BoxFuture<'_, Result<Option<OwnedId>, LedgerError>>;

    /// All own ids of a crew that stand for one of these upstream ids, each once, in no order.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn find_upstream<'a>(
        &'a self,
        crew: &'a str,
        upstream: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<OwnedId>, LedgerError>>;

    /// Runs, newest first ([`RunFilter::matches`] says which).
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<Vec<OwnedId>, LedgerError>>;

    /// A task of this run waits for a person; it replaces the one that waited before, and the turn grows by one.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]: [`NoRun`](RegisterError::NoRun) or the ledger's own.
    fn task_waiting(
        &self,
        run: RunId,
        execution: RunId,
        task: TaskId,
    ) -> BoxFuture<'_, Result<PendingTask, RegisterError>>;

    /// The task of this run that waits, if one does.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn task_of(&self, run: RunId) -> BoxFuture<'_, Result<Option<PendingTask>, LedgerError>>;

    /// A person has answered this wait. `false`: it is another turn by now, and that one still waits. The turn is
    /// remembered, so that the next wait has a new one.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    fn task_answered(&self, run: RunId, answered: PendingTask) -> BoxFuture<'_, Result<bool, LedgerError>>;
}
