use axum::{
    Extension, Json,
    extract::{Query as Params, State as Of, rejection::QueryRejection},
};
use crewgate_core::Principal;
use crewgate_oidc::SeenTokens;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, problem::Problem};

/// Rows of one page.
const PAGE: u32 = 1000;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Rows before it.
    #[serde(default)]
    offset: u32,
}

/// Which tokens are in use, for readers of the record.
pub(crate) async fn list(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    which: Result<Params<Which>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Params(Which { offset }) = which.map_err(|error| Problem::bad(error.body_text()))?;
    let inventory = console.inventory.as_deref().ok_or_else(Problem::not_found)?;
    console.everybodys(&who, "tokens").await?;
    let seen = inventory.seen(offset, PAGE).await.map_err(|error| Problem::unavailable(&error))?;
    let full = u32::try_from(seen.len()).is_ok_and(|rows| rows == PAGE);
    let next = full.then(|| offset.saturating_add(PAGE));
    Ok(Json(json!({ "tokens": seen.iter().map(view).collect::<Vec<_>>(), "next": next })))
}

fn view(seen: &SeenTokens) -> Value {
    json!({
        "issuer": seen.issuer,
        "client": seen.client,
        "subject": seen.subject,
        "kind": seen.kind,
        "algorithm": seen.algorithm,
        "lifetime": seen.lifetime_secs,
        "sender_constrained": seen.sender_constrained,
        "roles": seen.roles,
        "first": seen.first.to_string(),
        "last": seen.last.to_string(),
    })
}
