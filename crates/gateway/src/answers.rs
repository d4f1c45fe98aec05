//! Answers that are read, kept and given again.

use axum::body::Body;
use bytes::Bytes;
use crewgate_audit::{AuditError, AuditStore, Entry, Phase, Query, Recipient};
use crewgate_core::{Ending, Fact};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

/// Largest answer that is read although nobody waits for it, for the record.
const MAX_UNREAD: usize = 16 << 20;

/// Outcomes to look among: a request has one, an approval one for each time that somebody was told of it.
const MAX_OUTCOMES: u32 = 100;

/// Reads an answer that nobody waits for to its end, so that the record has it whole.
pub(crate) async fn read_to_end(answer: Response<Body>) {
    if let Some(recipient) = answer.extensions().get::<Recipient>() {
        recipient.has_gone();
    }
    // Whether it broke off is on the record already.
    let _ = Limited::new(answer.into_body(), MAX_UNREAD).collect().await;
}

/// The outcome on the record that is meant; `None` when there is none yet, or what it held was given up.
pub(crate) async fn outcome(
    audit: &dyn AuditStore,
    query: Query,
    meant: impl Fn(&Entry) -> bool,
) -> Result<Option<Entry>, AuditError> {
    let leaves = audit.leaves(query.phase(Phase::Outcome).limit(MAX_OUTCOMES).newest_first()).await?;
    Ok(leaves.iter().filter_map(|leaf| leaf.entry().ok()).find(meant))
}

/// The answer as its caller saw it, or would have; `None` when it did not reach its end or was not kept whole.
pub(crate) fn again(outcome: &Entry) -> Option<Response<Body>> {
    let (status, bytes) = outcome.facts.iter().rev().find_map(|fact| match fact {
        Fact::Ended { how: Ending::Complete | Ending::Unheard, status, bytes, .. } => Some((*status, *bytes)),
        _ => None,
    })?;
    let body: Vec<u8> = outcome.frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
    if u64::try_from(body.len()) != Ok(bytes) {
        return None;
    }
    // A refusal has its words outside of the record's body.
    if outcome.facts.iter().any(|fact| matches!(fact, Fact::Refused { .. })) {
        return None;
    }
    // The record keeps no headers; what CrewAI answers to a call that changes something is JSON.
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Some(response)
}
