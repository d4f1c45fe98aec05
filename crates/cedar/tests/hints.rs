//! What a refusal says would help: only what a rule's author wrote for it, and only where it is true.
#![expect(clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use crewgate_cedar::CedarPolicy;
use crewgate_core::{ApproverSet, Decision, Hint, RoleName};
use support::{Ask, vocabulary};

const RULES: &str = r#"
@id("operators-research")
@hint("Ask #access for the role operators.")
permit (principal in Role::"operators", action == Action::"kickoff", resource == Crew::"market-research")
when { context.body_bytes < 1000 };

@id("interns-research")
permit (principal in Role::"interns", action == Action::"kickoff", resource == Crew::"market-research");

@id("daytime")
@reason("Payroll is closed.")
@hint("Try again on Monday.")
forbid (principal, action, resource == Crew::"payroll");

@id("operators-payroll")
@hint("Ask #access for the role operators.")
permit (principal in Role::"operators", action, resource == Crew::"payroll");
"#;

fn load(rules: &str) -> CedarPolicy {
    CedarPolicy::load(vec![("hints.cedar".to_owned(), rules.to_owned())], &vocabulary())
        .unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Rule, reason and hints of a refusal.
fn refused(decision: Decision) -> (Option<String>, String, Vec<Hint>) {
    let Decision::Refuse { rule, reason, hints, .. } = decision else { panic!("{decision:?}") };
    (rule.map(|rule| rule.to_string()), reason, hints)
}

fn operators(approvals: &[&str]) -> Hint {
    Hint {
        text: "Ask #access for the role operators.".to_owned(),
        roles: [RoleName::new("operators")].into(),
        approvals: approvals.iter().map(|set| ApproverSet::new(*set)).collect(),
    }
}

#[test]
fn a_permit_tells_whom_it_misses_by_a_role_alone_and_only_when_it_says_so() {
    let policy = load(RULES);
    let stranger = Ask::new(&[], "kickoff", "market-research");
    let denied = (None, "Not permitted.".to_owned(), vec![operators(&[])]);
    assert_eq!(refused(stranger.of(&policy)), denied, "and nothing of the permit that says nothing");
    // What the role would not help with: other conditions, other actions, other crews.
    let large = Ask::new(&[], "kickoff", "market-research").with(|ask| ask.operation.body_bytes = 5000);
    assert!(refused(large.of(&policy)).2.is_empty());
    assert!(refused(Ask::new(&[], "status", "market-research").of(&policy)).2.is_empty());
    // A guard would refuse all the same: the hint would lead nowhere.
    assert!(refused(Ask::new(&[], "kickoff", "payroll").of(&policy)).2.is_empty());
    // And it names the people who would have to say yes.
    let eligible = RULES.replacen("@hint(\"Ask", "@approval(\"hr-data-owners\") @hint(\"Ask", 1);
    assert_eq!(
        refused(Ask::new(&[], "kickoff", "market-research").of(&load(&eligible))).2,
        [operators(&["hr-data-owners"])]
    );
}

#[test]
fn a_guard_says_what_would_help_beside_its_reason() {
    let (rule, reason, hints) = refused(Ask::new(&["operators"], "kickoff", "payroll").of(&load(RULES)));
    assert_eq!((rule.as_deref(), reason.as_str()), (Some("daytime"), "Payroll is closed."));
    let hint = Hint { text: "Try again on Monday.".to_owned(), roles: [].into(), approvals: [].into() };
    assert_eq!(hints, [hint]);
}

#[test]
fn a_hint_changes_no_decision_and_no_exported_rule() {
    let without: String =
        RULES.lines().filter(|line| !line.starts_with("@hint")).collect::<Vec<_>>().join("\n");
    let (with, without) = (load(RULES), load(&without));
    for roles in [&[][..], &["operators"], &["interns"], &["operators", "interns"]] {
        for crew in ["market-research", "payroll"] {
            for action in ["kickoff", "status"] {
                let ask = Ask::new(roles, action, crew);
                assert_eq!(ask.of(&with).outcome(), ask.of(&without).outcome(), "{roles:?} {action} {crew}");
            }
        }
    }
}

#[test]
fn a_hint_nobody_would_read_does_not_load() {
    for (rule, says) in [
        (r#"@id("a") @hint("x") permit (principal, action, resource);"#, "names no role"),
        (
            r#"@id("a") @hint("x") @mask("secrets") forbid (principal, action, resource);"#,
            "guard with a duty",
        ),
    ] {
        let mut words = vocabulary();
        words.masks.insert(crewgate_core::MaskProfile::new("secrets"));
        let errors = CedarPolicy::load(vec![("x.cedar".to_owned(), rule.to_owned())], &words).unwrap_err();
        assert!(errors[0].message.contains(says) && errors[0].line == 1, "{errors:#?}");
    }
}
