//! Searching the record.

use axum::{
    Extension, Json,
    extract::{Query as Params, State as Of, rejection::QueryRejection},
};
use crewgate_audit::{DEFAULT_QUERY_LIMIT, Held, Leaf, Query, Word};
use crewgate_core::Principal;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, problem::Problem};

/// What to look for: all that is given must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    action: Option<String>,
    /// Leaves older than this one; with `oldest_first`, newer.
    after: Option<u64>,
    approval: Option<String>,
    crew: Option<String>,
    decision: Option<String>,
    entity: Option<String>,
    kind: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    oldest_first: bool,
    principal: Option<String>,
    request: Option<String>,
    role: Option<String>,
    rule: Option<String>,
    run: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// Leaves of the record, for its readers.
pub(crate) async fn search(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    which: Result<Params<Which>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Params(which) = which.map_err(|error| Problem::bad(error.body_text()))?;
    let query = query(which)?;
    console.everybodys(&who, "record").await?;
    let limit = query.limit;
    let leaves = console.audit.leaves(query).await.map_err(|error| Problem::unavailable(&error))?;
    let full = u32::try_from(leaves.len()).is_ok_and(|found| found == limit);
    let next = leaves.last().filter(|_| full).map(|leaf| leaf.index);
    Ok(Json(json!({ "leaves": leaves.iter().map(view).collect::<Vec<_>>(), "next_after": next })))
}

fn query(which: Which) -> Result<Query, Problem> {
    let words = [
        which.action.map(Word::Action),
        which.crew.map(|crew| Word::Resource(format!("Crew/{crew}"))),
        which.decision.map(Word::Decision),
        which.entity.map(Word::Masked),
        which.kind.map(Word::Kind),
        which.role.map(Word::Role),
        which.rule.map(Word::Rule),
    ];
    Ok(Query {
        after: which.after,
        limit: which.limit.map_or(DEFAULT_QUERY_LIMIT, |limit| limit.clamp(1, DEFAULT_QUERY_LIMIT)),
        newest_first: !which.oldest_first,
        run: parsed("run", which.run)?,
        request: parsed("request", which.request)?,
        approval: parsed("approval", which.approval)?,
        principal: which.principal,
        phase: None,
        since: parsed("since", which.since)?,
        until: parsed("until", which.until)?,
        words: words.into_iter().flatten().collect(),
    })
}

fn parsed<T: std::str::FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, Problem> {
    let value = text.map(|text| text.parse().map_err(|_| Problem::bad(format!("`{name}` is not one"))));
    value.transpose()
}

/// What the leaf says in clear, and who it tells of, where that can be read.
fn view(leaf: &Leaf) -> Value {
    let principal = leaf.entry().ok().and_then(|entry| entry.principal().map(ToString::to_string));
    let held = match leaf.held {
        Held::Open(_) => "open",
        Held::Sealed => "sealed",
        Held::Erased { .. } => "erased",
        Held::Missing => "missing",
        Held::Broken => "broken",
    };
    let record: Value = serde_json::from_str(&leaf.record).unwrap_or_default();
    let time = leaf.entry().ok().map(|entry| entry.time.to_string());
    json!({ "leaf": leaf.index, "time": time, "principal": principal, "held": held, "record": record })
}
