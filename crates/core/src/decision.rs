use std::{collections::BTreeSet, fmt, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ApprovalId, GrantId};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as a typed value.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The `@id` of a rule.
    RuleId
);
name!(
    /// A role, e.g. `run-summary-jobs`.
    RoleName
);
name!(
    /// A named set of people who may approve, e.g. `data-owners`.
    ApproverSet
);
name!(
    /// A named mask profile, e.g. `pii-basic`.
    MaskProfile
);
name!(
    /// Digest of the rule set that decided, in hex.
    PolicyHash
);

/// At most this many calls in this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// Calls.
    pub calls: NonZeroU32,
    /// In this long.
    pub period: Duration,
}

/// `10/1h`: the spelling of the `@rate` annotation.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.period.as_secs();
        let period = match secs {
            1 => "s".to_owned(),
            60 => "min".to_owned(),
            3600 => "h".to_owned(),
            86400 => "d".to_owned(),
            other => format!("{other}s"),
        };
        write!(f, "{}/{period}", self.calls)
    }
}

/// A rate and the rule that asks for it: each rule counts for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RateDuty {
    /// The rule.
    pub rule: RuleId,
    /// Its rate.
    pub rate: Rate,
}

/// What must be done for a request to pass. Two decisions about one request mean the same only when these are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duties {
    /// Sets of people of which each must have approved.
    pub approvals: BTreeSet<ApproverSet>,
    /// Profiles the answer must be masked with, all of them.
    pub masks: BTreeSet<MaskProfile>,
    /// Rates of which each must have room.
    pub rates: BTreeSet<RateDuty>,
}

/// Why: the rules, roles and grants that decided, and the set the rules came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Rules that determined the decision, sorted.
    pub rules: BTreeSet<RuleId>,
    /// Roles of the principal that those rules read, or by which a grant keeps another from refusing.
    pub roles: BTreeSet<RoleName>,
    /// Temporary grants by which those roles are held; a role that is held for good names none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<GrantId>,
    /// The rule set; `None` for a policy that has no version.
    pub policy: Option<PolicyHash>,
}

/// What would help somebody who is refused. A rule's author wrote it to be read by whom the rule refuses or misses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// What to do, in the author's words.
    pub text: String,
    /// Roles that would permit it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<RoleName>,
    /// Sets of people who would have to say yes besides.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approvals: BTreeSet<ApproverSet>,
}

/// What policy says of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "every layer must treat a fourth outcome as a change of its contract"
)]
pub enum Decision {
    /// It may pass once these duties are done. Approvals among them have been given.
    Allow {
        /// What is done for it.
        duties: Duties,
        /// Why.
        basis: Basis,
    },
    /// It may pass once these people have said yes.
    Ask {
        /// Sets that have not approved yet.
        approvals: BTreeSet<ApproverSet>,
        /// All duties, those approvals included.
        duties: Duties,
        /// Why.
        basis: Basis,
    },
    /// It may not pass.
    Refuse {
        /// The rule that says no; `None` when simply nothing permits it.
        rule: Option<RuleId>,
        /// For the caller: the rule's own reason, or a plain "not permitted".
        reason: String,
        /// What would help, as far as rules say that the caller may know.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hints: Vec<Hint>,
        /// Why.
        basis: Basis,
    },
}

impl Decision {
    /// Allowed without duties: for closures in small services.
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow { duties: Duties::default(), basis: Basis::default() }
    }

    /// Refused for this reason, which the caller will read.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self::Refuse { rule: None, reason: reason.into(), hints: Vec::new(), basis: Basis::default() }
    }

    /// `allow`, `ask` or `refuse`: the word on the record.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Ask { .. } => "ask",
            Self::Refuse { .. } => "refuse",
        }
    }

    /// Why it was decided so.
    #[must_use]
    pub fn basis(&self) -> &Basis {
        match self {
            Self::Allow { basis, .. } | Self::Ask { basis, .. } | Self::Refuse { basis, .. } => basis,
        }
    }

    /// The duties; `None` for a refusal.
    #[must_use]
    pub fn duties(&self) -> Option<&Duties> {
        match self {
            Self::Allow { duties, .. } | Self::Ask { duties, .. } => Some(duties),
            Self::Refuse { .. } => None,
        }
    }
}

/// Approvals that were verified for exactly this request; part of the question put to policy.
///
/// Whoever puts this on a request vouches that the store holds an approval whose digest is the request's. In the
/// gateway that is the release path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals {
    /// The approval they belong to.
    pub approval: ApprovalId,
    /// The sets that said yes.
    pub sets: BTreeSet<ApproverSet>,
}
