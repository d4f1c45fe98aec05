//! Duties become conditions: "with this done". The set that decides is plain Cedar, and any tool that knows nothing of
//! duties denies where one is not done.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use crewgate_core::Duties;
use serde_json::{Value, json};

use crate::{facts::Reads, rule::Rule};

/// What `context.done` holds once all of these are done.
pub(crate) fn done(duties: &Duties) -> BTreeSet<String> {
    let approvals = duties.approvals.iter().map(|set| format!("approval:{set}"));
    let masks = duties.masks.iter().map(|profile| format!("mask:{profile}"));
    let rates = duties.rates.iter().map(|duty| format!("rate:{}", duty.rate));
    approvals.chain(masks).chain(rates).collect()
}

/// The rule, of which this is the JSON form, with its duties as a condition: a permit holds `when` they are done, a guard forbids `unless` they are.
/// One clause for all of a guard's: two `unless` clauses would be two ways out.
pub(crate) fn compiled(rule: &Rule, mut json: Value) -> Result<Policy, Box<dyn std::error::Error>> {
    let mut duties = Duties::default();
    rule.ask(&mut duties);
    let all = done(&duties)
        .into_iter()
        .map(|done| {
            let set = json!({ ".": { "left": { "Var": "context" }, "attr": "done" } });
            json!({ "contains": { "left": set, "right": { "Value": done } } })
        })
        .reduce(|left, right| json!({ "&&": { "left": left, "right": right } }));
    if let Some(body) = all {
        let conditions = json.get_mut("conditions").and_then(Value::as_array_mut);
        let conditions = conditions.ok_or("a rule in JSON has a list of conditions")?;
        conditions.push(json!({ "kind": if rule.permit { "when" } else { "unless" }, "body": body }));
    }
    Ok(Policy::from_json(Some(rule.policy.id().clone()), json)?)
}

/// How a rule touches what is the gateway's alone to fill in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misuse {
    Done,
    WholeContext,
    Unreadable(String),
}

impl Misuse {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::WholeContext | Self::Unreadable(_) => "context",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Done => "`context.done` is filled in by the gateway".to_owned(),
            Self::WholeContext => "`context` as a whole holds what the gateway fills in".to_owned(),
            Self::Unreadable(why) => format!("the rule has no JSON form: {why}"),
        }
    }

    pub(crate) fn help(&self) -> String {
        match self {
            Self::Done => "say it with @approval, @mask or @rate".to_owned(),
            Self::WholeContext => "name the field: `context.hour`".to_owned(),
            Self::Unreadable(_) => "write it in plainer words".to_owned(),
        }
    }
}

/// What a rule in its JSON form reads of the context, by whatever way; `context.done` is not its to read.
pub(crate) fn reads(json: &Value) -> Result<Reads, Misuse> {
    json.get("conditions").map_or(Ok(Reads::default()), |conditions| walk(conditions, Reads::default()))
}

fn walk(node: &Value, reads: Reads) -> Result<Reads, Misuse> {
    match node {
        Value::Array(items) => items.iter().try_fold(reads, |reads, item| walk(item, reads)),
        Value::Object(members) => {
            members.iter().try_fold(reads, |reads, (operator, operand)| match operator.as_str() {
                "Var" if operand == "context" => Err(Misuse::WholeContext),
                "." | "has" => {
                    let left = operand.get("left").unwrap_or(&Value::Null);
                    if left.get("Var").is_some_and(|var| var == "context") {
                        // The one allowed use of `context`; an input may well be called `done`.
                        return match operand.get("attr").and_then(Value::as_str) {
                            Some("done") => Err(Misuse::Done),
                            Some(name) => Ok(reads.with(name)),
                            None => Err(Misuse::WholeContext),
                        };
                    }
                    walk(left, reads)
                }
                // Its keys are the author's and no operators.
                "Record" => {
                    let members = operand.as_object().into_iter().flat_map(serde_json::Map::values);
                    members.into_iter().try_fold(reads, |reads, member| walk(member, reads))
                }
                _ => walk(operand, reads),
            })
        }
        _ => Ok(reads),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &str) -> Result<Reads, Misuse> {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        reads(&Policy::parse(None, text).unwrap().to_json().unwrap())
    }

    #[test]
    fn no_way_of_reading_done_is_missed() {
        for text in [
            "context.done.contains(\"mask:p\")",
            "context[\"done\"].isEmpty()",
            "context has done",
            "context has \"done\"",
            "!(1 == 1) || [true, context.done.containsAny([\"x\"])].contains(true)",
        ] {
            assert_eq!(check(text), Err(Misuse::Done), "{text}");
        }
        for text in [
            "(if true then context else context).done.isEmpty()",
            "context == { done: [\"mask:p\"] }",
            "[context].contains({ a: 1 })",
            "{ a: context }.a.done.isEmpty()",
            "{ \".\": context }[\".\"].done.isEmpty()",
            "{ \"has\": context }[\"has\"].done.isEmpty()",
        ] {
            assert_eq!(check(text), Err(Misuse::WholeContext), "{text}");
        }
    }

    #[test]
    fn ordinary_fields_are_free_to_read() {
        for (text, facts) in [
            ("context.input has done && context.input.done == \"context\"", [].as_slice()),
            ("context has is_owner", &["is_owner"]),
            (
                "[1, context[\"hour\"]].contains(2) || !(if context.mfa then true else false)",
                &["hour", "mfa"],
            ),
            ("context.datasets.contains(\"done\")", &["datasets"]),
        ] {
            let facts = facts.iter().fold(Reads::default().with("input"), |all, fact| all.with(fact));
            assert_eq!(check(text).map(|read| read.with("input")), Ok(facts), "{text}");
        }
    }
}
