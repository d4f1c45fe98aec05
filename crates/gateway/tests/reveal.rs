//! What is masked for approvers and decides all the same: seen by who says yes, and on the record.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::process::Output;

use crewgate_audit::{Phase, Query};
use crewgate_core::Fact;
use house::{Answer, House, said, verifies};
use serde_json::{Value, json};

const MAIL: &str = "ana@acme.example.com";

/// Asks for a run of payroll about somebody whose id is an address.
async fn asked(house: &House) -> (String, Value) {
    let body = json!({ "inputs": { "employee_id": MAIL } });
    let answer = house.post("/payroll/kickoff", &house.alice(), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sheet = house.sheet().await;
    (sheet.get("id").and_then(Value::as_str).unwrap().to_owned(), sheet)
}

impl House {
    async fn say(&self, token: &str, id: &str, what: &str, body: Value) -> Answer {
        self.control("POST", &format!("/api/approvals/{id}/{what}"), token, Some(body)).await
    }

    async fn command(&self, token: &str, arguments: &[&str]) -> Output {
        let console = format!("http://{}", self.running.console().unwrap());
        let environment = [("CREWGATE_CONSOLE", console.as_str()), ("CREWGATE_TOKEN", token)];
        house::crewgate_in(&environment, self.folder.path(), arguments, "")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_says_yes_to_what_rules_decide_on_before_they_have_seen_it() {
    let house = House::open().await;
    let (id, sheet) = asked(&house).await;
    assert_eq!(sheet.pointer("/outgoing/hidden_inputs"), Some(&json!(["employee_id"])), "{sheet}");
    assert_eq!(
        (sheet.get("may_decide"), sheet.get("may_approve")),
        (Some(&json!(true)), Some(&json!(false)))
    );
    assert!(!sheet.to_string().contains(MAIL), "{sheet}");
    let digest = sheet.get("digest").unwrap();
    let yes = json!({ "verdict": "approve", "digest": digest });
    let (dora, dan) = (house.dora(), house.token("dan", &["data-owners"]));
    assert_eq!(
        house.say(&dora, &id, "decision", yes.clone()).await.refusal(),
        (409, "reveal_needed".to_owned())
    );
    // Only who may decide sees it, and of the request they have read.
    let look = json!({ "digest": digest });
    let refused = house.say(&house.alice(), &id, "reveal", look.clone()).await.refusal();
    assert_eq!(refused, (403, "not_eligible".to_owned()));
    let other = json!({ "digest": "0".repeat(64) });
    assert_eq!(house.say(&dora, &id, "reveal", other).await.refusal(), (409, "digest_mismatch".to_owned()));
    let seen = house.say(&dora, &id, "reveal", look).await;
    assert_eq!((seen.status, seen.json()), (200, json!({ "inputs": { "employee_id": MAIL } })));
    let looks = house.entries(Query::default().phase(Phase::Access)).await;
    let by: Vec<String> = looks
        .iter()
        .flat_map(|entry| &entry.facts)
        .filter_map(|fact| match fact {
            Fact::Control { by: Some(by), what } if what == "access.reveal" => Some(by.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(by, ["dev:dora"], "the one who saw it, once");
    // What she has seen, nobody else has.
    assert_eq!(
        house.say(&dan, &id, "decision", yes.clone()).await.refusal(),
        (409, "reveal_needed".to_owned())
    );
    assert_eq!(house.say(&dora, &id, "decision", yes).await.status, 200);
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_needs_no_look_and_the_commands_do_as_the_api_does() {
    let house = House::open().await;
    let (id, sheet) = asked(&house).await;
    let digest = sheet.get("digest").and_then(Value::as_str).unwrap();
    let (alice, dora) = (house.alice(), house.dora());
    let approve = ["approvals", "approve", &id, "--digest", digest];
    let refused = house.command(&dora, &approve).await;
    assert!(!refused.status.success() && said(&refused).contains("reveal"), "{}", said(&refused));
    let seen = house.command(&dora, &["approvals", "reveal", &id, "--digest", digest]).await;
    assert!(seen.status.success() && said(&seen).contains(MAIL), "{}", said(&seen));
    let back = house.command(&dora, &["approvals", "cancel", &id]).await;
    assert!(!back.status.success(), "it is not hers: {}", said(&back));
    let back = house.command(&alice, &["approvals", "cancel", &id]).await;
    assert!(back.status.success() && said(&back).contains("cancelled"), "{}", said(&back));

    let (id, sheet) = asked(&house).await;
    let no = json!({ "verdict": "deny", "digest": sheet.get("digest") });
    assert_eq!(house.say(&dora, &id, "decision", no).await.status, 200);
}
