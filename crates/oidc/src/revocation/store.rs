use std::{fmt, sync::Arc};

use crewgate_core::{Fact, PrincipalKey, RevocationStep, RevokedTokens, Timestamp};
use futures_util::future::BoxFuture;

/// Revocations that count at once. A directory's worth of leavers fits; beyond it a whole issuer is meant.
pub const MAX_REVOCATIONS: usize = 100_000;

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

/// Why tokens were not revoked, or a revocation was not lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeError {
    /// [`MAX_REVOCATIONS`] count already.
    Full,
    /// No issuer of that name is configured.
    IssuerUnknown,
    /// There is no such revocation, or it has ended.
    NotRevoked,
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "{MAX_REVOCATIONS} revocations count already: revoke the issuer"),
            Self::IssuerUnknown => f.write_str("no issuer of that name is configured"),
            Self::NotRevoked => f.write_str("there is no such revocation, or it has ended"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RevokeError {}

impl From<StoreError> for RevokeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Tokens that are refused although they have not expired.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a row of every store")]
pub struct Revocation {
    /// Which.
    pub tokens: RevokedTokens,
    /// Those issued until then; of one token it means nothing.
    pub before: Timestamp,
    /// When every token it could hit has expired, and so it has ended.
    pub until: Timestamp,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it; `None`: the issuer itself, by an event.
    pub by: Option<PrincipalKey>,
    /// Their words.
    pub reason: Option<String>,
}

impl Revocation {
    /// This one where `earlier` stands for the same tokens: it hits all that the earlier one does.
    #[must_use]
    pub fn over(self, earlier: Option<&Self>) -> Self {
        match earlier.filter(|earlier| earlier.until > self.at) {
            Some(earlier) => {
                Self { before: self.before.max(earlier.before), until: self.until.max(earlier.until), ..self }
            }
            None => self,
        }
    }

    /// What must stand on the record when it is made.
    #[must_use]
    pub fn facts(&self) -> [Fact; 2] {
        let step = RevocationStep::Revoked { before: self.before, until: self.until };
        facts("revocation.add", self.by.as_ref(), &self.tokens, step, self.reason.as_ref())
    }
}

/// That a revocation is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what every store must know")]
pub struct Lift {
    /// Which.
    pub tokens: RevokedTokens,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: PrincipalKey,
    /// Their words.
    pub reason: Option<String>,
}

impl Lift {
    /// What must stand on the record when it is done.
    #[must_use]
    pub fn facts(&self) -> [Fact; 2] {
        let (by, step) = (Some(&self.by), RevocationStep::Lifted);
        facts("revocation.lift", by, &self.tokens, step, self.reason.as_ref())
    }
}

fn facts(
    what: &str,
    by: Option<&PrincipalKey>,
    tokens: &RevokedTokens,
    step: RevocationStep,
    reason: Option<&String>,
) -> [Fact; 2] {
    [
        Fact::Control { by: by.cloned(), what: what.to_owned() },
        Fact::Revocation { tokens: tokens.clone(), step, reason: reason.cloned() },
    ]
}

/// Keeps revocations, durably and for all replicas.
pub trait RevocationStore: Send + Sync + 'static {
    /// Revokes, and gives what counts now: [joined](Revocation::over) with an earlier one of the same tokens. It stands on
    /// the record with it.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`], [`RevokeError::Store`].
    fn revoke(&self, new: Revocation) -> BoxFuture<'_, Result<Revocation, RevokeError>>;

    /// Takes a revocation back.
    ///
    /// # Errors
    ///
    /// [`RevokeError::NotRevoked`], [`RevokeError::Store`].
    fn lift(&self, lift: Lift) -> BoxFuture<'_, Result<(), RevokeError>>;

    /// A number that changes with every revocation and every lifting. Cheap: every replica asks several times a second.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn version(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// What has not ended at `now`, in the order of the tokens.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; never a part.
    fn standing(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>>;
}

impl<T: RevocationStore + ?Sized> RevocationStore for Arc<T> {
    fn revoke(&self, new: Revocation) -> BoxFuture<'_, Result<Revocation, RevokeError>> {
        (**self).revoke(new)
    }

    fn lift(&self, lift: Lift) -> BoxFuture<'_, Result<(), RevokeError>> {
        (**self).lift(lift)
    }

    fn version(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        (**self).version()
    }

    fn standing(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        (**self).standing(now)
    }
}
