use axum::{
    Extension, Json,
    extract::{Path, Query as Params, State as Of, rejection::QueryRejection},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use crewgate_audit::{Query, Step, StepKind, Timeline};
use crewgate_core::{IdKind, Principal, RunId, Timestamp};
use crewgate_runs::{LedgerError, OwnedId, RunFilter};
use serde::Deserialize;
use serde_json::{Value, json};
use std::num::NonZeroUsize;

use crate::{Console, problem::Problem, view};

/// Leaves of a run that one answer shows; the answer says where the next page begins.
pub const MAX_STEPS_LEAVES: u32 = 1000;

type Answer = Result<Json<Value>, Problem>;

/// Which runs to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Everybody's, for record readers.
    #[serde(default)]
    all: bool,
    #[serde(default)]
    crew: Option<String>,
    /// Microseconds since 1970, as the answer's `next_before` says.
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    limit: Option<NonZeroUsize>,
}

/// Where a page of a run begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    after: Option<u64>,
}

pub(crate) async fn list(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    which: Result<Params<Which>, QueryRejection>,
) -> Answer {
    let Params(which) = which.map_err(|error| Problem::bad(error.body_text()))?;
    if which.all {
        console.everybodys(&who, "runs").await?;
    }
    let limit = crewgate_runs::DEFAULT_LIST_LIMIT;
    let filter = RunFilter {
        crew: which.crew,
        owner: (!which.all).then(|| who.key.clone()),
        before: which.before.map(Timestamp::from_micros),
        limit: which.limit.map_or(limit, |asked| asked.min(limit)),
    };
    let limit = filter.limit.get();
    let runs = console.runs.list(filter).await.map_err(ledger)?;
    let next = runs.last().filter(|_| runs.len() == limit).map(|run| run.at.as_micros());
    Ok(Json(json!({ "runs": runs.iter().map(run).collect::<Value>(), "next_before": next })))
}

pub(crate) async fn show(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    page: Result<Params<Page>, QueryRejection>,
) -> Answer {
    let Params(page) = page.map_err(|error| Problem::bad(error.body_text()))?;
    let owned = console.run(&who, &id).await?;
    // First on the record, then on the screen. It is part of the run's own story from now on.
    console.note(&who, "access.run", Some(owned.run), None).await?;
    let query = Query { after: page.after, limit: MAX_STEPS_LEAVES, ..Query::run(owned.run) };
    let leaves = console.audit.leaves(query).await.map_err(|error| Problem::unavailable(&error))?;
    let full = usize::try_from(MAX_STEPS_LEAVES).is_ok_and(|limit| leaves.len() >= limit);
    let next = leaves.last().filter(|_| full).map(|leaf| leaf.index);
    let timeline = Timeline::of(&leaves).map_err(|error| Problem::unavailable(&error))?;
    let steps = timeline.steps.iter().zip(timeline.lines()).map(|(step, line)| step_view(step, line.text));
    let approval =
        console.approvals.by_run(owned.run).await.map_err(|error| Problem::unavailable(&error))?.map(
            |approval| {
                json!({
                    "id": approval.id().to_string(),
                    "state": view::state(&approval.state_at(console.clock.now())),
                    "needs": view::needs(&approval),
                    "votes": view::votes(&approval),
                })
            },
        );
    let mut answer = run(&owned);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("approval".to_owned(), approval.unwrap_or_default());
        answer.insert("steps".to_owned(), steps.collect());
        answer.insert("next_after".to_owned(), json!(next));
    }
    Ok(Json(answer))
}

impl Console {
    /// The run of this id, for its owner and for readers of the record.
    pub(crate) async fn run(&self, who: &Principal, id: &str) -> Result<OwnedId, Problem> {
        let own = id.parse::<RunId>().map_err(|_| Problem::not_found())?.as_uuid();
        let found = self.runs.find(own).await.map_err(ledger)?;
        let owned = found.filter(|found| found.kind == IdKind::Run).ok_or_else(Problem::not_found)?;
        if owned.owner != who.key && !self.readers.reads_record(who).await {
            return Err(Problem::not_found());
        }
        Ok(owned)
    }
}

/// What stands for it upstream is nobody's business here.
fn run(owned: &OwnedId) -> Value {
    json!({
        "id": owned.run.to_string(),
        "crew": owned.crew,
        "owner": owned.owner.to_string(),
        "at": owned.at.to_string(),
        "started": owned.upstream.is_some(),
    })
}

fn step_view(step: &Step, line: String) -> Value {
    let mut view = json!({
        "at_micros": u64::try_from(step.at.as_micros()).unwrap_or(u64::MAX),
        "time": step.time.to_string(),
        "leaf": step.leaf,
        "request": step.request.to_string(),
        "line": line,
    });
    let (kind, value) = match &step.kind {
        StepKind::Answer(bytes) => ("answer", text(bytes)),
        StepKind::Body(bytes) => ("body", text(bytes)),
        StepKind::Fact(fact) => ("fact", json!(fact)),
        StepKind::Intent => ("intent", Value::Null),
        _ => ("other", Value::Null),
    };
    if let Some(view) = view.as_object_mut() {
        view.insert("kind".to_owned(), kind.into());
        view.insert("value".to_owned(), value);
    }
    view
}

/// Bytes as JSON can hold them, exactly.
fn text(bytes: &Bytes) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an adapter for map_err")]
fn ledger(error: LedgerError) -> Problem {
    Problem::unavailable(&error)
}
