//! Break-glass: a request that its requester lets go without those who were asked, and that somebody else must look at
//! afterwards.

use std::{collections::BTreeSet, time::Duration};

use crewgate_core::{ApprovalId, ApproverSet, Principal, PrincipalKey, Timestamp, Verdict};
use serde::{Deserialize, Serialize};

use crate::{Digest, Gift, State, store::error};

/// Characters that the reason of break-glass has at least: a sentence, which somebody will read.
pub const LEAST_GLASS_REASON: usize = 20;

/// Broken glasses of one person that may wait for their review at once; another one must wait for that.
pub const MOST_UNREVIEWED: usize = 3;

/// A wish to break the glass, on its way to the store. Whoever makes one has seen that its principal may, and has just
/// proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlassBreak {
    /// Which approval.
    pub approval: ApprovalId,
    /// The digest of what they read.
    pub digest: Digest,
    /// Who: the requester, by a token of now.
    pub by: Principal,
    /// The sets they need not wait for.
    pub instead_of: BTreeSet<ApproverSet>,
    /// Who may look at it afterwards.
    pub reviewers: BTreeSet<ApproverSet>,
    /// How soon somebody must have.
    pub within: Duration,
    /// In their words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Of a request for a role: what it gives at once.
    pub gives: Option<Gift>,
}

/// That the glass was broken, and what somebody else found of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Who did, by the token of that time.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub reason: String,
    /// Who may look at it.
    pub reviewers: BTreeSet<ApproverSet>,
    /// When somebody must have; later, whoever broke it breaks no other.
    pub due: Timestamp,
    /// What they found.
    pub review: Option<Review>,
}

impl Broken {
    /// Whether nobody has looked at it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.review.is_none()
    }
}

/// What somebody found of a broken glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who.
    pub by: PrincipalKey,
    /// When.
    pub at: Timestamp,
    /// Whether it was right.
    pub verdict: Verdict,
    /// In their words.
    pub reason: String,
}

/// A review on its way to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindsight {
    /// Of which approval.
    pub approval: ApprovalId,
    /// Who looked.
    pub by: Principal,
    /// Sets they may speak for, resolved when they spoke.
    pub sets: BTreeSet<ApproverSet>,
    /// Whether it was right.
    pub verdict: Verdict,
    /// In their words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

error!(
    /// Why the glass was not broken.
    BreakError {
        /// What they read is another request than the one that waits.
        DigestMismatch => "the page you decided on is not the request that waits",
        /// One of their broken glasses was not reviewed in time, or as many as may be wait for a review.
        Locked => "an earlier break-glass of yours must be reviewed by somebody else first",
        /// A set is asked that break-glass does not stand in for.
        NotCovered => "break-glass does not stand in for everybody who is asked",
        /// It no longer waits.
        NotPending(State) => "it no longer waits for a decision",
        /// Only the person who asked, as the identity that asked, may.
        NotRequester => "only the person who asked may break the glass for it",
        /// The reason is shorter than [`LEAST_GLASS_REASON`].
        Terse => "say why in a sentence: it is reviewed",
        /// There is none with this id.
        Unknown => "there is no such approval",
    }
);
error!(
    /// Why a review was not taken.
    ReviewError {
        /// Nobody broke a glass there, or somebody has looked at it already.
        Closed => "no break-glass waits for a review there",
        /// They may not speak for any of those who review, or are not a person.
        NotEligible => "you are not among the people who review it",
        /// Nobody reviews their own.
        OwnRequest => "nobody reviews their own break-glass",
        /// There is none with this id.
        Unknown => "there is no such approval",
    }
);
