//! What a person found out about a request whose answer was lost.

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State as Of},
};
use crewgate_approval::{Approval, Finding, Resolution, ResolveError};
use crewgate_core::Principal;
use crewgate_runs::RegisterError;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, approvals, body, problem::Problem, view};

/// Bytes of an upstream's id of a run: far more than a UUID has.
const MAX_RUN_BYTES: usize = 256;

/// A finding as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settlement {
    found: Found,
    /// The crew's own id of the run.
    #[serde(default)]
    run: Option<String>,
    reason: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Ran,
    DidNotRun,
}

pub(crate) async fn resolve(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let sent: Settlement = body::json(&headers, body, "what was found").await?;
    let reason = approvals::reason(Some(sent.reason))?.filter(|reason| !reason.trim().is_empty());
    let reason = reason.ok_or_else(|| Problem::bad("say in `reason` how you know"))?;
    let finding = match (sent.found, sent.run) {
        (Found::Ran, upstream) => Finding::Ran { upstream },
        (Found::DidNotRun, None) => Finding::DidNotRun,
        (Found::DidNotRun, Some(_)) => return Err(Problem::bad("what did not run has no `run`")),
    };
    let seen = console.visible(&who, &id).await?;
    console.is_free(&seen.approval, &finding).await?;
    let resolution = Resolution {
        approval: seen.approval.id(),
        by: who.clone(),
        sets: seen.voice.sets,
        finding: finding.clone(),
        reason,
        at: console.clock.now(),
    };
    let state = console.approvals.resolve(resolution).await.map_err(refused)?;
    // On the record first: from here on the caller's ticket may stand for that run.
    console.bind(&seen.approval, finding).await?;
    Ok(Json(json!({ "state": view::state(&state) })))
}

impl Console {
    /// Whether what was found may be the run of this ticket's: one that is another's is a mistake, or worse.
    async fn is_free(&self, approval: &Approval, finding: &Finding) -> Result<(), Problem> {
        let Finding::Ran { upstream: Some(upstream) } = finding else { return Ok(()) };
        if !(1..=MAX_RUN_BYTES).contains(&upstream.len()) || upstream.chars().any(char::is_control) {
            return Err(Problem::bad("`run` is the crew's own id of the run, of 1 to 256 bytes"));
        }
        let Some(ticket) = approval.asked.run else {
            return Err(Problem::bad("this request has no ticket that could stand for a `run`"));
        };
        let crew = &approval.asked.operation.resource.name;
        let unavailable = |error| Problem::unavailable(&error);
        let owned = self.runs.find_upstream(crew, vec![upstream.clone()]).await.map_err(unavailable)?;
        let own = self.runs.find(ticket.as_uuid()).await.map_err(unavailable)?;
        let stands_for = own.as_ref().map(|own| own.upstream.as_ref().is_none_or(|bound| bound == upstream));
        match stands_for {
            Some(true) if owned.iter().all(|id| id.run == ticket) => Ok(()),
            _ => Err(taken()),
        }
    }

    async fn bind(&self, approval: &Approval, finding: Finding) -> Result<(), Problem> {
        let (Some(ticket), Finding::Ran { upstream: Some(upstream) }) = (approval.asked.run, finding) else {
            return Ok(());
        };
        match self.runs.bind(ticket, upstream).await {
            Ok(_) => Ok(()),
            Err(RegisterError::Ledger(error)) => Err(Problem::unavailable(&error)),
            Err(_) => Err(taken()),
        }
    }
}

fn taken() -> Problem {
    Problem::new(StatusCode::CONFLICT, "run_taken", "that run belongs to another request")
}

fn refused(error: ResolveError) -> Problem {
    let text = error.to_string();
    match error {
        ResolveError::Store(error) => approvals::store(error),
        ResolveError::OwnRequest => Problem::new(StatusCode::FORBIDDEN, "self_approval", text),
        ResolveError::NotEligible => Problem::new(StatusCode::FORBIDDEN, "not_eligible", text),
        ResolveError::NotIndeterminate(state) => approvals::conflict("not_indeterminate", &text, &state),
        _ => Problem::not_found(),
    }
}
