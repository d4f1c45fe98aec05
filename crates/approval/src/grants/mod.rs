//! Roles given for a while: what may follow what, in pure functions that every [`GrantStore`] shares.
//!
//! A grant is given by an approval and by nothing else, ends by evaluation, and can be taken away by whoever may speak
//! for those who gave it, or given back by its holder. It counts when it is asked for, never because somebody
//! remembered it: a call that changes something relies on it again in the transaction that makes its intent durable.

mod grant;
mod memory;
mod store;

use crewgate_core::{Effect, Fact, GrantStep, RequestId, Timestamp};

pub use self::{
    grant::{Grant, GrantState, Narrowing, NewGrant, Revocation, Revoked},
    memory::MemoryGrants,
    store::{GiveError, GrantFilter, GrantStore, RevokeError, SpendError},
};

/// Grants one principal may have that are not over: each is looked at with every call of theirs.
pub const MAX_GRANTS_OF_ONE: usize = 64;

/// A move: the grant after it, and what must stand on the record with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantMove {
    /// The grant to write over the one that was read.
    pub grant: Grant,
    /// What to record in the same transaction.
    pub fact: Fact,
    /// The request the record of it belongs to.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
}

/// The beginning of a grant. `beside` are the principal's others that are not over.
///
/// # Errors
///
/// [`GiveError::Invalid`] when nobody agreed to it, it has no reason, or it would be over before it begins;
/// [`GiveError::TooMany`] beyond [`MAX_GRANTS_OF_ONE`].
pub fn give(new: NewGrant, beside: usize) -> Result<GrantMove, GiveError> {
    let real = new.given <= new.from && new.from < new.until && !new.sets.is_empty();
    if !real || new.reason.trim().is_empty() {
        return Err(GiveError::Invalid);
    }
    if beside >= MAX_GRANTS_OF_ONE {
        return Err(GiveError::TooMany);
    }
    let step = GrantStep::Given {
        principal: new.principal.clone(),
        role: new.role.clone(),
        from: new.from,
        until: new.until,
        approval: new.approval,
        reason: new.reason.clone(),
    };
    let (request, at) = (new.request, new.given);
    Ok(moved(Grant { given: new, used: 0, revoked: None }, step, request, at))
}

/// The end of a grant before its time.
///
/// # Errors
///
/// [`RevokeError::Over`] when it has ended or was taken away already, [`RevokeError::NotEligible`] when it is neither
/// the holder's own nor given by a set they may speak for.
pub fn revoke(grant: &Grant, revocation: &Revocation) -> Result<GrantMove, RevokeError> {
    let state = grant.state_at(revocation.at);
    if revocation.by != grant.given.principal && revocation.sets.is_disjoint(&grant.given.sets) {
        return Err(RevokeError::NotEligible);
    }
    if state.is_over() {
        return Err(RevokeError::Over(state));
    }
    let (by, reason) = (revocation.by.clone(), revocation.reason.clone());
    let step = GrantStep::Revoked { by: by.clone(), reason: reason.clone() };
    let revoked = Some(Revoked { by, at: revocation.at, reason });
    Ok(moved(Grant { revoked, ..grant.clone() }, step, revocation.request, revocation.at))
}

/// That a call of this effect relies on it now: it must count, and where uses are limited and the call changes
/// something, one is spent. `None`: nothing changes.
///
/// # Errors
///
/// [`SpendError::Over`]: then the call may not leave.
pub fn spend(
    grant: &Grant,
    effect: Effect,
    request: RequestId,
    now: Timestamp,
) -> Result<Option<GrantMove>, SpendError> {
    match (grant.state_at(now), effect, grant.given.narrowed.uses) {
        (GrantState::Live, Effect::Write, Some(uses)) => {
            let used = grant.used.saturating_add(1);
            let step = GrantStep::Used { number: used, of: uses.get() };
            Ok(Some(moved(Grant { used, ..grant.clone() }, step, request, now)))
        }
        (GrantState::Live, ..) | (GrantState::UsedUp, Effect::Read, _) => Ok(None),
        (state, ..) => Err(SpendError::Over(state)),
    }
}

fn moved(grant: Grant, step: GrantStep, request: RequestId, at: Timestamp) -> GrantMove {
    GrantMove { fact: Fact::Grant { grant: grant.id(), step }, grant, request, at }
}
