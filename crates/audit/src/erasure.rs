//! The port of what gives up what the record holds.

use std::{fmt, str::FromStr};

use crewgate_core::{PrincipalKey, Timestamp};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{AuditError, Phase};

/// Which records are kept for one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "whoever sets a time must set it for each of them")]
pub enum Class {
    /// How approvals, delegations and grants moved.
    Approvals,
    /// What callers sent and what they were answered.
    Calls,
    /// What the house did: its configuration, rules and keys, who read the record, what was given up.
    House,
    /// What was refused, and never left.
    Refusals,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Approvals, Self::Calls, Self::House, Self::Refusals];

    /// Where entries of this phase belong.
    #[must_use]
    pub const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Approval | Phase::Delegation | Phase::Grant => Self::Approvals,
            Phase::Intent | Phase::Outcome | Phase::Webhook => Self::Calls,
            Phase::Refused => Self::Refusals,
            Phase::Access | Phase::Config | Phase::Control | Phase::Erasure | Phase::Key | Phase::Policy => {
                Self::House
            }
        }
    }

    /// The word in the configuration and on the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approvals => "approvals",
            Self::Calls => "calls",
            Self::House => "house",
            Self::Refusals => "refusals",
        }
    }
}

/// There is no class of records of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoClass;

impl fmt::Display for NoClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is none of {}", Class::ALL.map(Class::as_str).join(", "))
    }
}

impl std::error::Error for NoClass {}

impl FromStr for Class {
    type Err = NoClass;

    fn from_str(text: &str) -> Result<Self, NoClass> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or(NoClass)
    }
}

/// Gives up what the record holds: a person's by destroying their key, everybody's by age. Each is told by a leaf in the
/// same transaction, or in one before it, with who asked for it. What is on hold stays.
pub trait Erasure: Send + Sync + 'static {
    /// Destroys the key of a person, spelled `issuer:subject`, and with it everything readable the record holds of
    /// them; the leaf names their pseudonym. Gives the number of leaves that lost their content.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    fn erase<'a>(
        &'a self,
        person: &'a str,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'a, Result<u64, EraseError>>;

    /// Keeps what is held of a person from being given up, or no longer does.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    fn hold<'a>(
        &'a self,
        person: &'a str,
        held: bool,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'a, Result<(), EraseError>>;

    /// Gives up what lies beside leaves of a class that were written before this instant, except of persons on hold and
    /// of calls in progress. Gives the number of leaves that lost their content.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves what comes later in the log as it was.
    fn prune(
        &self,
        class: Class,
        before: Timestamp,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'_, Result<u64, EraseError>>;

    /// Cuts off the beginning of the log: leaves written before this instant, the tiles that stand above nothing else and
    /// the checkpoints of that time. What stays can be proved as before. The cut ends before the tile of the first leaf
    /// that is on hold, belongs to a call in progress, is `keep_from` or comes after what witnesses have cosigned. Gives
    /// the first leaf that is still there.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the log cut up to one of its tiles.
    fn cut(
        &self,
        before: Timestamp,
        keep_from: u64,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'_, Result<u64, EraseError>>;
}

/// Why nothing was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EraseError {
    /// It is on hold.
    Held,
    /// The store cannot do it now.
    Store(AuditError),
    /// The record holds nothing of this person.
    Unknown,
}

impl fmt::Display for EraseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("what is held of them is on hold: it may not be erased"),
            Self::Store(error) => error.fmt(f),
            Self::Unknown => f.write_str("the record holds nothing of them"),
        }
    }
}

impl std::error::Error for EraseError {}

impl From<AuditError> for EraseError {
    fn from(error: AuditError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_read_as_it_is_written() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
        assert_eq!("everything".parse::<Class>(), Err(NoClass));
    }
}
