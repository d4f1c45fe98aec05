use std::fmt;

use crewgate_core::{Layer, Refusal, Value};
use http::StatusCode;

use crate::{Crew, answer::usable_id, body::MAX_BODY_DEPTH, json, refuse::bad};

/// Where the gateway wants to be told that a task waits for a person, and the secret that proves it is the deployment
/// that tells.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an address and a secret")]
pub struct Relay {
    /// Address of the gateway's own.
    pub url: String,
    /// Unguessable; the deployment sends it as a bearer token.
    pub token: String,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The member that asks a crew with human input to call the gateway back.
pub(crate) fn member(crew: &Crew, relay: Option<&Relay>) -> Result<Option<(String, Value)>, Refusal> {
    if !crew.human_input {
        return Ok(None);
    }
    let Some(Relay { url, token }) = relay else {
        let detail = "This crew asks people for input, and the gateway has no address to be called back at.";
        return Err(Refusal::new(
            Layer::Describe,
            StatusCode::INTERNAL_SERVER_ERROR,
            "relay_missing",
            detail,
        ));
    };
    let text = |text: &str| Value::String(text.to_owned());
    let authentication = vec![("strategy".to_owned(), text("bearer")), ("token".to_owned(), text(token))];
    let webhook =
        vec![("url".to_owned(), text(url)), ("authentication".to_owned(), Value::Object(authentication))];
    Ok(Some(("humanInputWebhook".to_owned(), Value::Object(webhook))))
}

/// What a deployment says when a task waits for a person. Ids are the deployment's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HumanInput {
    /// The kickoff that started the run.
    pub kickoff_id: String,
    /// The execution to resume.
    pub execution_id: String,
    /// The task that waits.
    pub task_id: String,
    /// What the task has come to so far, to be judged by a person: `null` when it says nothing.
    pub task_output: Value,
    /// The whole body, for the record. It holds upstream ids and unmasked text.
    pub body: Value,
}

/// Reads the body of the `humanInputWebhook` call. Members that are not known stay in
/// [`body`](HumanInput::body) and mean nothing.
///
/// # Errors
///
/// 400 `webhook_unreadable`.
pub fn parse_human_input(body: &[u8]) -> Result<HumanInput, Refusal> {
    let body = json::parse(body, MAX_BODY_DEPTH)
        .map_err(|error| bad("webhook_unreadable", format!("The body is refused: {error}.")))?;
    let id = |name: &str| {
        let id = body.member(name).and_then(Value::as_str).filter(|id| usable_id(id));
        id.map(str::to_owned).ok_or_else(|| bad("webhook_unreadable", format!("`{name}` is not an id.")))
    };
    let (kickoff_id, execution_id, task_id) = (id("kickoff_id")?, id("execution_id")?, id("task_id")?);
    let task_output = body.member("task_output").cloned().unwrap_or(Value::Null);
    Ok(HumanInput { kickoff_id, execution_id, task_id, task_output, body })
}
