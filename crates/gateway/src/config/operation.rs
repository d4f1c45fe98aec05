use std::collections::BTreeMap;

use crewgate_core::Effect;
use crewgate_crewai::CustomOperation;
use http::Method;

use super::{CrewSettings, check::Checker, inputs, raw};

/// What a crew offers beside CrewAI's own operations.
pub(super) fn declared(check: &mut Checker<'_>, raw: &raw::Crew) -> Vec<CustomOperation> {
    let mut operations = Vec::<CustomOperation>::with_capacity(raw.operations.len());
    for raw in &raw.operations {
        let Some(operation) = operation(check, raw) else { continue };
        let same =
            |known: &&CustomOperation| known.method == operation.method && known.path == operation.path;
        if let Some(first) = operations.iter().find(same) {
            check.wrong(raw.path.span(), format!("`{}` is at this address already", first.action), None);
        } else if operations.iter().any(|known| known.action == operation.action) {
            check.wrong(raw.action.span(), format!("`{}` is declared twice", operation.action), None);
        } else {
            operations.push(operation);
        }
    }
    operations
}

fn operation(check: &mut Checker<'_>, raw: &raw::Operation) -> Option<CustomOperation> {
    let effect = raw.effect.as_ref().and_then(|text| {
        check.parse(text, |text| match text {
            "read" => Ok(Effect::Read),
            "write" => Ok(Effect::Write),
            _ => Err(format!("`{text}` is neither `read` nor `write`")),
        })
    });
    let undeclared = inputs::undeclared(check, raw.undeclared_inputs.as_ref());
    let inputs = inputs::declared(check, &raw.inputs);
    // Not a method is told like one that is not taken.
    let method = Method::from_bytes(raw.method.get_ref().as_bytes()).unwrap_or(Method::TRACE);
    let declared = CustomOperation::new(raw.action.get_ref(), method, raw.path.get_ref());
    let declared = declared.and_then(|operation| {
        inputs.into_iter().try_fold(operation, |operation, (name, input)| operation.input(name, input))
    });
    match declared {
        Ok(operation) => {
            let operation = operation.undeclared(undeclared);
            Some(match effect {
                Some(effect) => operation.effect(effect),
                None => operation,
            })
        }
        Err(wrong) => {
            let first_input = raw.inputs.values().next().map(toml::Spanned::span);
            let place = match wrong.key {
                "method" => raw.method.span(),
                "path" => raw.path.span(),
                "inputs" => first_input.unwrap_or_else(|| raw.method.span()),
                _ => raw.action.span(),
            };
            check.wrong(place, wrong.why, None);
            None
        }
    }
}

/// One action means one effect: rules speak of it across crews.
pub(super) fn agree(check: &mut Checker<'_>, raw: &[raw::Crew], crews: &[CrewSettings]) {
    let mut known = BTreeMap::<&str, Effect>::new();
    for operation in crews.iter().flat_map(|crew| &crew.operations) {
        if *known.entry(&operation.action).or_insert(operation.effect) == operation.effect {
            continue;
        }
        let mut places = raw.iter().flat_map(|crew| &crew.operations);
        let place = places.rfind(|raw| *raw.action.get_ref() == operation.action);
        let text = format!("`{}` reads in one crew and writes in another", operation.action);
        check.wrong(
            place.map(|raw| raw.action.span()).unwrap_or_default(),
            text,
            Some("give both the same `effect`, or one another name"),
        );
    }
}
