use bytes::Bytes;
use crewgate_core::{Refusal, Value};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::{
    json,
    refuse::{bad, media, short, unprocessable},
};

/// Arrays and objects inside each other in a request body: a declared JSON input may nest, a bomb may not. An operation
/// that waits for approval is stored as JSON, three levels for each of these, and readers of JSON stop at 128.
pub const MAX_BODY_DEPTH: usize = 32;

/// Keys with which a caller would have CrewAI send results elsewhere.
const WEBHOOK_KEYS: [&str; 13] = [
    "taskWebhookUrl",
    "stepWebhookUrl",
    "crewWebhookUrl",
    "humanInputWebhookUrl",
    "humanInputWebhook",
    "completedTurnWebhookUrl",
    "webhooks",
    "task_webhook_url",
    "step_webhook_url",
    "crew_webhook_url",
    "human_input_webhook_url",
    "human_input_webhook",
    "completed_turn_webhook_url",
];

/// No body stands where none belongs.
pub(crate) fn none(body: &Bytes) -> Result<(), Refusal> {
    if body.is_empty() { Ok(()) } else { Err(bad("body_unexpected", "This route takes no body.")) }
}

/// The members of the JSON object that is the body, without webhook keys that are null (some clients always send
/// them) and without any other webhook key (those are refused).
pub(crate) fn object(headers: &HeaderMap, body: &Bytes) -> Result<Vec<(String, Value)>, Refusal> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(media("content_encoding_refused", "Send the body as it is, without content-encoding."));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let json = match (types.next(), types.next()) {
        (Some(one), None) => one.to_str().is_ok_and(is_json),
        _ => false,
    };
    if !json {
        return Err(media("content_type_refused", "Send the body as content-type: application/json."));
    }
    if body.is_empty() {
        return Err(bad("body_missing", "This route takes a JSON object as its body."));
    }
    let value = json::parse(body, MAX_BODY_DEPTH)
        .map_err(|error| bad("body_not_json", format!("The body is refused: {error}.")))?;
    let Value::Object(members) = value else {
        return Err(bad("body_not_an_object", "The body must be a JSON object."));
    };
    members.into_iter().filter_map(|member| without_webhook(member).transpose()).collect()
}

fn without_webhook((name, value): (String, Value)) -> Result<Option<(String, Value)>, Refusal> {
    if !WEBHOOK_KEYS.contains(&name.as_str()) {
        return Ok(Some((name, value)));
    }
    if value == Value::Null {
        return Ok(None);
    }
    let detail = format!("`{name}` is refused: results go to the caller only. Poll the status instead.");
    Err(unprocessable("webhook_refused", detail))
}

pub(crate) fn unknown_key(code: &'static str, name: &str, known: &str) -> Refusal {
    unprocessable(code, format!("`{}` is not a key of this body; it takes {known}.", short(name)))
}

/// `application/json`, at most with `charset=utf-8`.
pub(crate) fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence
        && parts.all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                name.eq_ignore_ascii_case("charset")
                    && (value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8"))
            })
        })
}
