//! The law of the index: random requests to random sets are judged as by the whole set, rule by rule and error by
//! error. The whole set is put to Cedar here and nowhere else.

use std::{collections::BTreeSet, time::Duration};

use cedar_policy::{AuthorizationError, Decision as Verdict, PolicySet};
use crewgate_core::{
    Action, Approvals, ApproverSet, Decision, Effect, InputValue, MaskProfile, Message, Operation, Principal,
    PrincipalKey, PrincipalKind, Resource, RoleName, Timestamp, TokenFacts,
};
use crewgate_policy::{HeldBy, HeldRole, Policy as _, Query};

use crate::{
    CedarPolicy, CrewDeclaration, InputType, Vocabulary, duty,
    engine::Engine,
    facts::{Facts, Reads, Subject},
    rule::Rule,
};

/// All of a release build's; what an unoptimised Cedar can do in some seconds otherwise.
const REQUESTS: usize = if cfg!(debug_assertions) { 1_500 } else { 100_000 };
const REQUESTS_OF_A_SET: usize = 250;
const RULES: usize = 40;
const ROLES: usize = 80;
const CREWS: usize = 8;
const ACTIONS: [&str; 5] = ["inputs", "status", "kickoff", "resume", "purge"];
const FLEETS: [&str; 4] = ["prod", "hr", "eu", "all"];
const PEOPLE: [&str; 4] = ["okta:alice", "okta:bob", "ci:nightly", "ci:repo:main"];
const DATASETS: [&str; 6] = ["hr_payroll_2026", "hr_", "public", "", "pii*", "*"];

/// xorshift64*: the same requests on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll()).unwrap() % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn role(&mut self) -> String {
        // Some roles are named by many rules.
        format!("role-{}", if self.one_in(2) { self.below(5) } else { self.below(ROLES) })
    }
}

fn vocabulary() -> Vocabulary {
    let inputs = [
        ("dataset", InputType::String),
        ("max_rows", InputType::Long),
        ("urgent", InputType::Bool),
        ("regions", InputType::Strings),
    ];
    let crew = |n: usize| CrewDeclaration {
        name: format!("crew-{n}"),
        fleets: fleets(n),
        inputs: inputs.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
    };
    let mut vocabulary = Vocabulary {
        roles: (0..ROLES).map(|n| RoleName::new(format!("role-{n}"))).collect(),
        approvers: ["owners", "leads"].map(ApproverSet::new).into(),
        masks: ["secrets", "pii"].map(MaskProfile::new).into(),
        crews: (0..CREWS).map(crew).collect(),
        ..Vocabulary::default()
    };
    vocabulary.actions.push((Action::of("purge"), Effect::Write));
    vocabulary
}

fn fleets(crew: usize) -> Vec<String> {
    let of =
        |(at, fleet): (usize, &&str)| (at == 3 || crew.is_multiple_of(at + 2)).then(|| (*fleet).to_owned());
    FLEETS.iter().enumerate().filter_map(of).collect()
}

fn scope(dice: &mut Dice) -> String {
    let principal = match dice.below(9) {
        0 => "principal".to_owned(),
        1 => "principal is User".to_owned(),
        2 => "principal is Service".to_owned(),
        3 => format!("principal == User::\"{}\"", dice.of(&PEOPLE)),
        4 => format!("principal == Service::\"{}\"", dice.of(&PEOPLE)),
        5 => format!("principal is User in Role::\"{}\"", dice.role()),
        _ => format!("principal in Role::\"{}\"", dice.role()),
    };
    let action = match dice.below(6) {
        0 | 1 => "action".to_owned(),
        2 => "action in Action::\"read\"".to_owned(),
        3 => "action in [Action::\"write\", Action::\"status\"]".to_owned(),
        4 => format!("action in [Action::\"{}\", Action::\"{}\"]", dice.of(&ACTIONS), dice.of(&ACTIONS)),
        _ => format!("action == Action::\"{}\"", dice.of(&ACTIONS)),
    };
    let resource = match dice.below(8) {
        0 => "resource".to_owned(),
        1 => "resource is Crew".to_owned(),
        2 => format!("resource is Crew in Fleet::\"{}\"", dice.of(&FLEETS)),
        3 | 4 => format!("resource in Fleet::\"{}\"", dice.of(&FLEETS)),
        5 => format!("resource in Crew::\"crew-{}\"", dice.below(CREWS)),
        _ => format!("resource == Crew::\"crew-{}\"", dice.below(CREWS)),
    };
    format!("({principal}, {action}, {resource})")
}

fn condition(dice: &mut Dice, depth: usize) -> String {
    if depth > 0 && dice.one_in(3) {
        let (a, b) = (condition(dice, depth - 1), condition(dice, depth - 1));
        return match dice.below(4) {
            0 => format!("(({a}) && ({b}))"),
            1 => format!("(({a}) || ({b}))"),
            2 => format!("!({a})"),
            _ => format!("(if {a} then {b} else context.mfa)"),
        };
    }
    let (role, other) = (dice.role(), dice.role());
    match dice.below(20) {
        0 => "context.mfa".to_owned(),
        1 => "context.sender_constrained == false".to_owned(),
        2 => format!("context.hour >= {}", dice.below(24)),
        3 => format!("context.weekday < {}", dice.below(8)),
        4 => format!("{} < context.body_bytes", dice.below(300)),
        5 => "context.token_age <= 600".to_owned(),
        6 => format!(
            "context.input has dataset && context.input.dataset like \"{}*\"",
            dice.of(&["hr_", "p", ""])
        ),
        7 => "context.input has dataset && context.input.dataset like \"*a*\\*\"".to_owned(),
        8 => format!("context.input has dataset && context.input.dataset == \"{}\"", dice.of(&DATASETS)),
        9 => "context.input has max_rows && context.input.max_rows * 100 > 1000".to_owned(),
        10 => "context.input has max_rows && context.input.max_rows > -5".to_owned(),
        11 => "context.input has regions && context.input.regions.contains(\"eu\")".to_owned(),
        12 => "context.input has dataset && [\"public\", \"hr_\"].contains(context.input.dataset)".to_owned(),
        13 => "context.body_bytes * 9223372036854775807 > 0".to_owned(),
        14 => format!("principal in Role::\"{role}\""),
        15 => format!("principal in [Role::\"{role}\", Role::\"{other}\"]"),
        16 => "context has is_owner && context.is_owner".to_owned(),
        17 => format!("resource in Fleet::\"{}\"", dice.of(&FLEETS)),
        18 => "context.datasets.contains(\"hr_\") || context.zone != \"UTC\"".to_owned(),
        _ => "context.webhook_hosts.isEmpty() && !context.prompts.contains(\"daily\")".to_owned(),
    }
}

fn rule(dice: &mut Dice, id: usize) -> String {
    let permit = dice.one_in(2);
    let mut text = format!("@id(\"r{id}\")\n");
    if dice.one_in(4) {
        text += &format!("@approval(\"{}\")\n", dice.of(&["owners", "leads"]));
    }
    if !permit && dice.one_in(2) {
        text += &format!("@mask(\"{}\")\n", dice.of(&["secrets", "pii"]));
    }
    if !permit && dice.one_in(4) {
        text += "@rate(\"10/h\")\n";
    }
    text += if permit { "permit " } else { "forbid " };
    text += &scope(dice);
    for _ in 0..dice.below(3) {
        text += &format!(" {} {{ {} }}", dice.of(&["when", "unless"]), condition(dice, 2));
    }
    text + ";\n"
}

/// Random rules that load: a condition that can never hold is an author's mistake.
fn load(dice: &mut Dice) -> CedarPolicy {
    let vocabulary = vocabulary();
    let loads = |text: &str| CedarPolicy::load(vec![("x.cedar".to_owned(), text.to_owned())], &vocabulary);
    let rules: Vec<_> = (0..RULES).map(|id| rule(dice, id)).collect();
    loads(&rules.concat()).unwrap_or_else(|errors| {
        let wrong: BTreeSet<usize> = errors.iter().map(|error| error.line).collect();
        let mut line = 1;
        let good = rules.iter().filter(|rule| {
            let lines = line..line + rule.lines().count();
            line = lines.end;
            wrong.iter().all(|at| !lines.contains(at))
        });
        let good: String = good.map(String::as_str).collect();
        loads(&good).unwrap_or_else(|errors| panic!("{errors:#?}"))
    })
}

/// What a query borrows.
struct Ask(Principal, Vec<HeldRole>, Operation, Option<Approvals>, Timestamp);

impl Ask {
    fn of(dice: &mut Dice) -> Self {
        let now = Timestamp::from_secs(1_781_524_800 + i64::try_from(dice.below(700_000)).unwrap());
        let (issuer, subject) = dice.of(&PEOPLE).split_once(':').unwrap();
        let key = PrincipalKey::new(issuer, subject);
        let count = if dice.one_in(3) { 56 } else { dice.below(8) };
        let names: BTreeSet<String> = (0..count).map(|_| dice.role()).collect();
        let roles = names.into_iter().map(|name| HeldRole {
            until: dice.one_in(9).then(|| now.saturating_sub(Duration::from_secs(1))),
            ..HeldRole::new(RoleName::new(name), HeldBy::Subject("okta:alice".to_owned()))
        });
        let roles = roles.collect();
        let crew = dice.below(CREWS);
        let mut inputs = Vec::new();
        if dice.one_in(2) {
            inputs.push(("dataset", InputValue::String(dice.of(&DATASETS).to_owned())));
        }
        if dice.one_in(2) {
            let rows = [-6, -5, 3, 10, 11, i64::MAX][dice.below(6)];
            inputs.push(("max_rows", InputValue::Long(rows)));
        }
        if dice.one_in(3) {
            inputs.push(("regions", InputValue::Strings(vec![dice.of(&["eu", "us"]).to_owned()])));
        }
        if dice.one_in(40) {
            // No request the schema takes.
            inputs.push(("urgent", InputValue::Long(1)));
        }
        let list =
            |dice: &mut Dice, word: &str| if dice.one_in(2) { vec![word.to_owned()] } else { Vec::new() };
        let principal = Principal {
            kind: if dice.one_in(3) { PrincipalKind::Service } else { PrincipalKind::User },
            groups: Default::default(),
            client: None,
            token: TokenFacts {
                issued: now.saturating_sub(Duration::from_secs([60, 600, 601][dice.below(3)])),
                expires: now.saturating_add(Duration::from_secs(600)),
                // Few, so that one token comes with other people and other roles: nothing remembered may decide.
                fingerprint: dice.below(3).to_string(),
                mfa: dice.one_in(2),
                sender_constrained: dice.one_in(2),
                authenticated: None,
                class: None,
                actors: Vec::new(),
                exchanged: None,
            },
            human: None,
            key: key.clone(),
        };
        let operation = Operation {
            action: Action::of(dice.of(&ACTIONS)),
            resource: Resource { kind: "Crew".into(), name: format!("crew-{crew}"), parents: fleets(crew) },
            effect: Effect::Write,
            inputs: inputs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            datasets: list(dice, "hr_"),
            prompts: list(dice, "daily"),
            has_undeclared_inputs: dice.one_in(2),
            body_bytes: [0, 1, 2, 250][dice.below(4)],
            webhook_hosts: list(dice, "example.org"),
            ids: Vec::new(),
            owner: dice
                .one_in(2)
                .then(|| if dice.one_in(2) { key } else { PrincipalKey::new("okta", "eve") }),
            run: None,
            message: Message {
                method: http::Method::POST,
                path: Vec::new(),
                body: None,
                free_text: Vec::new(),
            },
        };
        let approvals = dice.one_in(3).then(|| Approvals {
            approval: crewgate_core::ApprovalId::random(),
            sets: [ApproverSet::new("owners")].into(),
        });
        Self(principal, roles, operation, approvals, now)
    }

    fn query(&self) -> Query<'_> {
        let Self(principal, roles, operation, approvals, now) = self;
        Query { principal, roles, operation, approvals: approvals.as_ref(), now: *now }
    }
}

type Judged = (BTreeSet<String>, BTreeSet<String>);

struct Whole<'e> {
    engine: &'e Engine,
    permits: PolicySet,
    guards: PolicySet,
    plain: PolicySet,
}

impl<'e> Whole<'e> {
    fn of(engine: &'e Engine) -> Self {
        let set = |permit: bool| {
            let rules = engine.rules.iter().filter(|rule| rule.permit == permit);
            PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).unwrap()
        };
        let plain =
            PolicySet::from_policies(engine.rules.iter().map(|rule| rule.compiled().clone())).unwrap();
        Self { engine, permits: set(true), guards: set(false), plain }
    }

    /// Rules that hold and rules in error: permits, and guards; `None` when the schema does not take the request.
    fn judge(&self, query: &Query<'_>) -> Option<(Judged, Judged)> {
        let engine = self.engine;
        let subject = Subject::of(query, &engine.types, &engine.actions, &engine.roles).unwrap();
        let facts = Facts::of(query, &engine.zone);
        let request = subject.request(&facts, Reads::ALL, Some(BTreeSet::new()), &engine.schema).ok()?;
        let judged = |set: &PolicySet| {
            let response = engine.authorizer.is_authorized(&request, set, &subject.entities);
            let held = response.diagnostics().reason().map(ToString::to_string).collect();
            let broken = response.diagnostics().errors().map(|error| {
                let AuthorizationError::PolicyEvaluationError(error) = error;
                format!("{}: {}", error.policy_id(), error.inner())
            });
            (held, broken.collect())
        };
        Some((judged(&self.permits), judged(&self.guards)))
    }

    /// The permit that is to be chosen of all that hold, and every guard that does.
    fn determining(&self, query: &Query<'_>, permits: &Judged, guards: &Judged) -> BTreeSet<String> {
        let given = |set: &ApproverSet| query.approvals.is_some_and(|approvals| approvals.sets.contains(set));
        let asks = |id: &&String| {
            let rule = self.engine.rules.iter().find(|rule| rule.id.as_str() == **id).unwrap();
            let missing = rule.approval.iter().filter(|set| !given(set)).count();
            (missing, rule.approval.iter().count(), (*id).clone())
        };
        permits.0.iter().min_by_key(asks).into_iter().chain(&guards.0).cloned().collect()
    }

    /// What plain Cedar says of the whole compiled set with these done.
    fn allows(&self, query: &Query<'_>, done: BTreeSet<String>) -> bool {
        let engine = self.engine;
        let subject = Subject::of(query, &engine.types, &engine.actions, &engine.roles).unwrap();
        let facts = Facts::of(query, &engine.zone);
        let request = subject.request(&facts, Reads::ALL, Some(done), &engine.schema).unwrap();
        let response = engine.authorizer.is_authorized(&request, &self.plain, &subject.entities);
        response.decision() == Verdict::Allow
    }
}

fn determining(decision: &Decision) -> BTreeSet<String> {
    decision.basis().rules.iter().map(ToString::to_string).collect()
}

#[test]
fn every_request_is_judged_as_by_the_whole_set() {
    let mut dice = Dice(0x0C0F_FEE0_5EED);
    let (mut permitted, mut allowed, mut guarded, mut broken, mut refused_by_schema) = (0, 0, 0, 0, 0);
    for _ in 0..REQUESTS.div_ceil(REQUESTS_OF_A_SET) {
        let policy = load(&mut dice);
        let engine = policy.engine();
        let whole = Whole::of(engine);
        for _ in 0..REQUESTS_OF_A_SET {
            let ask = Ask::of(&mut dice);
            let query = ask.query();
            let decision = policy.decide(&query);
            let Some((permits, guards)) = whole.judge(&query) else {
                refused_by_schema += 1;
                assert!(engine.matches(&query).is_err());
                assert!(decision.duties().is_none());
                continue;
            };
            let matches = engine.matches(&query).unwrap_or_else(|error| panic!("{error:?}"));
            let told =
                |rules: &[&Rule], broken: &std::collections::BTreeMap<crewgate_core::RuleId, String>| {
                    let held = rules.iter().map(|rule| rule.id.to_string()).collect();
                    (held, broken.iter().map(|(id, why)| format!("{id}: {why}")).collect())
                };
            assert_eq!(told(&matches.permits, &matches.broken_permits), permits, "{query:#?}");
            broken += permits.1.len();
            if permits.0.is_empty() {
                assert!(decision.duties().is_none(), "{query:#?}");
                continue;
            }
            permitted += 1;
            assert_eq!(told(&matches.guards, &matches.broken_guards), guards, "{query:#?}");
            guarded += guards.0.len();
            broken += guards.1.len();
            match decision.duties() {
                Some(duties) => {
                    allowed += 1;
                    assert!(guards.1.is_empty(), "a guard in error refuses");
                    assert_eq!(determining(&decision), whole.determining(&query, &permits, &guards));
                    assert!(whole.allows(&query, duty::done(duties)), "{query:#?}\n{decision:#?}");
                }
                None => {
                    let id = |rule: &String| rule.split(':').next().map(str::to_owned);
                    let hard = guards.0.iter().filter(|id| {
                        engine.rules.iter().any(|rule| rule.id.as_str() == **id && !rule.has_duty())
                    });
                    let by: BTreeSet<_> = hard.cloned().chain(guards.1.iter().filter_map(id)).collect();
                    assert!(!by.is_empty(), "{query:#?}\n{decision:#?}");
                    assert!(decision.basis().rules.iter().all(|rule| by.contains(rule.as_str())));
                }
            }
        }
    }
    // The dice must have shown every side.
    let some = REQUESTS / 100;
    for (what, seen) in [("permits", permitted), ("passes", allowed), ("guards", guarded), ("errors", broken)]
    {
        assert!(seen > some, "only {seen} {what}");
    }
    assert!(refused_by_schema > some / 5, "only {refused_by_schema} refused by the schema");
}
