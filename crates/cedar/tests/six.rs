//! Six policies a company would write, in ten rules, and what they decide.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use crewgate_core::{Decision, PrincipalKey, PrincipalKind, RoleName, RuleId};
use support::{Ask, brief, vocabulary};

const PERMITS: &str = r#"
// 1. Marketing analysts run the market research crew.
@id("mkt-run")
permit (
  principal in Role::"marketing-analysts",
  action in [Action::"inputs", Action::"kickoff", Action::"status"],
  resource == Crew::"market-research"
);

// 4. The nightly job starts its own crew, at night.
@id("nightly-window")
permit (
  principal == Service::"ci:nightly",
  action == Action::"kickoff",
  resource == Crew::"nightly-report"
)
when { context.hour >= 1 && context.hour < 5 };

// 5a. Support may look at runs of customer crews (masked, see guards).
@id("support-read")
permit (principal in Role::"support", action in Action::"read", resource in Fleet::"customer");

// 6a. Interns may start market research once a lead has approved this very run.
@id("interns-research")
@approval("marketing-leads")
permit (principal in Role::"interns", action == Action::"kickoff", resource == Crew::"market-research");

// Human resources run their crews (2 guards the payroll data).
@id("hr-run")
permit (principal in Role::"hr-partners", action in [Action::"kickoff", Action::"status"], resource in Fleet::"hr");

// Operators run customer crews.
@id("operators-run")
permit (principal in Role::"operators", action in Action::"write", resource in Fleet::"customer");
"#;

const GUARDS: &str = r#"
// 2. Payroll data only after the data owners approved.
@id("hr-payroll-approval")
@approval("hr-data-owners")
forbid (principal, action == Action::"kickoff", resource in Fleet::"hr")
when { context.input has dataset && context.input.dataset like "hr_payroll*" };

// 3. People change production only with MFA and a sign-in younger than 8 hours.
@id("prod-fresh-mfa")
@reason("Sign in again with MFA: production needs a session younger than 8 hours.")
forbid (principal is User, action in Action::"write", resource in Fleet::"prod")
unless { context.mfa && context.token_age < 28800 };

// 5b. Customer data is masked for everyone but privacy officers.
@id("customer-mask")
@mask("pii-basic")
forbid (principal, action in Action::"read", resource in Fleet::"customer")
unless { principal in Role::"privacy-officers" };

// 6b. Interns: small bodies, ten starts an hour.
@id("interns-size")
@reason("Requests of interns are limited to 16 KB.")
forbid (principal in Role::"interns", action in Action::"write", resource)
when { context.body_bytes > 16384 };

@id("interns-rate")
@rate("10/h")
forbid (principal in Role::"interns", action in Action::"write", resource);
"#;

fn six() -> crewgate_cedar::CedarPolicy {
    let files = [("permits.cedar", PERMITS), ("guards.cedar", GUARDS)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    crewgate_cedar::CedarPolicy::load(files, &vocabulary()).unwrap()
}

fn nightly(hour: i64) -> Ask {
    Ask::new(&[], "kickoff", "nightly-report").with(|ask| {
        ask.principal.key = PrincipalKey::new("ci", "nightly");
        ask.principal.kind = PrincipalKind::Service;
        ask.now = crewgate_core::Timestamp::from_secs(1_781_481_600 + hour * 3600);
    })
}

#[test]
fn each_case_is_decided_as_its_author_reads_it() {
    let policy = six();
    let research = |roles: &[&str], action| Ask::new(roles, action, "market-research");
    let cases = [
        // 1
        (research(&["marketing-analysts"], "kickoff"), "allow []"),
        (research(&["marketing-analysts"], "status"), "allow []"),
        (research(&["marketing-analysts"], "resume"), "refuse"),
        (Ask::new(&["marketing-analysts"], "kickoff", "payroll"), "refuse"),
        (research(&[], "kickoff"), "refuse"),
        // 2
        (Ask::new(&["hr-partners"], "kickoff", "payroll"), "allow []"),
        (Ask::new(&["hr-partners"], "kickoff", "payroll").dataset("hr_staff"), "allow []"),
        (
            Ask::new(&["hr-partners"], "kickoff", "payroll").dataset("hr_payroll_2026"),
            "ask hr-data-owners [approval:hr-data-owners]",
        ),
        (
            Ask::new(&["hr-partners"], "kickoff", "payroll")
                .dataset("hr_payroll")
                .approved(&["hr-data-owners"]),
            "allow [approval:hr-data-owners]",
        ),
        (
            Ask::new(&["hr-partners"], "kickoff", "payroll")
                .dataset("hr_payroll")
                .approved(&["marketing-leads"]),
            "ask hr-data-owners [approval:hr-data-owners]",
        ),
        // Approved by the owners or not: who has no permit is refused, and nobody is asked.
        (
            Ask::new(&["support"], "kickoff", "payroll").dataset("hr_payroll").approved(&["hr-data-owners"]),
            "refuse",
        ),
        // 3
        (Ask::new(&["operators"], "kickoff", "customer-care"), "allow []"),
        (
            Ask::new(&["operators"], "kickoff", "customer-care").with(|ask| ask.principal.token.mfa = false),
            "refuse prod-fresh-mfa",
        ),
        (
            Ask::new(&["operators"], "resume", "customer-care").with(|ask| {
                ask.now = ask.principal.token.issued.saturating_add(std::time::Duration::from_secs(28800));
            }),
            "refuse prod-fresh-mfa",
        ),
        // 4
        (nightly(0), "refuse"),
        (nightly(1), "allow []"),
        (nightly(4), "allow []"),
        (nightly(5), "refuse"),
        (nightly(1).with(|ask| ask.principal.kind = PrincipalKind::User), "refuse"),
        // 5
        (Ask::new(&["support"], "status", "customer-care"), "allow [mask:pii-basic]"),
        (Ask::new(&["support", "privacy-officers"], "status", "customer-care"), "allow []"),
        (Ask::new(&["privacy-officers"], "status", "customer-care"), "refuse"),
        (Ask::new(&["support"], "kickoff", "customer-care"), "refuse"),
        // 6
        (
            research(&["interns"], "kickoff"),
            "ask marketing-leads [approval:marketing-leads interns-rate:10/h]",
        ),
        (
            research(&["interns"], "kickoff").approved(&["marketing-leads"]),
            "allow [approval:marketing-leads interns-rate:10/h]",
        ),
        (
            research(&["interns"], "kickoff").with(|ask| ask.operation.body_bytes = 16385),
            "refuse interns-size",
        ),
        // An active permit beats an eligible one; the guard on interns stays.
        (research(&["interns", "marketing-analysts"], "kickoff"), "allow [interns-rate:10/h]"),
    ];
    for (index, (ask, expected)) in cases.iter().enumerate() {
        assert_eq!(brief(&ask.of(&policy)), *expected, "case {index}: {ask:?}");
    }
}

#[test]
fn a_decision_names_the_rules_and_roles_it_rests_on() {
    let policy = six();
    let ask = Ask::new(&["support", "operators"], "status", "customer-care");
    let decision = ask.of(&policy);
    let basis = decision.basis();
    assert_eq!(basis.rules, ["customer-mask", "support-read"].map(RuleId::new).into());
    assert_eq!(basis.roles, [RoleName::new("support")].into());
    assert_eq!(basis.policy.as_ref(), Some(policy.hash()));
}

#[test]
fn a_guard_gives_its_reason_and_a_missing_permit_none() {
    let policy = six();
    let refused = Ask::new(&["interns"], "kickoff", "market-research")
        .with(|ask| ask.operation.body_bytes = 1 << 20)
        .of(&policy);
    let Decision::Refuse { reason, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(reason, "Requests of interns are limited to 16 KB.");
    // A stranger learns nothing of the guards: same words, no rule.
    let stranger = Ask::new(&[], "kickoff", "payroll").with(|ask| ask.operation.body_bytes = 1 << 20);
    let Decision::Refuse { rule, reason, hints, basis } = stranger.of(&policy) else { panic!() };
    assert_eq!((rule, reason.as_str(), basis.rules.len()), (None, "Not permitted.", 0));
    assert!(hints.is_empty());
}

#[test]
fn an_explanation_shows_what_matched_and_what_the_rules_could_read() {
    let policy = six();
    let ask = Ask::new(&["interns"], "kickoff", "market-research").dataset("x");
    let explanation = policy.explain(&ask.query());
    assert_eq!(explanation.decision, ask.of(&policy));
    assert_eq!(explanation.permits, [RuleId::new("interns-research")]);
    assert_eq!(explanation.guards, [RuleId::new("interns-rate")]);
    let fact =
        |name: &str| explanation.facts.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!((fact("hour"), fact("weekday"), fact("roles")), (Some("12"), Some("1"), Some("interns")));
    assert_eq!(fact("input.dataset"), Some("String(\"x\")"));
}

#[test]
fn an_owner_is_told_from_others() {
    let policy = support::load(
        r#"@id("own-runs") permit (principal, action == Action::"status", resource)
           when { context has is_owner && context.is_owner };"#,
    )
    .unwrap();
    let ask = |owner: Option<&str>| {
        let owner = owner.map(|subject| PrincipalKey::new("okta", subject));
        let ask = Ask::new(&[], "status", "payroll").with(|ask| ask.operation.owner = owner);
        brief(&ask.of(&policy))
    };
    assert_eq!(
        (ask(Some("alice")), ask(Some("bob")), ask(None)),
        ("allow []".into(), "refuse".into(), "refuse".into())
    );
}
