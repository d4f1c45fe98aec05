use crewgate_core::{IdKind, Refusal, RunId, Value};

use crate::{
    Crew, Relay,
    body::unknown_key,
    describe::Parsed,
    given::{Expected, Fault},
    human_input,
    refuse::{run_unknown, unprocessable},
};

/// An input that makes a flow read, and write back, the state of another run.
const STATE_INPUT: &str = "id";

/// An input CrewAI puts into the first task's prompt without a placeholder asking for it.
const TRIGGER_INPUT: &str = "crewai_trigger_payload";

pub(crate) fn parse(
    crew: &Crew,
    members: Vec<(String, Value)>,
    relay: Option<&Relay>,
) -> Result<Parsed, Refusal> {
    let mut parsed = Parsed::default();
    let mut given = Vec::new();
    let mut rest = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            // Clients that model the body as a class send every key they know.
            ("inputs" | "meta" | "restoreFromStateId", Value::Null) => {}
            ("inputs", Value::Object(inputs)) => given = inputs,
            ("meta", value @ Value::Object(_)) => rest.push((name, value)),
            ("restoreFromStateId", Value::String(id)) => {
                let run: RunId = id.parse().map_err(|_| run_unknown())?;
                let slot = parsed.slot(IdKind::Run, run.as_uuid());
                rest.push((name, Value::Id(slot)));
            }
            ("inputs" | "meta", _) => {
                return Err(unprocessable("kickoff_key_type", format!("`{name}` must be an object.")));
            }
            ("restoreFromStateId", _) => {
                return Err(unprocessable("kickoff_key_type", format!("`{name}` must be the id of a run.")));
            }
            _ => {
                return Err(unknown_key("kickoff_key_unknown", &name, "inputs, meta and restoreFromStateId"));
            }
        }
    }
    let expected = Expected {
        inputs: &crew.inputs,
        undeclared: crew.undeclared,
        prompts: &crew.prompts,
        below: Some("inputs"),
        apart: |name, declared| match name {
            STATE_INPUT => Some(Fault {
                name,
                code: "input_refused",
                detail: "is refused: it reads and writes the state of another run".to_owned(),
            }),
            TRIGGER_INPUT if !declared => Some(Fault::undeclared(name)),
            _ => None,
        },
    };
    expected.read(&given, &mut parsed)?;
    let mut body = vec![("inputs".to_owned(), Value::Object(given))];
    body.append(&mut rest);
    body.extend(human_input::member(crew, relay)?);
    parsed.body = Some(Value::Object(body));
    Ok(parsed)
}
