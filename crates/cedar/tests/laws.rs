//! Laws of deciding, held against small random rule sets and a model that shares no code with the engine.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::{collections::BTreeSet, str::FromStr};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use crewgate_cedar::CedarPolicy;
use crewgate_core::{ApproverSet, Decision, Duties, RuleId};
use proptest::prelude::*;
use serde_json::json;
use support::{Ask, brief, vocabulary};

const ROLES: [&str; 3] = ["operators", "support", "interns"];
const CREWS: [&str; 2] = ["payroll", "customer-care"];
const SETS: [&str; 2] = ["hr-data-owners", "marketing-leads"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Mfa,
    Large,
    /// Overflows for any body of two bytes or more.
    Breaks,
}

#[derive(Debug, Clone)]
struct Rule {
    permit: bool,
    role: Option<&'static str>,
    action: Option<&'static str>,
    crew: Option<&'static str>,
    when: When,
    approval: Option<&'static str>,
    mask: Option<&'static str>,
    rate: Option<u32>,
}

impl Rule {
    fn text(&self, id: &str) -> String {
        let mut text = format!("@id(\"{id}\")\n");
        for (key, value) in [("approval", self.approval), ("mask", self.mask)] {
            if let Some(value) = value {
                text += &format!("@{key}(\"{value}\")\n");
            }
        }
        if let Some(calls) = self.rate {
            text += &format!("@rate(\"{calls}/h\")\n");
        }
        text += if self.permit { "permit (" } else { "forbid (" };
        text +=
            &self.role.map_or("principal, ".to_owned(), |role| format!("principal in Role::\"{role}\", "));
        text +=
            &self.action.map_or("action, ".to_owned(), |action| format!("action in Action::\"{action}\", "));
        text += &self.crew.map_or("resource)".to_owned(), |crew| format!("resource == Crew::\"{crew}\")"));
        text += match self.when {
            When::Always => ";",
            When::Mfa => " when { context.mfa };",
            When::Large => " when { context.body_bytes > 100 };",
            When::Breaks => " when { context.body_bytes * 9223372036854775807 > 0 };",
        };
        text
    }

    /// Whether it matches; `None` is an error.
    fn matches(&self, ask: &Ask) -> Option<bool> {
        let role = self.role.is_none_or(|role| ask.roles.iter().any(|held| held.name.as_str() == role));
        let group = |action: &str| if matches!(action, "kickoff" | "resume") { "write" } else { "read" };
        let asked = ask.operation.action.as_str();
        let action = self.action.is_none_or(|action| action == asked || action == group(asked));
        if !role || !action || self.crew.is_some_and(|crew| crew != ask.operation.resource.name) {
            return Some(false);
        }
        match self.when {
            When::Always => Some(true),
            When::Mfa => Some(ask.principal.token.mfa),
            When::Large => Some(ask.operation.body_bytes > 100),
            When::Breaks if ask.operation.body_bytes >= 2 => None,
            When::Breaks => Some(ask.operation.body_bytes == 1),
        }
    }

    fn has_duty(&self) -> bool {
        self.approval.is_some() || self.mask.is_some() || self.rate.is_some()
    }
}

type Rules = Vec<(String, Rule)>;

/// The semantics, said once more in the plainest words: `allow …`, `ask …`, `refuse …` as [`brief`] prints them.
fn model(rules: &Rules, ask: &Ask) -> String {
    let given: BTreeSet<&str> =
        ask.approvals.iter().flat_map(|a| a.sets.iter().map(ApproverSet::as_str)).collect();
    let hit = |permit: bool, what: Option<bool>| {
        let mut hit: Vec<_> =
            rules.iter().filter(|(_, r)| r.permit == permit && r.matches(ask) == what).collect();
        hit.sort_by_key(|(id, _)| id.clone());
        hit
    };
    let mut permits = hit(true, Some(true));
    if permits.is_empty() {
        return "refuse".to_owned();
    }
    if let Some((id, _)) = hit(false, None).first() {
        return format!("refuse {id}");
    }
    let guards = hit(false, Some(true));
    if let Some((id, _)) = guards.iter().find(|(_, guard)| !guard.has_duty()) {
        return format!("refuse {id}");
    }
    permits.sort_by_key(|(id, permit)| {
        let missing = permit.approval.is_some_and(|set| !given.contains(set));
        (missing, permit.approval.is_some(), id.clone())
    });
    let asked = || guards.iter().copied().chain(permits.first().copied());
    let approvals: BTreeSet<&str> = asked().filter_map(|(_, rule)| rule.approval).collect();
    let masks: BTreeSet<&str> = asked().filter_map(|(_, rule)| rule.mask).collect();
    let rates: BTreeSet<String> =
        asked().filter_map(|(id, rule)| rule.rate.map(|calls| format!("{id}:{calls}/h"))).collect();
    let duties: Vec<String> = approvals
        .iter()
        .map(|set| format!("approval:{set}"))
        .chain(masks.iter().map(|mask| format!("mask:{mask}")))
        .chain(rates)
        .collect();
    let missing: Vec<&str> = approvals.difference(&given).copied().collect();
    if missing.is_empty() {
        format!("allow [{}]", duties.join(" "))
    } else {
        format!("ask {} [{}]", missing.join(" "), duties.join(" "))
    }
}

fn load(rules: &[(String, Rule)]) -> CedarPolicy {
    let files = rules.iter().map(|(id, rule)| (format!("{id}.cedar"), rule.text(id))).collect();
    CedarPolicy::load(files, &vocabulary()).unwrap()
}

fn rule(permit: impl Strategy<Value = bool>) -> impl Strategy<Value = Rule> {
    let role = proptest::option::of(proptest::sample::select(&ROLES[..]));
    let action = proptest::option::of(proptest::sample::select(vec!["read", "write", "kickoff", "status"]));
    let crew = proptest::option::weighted(0.3, proptest::sample::select(&CREWS[..]));
    let when = prop_oneof![
        4 => Just(When::Always), 2 => Just(When::Mfa), 2 => Just(When::Large), 1 => Just(When::Breaks)
    ];
    let approval = proptest::option::of(proptest::sample::select(&SETS[..]));
    let mask = proptest::option::of(proptest::sample::select(vec!["secrets", "pii-basic"]));
    let rate = proptest::option::weighted(0.3, 1..3_u32);
    (permit, role, action, crew, when, approval, mask, rate).prop_map(
        |(permit, role, action, crew, when, approval, mask, rate)| {
            let (mask, rate) = if permit { (None, None) } else { (mask, rate) };
            Rule { permit, role, action, crew, when, approval, mask, rate }
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    proptest::collection::vec(rule(any::<bool>()), 0..7)
        .prop_map(|rules| rules.into_iter().enumerate().map(|(n, rule)| (format!("r{n}"), rule)).collect())
}

fn ask() -> impl Strategy<Value = Ask> {
    let roles = proptest::sample::subsequence(ROLES.to_vec(), 0..=3);
    let action = proptest::sample::select(vec!["inputs", "status", "kickoff", "resume"]);
    let crew = proptest::sample::select(&CREWS[..]);
    let bytes = proptest::sample::select(vec![0_u64, 1, 50, 1000]);
    let given = proptest::option::of(proptest::sample::subsequence(SETS.to_vec(), 0..=2));
    (roles, action, crew, any::<bool>(), bytes, given).prop_map(|(roles, action, crew, mfa, bytes, given)| {
        let ask = Ask::new(&roles, action, crew).with(|ask| {
            ask.principal.token.mfa = mfa;
            ask.operation.body_bytes = bytes;
        });
        match given {
            Some(sets) => ask.approved(&sets),
            None => ask,
        }
    })
}

/// Plain Cedar over the exported text, put together without the engine.
fn plain(policy: &CedarPolicy, ask: &Ask, done: &[String]) -> bool {
    let uid = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let of = |kind: &str, id: &str| EntityUid::from_json(uid(kind, id)).unwrap();
    let action = ask.operation.action.as_str();
    let group = if matches!(action, "kickoff" | "resume") { "write" } else { "read" };
    let roles: Vec<_> = ask.roles.iter().map(|role| uid("Role", role.name.as_str())).collect();
    let fleets: Vec<_> = ask.operation.resource.parents.iter().map(|fleet| uid("Fleet", fleet)).collect();
    let crew = ask.operation.resource.name.as_str();
    let entities = json!([
        { "uid": uid("User", "okta:alice"), "attrs": {}, "parents": roles },
        { "uid": uid("Crew", crew), "attrs": {}, "parents": fleets },
        { "uid": uid("Action", action), "attrs": {}, "parents": [uid("Action", group)] },
    ]);
    let context = json!({
        "token_age": 600, "token_lifetime": 3600, "mfa": ask.principal.token.mfa, "hour": 12, "weekday": 1, "sender_constrained": false, "zone": "UTC", "prompts": [],
        "body_bytes": ask.operation.body_bytes, "has_undeclared_inputs": false,
        "webhook_hosts": [], "datasets": [], "input": {}, "done": done,
    });
    let context = Context::from_json_value(context, None).unwrap();
    let request =
        Request::new(of("User", "okta:alice"), of("Action", action), of("Crew", crew), context, None)
            .unwrap();
    let set = PolicySet::from_str(&policy.export()).unwrap();
    let entities = Entities::from_json_value(entities, None).unwrap();
    Authorizer::new().is_authorized(&request, &set, &entities).decision() == cedar_policy::Decision::Allow
}

fn done(duties: &Duties) -> Vec<String> {
    let approvals = duties.approvals.iter().map(|set| format!("approval:{set}"));
    let masks = duties.masks.iter().map(|mask| format!("mask:{mask}"));
    approvals.chain(masks).chain(duties.rates.iter().map(|duty| format!("rate:{}", duty.rate))).collect()
}

/// 0 allowed, 1 asked, 2 refused.
fn strictness(decision: &Decision) -> u8 {
    match decision {
        Decision::Allow { .. } => 0,
        Decision::Ask { .. } => 1,
        Decision::Refuse { .. } => 2,
    }
}

proptest! {
    // Each case loads a rule set or two, which unoptimised Cedar takes some 50 ms for.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_as_the_model_says(rules in rules(), asks in proptest::collection::vec(ask(), 8)) {
        let policy = load(&rules);
        for ask in asks {
            prop_assert_eq!(brief(&ask.of(&policy)), model(&rules, &ask), "{:?}", ask);
        }
    }

    #[test]
    fn adding_a_permit_never_adds_a_duty_or_a_refusal(rules in rules(), more in rule(Just(true)), ask in ask(), first in any::<bool>()) {
        let before = ask.of(&load(&rules));
        let id = if first { "a-new" } else { "z-new" };
        let mut rules = rules;
        rules.push((id.to_owned(), more));
        let after = ask.of(&load(&rules));
        if let Some(old) = before.duties() {
            prop_assert!(strictness(&after) <= strictness(&before), "{before:?} then {after:?}");
            let new = after.duties().unwrap();
            prop_assert!(new.masks == old.masks && new.rates == old.rates);
            prop_assert!(new.approvals.len() <= old.approvals.len());
            // Another set is asked only instead of one, and only when nobody has said yes yet.
            if matches!(before, Decision::Allow { .. }) {
                prop_assert!(new.approvals.is_subset(&old.approvals) || ask.approvals.is_some());
            }
        }
    }

    #[test]
    fn adding_a_guard_never_removes_a_duty_or_a_refusal(rules in rules(), more in rule(Just(false)), ask in ask()) {
        let before = ask.of(&load(&rules));
        let mut rules = rules;
        rules.push(("a-new".to_owned(), more));
        let after = ask.of(&load(&rules));
        prop_assert!(strictness(&after) >= strictness(&before), "{before:?} then {after:?}");
        if let (Some(old), Some(new)) = (before.duties(), after.duties()) {
            prop_assert!(new.masks.is_superset(&old.masks) && new.rates.is_superset(&old.rates));
            prop_assert!(new.approvals.is_superset(&old.approvals));
        }
    }

    #[test]
    fn the_order_of_files_means_nothing(
        (rules, shuffled) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        ask in ask(),
    ) {
        let (one, two) = (load(&rules), load(&shuffled));
        prop_assert_eq!(ask.of(&one), ask.of(&two));
        prop_assert_eq!(one.hash(), two.hash());
        let together: Vec<_> = shuffled.iter().map(|(id, rule)| rule.text(id)).collect();
        let file = vec![("all.cedar".to_owned(), together.join("\n"))];
        let together = CedarPolicy::load(file, &vocabulary()).unwrap();
        prop_assert_eq!(together.hash(), one.hash());
    }

    #[test]
    fn plain_cedar_denies_what_is_not_done_and_allows_what_is(rules in rules(), ask in ask()) {
        let policy = load(&rules);
        let decision = ask.of(&policy);
        match decision.duties() {
            Some(duties) => {
                let all = done(duties);
                prop_assert!(plain(&policy, &ask, &all), "everything done: {decision:?}");
                prop_assert_eq!(plain(&policy, &ask, &[]), all.is_empty(), "nothing done: {:?}", decision);
                for missing in &all {
                    // Taking one duty away closes it again, unless another permit did not ask for it.
                    if missing.starts_with("approval:") { continue; }
                    let rest: Vec<_> = all.iter().filter(|one| *one != missing).cloned().collect();
                    prop_assert!(!plain(&policy, &ask, &rest), "without {missing}: {decision:?}");
                }
            }
            // Cedar alone skips a guard in error; there the engine is stricter.
            None => {
                let broken = rules.iter().any(|(_, rule)| !rule.permit && rule.matches(&ask).is_none());
                prop_assert!(broken || !plain(&policy, &ask, &[]), "{decision:?}");
            }
        }
    }

    #[test]
    fn the_basis_names_a_permit_and_every_guard(rules in rules(), ask in ask()) {
        let policy = load(&rules);
        let decision = ask.of(&policy);
        if decision.duties().is_some() {
            let expected: BTreeSet<RuleId> = rules
                .iter()
                .filter(|(_, rule)| !rule.permit && rule.matches(&ask) == Some(true))
                .map(|(id, _)| RuleId::new(id))
                .collect();
            let named = &decision.basis().rules;
            prop_assert!(named.is_superset(&expected) && named.len() == expected.len() + 1);
        }
    }
}
