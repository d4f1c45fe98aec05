use std::str::FromStr;

use crewgate_core::{IdKind, Refusal, RunId, TaskId, Value};
use uuid::Uuid;

use crate::{
    Crew, Relay,
    body::unknown_key,
    describe::Parsed,
    human_input,
    refuse::{bad, run_unknown, unprocessable},
};

/// The documentation's spelling and the one deployments ask for. Both are taken, and both are sent, so that either
/// kind of server understands.
const EXECUTION: Field = Field("execution_id", "executionId");
const TASK: Field = Field("task_id", "taskId");
const FEEDBACK: Field = Field("human_feedback", "humanFeedback");
const APPROVE: Field = Field("is_approve", "isApprove");

#[derive(Clone, Copy)]
pub(crate) struct Field(pub(crate) &'static str, pub(crate) &'static str);

impl Field {
    pub(crate) fn take(self, members: &mut Vec<(String, Value)>) -> Result<Value, Refusal> {
        let mut found = None;
        while let Some(at) = members.iter().position(|(name, _)| name == self.0 || name == self.1) {
            let (_, value) = members.remove(at);
            if found.replace(value).is_some() {
                let detail = format!("`{}` and `{}` are the same field; send one.", self.0, self.1);
                return Err(bad("field_twice", detail));
            }
        }
        found.ok_or_else(|| unprocessable("resume_field_missing", format!("Missing field: {}", self.0)))
    }

    pub(crate) fn wrong(self, wants: &str) -> Refusal {
        unprocessable("resume_field_type", format!("`{}` must be {wants}.", self.0))
    }

    pub(crate) fn id<T: FromStr>(self, members: &mut Vec<(String, Value)>) -> Result<T, Refusal> {
        match self.take(members)? {
            Value::String(text) => text.parse().map_err(|_| run_unknown()),
            _ => Err(self.wrong("an id")),
        }
    }

    fn both(self, value: Value) -> [(String, Value); 2] {
        [(self.0.to_owned(), value.clone()), (self.1.to_owned(), value)]
    }
}

pub(crate) fn parse(
    crew: &Crew,
    mut members: Vec<(String, Value)>,
    relay: Option<&Relay>,
) -> Result<Parsed, Refusal> {
    let execution: RunId = EXECUTION.id(&mut members)?;
    let task: TaskId = TASK.id(&mut members)?;
    let feedback = FEEDBACK.take(&mut members)?;
    let approve = APPROVE.take(&mut members)?;
    if let Some((name, _)) = members.first() {
        let known = "execution_id, task_id, human_feedback and is_approve";
        return Err(unknown_key("resume_key_unknown", name, known));
    }
    if feedback.as_str().is_none() {
        return Err(FEEDBACK.wrong("a string"));
    }
    if !matches!(approve, Value::Bool(_)) {
        return Err(APPROVE.wrong("true or false"));
    }
    let mut parsed = Parsed::default();
    let mut id = |kind, own: Uuid| Value::Id(parsed.slot(kind, own));
    let (execution, task) = (id(IdKind::Run, execution.as_uuid()), id(IdKind::Task, task.as_uuid()));
    let fields = [(EXECUTION, execution), (TASK, task), (FEEDBACK, feedback), (APPROVE, approve)];
    let mut body: Vec<_> = fields.into_iter().flat_map(|(field, value)| field.both(value)).collect();
    // The deployment forgets its receivers at every pause.
    body.extend(human_input::member(crew, relay)?);
    parsed.body = Some(Value::Object(body));
    parsed.free_text = vec![vec![FEEDBACK.0.to_owned()], vec![FEEDBACK.1.to_owned()]];
    Ok(parsed)
}
