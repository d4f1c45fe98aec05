use bytes::Bytes;
use crewgate_core::{Number, RunId, Value};

use crate::json;

/// A run that exists at the gateway only: it has asked for approval and has not been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it waits, it is about to start, or it ended")]
pub enum Ticket<'a> {
    /// It ended without being started, or nobody knows whether it was.
    Ended {
        /// Why, for a person to read: `denied by data-owners: not this quarter`.
        reason: &'a str,
    },
    /// It is approved and about to start.
    Starting,
    /// It is approved, and starts for another client of who asks.
    Unclaimed,
    /// People are asked.
    Waiting {
        /// Whom: names of approver sets.
        approvers: &'a [&'a str],
    },
}

/// Which of CrewAI's two vocabularies to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "CrewAI has these two")]
pub enum StatusShape {
    /// What deployments answer and CrewAI's own client reads: `state` in capitals, `status` a sentence.
    #[default]
    Live,
    /// What the OpenAPI document promises: `status` is `running`, `completed` or `error`.
    Documented,
}

/// The status of a ticket, in a shape an unmodified client understands: while it waits the client goes on asking, when
/// it ended the client stops and shows the reason.
#[must_use]
pub fn ticket_status(ticket: Ticket<'_>, shape: StatusShape) -> Bytes {
    let text = |text: &str| Value::String(text.to_owned());
    let waiting = match ticket {
        Ticket::Waiting { approvers: [] } => "awaiting approval".to_owned(),
        Ticket::Waiting { approvers } => format!("awaiting approval by {}", approvers.join(", ")),
        Ticket::Unclaimed => "approved; it starts when the client that asked for it comes back".to_owned(),
        Ticket::Starting | Ticket::Ended { .. } => "approved, about to start".to_owned(),
    };
    let members = match (shape, ticket) {
        (StatusShape::Live, Ticket::Ended { reason }) => {
            // CrewAI's own tool reads `result` of a failed run; other clients show `status` or `error`.
            live("FAILED", text(reason), text(reason), Some(text(reason)))
        }
        (StatusShape::Live, _) => live("PENDING", text(&waiting), Value::Null, None),
        (StatusShape::Documented, Ticket::Ended { reason }) => {
            vec![("status", text("error")), ("error", text(reason)), ("execution_time", zero())]
        }
        (StatusShape::Documented, _) => {
            let progress = [("completed_tasks", zero()), ("total_tasks", Value::Null)];
            vec![
                ("status", text("running")),
                ("current_task", Value::Null),
                ("progress", object(progress)),
                ("message", text(&waiting)),
            ]
        }
    };
    bytes(&object(members))
}

/// The answer to a kickoff.
#[must_use]
pub fn kickoff_answer(run: RunId) -> Bytes {
    bytes(&object([("kickoff_id", Value::String(run.to_string()))]))
}

fn live(state: &str, status: Value, result: Value, error: Option<Value>) -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("state", Value::String(state.to_owned())),
        ("status", status),
        ("result", result),
        ("result_json", Value::Null),
        ("last_step", Value::Null),
        ("last_executed_task", Value::Null),
        ("progress", Value::Null),
        ("source", Value::String("gateway".to_owned())),
    ];
    members.extend(error.map(|error| ("error", error)));
    members
}

fn zero() -> Value {
    Number::parse("0").map_or(Value::Null, Value::Number)
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn bytes(value: &Value) -> Bytes {
    // Nothing here refers to an id slot.
    json::to_bytes(value).map(Bytes::from).unwrap_or_default()
}
