//! Voices that approvers lend, and whose an approver speaks with.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query as Params, State as Of, rejection::QueryRejection},
};
use crewgate_approval::{
    Delegation, DelegationFilter, DelegationStore, EndError, LendError, Loan, NewDelegation,
};
use crewgate_core::{ApproverSet, DelegationId, Principal, PrincipalKey, RequestId, Timestamp};
use crewgate_oidc::Revocable;
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

/// What somebody may speak for: sets of their own, and voices they were lent.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    pub(crate) sets: BTreeSet<ApproverSet>,
    pub(crate) lent: Vec<Loan>,
}

impl Voice {
    /// All the sets, whoever's.
    pub(crate) fn all(&self) -> BTreeSet<ApproverSet> {
        self.sets.iter().chain(self.lent.iter().flat_map(|loan| &loan.sets)).cloned().collect()
    }
}

/// Which delegations to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Everybody's, for record readers.
    #[serde(default)]
    all: bool,
}

/// A delegation as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lending {
    /// `issuer:subject`.
    to: String,
    /// All of one's own where it names none.
    #[serde(default)]
    sets: BTreeSet<ApproverSet>,
    /// In how many seconds it begins.
    #[serde(default)]
    starts_in: u64,
    seconds: u64,
    reason: String,
}

pub(crate) async fn list(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    which: Result<Params<Which>, QueryRejection>,
) -> Answer {
    let Params(Which { all }) = which.map_err(|error| Problem::bad(error.body_text()))?;
    if all {
        console.everybodys(&who, "delegations").await?;
    }
    let (lent, filter) = (console.lent()?, DelegationFilter::at(console.clock.now()));
    let filter = if all { filter } else { filter.of(&who.key) };
    let found = lent.list(filter).await.map_err(store)?;
    Ok(Json(json!({ "delegations": found.iter().map(view).collect::<Vec<_>>() })))
}

pub(crate) async fn lend(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let sent: Lending = body::json(&headers, body, "a delegation").await?;
    let (issuer, subject) = sent
        .to
        .split_once(':')
        .filter(|(issuer, subject)| !issuer.is_empty() && !subject.is_empty())
        .ok_or_else(|| Problem::bad("`to` is an identity like `okta:00u1`"))?;
    let own = console.sets_of(&who).await?;
    let now = console.clock.now();
    let from = now.saturating_add(Duration::from_secs(sent.starts_in));
    let new = NewDelegation {
        id: DelegationId::random(),
        request: RequestId::random(),
        to: PrincipalKey::new(issuer, subject),
        sets: if sent.sets.is_empty() { own.clone() } else { sent.sets },
        given: now,
        from,
        until: from.saturating_add(Duration::from_secs(sent.seconds)),
        reason: reason(Some(sent.reason))?.unwrap_or_default(),
        by: who,
    };
    let lent = console.lent()?.lend(new, own).await.map_err(|error| match error {
        LendError::Store(error) => store(error),
        LendError::Invalid => Problem::bad(error.to_string()),
        LendError::NotTheirs => Problem::new(StatusCode::FORBIDDEN, "not_eligible", error.to_string()),
        other => Problem::new(StatusCode::CONFLICT, "not_lent", other.to_string()),
    })?;
    Ok((StatusCode::CREATED, Json(view(&lent))))
}

pub(crate) async fn end(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    if !body::read(body).await?.is_empty() {
        return Err(Problem::bad("the end of a delegation has no body"));
    }
    let id = id.parse::<DelegationId>().map_err(|_| Problem::not_found())?;
    let now = console.clock.now();
    match console.lent()?.end(id, who.key, RequestId::random(), now).await {
        Ok(ended) => Ok(Json(view(&ended))),
        Err(EndError::Store(error)) => Err(store(error)),
        Err(error @ EndError::Over) => {
            Err(Problem::new(StatusCode::CONFLICT, "delegation_over", error.to_string()))
        }
        // Whether it is there is not theirs to know.
        Err(_) => Err(Problem::not_found()),
    }
}

impl Console {
    fn lent(&self) -> Result<&dyn DelegationStore, Problem> {
        self.delegations.as_deref().ok_or_else(Problem::not_found)
    }

    /// What this person may speak for now. Whose groups cannot be told lends nobody anything.
    pub(crate) async fn voice_of(&self, who: &Principal, now: Timestamp) -> Result<Voice, Problem> {
        let sets = self.sets_of(who).await?;
        let mut lent = Vec::new();
        if let Some(delegations) = &self.delegations {
            for delegation in delegations.to(&who.key, now).await.map_err(store)? {
                let id = delegation.id();
                let NewDelegation { by: lender, sets, .. } = delegation.given;
                if let Some(revoking) = &self.revoking
                    && let Err(refused) = revoking.revocations.check(&Revocable::of(&lender))
                {
                    tracing::warn!(%refused, lender = %lender.key, "a lent voice is not heard");
                    continue;
                }
                match self.eligible.sets(&lender).await {
                    // Resolved anew: who has left a set since lends no voice of it.
                    Ok(own) => lent.push(Loan { delegation: id, sets: &sets & &own, lender }),
                    Err(error) => tracing::warn!(%error, lender = %lender.key, "a lent voice is not heard"),
                }
            }
        }
        Ok(Voice { sets, lent })
    }
}

fn view(delegation: &Delegation) -> Value {
    let given = &delegation.given;
    json!({
        "id": given.id.to_string(),
        "by": given.by.key.to_string(),
        "to": given.to.to_string(),
        "sets": given.sets,
        "from": given.from.to_string(),
        "until": given.until.to_string(),
        "reason": given.reason,
        "ended": delegation.ended.as_ref().map(|end| json!({ "by": end.by.to_string(), "at": end.at.to_string() })),
    })
}
