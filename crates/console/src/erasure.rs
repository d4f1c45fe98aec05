//! Giving up what the record holds, and saying that it is read elsewhere.

use std::time::Duration;

use axum::{Extension, Json, body::Body, extract::State as Of};
use crewgate_audit::{AuditError, Class, EraseError};
use crewgate_core::{Principal, RequestId, RunId};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, body, console::Erasing, problem::Problem};

type Answer = Result<Json<Value>, Problem>;

/// What is about to be read from the store itself.
#[derive(Debug, Deserialize)]
#[serde(tag = "reads", rename_all = "lowercase", deny_unknown_fields)]
enum Access {
    Record,
    Run { id: RunId },
    Request { id: RequestId },
    Runs,
}

/// Whose content is given up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// `issuer:subject`.
    person: String,
}

/// Whose content must stay, or need no longer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    person: String,
    held: bool,
}

/// How old content is that is given up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Old {
    older_than_seconds: u64,
    /// All of them without.
    #[serde(default)]
    class: Option<Class>,
}

pub(crate) async fn access(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    match body::json(&headers, body, "what is read").await? {
        Access::Record => console.everybodys(&who, "record").await?,
        Access::Runs => console.everybodys(&who, "runs").await?,
        Access::Run { id } => console.looked(&who, "access.run", Some(id)).await?,
        Access::Request { id } => console.looked(&who, &format!("access.run {id}"), None).await?,
    }
    Ok(Json(json!({ "recorded": true })))
}

pub(crate) async fn erase(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let erasing = console.erasing(&who).await?;
    let Whose { person } = body::json(&headers, body, "an erasure").await?;
    let leaves = erasing.record.erase(&person, Some(who.key)).await.map_err(refused)?;
    Ok(Json(json!({ "leaves": leaves })))
}

pub(crate) async fn hold(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let erasing = console.erasing(&who).await?;
    let Hold { person, held } = body::json(&headers, body, "a hold").await?;
    erasing.record.hold(&person, held, Some(who.key)).await.map_err(refused)?;
    Ok(Json(json!({ "held": held })))
}

pub(crate) async fn prune(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let erasing = console.erasing(&who).await?;
    let Old { older_than_seconds, class } = body::json(&headers, body, "an age").await?;
    let before = console.clock.now().saturating_sub(Duration::from_secs(older_than_seconds));
    let classes = class.map_or(Class::ALL.to_vec(), |class| vec![class]);
    let mut leaves = 0;
    for class in classes {
        leaves += erasing.record.prune(class, before, Some(who.key.clone())).await.map_err(refused)?;
    }
    Ok(Json(json!({ "leaves": leaves })))
}

impl Console {
    async fn erasing(&self, who: &Principal) -> Result<&Erasing, Problem> {
        let erasing = self.erasing.as_ref().ok_or_else(Problem::not_found)?;
        if !erasing.by.erases(who).await {
            let detail = "only who is entitled to give up what the record holds does this";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not_eraser", detail));
        }
        Ok(erasing)
    }
}

fn refused(error: EraseError) -> Problem {
    let text = error.to_string();
    match error {
        EraseError::Held => Problem::new(StatusCode::CONFLICT, "on_hold", text),
        EraseError::Unknown => Problem::new(StatusCode::NOT_FOUND, "nothing_held", text),
        EraseError::Store(AuditError::Unknown) => Problem::unknown(&text),
        _ => Problem::unavailable(&text),
    }
}
