//! Who could be reached if something waited now.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::{Query as Params, State as Of, rejection::QueryRejection},
};
use crewgate_core::{ApproverSet, Principal, Timestamp};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, problem::Problem};

/// Days after which somebody who was not seen does not count as reachable, unless the caller says otherwise: a long
/// vacation.
const DAYS: u64 = 30;

/// What is known of a set's people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The set.
    pub set: ApproverSet,
    /// How many different people must say yes.
    pub need: u32,
    /// Who belongs to it, as the configuration names them: groups and identities.
    pub bound: Vec<String>,
    /// Who was seen with such a role lately, and when last; one entry for each person.
    pub seen: Vec<(String, Timestamp)>,
    /// Whom one of its people has lent their voice.
    pub lent: Vec<String>,
    /// Receivers that are told when it is asked.
    pub told: Vec<String>,
    /// The sets it goes to, and after how long.
    pub then: Vec<(ApproverSet, Duration)>,
}

impl Reach {
    /// Whether as many people could answer as it needs.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        u32::try_from(self.seen.len()).is_ok_and(|seen| seen >= self.need)
    }
}

/// Who knows the sets and who was seen.
pub trait Drill: Send + Sync + 'static {
    /// All sets, by name, with the people who were seen after this instant.
    ///
    /// # Errors
    ///
    /// Why it cannot be told, in words for the log.
    fn drill(&self, since: Timestamp, now: Timestamp) -> BoxFuture<'_, Result<Vec<Reach>, String>>;
}

/// How far back to look.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    #[serde(default = "days")]
    days: u64,
}

fn days() -> u64 {
    DAYS
}

/// Which sets have how many people who could answer, for readers of the record.
pub(crate) async fn drill(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    back: Result<Params<Back>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Params(Back { days }) = back.map_err(|error| Problem::bad(error.body_text()))?;
    let drill = console.drill.as_deref().ok_or_else(Problem::not_found)?;
    console.everybodys(&who, "approvers").await?;
    let now = console.clock.now();
    let since = now.saturating_sub(Duration::from_secs(days.saturating_mul(24 * 3600)));
    let sets = drill.drill(since, now).await.map_err(|error| Problem::unavailable(&error))?;
    Ok(Json(json!({ "approvers": sets.iter().map(view).collect::<Vec<_>>() })))
}

fn view(reach: &Reach) -> Value {
    let seen = reach.seen.iter().map(|(who, last)| json!({ "who": who, "last": last.to_string() }));
    let then = reach.then.iter().map(|(set, after)| json!({ "set": set.as_str(), "after": after.as_secs() }));
    json!({
        "set": reach.set.as_str(),
        "need": reach.need,
        "enough": reach.is_enough(),
        "bound": reach.bound,
        "seen": seen.collect::<Vec<_>>(),
        "lent": reach.lent,
        "told": reach.told,
        "then": then.collect::<Vec<_>>(),
    })
}
