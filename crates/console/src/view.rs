use crewgate_approval::{Approval, Broken, State, Vote};
use crewgate_core::{ApproverSet, Principal, Timestamp, Verdict};
use serde_json::{Value, json};

/// Where it stands, in words and with what belongs to that state.
pub(crate) fn state(state: &State) -> Value {
    let name = state.phase().as_str();
    match state {
        State::Approved { at, until } => {
            json!({ "name": name, "at": at.to_string(), "until": until.to_string() })
        }
        State::Executing { at, until, sent, .. } => {
            json!({ "name": name, "at": at.to_string(), "until": until.to_string(), "sent": sent })
        }
        State::Executed { at } => json!({ "name": name, "at": at.to_string() }),
        State::Denied { by, reason } => json!({ "name": name, "by": by.to_string(), "reason": reason }),
        State::Cancelled { by } => json!({ "name": name, "by": by.to_string() }),
        State::Failed { reason } | State::Invalidated { reason } => {
            json!({ "name": name, "reason": reason })
        }
        State::Pending | State::Expired | State::Indeterminate => json!({ "name": name }),
    }
}

/// One line of a list.
pub(crate) fn summary(approval: &Approval, now: Timestamp, standing: Standing) -> Value {
    let asked = &approval.asked;
    json!({
        "id": asked.id.to_string(),
        "run": asked.run.map(|run| run.to_string()),
        "requester": asked.requester.key.to_string(),
        "action": asked.operation.action.as_str(),
        "resource": asked.operation.resource.name,
        "state": state(&approval.state_at(now)),
        "opened": asked.opened.to_string(),
        "expires": asked.expires.to_string(),
        "needs": needs(approval),
        "mine": standing.mine,
        "may_decide": standing.may_decide,
        "may_settle": standing.may_resolve,
        "may_review": standing.may_review,
    })
}

/// What somebody is to an approval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// They asked for it.
    pub(crate) mine: bool,
    /// They are among the people who are asked, and have not spoken yet.
    pub(crate) may_decide: bool,
    /// Nobody knows what became of it, and they are among those who may say.
    pub(crate) may_resolve: bool,
    /// The glass was broken for it, and they may look at that.
    pub(crate) may_review: bool,
}

pub(crate) fn needs(approval: &Approval) -> Value {
    let needs = approval.asked.needs.iter().map(|need| {
        let given = approval
            .votes
            .iter()
            .filter(|vote| vote.verdict == Verdict::Approve && stands_for(vote, &need.set))
            .count();
        json!({ "set": need.set.as_str(), "count": need.count.get(), "given": given })
    });
    needs.collect()
}

fn stands_for(vote: &Vote, set: &ApproverSet) -> bool {
    vote.sets.contains(set) || vote.lent.iter().any(|loan| loan.sets.contains(set))
}

pub(crate) fn votes(approval: &Approval) -> Value {
    let votes = approval.votes.iter().map(|vote| {
        json!({
            "by": vote.approver.key.to_string(),
            "verdict": vote.verdict,
            "sets": vote.sets,
            "instead_of": vote.lent.iter().map(|loan| loan.lender.key.to_string()).collect::<Vec<_>>(),
            "reason": vote.reason,
            "at": vote.at.to_string(),
        })
    });
    votes.collect()
}

/// That the glass was broken, and what somebody found of it.
pub(crate) fn broken(broken: &Broken) -> Value {
    json!({
        "by": broken.by.key.to_string(),
        "at": broken.at.to_string(),
        "reason": broken.reason,
        "reviewers": broken.reviewers,
        "due": broken.due.to_string(),
        "review": broken.review.as_ref().map(|review| json!({
            "by": review.by.to_string(),
            "at": review.at.to_string(),
            "verdict": review.verdict,
            "reason": review.reason,
        })),
    })
}

pub(crate) fn person(principal: &Principal) -> Value {
    json!({
        "id": principal.key.to_string(),
        "kind": principal.kind,
        "client": principal.client,
        "actors": principal.token.actors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "groups": principal.groups,
    })
}
