//! What goes wrong is refused.
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::time::Duration;

use crewgate_core::{Action, Clock, Decision, GrantId, InputValue, PrincipalKey, RoleName, Timestamp};
use crewgate_policy::{HeldBy, HeldRole, RoleBinding, StaticRoles};
use crewgate_testkit::ManualClock;
use proptest::prelude::*;
use support::{Ask, brief, load};

const ALL: &str = r#"@id("all") permit (principal, action, resource);"#;

fn kickoff() -> Ask {
    Ask::new(&["operators"], "kickoff", "payroll")
}

#[test]
fn a_guard_that_overflows_refuses_where_cedar_alone_would_skip_it() {
    let guard = r#"@id("row-limit") forbid (principal, action, resource)
        when { context.input has max_rows && context.input.max_rows * 100 > 1000 };"#;
    let policy = load(&format!("{ALL}{guard}")).unwrap();
    let ask = |rows: i64| kickoff().input("max_rows", InputValue::Long(rows));
    assert_eq!(brief(&ask(10).of(&policy)), "allow []");
    assert_eq!(brief(&ask(11).of(&policy)), "refuse row-limit");
    let refused = ask(i64::MAX).of(&policy);
    let Decision::Refuse { rule: Some(rule), reason, basis, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(rule.as_str(), "row-limit");
    assert!(reason.starts_with("guard-error"), "{reason}");
    assert_eq!(basis.rules, [rule.clone()].into());
    let broken = policy.explain(&ask(i64::MAX).query()).broken;
    assert!(broken[0].1.contains("overflow"), "{broken:?}");
}

#[test]
fn a_guard_in_error_stops_only_what_it_is_about() {
    let guard = r#"@id("row-limit") forbid (principal, action == Action::"kickoff", resource in Fleet::"prod")
        when { context.body_bytes * 9223372036854775807 > 0 };"#;
    let policy = load(&format!("{ALL}{guard}")).unwrap();
    assert_eq!(brief(&kickoff().of(&policy)), "allow []");
    assert_eq!(brief(&Ask::new(&[], "kickoff", "nightly-report").of(&policy)), "refuse row-limit");
    assert_eq!(brief(&Ask::new(&[], "status", "nightly-report").of(&policy)), "allow []");
}

#[test]
fn a_permit_in_error_permits_nothing_and_stops_no_other() {
    let broken = r#"@id("broken") permit (principal, action, resource)
        when { context.body_bytes * 9223372036854775807 > 0 };"#;
    let other = r#"@id("operators") permit (principal in Role::"operators", action, resource);"#;
    assert_eq!(brief(&kickoff().of(&load(broken).unwrap())), "refuse");
    let both = load(&format!("{broken}{other}")).unwrap();
    assert_eq!(brief(&kickoff().of(&both)), "allow []");
}

#[test]
fn a_misspelt_field_and_a_wrong_type_do_not_load() {
    let typo =
        r#"@id("g") forbid (principal, action, resource) when { context.input.datasett == "secret" };"#;
    let string_in_set = r#"@id("g") forbid (principal, action, resource)
        when { context.input has dataset && context.input.dataset in ["secret", "pii"] };"#;
    let without_has =
        r#"@id("g") forbid (principal, action, resource) when { context.input.dataset == "secret" };"#;
    for guard in [typo, string_in_set, without_has] {
        assert!(load(&format!("{ALL}{guard}")).is_err(), "{guard}");
    }
}

#[test]
fn an_escape_of_cedars_json_is_only_a_string_here() {
    let guard = r#"@id("no-secrets") forbid (principal, action, resource)
        when { context.input has dataset && context.input.dataset like "secret*" };"#;
    let policy = load(&format!("{ALL}{guard}")).unwrap();
    for text in [
        r#"{"__entity":{"type":"Role","id":"operators"}}"#,
        r#"{"__extn":{"fn":"ip","arg":"1.2.3.4"}}"#,
        r#"{"__extn":{"fn":"unknown","arg":"x"}}"#,
        r#"Role::"operators""#,
        "ip(\"1.2.3.4\")",
        "*",
    ] {
        assert_eq!(brief(&kickoff().dataset(text).of(&policy)), "allow []", "{text}");
        assert_eq!(
            brief(&kickoff().dataset(&format!("secret{text}")).of(&policy)),
            "refuse no-secrets",
            "{text}"
        );
    }
}

#[test]
fn only_its_text_decides_about_an_input() {
    let guards = r#"@id("no-secrets") forbid (principal, action, resource)
        when { context.input has dataset && context.input.dataset like "secret*" };
        @id("no-eu") forbid (principal, action, resource)
        when { context.input has regions && context.input.regions.contains("eu") };"#;
    let policy = load(&format!("{ALL}{guards}")).unwrap();
    let texts = prop_oneof![any::<String>(), "(secret|eu|\\{\"__entity\":|[a-z*]){0,4}"];
    let regions = proptest::collection::vec(prop_oneof![any::<String>(), Just("eu".to_owned())], 0..4);
    proptest!(|(text in texts, regions in regions)| {
        let ask = kickoff().dataset(&text).input("regions", InputValue::Strings(regions.clone()));
        let expected = if regions.iter().any(|region| region == "eu") {
            "refuse no-eu"
        } else if text.starts_with("secret") {
            "refuse no-secrets"
        } else {
            "allow []"
        };
        prop_assert_eq!(brief(&ask.of(&policy)), expected);
    });
}

#[test]
fn an_input_that_is_undeclared_or_of_another_type_is_refused() {
    let policy = load(ALL).unwrap();
    for ask in [
        kickoff().input("unheard-of", InputValue::Bool(true)),
        kickoff().input("dataset", InputValue::Long(3)),
        kickoff().input("max_rows", InputValue::String("3".to_owned())),
        kickoff().input("regions", InputValue::String("eu".to_owned())),
        kickoff().dataset("a").dataset("b"),
    ] {
        assert_eq!(brief(&ask.of(&policy)), "refuse", "{:?}", ask.operation.inputs);
    }
}

#[test]
fn what_the_rules_do_not_know_is_refused() {
    let policy = load(ALL).unwrap();
    assert_eq!(brief(&kickoff().of(&policy)), "allow []");
    let action = kickoff().with(|ask| ask.operation.action = Action::of("purge"));
    let group = kickoff().with(|ask| ask.operation.action = Action::of("write"));
    let kind = kickoff().with(|ask| ask.operation.resource.kind = "Fleet".into());
    // `okta:x` + `y` would print like `okta` + `x:y`.
    let issuer = kickoff().with(|ask| ask.principal.key = PrincipalKey::new("okta:x", "y"));
    for ask in [action, group, kind, issuer] {
        assert_eq!(brief(&ask.of(&policy)), "refuse", "{ask:?}");
    }
}

#[test]
fn a_subject_with_a_colon_is_one_principal() {
    let rule = r#"@id("job") permit (principal == Service::"ci:repo:main", action, resource);"#;
    let policy = load(rule).unwrap();
    let ask = kickoff().with(|ask| {
        ask.principal.key = PrincipalKey::new("ci", "repo:main");
        ask.principal.kind = crewgate_core::PrincipalKind::Service;
    });
    assert_eq!(brief(&ask.of(&policy)), "allow []");
}

#[test]
fn a_role_that_ended_yesterday_permits_nothing_today() {
    let policy = load(r#"@id("ops") permit (principal in Role::"operators", action, resource);"#).unwrap();
    let clock = ManualClock::new();
    let end = clock.now();
    let roles = StaticRoles::new([RoleBinding {
        subjects: vec!["okta:alice".to_owned()],
        until: Some(end),
        ..RoleBinding::new(RoleName::new("operators"))
    }]);
    let at = |now: Timestamp| {
        let ask = kickoff().with(|ask| {
            ask.now = now;
            ask.roles = roles.held(&ask.principal, now);
        });
        brief(&ask.of(&policy))
    };
    assert_eq!(at(end.saturating_sub(Duration::from_micros(1))), "allow []");
    assert_eq!(at(end), "refuse");
    assert_eq!(at(end.saturating_add(Duration::from_secs(86400))), "refuse");
    // A source that forgot to leave it out does not bring it back.
    let ask = kickoff().with(|ask| ask.roles[0].until = Some(end));
    assert_eq!(brief(&ask.of(&policy)), "refuse");
}

#[test]
fn without_rules_nothing_is_permitted() {
    let policy = load("// nothing yet\n").unwrap();
    assert_eq!((policy.rules(), brief(&kickoff().of(&policy)).as_str()), (0, "refuse"));
}

#[test]
fn a_grant_that_keeps_a_guard_from_holding_is_relied_on() {
    let guards = r#"
        @id("frozen") forbid (principal, action == Action::"kickoff", resource)
            unless { principal in Role::"operators" };
        @id("large-needs-an-owner") @approval("hr-data-owners") forbid (principal, action, resource)
            when { context.body_bytes > 50 } unless { principal in Role::"hr-partners" };
        @id("small-hours") forbid (principal, action, resource)
            when { context.hour < 6 } unless { principal in Role::"support" };"#;
    let policy = load(&format!("{ALL}{guards}")).unwrap();
    let grant = GrantId::random();
    let by_grant =
        |role: &str| HeldRole::new(RoleName::new(role), HeldBy::Grant { id: grant, narrowed: true });
    let basis = |roles: Vec<HeldRole>| {
        let mut ask = Ask::new(&[], "kickoff", "payroll");
        ask.roles = roles;
        match ask.of(&policy) {
            Decision::Allow { basis, .. } | Decision::Ask { basis, .. } => (basis.roles.len(), basis.grants),
            refused => panic!("{refused:?}"),
        }
    };
    let bound = |role: &str| HeldRole::new(RoleName::new(role), HeldBy::Group("okta:x".to_owned()));
    assert_eq!(basis(vec![by_grant("operators")]), (1, [grant].into()), "a guard that would refuse");
    assert_eq!(
        basis(vec![bound("operators"), by_grant("hr-partners")]),
        (1, [grant].into()),
        "a guard that would ask"
    );
    // Not one that would not hold anyway, and none where the role is held for good.
    assert_eq!(basis(vec![bound("operators"), by_grant("support")]).1, [].into());
    assert_eq!(basis(vec![bound("operators"), bound("hr-partners")]).1, [].into());
}
