use crewgate_core::{IdKind, Refusal, RunId, Value};

use crate::{body::unknown_key, describe::Parsed, resume::Field};

/// A flow is known by the id of its run, as a crew's execution is; a flow that no run of the ledger's is, is nobody's.
const FLOW: Field = Field("flow_id", "flowId");
const FEEDBACK: Field = Field("feedback", "feedback");

/// Reads what somebody answers to a flow that waits for them.
pub(crate) fn parse(mut members: Vec<(String, Value)>) -> Result<Parsed, Refusal> {
    let flow: RunId = FLOW.id(&mut members)?;
    let feedback = FEEDBACK.take(&mut members)?;
    if let Some((name, _)) = members.first() {
        return Err(unknown_key("feedback_key_unknown", name, "flow_id and feedback"));
    }
    if feedback.as_str().is_none() {
        return Err(FEEDBACK.wrong("a string"));
    }
    let mut parsed = Parsed::default();
    let flow = Value::Id(parsed.slot(IdKind::Run, flow.as_uuid()));
    parsed.body = Some(Value::Object(
        [(FLOW, flow), (FEEDBACK, feedback)].map(|(field, value)| (field.0.to_owned(), value)).into(),
    ));
    parsed.free_text = vec![vec![FEEDBACK.0.to_owned()]];
    Ok(parsed)
}
