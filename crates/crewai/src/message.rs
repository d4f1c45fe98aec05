use bytes::Bytes;
use crewgate_core::{Layer, Operation, Outgoing, Refusal, Segment};
use http::{HeaderValue, StatusCode, uri::PathAndQuery};

use crate::{
    answer::usable_id,
    json::{self, UnboundId},
    refuse::upstream,
};

/// The bytes to send for this operation. The same operation always gives the same bytes.
///
/// # Errors
///
/// 409 `id_unbound` when it names a run that has not started yet; 502 `upstream_id_unusable` when an upstream id cannot
/// stand in a path. Nothing is rendered in part.
pub fn render(operation: &Operation) -> Result<Outgoing, Refusal> {
    let id = |slot: usize| operation.ids.get(slot).and_then(|slot| slot.upstream.as_deref());
    let mut path = String::new();
    for segment in &operation.message.path {
        let text = match segment {
            Segment::Literal(text) => text,
            Segment::Id(slot) => id(*slot).filter(|id| usable_id(id)).ok_or_else(|| match id(*slot) {
                Some(_) => {
                    upstream("upstream_id_unusable", "CrewAI's id of this run cannot stand in a path.")
                }
                None => unbound(UnboundId(*slot)),
            })?,
        };
        path.push('/');
        path.push_str(text);
    }
    let path = PathAndQuery::try_from(path)
        .map_err(|_| upstream("upstream_id_unusable", "The path of this call cannot be written."))?;
    let mut body = Vec::new();
    if let Some(value) = &operation.message.body {
        json::write(value, &id, &mut body).map_err(unbound)?;
    }
    let content_type = operation.message.body.as_ref().map(|_| HeaderValue::from_static("application/json"));
    Ok(Outgoing { method: operation.message.method.clone(), path, content_type, body: Bytes::from(body) })
}

fn unbound(_: UnboundId) -> Refusal {
    let detail = "This names a run that has not started yet; nothing was sent.";
    Refusal::new(Layer::Runs, StatusCode::CONFLICT, "id_unbound", detail)
}
