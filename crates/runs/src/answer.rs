use std::{collections::HashMap, fmt};

use bytes::Bytes;
use crewgate_core::{IdKind, Operation, PrincipalKey, Refusal, RunId};
use http::response::Parts;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::{OwnedId, PendingTask};

/// Knows where ids stand in the upstream's answers. The one place that reads their format.
pub trait AnswerIds: Send + Sync + 'static {
    /// An answer that has been read.
    type Answer: Send;

    /// Reads the whole body of the answer to this operation.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] to answer with when it cannot be read: an answer that is not understood is not passed on.
    fn read(&self, operation: &Operation, head: &Parts, body: &Bytes) -> Result<Self::Answer, Refusal>;

    /// Every id in it, each once per place.
    fn ids(&self, answer: &Self::Answer) -> Vec<FoundId>;

    /// The bytes the caller gets, with the id from `own` wherever it gives one.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] to answer with when it cannot be written.
    fn write(&self, answer: Self::Answer, own: &OwnIds) -> Result<Bytes, Refusal>;
}

/// An id in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an id and where it stands")]
pub struct FoundId {
    /// The upstream's spelling.
    pub upstream: String,
    /// Where it stands.
    pub place: Place,
}

/// Where an id stands, and so what may be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever finds ids must say which of these it is")]
pub enum Place {
    /// Where ids stand, but nothing says that later calls may use this one. Unless it is known it is shown as a
    /// stand-in that opens nothing.
    Named,
    /// The upstream gives out a run that this operation has just started.
    NewRun,
    /// The upstream gives out an id of the run that this operation is about.
    OfRun(IdKind),
    /// In other text. Unless it is known it is left alone: it may be anything.
    Text,
}

/// What stands for each upstream id in one answer, as its reader may see it.
pub struct OwnIds {
    pub(crate) crew: String,
    pub(crate) owner: PrincipalKey,
    pub(crate) run: Option<RunId>,
    pub(crate) pending: Option<PendingTask>,
    pub(crate) known: HashMap<String, OwnedId>,
}

impl OwnIds {
    /// What to write instead of this upstream id; `None`: leave it. `named` says that it stands where ids stand.
    ///
    /// An id that belongs to somebody else, and a named one that nobody knows, get a stand-in: the same one in every
    /// answer about this run, and an id nobody can look up.
    #[must_use]
    pub fn own(&self, upstream: &str, named: bool) -> Option<Uuid> {
        // UUIDs are equal in either case; ledgers compare bytes.
        let known = self.known.get(upstream).or_else(|| self.known.get(&upstream.to_ascii_lowercase()));
        match known {
            Some(id) if id.owner == self.owner => Some(id.own),
            Some(_) => Some(self.stand_in(upstream)),
            None if named => Some(self.stand_in(upstream)),
            None => None,
        }
    }

    /// The run the answer is about; for a kickoff, the one that has just started.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        self.run
    }

    /// The task of that run that waits for a person.
    #[must_use]
    pub fn pending_task(&self) -> Option<PendingTask> {
        self.pending
    }

    fn stand_in(&self, upstream: &str) -> Uuid {
        let scope = self.run.map_or_else(|| self.owner.to_string(), |run| run.to_string());
        let mut hash = Sha256::new();
        for part in ["crewgate stand-in", &self.crew, &scope, &upstream.to_ascii_lowercase()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        // Version 8 (RFC 9562 section 5.8), so that none can equal an id that was given out.
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Debug for OwnIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnIds")
            .field("run", &self.run)
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}
