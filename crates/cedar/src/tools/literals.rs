//! What a condition reads and what it compares with, from Cedar's own JSON form of a rule.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::{Value, json};

/// A comparison of one fact with one literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    /// The fact as rules name it behind `context.`: `hour`, `input.dataset`.
    pub(crate) fact: String,
    /// Cedar's operator, seen from the fact: `<` for both `hour < 5` and `5 > hour`.
    pub(crate) operator: &'static str,
    /// The literal; a pattern of `like` as the shortest text it takes.
    pub(crate) literal: Value,
}

/// One clause of a rule: `when` or `unless`, and its expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clause {
    pub(crate) when: bool,
    pub(crate) body: Value,
}

impl Clause {
    /// The clause as a rule for everybody that holds exactly where the clause does.
    pub(crate) fn alone(&self) -> Option<Policy> {
        let kind = if self.when { "when" } else { "unless" };
        let all = json!({ "op": "All" });
        let rule = json!({
            "effect": "permit", "principal": all, "action": all, "resource": all,
            "conditions": [{ "kind": kind, "body": self.body }],
        });
        Policy::from_json(None, rule).ok()
    }

    /// The clause as it would be written.
    pub(crate) fn text(&self) -> String {
        let text = self.alone().map(|policy| policy.to_string()).unwrap_or_default();
        let clause = text.find(") ").and_then(|at| text.get(at.saturating_add(2)..)).unwrap_or(&text);
        clause.trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Facts it reads: `hour`, `input.dataset`, and `principal`, `resource`, `action`.
    pub(crate) fn reads(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        reads(&self.body, &mut found);
        found
    }
}

/// The clauses of a rule, `when { a && b }` taken apart into two.
pub(crate) fn clauses(policy: &Policy) -> Vec<Clause> {
    let json = policy.to_json().unwrap_or_default();
    let conditions = json.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for condition in conditions {
        let when = condition.get("kind") == Some(&json!("when"));
        let body = condition.get("body").cloned().unwrap_or_default();
        // `unless { a || b }` is `unless { a } unless { b }`, as `when { a && b }` is `when { a } when { b }`.
        split(body, if when { "&&" } else { "||" }, &mut |body| found.push(Clause { when, body }));
    }
    found
}

fn split(body: Value, operator: &str, each: &mut impl FnMut(Value)) {
    match body.get(operator) {
        Some(both) => {
            for side in ["left", "right"] {
                split(both.get(side).cloned().unwrap_or_default(), operator, each);
            }
        }
        None => each(body),
    }
}

/// `context.a` is `a`, `context.input.b` is `input.b`.
fn path(node: &Value) -> Option<String> {
    let access = node.get(".")?;
    let attribute = access.get("attr")?.as_str()?;
    let left = access.get("left")?;
    if *left == json!({ "Var": "context" }) {
        return Some(attribute.to_owned());
    }
    Some(format!("{}.{attribute}", path(left)?))
}

/// `context.input has b` reads `input.b`.
fn asked_for(node: &Value) -> Option<String> {
    let has = node.get("has")?;
    path(&json!({ ".": { "left": has.get("left")?, "attr": has.get("attr")? } }))
}

fn reads(node: &Value, found: &mut BTreeSet<String>) {
    if let Some(fact) = path(node).or_else(|| asked_for(node)) {
        found.insert(fact);
        return;
    }
    match node {
        Value::Array(items) => items.iter().for_each(|item| reads(item, found)),
        Value::Object(members) => members.iter().for_each(|(name, value)| match value.as_str() {
            Some(variable) if name == "Var" => {
                found.insert(variable.to_owned());
            }
            _ => reads(value, found),
        }),
        _ => {}
    }
}

/// Every comparison of a fact with a literal anywhere in an expression.
pub(crate) fn compared(node: &Value, found: &mut Vec<Compared>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| compared(item, found)),
        Value::Object(members) => {
            for (name, operands) in members {
                found.extend(comparison(name, operands));
                compared(operands, found);
            }
        }
        _ => {}
    }
}

/// The comparison that an operator with these operands is, if it is one.
pub(crate) fn comparison(operator: &str, operands: &Value) -> Option<Compared> {
    let (straight, turned) = match operator {
        "==" => ("==", "=="),
        "!=" => ("!=", "!="),
        "<" => ("<", ">"),
        "<=" => ("<=", ">="),
        ">" => (">", "<"),
        ">=" => (">=", "<="),
        "contains" => ("contains", "in"),
        "like" => ("like", "like"),
        _ => return None,
    };
    if operator == "like" {
        let fact = path(operands.get("left")?)?;
        let text: String =
            operands.get("pattern")?.as_array()?.iter().filter_map(|p| p.get("Literal")?.as_str()).collect();
        return Some(Compared { fact, operator: "like", literal: json!(text) });
    }
    let (left, right) = (operands.get("left")?, operands.get("right")?);
    if let (Some(fact), Some(literal)) = (path(left), literal(right)) {
        return Some(Compared { fact, operator: straight, literal });
    }
    Some(Compared { fact: path(right)?, operator: turned, literal: literal(left)? })
}

/// A literal, or a set of them.
fn literal(node: &Value) -> Option<Value> {
    if let Some(value) = node.get("Value") {
        return (!value.is_object()).then(|| value.clone());
    }
    let items = node.get("Set")?.as_array()?;
    items.iter().map(literal).collect::<Option<Vec<_>>>().map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(conditions: &str) -> Policy {
        Policy::parse(None, format!("permit (principal, action, resource) {conditions};")).unwrap()
    }

    #[test]
    fn clauses_fall_apart_where_cedar_joins_them() {
        let found = clauses(&rule("when { context.hour < 5 && context.mfa } unless { principal is User }"));
        let texts: Vec<_> = found.iter().map(Clause::text).collect();
        assert_eq!(
            texts,
            ["when { context.hour < 5 }", "when { context.mfa }", "unless { principal is User }"]
        );
        let reads: Vec<_> = found.iter().flat_map(Clause::reads).collect();
        assert_eq!(reads, ["hour", "mfa", "principal"]);
    }

    #[test]
    fn comparisons_are_seen_from_the_fact() {
        let mut found = Vec::new();
        let conditions = "when { 5 > context.hour && context.input has d && context.input.d like \"hr_*\" }
                          unless { context.datasets.contains(\"x\") || [\"a\", \"b\"].contains(context.input.d) }";
        for clause in clauses(&rule(conditions)) {
            compared(&clause.body, &mut found);
        }
        let brief: Vec<_> =
            found.iter().map(|c| (c.fact.as_str(), c.operator, c.literal.to_string())).collect();
        let expected = [
            ("hour", "<", "5".to_owned()),
            ("input.d", "like", "\"hr_\"".to_owned()),
            ("datasets", "contains", "\"x\"".to_owned()),
            ("input.d", "in", "[\"a\",\"b\"]".to_owned()),
        ];
        assert_eq!(brief, expected);
    }
}
