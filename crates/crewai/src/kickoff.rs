use crewgate_core::{FieldError, IdKind, InputValue, Refusal, RunId, Value};

use crate::{
    Crew, InputDeclaration, InputKind, Relay, Undeclared,
    body::unknown_key,
    describe::Parsed,
    human_input,
    input::Wrong,
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

/// What is wrong with one input: its name, a stable code, and what is allowed.
struct Fault<'a> {
    name: &'a str,
    code: &'static str,
    detail: String,
}

fn inputs(crew: &Crew, given: &[(String, Value)], parsed: &mut Parsed) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    for (name, _) in given {
        if name == STATE_INPUT {
            let detail = "is refused: it reads and writes the state of another run".to_owned();
            faults.push(Fault { name, code: "input_refused", detail });
        } else if crew.inputs.contains_key(name) {
            continue;
        } else if name == TRIGGER_INPUT || crew.undeclared == Undeclared::Refuse {
            let detail = "is not declared for this crew".to_owned();
            faults.push(Fault { name, code: "input_undeclared", detail });
        } else {
            parsed.has_undeclared_inputs = true;
        }
    }
    // In the order of the declaration, so that equal requests read equal whatever the caller's order.
    for (name, declaration) in &crew.inputs {
        match given.iter().find(|(given, _)| given == name) {
            Some((_, value)) => {
                if let Err(wrong) = one(crew, name, declaration, value, parsed) {
                    let detail = format!("must be {}", declaration.allowed(&crew.prompts));
                    faults.push(Fault { name, code: wrong.code(), detail });
                }
            }
            None if declaration.required => {
                let detail = format!("is missing; it must be {}", declaration.allowed(&crew.prompts));
                faults.push(Fault { name, code: "input_missing", detail });
            }
            None => {}
        }
    }
    parsed.prompts.sort_unstable();
    parsed.prompts.dedup();
    if faults.is_empty() { Ok(()) } else { Err(refused(&faults)) }
}

fn one(
    crew: &Crew,
    name: &str,
    declaration: &InputDeclaration,
    value: &Value,
    parsed: &mut Parsed,
) -> Result<(), Wrong> {
    let read = declaration.read(value)?;
    let prompt = match value.as_str().filter(|_| declaration.prompt) {
        Some(text) => match crew.prompts.id(text) {
            None if !crew.prompts.any => return Err(Wrong::Prompt),
            id => id,
        },
        None => None,
    };
    match read {
        Some(value) => {
            if declaration.dataset {
                match &value {
                    InputValue::String(one) => parsed.datasets.push(one.clone()),
                    InputValue::Strings(many) => parsed.datasets.extend(many.iter().cloned()),
                    _ => {}
                }
            }
            parsed.inputs.push((name.to_owned(), value));
        }
        // A listed prompt holds nothing of the caller's: it is sent to the letter, as rules know it.
        None if declaration.kind == InputKind::Text && prompt.is_none() => {
            parsed.free_text.push(vec!["inputs".to_owned(), name.to_owned()]);
        }
        None => {}
    }
    parsed.prompts.extend(prompt.map(str::to_owned));
    Ok(())
}

/// Fields one refusal names; it says how many more there are.
pub const MAX_FIELD_ERRORS: usize = 32;

/// Says everything that is wrong at once; the code is that of the first.
fn refused(faults: &[Fault<'_>]) -> Refusal {
    let code = faults.first().map_or("input_refused", |fault| fault.code);
    let missing: Vec<_> = faults.iter().filter(|fault| fault.code == "input_missing").collect();
    let mut detail = if missing.len() == faults.len() {
        // As CrewAI says it.
        let names: Vec<_> = missing.iter().take(MAX_FIELD_ERRORS).map(|fault| short(fault.name)).collect();
        format!("Missing inputs: {}", names.join(", "))
    } else {
        let one = |fault: &Fault<'_>| format!("The input `{}` {}.", short(fault.name), fault.detail);
        faults.iter().take(MAX_FIELD_ERRORS).map(one).collect::<Vec<_>>().join(" ")
    };
    if let Some(more @ 1..) = faults.len().checked_sub(MAX_FIELD_ERRORS) {
        detail.push_str(&format!(" And {more} more."));
    }
    let field = |fault: &Fault<'_>| FieldError {
        // RFC 6901, section 3.
        pointer: format!("/inputs/{}", short(fault.name).replace('~', "~0").replace('/', "~1")),
        code: fault.code,
        detail: fault.detail.clone(),
    };
    unprocessable(code, detail).with_fields(faults.iter().take(MAX_FIELD_ERRORS).map(field).collect())
}
