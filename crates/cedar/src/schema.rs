//! The Cedar schema is derived from the vocabulary; nobody writes one by hand.

use std::collections::BTreeSet;

use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value, json};

use crate::{
    InputType, LoadError, Vocabulary,
    vocabulary::{GROUPS, group},
};

/// Two schemas of the same words. To check rules, roles are an enumeration: a misspelt one is an error. To decide,
/// they are plain: checking a principal against a long enumeration costs time at every request and says nothing new.
/// Nor need a request carry facts that none of the rules it is put to reads, so to decide all of them are optional.
pub(crate) struct Schemas {
    pub(crate) validation: Schema,
    pub(crate) runtime: Schema,
    /// What rules can rely on, in Cedar's own language, for people and other tools.
    pub(crate) text: String,
}

impl Schemas {
    pub(crate) fn of(vocabulary: &Vocabulary) -> Result<Self, Vec<LoadError>> {
        let inputs: Map<String, Value> = vocabulary
            .inputs()?
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), optional(type_of(kind))))
            .collect();
        let mut seen = BTreeSet::new();
        for (action, _) in &vocabulary.actions {
            if GROUPS.contains(&action.as_str()) || !seen.insert(action) {
                return Err(vec![LoadError::of_declarations(
                    format!("action `{action}` is declared twice, or is the name of an action group"),
                    "`read` and `write` are groups; every action has a name of its own",
                )]);
            }
        }
        // The gateway hands over roles with those they contain; another tool may be given the nesting itself.
        let plain = document(vocabulary, &inputs, json!({ "memberOfTypes": ["Role"] }));
        let roles: Vec<&str> = vocabulary.roles.iter().map(crewgate_core::RoleName::as_str).collect();
        let strict = if roles.is_empty() {
            // Cedar has no empty enumeration; without roles every role literal is refused by the loader.
            plain.clone()
        } else {
            document(vocabulary, &inputs, json!({ "enum": roles }))
        };
        let broken = |error: &dyn std::fmt::Display| {
            vec![LoadError::of_declarations(
                format!("the declarations make no Cedar schema: {error}"),
                "names of inputs, crews and actions go into the schema as they are declared",
            )]
        };
        let text = SchemaFragment::from_json_value(plain.clone())
            .map_err(|e| broken(&e))?
            .to_cedarschema()
            .map_err(|e| broken(&e))?
            // The full names of the built-in types; nothing here is called `Long` or `String` besides.
            .replace("__cedar::", "");
        Ok(Self {
            validation: Schema::from_json_value(strict).map_err(|e| broken(&e))?,
            runtime: Schema::from_json_value(lenient(plain)).map_err(|e| broken(&e))?,
            text,
        })
    }
}

fn document(vocabulary: &Vocabulary, inputs: &Map<String, Value>, role: Value) -> Value {
    let mut actions: Map<String, Value> =
        GROUPS.iter().map(|group| ((*group).to_owned(), json!({}))).collect();
    for (action, effect) in &vocabulary.actions {
        let declared = json!({
            "memberOf": [{ "id": group(*effect) }],
            "appliesTo": {
                "principalTypes": ["User", "Service"],
                "resourceTypes": ["Crew"],
                "context": { "type": "Facts" },
            },
        });
        actions.insert(action.as_str().to_owned(), declared);
    }
    let strings = || type_of(InputType::Strings);
    let facts = json!({
        "token_age": { "type": "Long" },
        "token_lifetime": { "type": "Long" },
        "mfa": { "type": "Boolean" },
        "sender_constrained": { "type": "Boolean" },
        "zone": { "type": "String" },
        "hour": { "type": "Long" },
        "weekday": { "type": "Long" },
        "body_bytes": { "type": "Long" },
        "has_undeclared_inputs": { "type": "Boolean" },
        "is_owner": optional(json!({ "type": "Boolean" })),
        "webhook_hosts": strings(),
        "datasets": strings(),
        "prompts": strings(),
        "input": { "type": "Record", "attributes": inputs },
        "done": strings(),
    });
    json!({
        "": {
            "commonTypes": { "Facts": { "type": "Record", "attributes": facts } },
            "entityTypes": {
                "Role": role,
                "User": { "memberOfTypes": ["Role"] },
                "Service": { "memberOfTypes": ["Role"] },
                "Fleet": {},
                "Crew": { "memberOfTypes": ["Fleet"] },
            },
            "actions": actions,
        }
    })
}

/// With no fact required.
fn lenient(mut document: Value) -> Value {
    if let Some(Value::Object(facts)) = document.pointer_mut("//commonTypes/Facts/attributes") {
        facts.values_mut().for_each(|kind| *kind = optional(kind.take()));
    }
    document
}

fn type_of(kind: InputType) -> Value {
    match kind {
        InputType::Bool => json!({ "type": "Boolean" }),
        InputType::Long => json!({ "type": "Long" }),
        InputType::String => json!({ "type": "String" }),
        InputType::Strings => json!({ "type": "Set", "element": { "type": "String" } }),
    }
}

fn optional(mut kind: Value) -> Value {
    if let Some(members) = kind.as_object_mut() {
        members.insert("required".to_owned(), json!(false));
    }
    kind
}
