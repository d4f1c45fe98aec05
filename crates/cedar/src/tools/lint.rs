//! Mistakes that load, and mistakes that do not: told by a name each, with the place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use cedar_policy::{ActionConstraint, PrincipalConstraint, ResourceConstraint};
use crewgate_core::RoleName;
use serde_json::Value;

use super::{
    literals::{Compared, clauses, comparison},
    scope::covers,
};
use crate::{
    CedarPolicy, LoadError, Vocabulary,
    engine::Engine,
    rule::Rule,
    source::{self, Statement, Token, statements, tokens},
};

/// Something an author should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The lint's name: `unreachable`.
    pub lint: &'static str,
    /// Whether the rules do not load because of it.
    pub fatal: bool,
    /// What and where.
    pub at: LoadError,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.at.to_string();
        let (kind, text) = (if self.fatal { "error" } else { "warning" }, text.strip_prefix("error: "));
        write!(f, "{kind}[{}]: {}", self.lint, text.unwrap_or_default())
    }
}

/// Looks at rules given as path and text: what keeps them from loading, and what their author hardly meant.
/// `elsewhere` are roles that something besides rules uses, such as a set of approvers.
///
/// | lint | what it finds |
/// |---|---|
/// | `does-not-load` | what [`CedarPolicy::load`] refuses |
/// | `context-done` | a rule that reads or compares `context.done` |
/// | `string-in-set` | `in` with strings: it is for entities, a set is asked with `.contains` |
/// | `unless-unless` | two `unless` clauses on a guard: each is a way out by itself |
/// | `global-guard` | a guard for everybody, every action and every crew: every decision pays for it |
/// | `guard-without-reason` | a plain guard without `@reason`: who is refused cannot know what to do |
/// | `unreachable` | a rule whose conditions contradict each other, or that a guard always forbids |
/// | `shadowed` | a permit that another one makes useless |
/// | `unused-role` | a declared role that nothing uses |
#[must_use]
pub fn lint(
    files: &[(String, String)],
    vocabulary: &Vocabulary,
    elsewhere: &BTreeSet<RoleName>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in files {
        for statement in statements(text) {
            written(file, text, statement, &mut found);
        }
    }
    match CedarPolicy::load(files.to_vec(), vocabulary) {
        Ok(policy) => meant(policy.engine(), files, vocabulary, elsewhere, &mut found),
        Err(errors) => {
            for at in errors {
                let lint = if at.message.contains("context.done") { "context-done" } else { "does-not-load" };
                // What is known by a better name is told once.
                let told = |one: &Finding| {
                    one.fatal && (&one.at.file, one.at.line) == (&at.file, at.line) && at.line > 0
                };
                if !found.iter().any(told) {
                    found.push(Finding { lint, fatal: true, at });
                }
            }
        }
    }
    let order = |file: &str| files.iter().position(|(name, _)| name == file);
    found.sort_by_key(|one| (order(&one.at.file), one.at.line, one.at.column));
    found
}

/// What can be seen in the text alone.
fn written(file: &str, text: &str, statement: Statement<'_>, found: &mut Vec<Finding>) {
    let all: Vec<_> = tokens(statement.text).collect();
    let at = |offset: usize, message: &str, help: &str| {
        LoadError::at(file, text, statement.offset.saturating_add(offset), message)
            .with_help(Some(help.to_owned()))
    };
    for window in all.windows(3) {
        if let [(offset, Token::Word("in"), _), (_, next, _), (_, after, _)] = window
            && matches!((next, after), (Token::Str(_), _) | (Token::Mark('['), Token::Str(_)))
        {
            let help = "`in` is for entities: write [\"a\", \"b\"].contains(context.input.x)";
            let at = at(*offset, "`in` with strings", help);
            found.push(Finding { lint: "string-in-set", fatal: true, at });
        }
    }
    let guard = all.iter().any(|(_, token, _)| *token == Token::Word("forbid"));
    let mut ways_out = all.iter().filter(|(_, token, _)| *token == Token::Word("unless"));
    if let (true, Some(_), Some((offset, ..))) = (guard, ways_out.next(), ways_out.next()) {
        let help = "either of the two is enough to pass the guard: write one `unless { a && b }` where both are \
                    needed, or `unless { a || b }` to say what you mean";
        let at = at(*offset, "a second `unless` is a second way out", help);
        found.push(Finding { lint: "unless-unless", fatal: false, at });
    }
}

/// What rules that load do not do.
fn meant(
    engine: &Engine,
    files: &[(String, String)],
    vocabulary: &Vocabulary,
    elsewhere: &BTreeSet<RoleName>,
    found: &mut Vec<Finding>,
) {
    let at = |rule: &Rule, word: Option<&str>, message: String, help: &str| {
        let (index, start) = rule.place;
        let (file, text) = files.get(index).map_or(("", ""), |(file, text)| (file, text));
        let own = text.get(start..).unwrap_or_default();
        let offset = word.and_then(|word| source::word(own, word)).unwrap_or(0);
        LoadError::at(file, text, start.saturating_add(offset), message).with_help(Some(help.to_owned()))
    };
    let mut push = |lint, at| found.push(Finding { lint, fatal: false, at });
    let mut rules: Vec<&Rule> = engine.rules.iter().collect();
    rules.sort_by_key(|rule| rule.place);
    for rule in &rules {
        if !rule.permit && is_global(rule) {
            let help = "give it a fleet, a role or an action: every decision evaluates it otherwise";
            push("global-guard", at(rule, Some("forbid"), "a guard on everything".to_owned(), help));
        }
        if !rule.permit && !rule.has_duty() && rule.reason.is_none() {
            let help = "add @reason(\"…\"): the caller reads it, and learns what would help";
            push(
                "guard-without-reason",
                at(rule, Some("forbid"), "a guard that does not say why".to_owned(), help),
            );
        }
        if let Some(why) = contradiction(rule) {
            let help = "no request meets all of its conditions";
            push("unreachable", at(rule, None, format!("`{}` never matches: {why}", rule.id), help));
        }
    }
    for (rule, lint, by, help) in overlaps(engine, vocabulary, &rules) {
        push(lint, at(rule, None, format!("`{}` has no effect beside `{}`", rule.id, by.id), help));
    }
    for role in &vocabulary.roles {
        if !engine.roles.contains(role) && !elsewhere.contains(role) {
            let message = format!("role `{role}` is declared and used nowhere");
            push(
                "unused-role",
                LoadError::of_declarations(message, "remove it, or write the rule it is for"),
            );
        }
    }
}

fn is_global(rule: &Rule) -> bool {
    rule.policy.principal_constraint() == PrincipalConstraint::Any
        && rule.policy.action_constraint() == ActionConstraint::Any
        && matches!(rule.policy.resource_constraint(), ResourceConstraint::Any | ResourceConstraint::Is(_))
}

/// Permits that another rule without conditions makes useless.
fn overlaps<'e>(
    engine: &Engine,
    vocabulary: &Vocabulary,
    rules: &[&'e Rule],
) -> Vec<(&'e Rule, &'static str, &'e Rule, &'static str)> {
    // Only a rule without conditions and approval can stand for another; by what it speaks of, so that ten thousand
    // rules are not compared with one another.
    let mut wide = BTreeMap::<Option<String>, Vec<&Rule>>::new();
    for rule in rules {
        if rule.policy.has_non_scope_constraint()
            || rule.approval.is_some()
            || (!rule.permit && rule.has_duty())
        {
            continue;
        }
        wide.entry(resource(rule)).or_default().push(rule);
    }
    let mut found = Vec::new();
    for rule in rules.iter().filter(|rule| rule.permit) {
        let own = resource(rule);
        let fleets = vocabulary
            .crews
            .iter()
            .filter(|crew| own.as_deref() == Some(&format!("Crew::{}", crew.name)))
            .flat_map(|crew| crew.fleets.iter().map(|fleet| Some(format!("Fleet::{fleet}"))));
        let mut keys: Vec<_> = fleets.chain([None]).collect();
        keys.extend(own.is_some().then(|| own.clone()));
        let other = keys.iter().filter_map(|key| wide.get(key)).flatten().find(|other| {
            // Of two equal ones the second is the useless one.
            let equal =
                || covers(engine, &vocabulary.crews, rule, other) && !rule.policy.has_non_scope_constraint();
            other.id != rule.id
                && covers(engine, &vocabulary.crews, other, rule)
                && (!other.permit || rule.approval.is_some() || !equal() || other.place < rule.place)
        });
        match other {
            Some(other) if other.permit => {
                let help =
                    "whoever it permits is permitted already: narrow the other one, or remove this one";
                found.push((*rule, "shadowed", *other, help));
            }
            Some(other) => {
                let help = "the guard forbids all it permits: narrow the guard, or remove the permit";
                found.push((*rule, "unreachable", *other, help));
            }
            None => {}
        }
    }
    found
}

/// What a scope says of the resource; `None`: nothing.
fn resource(rule: &Rule) -> Option<String> {
    match rule.policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(format!("{}::{}", uid.type_name(), uid.id().unescaped()))
        }
    }
}

/// What a fact may still be once some conditions hold.
#[derive(Debug)]
struct Span {
    low: i64,
    high: i64,
    equal: Option<Value>,
    unequal: Vec<Value>,
}

/// Two conditions of a rule that cannot hold together, as far as comparing one fact with literals shows it.
fn contradiction(rule: &Rule) -> Option<String> {
    let mut spans = BTreeMap::<String, Span>::new();
    for clause in clauses(&rule.policy) {
        let Some(Compared { fact, operator, literal }) = single(&clause.body, !clause.when) else { continue };
        let (low, high) = match fact.as_str() {
            "hour" => (0, 23),
            "weekday" => (1, 7),
            "token_age" | "token_lifetime" | "body_bytes" => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        let span = spans.entry(fact.clone()).or_insert(Span { low, high, equal: None, unequal: Vec::new() });
        match (operator, literal.as_i64()) {
            ("<", Some(n)) => span.high = span.high.min(n.saturating_sub(1)),
            ("<=", Some(n)) => span.high = span.high.min(n),
            (">", Some(n)) => span.low = span.low.max(n.saturating_add(1)),
            (">=", Some(n)) => span.low = span.low.max(n),
            ("==", n) => {
                if span.equal.as_ref().is_some_and(|equal| *equal != literal)
                    || span.unequal.contains(&literal)
                {
                    return Some(format!("`{fact}` cannot be two things at once"));
                }
                if let Some(n) = n {
                    (span.low, span.high) = (span.low.max(n), span.high.min(n));
                }
                span.equal = Some(literal);
            }
            ("!=", _) => {
                if span.equal.as_ref() == Some(&literal) {
                    return Some(format!("`{fact}` cannot be {literal} and something else"));
                }
                span.unequal.push(literal);
            }
            _ => {}
        }
        if span.low > span.high {
            return Some(format!("no value of `{fact}` is left"));
        }
    }
    None
}

/// A clause that is one comparison, turned round where it must not hold.
fn single(body: &Value, negated: bool) -> Option<Compared> {
    if let Some(not) = body.get("!") {
        return single(not.get("arg")?, !negated);
    }
    if let Some(fact) = flag(body) {
        return Some(Compared { fact, operator: "==", literal: Value::Bool(!negated) });
    }
    let (operator, operands) = body.as_object()?.iter().next()?;
    let compared = comparison(operator, operands)?;
    let turned = match (compared.operator, negated) {
        (same, false) => same,
        ("<", true) => ">=",
        ("<=", true) => ">",
        (">", true) => "<=",
        (">=", true) => "<",
        ("==", true) => "!=",
        ("!=", true) => "==",
        _ => return None,
    };
    Some(Compared { operator: turned, ..compared })
}

/// A fact that is a condition by itself: `context.mfa`.
fn flag(body: &Value) -> Option<String> {
    let attribute = body.get(".")?;
    let context = serde_json::json!({ "Var": "context" });
    (attribute.get("left") == Some(&context))
        .then(|| attribute.get("attr")?.as_str().map(str::to_owned))
        .flatten()
}
