//! The tools on small rule sets: cases, explanations, who can, what can, lints, differences, formatting.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use crewgate_cedar::{
    CedarPolicy, Vocabulary,
    tools::{
        Access, Outcome, Question, check_cases, compare, explain, format, lint, parse_cases, what_can,
        who_can,
    },
};
use crewgate_core::{ApproverSet, Divergence, InputValue, PrincipalKind, RoleName};
use support::vocabulary;

const RULES: &str = r#"
@id("analysts")
permit (principal in Role::"marketing-analysts", action in [Action::"kickoff", Action::"status"], resource == Crew::"market-research");

@id("interns")
@approval("marketing-leads")
permit (principal in Role::"interns", action == Action::"kickoff", resource == Crew::"market-research");

@id("night")
permit (principal == Service::"ci:nightly", action == Action::"kickoff", resource == Crew::"nightly-report")
when { context.hour >= 1 && context.hour < 5 };

@id("operators")
permit (principal in Role::"operators", action in Action::"write", resource in Fleet::"prod");

@id("payroll")
@approval("hr-data-owners")
forbid (principal, action == Action::"kickoff", resource == Crew::"market-research")
when { context.input has dataset && context.input.dataset like "hr_payroll*" };

@id("fresh")
@reason("Sign in again.")
forbid (principal is User, action in Action::"write", resource in Fleet::"prod")
unless { context.mfa && context.token_age < 28800 };

@id("intern-rate")
@rate("10/h")
forbid (principal in Role::"interns", action == Action::"kickoff", resource);
"#;

fn policy() -> (CedarPolicy, Vocabulary) {
    (support::load(RULES).unwrap(), vocabulary())
}

fn question(roles: &[&str], action: &str, crew: &str) -> Question {
    Question {
        roles: roles.iter().map(|role| RoleName::new(*role)).collect(),
        action: action.to_owned(),
        crew: crew.to_owned(),
        ..Question::default()
    }
}

#[test]
fn a_case_passes_only_when_everything_is_as_it_says() {
    let (policy, vocabulary) = policy();
    let text = r#"
[[case]]
name = "interns wait"
roles = ["interns"]
action = "kickoff"
crew = "market-research"
expect = "ask"
approvals = ["marketing-leads"]
duties = ["rate:10/h"]

[[case]]
name = "interns start once approved"
roles = ["interns"]
approved = ["marketing-leads"]
action = "kickoff"
crew = "market-research"
expect = "allow"
duties = ["rate:10/h"]

[[case]]
name = "the nightly job at two"
principal = "ci:nightly"
kind = "service"
hour = 2
action = "kickoff"
crew = "nightly-report"
expect = "allow"

[[case]]
name = "an old session"
roles = ["operators"]
mfa = true
token_age = 28800
action = "kickoff"
crew = "nightly-report"
expect = "refuse"
rule = "fresh"
"#;
    let cases = parse_cases("t.toml", text).unwrap();
    assert_eq!(check_cases(&cases, &policy, &vocabulary, None), []);
    // Each expectation matters: taking any away, or asking another, fails.
    for (from, to) in [
        ("duties = [\"rate:10/h\"]\n\n", "\n"),
        ("approvals = [\"marketing-leads\"]\n", ""),
        ("hour = 2", "hour = 5"),
        ("rule = \"fresh\"\n", ""),
        ("mfa = true\ntoken_age = 28800", "mfa = true\ntoken_age = 28799"),
        ("roles = [\"interns\"]\napproved", "roles = [\"intern\"]\napproved"),
        ("rule = \"fresh\"", "rule = \"frehs\""),
        ("duties = [\"rate:10/h\"]", "duties = [\"rates:10/h\"]"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let cases = parse_cases("t.toml", &changed).unwrap();
        let failed = check_cases(&cases, &policy, &vocabulary, None);
        assert_eq!(failed.len(), 1, "{from}: {failed:?}");
    }
    let failed = parse_cases("t.toml", &text.replace("rule = \"fresh\"\n", "")).unwrap();
    let failed = check_cases(&failed, &policy, &vocabulary, None);
    let expected = "FAILED an old session\n  --> t.toml:29:1\n  - expected refuse: nothing permits it\n  + decided  refuse by fresh\n  = permits that match: operators; guards: fresh";
    assert_eq!(failed[0].to_string(), expected);
}

#[test]
fn a_question_survives_its_own_syntax() {
    let question = Question {
        principal: "ci:x".to_owned(),
        kind: PrincipalKind::Service,
        input: [
            ("dataset".to_owned(), InputValue::String("a \"b\"\n".to_owned())),
            ("max_rows".to_owned(), InputValue::Long(-3)),
            ("regions".to_owned(), InputValue::Strings(vec!["eu".to_owned()])),
            ("urgent".to_owned(), InputValue::Bool(true)),
        ]
        .into(),
        datasets: Some(vec![]),
        hour: Some(3),
        ..question(&["interns"], "kickoff", "payroll")
    };
    let text = format!("[[case]]\nname = \"x\"\nexpect = \"allow\"\n{}", question.to_toml());
    assert_eq!(parse_cases("t.toml", &text).unwrap()[0].question, question, "{text}");
}

#[test]
fn an_explanation_names_what_was_read_and_what_would_help() {
    let (policy, vocabulary) = policy();
    let of = |question: &Question| explain(&policy, &vocabulary, question, None).unwrap();
    let with = |question: &Question, outcome: Outcome| -> Vec<String> {
        let found = of(question).alternatives.into_iter().filter(|a| a.answer.outcome == outcome);
        found.map(|a| a.with.join(" and ")).collect()
    };
    let intern = question(&["interns"], "kickoff", "market-research");
    assert_eq!(
        with(&intern, Outcome::Allow),
        ["with approval of marketing-leads", "with role marketing-analysts"]
    );
    // Both are needed: no single change opens the door.
    let stale = Question { token_age: 30_000, ..question(&["operators"], "kickoff", "nightly-report") };
    let story = of(&stale);
    assert_eq!(story.answer.to_string(), "refuse by fresh");
    assert_eq!(story.reason.as_deref(), Some("Sign in again."));
    let fresh = story.matched.iter().find(|reading| reading.rule.as_str() == "fresh").unwrap();
    assert_eq!(fresh.facts.get("token_age").map(String::as_str), Some("30000"));
    let pairs = with(&stale, Outcome::Allow);
    assert!(pairs.contains(&"mfa true and token_age 28799".to_owned()), "{pairs:?}");
    // A stranger learns which role would do.
    let stranger = question(&[], "kickoff", "market-research");
    assert_eq!(with(&stranger, Outcome::Allow), ["with role marketing-analysts"]);
    assert_eq!(with(&stranger, Outcome::Ask), ["with role interns"]);
    // And what a value would cost.
    let analyst = question(&["marketing-analysts"], "kickoff", "market-research");
    assert!(with(&analyst, Outcome::Ask).contains(&"input.dataset \"hr_payroll\"".to_owned()));
}

fn brief(found: &[Access]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn who_can_lists_every_permit_with_what_it_takes() {
    let (policy, vocabulary) = policy();
    let found = who_can(&policy, &vocabulary, &question(&[], "kickoff", "market-research")).unwrap();
    let condition = "\n  approval:hr-data-owners by payroll\n      when { context.input has dataset }\n      when { context.input.dataset like \"hr_payroll*\" }";
    let interns = format!(
        "role interns: kickoff market-research\n  may by interns, after approval of marketing-leads\n  rate:10/h by intern-rate{condition}"
    );
    let analysts = format!(
        "role marketing-analysts: kickoff market-research\n  may by analysts\n  rate:10/h by intern-rate\n      when {{ principal in Role::\"interns\" }}{condition}"
    );
    assert_eq!(brief(&found), [interns, analysts]);

    // Known inputs are evaluated: the guard is gone, or stands without a condition.
    let with = |dataset: &str| {
        let input = [("dataset".to_owned(), InputValue::String(dataset.to_owned()))].into();
        let question = Question { input, ..question(&[], "kickoff", "market-research") };
        who_can(&policy, &vocabulary, &question).unwrap()
    };
    let guards = |found: &[Access]| {
        let of = |access: &Access| {
            access
                .limits
                .iter()
                .filter(|limit| limit.guard.as_str() == "payroll")
                .map(|l| l.conditions.len())
                .collect::<Vec<_>>()
        };
        found.iter().map(of).collect::<Vec<_>>()
    };
    assert!(guards(&with("crm")).iter().all(Vec::is_empty));
    assert_eq!(guards(&with("hr_payroll_7")), [vec![0], vec![0]]);
    assert!(
        who_can(&policy, &vocabulary, &question(&[], "kickof", "market-research"))
            .unwrap_err()
            .contains("did you mean `kickoff`")
    );
}

#[test]
fn what_can_knows_the_principal_and_shows_the_rest() {
    let (policy, vocabulary) = policy();
    let job =
        Question { principal: "ci:nightly".to_owned(), kind: PrincipalKind::Service, ..Question::default() };
    let found = what_can(&policy, &vocabulary, &job, None).unwrap();
    assert_eq!(
        brief(&found),
        [
            "ci:nightly: kickoff nightly-report\n  may by night\n      when { context.hour >= 1 }\n      when { context.hour < 5 }"
        ]
    );
    // The same name as a person may nothing.
    let person = Question { kind: PrincipalKind::User, ..job };
    assert_eq!(what_can(&policy, &vocabulary, &person, None).unwrap(), []);
    let operator = question(&["operators"], "", "");
    let found = what_can(&policy, &vocabulary, &operator, None).unwrap();
    let all: Vec<_> = found.iter().map(|access| format!("{} {}", access.action, access.crew)).collect();
    assert_eq!(
        all,
        ["kickoff nightly-report", "resume nightly-report", "kickoff customer-care", "resume customer-care"]
    );
    assert!(found.iter().all(|access| !access.is_unconditional()));
}

/// Whoever `what_can` does not list is refused, whatever else holds; whoever it lists without condition is not.
#[test]
fn what_can_agrees_with_what_is_decided() {
    let (policy, vocabulary) = policy();
    let roles: Vec<&RoleName> = vocabulary.roles.iter().collect();
    let mut decided = 0;
    for bits in 0..(1_u32 << roles.len()) {
        let held =
            roles.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, role)| (*role).clone());
        let asked = Question { roles: held.collect(), ..Question::default() };
        let found = what_can(&policy, &vocabulary, &asked, None).unwrap();
        for crew in &vocabulary.crews {
            for (action, _) in &vocabulary.actions {
                let listed = found.iter().find(|a| a.crew == crew.name && a.action == action.as_str());
                for (mfa, token_age, hour) in [(false, 60, 12), (true, 60, 2), (true, 90_000, 2)] {
                    let question = Question {
                        action: action.to_string(),
                        crew: crew.name.clone(),
                        mfa,
                        token_age,
                        hour: Some(hour),
                        ..asked.clone()
                    };
                    let built = question.asked(&policy, &vocabulary, None).unwrap();
                    let decision = crewgate_policy::Policy::decide(&policy, &built.query());
                    let refused = matches!(decision, crewgate_core::Decision::Refuse { .. });
                    assert!(listed.is_some() || refused, "{question:?}");
                    assert!(!listed.is_some_and(Access::is_unconditional) || !refused, "{question:?}");
                    decided += 1;
                }
            }
        }
    }
    assert_eq!(decided, 64 * 4 * 4 * 3);
}

#[test]
fn a_difference_says_what_becomes_of_a_question() {
    let (old, vocabulary) = policy();
    let new = RULES
        .replace("@approval(\"marketing-leads\")\n", "")
        .replace("Role::\"marketing-analysts\", action in", "Role::\"support\", action in")
        .replace("10/h", "9/h")
        .replace("@approval(\"hr-data-owners\")\n", "@mask(\"pii-basic\")\n");
    let new = support::load(&new).unwrap();
    let of = |roles: &[&str], action| {
        let question = question(roles, action, "market-research");
        compare(&old, &new, &question, &vocabulary, None).unwrap().map(|difference| difference.change)
    };
    assert_eq!(of(&["marketing-analysts"], "kickoff"), Some(Divergence::NewlyDenied));
    assert_eq!(of(&["support"], "kickoff"), Some(Divergence::NewlyAllowed));
    assert_eq!(of(&["interns"], "kickoff"), Some(Divergence::NewlyAllowed));
    assert_eq!(of(&["marketing-analysts", "interns"], "kickoff"), Some(Divergence::OtherDuties));
    assert_eq!(of(&["operators"], "kickoff"), None);
    let back = compare(&new, &old, &question(&["interns"], "kickoff", "market-research"), &vocabulary, None);
    assert_eq!(back.unwrap().unwrap().change, Divergence::NewlyAsking);
}

fn lints(text: &str) -> Vec<(&'static str, usize, usize)> {
    let files = [("policy/rules.cedar".to_owned(), text.to_owned())];
    let used = vocabulary().roles;
    lint(&files, &vocabulary(), &used).iter().map(|one| (one.lint, one.at.line, one.at.column)).collect()
}

#[test]
fn every_lint_finds_its_mistake_and_its_place() {
    let guard = |conditions: &str| {
        format!(
            "@id(\"g\") @reason(\"r\")\nforbid (principal, action, resource in Fleet::\"hr\")\n{conditions};\n"
        )
    };
    let permit = |conditions: &str| {
        format!("@id(\"p\")\npermit (principal, action, resource in Fleet::\"hr\")\n{conditions};\n")
    };
    for (text, expected) in [
        (guard("unless { context.mfa }\nunless { context.hour < 5 }"), vec![("unless-unless", 4, 1)]),
        (guard("unless { context.mfa || context.hour < 5 }"), vec![]),
        (
            guard("when { context.input has dataset && context.input.dataset in [\"a\"] }"),
            vec![("string-in-set", 3, 59)],
        ),
        (guard("unless { context.done.contains(\"mask:pii-basic\") }"), vec![("context-done", 3, 18)]),
        (
            "@id(\"g\") @reason(\"r\")\nforbid (principal, action, resource) when { context.hour < 5 };"
                .to_owned(),
            vec![("global-guard", 2, 1)],
        ),
        (
            "@id(\"g\")\nforbid (principal, action, resource in Fleet::\"hr\");".to_owned(),
            vec![("guard-without-reason", 2, 1)],
        ),
        (
            "@id(\"g\") @mask(\"secrets\")\nforbid (principal, action, resource in Fleet::\"hr\");"
                .to_owned(),
            vec![],
        ),
        (permit("when { context.hour > 20 && context.hour < 10 }"), vec![("unreachable", 1, 1)]),
        (permit("when { context.hour > 23 }"), vec![("unreachable", 1, 1)]),
        (permit("when { context.mfa } unless { context.mfa }"), vec![("unreachable", 1, 1)]),
        (permit("when { context.hour >= 20 && context.hour < 21 }"), vec![]),
        (permit("when { context.hour == 3 || context.hour > 23 }"), vec![]),
        (
            permit("")
                + "@id(\"q\") permit (principal is User, action == Action::\"status\", resource == Crew::\"payroll\") when { context.mfa };",
            vec![("shadowed", 4, 1)],
        ),
        (
            permit("") + "@id(\"q\") permit (principal, action, resource in Fleet::\"hr\");",
            vec![("shadowed", 4, 1)],
        ),
        (
            permit("when { context.mfa }")
                + "@id(\"q\") permit (principal, action, resource == Crew::\"payroll\");",
            vec![],
        ),
        (permit("") + &guard(""), vec![("unreachable", 1, 1)]),
        (permit("") + &guard("when { context.mfa }"), vec![]),
        (
            "@id(\"p\") permit (principal in Role::\"nobody\", action, resource);".to_owned(),
            vec![("does-not-load", 1, 31)],
        ),
    ] {
        assert_eq!(lints(&text), expected, "{text}");
    }
    let files = [("policy/rules.cedar".to_owned(), RULES.to_owned())];
    let used = [RoleName::new("support"), RoleName::new("hr-partners")].into();
    let found = lint(&files, &vocabulary(), &used);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("warning[unused-role]: role `privacy-officers`"), "{}", found[0]);
}

#[test]
fn formatting_is_stable_and_changes_no_meaning() {
    let once = format("rules.cedar", RULES).unwrap();
    assert_ne!(once, RULES);
    assert_eq!(format("rules.cedar", &once).unwrap(), once);
    assert_eq!(support::load(&once).unwrap().hash(), support::load(RULES).unwrap().hash());
    assert!(format("rules.cedar", "permit (").is_err());
}

#[test]
fn approvals_that_nobody_declared_are_a_mistake_of_the_question() {
    let (policy, vocabulary) = policy();
    let question = Question {
        approved: [ApproverSet::new("marketing-lead")].into(),
        ..question(&[], "kickoff", "payroll")
    };
    let error = question.asked(&policy, &vocabulary, None).unwrap_err();
    assert!(error.contains("did you mean `marketing-leads`"), "{error}");
}
