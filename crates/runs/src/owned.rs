use std::num::NonZeroUsize;

use crewgate_core::{IdKind, PrincipalKey, RunId, TaskId, Timestamp};
use uuid::Uuid;

/// An id of our own, whose it is and what it stands for upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores outside this crate make it from a row")]
pub struct OwnedId {
    /// The id as callers know it: a version 4 UUID with 122 random bits.
    pub own: Uuid,
    /// What it stands for.
    pub kind: IdKind,
    /// The crew whose upstream id it is.
    pub crew: String,
    /// Who started the run it belongs to.
    pub owner: PrincipalKey,
    /// The run it belongs to. For the run's first id this is the same UUID as `own`.
    pub run: RunId,
    /// The upstream's spelling; `None` for a run that has not started yet.
    pub upstream: Option<String>,
    /// When it was given out.
    pub at: Timestamp,
}

/// A run that is about to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a run is started by somebody, on a crew, at an instant")]
pub struct NewRun {
    /// The crew that runs it.
    pub crew: String,
    /// Who starts it: the owner for good.
    pub owner: PrincipalKey,
    /// Now.
    pub at: Timestamp,
}

/// A task of a run that waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores outside this crate make it from a row")]
pub struct PendingTask {
    /// The execution to resume, as callers know it: the run's id, or one that a later resume was given.
    pub execution: RunId,
    /// The task, as callers know it.
    pub task: TaskId,
    /// Counts how often tasks of this run have waited; tells two waits for the same task apart.
    pub turn: u64,
}

/// Runs to list at most, when a caller names no number: one screen and then some.
pub const DEFAULT_LIST_LIMIT: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// Which runs to list; all conditions hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores outside this crate read it")]
pub struct RunFilter {
    /// Of this crew; `None` for any.
    pub crew: Option<String>,
    /// Started by this principal; `None` for any.
    pub owner: Option<PrincipalKey>,
    /// Given out before this instant; `None` for any. The last row's `at` leads to the next page.
    pub before: Option<Timestamp>,
    /// At most this many.
    pub limit: NonZeroUsize,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { crew: None, owner: None, before: None, limit: DEFAULT_LIST_LIMIT }
    }
}

impl RunFilter {
    /// Whether this id is meant; order and limit are the store's. Only a run's first id is ever meant: ids that a
    /// resume added and tasks are part of a run, not runs.
    #[must_use]
    pub fn matches(&self, id: &OwnedId) -> bool {
        id.kind == IdKind::Run
            && id.own == id.run.as_uuid()
            && self.crew.as_ref().is_none_or(|crew| *crew == id.crew)
            && self.owner.as_ref().is_none_or(|owner| *owner == id.owner)
            && self.before.is_none_or(|before| id.at < before)
    }
}
