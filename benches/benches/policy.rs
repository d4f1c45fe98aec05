//! What one decision costs, with few rules and with many.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;

use crewgate_cedar::{CedarPolicy, CrewDeclaration, InputType, Vocabulary};
use crewgate_core::{
    Action, Decision, Effect, InputValue, MaskProfile, Message, Operation, Principal, PrincipalKey,
    PrincipalKind, Resource, RoleName, Timestamp, TokenFacts,
};
use crewgate_policy::{HeldBy, HeldRole, Policy, Query};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// One permit per role and crew, and a masking guard for every tenth.
fn policy(rules: usize) -> CedarPolicy {
    let crew = |n: usize| CrewDeclaration {
        name: format!("crew-{n}"),
        fleets: vec!["all".to_owned()],
        inputs: vec![("dataset".to_owned(), InputType::String)],
    };
    let vocabulary = Vocabulary {
        roles: (0..rules).map(|n| RoleName::new(format!("role-{n}"))).collect(),
        masks: [MaskProfile::new("pii-basic")].into(),
        crews: (0..rules).map(crew).collect(),
        ..Vocabulary::default()
    };
    let rule = |n: usize| {
        if n.is_multiple_of(10) {
            format!(
                "@id(\"guard-{n}\") @mask(\"pii-basic\")
                 forbid (principal, action in Action::\"read\", resource == Crew::\"crew-{}\");",
                n + 1
            )
        } else {
            format!(
                "@id(\"permit-{n}\")
                 permit (principal in Role::\"role-{n}\", action, resource == Crew::\"crew-{n}\")
                 when {{ context.input has dataset && context.input.dataset != \"x\" }};"
            )
        }
    };
    let text = (0..rules).map(rule).collect::<Vec<_>>().join("\n");
    CedarPolicy::load(vec![("bench.cedar".to_owned(), text)], &vocabulary).unwrap()
}

fn principal(now: Timestamp) -> Principal {
    Principal {
        key: PrincipalKey::new("okta", "alice"),
        kind: PrincipalKind::User,
        groups: [].into(),
        client: None,
        token: TokenFacts { issued: now, expires: now, fingerprint: String::new(), mfa: true },
        human: None,
    }
}

fn status(crew: &str) -> Operation {
    Operation {
        action: Action::of("status"),
        resource: Resource { kind: "Crew".into(), name: crew.to_owned(), parents: vec!["all".to_owned()] },
        effect: Effect::Read,
        inputs: vec![("dataset".to_owned(), InputValue::String("tickets".to_owned()))],
        datasets: Vec::new(),
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 200,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: http::Method::GET, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

fn decide(c: &mut Criterion) {
    let now = Timestamp::from_secs(1_781_524_800);
    let (principal, operation) = (principal(now), status("crew-1"));
    let roles: Vec<_> = (1..6)
        .map(|n| HeldRole::new(RoleName::new(format!("role-{n}")), HeldBy::Group("okta:analysts".to_owned())))
        .collect();
    let query = Query { principal: &principal, roles: &roles, operation: &operation, approvals: None, now };
    let mut group = c.benchmark_group("decide");
    for rules in [10, 100] {
        let policy = policy(rules);
        // Allowed with a mask: the longest way through, with the confirmation.
        assert!(matches!(policy.decide(&query), Decision::Allow { duties, .. } if duties.masks.len() == 1));
        group.bench_with_input(BenchmarkId::new("allow", rules), &policy, |b, policy| {
            b.iter(|| policy.decide(black_box(&query)));
        });
        let stranger = Query { roles: &[], ..query };
        assert!(matches!(policy.decide(&stranger), Decision::Refuse { .. }));
        group.bench_with_input(BenchmarkId::new("deny", rules), &policy, |b, policy| {
            b.iter(|| policy.decide(black_box(&stranger)));
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
