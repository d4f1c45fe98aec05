//! What one decision costs with few rules and with many, for few roles and for many, and while rules are loaded.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crewgate_cedar::{CedarPolicy, CrewDeclaration, InputType, Vocabulary};
use crewgate_core::{
    Action, Decision, Effect, InputValue, MaskProfile, Message, Operation, Principal, PrincipalKey,
    PrincipalKind, Resource, RoleName, Timestamp, TokenFacts,
};
use crewgate_policy::{HeldBy, HeldRole, Policy, Query};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const MONDAY_NOON: Timestamp = Timestamp::from_secs(1_781_524_800);

/// A rule set as text, with its words.
struct Rules {
    vocabulary: Vocabulary,
    text: String,
}

impl Rules {
    fn of(crews: usize, roles: usize, fleets: usize, rules: impl Iterator<Item = String>) -> Self {
        let crew = |n: usize| CrewDeclaration {
            name: format!("crew-{n}"),
            fleets: vec![format!("fleet-{}", n % fleets)],
            inputs: vec![("dataset".to_owned(), InputType::String), ("rows".to_owned(), InputType::Long)],
        };
        let vocabulary = Vocabulary {
            roles: (0..roles).map(|n| RoleName::new(format!("role-{n}"))).collect(),
            masks: [MaskProfile::new("pii-basic")].into(),
            crews: (0..crews).map(crew).collect(),
            ..Vocabulary::default()
        };
        let text = rules.enumerate().map(|(n, rule)| format!("@id(\"rule-{n}\") {rule};\n")).collect();
        Self { vocabulary, text }
    }

    fn load(&self) -> CedarPolicy {
        CedarPolicy::load(vec![("bench.cedar".to_owned(), self.text.clone())], &self.vocabulary).unwrap()
    }
}

/// One permit per role and crew, each with one condition.
fn simple(rules: usize) -> Rules {
    let rule = |n: usize| {
        format!(
            "permit (principal in Role::\"role-{n}\", action == Action::\"kickoff\", resource == Crew::\"crew-{n}\")
             when {{ context.input has dataset && context.input.dataset != \"x\" }}"
        )
    };
    Rules::of(rules.max(64), rules.max(64), 1, (0..rules).map(rule))
}

/// Conditions of nought to two clauses.
fn conditions(n: usize) -> &'static str {
    match n % 8 {
        0 => " when { context.token_age < 28800 }",
        1 => " when { context.input has dataset && context.input.dataset != \"secret\" }",
        2 => " when { context.hour >= 6 && context.hour < 20 } when { context.body_bytes < 65536 }",
        3 => " unless { context.datasets.containsAny([\"hr\", \"pay\"]) }",
        4 => " when { context.mfa } unless { context.input has rows && context.input.rows > 10000 }",
        _ => "",
    }
}

/// What a house of that size has: permits by role and crew, fleet or any crew, for one user, for a kind of caller;
/// guards for everybody, for fleets and for roles.
fn realistic(rules: usize) -> Rules {
    let (crews, roles, fleets) = ((rules / 10).max(10), (rules / 10).max(64), (rules / 100).max(2));
    let rule = |n: usize| {
        let (role, crew, fleet) = (n * 7 % roles, n * 3 % crews, n * 5 % fleets);
        let actions = match n % 3 {
            0 => "action == Action::\"kickoff\"",
            1 => "action in Action::\"read\"",
            _ => "action",
        };
        let when = conditions(n / 3);
        match n {
            0 => "permit (principal in Role::\"role-1\", action, resource == Crew::\"crew-1\")".to_owned(),
            // Ten guards for everybody, or fewer in a small set.
            1..=10 if n <= rules / 4 => {
                let condition = match n {
                    1 => "context.body_bytes > 1000000",
                    2 => "context.token_age > 86400",
                    3 => "context.input has dataset && context.input.dataset like \"payroll*\"",
                    4 => "context.has_undeclared_inputs",
                    5 => "context.webhook_hosts.contains(\"evil.example\")",
                    6 => "context.datasets.containsAny([\"secret\", \"top-secret\"])",
                    7 => "context.weekday > 5 && !context.mfa",
                    8 => "context.input has rows && context.input.rows > 100000",
                    9 => "context.hour < 4 && context.hour >= 2",
                    _ => "context.prompts.contains(\"forbidden\")",
                };
                format!("forbid (principal, action, resource) when {{ {condition} }}")
            }
            _ => match n % 100 {
                0..80 => format!(
                    "permit (principal in Role::\"role-{role}\", {actions}, resource == Crew::\"crew-{crew}\"){when}"
                ),
                80..90 => format!(
                    "permit (principal in Role::\"role-{role}\", {actions}, resource in Fleet::\"fleet-{fleet}\"){when}"
                ),
                90..92 => format!("permit (principal in Role::\"role-{role}\", {actions}, resource){when}"),
                92..94 => format!(
                    "permit (principal == User::\"okta:user-{n}\", {actions}, resource == Crew::\"crew-{crew}\"){when}"
                ),
                94..96 => format!(
                    "permit (principal is Service, {actions}, resource == Crew::\"crew-{crew}\"){when}"
                ),
                96..98 => format!(
                    "forbid (principal, {actions}, resource in Fleet::\"fleet-{fleet}\") when {{ context.token_age > 7200 }}"
                ),
                _ => format!(
                    "forbid (principal in Role::\"role-{role}\", {actions}, resource) when {{ context.body_bytes > 16384 }}"
                ),
            },
        }
    };
    Rules::of(crews, roles, fleets, (0..rules).map(rule))
}

/// The simple shape, and a mask on what is read.
fn masked(rules: usize) -> Rules {
    let mut all = simple(rules);
    all.text += "@id(\"mask\") @mask(\"pii-basic\")
                 forbid (principal, action == Action::\"kickoff\", resource == Crew::\"crew-1\");";
    all
}

fn principal() -> Principal {
    Principal {
        key: PrincipalKey::new("okta", "alice"),
        kind: PrincipalKind::User,
        groups: Default::default(),
        client: None,
        token: TokenFacts {
            issued: MONDAY_NOON.saturating_sub(Duration::from_secs(600)),
            expires: MONDAY_NOON.saturating_add(Duration::from_secs(3000)),
            fingerprint: "0123456789abcdef".to_owned(),
            mfa: true,
            sender_constrained: false,
            exchanged: None,
        },
        human: None,
    }
}

fn kickoff() -> Operation {
    Operation {
        action: Action::of("kickoff"),
        resource: Resource {
            kind: "Crew".into(),
            name: "crew-1".to_owned(),
            parents: vec!["fleet-1".to_owned()],
        },
        effect: Effect::Write,
        inputs: vec![
            ("dataset".to_owned(), InputValue::String("tickets".to_owned())),
            ("rows".to_owned(), InputValue::Long(100)),
        ],
        datasets: vec!["tickets".to_owned()],
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 200,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: http::Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

fn roles(count: usize) -> Vec<HeldRole> {
    let role = |n: usize| {
        HeldRole::new(RoleName::new(format!("role-{n}")), HeldBy::Group(format!("okta:group-{n}")))
    };
    (1..=count).map(role).collect()
}

fn decide(c: &mut Criterion) {
    let (principal, operation) = (principal(), kickoff());
    for (name, rules_of) in [
        ("simple", simple as fn(usize) -> Rules),
        ("masked", masked as fn(usize) -> Rules),
        ("realistic", realistic as fn(usize) -> Rules),
    ] {
        let mut group = c.benchmark_group(name);
        for rules in [10, 1_000, 10_000] {
            let policy = rules_of(rules).load();
            for count in [5, 50] {
                let roles = roles(count);
                let query = Query {
                    principal: &principal,
                    roles: &roles,
                    operation: &operation,
                    approvals: None,
                    now: MONDAY_NOON,
                };
                let decision = policy.decide(&query);
                assert!(matches!(decision, Decision::Allow { .. }), "{decision:?}");
                let id = BenchmarkId::new(format!("{count} roles"), rules);
                group.bench_with_input(id, &policy, |b, policy| {
                    b.iter(|| policy.decide(black_box(&query)));
                });
                if rules == 10 {
                    continue;
                }
                let (mut n, mut other) = (0_u64, principal.clone());
                group.bench_function(BenchmarkId::new(format!("{count} roles, new token"), rules), |b| {
                    b.iter(|| {
                        n += 1;
                        other.token.fingerprint = n.to_string();
                        policy.decide(black_box(&Query { principal: &other, ..query }))
                    });
                });
            }
            let stranger = Query {
                principal: &principal,
                roles: &[],
                operation: &operation,
                approvals: None,
                now: MONDAY_NOON,
            };
            assert!(matches!(policy.decide(&stranger), Decision::Refuse { .. }));
            group.bench_with_input(BenchmarkId::new("stranger", rules), &policy, |b, policy| {
                b.iter(|| policy.decide(black_box(&stranger)));
            });
        }
        group.finish();
    }
}

/// The 99th percentile of decisions in this long, in nanoseconds.
fn slowest_in_a_hundred(policy: &CedarPolicy, query: &Query<'_>, until: impl Fn(Instant) -> bool) -> u128 {
    let (start, mut all) = (Instant::now(), Vec::with_capacity(4_000_000));
    while !until(start) {
        let before = Instant::now();
        black_box(policy.decide(black_box(query)));
        all.push(before.elapsed().as_nanos());
    }
    all.sort_unstable();
    all.get(all.len() * 99 / 100).copied().unwrap_or_default()
}

fn reload(c: &mut Criterion) {
    let rules = realistic(10_000);
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("10000", |b| b.iter(|| rules.load()));
    group.finish();

    let (policy, principal, operation, roles) = (rules.load(), principal(), kickoff(), roles(5));
    let query = Query {
        principal: &principal,
        roles: &roles,
        operation: &operation,
        approvals: None,
        now: MONDAY_NOON,
    };
    let before = slowest_in_a_hundred(&policy, &query, |start| start.elapsed() > Duration::from_secs(2));
    let done = AtomicBool::new(false);
    let during = thread::scope(|scope| {
        scope.spawn(|| {
            // Loaded, and taken apart, as at every reload.
            (0..3).for_each(|_| drop(rules.load()));
            done.store(true, Ordering::Release);
        });
        slowest_in_a_hundred(&policy, &query, |_| done.load(Ordering::Acquire))
    });
    eprintln!("p99 of a decision: {before} ns before a load, {during} ns during");
}

criterion_group!(benches, decide, reload);
criterion_main!(benches);
