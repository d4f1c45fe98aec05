//! What is masked for an approver and decides whether policy asks them: they may see it, and the record says that they
//! did. Who has not seen it cannot say yes to it.

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State as Of},
};
use crewgate_approval::{Approval, Digest};
use crewgate_audit::{Phase, Query};
use crewgate_core::{Fact, Principal};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, body, problem::Problem, show::Shown};

/// What stands on the record of it.
const REVEAL: &str = "access.reveal";

/// What was read before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    pub(crate) digest: Digest,
}

pub(crate) async fn reveal(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let read: Read = body::json(&headers, body, "what you read").await?;
    revealed(&console, &who, &id, &read).await.map(Json)
}

/// The masked inputs that policy reads, as they will be sent, for somebody who may decide.
pub(crate) async fn revealed(
    console: &Console,
    who: &Principal,
    id: &str,
    read: &Read,
) -> Result<Value, Problem> {
    let (seen, now) = (console.visible(who, id).await?, console.clock.now());
    let approval = &seen.approval;
    if !seen.may_decide(who, now) {
        let text = "only somebody who is asked, and has not spoken yet, sees what is masked";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_eligible", text));
    }
    if read.digest != approval.asked.digest {
        let text = "this is not the request you read: read it again";
        return Err(Problem::new(StatusCode::CONFLICT, "digest_mismatch", text));
    }
    let hidden = console.shown_of(approval)?.hidden_inputs;
    // On the record first: nothing is seen of which it does not know.
    console.note(who, REVEAL, approval.asked.run, Some(approval)).await?;
    let inputs = approval.asked.operation.inputs.iter();
    let inputs = inputs.filter(|(name, _)| hidden.contains(name));
    Ok(json!({ "inputs": inputs.map(|(name, value)| (name.clone(), json!(value))).collect::<Value>() }))
}

impl Console {
    /// What may be shown of a request.
    pub(crate) fn shown_of(&self, approval: &Approval) -> Result<Shown, Problem> {
        self.show.show(&approval.asked).ok_or_else(|| {
            let text = "it cannot be masked, so it is not shown";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "not_shown", text)
        })
    }

    /// Whether there is nothing that decides and that this person has not seen.
    pub(crate) async fn has_seen(&self, who: &Principal, approval: &Approval) -> Result<bool, Problem> {
        if self.shown_of(approval)?.hidden_inputs.is_empty() {
            return Ok(true);
        }
        let looks = Query { approval: Some(approval.id()), ..Query::default() };
        let looks = looks.phase(Phase::Access).newest_first().limit(1000);
        let looks = self.audit.leaves(looks).await;
        let looks = looks.map_err(|error| Problem::unavailable(&format_args!("the record: {error}")))?;
        let theirs = |fact: &Fact| matches!(fact, Fact::Control { by: Some(by), what } if *by == who.key && what == REVEAL);
        Ok(looks.iter().filter_map(|leaf| leaf.entry().ok()).any(|entry| entry.facts.iter().any(theirs)))
    }

    /// Lets nobody say yes to what they have not seen.
    pub(crate) async fn demand_seen(&self, who: &Principal, approval: &Approval) -> Result<(), Problem> {
        if self.has_seen(who, approval).await? {
            return Ok(());
        }
        let text =
            "rules decide on inputs that are masked here: reveal them first; that is put on the record";
        Err(Problem::new(StatusCode::CONFLICT, "reveal_needed", text))
    }
}
