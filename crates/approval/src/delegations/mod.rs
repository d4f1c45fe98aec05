//! An approver's voice, lent to somebody for a while: what may follow what, in pure functions that every
//! [`DelegationStore`] shares.
//!
//! Whoever may speak for a set lets a named person speak in their place until an instant. The voice stays one: it counts
//! once on any request, not at all where its lender speaks too, and never on the lender's own requests. What is borrowed
//! is not lent on: only sets that are the lender's own when the vote is cast.

mod memory;
mod store;

use std::{collections::BTreeSet, time::Duration};

use crewgate_core::{
    ApproverSet, DelegationId, DelegationStep, Fact, Principal, PrincipalKey, RequestId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::machine::speaks_for_themselves;

pub use self::{
    memory::MemoryDelegations,
    store::{DelegationFilter, DelegationStore, EndError, LendError},
};

/// The longest a voice is lent: a long vacation. Their groups are those of the day it began.
pub const LONGEST_DELEGATION: Duration = Duration::from_secs(31 * 24 * 3600);

/// Delegations of one person that may not be over: each is looked at with every vote of whom they name.
pub const MAX_DELEGATIONS_OF_ONE: usize = 16;

/// A voice that is lent. Nothing in it ever changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDelegation {
    /// Its id.
    pub id: DelegationId,
    /// The request that said so.
    pub request: RequestId,
    /// Whose voice it is, as their token said then.
    pub by: Principal,
    /// Who may speak with it: this identity, by no other of the same person.
    pub to: PrincipalKey,
    /// For which sets.
    pub sets: BTreeSet<ApproverSet>,
    /// When it was lent.
    pub given: Timestamp,
    /// When it begins; not before it was lent.
    pub from: Timestamp,
    /// When it ends. At exactly this instant it has ended.
    pub until: Timestamp,
    /// In their words.
    pub reason: String,
}

/// That a delegation was ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationEnd {
    /// Who did.
    pub by: PrincipalKey,
    /// When.
    pub at: Timestamp,
}

/// A voice that is lent, and whether it still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// What was lent.
    pub given: NewDelegation,
    /// That it was ended.
    pub ended: Option<DelegationEnd>,
}

impl Delegation {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> DelegationId {
        self.given.id
    }

    /// Whether it counts at this instant. Ends come by this evaluation.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.given.from <= now && !self.is_over(now)
    }

    /// Whether it can never count again.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ended.is_some() || now >= self.given.until
    }
}

/// A move: the delegation after it, and what must stand on the record with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationMove {
    /// The delegation to write over the one that was read.
    pub delegation: Delegation,
    /// What to record in the same transaction.
    pub fact: Fact,
    /// The request the record of it belongs to.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
}

/// The beginning of a delegation. `own` are the sets its lender may speak for without anybody's delegation, `beside` how
/// many of theirs are not over.
///
/// # Errors
///
/// [`LendError::NotTheirs`] for a set that is not the lender's own, [`LendError::Invalid`] when it names no set, no
/// reason, themselves, or no time within [`LONGEST_DELEGATION`]; [`LendError::TooMany`].
pub fn lend(
    new: NewDelegation,
    own: &BTreeSet<ApproverSet>,
    beside: usize,
) -> Result<DelegationMove, LendError> {
    let in_time = new.given <= new.from
        && new.from < new.until
        && new.until <= new.given.saturating_add(LONGEST_DELEGATION);
    if !in_time || new.sets.is_empty() || new.to == new.by.key || new.reason.trim().is_empty() {
        return Err(LendError::Invalid);
    }
    if !speaks_for_themselves(&new.by) || !new.sets.is_subset(own) {
        return Err(LendError::NotTheirs);
    }
    if beside >= MAX_DELEGATIONS_OF_ONE {
        return Err(LendError::TooMany);
    }
    let step = DelegationStep::Given {
        by: new.by.key.clone(),
        to: new.to.clone(),
        sets: new.sets.clone(),
        from: new.from,
        until: new.until,
        reason: new.reason.clone(),
    };
    let (request, at) = (new.request, new.given);
    Ok(moved(Delegation { given: new, ended: None }, step, request, at))
}

/// The end of a delegation before its time, by whoever lent it or whoever it was lent to.
///
/// # Errors
///
/// [`EndError::NotTheirs`], [`EndError::Over`].
pub fn end(
    delegation: &Delegation,
    by: &PrincipalKey,
    request: RequestId,
    at: Timestamp,
) -> Result<DelegationMove, EndError> {
    if *by != delegation.given.by.key && *by != delegation.given.to {
        return Err(EndError::NotTheirs);
    }
    if delegation.is_over(at) {
        return Err(EndError::Over);
    }
    let ended = Some(DelegationEnd { by: by.clone(), at });
    let step = DelegationStep::Ended { by: by.clone() };
    Ok(moved(Delegation { ended, ..delegation.clone() }, step, request, at))
}

fn moved(delegation: Delegation, step: DelegationStep, request: RequestId, at: Timestamp) -> DelegationMove {
    DelegationMove { fact: Fact::Delegation { delegation: delegation.id(), step }, delegation, request, at }
}
