//! What one decision costs with few rules and with many, for few roles and for many, through the layer and while rules
//! are loaded; what a load and a proof cost. Whatever is compared is measured in turns, in one run, and printed as a
//! ratio: criterion measures one thing after the other, and a busy machine is another one by then.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::{
    convert::Infallible,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crewgate_cedar::{
    CedarPolicy, CrewDeclaration, InputType, Vocabulary,
    prove::{Proof, Prover, parse_invariants},
};
use crewgate_core::{
    Action, Decision, Effect, InputValue, MaskProfile, Message, Operation, Principal, PrincipalKey,
    PrincipalKind, Resource, RoleName, Timestamp, TokenFacts,
};
use crewgate_policy::{EnforceLayer, HeldBy, HeldRole, Policy, Query, RoleBinding, StaticRoles, Swap};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, ServiceExt as _};

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
            authenticated: None,
            class: None,
            actors: Vec::new(),
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

/// What is measured beside other such things, in turns, so that whatever else the machine does hits all of them.
struct Lane<'a> {
    name: String,
    once: Box<dyn FnMut(u64) + 'a>,
    /// Nanoseconds a call, one figure for each turn.
    took: Vec<f64>,
}

/// Turns, and calls in each.
const TURNS: u64 = 301;
const CALLS: u64 = 64;

impl<'a> Lane<'a> {
    fn new(name: impl Into<String>, once: impl FnMut(u64) + 'a) -> Self {
        Self { name: name.into(), once: Box::new(once), took: Vec::new() }
    }

    /// A decision by `policy`; time goes on and inputs change from one to the next.
    fn decision(name: impl Into<String>, policy: &'a CedarPolicy, asked: &'a Asked) -> Self {
        let mut operation = asked.operation.clone();
        Self::new(name, move |n| {
            operation.body_bytes = 200 + n % 100;
            let query = Query { operation: &operation, ..asked.query(n) };
            black_box(policy.decide(black_box(&query)));
        })
    }

    fn run(lanes: &mut [Self]) {
        for turn in 0..TURNS {
            for lane in &mut *lanes {
                let numbers = turn * CALLS..(turn + 1) * CALLS;
                // What the others left in the caches is no part of it.
                (0..4).for_each(|n| (lane.once)(n));
                let start = Instant::now();
                numbers.for_each(&mut lane.once);
                lane.took.push(nanos(start.elapsed()) / count(CALLS));
            }
        }
    }

    /// In microseconds: the median, and the fastest quarter, which is nearer to a machine of its own.
    fn told(&self) -> String {
        let [quarter, median] = [4, 2].map(|part| at(self.took.iter().copied(), part) / 1e3);
        format!("{median:6.2} µs (fastest quarter {quarter:6.2})")
    }

    /// How many times as long as `other`, turn by turn.
    fn times(&self, other: &Self) -> f64 {
        at(self.took.iter().zip(&other.took).map(|(mine, other)| mine / other), 2)
    }
}

/// The figure that one part of all are below.
fn at(all: impl Iterator<Item = f64>, part: usize) -> f64 {
    let mut all: Vec<_> = all.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / part).copied().unwrap_or(f64::NAN)
}

fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

fn count(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

/// What a query borrows.
struct Asked {
    principal: Principal,
    roles: Vec<HeldRole>,
    operation: Operation,
}

impl Asked {
    fn by(roles: usize) -> Self {
        Self { principal: principal(), roles: self::roles(roles), operation: kickoff() }
    }

    fn query(&self, n: u64) -> Query<'_> {
        let Self { principal, roles, operation } = self;
        let now = MONDAY_NOON.saturating_add(Duration::from_secs(n % 600));
        Query { principal, roles, operation, approvals: None, now }
    }
}

type Shape = (&'static str, fn(usize) -> Rules);
const SHAPES: [Shape; 3] = [("simple", simple), ("masked", masked), ("realistic", realistic)];

/// Few rules and many, few roles and many.
fn decisions() {
    let (few, many) = (Asked::by(5), Asked::by(50));
    for (shape, of) in SHAPES {
        let sets = [10, 10_000].map(|rules| (rules, of(rules).load()));
        let mut lanes = Vec::new();
        for (rules, policy) in &sets {
            for asked in [&few, &many] {
                let decision = policy.decide(&asked.query(0));
                assert!(matches!(decision, Decision::Allow { .. }), "{decision:?}");
                let name = format!("{shape}, {rules} rules, {} roles", asked.roles.len());
                lanes.push(Lane::decision(name, policy, asked));
            }
        }
        Lane::run(&mut lanes);
        lanes.iter().for_each(|lane| println!("{:<36}{}", lane.name, lane.told()));
        let [small, small_many, large, large_many] = lanes.as_slice() else { continue };
        println!(
            "{shape}: 10,000 rules / 10 rules = {:.2} (5 roles), {:.2} (50 roles); 50 roles / 5 roles = {:.2} (10 rules), {:.2} (10,000 rules)",
            large.times(small),
            large_many.times(small_many),
            small_many.times(small),
            large_many.times(large),
        );
    }
}

/// The simple shape through the layer: principal and operation on the request, roles looked up, decided, passed on.
fn layered() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (policy, asked) = (simple(10_000).load(), Asked::by(5));
    let principal = Principal {
        groups: (1..=5).map(|n| ("okta", format!("group-{n}"))).collect(),
        ..asked.principal.clone()
    };
    let binding = |n: usize| RoleBinding {
        groups: vec![format!("okta:group-{n}")],
        ..RoleBinding::new(RoleName::new(format!("role-{n}")))
    };
    let inner = tower::service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let roles = Arc::new(StaticRoles::new((1..=5).map(binding)));
    let service = EnforceLayer::new(policy.clone()).roles(roles).layer(inner);
    let request = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(principal.clone());
        request.extensions_mut().insert(asked.operation.clone());
        request
    };
    let mut lanes = [
        Lane::new("simple, 10,000 rules, through the layer", |_| {
            let response = runtime.block_on(service.clone().oneshot(request())).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }),
        Lane::new("the same call without the layer", |_| {
            black_box(runtime.block_on(inner.oneshot(request())).unwrap());
        }),
        Lane::decision("the decision alone", &policy, &asked),
        Lane::new("the same, of a stranger", |n| {
            black_box(policy.decide(&Query { roles: &[], ..asked.query(n) }));
        }),
        Lane::new("the same, of a new token", |n| {
            let token = TokenFacts { fingerprint: format!("new-{n}"), ..asked.principal.token.clone() };
            let principal = Principal { token, ..asked.principal.clone() };
            black_box(policy.decide(&Query { principal: &principal, ..asked.query(n) }));
        }),
    ];
    Lane::run(&mut lanes);
    lanes.iter().for_each(|lane| println!("{:<42}{}", lane.name, lane.told()));
}

/// Decisions until `done`, one after the other: what each took, in nanoseconds.
fn timed(policy: &impl Policy, asked: &Asked, took: &mut Vec<u128>, done: impl Fn() -> bool) {
    let mut n = 0;
    while !done() {
        let before = Instant::now();
        black_box(policy.decide(black_box(&asked.query(n))));
        took.push(before.elapsed().as_nanos());
        n += 1;
    }
}

/// Loads and swaps beside decisions; quiet times in between are what they are compared with.
fn reloads() {
    let (rules, asked) = (realistic(10_000), Asked::by(5));
    let policy = Swap::new(rules.load());
    let (mut alone, mut beside, mut before, mut during) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..7 {
        let start = Instant::now();
        drop(rules.load());
        alone.push(start.elapsed());
        let start = Instant::now();
        timed(&policy, &asked, &mut before, || start.elapsed() > Duration::from_millis(700));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = scope.spawn(|| {
                let start = Instant::now();
                let loaded = rules.load();
                let took = start.elapsed();
                // Taken apart here, as at every reload.
                drop(policy.replace(loaded));
                done.store(true, Ordering::Release);
                took
            });
            timed(&policy, &asked, &mut during, || done.load(Ordering::Acquire));
            beside.push(load.join().unwrap());
        });
    }
    let slow = |all: &mut Vec<u128>, percent: usize| {
        all.sort_unstable();
        f64::from(u32::try_from(all.get(all.len() * percent / 100).copied().unwrap_or_default()).unwrap())
    };
    let (quiet, busy) = (slow(&mut before, 99), slow(&mut during, 99));
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all.get(all.len() / 2).copied().unwrap().as_secs_f64()
    };
    println!("10,000 rules loaded in {:.2} s, beside decisions in {:.2} s", median(alone), median(beside));
    println!(
        "p99 of a decision: {:.1} µs, during a load {:.1} µs = {:.2}; median {:.2}",
        quiet / 1e3,
        busy / 1e3,
        busy / quiet,
        slow(&mut during, 50) / slow(&mut before, 50),
    );
}

/// One invariant over one crew of a set of 10,000 rules, where there is a solver.
fn proofs() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let mut prover = match Prover::start(std::env::var_os("CREWGATE_REAL_CVC5").map(Into::into)) {
        Ok(prover) => prover,
        Err(error) => return eprintln!("proofs are not measured: {error}"),
    };
    let rules = realistic(10_000);
    let policy = rules.load();
    let text =
        "@id(\"small\") forbid (principal, action == Action::\"kickoff\", resource == Crew::\"crew-1\")
                when { context.body_bytes > 1000000 };";
    let invariants = parse_invariants("bench.cedar", text, &rules.vocabulary).unwrap();
    let start = Instant::now();
    let proof = runtime
        .block_on(prover.holds(
            &policy,
            &rules.vocabulary,
            invariants.first().unwrap(),
            &["crew-1".to_owned()],
        ))
        .unwrap();
    assert!(matches!(proof, Proof::Holds { .. }), "{proof:?}");
    println!(
        "one invariant proved over one crew of 10,000 rules in {:.2} s, {} questions",
        start.elapsed().as_secs_f64(),
        prover.asked()
    );
}

fn main() {
    // `cargo bench -- decisions` and so on: one part alone.
    let parts: [(&str, fn()); 4] =
        [("decisions", decisions), ("layered", layered), ("reloads", reloads), ("proofs", proofs)];
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|arg| arg == name) {
            part();
        }
    }
}
