use std::collections::BTreeSet;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State as Of},
};
use crewgate_approval::{
    Approval, Ballot, CancelError, DEFAULT_LIST_LIMIT, Digest, Filter, Hindsight, Phase, State, StoreError,
    Vote, VoteError, machine, walk,
};
use crewgate_core::{ApprovalId, ApproverSet, Principal, PrincipalKind, Timestamp, Verdict};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Console, body,
    delegations::Voice,
    problem::Problem,
    view::{self, Standing},
};

/// Bytes of a decision's body: a verdict, a digest and a reason with room for escapes.
pub const MAX_DECISION_BYTES: usize = 16 * 1024;

/// Bytes of a reason: a paragraph. It stands on the record for good.
pub const MAX_REASON_BYTES: usize = 2000;

type Answer = Result<Json<Value>, Problem>;

/// A decision as it is sent. Strict: what is not understood was perhaps meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

pub(crate) async fn list(Of(console): Of<Console>, Extension(who): Extension<Principal>) -> Answer {
    listed(&console, &who).await.map(Json)
}

/// What waits for this person, and what they asked for.
pub(crate) async fn listed(console: &Console, who: &Principal) -> Result<Value, Problem> {
    let now = console.clock.now();
    let voice = console.voice_of(who, now).await?;
    let waiting = Filter { sets: Some(voice.all()), ..Filter::at(now).phase(Phase::Pending) };
    let lost = Filter { sets: Some(voice.sets.clone()), ..Filter::at(now).phase(Phase::Indeterminate) };
    let broken = Filter { unreviewed: true, ..Filter::at(now) };
    let own = Filter { requester: Some(who.key.clone()), newest_first: true, ..Filter::at(now) };
    // What is not theirs to decide must not hide what is.
    let theirs = async |filter: Filter, may: fn(&Standing) -> bool| {
        let summary = |approval: Approval| {
            let standing = standing(&approval, who, &voice, now);
            may(&standing).then(|| view::summary(&approval, now, standing))
        };
        walk(&*console.approvals, filter, DEFAULT_LIST_LIMIT.get(), summary).await.map_err(store)
    };
    let lists = [
        ("waiting", theirs(waiting, |standing| standing.may_decide).await?),
        ("lost", theirs(lost, |standing| standing.may_resolve).await?),
        ("review", theirs(broken, |standing| standing.may_review).await?),
        ("own", theirs(own, |_| true).await?),
    ];
    let more: Vec<&str> = lists.iter().filter(|(_, found)| found.more).map(|(name, _)| *name).collect();
    let mut answer = json!({ "more": more });
    if let Some(answer) = answer.as_object_mut() {
        answer.extend(lists.map(|(name, found)| (name.to_owned(), Value::Array(found.rows))));
    }
    Ok(answer)
}

pub(crate) async fn show(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    shown(&console, &who, &id).await.map(Json)
}

/// One approval, with what exactly will be sent.
pub(crate) async fn shown(console: &Console, who: &Principal, id: &str) -> Result<Value, Problem> {
    let seen = console.visible(who, id).await?;
    let (approval, now) = (&seen.approval, console.clock.now());
    if seen.as_reader {
        console.note(who, "access.approval", approval.asked.run, Some(approval)).await?;
    }
    let asked = &approval.asked;
    let shown = console.shown_of(approval)?;
    let may_approve = seen.may_decide(who, now) && console.has_seen(who, approval).await?;
    let mut answer = view::summary(approval, now, standing(approval, who, &seen.voice, now));
    let more = json!({
        "requester": view::person(&asked.requester),
        "datasets": asked.operation.datasets,
        "webhook_hosts": asked.operation.webhook_hosts,
        "outgoing": {
            "method": asked.outgoing.method.as_str(),
            "path": asked.outgoing.path.as_str(),
            "upstream": asked.upstream,
            "content_type": asked.outgoing.content_type.as_ref().and_then(|value| value.to_str().ok()),
            "length": asked.outgoing.body.len(),
            "body": shown.body,
            "masked": shown.masked,
            "hidden_inputs": shown.hidden_inputs,
        },
        "may_approve": may_approve,
        "digest": asked.digest.to_string(),
        "duties": asked.duties,
        "basis": asked.basis,
        "release": asked.release,
        "usable_for_seconds": asked.usable_for.as_secs(),
        "votes": view::votes(approval),
        "break_glass": approval.broken.as_ref().map(view::broken),
    });
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    Ok(answer)
}

pub(crate) async fn decide(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let decision: Decision = body::json(&headers, body, "a decision").await?;
    voted(&console, &who, &id, decision).await.map(Json)
}

/// Counts a decision and says where the approval stands then.
pub(crate) async fn voted(
    console: &Console,
    who: &Principal,
    id: &str,
    decision: Decision,
) -> Result<Value, Problem> {
    let (verdict, words) = (decision.verdict, reason(decision.reason)?);
    let (seen, at) = (console.visible(who, id).await?, console.clock.now());
    // Whoever may not decide is told that.
    if verdict == Verdict::Approve && seen.may_decide(who, at) {
        console.demand_seen(who, &seen.approval).await?;
    }
    let ballot = Ballot {
        approval: seen.approval.id(),
        gives: console.gift(&seen.approval, at),
        digest: decision.digest,
        vote: Vote {
            approver: who.clone(),
            // Resolved for this vote, from the token it came with.
            sets: seen.voice.sets,
            lent: seen.voice.lent,
            verdict,
            reason: words,
            at,
        },
    };
    match console.approvals.vote(ballot).await {
        Ok(state) => Ok(json!({ "state": view::state(&state) })),
        Err(error) => {
            let problem = refused(&error);
            // Somebody tried what is never allowed: that is on the record too.
            if let VoteError::SelfApproval | VoteError::NotEligible = error {
                let run = seen.approval.asked.run;
                console.note(who, "approval.vote_refused", run, Some(&seen.approval)).await?;
            }
            Err(problem)
        }
    }
}

pub(crate) async fn cancel(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    if !body::read(body).await?.is_empty() {
        return Err(Problem::bad("a cancellation has no body"));
    }
    cancelled(&console, &who, &id).await.map(Json)
}

/// Takes somebody's own request back.
pub(crate) async fn cancelled(console: &Console, who: &Principal, id: &str) -> Result<Value, Problem> {
    let seen = console.visible(who, id).await?;
    match console.approvals.cancel(seen.approval.id(), who, console.clock.now()).await {
        Ok(state) => Ok(json!({ "state": view::state(&state) })),
        Err(CancelError::Store(error)) => Err(store(error)),
        Err(error @ CancelError::NotRequester) => {
            Err(Problem::new(StatusCode::FORBIDDEN, "not_requester", error.to_string()))
        }
        Err(CancelError::TooLate(state)) => {
            Err(conflict("too_late", "it can no longer be taken back", &state))
        }
        Err(_) => Err(Problem::not_found()),
    }
}

pub(crate) struct Seen {
    pub(crate) approval: Approval,
    pub(crate) voice: Voice,
    /// Neither requester nor asked: reads the record.
    as_reader: bool,
}

impl Seen {
    /// Whether this person is asked, and has not spoken yet.
    pub(crate) fn may_decide(&self, who: &Principal, now: Timestamp) -> bool {
        standing(&self.approval, who, &self.voice, now).may_decide
    }
}

impl Console {
    pub(crate) async fn sets_of(&self, who: &Principal) -> Result<BTreeSet<ApproverSet>, Problem> {
        self.eligible.sets(who).await.map_err(|error| Problem::unavailable(&error))
    }

    /// The approval of this id, for those it concerns.
    pub(crate) async fn visible(&self, who: &Principal, id: &str) -> Result<Seen, Problem> {
        let id = id.parse::<ApprovalId>().map_err(|_| Problem::not_found())?;
        let Some(approval) = self.approvals.find(id).await.map_err(store)? else {
            // Whose it was and who was asked is gone with it: nothing is said of it but that.
            let erased = self.approvals.is_erased(id).await.map_err(store)?;
            return Err(if erased { Problem::erased() } else { Problem::not_found() });
        };
        let now = self.clock.now();
        let voice = self.voice_of(who, now).await?;
        let asked = !approval.voices(now).is_disjoint(&voice.all());
        let reviews =
            approval.broken.as_ref().is_some_and(|broken| !broken.reviewers.is_disjoint(&voice.sets));
        let concerned = who.is_behind(&approval.asked.requester) || asked || reviews;
        if !concerned && !self.readers.reads_record(who).await {
            return Err(Problem::not_found());
        }
        Ok(Seen { approval, voice, as_reader: !concerned })
    }
}

/// What would be answered if they did it now.
fn standing(approval: &Approval, who: &Principal, voice: &Voice, now: Timestamp) -> Standing {
    let mine = who.is_behind(&approval.asked.requester);
    let asked = !mine && who.kind == PrincipalKind::User && !approval.voices(now).is_disjoint(&voice.sets);
    let vote = Vote {
        approver: who.clone(),
        sets: voice.sets.clone(),
        lent: voice.lent.clone(),
        verdict: Verdict::Approve,
        reason: None,
        at: now,
    };
    let ballot = Ballot { approval: approval.id(), digest: approval.asked.digest, vote, gives: None };
    let hindsight = Hindsight {
        approval: approval.id(),
        by: who.clone(),
        sets: voice.sets.clone(),
        verdict: Verdict::Approve,
        reason: String::new(),
        at: now,
    };
    Standing {
        mine,
        may_decide: machine::vote(approval, &ballot).is_ok(),
        may_resolve: asked && approval.state_at(now) == State::Indeterminate,
        may_review: machine::review(approval, &hindsight).is_ok(),
    }
}

/// Words that will stand on the record for good, within their bound.
pub(crate) fn reason(words: Option<String>) -> Result<Option<String>, Problem> {
    match words {
        Some(words) if words.len() > MAX_REASON_BYTES => {
            Err(Problem::bad(format!("a reason has at most {MAX_REASON_BYTES} bytes")))
        }
        words => Ok(words),
    }
}

fn refused(error: &VoteError) -> Problem {
    let text = error.to_string();
    match error {
        VoteError::Store(error) => store(error.clone()),
        VoteError::SelfApproval => Problem::new(StatusCode::FORBIDDEN, "self_approval", text),
        VoteError::NotEligible => Problem::new(StatusCode::FORBIDDEN, "not_eligible", text),
        VoteError::AlreadyVoted => Problem::new(StatusCode::CONFLICT, "already_voted", text),
        VoteError::DigestMismatch => Problem::new(StatusCode::CONFLICT, "digest_mismatch", text),
        VoteError::NotPending(state) => conflict("not_pending", &text, state),
        _ => Problem::not_found(),
    }
}

pub(crate) fn conflict(code: &'static str, detail: &str, state: &State) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, detail).with("state", view::state(state))
}

pub(crate) fn store(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) => Problem::unavailable(&error),
        StoreError::Unknown(_) => Problem::unknown(&error),
    }
}
