use std::collections::BTreeSet;

use crewgate_core::{ApproverSet, DelegationId, PrincipalKey, RequestId, Timestamp};
use futures_util::future::BoxFuture;

use super::{Delegation, NewDelegation};
use crate::{StoreError, store::error};

error!(
    /// Why a voice was not lent.
    LendError {
        /// There is one with this id.
        Exists => "there is a delegation with this id already",
        /// It names no set, no reason, its own lender, or no time within the longest.
        Invalid => "it names no set, no reason, its own lender, or no time that may be",
        /// A set is not the lender's own, or the lender is not a person.
        NotTheirs => "only people lend a voice, and only for sets that are their own",
        /// They have as many as one may have.
        TooMany => "as many of your delegations as may be are not over",
    }
);
error!(
    /// Why a delegation was not ended.
    EndError {
        /// It is neither from them nor to them.
        NotTheirs => "only who lent it, or who it was lent to, ends it",
        /// It was over already.
        Over => "it is over already",
        /// There is none with this id.
        Unknown => "there is no such delegation",
    }
);

/// Which delegations to list: those that are not over, the one that ends first first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationFilter {
    /// The instant at which ends are evaluated.
    pub now: Timestamp,
    /// Lent by this principal or to them; `None` for everybody's.
    pub of: Option<PrincipalKey>,
    /// At most this many.
    pub limit: std::num::NonZeroUsize,
}

impl DelegationFilter {
    /// Everybody's, at most [`DEFAULT_LIST_LIMIT`](crate::DEFAULT_LIST_LIMIT).
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, of: None, limit: crate::DEFAULT_LIST_LIMIT }
    }

    /// Those of this principal.
    #[must_use]
    pub fn of(self, principal: &PrincipalKey) -> Self {
        Self { of: Some(principal.clone()), ..self }
    }

    /// Whether this one is meant; order and limit are the store's.
    #[must_use]
    pub fn matches(&self, delegation: &Delegation) -> bool {
        let given = &delegation.given;
        !delegation.is_over(self.now)
            && self.of.as_ref().is_none_or(|of| given.by.key == *of || given.to == *of)
    }
}

/// Where delegations live. Transitions only, as with [`ApprovalStore`](crate::ApprovalStore): row and fact in one
/// transaction, or neither.
///
/// # Cancel safety
///
/// Dropping a future of this trait leaves the transition either wholly done or not done.
pub trait DelegationStore: Send + Sync + 'static {
    /// Lends a voice. `own` are the sets of the lender's own, resolved by whoever calls this.
    ///
    /// # Errors
    ///
    /// [`LendError`]; nothing was lent unless it says [`StoreError::Unknown`].
    fn lend(
        &self,
        new: NewDelegation,
        own: BTreeSet<ApproverSet>,
    ) -> BoxFuture<'_, Result<Delegation, LendError>>;

    /// Ends it. It counts for no vote that is cast after the answer.
    ///
    /// # Errors
    ///
    /// [`EndError`]; it stands as it was unless it says [`StoreError::Unknown`].
    fn end(
        &self,
        id: DelegationId,
        by: PrincipalKey,
        request: RequestId,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<Delegation, EndError>>;

    /// The voices this principal may speak with at this instant.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn to<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Delegation>, StoreError>>;

    /// The delegations meant by this filter.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn list(&self, filter: DelegationFilter) -> BoxFuture<'_, Result<Vec<Delegation>, StoreError>>;
}
