//! Why one question is answered as it is, and what would change the answer.

use std::collections::{BTreeMap, BTreeSet};

use crewgate_core::{InputValue, RuleId};
use crewgate_policy::Policy as _;
use serde::Serialize;
use serde_json::Value;

use super::{
    Answer, Outcome, Question, RoleLookup,
    literals::{Compared, clauses, compared},
    reach::speaking,
};
use crate::{CedarPolicy, Vocabulary, rule::Rule};

/// A rule that matched, and what it read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The rule.
    pub rule: RuleId,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// The facts its conditions name, with their values.
    pub facts: BTreeMap<String, String>,
}

/// A question like the one asked that is answered otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// What differs, in words: `with role interns`, `token_age 599`.
    pub with: Vec<String>,
    /// How it is answered.
    pub answer: Answer,
}

/// One answer with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Story {
    /// The answer.
    pub answer: Answer,
    /// What a refused caller is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Rules that matched.
    pub matched: Vec<Reading>,
    /// Rules that could not be evaluated, and why.
    pub broken: Vec<(RuleId, String)>,
    /// Everything the rules could read.
    pub facts: Vec<(String, String)>,
    /// The smallest changes found that are answered otherwise, the best answers first: one change each, or two where
    /// no single one helps. Found by trying what the rules themselves compare with, and no claim that there is no
    /// other.
    pub alternatives: Vec<Alternative>,
}

/// Decisions that are tried for pairs of changes at most.
const MOST_PAIRS: usize = 20_000;
/// Pairs that are told at most.
const TOLD_PAIRS: usize = 10;

/// Explains one question.
///
/// # Errors
///
/// What the question says that the configuration does not know.
pub fn explain(
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    question: &Question,
    lookup: Option<RoleLookup<'_>>,
) -> Result<Story, String> {
    let asked = question.asked(policy, vocabulary, lookup)?;
    let told = policy.explain(&asked.query());
    let answer = Answer::from(&told.decision);
    let reason = match &told.decision {
        crewgate_core::Decision::Refuse { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    let reading = |id: &RuleId, effect| {
        let rule = policy.engine().rules.iter().find(|rule| rule.id == *id);
        let named: BTreeSet<String> =
            rule.iter().flat_map(|rule| clauses(&rule.policy)).flat_map(|clause| clause.reads()).collect();
        let facts = told.facts.iter().filter(|(name, _)| named.contains(name)).cloned().collect();
        Reading { rule: id.clone(), effect, facts }
    };
    let permits = told.permits.iter().map(|id| reading(id, "permit"));
    let matched = permits.chain(told.guards.iter().map(|id| reading(id, "forbid"))).collect();

    // From here on the roles are said and not looked up, so that one can be taken away.
    let fixed = Question {
        roles: asked.roles.iter().map(|role| role.name.clone()).collect(),
        groups: BTreeSet::new(),
        hour: None,
        weekday: None,
        at: asked.query().now,
        ..question.clone()
    };
    let alternatives = alternatives(policy, vocabulary, &fixed, &answer)?;
    Ok(Story { answer, reason, matched, broken: told.broken, facts: told.facts, alternatives })
}

/// One change to a question, and how it is told.
type Edit = (String, Question);

fn alternatives(
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    question: &Question,
    answer: &Answer,
) -> Result<Vec<Alternative>, String> {
    let decide = |question: &Question| {
        let asked = question.asked(policy, vocabulary, None).ok()?;
        Some(Answer::from(&policy.decide(&asked.query())))
    };
    let (permits, guards) =
        speaking(policy.engine(), vocabulary, question).map_err(|unknown| unknown.to_string())?;
    let rules: Vec<&Rule> = permits.into_iter().chain(guards).collect();
    let edits = edits(policy, &rules, question);
    let mut found: Vec<Alternative> = edits
        .iter()
        .filter_map(|(text, edited)| {
            let other = decide(edited).filter(|other| other != answer)?;
            Some(Alternative { with: vec![text.clone()], answer: other })
        })
        .collect();
    // Only what lets more through is worth two changes.
    let best = found.iter().map(|alternative| alternative.answer.outcome).max();
    if answer.outcome == Outcome::Refuse && best.is_none_or(|best| best == Outcome::Refuse) {
        let mut tried = 0_usize;
        let mut told = 0_usize;
        'search: for (first, once) in &edits {
            for (second, twice) in self::edits(policy, &rules, once) {
                tried = tried.saturating_add(1);
                if tried > MOST_PAIRS || told >= TOLD_PAIRS {
                    break 'search;
                }
                let pair = [first.clone(), second];
                let new = pair.is_sorted();
                if let Some(other) = decide(&twice).filter(|other| new && other.outcome > answer.outcome) {
                    told = told.saturating_add(1);
                    found.push(Alternative { with: pair.into(), answer: other });
                }
            }
        }
    }
    found.sort_by_key(|alternative| std::cmp::Reverse(alternative.answer.outcome));
    Ok(found)
}

/// The changes that these rules can tell apart.
fn edits(policy: &CedarPolicy, rules: &[&Rule], question: &Question) -> Vec<Edit> {
    let mut edits = BTreeMap::<String, Question>::new();
    let mut with = |text: String, change: &dyn Fn(&mut Question)| {
        let mut edited = question.clone();
        change(&mut edited);
        if edited != *question {
            edits.insert(text, edited);
        }
    };
    for rule in rules {
        for role in &rule.roles {
            if question.roles.contains(role) {
                with(format!("without role {role}"), &|q| q.roles.retain(|held| held != role));
            } else {
                with(format!("with role {role}"), &|q| q.roles.extend([role.clone()]));
            }
        }
        if let Some(set) = &rule.approval {
            with(format!("with approval of {set}"), &|q| q.approved.extend([set.clone()]));
        }
        let mut literals = Vec::new();
        for clause in clauses(&rule.policy) {
            for fact in clause.reads() {
                flips(&fact, question, &mut with);
            }
            compared(&clause.body, &mut literals);
        }
        for literal in &literals {
            values(policy, literal, question, &mut with);
        }
    }
    edits.into_iter().collect()
}

type With<'w> = dyn FnMut(String, &dyn Fn(&mut Question)) + 'w;

/// The other value of a fact that has two, and an input that is not sent.
fn flips(fact: &str, question: &Question, with: &mut With<'_>) {
    match fact {
        "mfa" => with(format!("mfa {}", !question.mfa), &|q| q.mfa = !q.mfa),
        "sender_constrained" => with(format!("sender_constrained {}", !question.sender_constrained), &|q| {
            q.sender_constrained = !q.sender_constrained;
        }),
        "has_undeclared_inputs" => {
            with(format!("has_undeclared_inputs {}", !question.has_undeclared_inputs), &|q| {
                q.has_undeclared_inputs = !q.has_undeclared_inputs;
            });
        }
        "is_owner" => {
            if question.owner.as_deref() == Some(&question.principal) {
                with("of somebody else's run".to_owned(), &|q| q.owner = Some("test:owner".to_owned()));
            } else {
                with("of their own run".to_owned(), &|q| q.owner = Some(q.principal.clone()));
            }
        }
        fact => {
            let Some(input) = fact.strip_prefix("input.") else { return };
            match question.input.get(input) {
                Some(InputValue::Bool(value)) => {
                    let other = !value;
                    with(format!("input.{input} {other}"), &|q| {
                        q.input.insert(input.to_owned(), InputValue::Bool(other));
                    });
                    with(format!("without input.{input}"), &|q| q.input.retain(|name, _| name != input));
                }
                Some(_) => {
                    with(format!("without input.{input}"), &|q| q.input.retain(|name, _| name != input))
                }
                None => {}
            }
        }
    }
}

/// The values at which a comparison turns.
fn values(policy: &CedarPolicy, compared: &Compared, question: &Question, with: &mut With<'_>) {
    let Compared { fact, literal, .. } = compared;
    if let Value::Array(items) = literal {
        for item in items {
            let one = Compared { literal: item.clone(), ..compared.clone() };
            values(policy, &one, question, with);
        }
        return;
    }
    let near = |n: i64| [n.saturating_sub(1), n, n.saturating_add(1)].into_iter().filter(|n| *n >= 0);
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    match (fact.as_str(), literal) {
        ("token_age" | "token_lifetime" | "body_bytes" | "hour" | "weekday", Value::Number(number)) => {
            for n in number.as_i64().into_iter().flat_map(near) {
                let told = format!("{fact} {n}");
                match fact.as_str() {
                    "token_age" => with(told, &|q| q.token_age = count(n)),
                    "token_lifetime" => with(told, &|q| q.token_lifetime = count(n)),
                    "body_bytes" => with(told, &|q| q.body_bytes = count(n)),
                    "hour" if n < 24 && policy.clock(question.at).0 != n => with(told, &|q| q.hour = Some(n)),
                    "weekday" if (1..8).contains(&n) && policy.clock(question.at).1 != n => {
                        with(told, &|q| q.weekday = Some(n));
                    }
                    _ => {}
                }
            }
        }
        ("datasets", Value::String(text)) => {
            let mut datasets = question.datasets.clone().unwrap_or_default();
            let told = toggle(&mut datasets, text, "dataset");
            with(told, &|q| q.datasets = Some(datasets.clone()));
        }
        ("webhook_hosts", Value::String(text)) => {
            let mut hosts = question.webhook_hosts.clone();
            let told = toggle(&mut hosts, text, "webhook host");
            with(told, &|q| q.webhook_hosts.clone_from(&hosts));
        }
        (fact, literal) => {
            let Some(input) = fact.strip_prefix("input.") else { return };
            let mut put = |told: String, value: InputValue| {
                with(told, &|q| q.input.extend([(input.to_owned(), value.clone())]));
            };
            match (literal, compared.operator) {
                (Value::String(text), "contains") => {
                    let mut items = match question.input.get(input) {
                        Some(InputValue::Strings(items)) => items.clone(),
                        _ => Vec::new(),
                    };
                    let told = toggle(&mut items, text, &format!("{fact} item"));
                    put(told, InputValue::Strings(items));
                }
                (Value::String(text), _) => {
                    put(format!("{fact} \"{text}\""), InputValue::String(text.clone()));
                    let other = format!("not-{text}");
                    put(format!("{fact} \"{other}\""), InputValue::String(other));
                }
                (Value::Bool(value), _) => put(format!("{fact} {value}"), InputValue::Bool(*value)),
                (Value::Number(number), _) => {
                    for n in number.as_i64().into_iter().flat_map(near) {
                        put(format!("{fact} {n}"), InputValue::Long(n));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Takes an item out of a list or puts it in.
fn toggle(items: &mut Vec<String>, item: &str, what: &str) -> String {
    if items.iter().any(|held| held == item) {
        items.retain(|held| held != item);
        format!("without {what} \"{item}\"")
    } else {
        items.push(item.to_owned());
        format!("with {what} \"{item}\"")
    }
}
