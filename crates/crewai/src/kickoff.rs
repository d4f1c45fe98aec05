use crewgate_core::{IdKind, InputValue, Refusal, RunId, Value};

use crate::{
    Crew, Relay, Undeclared,
    body::unknown_key,
    describe::Parsed,
    human_input,
    refuse::{run_unknown, short, unprocessable},
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
    inputs(crew, &given, &mut parsed)?;
    let mut body = vec![("inputs".to_owned(), Value::Object(given))];
    body.append(&mut rest);
    body.extend(human_input::member(crew, relay)?);
    parsed.body = Some(Value::Object(body));
    Ok(parsed)
}

fn inputs(crew: &Crew, given: &[(String, Value)], parsed: &mut Parsed) -> Result<(), Refusal> {
    for (name, _) in given {
        if name == STATE_INPUT {
            let detail = "The input `id` is refused: it reads and writes the state of another run.";
            return Err(unprocessable("input_refused", detail));
        }
        if crew.inputs.contains_key(name) {
            continue;
        }
        if name == TRIGGER_INPUT || crew.undeclared == Undeclared::Refuse {
            let detail = format!("The input `{}` is not declared for this crew.", short(name));
            return Err(unprocessable("input_undeclared", detail));
        }
        parsed.has_undeclared_inputs = true;
    }
    // In the order of the declaration, so that equal requests read equal whatever the caller's order.
    for (name, declaration) in &crew.inputs {
        let Some((_, value)) = given.iter().find(|(given, _)| given == name) else {
            if declaration.required {
                let detail = format!("Missing inputs: {}", short(name));
                return Err(unprocessable("input_missing", detail));
            }
            continue;
        };
        let read = declaration.kind.read(value).map_err(|wants| {
            unprocessable("input_type", format!("The input `{}` must be {wants}.", short(name)))
        })?;
        let Some(value) = read else {
            if declaration.kind == crate::InputKind::Text {
                parsed.free_text.push(vec!["inputs".to_owned(), name.clone()]);
            }
            continue;
        };
        if declaration.dataset {
            match &value {
                InputValue::String(one) => parsed.datasets.push(one.clone()),
                InputValue::Strings(many) => parsed.datasets.extend(many.iter().cloned()),
                _ => {}
            }
        }
        parsed.inputs.push((name.clone(), value));
    }
    Ok(())
}
