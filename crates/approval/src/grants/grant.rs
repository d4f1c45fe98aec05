use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use crewgate_core::{
    ApprovalId, ApproverSet, Effect, GrantId, InputValue, Operation, PrincipalKey, RequestId, RoleName,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// What a grant is limited to, besides its role and its time. All limits hold at once; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowing {
    /// Names of the resources it counts for; empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
    /// Inputs a call must carry, with exactly these values; empty: any. A call that carries no inputs does not fit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, InputValue>,
    /// How many calls that change something it lasts for; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<NonZeroU32>,
}

impl Narrowing {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the limits let it count for this operation, uses aside. For none in particular (`None`) only what is
    /// not narrowed at all counts.
    #[must_use]
    pub fn admits(&self, operation: Option<&Operation>) -> bool {
        let Some(operation) = operation else { return self.is_none() };
        let carries = |(name, value): (&String, &InputValue)| {
            // Declared twice under one name, with two values: neither can be relied on.
            let mut given = operation.inputs.iter().filter(|(given, _)| given == name).peekable();
            given.peek().is_some() && given.all(|(_, given)| given == value)
        };
        (self.resources.is_empty() || self.resources.contains(&operation.resource.name))
            && self.inputs.iter().all(carries)
    }
}

/// A role that people agreed to give to somebody for a while. Nothing in it ever changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewGrant {
    /// Its id.
    pub id: GrantId,
    /// The request that gave it.
    pub request: RequestId,
    /// To whom: this identity, by no other of the same person.
    pub principal: PrincipalKey,
    /// Which role.
    pub role: RoleName,
    /// When it was given.
    pub given: Timestamp,
    /// When it begins; not before it was given.
    pub from: Timestamp,
    /// When it ends. At exactly this instant it has ended.
    pub until: Timestamp,
    /// What it is limited to.
    pub narrowed: Narrowing,
    /// What it was asked for.
    pub reason: String,
    /// The approval that gave it: there is no other way.
    pub approval: ApprovalId,
    /// The sets whose people agreed. Whoever may speak for one of them may take it away.
    pub sets: BTreeSet<ApproverSet>,
}

/// That a grant was taken or given back before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Who did.
    pub by: PrincipalKey,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub reason: Option<String>,
}

/// A wish to take a grant away, on its way to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which grant.
    pub grant: GrantId,
    /// The request that says so.
    pub request: RequestId,
    /// Who says so.
    pub by: PrincipalKey,
    /// The sets they may speak for, resolved when they said so.
    pub sets: BTreeSet<ApproverSet>,
    /// In their words.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Where a grant stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever reads a state must treat a new one as a change of contract"
)]
pub enum GrantState {
    /// It has not begun.
    Coming,
    /// It counts.
    Live,
    /// Its uses are spent: until its end it counts for calls that only read.
    UsedUp,
    /// Its time is over.
    Ended,
    /// Somebody took it away.
    Revoked,
}

impl GrantState {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coming => "coming",
            Self::Live => "live",
            Self::UsedUp => "used_up",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
        }
    }

    /// Whether it can never count again.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Revoked)
    }
}

/// A grant and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What was given.
    pub given: NewGrant,
    /// Uses spent so far; only counted where uses are limited.
    pub used: u32,
    /// That it was taken away.
    pub revoked: Option<Revoked>,
}

impl Grant {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> GrantId {
        self.given.id
    }

    /// Where it stands at this instant. Ends come by this evaluation; no sweeper has to run.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> GrantState {
        if self.revoked.is_some() {
            GrantState::Revoked
        } else if now >= self.given.until {
            GrantState::Ended
        } else if now < self.given.from {
            GrantState::Coming
        } else if self.given.narrowed.uses.is_some_and(|uses| self.used >= uses.get()) {
            GrantState::UsedUp
        } else {
            GrantState::Live
        }
    }

    /// Whether its role is held for this operation at this instant; `None` for no operation in particular.
    #[must_use]
    pub fn counts_for(&self, operation: Option<&Operation>, now: Timestamp) -> bool {
        let stands = match self.state_at(now) {
            GrantState::Live => true,
            GrantState::UsedUp => operation.is_some_and(|operation| operation.effect == Effect::Read),
            GrantState::Coming | GrantState::Ended | GrantState::Revoked => false,
        };
        stands && self.given.narrowed.admits(operation)
    }
}
