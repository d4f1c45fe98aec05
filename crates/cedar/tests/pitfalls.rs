//! Each test first does the obvious with Cedar, shows that it lets pass what must not pass, and then that this does not.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::{collections::BTreeSet, str::FromStr, sync::Arc, thread};

use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, EntityUid, PolicyId, PolicySet, Request, Schema,
    ValidationMode, Validator,
};
use crewgate_core::{Decision, InputValue};
use crewgate_policy::{Policy as _, Swap};
use serde_json::{Value, json};
use support::{Ask, brief, load};

const ALL: &str = r#"@id("all") permit (principal, action, resource);"#;

fn kickoff() -> Ask {
    Ask::new(&["operators"], "kickoff", "payroll")
}

fn uid(text: &str) -> EntityUid {
    EntityUid::from_str(text).unwrap()
}

/// What Cedar says of these rules when it is asked without a schema.
fn naive(rules: &str, context: Context) -> Verdict {
    let set = PolicySet::from_str(rules).unwrap();
    let (who, what, which) =
        (uid("User::\"okta:alice\""), uid("Action::\"kickoff\""), uid("Crew::\"payroll\""));
    let request = Request::new(who, what, which, context, None).unwrap();
    Authorizer::new().is_authorized(&request, &set, &Entities::empty()).decision()
}

fn json(value: Value) -> Context {
    Context::from_json_value(value, None).unwrap()
}

const NO_SECRETS: &str = r#"@id("no-secrets") forbid (principal, action, resource)
    when { context.input has dataset && context.input.dataset like "secret*" };"#;

#[test]
fn an_escape_in_the_callers_json_makes_cedar_skip_a_guard() {
    let rules = format!("{ALL}{NO_SECRETS}");
    let policy = load(&rules).unwrap();
    assert_eq!(naive(&rules, json(json!({ "input": { "dataset": "secret" } }))), Verdict::Deny);
    for escape in [
        json!({ "__entity": { "type": "Role", "id": "admin" } }),
        json!({ "__extn": { "fn": "ip", "arg": "1.2.3.4" } }),
    ] {
        let context = json(json!({ "input": { "dataset": escape } }));
        assert_eq!(naive(&rules, context), Verdict::Allow, "the guard is in error, and skipped");
        // Whatever its JSON says, an input is the string that was sent.
        for (text, expected) in
            [(escape.to_string(), "allow []"), (format!("secret{escape}"), "refuse no-secrets")]
        {
            assert_eq!(brief(&kickoff().dataset(&text).of(&policy)), expected, "{text}");
        }
        // And where another type is declared, it is refused.
        let other = kickoff().input("max_rows", InputValue::String(escape.to_string()));
        assert_eq!(brief(&other.of(&policy)), "refuse");
    }
}

#[test]
fn an_unknown_makes_cedar_skip_a_guard_even_with_a_schema_for_the_context() {
    let rules = format!("{ALL}{NO_SECRETS}");
    let policy = load(&rules).unwrap();
    let schema = Schema::from_cedarschema_str(policy.schema()).unwrap().0;
    let unknown = json!({ "__extn": { "fn": "unknown", "arg": "x" } });
    let facts = json!({
        "token_age": 1, "token_lifetime": 1, "mfa": true, "sender_constrained": false, "zone": "UTC", "hour": 1,
        "weekday": 1, "body_bytes": 1, "has_undeclared_inputs": false, "webhook_hosts": [], "datasets": [],
        "prompts": [], "done": [], "input": { "dataset": unknown },
    });
    // Either it passes with the guard skipped, or the version in use has learned to refuse it.
    if let Ok(context) = Context::from_json_value(facts, Some((&schema, &uid("Action::\"kickoff\"")))) {
        assert_eq!(naive(&rules, context), Verdict::Allow);
    }
    assert_eq!(brief(&kickoff().dataset(&unknown.to_string()).of(&policy)), "allow []");
    assert_eq!(brief(&kickoff().dataset(&format!("secret{unknown}")).of(&policy)), "refuse no-secrets");
}

#[test]
fn a_guard_in_error_is_skipped_by_cedar_and_refuses_here() {
    let context = || json(json!({ "input": { "max_rows": i64::MAX, "dataset": "secret" } }));
    let overflow = r#"@id("g") forbid (principal, action, resource)
        when { context.input has max_rows && context.input.max_rows * 100 > 1000 };"#;
    let typo =
        r#"@id("g") forbid (principal, action, resource) when { context.input.datasett == "secret" };"#;
    let string_in_set = r#"@id("g") forbid (principal, action, resource)
        when { context.input has dataset && context.input.dataset in ["secret", "pii"] };"#;
    for guard in [overflow, typo, string_in_set] {
        assert_eq!(naive(&format!("{ALL}{guard}"), context()), Verdict::Allow, "{guard}");
    }
    let policy = load(&format!("{ALL}{overflow}")).unwrap();
    assert_eq!(brief(&kickoff().input("max_rows", InputValue::Long(i64::MAX)).of(&policy)), "refuse g");
    for guard in [typo, string_in_set] {
        let errors = load(&format!("{ALL}\n{guard}")).unwrap_err();
        assert!(errors.iter().all(|error| error.line >= 2 && error.column > 0), "{errors:#?}");
    }
}

#[test]
fn null_floats_and_mixed_lists_are_no_contexts_and_never_come_that_far() {
    for value in [json!(null), json!(1.5), json!(u64::MAX)] {
        assert!(Context::from_json_value(json!({ "input": value }), None).is_err(), "{value}");
    }
    // Here an input has one of four types, and what is not of the declared one is refused.
    let policy = load(ALL).unwrap();
    assert_eq!(brief(&kickoff().input("max_rows", InputValue::Long(i64::MAX)).of(&policy)), "allow []");
    assert_eq!(brief(&kickoff().input("max_rows", InputValue::Bool(true)).of(&policy)), "refuse");
}

#[test]
fn two_unless_clauses_are_two_ways_out_and_two_duties_are_none() {
    let done = |done: &[&str]| json(json!({ "done": done }));
    let two = r#"forbid (principal, action, resource)
        unless { context.done.contains("mask:secrets") } unless { context.done.contains("rate:10/h") };"#;
    assert_eq!(
        naive(&format!("{ALL}{two}"), done(&["mask:secrets"])),
        Verdict::Allow,
        "one of two is enough"
    );
    let guard = r#"@id("g") @mask("secrets") @rate("10/h") forbid (principal, action, resource);"#;
    let exported = load(&format!("{ALL}{guard}")).unwrap().export();
    assert_eq!(naive(&exported, done(&[])), Verdict::Deny);
    assert_eq!(naive(&exported, done(&["mask:secrets"])), Verdict::Deny);
    assert_eq!(naive(&exported, done(&["rate:10/h"])), Verdict::Deny);
    assert_eq!(naive(&exported, done(&["mask:secrets", "rate:10/h"])), Verdict::Allow);
}

#[test]
fn cedar_hides_the_permits_behind_a_guard_and_here_both_are_named() {
    let permit = r#"@id("ops") permit (principal, action, resource);"#;
    let guard = r#"@id("owners") @approval("hr-data-owners") forbid (principal, action, resource);"#;
    let set = PolicySet::from_str(&format!("{permit}{guard}")).unwrap();
    let (who, what, which) =
        (uid("User::\"okta:alice\""), uid("Action::\"kickoff\""), uid("Crew::\"payroll\""));
    let request = Request::new(who, what, which, Context::empty(), None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &set, &Entities::empty());
    // By numbers, not by their @id, and without the permit.
    let named: Vec<_> = response.diagnostics().reason().cloned().collect();
    assert_eq!(named, [PolicyId::new("policy1")]);
    let decision = kickoff().of(&load(&format!("{permit}{guard}")).unwrap());
    let named: Vec<_> = decision.basis().rules.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(
        (brief(&decision).as_str(), named),
        ("ask hr-data-owners [approval:hr-data-owners]", vec!["ops", "owners"])
    );
}

#[test]
fn cedar_takes_two_rules_of_one_id_and_here_the_second_does_not_load() {
    let twice = r#"@id("a") permit (principal, action, resource);
@id("a") forbid (principal, action, resource);"#;
    assert_eq!(PolicySet::from_str(twice).unwrap().policies().count(), 2);
    let errors = load(twice).unwrap_err();
    assert_eq!((errors[0].line, errors[0].column), (2, 1));
    assert_eq!(errors[0].help.as_deref(), Some("the first is at policy/rules.cedar:1:1"));
}

#[test]
fn what_cedar_warns_of_and_loads_does_not_load_here() {
    let never = r#"@id("g") forbid (principal, action, resource) when { context.hour < 1 && false };"#;
    let policy = load(ALL).unwrap();
    let schema = Schema::from_cedarschema_str(policy.schema()).unwrap().0;
    let result =
        Validator::new(schema).validate(&PolicySet::from_str(never).unwrap(), ValidationMode::Strict);
    assert!(result.validation_passed() && result.validation_warnings().next().is_some());
    assert!(load(&format!("{ALL}{never}")).is_err());
}

#[test]
fn a_misspelt_role_matches_nobody_in_cedar_and_does_not_load_here() {
    let guard = r#"@id("g") forbid (principal in Role::"interms", action, resource);"#;
    assert_eq!(naive(&format!("{ALL}{guard}"), Context::empty()), Verdict::Allow);
    let errors = load(&format!("{ALL}\n{guard}")).unwrap_err();
    assert_eq!((errors[0].line, errors[0].column), (2, 31));
    assert_eq!(errors[0].help.as_deref(), Some("did you mean `interns`?"));
    // At run time a role that no rule names is no error: people hold roles of other systems too.
    let unknown = Ask::new(&["of-another-system"], "kickoff", "payroll");
    assert_eq!(brief(&unknown.of(&load(ALL).unwrap())), "allow []");
}

#[test]
fn of_many_guards_the_first_by_name_is_told_whatever_order_cedar_names_them_in() {
    let guards: String = (0..20)
        .rev()
        .map(|n| format!("@id(\"g{n:02}\") @reason(\"{n}\") forbid (principal, action, resource);"))
        .collect();
    let policy = load(&format!("{ALL}{guards}")).unwrap();
    for _ in 0..20 {
        let Decision::Refuse { rule, reason, basis, .. } = kickoff().of(&policy) else { panic!("passed") };
        assert_eq!((rule.unwrap().as_str(), reason.as_str(), basis.rules.len()), ("g00", "0", 20));
    }
}

#[test]
fn a_reason_is_of_the_very_set_that_decided() {
    let set = |reason: &str| {
        load(&format!("{ALL}@id(\"g\") @reason(\"{reason}\") forbid (principal, action, resource);")).unwrap()
    };
    let (one, two) = (set("one"), set("two"));
    let hashes = [one.hash().clone(), two.hash().clone()];
    assert_ne!(hashes[0], hashes[1]);
    let swap = Arc::new(Swap::new(one.clone()));
    let seen: BTreeSet<_> = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let ask = |_| match swap.decide(&kickoff().query()) {
                Decision::Refuse { reason, basis, .. } => (reason, basis.policy.unwrap()),
                other => panic!("{other:?}"),
            };
            (0..200).map(ask).collect()
        });
        while !asking.is_finished() {
            drop(swap.replace(two.clone()));
            drop(swap.replace(one.clone()));
        }
        asking.join().unwrap()
    });
    let [first, second] = hashes;
    let right: BTreeSet<_> = [("one".to_owned(), first), ("two".to_owned(), second)].into();
    assert!(seen.is_subset(&right), "{seen:?}");
}
