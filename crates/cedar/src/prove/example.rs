//! From the solver's model to a request a person can read and try.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Entities, EvalResult, Request};
use crewgate_core::{ApproverSet, InputValue, PrincipalKind, RoleName};

use crate::{Vocabulary, tools::Question};

/// The request of a counter-example; `None` where it holds something no request can.
pub(super) fn question(request: &Request, entities: &Entities, vocabulary: &Vocabulary) -> Option<Question> {
    let (principal, action, resource) = (request.principal()?, request.action()?, request.resource()?);
    let ids = |uid, kind: &str| -> BTreeSet<String> {
        let ancestors = entities.ancestors(uid).into_iter().flatten();
        let of_kind = ancestors.filter(|uid| uid.type_name().to_string() == kind);
        of_kind.map(|uid| uid.id().unescaped().to_owned()).collect()
    };
    let id = principal.id().unescaped();
    let context = request.context()?;
    let long = |name: &str| match context.get(name) {
        Some(EvalResult::Long(n)) => u64::try_from(n).ok(),
        _ => None,
    };
    let flag = |name: &str| matches!(context.get(name), Some(EvalResult::Bool(true)));
    let texts = |name: &str| strings(context.get(name));
    let key = if id.contains(':') { id.to_owned() } else { format!("test:somebody{id}") };
    let fleets: Vec<String> = ids(resource, "Fleet").into_iter().collect();
    let declared = vocabulary.crews.iter().find(|crew| crew.name == resource.id().unescaped())?;
    let input = match context.get("input") {
        Some(EvalResult::Record(record)) => {
            let declared = |name: &String| declared.inputs.iter().any(|(known, _)| known == name);
            let values = record.iter().filter(|(name, _)| declared(&name.to_string()));
            values.filter_map(|(name, value)| Some((name.to_string(), input(value)?))).collect()
        }
        _ => BTreeMap::new(),
    };
    let done = texts("done");
    let approved = done.iter().filter_map(|word| word.strip_prefix("approval:")).map(ApproverSet::new);
    let owner = match context.get("is_owner") {
        Some(EvalResult::Bool(true)) => Some(key.clone()),
        Some(EvalResult::Bool(false)) => Some("test:owner".to_owned()),
        _ => None,
    };
    let day = |name| long(name).and_then(|n| i64::try_from(n).ok());
    Some(Question {
        kind: if principal.type_name().to_string() == "Service" {
            PrincipalKind::Service
        } else {
            PrincipalKind::User
        },
        roles: ids(principal, "Role").into_iter().map(RoleName::new).collect(),
        mfa: flag("mfa"),
        sender_constrained: flag("sender_constrained"),
        token_age: long("token_age")?,
        token_lifetime: long("token_lifetime")?,
        hour: day("hour"),
        weekday: day("weekday"),
        action: action.id().unescaped().to_owned(),
        crew: resource.id().unescaped().to_owned(),
        fleets: (fleets.iter().collect::<BTreeSet<_>>() != declared.fleets.iter().collect())
            .then_some(fleets),
        input,
        datasets: Some(texts("datasets")),
        prompts: texts("prompts"),
        body_bytes: long("body_bytes")?,
        has_undeclared_inputs: flag("has_undeclared_inputs"),
        webhook_hosts: texts("webhook_hosts"),
        owner,
        approved: approved.filter(|set| vocabulary.approvers.contains(set)).collect(),
        principal: key,
        ..Question::default()
    })
}

fn input(value: &EvalResult) -> Option<InputValue> {
    match value {
        EvalResult::Bool(value) => Some(InputValue::Bool(*value)),
        EvalResult::Long(value) => Some(InputValue::Long(*value)),
        EvalResult::String(value) => Some(InputValue::String(value.clone())),
        set @ EvalResult::Set(_) => Some(InputValue::Strings(strings(Some(set.clone())))),
        _ => None,
    }
}

fn strings(value: Option<EvalResult>) -> Vec<String> {
    let Some(EvalResult::Set(set)) = value else { return Vec::new() };
    let texts = set.iter().filter_map(|item| match item {
        EvalResult::String(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

/// The question with everything taken away that `still` does not need.
pub(super) fn least(question: Question, still: impl Fn(&Question) -> bool) -> Question {
    if !still(&question) {
        // The model is more than a question can say; told as it is.
        return question;
    }
    let usual = Question::default();
    let mut least = question;
    let mut without = |change: &dyn Fn(&mut Question)| {
        let mut less = least.clone();
        change(&mut less);
        if still(&less) {
            least = less;
        }
    };
    without(&|q| q.principal.clone_from(&usual.principal));
    without(&|q| q.kind = usual.kind);
    without(&|q| q.mfa = usual.mfa);
    without(&|q| q.sender_constrained = usual.sender_constrained);
    without(&|q| q.token_age = usual.token_age);
    without(&|q| q.token_lifetime = usual.token_lifetime);
    without(&|q| q.hour = None);
    without(&|q| q.weekday = None);
    without(&|q| q.body_bytes = usual.body_bytes);
    without(&|q| q.has_undeclared_inputs = false);
    without(&|q| q.webhook_hosts.clear());
    without(&|q| q.prompts.clear());
    without(&|q| q.owner = None);
    without(&|q| q.datasets = None);
    without(&|q| q.fleets = None);
    for at in (0..8).rev() {
        without(&|q| q.fleets.iter_mut().for_each(|fleets| remove(fleets, at)));
        without(&|q| q.roles = skip(&q.roles, at));
        without(&|q| q.approved = skip(&q.approved, at));
        without(&|q| {
            let name = q.input.keys().nth(at).cloned();
            name.map(|name| q.input.remove(&name));
        });
    }
    least
}

fn remove(items: &mut Vec<String>, at: usize) {
    if at < items.len() {
        items.remove(at);
    }
}

fn skip<T: Ord + Clone>(items: &BTreeSet<T>, at: usize) -> BTreeSet<T> {
    items.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, item)| item.clone()).collect()
}
