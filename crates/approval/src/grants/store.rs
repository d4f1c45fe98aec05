use std::{collections::BTreeSet, num::NonZeroUsize};

use crewgate_core::{ApproverSet, Effect, GrantId, PrincipalKey, RequestId, Timestamp};
use futures_util::future::BoxFuture;

use super::{Grant, GrantState, NewGrant, Revocation};
use crate::{DEFAULT_LIST_LIMIT, StoreError, store::error};

error!(
    /// Why a grant was not given.
    GiveError {
        /// There is one with this id.
        Exists => "there is a grant with this id already",
        /// Nobody agreed to it, it has no reason, or it ends before it begins.
        Invalid => "it names nobody who agreed, no reason, or no time",
        /// The principal has as many as one may have.
        TooMany => "this principal has too many temporary grants",
    }
);
error!(
    /// Why a grant was not taken away.
    RevokeError {
        /// It is neither the caller's own nor given by a set they may speak for.
        NotEligible => "only its holder, or who may approve it, takes it away",
        /// It had ended already.
        Over(GrantState) => "it is over already",
        /// There is none with this id.
        Unknown => "there is no such grant",
    }
);
error!(
    /// Why a call may not rely on a grant.
    SpendError {
        /// It does not count now.
        Over(GrantState) => "the grant does not count now",
        /// There is none with this id.
        Unknown => "there is no such grant",
    }
);

/// Which grants to list; all conditions hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFilter {
    /// The instant at which states are evaluated.
    pub now: Timestamp,
    /// Of this principal.
    pub principal: Option<PrincipalKey>,
    /// Given by one of these sets; `None` for any.
    pub sets: Option<BTreeSet<ApproverSet>>,
    /// Those that are over too, and then the one that ends last first.
    pub over: bool,
    /// At most this many.
    pub limit: NonZeroUsize,
}

impl GrantFilter {
    /// Everybody's that are not over, the one that ends first first, at most [`DEFAULT_LIST_LIMIT`].
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, principal: None, sets: None, over: false, limit: DEFAULT_LIST_LIMIT }
    }

    /// Those of this principal.
    #[must_use]
    pub fn of(self, principal: &PrincipalKey) -> Self {
        Self { principal: Some(principal.clone()), ..self }
    }

    /// Whether this one is meant; order and limit are the store's.
    #[must_use]
    pub fn matches(&self, grant: &Grant) -> bool {
        self.principal.as_ref().is_none_or(|principal| grant.given.principal == *principal)
            && self.sets.as_ref().is_none_or(|sets| !sets.is_disjoint(&grant.given.sets))
            && (self.over || !grant.state_at(self.now).is_over())
    }
}

/// Where temporary grants live. Transitions only, as with [`ApprovalStore`](crate::ApprovalStore): each is one of the
/// functions of [`grants`](crate::grants) applied to the stored row and written together with the fact it returns, or
/// not at all. An answer `Ok` means that both are durable.
///
/// # Cancel safety
///
/// Dropping a future of this trait leaves the transition either wholly done or not done; which, `find` tells.
pub trait GrantStore: Send + Sync + 'static {
    /// Gives a role. Whoever calls this vouches that the approval it names was given for exactly this.
    ///
    /// # Errors
    ///
    /// [`GiveError`]; nothing was given unless it says [`StoreError::Unknown`].
    fn give(&self, new: NewGrant) -> BoxFuture<'_, Result<Grant, GiveError>>;

    /// Takes it away. It counts for no call that asks after the answer.
    ///
    /// # Errors
    ///
    /// [`RevokeError`]; it stands as it was unless it says [`StoreError::Unknown`].
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<Grant, RevokeError>>;

    /// That a call relies on it now. A store that also keeps the record does this in the transaction that makes the
    /// call's intent durable, and whoever sends waits for that.
    ///
    /// # Errors
    ///
    /// [`SpendError`]: then nothing may be sent.
    fn spend(
        &self,
        id: GrantId,
        effect: Effect,
        request: RequestId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), SpendError>>;

    /// What this principal holds at this instant, uses aside: begun, not ended, not taken away; at most
    /// [`MAX_GRANTS_OF_ONE`](super::MAX_GRANTS_OF_ONE).
    ///
    /// # Errors
    ///
    /// [`StoreError`]: then nobody knows, which is not the same as none.
    fn of<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Grant>, StoreError>>;

    /// The grant of this id.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn find(&self, id: GrantId) -> BoxFuture<'_, Result<Option<Grant>, StoreError>>;

    /// The grants meant by this filter, by their end.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn list(&self, filter: GrantFilter) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>>;
}
