use std::{collections::BTreeSet, fmt, num::NonZeroUsize, time::Duration};

use crewgate_core::{ApprovalId, ApproverSet, Principal, PrincipalKey, RunId, Timestamp};
use futures_util::future::BoxFuture;

use crate::{
    Approval, Ballot, BreakError, Broken, End, GlassBreak, Hindsight, Hint, Lease, NewApproval, Phase,
    ReleaseMode, Resolution, ReviewError, State,
};

/// The store could not do it, or cannot say whether it did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "either it is known that nothing happened or it is not")]
pub enum StoreError {
    /// Nothing was changed.
    Unavailable(String),
    /// It was asked to change something, and whether it did is not known.
    Unknown(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "the store is not available: {reason}"),
            Self::Unknown(reason) => write!(f, "the outcome is not known: {reason}"),
        }
    }
}

impl std::error::Error for StoreError {}

macro_rules! error {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $(($inner:ty))? => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant $(($inner))?,)+
            /// The store failed.
            Store(crate::StoreError),
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$variant { .. } => f.write_str($text),)+
                    Self::Store(error) => error.fmt(f),
                }
            }
        }

        impl std::error::Error for $name {}

        impl From<crate::StoreError> for $name {
            fn from(error: crate::StoreError) -> Self {
                Self::Store(error)
            }
        }
    };
}
pub(crate) use error;

error!(
    /// Why an approval was not opened.
    OpenError {
        /// Nobody is asked, or one set is asked twice.
        Invalid => "it asks nobody, or one set twice",
        /// The id or the run already has one.
        Exists => "there is one with this id or for this run already",
        /// The name its caller chose stands for another request.
        KeyTaken => "the name its caller chose stands for another request",
    }
);
error!(
    /// Why a vote was not counted.
    VoteError {
        /// This person has spoken already, perhaps by another identity.
        AlreadyVoted => "you have decided on this already",
        /// The voter read another request than the one that waits.
        DigestMismatch => "the page you decided on is not the request that waits",
        /// The voter may not speak for any set that is asked, or is not a person.
        NotEligible => "you are not among the people who are asked",
        /// It no longer waits.
        NotPending(State) => "it no longer waits for a decision",
        /// The voter asked for it, by this or another identity.
        SelfApproval => "nobody decides on their own request",
        /// There is none with this id.
        Unknown => "there is no such approval",
    }
);
error!(
    /// Why it was not taken back.
    CancelError {
        /// Only the requester may.
        NotRequester => "only who asked may take it back",
        /// It is being started, or has ended.
        TooLate(State) => "it can no longer be taken back",
        /// There is none with this id.
        Unknown => "there is no such approval",
    }
);
error!(
    /// Why the holder of a lease could not move it.
    LeaseError {
        /// Another attempt has it, it ended, or this attempt was settled already.
        Lost => "this attempt no longer holds the approval",
        /// It is said to have been answered but was never sent, or is given back but was sent.
        OutOfOrder => "that does not follow from what this attempt has done",
        /// There is none with this id.
        Unknown => "there is no such approval",
    }
);

error!(
    /// Why a finding was not taken.
    ResolveError {
        /// Only those who are asked to approve it may say, and only people.
        NotEligible => "you are not among the people who are asked",
        /// It is known how it stands.
        NotIndeterminate(State) => "it is known how it stands",
        /// Nobody says so of their own request.
        OwnRequest => "nobody settles their own request",
        /// There is none with this id.
        Unknown => "there is no such approval",
    }
);

/// Approvals to list at most, when a caller names no number: one screen and then some.
pub const DEFAULT_LIST_LIMIT: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// Which approvals to list; all conditions hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The instant at which states are evaluated.
    pub now: Timestamp,
    /// In this phase at that instant.
    pub phase: Option<Phase>,
    /// Asked for by this principal.
    pub requester: Option<PrincipalKey>,
    /// Asking one of these sets at that instant; `None` for any.
    pub sets: Option<BTreeSet<ApproverSet>>,
    /// Only those the gateway may start by itself.
    pub auto_run: bool,
    /// Only broken glasses that nobody has looked at.
    pub unreviewed: bool,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// Only those that come after this [place](Approval::place) in that order.
    pub after: Option<(Timestamp, ApprovalId)>,
    /// At most this many.
    pub limit: NonZeroUsize,
}

impl Filter {
    /// All of them, oldest first, at most [`DEFAULT_LIST_LIMIT`].
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self {
            now,
            phase: None,
            requester: None,
            sets: None,
            auto_run: false,
            unreviewed: false,
            newest_first: false,
            after: None,
            limit: DEFAULT_LIST_LIMIT,
        }
    }

    /// Those in this phase.
    #[must_use]
    pub const fn phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Whether this one is meant; order and limit are the store's.
    #[must_use]
    pub fn matches(&self, approval: &Approval) -> bool {
        let place = approval.place();
        self.after.is_none_or(|after| if self.newest_first { place < after } else { place > after })
            && self.phase.is_none_or(|phase| approval.state_at(self.now).phase() == phase)
            && self.requester.as_ref().is_none_or(|key| approval.asked.requester.key == *key)
            && self.sets.as_ref().is_none_or(|sets| !approval.needs_of(sets, self.now).is_empty())
            && (!self.auto_run
                || approval.broken.is_some()
                || matches!(approval.asked.release, ReleaseMode::AutoRun { .. }))
            && (!self.unreviewed || approval.broken.as_ref().is_some_and(Broken::is_open))
    }
}

/// Where approvals live. It offers transitions, never "read, change, write back": each is one of the functions of
/// [`machine`](crate::machine) applied to the stored row and written only over the version that was read, together
/// with the fact that function returns, or not at all.
///
/// An answer `Ok` means that the row and its fact are durable. Implementations are kept equal by one conformance
/// suite.
///
/// # Cancel safety
///
/// Dropping a future of this trait leaves the transition either wholly done or not done; which, `find` tells.
pub trait ApprovalStore: Send + Sync + 'static {
    /// Puts a request before people.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was opened unless it says [`StoreError::Unknown`].
    fn open(&self, new: NewApproval) -> BoxFuture<'_, Result<Approval, OpenError>>;

    /// Counts a vote and tells where the approval stands after it.
    ///
    /// # Errors
    ///
    /// [`VoteError`]; the vote was not counted unless it says [`StoreError::Unknown`].
    fn vote(&self, ballot: Ballot) -> BoxFuture<'_, Result<State, VoteError>>;

    /// The requester takes it back.
    ///
    /// # Errors
    ///
    /// [`CancelError`].
    fn cancel<'a>(
        &'a self,
        id: ApprovalId,
        by: &'a Principal,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<State, CancelError>>;

    /// Takes the right to start it, for this long. `None` when it is not (or no longer) to be started, or when
    /// somebody else has that right: among any number of callers at most one gets a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn claim(
        &self,
        id: ApprovalId,
        now: Timestamp,
        lease_for: Duration,
    ) -> BoxFuture<'_, Result<Option<Lease>, StoreError>>;

    /// Gives the right back: nothing was sent.
    ///
    /// # Errors
    ///
    /// [`LeaseError`].
    fn return_unsent(&self, lease: Lease, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// Policy no longer says what was approved: it can never be started again.
    ///
    /// # Errors
    ///
    /// [`LeaseError`].
    fn invalidate(
        &self,
        lease: Lease,
        reason: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// From here on bytes may leave. A store that also keeps the record does this in the transaction that makes the
    /// intent durable, and whoever sends waits for that.
    ///
    /// # Errors
    ///
    /// [`LeaseError`]: then nothing may be sent.
    fn mark_sent(&self, lease: Lease, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// How the attempt ended. A late answer is taken even after the lease has ended: it is the truth.
    ///
    /// # Errors
    ///
    /// [`LeaseError`].
    fn settle(&self, lease: Lease, end: End, now: Timestamp) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// Its requester lets it go without those who are asked.
    ///
    /// # Errors
    ///
    /// [`BreakError`]; it waits as it did unless it says [`StoreError::Unknown`].
    fn break_glass(&self, glass: GlassBreak) -> BoxFuture<'_, Result<State, BreakError>>;

    /// Somebody else looks at a broken glass.
    ///
    /// # Errors
    ///
    /// [`ReviewError`]; it was not taken unless it says [`StoreError::Unknown`].
    fn review(&self, hindsight: Hindsight) -> BoxFuture<'_, Result<(), ReviewError>>;

    /// A person says what became of it, when nobody else can.
    ///
    /// # Errors
    ///
    /// [`ResolveError`].
    fn resolve(&self, resolution: Resolution) -> BoxFuture<'_, Result<State, ResolveError>>;

    /// The approval of this id.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn find(&self, id: ApprovalId) -> BoxFuture<'_, Result<Option<Approval>, StoreError>>;

    /// Whether there was one of this id, of which nothing is left because its requester was erased: none of the other
    /// functions knows it. The default keeps no trace of what it forgets.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn is_erased(&self, _id: ApprovalId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// The approval whose ticket has this run id.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn by_run(&self, run: RunId) -> BoxFuture<'_, Result<Option<Approval>, StoreError>>;

    /// How many requests of this identity wait for a decision at this instant.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn waiting<'a>(
        &'a self,
        requester: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<usize, StoreError>>;

    /// The approvals meant by this filter.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<Approval>, StoreError>>;

    /// Rings when something may have changed. Only a hint: a waiter looks at the row too, from time to time. The
    /// default never rings.
    fn hint(&self) -> Hint {
        Hint::default()
    }
}
