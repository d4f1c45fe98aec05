use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use crewgate_core::{
    ApprovalId, ApproverSet, Basis, DelegationId, Duties, Keyed, Operation, Outgoing, Principal,
    PrincipalKey, RequestId, RunId, Timestamp, TokenFacts, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::{Broken, Digest, Gift, wire};

/// How many different people of one set must say yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The set.
    pub set: ApproverSet,
    /// People.
    pub count: NonZeroU32,
    /// Who may speak for the set too, while nobody decides; in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Tier>,
}

impl Need {
    /// Who may speak for it so long after it was asked for.
    fn voices(&self, waited: Duration) -> impl Iterator<Item = &ApproverSet> {
        let reached = self.then.iter().filter(move |tier| tier.after <= waited);
        std::iter::once(&self.set).chain(reached.map(|tier| &tier.set))
    }
}

/// Whom a request goes to when it has waited for so long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// The set whose people may speak then.
    pub set: ApproverSet,
    /// After how long, counted from when it was asked for.
    pub after: Duration,
}

/// Who starts an approved request that nobody holds open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the owner comes back or the gateway starts it")]
pub enum ReleaseMode {
    /// The owner, who comes back with a valid token: fresh groups decide.
    #[default]
    Claim,
    /// The gateway, as soon as it is approved, on the authority of the groups seen when it was asked for.
    AutoRun {
        /// How old those groups may be; older ones need a claim.
        max_age: Duration,
    },
}

/// A request that needs people, as it is put before them. Nothing in it ever changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApproval {
    /// Its id, which is also the address people open.
    pub id: ApprovalId,
    /// The request that asked.
    pub request: RequestId,
    /// The ticket's own run id, where the caller was or may be given one.
    pub run: Option<RunId>,
    /// Who asked.
    pub requester: Principal,
    /// What was asked.
    pub operation: Operation,
    /// The bytes that will be sent: shown, digested and approved.
    #[serde(with = "wire::outgoing")]
    pub outgoing: Outgoing,
    /// Where they will be sent: the upstream's address, part of the digest.
    pub upstream: String,
    /// Over all of that; see [`digest`](crate::digest).
    pub digest: Digest,
    /// Who must say yes: every one of these. Sets are distinct and there is at least one.
    pub needs: Vec<Need>,
    /// What policy asked for; the release must be decided with equal duties.
    pub duties: Duties,
    /// Why policy asked.
    pub basis: Basis,
    /// Who starts it once it is approved.
    pub release: ReleaseMode,
    /// When it was asked for.
    pub opened: Timestamp,
    /// When it ends undecided.
    pub expires: Timestamp,
    /// How long after the last yes it may be started.
    pub usable_for: Duration,
    /// The caller's own name for it, where it chose one: whoever sends it again finds this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyed: Option<Keyed>,
}

/// Where an approval stands. What is stored can be older than the clock: ask [`Approval::state_at`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever reads a state must treat a new one as a change of contract"
)]
pub enum State {
    /// Waits for people.
    Pending,
    /// May be started, once.
    Approved {
        /// When the last yes came.
        at: Timestamp,
        /// Until when it may be started.
        until: Timestamp,
    },
    /// Somebody is starting it.
    Executing {
        /// When the last yes came.
        at: Timestamp,
        /// Until when it may be started.
        until: Timestamp,
        /// The attempt: only its holder may move it.
        lease: u64,
        /// When the attempt loses its right.
        lease_ends: Timestamp,
        /// Whether the intent is durable, and bytes may therefore have left.
        sent: bool,
    },
    /// It was sent and answered.
    Executed {
        /// When the answer was complete.
        at: Timestamp,
    },
    /// It could not be sent; nothing reached the upstream.
    Failed {
        /// Why.
        reason: String,
    },
    /// Somebody who may said no.
    Denied {
        /// Who.
        by: PrincipalKey,
        /// Their words.
        reason: Option<String>,
    },
    /// Nobody decided, or nobody started it, in time.
    Expired,
    /// The requester took it back.
    Cancelled {
        /// Who did.
        by: PrincipalKey,
    },
    /// When it was started, policy no longer said what had been approved.
    Invalidated {
        /// What differed.
        reason: String,
    },
    /// It was sent and nobody knows what became of it. Never sent again by itself.
    Indeterminate,
}

/// The name of a [`State`], for columns and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "one for each state")]
#[expect(missing_docs, reason = "each is documented on the state of the same name")]
pub enum Phase {
    Pending,
    Approved,
    Executing,
    Executed,
    Failed,
    Denied,
    Expired,
    Cancelled,
    Invalidated,
    Indeterminate,
}

impl Phase {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Invalidated => "invalidated",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// Whether the state can never change again. `Indeterminate` is not among them: its own late answer or a person
    /// may still settle it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Executed
                | Self::Failed
                | Self::Denied
                | Self::Expired
                | Self::Cancelled
                | Self::Invalidated
        )
    }
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Pending => Phase::Pending,
            Self::Approved { .. } => Phase::Approved,
            Self::Executing { .. } => Phase::Executing,
            Self::Executed { .. } => Phase::Executed,
            Self::Failed { .. } => Phase::Failed,
            Self::Denied { .. } => Phase::Denied,
            Self::Expired => Phase::Expired,
            Self::Cancelled { .. } => Phase::Cancelled,
            Self::Invalidated { .. } => Phase::Invalidated,
            Self::Indeterminate => Phase::Indeterminate,
        }
    }
}

/// What one person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub approver: Principal,
    /// Sets they may speak for, resolved when they spoke; once counted, those of the needs.
    pub sets: BTreeSet<ApproverSet>,
    /// Voices they speak with by delegation, resolved when they spoke.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<Loan>,
    /// What.
    pub verdict: Verdict,
    /// In their words.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Somebody else's voice, in a vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loan {
    /// By which delegation.
    pub delegation: DelegationId,
    /// Whose voice.
    pub lender: Principal,
    /// Sets of the lender's own that they speak for.
    pub sets: BTreeSet<ApproverSet>,
}

/// A vote on its way to the store: on which approval, and of what the voter saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// Which approval.
    pub approval: ApprovalId,
    /// The digest on the page the voter read; another one means they read something else.
    pub digest: Digest,
    /// What they say.
    pub vote: Vote,
    /// Of a request for a role: what the last yes gives with it.
    pub gives: Option<Gift>,
}

/// The right to start an approved request: this attempt and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Of which approval.
    pub approval: ApprovalId,
    /// Which attempt, counted from 1.
    pub number: u64,
}

/// How an attempt that held a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it was answered, never sent, or nobody knows")]
pub enum End {
    /// The upstream answered.
    Executed,
    /// Nothing reached the upstream.
    Failed {
        /// Why.
        reason: String,
    },
    /// Bytes may have reached the upstream and no answer came.
    Indeterminate,
}

/// What a person found out about a request whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it ran or it did not")]
pub enum Finding {
    /// It ran.
    Ran {
        /// The upstream's id of the run, where they found one.
        upstream: Option<String>,
    },
    /// It did not run.
    DidNotRun,
}

/// A finding on its way to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// About which approval.
    pub approval: ApprovalId,
    /// Who looked.
    pub by: Principal,
    /// Sets they may speak for, resolved when they spoke.
    pub sets: BTreeSet<ApproverSet>,
    /// What they found.
    pub finding: Finding,
    /// How they know.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A request and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What was asked.
    pub asked: NewApproval,
    /// Where it was last moved to; what it is *now* is [`state_at`](Self::state_at).
    pub state: State,
    /// What people said, oldest first; one per person.
    pub votes: Vec<Vote>,
    /// That its requester broke the glass for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// Attempts to start it so far.
    pub leases: u64,
    /// Counts transitions: a store writes only over the version it read.
    pub version: u64,
}

impl Approval {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ApprovalId {
        self.asked.id
    }

    /// Where it stands at this instant. Ends come by this evaluation; no sweeper has to run.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        match &self.state {
            State::Pending if now >= self.asked.expires => State::Expired,
            State::Approved { until, .. } if now >= *until => State::Expired,
            // An attempt that ended before anything was sent never happened.
            State::Executing { at, until, lease_ends, sent: false, .. } if now >= *lease_ends => {
                if now >= *until { State::Expired } else { State::Approved { at: *at, until: *until } }
            }
            State::Executing { lease_ends, sent: true, .. } if now >= *lease_ends => State::Indeterminate,
            stored => stored.clone(),
        }
    }

    /// The sets that must say yes.
    #[must_use]
    pub fn sets(&self) -> BTreeSet<ApproverSet> {
        self.asked.needs.iter().map(|need| need.set.clone()).collect()
    }

    /// Whose people may speak at this instant: the sets, and those it has gone to since.
    #[must_use]
    pub fn voices(&self, now: Timestamp) -> BTreeSet<ApproverSet> {
        let waited = now.since(self.asked.opened);
        self.asked.needs.iter().flat_map(|need| need.voices(waited)).cloned().collect()
    }

    /// The needs that somebody who may speak for these sets can stand for at this instant.
    pub(crate) fn needs_of(&self, sets: &BTreeSet<ApproverSet>, now: Timestamp) -> BTreeSet<ApproverSet> {
        let waited = now.since(self.asked.opened);
        let stands = |need: &&Need| need.voices(waited).any(|voice| sets.contains(voice));
        self.asked.needs.iter().filter(stands).map(|need| need.set.clone()).collect()
    }

    /// Where it stands among others: by when it was asked for, and by its id.
    #[must_use]
    pub fn place(&self) -> (Timestamp, ApprovalId) {
        (self.asked.opened, self.id())
    }

    /// Whether this principal may start it, once it is approved: with the identity and client that asked, nobody else who
    /// acts for them, and the same roles left. With another it would not be what was approved, and a token that is
    /// narrower must not end what a wider one asked for.
    #[must_use]
    pub fn may_be_started_by(&self, principal: &Principal) -> bool {
        let Principal { key, client, token: asked, .. } = &self.asked.requester;
        let comes = &principal.token;
        *key == principal.key
            && *client == principal.client
            && asked.actors == comes.actors
            && asked.exchanged == comes.exchanged
    }

    /// For whom the gateway may start it by itself at this instant, once it is approved: the requester, where their
    /// groups were seen recently enough, or as they were seen when they broke the glass. `None`: they must come back.
    #[must_use]
    pub fn starts_for(&self, now: Timestamp) -> Option<Principal> {
        // Without a ticket nobody could ever read the answer.
        self.asked.run?;
        let requester = &self.asked.requester;
        match (&self.broken, self.asked.release) {
            // They broke the glass at the console, for what this client asked with what this token had.
            (Some(broken), _) => {
                let TokenFacts { actors, exchanged, .. } = requester.token.clone();
                let token = TokenFacts { actors, exchanged, ..broken.by.token.clone() };
                Some(Principal { client: requester.client.clone(), token, ..broken.by.clone() })
            }
            // The groups were seen when the token was issued.
            (None, ReleaseMode::AutoRun { max_age }) => {
                (now.since(requester.token.issued) <= max_age).then(|| requester.clone())
            }
            (None, ReleaseMode::Claim) => None,
        }
    }
}
