//! Break-glass: who may lets go what they asked for, and somebody else looks at it afterwards.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State as Of},
};
use crewgate_approval::{Approval, BreakError, Digest, GlassBreak, Hindsight, ReviewError};
use crewgate_core::{ApproverSet, Principal, Timestamp, Verdict};
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Console,
    approvals::{conflict, reason, store},
    body,
    problem::Problem,
    view,
};

type Answer = Result<Json<Value>, Problem>;

/// On which terms somebody may break the glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlassTerms {
    /// The sets they need not wait for.
    pub instead_of: BTreeSet<ApproverSet>,
    /// Who may look at it afterwards.
    pub reviewers: BTreeSet<ApproverSet>,
    /// How soon somebody must have.
    pub within: Duration,
    /// How recently they must have proved who they are.
    pub fresh: Duration,
    /// How, in their issuer's words (`acr`); empty: however.
    pub classes: BTreeSet<String>,
}

impl GlassTerms {
    /// Whether this token says that its person has just proved who they are, and in a way that is enough.
    fn are_met(&self, who: &Principal, now: Timestamp) -> bool {
        let token = &who.token;
        let recent = token.authenticated.is_some_and(|at| now < at.saturating_add(self.fresh));
        let strong = token.class.as_ref().is_some_and(|class| self.classes.contains(class));
        recent && (strong || self.classes.is_empty())
    }

    /// What is missing, as RFC 9470 section 3 says it.
    fn step_up(&self) -> Problem {
        let detail = "prove who you are again: breaking the glass needs a fresh login";
        let mut challenge =
            format!("error=\"insufficient_user_authentication\", max_age={}", self.fresh.as_secs());
        let classes: Vec<&str> = self.classes.iter().map(String::as_str).collect();
        if !classes.is_empty() {
            challenge.push_str(&format!(", acr_values=\"{}\"", classes.join(" ")));
        }
        Problem::new(StatusCode::UNAUTHORIZED, "insufficient_user_authentication", detail)
            .challenge(challenge)
    }
}

/// Who may break the glass.
pub trait BreaksGlass: Send + Sync + 'static {
    /// The terms on which this principal may, now; `None` when they may not, or nobody can tell.
    fn glass<'a>(&'a self, who: &'a Principal) -> BoxFuture<'a, Option<GlassTerms>>;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Break {
    digest: Digest,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    verdict: Verdict,
    reason: String,
}

pub(crate) async fn break_it(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let sent: Break = body::json(&headers, body, "breaking the glass").await?;
    let words = reason(Some(sent.reason))?.unwrap_or_default();
    let seen = console.visible(&who, &id).await?;
    let now = console.clock.now();
    let terms = match &console.glass {
        Some(glass) => glass.glass(&who).await,
        None => None,
    };
    let Some(terms) = terms else {
        console.break_refused(&who, &seen.approval).await?;
        let detail = "you are not among those who may break the glass";
        return Err(Problem::new(StatusCode::FORBIDDEN, "no_break_glass", detail));
    };
    if !terms.are_met(&who, now) {
        return Err(terms.step_up());
    }
    let glass = GlassBreak {
        approval: seen.approval.id(),
        digest: sent.digest,
        by: who.clone(),
        instead_of: terms.instead_of,
        reviewers: terms.reviewers,
        within: terms.within,
        reason: words,
        at: now,
        gives: console.gift(&seen.approval, now),
    };
    let state = match console.approvals.break_glass(glass).await {
        Ok(state) => state,
        Err(error) => {
            let tried =
                matches!(error, BreakError::NotRequester | BreakError::NotCovered | BreakError::Locked);
            if tried {
                console.break_refused(&who, &seen.approval).await?;
            }
            return Err(refused(error));
        }
    };
    tracing::error!(
        approval = %seen.approval.id(),
        by = %who.key,
        action = %seen.approval.asked.operation.action,
        resource = seen.approval.asked.operation.resource.name,
        "the glass was broken: a request runs without those it waited for and must be reviewed"
    );
    let due = now.saturating_add(terms.within);
    Ok(Json(json!({ "state": view::state(&state), "review_due": due.to_string() })))
}

pub(crate) async fn review(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let sent: Look = body::json(&headers, body, "a review").await?;
    let words = reason(Some(sent.reason))?.filter(|words| !words.trim().is_empty());
    let reason = words.ok_or_else(|| Problem::bad("say in `reason` what you found"))?;
    let seen = console.visible(&who, &id).await?;
    let hindsight = Hindsight {
        approval: seen.approval.id(),
        by: who.clone(),
        sets: seen.voice.sets,
        verdict: sent.verdict,
        reason,
        at: console.clock.now(),
    };
    console.approvals.review(hindsight).await.map_err(not_reviewed)?;
    Ok(Json(json!({ "reviewed": sent.verdict })))
}

impl Console {
    /// Somebody tried what they may not: that is on the record too.
    async fn break_refused(&self, who: &Principal, approval: &Approval) -> Result<(), Problem> {
        self.note(who, "approval.break_refused", approval.asked.run, Some(approval)).await
    }
}

fn refused(error: BreakError) -> Problem {
    let text = error.to_string();
    let forbidden = |code| Problem::new(StatusCode::FORBIDDEN, code, text.clone());
    match error {
        BreakError::Store(error) => store(error),
        BreakError::DigestMismatch => Problem::new(StatusCode::CONFLICT, "digest_mismatch", text),
        BreakError::Locked => forbidden("break_glass_locked"),
        BreakError::NotCovered => forbidden("break_glass_not_covered"),
        BreakError::NotRequester => forbidden("not_requester"),
        BreakError::NotPending(state) => conflict("not_pending", &text, &state),
        BreakError::Terse => Problem::bad(text),
        _ => Problem::not_found(),
    }
}

fn not_reviewed(error: ReviewError) -> Problem {
    let text = error.to_string();
    match error {
        ReviewError::Store(error) => store(error),
        ReviewError::Closed => Problem::new(StatusCode::CONFLICT, "nothing_to_review", text),
        ReviewError::OwnRequest => Problem::new(StatusCode::FORBIDDEN, "self_approval", text),
        ReviewError::NotEligible => Problem::new(StatusCode::FORBIDDEN, "not_eligible", text),
        _ => Problem::not_found(),
    }
}
