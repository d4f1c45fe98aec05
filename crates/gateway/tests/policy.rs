//! `crewgate policy …`, on the worked example of the guide and on what a gateway has recorded; every example in the guide
//! is run.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(unused_imports, dead_code, reason = "each test crate uses its part of the support module")]

mod guide;
mod house;

use std::{fs, path::Path};

use guide::{Example, cvc5};
use house::{Ground, House, Plan};
use serde_json::{Value, json};

#[test]
fn every_example_of_the_guide_does_what_the_guide_says() {
    let example = Example::new();
    let text = fs::read_to_string(guide::docs().join("policy.md")).unwrap();
    let ran = guide::run(&text, &example);
    assert!(ran.cedar >= 5 && ran.cases >= 1 && ran.commands >= 8, "{ran:?}");
}

#[test]
fn the_six_policies_pass_their_tests_their_lints_and_their_layout() {
    let example = Example::new();
    let report = example.json(&["policy", "test"], 0);
    assert_eq!(report["failed"], json!([]));
    assert!(report["cases"].as_u64().unwrap() >= 20);
    assert_eq!(example.json(&["policy", "lint"], 0)["findings"], json!([]));
    assert_eq!(example.json(&["policy", "fmt", "--check"], 0)["changed"], json!([]));
}

#[test]
fn the_hole_in_the_six_policies_is_found_and_mended() {
    let Some(cvc5) = cvc5() else { return };
    let example = Example::new();
    let broken = |report: &Value| -> Vec<Value> {
        let proofs = report["proofs"].as_array().unwrap().iter();
        proofs.filter(|proof| proof["result"]["proof"] == "broken").cloned().collect()
    };
    let report = example.json(&["policy", "prove", "--cvc5", &cvc5], 1);
    let found = broken(&report);
    let [hole] = found.as_slice() else { panic!("{report:#}") };
    assert_eq!(hole["invariant"], "interns-ask-a-lead");
    let request = &hole["result"]["request"];
    assert_eq!(request["roles"], json!(["hr-partners", "interns"]));
    assert_eq!((&request["crew"], &request["fleets"]), (&json!("market-research"), &json!(["hr"])));
    assert_eq!(hole["result"]["by"], json!(["hr-run", "interns-rate"]));
    assert_eq!(hole["result"]["answer"]["outcome"], "allow");

    let before = example.copy_policy("before");
    example.mend();
    let report = example.json(&["policy", "prove", "--cvc5", &cvc5, "--against", &before], 0);
    assert_eq!(broken(&report), Vec::<Value>::new());
    assert!(report["proofs"].as_array().unwrap().iter().any(|proof| proof["change"] == "not wider"));
    // The tests hold as before: the mend asks nobody who was not asked.
    assert_eq!(example.json(&["policy", "test"], 0)["failed"], json!([]));
    // And taking the mend back is a widening only where it was needed: with that crew in that fleet.
    example.configure("fleet = [\"prod\"]\ninputs.dataset", "fleet = [\"prod\", \"hr\"]\ninputs.dataset");
    let policy = example.path().join("policy").display().to_string();
    let report =
        example.json(&["policy", "prove", "--cvc5", &cvc5, "--policy", &before, "--against", &policy], 1);
    let change =
        report["proofs"].as_array().unwrap().iter().find(|proof| proof["change"] == "wider").unwrap();
    assert_eq!(change["result"]["before"]["outcome"], "ask");
    assert_eq!(change["result"]["answer"]["outcome"], "allow");
    assert_eq!(change["result"]["request"]["crew"], "market-research");
}

#[test]
fn a_proof_without_a_solver_says_what_to_do() {
    let example = Example::new();
    let (code, _, error) = example.run(&["policy", "prove", "--cvc5", "/nonexistent/cvc5"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("apt-get install cvc5"), "{error}");
}

#[test]
fn an_invariant_about_nothing_is_a_mistake_with_a_place() {
    let Some(cvc5) = cvc5() else { return };
    let example = Example::new();
    for (word, wrong, help) in [
        ("Crew::\"market-research\"", "Crew::\"market-reserch\"", "did you mean `market-research`?"),
        ("Role::\"interns\"", "Role::\"intern\"", "did you mean `interns`?"),
        ("approval:marketing-leads", "approval:marketing-lead", "approval:<set>"),
        ("@fleets", "@fleet", "unknown annotation"),
        ("Action::\"kickoff\"", "Action::\"kickof\"", "kickof"),
    ] {
        let file = example.path().join("policy/invariants/interns.cedar");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace(word, wrong)).unwrap();
        let (code, _, error) = example.run(&["policy", "prove", "--cvc5", &cvc5]);
        assert_eq!(code, 2, "{wrong}: {error}");
        assert!(error.contains("interns.cedar:") && error.contains(help), "{error}");
        fs::write(&file, text).unwrap();
    }
}

#[test]
fn a_test_that_fails_points_at_its_line_and_keeps_the_rules_from_loading() {
    let example = Example::new();
    let file = example.path().join("policy/tests/hr.toml");
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line.contains("payroll data waits")).unwrap();
    fs::write(&file, text.replace("approvals = [\"hr-data-owners\"]", "approvals = [\"marketing-leads\"]"))
        .unwrap();
    let (code, out, _) = example.run(&["policy", "test"]);
    assert_eq!(code, 1);
    assert!(
        out.contains(&format!(
            "policy/tests/hr.toml:{line}:1\n  - expected ask marketing-leads\n  + decided  ask hr-data-owners"
        )),
        "{out}"
    );
    // `tests = "on-load"`: the same rules do not load.
    let (code, _, error) = example.check();
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("the test `payroll data waits for its owners` fails"), "{error}");
    example.configure("tests = \"on-load\"", "tests = \"on-demand\"");
    assert_eq!(example.check().0, 0);
}

#[test]
fn lints_formatting_and_questions_that_cannot_be_asked_end_with_their_codes() {
    let example = Example::new();
    let file = example.path().join("policy/more.cedar");
    fs::write(&file, "@id(\"more\")\nforbid (principal, action == Action::\"kickoff\", resource in Fleet::\"hr\")\nunless { context.mfa }\nunless { context.hour < 5 };\n").unwrap();
    let report = example.json(&["policy", "lint"], 1);
    let found: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["lint"].as_str().unwrap(), f["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(found, [("guard-without-reason", 2), ("unless-unless", 4)]);
    assert_eq!(example.json(&["policy", "fmt", "--check"], 1)["changed"], json!(["policy/more.cedar"]));
    assert_eq!(example.json(&["policy", "fmt"], 0)["changed"], json!(["policy/more.cedar"]));
    assert_eq!(example.json(&["policy", "fmt", "--check"], 0)["changed"], json!([]));
    for arguments in [
        ["policy", "who-can", "kickof", "payroll"],
        ["policy", "who-can", "kickoff", "payrol"],
        ["policy", "explain", "kickoff", "payrol"],
        ["policy", "explain", "--case", "nowhere.toml"],
        ["policy", "diff", "policy", "nowhere"],
    ] {
        let (code, _, error) = example.run(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
    }
}

/// Two rule folders on what a real gateway recorded: calls that were allowed, asked and refused, and one whose input
/// the record does not show.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_are_asked_of_other_rules_and_hidden_inputs_are_not_guessed() {
    let house = House::open().await;
    let topic = |topic: &str| json!({ "inputs": { "topic": topic } });
    let allowed = house.post("/support/kickoff", &house.alice(), topic("churn")).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    let bob = house.token("bob", &["interns"]);
    let refused = house.post("/support/kickoff", &bob, topic("prices")).await;
    assert_eq!(refused.status, 403);
    let hidden = house.post("/support/kickoff", &house.alice(), topic("write to jane.doe@example.com")).await;
    assert_eq!(hidden.status, 200, "{}", hidden.text());
    house.ask(&house.alice()).await;
    house.get("/support/inputs", "").await;
    let id = |answer: &house::Answer| answer.header("request-id").unwrap().to_owned();
    let (allowed, refused, hidden) = (id(&allowed), id(&refused), id(&hidden));
    let ground = house.stop().await;

    let old = ground.folder.path().join("policy").display().to_string();
    let text = fs::read_to_string(ground.folder.path().join("policy/crews.cedar")).unwrap();
    let without_approval = text.replace("@approval(\"data-owners\")\nforbid", "@mask(\"secrets\")\nforbid");
    let strict = format!(
        "{without_approval}\n@id(\"no-churn\")\nforbid (principal, action == Action::\"kickoff\", resource == Crew::\"support\")\nwhen {{ context.input has topic && context.input.topic == \"churn\" }};\n"
    );
    assert_ne!(without_approval, text);
    ground.folder.write("new/crews.cedar", strict);
    let new = ground.folder.path().join("new").display().to_string();
    let config = ground.config.display().to_string();
    let report = guide::json(ground.folder.path(), &["policy", "diff", "--config", &config, &old, &new], 1);
    let differ = report["differ"].as_array().unwrap();
    let rows: Vec<_> =
        differ.iter().map(|row| (row["change"].as_str().unwrap(), row["of"].as_str().unwrap())).collect();
    assert!(rows.contains(&("newly_denied", &allowed)), "{report:#}");
    assert!(rows.iter().any(|(change, _)| *change == "newly_allowed"), "{report:#}");
    assert!(!rows.iter().any(|(_, of)| *of == refused || *of == hidden), "{report:#}");
    assert_eq!(report["undecidable"], json!({ "not on the record: topic": 1 }));
    assert_eq!(
        guide::json(ground.folder.path(), &["policy", "diff", "--config", &config, &old, &old], 0)["differ"],
        json!([])
    );

    let told = |id: &str, code| {
        guide::json(ground.folder.path(), &["policy", "explain", "--config", &config, "--request", id], code)
    };
    assert_eq!(told(&allowed, 0)["answer"]["outcome"], "allow");
    let story = told(&refused, 0);
    assert_eq!(story["answer"]["outcome"], "refuse");
    let with: Vec<_> =
        story["alternatives"].as_array().unwrap().iter().map(|a| a["with"][0].as_str().unwrap()).collect();
    assert_eq!(with, ["with role analysts"]);
    let (code, _, error) = guide::crewgate(
        ground.folder.path(),
        &["policy", "explain", "--config", &config, "--request", &hidden],
    );
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("not on the record: topic"), "{error}");
}

#[test]
fn who_can_names_the_holders_through_nested_roles_too() {
    let example = Example::new();
    example.configure(
        "[[role]]\nname = \"marketing-leads\"\n",
        "[[role]]\nname = \"marketing-leads\"\nincludes = [\"marketing-analysts\"]\n",
    );
    let report = example.json(&["policy", "who-can", "kickoff", "market-research"], 0);
    let rows = report["access"].as_array().unwrap();
    let analysts = rows.iter().find(|row| row["role"] == "marketing-analysts").unwrap();
    assert_eq!(
        analysts["holders"],
        json!(["group okta:marketing", "group okta:marketing-leads through marketing-leads"])
    );
}
