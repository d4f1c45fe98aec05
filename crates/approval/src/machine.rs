//! The state machine, pure: every store loads a row, applies one of these functions, and writes the result over the
//! version it read, with the fact beside it. No other code decides what may follow what.
//!
//! ```text
//!             deny ─────────────────► denied
//! pending ──► quorum ──► approved ──► claim ──► executing ──► executed
//!   │  │                  ▲  │  │                 │  │ └ answered? nobody knows: indeterminate
//!   │  └ cancel ► cancelled  │  └ late ► expired  │  └ policy changed: invalidated
//!   └ late ► expired      │  └ cancel ► cancelled └ could not be sent: failed
//!                         └── given back, or the lease ended, with nothing sent
//! ```
//!
//! What is indeterminate stays so until its own late answer comes or a person says what they found: executed or failed.

use std::{collections::BTreeSet, time::Duration};

use crewgate_core::{ApprovalStep, ApproverSet, Fact, Principal, PrincipalKind, Timestamp, Verdict};

use crate::{
    Approval, Ballot, BreakError, Broken, CancelError, End, Finding, GlassBreak, Hindsight,
    LEAST_GLASS_REASON, Lease, LeaseError, Loan, MOST_UNREVIEWED, NewApproval, OpenError, Resolution,
    ResolveError, Review, ReviewError, State, Vote, VoteError, quorum::is_reached,
};

/// A move: the approval after it, and what must stand on the record with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The approval to write over version `approval.version - 1`.
    pub approval: Approval,
    /// What to record in the same transaction.
    pub fact: Fact,
}

/// The first state of a request.
///
/// # Errors
///
/// [`OpenError::Invalid`] when it asks nobody or one set twice: neither could ever mean what it says.
pub fn open(new: NewApproval) -> Result<Transition, OpenError> {
    let approval = Approval {
        asked: new,
        state: State::Pending,
        votes: Vec::new(),
        broken: None,
        leases: 0,
        version: 1,
    };
    let sets = approval.sets();
    if sets.is_empty() || sets.len() != approval.asked.needs.len() {
        return Err(OpenError::Invalid);
    }
    Ok(Transition { fact: requested(&approval), approval })
}

/// That it was asked for, as the record says it.
pub(crate) fn requested(approval: &Approval) -> Fact {
    let step = ApprovalStep::Requested {
        sets: approval.sets(),
        digest: approval.asked.digest.to_string(),
        expires: approval.asked.expires,
    };
    Fact::Approval { approval: approval.id(), step }
}

/// Whether this is a person, and nobody acts for them: a program cannot read what it approves, and whoever acts by
/// somebody's token may be the one who asked.
pub(crate) fn speaks_for_themselves(who: &Principal) -> bool {
    who.kind == PrincipalKind::User && who.token.actors.is_empty()
}

/// One person's word.
///
/// # Errors
///
/// [`VoteError`], never `Unknown` or `Store`.
pub fn vote(approval: &Approval, ballot: &Ballot) -> Result<Transition, VoteError> {
    let vote = &ballot.vote;
    let state = approval.state_at(vote.at);
    if state != State::Pending {
        return Err(VoteError::NotPending(state));
    }
    if vote.approver.is_behind(&approval.asked.requester) {
        return Err(VoteError::SelfApproval);
    }
    // What counts is people.
    let sets = approval.needs_of(&vote.sets, vote.at);
    let lent = borrowed(approval, vote, &sets);
    if (sets.is_empty() && lent.is_empty()) || !speaks_for_themselves(&vote.approver) {
        return Err(VoteError::NotEligible);
    }
    if approval.votes.iter().any(|earlier| earlier.approver.same_person(&vote.approver)) {
        return Err(VoteError::AlreadyVoted);
    }
    if ballot.digest != approval.asked.digest {
        return Err(VoteError::DigestMismatch);
    }
    let mut votes = approval.votes.clone();
    let instead_of = lent.iter().map(|loan| loan.lender.key.clone()).collect();
    let stands_for = sets.iter().chain(lent.iter().flat_map(|loan| &loan.sets)).cloned().collect();
    votes.push(Vote { sets, lent, ..vote.clone() });
    let by = vote.approver.key.clone();
    let state = match vote.verdict {
        Verdict::Deny => State::Denied { by: by.clone(), reason: vote.reason.clone() },
        Verdict::Approve if is_reached(&approval.asked.needs, &votes) => {
            State::Approved { at: vote.at, until: vote.at.saturating_add(approval.asked.usable_for) }
        }
        Verdict::Approve => State::Pending,
    };
    let step = ApprovalStep::Voted {
        by,
        verdict: vote.verdict,
        sets: stands_for,
        instead_of,
        reason: vote.reason.clone(),
        settles: state != State::Pending,
    };
    let mut next = moved(approval, state, step);
    next.approval.votes = votes;
    Ok(next)
}

/// The voices a voter may speak with here, beyond their own: of others than the requester, who have not spoken, and for
/// whom nobody has.
fn borrowed(approval: &Approval, vote: &Vote, own: &BTreeSet<ApproverSet>) -> Vec<Loan> {
    let mut lent: Vec<Loan> = Vec::new();
    for loan in &vote.lent {
        let lender = &loan.lender;
        let spoken = |earlier: &Vote| {
            earlier.approver.same_person(lender)
                || earlier.lent.iter().any(|other| other.lender.same_person(lender))
        };
        let sets = &approval.needs_of(&loan.sets, vote.at) - own;
        let free = !lender.is_behind(&approval.asked.requester)
            && !lender.same_person(&vote.approver)
            && !approval.votes.iter().any(spoken)
            && !lent.iter().any(|other| other.lender.same_person(lender));
        if free && !sets.is_empty() {
            lent.push(Loan { sets, ..loan.clone() });
        }
    }
    lent
}

/// The requester takes it back, before anybody started it.
///
/// # Errors
///
/// [`CancelError`], never `Unknown` or `Store`.
pub fn cancel(approval: &Approval, by: &Principal, now: Timestamp) -> Result<Transition, CancelError> {
    if !by.same_person(&approval.asked.requester) {
        return Err(CancelError::NotRequester);
    }
    match approval.state_at(now) {
        State::Pending | State::Approved { .. } => {
            let by = by.key.clone();
            Ok(moved(approval, State::Cancelled { by: by.clone() }, ApprovalStep::Cancelled { by }))
        }
        state => Err(CancelError::TooLate(state)),
    }
}

/// Takes the right to start it; `None` when it is not there to be taken.
#[must_use]
pub fn claim(approval: &Approval, now: Timestamp, lease_for: Duration) -> Option<(Transition, Lease)> {
    let State::Approved { at, until } = approval.state_at(now) else { return None };
    // A count that cannot grow would hand out one number twice.
    let number = approval.leases.checked_add(1)?;
    let state =
        State::Executing { at, until, lease: number, lease_ends: now.saturating_add(lease_for), sent: false };
    let mut next = moved(approval, state, ApprovalStep::Claimed);
    next.approval.leases = number;
    Some((next, Lease { approval: approval.id(), number }))
}

/// Gives the right back with nothing sent.
///
/// # Errors
///
/// [`LeaseError::Lost`] or [`LeaseError::OutOfOrder`].
pub fn return_unsent(approval: &Approval, lease: Lease, now: Timestamp) -> Result<Transition, LeaseError> {
    let held = held(approval, lease, now)?;
    if held.sent {
        return Err(LeaseError::OutOfOrder);
    }
    Ok(moved(approval, State::Approved { at: held.at, until: held.until }, ApprovalStep::Returned))
}

/// Ends it because the decision at release differs from the one that was approved.
///
/// # Errors
///
/// [`LeaseError::Lost`] or [`LeaseError::OutOfOrder`].
pub fn invalidate(
    approval: &Approval,
    lease: Lease,
    reason: &str,
    now: Timestamp,
) -> Result<Transition, LeaseError> {
    if held(approval, lease, now)?.sent {
        return Err(LeaseError::OutOfOrder);
    }
    let reason = reason.to_owned();
    let step = ApprovalStep::Invalidated { reason: reason.clone() };
    Ok(moved(approval, State::Invalidated { reason }, step))
}

/// Marks that bytes may leave: once, within the lease and before the approval ends.
///
/// # Errors
///
/// [`LeaseError::Lost`] or [`LeaseError::OutOfOrder`]; then nothing may be sent.
pub fn mark_sent(approval: &Approval, lease: Lease, now: Timestamp) -> Result<Transition, LeaseError> {
    let held = held(approval, lease, now)?;
    if held.sent {
        return Err(LeaseError::OutOfOrder);
    }
    // Evaluated, not stored: a lease that has ended, or an approval that has, sends nothing.
    let alive = matches!(approval.state_at(now), State::Executing { .. });
    if !alive || now >= held.until {
        return Err(LeaseError::Lost);
    }
    let state = State::Executing {
        at: held.at,
        until: held.until,
        lease: lease.number,
        lease_ends: held.lease_ends,
        sent: true,
    };
    // Which step this is on the record: the request that carries it out says so.
    let mut next = moved(approval, state, ApprovalStep::Claimed);
    next.fact = Fact::Released { approval: approval.id(), lease: lease.number };
    Ok(next)
}

/// How the attempt ended.
///
/// # Errors
///
/// [`LeaseError::Lost`], or [`LeaseError::OutOfOrder`] when something unsent is said to have been answered.
pub fn settle(
    approval: &Approval,
    lease: Lease,
    end: &End,
    now: Timestamp,
) -> Result<Transition, LeaseError> {
    let held = held(approval, lease, now)?;
    let (state, step) = match end {
        End::Failed { reason } => {
            (State::Failed { reason: reason.clone() }, ApprovalStep::Failed { reason: reason.clone() })
        }
        End::Executed | End::Indeterminate if !held.sent => return Err(LeaseError::OutOfOrder),
        End::Executed => (State::Executed { at: now }, ApprovalStep::Executed),
        End::Indeterminate => (State::Indeterminate, ApprovalStep::Indeterminate),
    };
    Ok(moved(approval, state, step))
}

/// What a person found out about a request of which nobody knows what became. It is never sent again: what did not run
/// must be asked for anew.
///
/// # Errors
///
/// [`ResolveError`], never `Unknown` or `Store`.
pub fn resolve(approval: &Approval, resolution: &Resolution) -> Result<Transition, ResolveError> {
    let Resolution { by, sets, finding, reason, at, .. } = resolution;
    let state = approval.state_at(*at);
    if state != State::Indeterminate {
        return Err(ResolveError::NotIndeterminate(state));
    }
    if by.is_behind(&approval.asked.requester) {
        return Err(ResolveError::OwnRequest);
    }
    if sets.is_disjoint(&approval.voices(*at)) || !speaks_for_themselves(by) {
        return Err(ResolveError::NotEligible);
    }
    let (state, ran, upstream) = match finding {
        Finding::Ran { upstream } => (State::Executed { at: *at }, true, upstream.clone()),
        Finding::DidNotRun => {
            (State::Failed { reason: format!("{} found that it did not run: {reason}", by.key) }, false, None)
        }
    };
    let step = ApprovalStep::Resolved { by: by.key.clone(), ran, upstream, reason: reason.clone() };
    Ok(moved(approval, state, step))
}

/// Its requester lets it go without those who are asked. That is no vote: nobody has said yes, and somebody else must
/// look at it afterwards. `unreviewed` are the broken glasses, of anybody, that nobody has looked at.
///
/// # Errors
///
/// [`BreakError`], never `Unknown` or `Store`.
pub fn break_glass(
    approval: &Approval,
    glass: &GlassBreak,
    unreviewed: &[Approval],
) -> Result<Transition, BreakError> {
    let state = approval.state_at(glass.at);
    if state != State::Pending {
        return Err(BreakError::NotPending(state));
    }
    // A program has no emergency, and another identity would start something else.
    if glass.by.key != approval.asked.requester.key || !speaks_for_themselves(&glass.by) {
        return Err(BreakError::NotRequester);
    }
    let sets = approval.sets();
    if !sets.is_subset(&glass.instead_of) || glass.reviewers.is_empty() {
        return Err(BreakError::NotCovered);
    }
    if glass.digest != approval.asked.digest {
        return Err(BreakError::DigestMismatch);
    }
    if glass.reason.trim().chars().count() < LEAST_GLASS_REASON {
        return Err(BreakError::Terse);
    }
    let open = |other: &&Approval| other.broken.as_ref().is_some_and(Broken::is_open);
    let of_them = |other: &&Broken| other.by.same_person(&glass.by);
    let mut theirs = unreviewed.iter().filter(open).filter_map(|other| other.broken.as_ref()).filter(of_them);
    let overdue = theirs.clone().any(|broken| glass.at >= broken.due);
    if overdue || theirs.nth(MOST_UNREVIEWED - 1).is_some() {
        return Err(BreakError::Locked);
    }
    let due = glass.at.saturating_add(glass.within);
    let state = State::Approved { at: glass.at, until: glass.at.saturating_add(approval.asked.usable_for) };
    let step = ApprovalStep::GlassBroken {
        by: glass.by.key.clone(),
        instead_of: sets,
        reason: glass.reason.clone(),
        reviewers: glass.reviewers.clone(),
        due,
    };
    let mut next = moved(approval, state, step);
    next.approval.broken = Some(Broken {
        by: glass.by.clone(),
        at: glass.at,
        reason: glass.reason.clone(),
        reviewers: glass.reviewers.clone(),
        due,
        review: None,
    });
    Ok(next)
}

/// Somebody else looks at a broken glass. Where the approval stands does not change by it.
///
/// # Errors
///
/// [`ReviewError`], never `Unknown` or `Store`.
pub fn review(approval: &Approval, hindsight: &Hindsight) -> Result<Transition, ReviewError> {
    let Hindsight { by, sets, verdict, reason, at, .. } = hindsight;
    let broken = approval.broken.as_ref().filter(|broken| broken.is_open()).ok_or(ReviewError::Closed)?;
    if by.is_behind(&broken.by) || by.is_behind(&approval.asked.requester) {
        return Err(ReviewError::OwnRequest);
    }
    if sets.is_disjoint(&broken.reviewers) || !speaks_for_themselves(by) {
        return Err(ReviewError::NotEligible);
    }
    let (by, reason) = (by.key.clone(), reason.clone());
    let step = ApprovalStep::Reviewed { by: by.clone(), verdict: *verdict, reason: reason.clone() };
    let mut next = moved(approval, approval.state.clone(), step);
    next.approval.broken =
        Some(Broken { review: Some(Review { by, at: *at, verdict: *verdict, reason }), ..broken.clone() });
    Ok(next)
}

struct Held {
    at: Timestamp,
    until: Timestamp,
    lease_ends: Timestamp,
    sent: bool,
}

/// What the holder of this lease holds. An unsent attempt of an approval that has meanwhile expired holds nothing:
/// ends that came by evaluation are as final as written ones.
fn held(approval: &Approval, lease: Lease, now: Timestamp) -> Result<Held, LeaseError> {
    if lease.approval != approval.id() || approval.state_at(now) == State::Expired {
        return Err(LeaseError::Lost);
    }
    match approval.state {
        State::Executing { at, until, lease: number, lease_ends, sent } if number == lease.number => {
            Ok(Held { at, until, lease_ends, sent })
        }
        _ => Err(LeaseError::Lost),
    }
}

fn moved(approval: &Approval, state: State, step: ApprovalStep) -> Transition {
    Transition {
        fact: Fact::Approval { approval: approval.id(), step },
        approval: Approval { state, version: approval.version.saturating_add(1), ..approval.clone() },
    }
}
