use std::collections::BTreeSet;

use bytes::Bytes;
use crewgate_core::{
    ApprovalId, ApprovalStep, DelegationStep, Effect, Fact, GrantId, GrantStep, Keyed, PrincipalKey,
    RequestId, RunId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::KINDS;

/// Which moment of a call's life an [`Entry`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Somebody read the record, or what masks had replaced.
    Access,
    /// An approval moved.
    Approval,
    /// The configuration was read.
    Config,
    /// An administrator, or the gateway itself, did something else.
    Control,
    /// A delegation moved.
    Delegation,
    /// Something the record held beside its leaves was given up: a person's, or the oldest.
    Erasure,
    /// A temporary grant moved.
    Grant,
    /// A call is about to leave; durable before its first upstream byte.
    Intent,
    /// The keys that sign the record changed.
    Key,
    /// A call ended: after the last byte of its answer, or when it broke off.
    Outcome,
    /// Other rules decide from here on, or would have decided otherwise.
    Policy,
    /// A call ended and nothing of it left: refused, or withdrawn by its caller.
    Refused,
    /// The upstream called back.
    Webhook,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Access,
        Self::Approval,
        Self::Config,
        Self::Control,
        Self::Erasure,
        Self::Grant,
        Self::Intent,
        Self::Key,
        Self::Outcome,
        Self::Policy,
        Self::Refused,
        Self::Webhook,
    ];

    /// The word on the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Approval => "approval",
            Self::Config => "config",
            Self::Control => "control",
            Self::Delegation => "delegation",
            Self::Erasure => "erasure",
            Self::Grant => "grant",
            Self::Intent => "intent",
            Self::Key => "key",
            Self::Outcome => "outcome",
            Self::Policy => "policy",
            Self::Refused => "refused",
            Self::Webhook => "webhook",
        }
    }
}

/// One piece of an answer's body as it was handed to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Microseconds since the request arrived.
    pub offset_micros: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// What goes on the record at one moment. Each entry stands for itself: an outcome repeats the facts of its intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written down.
    pub time: Timestamp,
    /// When the request arrived; offsets of frames count from here. Equal to `time` where there was no request.
    pub started: Timestamp,
    /// Which moment.
    pub phase: Phase,
    /// The request it belongs to.
    pub request: RequestId,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// The approval it belongs to.
    pub approval: Option<ApprovalId>,
    /// What is known, in the order it was noted.
    pub facts: Vec<Fact>,
    /// The request's body as it may be stored; masking it is the work of whoever hands it in.
    pub request_body: Option<Bytes>,
    /// The answer as the caller saw it.
    pub frames: Vec<Frame>,
}

impl Entry {
    /// An entry without run, approval, bodies or facts.
    #[must_use]
    pub fn new(phase: Phase, request: RequestId, time: Timestamp) -> Self {
        Self {
            time,
            started: time,
            phase,
            request,
            run: None,
            approval: None,
            facts: Vec::new(),
            request_body: None,
            frames: Vec::new(),
        }
    }

    /// An entry that tells what somebody, or the gateway itself, did. Its phase follows from the first word, one of
    /// [`KINDS`]; it is [`Phase::Control`] for any other.
    #[must_use]
    pub fn told(
        what: impl Into<String>,
        by: Option<PrincipalKey>,
        request: RequestId,
        time: Timestamp,
    ) -> Self {
        let what = what.into();
        let known = what.split(' ').next().filter(|word| KINDS.contains(word));
        let phase = match known.and_then(|word| word.split('.').next()) {
            Some("access") => Phase::Access,
            Some("approval") => Phase::Approval,
            Some("config") => Phase::Config,
            Some("erasure") => Phase::Erasure,
            Some("key") => Phase::Key,
            Some("policy") => Phase::Policy,
            _ => Phase::Control,
        };
        Self::new(phase, request, time).with_fact(Fact::Control { by, what })
    }

    /// Adds a fact; a fact that names an approval makes the entry belong to it.
    #[must_use]
    pub fn with_fact(mut self, fact: Fact) -> Self {
        self.approval = self.approval.or(approval_of(&fact));
        self.facts.push(fact);
        self
    }

    /// Says which run it belongs to.
    #[must_use]
    pub fn with_run(mut self, run: Option<RunId>) -> Self {
        self.run = run;
        self
    }

    /// Who did it, as far as the facts say: the caller, the approver or the administrator.
    #[must_use]
    pub fn principal(&self) -> Option<&PrincipalKey> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Authenticated { principal, .. } => Some(principal),
            Fact::Approval {
                step:
                    ApprovalStep::Voted { by, .. }
                    | ApprovalStep::Cancelled { by }
                    | ApprovalStep::GlassBroken { by, .. }
                    | ApprovalStep::Resolved { by, .. }
                    | ApprovalStep::Reviewed { by, .. },
                ..
            } => Some(by),
            Fact::Delegation {
                step: DelegationStep::Given { by, .. } | DelegationStep::Ended { by },
                ..
            } => Some(by),
            Fact::Grant { step: GrantStep::Revoked { by, .. }, .. } => Some(by),
            Fact::Control { by, .. } => by.as_ref(),
            _ => None,
        })
    }

    /// The approval this call carries out and the number of the attempt, when it does.
    #[must_use]
    pub fn release(&self) -> Option<(ApprovalId, u64)> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Released { approval, lease } => Some((*approval, *lease)),
            _ => None,
        })
    }

    /// The temporary grants policy relied on when it allowed this call.
    #[must_use]
    pub fn grants(&self) -> BTreeSet<GrantId> {
        let decided = self.facts.iter().rev().find_map(|fact| match fact {
            Fact::Decided { outcome, basis, .. } => Some((outcome, basis)),
            _ => None,
        });
        decided.filter(|(outcome, _)| *outcome == "allow").map(|(_, b)| b.grants.clone()).unwrap_or_default()
    }

    /// The name its caller chose for it, when it did.
    #[must_use]
    pub fn keyed(&self) -> Option<&Keyed> {
        self.facts.iter().rev().find_map(|fact| match fact {
            Fact::Keyed(keyed) => Some(keyed),
            _ => None,
        })
    }

    /// Whether it changes something upstream; what does not say so does.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let described = self.facts.iter().rev().find_map(|fact| match fact {
            Fact::Described { effect, .. } => Some(*effect),
            _ => None,
        });
        described.unwrap_or(Effect::Write)
    }
}

/// The approval a fact names.
pub(crate) fn approval_of(fact: &Fact) -> Option<ApprovalId> {
    match fact {
        Fact::Approval { approval, .. }
        | Fact::Grant { step: GrantStep::Given { approval, .. }, .. }
        | Fact::Released { approval, .. } => Some(*approval),
        _ => None,
    }
}

/// The run a fact names.
pub(crate) fn run_of(fact: &Fact) -> Option<RunId> {
    match fact {
        Fact::Registered { run, .. } => Some(*run),
        _ => None,
    }
}
