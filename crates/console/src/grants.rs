use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query as Params, State as Of, rejection::QueryRejection},
};
use crewgate_approval::{Grant, GrantFilter, GrantStore, Revocation, RevokeError};
use crewgate_core::{GrantId, Principal, RequestId, Timestamp};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Console,
    approvals::{reason, store},
    body,
    problem::Problem,
};

type Answer = Result<Json<Value>, Problem>;

/// Which grants to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Everybody's, for record readers.
    #[serde(default)]
    all: bool,
    /// Those that are over too.
    #[serde(default)]
    over: bool,
}

/// Why it is taken away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(default)]
    reason: Option<String>,
}

pub(crate) async fn list(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    which: Result<Params<Which>, QueryRejection>,
) -> Answer {
    let Params(which) = which.map_err(|error| Problem::bad(error.body_text()))?;
    if which.all {
        console.everybodys(&who, "grants").await?;
    }
    let (grants, now) = (console.granted()?, console.clock.now());
    let sets = console.sets_of(&who).await?;
    let all = GrantFilter { over: which.over, ..GrantFilter::at(now) };
    let list = async |filter: GrantFilter| {
        let found = grants.list(filter).await.map_err(store)?;
        Ok::<Value, Problem>(found.iter().map(|grant| view(grant, now)).collect())
    };
    let given = GrantFilter { sets: Some(sets), ..all.clone() };
    let mut answer = json!({ "own": list(all.clone().of(&who.key)).await?, "revocable": list(given).await? });
    if let (true, Some(answer)) = (which.all, answer.as_object_mut()) {
        answer.insert("all".to_owned(), list(all).await?);
    }
    Ok(Json(answer))
}

pub(crate) async fn revoke(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let words: Words = body::json(&headers, body, "a revocation").await?;
    let revocation = Revocation {
        grant: id.parse::<GrantId>().map_err(|_| Problem::not_found())?,
        request: RequestId::random(),
        by: who.key.clone(),
        // Resolved for this revocation, from the token it came with.
        sets: console.sets_of(&who).await?,
        reason: reason(words.reason)?,
        at: console.clock.now(),
    };
    let now = revocation.at;
    match console.granted()?.revoke(revocation).await {
        Ok(grant) => Ok(Json(view(&grant, now))),
        Err(RevokeError::Store(error)) => Err(store(error)),
        Err(error @ RevokeError::Over(state)) => {
            let problem = Problem::new(StatusCode::CONFLICT, "grant_over", error.to_string());
            Err(problem.with("state", json!({ "name": state.as_str() })))
        }
        // Whether it is there is not theirs to know.
        Err(_) => Err(Problem::not_found()),
    }
}

impl Console {
    fn granted(&self) -> Result<&dyn GrantStore, Problem> {
        self.grants.as_deref().ok_or_else(Problem::not_found)
    }
}

fn view(grant: &Grant, now: Timestamp) -> Value {
    let given = &grant.given;
    json!({
        "id": given.id.to_string(),
        "principal": given.principal.to_string(),
        "role": given.role.as_str(),
        "state": grant.state_at(now).as_str(),
        "from": given.from.to_string(),
        "until": given.until.to_string(),
        "narrowed": given.narrowed,
        "used": grant.used,
        "reason": given.reason,
        "approval": given.approval.to_string(),
        "sets": given.sets,
        "revoked": grant.revoked.as_ref().map(|revoked| json!({
            "by": revoked.by.to_string(),
            "at": revoked.at.to_string(),
            "reason": revoked.reason,
        })),
    })
}
