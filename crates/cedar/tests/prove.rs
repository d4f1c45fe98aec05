//! Proofs with cvc5: what holds is proved, what does not comes with a request that is really let through.
#![cfg(feature = "prove")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::{fmt::Write as _, path::PathBuf};

use crewgate_cedar::{
    CedarPolicy, CrewDeclaration, Vocabulary,
    prove::{Broken, Defect, Proof, ProveError, Prover, parse_invariants},
    tools::{Answer, Outcome},
};
use crewgate_core::RoleName;
use crewgate_policy::Policy as _;
use support::{load, vocabulary};

/// The solver; without it nothing is tried, loudly, and where everything must be tried that fails.
fn prover() -> Option<Prover> {
    let path = std::env::var_os("CREWGATE_REAL_CVC5").map(PathBuf::from);
    match Prover::start(path) {
        Ok(prover) => Some(prover),
        Err(error @ ProveError::NoSolver { .. }) => {
            assert!(std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(), "{error}");
            eprintln!("!!! NOT TRIED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A broken proof's request is one that the rules really let through, now or once people agree.
fn real(broken: &Broken, policy: &CedarPolicy, vocabulary: &Vocabulary) {
    let asked = broken.request.asked(policy, vocabulary, None).unwrap();
    let answer = Answer::from(&policy.decide(&asked.query()));
    assert_eq!(answer, broken.answer);
    assert_ne!(answer.outcome, Outcome::Refuse, "{broken:?}");
}

async fn holds(prover: &mut Prover, rules: &str, invariant: &str) -> Option<Broken> {
    let (policy, vocabulary) = (load(rules).unwrap(), vocabulary());
    let read = parse_invariants("i.cedar", invariant, &vocabulary).unwrap();
    match prover.holds(&policy, &vocabulary, read.first().unwrap(), &[]).await.unwrap() {
        Proof::Holds { .. } => None,
        Proof::Broken(broken) => {
            real(&broken, &policy, &vocabulary);
            Some(*broken)
        }
        other => panic!("{other:?}"),
    }
}

const HR: &str = r#"
@id("hr") permit (principal in Role::"hr-partners", action == Action::"kickoff", resource in Fleet::"hr");
@id("owners") @approval("hr-data-owners") forbid (principal, action == Action::"kickoff", resource in Fleet::"hr")
when { context.input has dataset && context.input.dataset like "hr_payroll*" };
@id("masked") @mask("pii-basic") forbid (principal, action in Action::"read", resource in Fleet::"customer")
unless { principal in Role::"privacy-officers" };
@id("support") permit (principal in Role::"support", action in Action::"read", resource in Fleet::"customer");
"#;

#[tokio::test]
async fn an_invariant_holds_or_is_broken_by_a_request_that_passes() {
    let Some(mut prover) = prover() else { return };
    let payroll = r#"@id("i") permit (principal, action == Action::"kickoff", resource == Crew::"payroll")
                     when { principal in Role::"hr-partners" };"#;
    assert_eq!(holds(&mut prover, HR, payroll).await, None);
    // One broad permit, and it does not.
    let broad = format!(
        "{HR}@id(\"oops\") permit (principal in Role::\"support\", action in Action::\"write\", resource) when {{ context.token_age < 600 }};"
    );
    let broken = holds(&mut prover, &broad, payroll).await.unwrap();
    assert_eq!(broken.request.roles, [RoleName::new("support")].into());
    assert_eq!(broken.by.iter().map(ToString::to_string).collect::<Vec<_>>(), ["oops"]);

    let masked = r#"@id("i") forbid (principal, action == Action::"status", resource in Fleet::"customer")
                    unless { principal in Role::"privacy-officers" || context.done.contains("mask:pii-basic") };"#;
    assert_eq!(holds(&mut prover, HR, masked).await, None);
    let unmasked = HR.replace("@mask(\"pii-basic\")", "@mask(\"secrets\")");
    let broken = holds(&mut prover, &unmasked, masked).await.unwrap();
    assert_eq!(broken.answer.duties, ["mask:secrets".to_owned()].into());

    let approved = r#"@id("i") forbid (principal, action == Action::"kickoff", resource in Fleet::"hr")
                      when { context.input has dataset && context.input.dataset == "hr_payroll_2026" }
                      unless { context.done.contains("approval:hr-data-owners") };"#;
    assert_eq!(holds(&mut prover, HR, approved).await, None);
    let broken = holds(&mut prover, &HR.replace("hr_payroll*", "hr_payroll_2025*"), approved).await.unwrap();
    assert_eq!(broken.request.input.len(), 1);
}

#[tokio::test]
async fn more_permits_than_are_asked_at_once_hide_nothing() {
    let Some(mut prover) = prover() else { return };
    let mut rules = String::new();
    for hour in 0..80 {
        write!(
            rules,
            "@id(\"p{hour:02}\") permit (principal in Role::\"interns\", action == Action::\"kickoff\", resource == Crew::\"payroll\") when {{ context.body_bytes == {hour} && context.mfa }};"
        )
        .unwrap();
    }
    let mfa = r#"@id("i") forbid (principal, action, resource == Crew::"payroll") unless { context.mfa };"#;
    assert_eq!(holds(&mut prover, &rules, mfa).await, None);
    let one_without = rules.replace("context.body_bytes == 77 && context.mfa", "context.body_bytes == 77");
    let broken = holds(&mut prover, &one_without, mfa).await.unwrap();
    assert_eq!((broken.request.body_bytes, broken.request.mfa), (77, false));
}

#[tokio::test]
async fn fleets_are_those_of_the_configuration_unless_any_are_meant() {
    let Some(mut prover) = prover() else { return };
    let invariant = |fleets: &str| {
        format!(
            "@id(\"i\") @fleets(\"{fleets}\") forbid (principal in Role::\"hr-partners\", action == Action::\"kickoff\", resource == Crew::\"market-research\");"
        )
    };
    assert_eq!(holds(&mut prover, HR, &invariant("configured")).await, None);
    let broken = holds(&mut prover, HR, &invariant("any")).await.unwrap();
    assert_eq!(broken.request.fleets, Some(vec!["hr".to_owned()]));
}

#[tokio::test]
async fn a_change_that_widens_is_told_from_one_that_does_not() {
    let Some(mut prover) = prover() else { return };
    let vocabulary = vocabulary();
    for (from, to, wider) in [
        ("like \"hr_payroll*\"", "== \"hr_payroll\"", true),
        ("like \"hr_payroll*\"", "like \"hr_*\"", false),
        ("@mask(\"pii-basic\")", "@mask(\"secrets\")", true),
        ("unless { principal in Role::\"privacy-officers\" }", "", false),
        ("@approval(\"hr-data-owners\")", "@approval(\"marketing-leads\")", true),
        ("Fleet::\"hr\");", "Fleet::\"hr\") when { context.mfa };", false),
        ("Role::\"support\"", "Role::\"interns\"", true),
    ] {
        let changed = HR.replacen(from, to, 1);
        assert_ne!(changed, HR, "{from}");
        let (old, new) = (load(HR).unwrap(), load(&changed).unwrap());
        let proof = prover.narrows(&old, &new, &vocabulary, &[]).await.unwrap();
        match proof {
            Proof::Holds { asked } => assert!(!wider && asked > 0, "{from} → {to}: {asked} asked"),
            Proof::Broken(broken) => {
                assert!(wider, "{from} → {to}: {broken:?}");
                real(&broken, &new, &vocabulary);
                assert_ne!(broken.before.as_ref(), Some(&broken.answer));
            }
            other => panic!("{other:?}"),
        }
    }
    // The same rules in another order are the same rules, and nobody is asked.
    let mut statements: Vec<&str> = HR.split_inclusive(";\n").collect();
    statements.reverse();
    let (old, new) = (load(HR).unwrap(), load(&statements.concat()).unwrap());
    let same = prover.narrows(&old, &new, &vocabulary, &[]).await.unwrap();
    assert_eq!(same, Proof::Holds { asked: 0 });
}

#[tokio::test]
async fn rules_that_never_match_or_cannot_always_be_evaluated_are_named() {
    let Some(mut prover) = prover() else { return };
    let rules = r#"
@id("fine") permit (principal in Role::"interns", action == Action::"kickoff", resource) when { context.hour >= 23 };
@id("never") permit (principal in Role::"interns", action == Action::"kickoff", resource)
when { context.body_bytes < 10 && context.body_bytes > 20 };
@id("no-such-hour") permit (principal in Role::"interns", action == Action::"kickoff", resource) when { context.hour > 23 };
@id("overflows") forbid (principal, action == Action::"kickoff", resource == Crew::"payroll")
when { context.input has max_rows && context.input.max_rows * 100 > 5 };
"#;
    let found = prover.rules(&load(rules).unwrap(), &vocabulary()).await.unwrap();
    let named: Vec<_> = found.iter().map(|(rule, defect)| (rule.as_str(), defect)).collect();
    let [
        ("never", Defect::NeverMatches),
        ("no-such-hour", Defect::NeverMatches),
        ("overflows", Defect::Errors(Some(request))),
    ] = named.as_slice()
    else {
        panic!("{named:?}")
    };
    assert!(request.input.contains_key("max_rows"));
}

/// Rules for a hundred crews of ten fleets; `of` picks those that are loaded.
fn house(of: impl Fn(usize) -> bool) -> (CedarPolicy, Vocabulary) {
    let mut vocabulary = vocabulary();
    let like = vocabulary.crews.first().cloned().unwrap();
    let crew = |at| CrewDeclaration {
        name: format!("c{at}"),
        fleets: vec![format!("f{}", at % 10)],
        ..like.clone()
    };
    vocabulary.crews = (0..100).map(crew).collect();
    let mut rules = String::new();
    for at in 0..400 {
        let action = ["inputs", "status", "kickoff", "resume"].get(at / 100).unwrap();
        if of(at % 100) {
            writeln!(
                rules,
                "@id(\"p{at}\") permit (principal in Role::\"interns\", action == Action::\"{action}\", resource == Crew::\"c{}\") when {{ context.token_age < {} }};",
                at % 100,
                600 + at % 7
            )
            .unwrap();
        }
    }
    for fleet in (0..10).filter(|fleet| of(*fleet)) {
        writeln!(rules, "@id(\"g{fleet}\") forbid (principal, action in Action::\"write\", resource in Fleet::\"f{fleet}\") unless {{ context.mfa }};").unwrap();
    }
    let policy = CedarPolicy::load(vec![("r.cedar".to_owned(), rules)], &vocabulary).unwrap();
    (policy, vocabulary)
}

#[tokio::test]
async fn what_is_asked_of_one_crew_does_not_grow_with_the_others() {
    let Some(mut prover) = prover() else { return };
    let invariant =
        "@id(\"i\") forbid (principal, action in Action::\"write\", resource) unless { context.mfa };";
    let mut asked = Vec::new();
    for (policy, vocabulary) in [house(|_| true), house(|crew| crew == 7)] {
        let read = parse_invariants("i.cedar", invariant, &vocabulary).unwrap();
        let one =
            prover.holds(&policy, &vocabulary, read.first().unwrap(), &["c7".to_owned()]).await.unwrap();
        let Proof::Holds { asked: questions } = one else { panic!("{one:?}") };
        asked.push(questions);
    }
    // Two actions that write, each by people and by programs.
    assert_eq!(asked, [4, 4]);
    // And one guard less is found in the crew it was for, and nowhere else.
    let (policy, vocabulary) = house(|_| true);
    let (without, _) = house(|crew| crew != 7);
    for (crew, holds) in [("c8", true), ("c17", false)] {
        let change = prover.narrows(&policy, &without, &vocabulary, &[crew.to_owned()]).await.unwrap();
        assert_eq!(matches!(change, Proof::Holds { .. }), holds, "{crew}: {change:?}");
    }
}
