//! What a rule's conditions say of plain facts, known without asking Cedar.

use crewgate_core::RoleName;
use serde_json::Value as Json;

use super::Names;
use crate::facts::{FACTS, Facts, Value};

/// The conditions of a rule, as far as they can be told from the facts.
#[derive(Debug, Default)]
pub(crate) struct Test(Vec<Term>);

/// A part of a condition. Only what is said in these words is judged here; all else is `Unknown`, whose value and
/// whose errors are Cedar's to find.
#[derive(Debug)]
enum Term {
    Bool(bool),
    Long(i64),
    Text(Box<str>),
    Texts(Vec<Box<str>>),
    /// A place in [`FACTS`].
    Fact(usize),
    Owner,
    HasOwner,
    Input(Box<str>),
    HasInput(Box<str>),
    /// The caller holds one of these.
    InRole(Vec<u32>),
    Not(Box<Term>),
    And(Box<(Term, Term)>),
    Or(Box<(Term, Term)>),
    Eq(Box<(Term, Term)>),
    Less(Box<(Term, Term)>),
    LessEq(Box<(Term, Term)>),
    Contains(Box<(Term, Term)>),
    ContainsAny(Box<(Term, Term)>),
    ContainsAll(Box<(Term, Term)>),
    IsEmpty(Box<Term>),
    If(Box<(Term, Term, Term)>),
    Like(Box<Term>, Vec<Option<Box<str>>>),
    Unknown,
}

/// What a term is. Texts of the rule and of the request alike.
enum Is<'a> {
    One(Value<'a>),
    Set(&'a [Box<str>]),
}

impl Is<'_> {
    /// Whether it is a set of texts of which one is such; `None` when it is none.
    fn any(&self, such: impl FnMut(&str) -> bool) -> Option<bool> {
        let mut such = such;
        match self {
            Self::Set(set) => Some(set.iter().any(|one| such(one))),
            Self::One(Value::Texts(set)) => Some(set.iter().any(|one| such(one))),
            Self::One(_) => None,
        }
    }
}

impl Test {
    /// Reads the conditions of a rule in Cedar's JSON form.
    pub(crate) fn of(policy: &Json, roles: &Names<RoleName>) -> Self {
        let conditions = policy.get("conditions").and_then(Json::as_array).map(Vec::as_slice);
        let term = |condition: &Json| {
            let body = condition.get("body").map_or(Term::Unknown, |body| term(body, roles));
            match condition.get("kind").and_then(Json::as_str) {
                Some("when") => body,
                Some("unless") => Term::Not(Box::new(body)),
                _ => Term::Unknown,
            }
        };
        Self(conditions.unwrap_or_default().iter().map(term).collect())
    }

    /// Whether some condition is certainly false, and none before it could be in error: then the rule neither holds
    /// nor fails, whatever its scope, and need not be put to Cedar.
    pub(crate) fn excludes(&self, facts: &Facts<'_>, roles: &[u32]) -> bool {
        for condition in &self.0 {
            match condition.truth(facts, roles) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        false
    }
}

impl Term {
    fn truth(&self, facts: &Facts<'_>, roles: &[u32]) -> Option<bool> {
        match self.value(facts, roles)? {
            Is::One(Value::Bool(value)) => Some(value),
            _ => None,
        }
    }

    fn value<'t>(&'t self, facts: &'t Facts<'_>, roles: &[u32]) -> Option<Is<'t>> {
        let truth = |term: &Self| term.truth(facts, roles);
        let flag = |value| Some(Is::One(Value::Bool(value)));
        match self {
            Self::Bool(value) => flag(*value),
            Self::Long(value) => Some(Is::One(Value::Long(*value))),
            Self::Text(value) => Some(Is::One(Value::Text(value))),
            Self::Texts(values) => Some(Is::Set(values)),
            Self::Fact(at) => facts.own(*at).map(Is::One),
            // Without an owner, or without the input, Cedar would find an error.
            Self::Owner => facts.is_owner().map(|owner| Is::One(Value::Bool(owner))),
            Self::HasOwner => flag(facts.is_owner().is_some()),
            Self::Input(name) => facts.input(name).map(Is::One),
            Self::HasInput(name) => flag(facts.has_input(name)),
            Self::InRole(any) => flag(any.iter().any(|role| roles.binary_search(role).is_ok())),
            Self::Not(term) => flag(!truth(term)?),
            Self::And(both) => flag(truth(&both.0)? && truth(&both.1)?),
            Self::Or(both) => flag(truth(&both.0)? || truth(&both.1)?),
            Self::Eq(both) => {
                let (left, right) = (both.0.value(facts, roles)?, both.1.value(facts, roles)?);
                match (left, right) {
                    (Is::One(Value::Bool(a)), Is::One(Value::Bool(b))) => flag(a == b),
                    (Is::One(Value::Long(a)), Is::One(Value::Long(b))) => flag(a == b),
                    (Is::One(Value::Text(a)), Is::One(Value::Text(b))) => flag(a == b),
                    _ => None,
                }
            }
            Self::Less(both) => compared(both, facts, roles).map(|(a, b)| Is::One(Value::Bool(a < b))),
            Self::LessEq(both) => compared(both, facts, roles).map(|(a, b)| Is::One(Value::Bool(a <= b))),
            Self::Contains(both) => {
                let Is::One(Value::Text(text)) = both.1.value(facts, roles)? else { return None };
                flag(both.0.value(facts, roles)?.any(|one| one == text)?)
            }
            Self::ContainsAny(both) => flag(subset(&both.1, &both.0, false, facts, roles)?),
            Self::ContainsAll(both) => flag(subset(&both.1, &both.0, true, facts, roles)?),
            Self::IsEmpty(term) => flag(!term.value(facts, roles)?.any(|_| true)?),
            Self::If(three) => match truth(&three.0)? {
                true => three.1.value(facts, roles),
                false => three.2.value(facts, roles),
            },
            Self::Like(term, pattern) => match term.value(facts, roles)? {
                Is::One(Value::Text(text)) => flag(like(text, pattern)),
                _ => None,
            },
            Self::Unknown => None,
        }
    }
}

/// Whether all of the texts of `part`, or some of them, are in `whole`.
fn subset(part: &Term, whole: &Term, all: bool, facts: &Facts<'_>, roles: &[u32]) -> Option<bool> {
    let (part, whole) = (part.value(facts, roles)?, whole.value(facts, roles)?);
    // Even where `part` is empty: what is no set is Cedar's to tell.
    whole.any(|_| true)?;
    let within = |text: &str| whole.any(|one| one == text) == Some(true);
    part.any(|text| within(text) != all).map(|found| found != all)
}

fn compared(both: &(Term, Term), facts: &Facts<'_>, roles: &[u32]) -> Option<(i64, i64)> {
    match (both.0.value(facts, roles)?, both.1.value(facts, roles)?) {
        (Is::One(Value::Long(a)), Is::One(Value::Long(b))) => Some((a, b)),
        _ => None,
    }
}

/// `None` in the pattern is `*`. Taking every piece at its first place leaves most room for those after it.
fn like(text: &str, pattern: &[Option<Box<str>>]) -> bool {
    let mut rest = text;
    let mut free = false;
    for (at, piece) in pattern.iter().enumerate() {
        let Some(piece) = piece else {
            free = true;
            continue;
        };
        let last = at.saturating_add(1) == pattern.len();
        let found = match (free, last) {
            (false, false) => rest.strip_prefix(&**piece),
            (false, true) => return rest == &**piece,
            (true, true) => return rest.ends_with(&**piece),
            (true, false) => rest.split_once(&**piece).map(|(_, behind)| behind),
        };
        let Some(behind) = found else { return false };
        (rest, free) = (behind, false);
    }
    free || rest.is_empty()
}

fn term(json: &Json, roles: &Names<RoleName>) -> Term {
    read(json, roles).unwrap_or(Term::Unknown)
}

fn read(json: &Json, roles: &Names<RoleName>) -> Option<Term> {
    let (operator, operand) = json.as_object()?.iter().next()?;
    let both = || {
        let side = |name| Some(term(operand.get(name)?, roles));
        Some(Box::new((side("left")?, side("right")?)))
    };
    let flipped = || both().map(|both| Box::new((both.1, both.0)));
    Some(match operator.as_str() {
        "Value" => match operand {
            Json::Bool(value) => Term::Bool(*value),
            Json::Number(value) => Term::Long(value.as_i64()?),
            Json::String(value) => Term::Text(value.as_str().into()),
            _ => return None,
        },
        "Set" => {
            let text = |one: &Json| Some(one.get("Value")?.as_str()?.into());
            Term::Texts(operand.as_array()?.iter().map(text).collect::<Option<_>>()?)
        }
        "." => field(operand)?,
        "has" => match (operand.get("left")?, operand.get("attr")?.as_str()?) {
            (left, "is_owner") if is_context(left) => Term::HasOwner,
            (left, name) if is_input(left) => Term::HasInput(name.into()),
            _ => return None,
        },
        "in" if operand.get("left")?.get("Var")? == "principal" => {
            let right = operand.get("right")?;
            let all = match right.get("Set") {
                Some(set) => set.as_array()?.iter().map(|one| role(one, roles)).collect::<Option<_>>()?,
                None => vec![role(right, roles)?],
            };
            Term::InRole(all)
        }
        "!" => Term::Not(Box::new(term(operand.get("arg")?, roles))),
        "&&" => Term::And(both()?),
        "||" => Term::Or(both()?),
        "==" => Term::Eq(both()?),
        "!=" => Term::Not(Box::new(Term::Eq(both()?))),
        "<" => Term::Less(both()?),
        "<=" => Term::LessEq(both()?),
        ">" => Term::Less(flipped()?),
        ">=" => Term::LessEq(flipped()?),
        "contains" => Term::Contains(both()?),
        "containsAny" => Term::ContainsAny(both()?),
        "containsAll" => Term::ContainsAll(both()?),
        "isEmpty" => Term::IsEmpty(Box::new(term(operand.get("arg")?, roles))),
        "if-then-else" => {
            let part = |name| Some(term(operand.get(name)?, roles));
            Term::If(Box::new((part("if")?, part("then")?, part("else")?)))
        }
        "like" => {
            let mut pattern: Vec<Option<Box<str>>> = Vec::new();
            for piece in operand.get("pattern")?.as_array()? {
                match (piece.get("Literal").and_then(Json::as_str), pattern.last_mut()) {
                    (Some(text), Some(Some(before))) => *before = format!("{before}{text}").into(),
                    (Some(text), _) => pattern.push(Some(text.into())),
                    (None, _) if piece == "Wildcard" => pattern.push(None),
                    (None, _) => return None,
                }
            }
            Term::Like(Box::new(term(operand.get("left")?, roles)), pattern)
        }
        _ => return None,
    })
}

fn is_context(json: &Json) -> bool {
    json.get("Var").is_some_and(|var| var == "context")
}

fn is_input(json: &Json) -> bool {
    let Some(operand) = json.get(".") else { return false };
    operand.get("left").is_some_and(is_context) && operand.get("attr").is_some_and(|attr| attr == "input")
}

fn field(operand: &Json) -> Option<Term> {
    let (left, name) = (operand.get("left")?, operand.get("attr")?.as_str()?);
    if is_input(left) {
        return Some(Term::Input(name.into()));
    }
    if !is_context(left) {
        return None;
    }
    match FACTS.iter().position(|fact| *fact == name) {
        Some(at) => Some(Term::Fact(at)),
        None => (name == "is_owner").then_some(Term::Owner),
    }
}

fn role(json: &Json, roles: &Names<RoleName>) -> Option<u32> {
    let entity = json.get("Value")?.get("__entity")?;
    let known = entity.get("type")? == "Role";
    roles.id(&RoleName::new(entity.get("id")?.as_str()?)).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_a_whole() {
        let pattern = |text: &str| -> Vec<Option<Box<str>>> {
            let pieces = text.split_inclusive('*').flat_map(|piece| match piece.strip_suffix('*') {
                Some("") => vec![None],
                Some(text) => vec![Some(text.into()), None],
                None => vec![Some(piece.into())],
            });
            pieces.collect()
        };
        let cases = [
            ("", "", true),
            ("", "*", true),
            ("a", "", false),
            ("hr_payroll_2026", "hr_payroll*", true),
            ("hr_payroll", "hr_payroll*", true),
            ("xhr_payroll", "hr_payroll*", false),
            ("abcabc", "*abc", true),
            ("abcabcd", "*abc", false),
            ("aXbXc", "a*X*c", true),
            ("ac", "a*a*c", false),
            ("aa", "a*a", true),
            ("a", "a*a", false),
            ("äöü", "ä*ü", true),
        ];
        for (text, glob, expected) in cases {
            assert_eq!(like(text, &pattern(glob)), expected, "{text} like {glob}");
        }
    }
}
