use std::{collections::BTreeSet, fmt};

use crewgate_core::{ApprovalId, RequestId, RunId, Timestamp};

use crate::Phase;

/// Something a leaf's record says in clear, by which the leaf is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Word {
    /// The verb that was asked for.
    Action(String),
    /// What policy decided: `allow`, `ask`, `refuse`.
    Decision(String),
    /// What happened; see [`Entry::kind`](crate::Entry::kind).
    Kind(String),
    /// An entity of which masks found something.
    Masked(String),
    /// What was acted on.
    Resource(String),
    /// A role that decided.
    Role(String),
    /// A rule that decided.
    Rule(String),
}

/// As an index keeps it: no two words are spelled alike.
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self {
            Self::Action(text) => ("action", text),
            Self::Decision(text) => ("decision", text),
            Self::Kind(text) => ("kind", text),
            Self::Masked(text) => ("masked", text),
            Self::Resource(text) => ("resource", text),
            Self::Role(text) => ("role", text),
            Self::Rule(text) => ("rule", text),
        };
        write!(f, "{name}={text}")
    }
}

/// Which leaves to read. All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Leaves after this one; with `newest_first`, before it. `None`: from the beginning, or the end.
    pub after: Option<u64>,
    /// At most this many.
    pub limit: u32,
    /// From the newest back.
    pub newest_first: bool,
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this request.
    pub request: Option<RequestId>,
    /// Of this approval.
    pub approval: Option<ApprovalId>,
    /// Of this principal, spelled `issuer:subject`: what they did, and what nobody else did for a request or run of
    /// theirs.
    pub principal: Option<String>,
    /// Of this phase.
    pub phase: Option<Phase>,
    /// Written down at this instant or later.
    pub since: Option<Timestamp>,
    /// Written down before this instant.
    pub until: Option<Timestamp>,
    /// That say all of this.
    pub words: BTreeSet<Word>,
}

/// Leaves a query gives when it does not say how many: a page for people.
pub const DEFAULT_QUERY_LIMIT: u32 = 200;

impl Default for Query {
    fn default() -> Self {
        Self {
            after: None,
            limit: DEFAULT_QUERY_LIMIT,
            newest_first: false,
            run: None,
            request: None,
            approval: None,
            principal: None,
            phase: None,
            since: None,
            until: None,
            words: BTreeSet::new(),
        }
    }
}

impl Query {
    /// All leaves of a run, up to the limit.
    #[must_use]
    pub fn run(run: RunId) -> Self {
        Self { run: Some(run), ..Self::default() }
    }

    /// All leaves of a request, up to the limit.
    #[must_use]
    pub fn request(request: RequestId) -> Self {
        Self { request: Some(request), ..Self::default() }
    }

    /// At most this many.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves after this one (before it, newest first).
    #[must_use]
    pub fn after(mut self, leaf: u64) -> Self {
        self.after = Some(leaf);
        self
    }

    /// Only this phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// From the newest back.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }
}
