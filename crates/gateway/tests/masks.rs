//! Masks from outside: a run's numbers, who may see what they stand for, and that no value is left lying about.

mod house;

use crewgate_audit::{Phase, Query};
use crewgate_core::Fact;
use crewgate_testkit::Script;
use serde_json::{Value, json};

use house::{Answer, Ground, House, Plan, Serving, call, contains, until};

const MARIA: &str = "maria.keller@example.com";
const TOM: &str = "tom.brandt@example.org";

const MASKS: &str = r#"
[masking]
keys = [{ file = "mask.key" }]
[mask.desk]
find = { EMAIL = "number", US_SSN = "block" }
restore = ["data-owners"]
[mask.clean]
find = { CREDIT_CARD = "type" }
on_request = "refuse"
"#;

const POLICY: &str = r#"@id("all-run")
permit (principal, action, resource);
@id("desk")
@mask("desk")
forbid (principal, action, resource);
@id("clean")
@mask("clean")
forbid (principal, action == Action::"kickoff", resource);
"#;

async fn ground(result: &str) -> Ground {
    let ground = Ground::lay(Plan {
        support: "inputs.note = { type = \"text\" }",
        tables: MASKS.to_owned(),
        script: Some(Script::new().inputs(["topic", "note"]).result(result)),
        ..Plan::default()
    })
    .await;
    ground.folder.write("mask.key", "k".repeat(44));
    ground.folder.write("policy/crews.cedar", POLICY);
    ground
}

fn asked(note: &str) -> Value {
    json!({ "inputs": { "topic": "churn", "note": note } })
}

async fn finished(house: &House, token: &str, run: &str) -> Answer {
    until("SUCCESS", async || {
        let answer = house.get(&format!("/support/status/{run}"), token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.field("state") == "SUCCESS").then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_one_number_per_value_from_the_request_on_and_over_a_restart() {
    let house = House::start(ground(&format!("{{note}}; {TOM}, {MARIA}")).await).await;
    let alice = house.alice();
    let answer = house.post("/support/kickoff", &alice, asked(&format!("write to {MARIA}"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let run = answer.field("kickoff_id");
    let sent = house.support.kickoffs().remove(0).body;
    assert!(contains(&sent, "write to <EMAIL_1>") && !contains(&sent, MARIA), "{sent:?}");
    let result = finished(&house, &alice, &run).await.field("result");
    assert_eq!(result, "write to <EMAIL_1>; <EMAIL_2>, <EMAIL_1>");
    let ground = house.stop().await;
    assert!(!contains(&ground.folder.database(), "example.com"), "the database holds a value");
    let house = House::start(ground).await;
    let again = finished(&house, &alice, &run).await.field("result");
    assert_eq!(again, "write to <EMAIL_1>; <EMAIL_2>, <EMAIL_1>");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entitled_caller_sees_the_values_and_the_record_says_so_and_keeps_the_tokens() {
    let house = House::start(ground(&format!("{{note}}; {TOM}")).await).await;
    let dora = house.token("dora", &["data-owners"]);
    let run = house.post("/support/kickoff", &dora, asked(MARIA)).await.field("kickoff_id");
    let answer = finished(&house, &dora, &run).await;
    assert_eq!(answer.field("result"), format!("{MARIA}; {TOM}"));
    let request = answer.header("request-id").unwrap().parse().unwrap();
    let record = until("all of the call on the record", async || {
        let found = house.entries(Query::request(request)).await;
        found.iter().any(|entry| entry.phase == Phase::Outcome).then_some(found)
    })
    .await;
    let facts: Vec<&Fact> = record.iter().flat_map(|entry| &entry.facts).collect();
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Restored { .. })), "{facts:?}");
    let outcome = record.iter().find(|entry| entry.phase == Phase::Outcome).unwrap();
    let masked = |fact: &Fact| matches!(fact, Fact::Masked { hits, .. } if hits.contains_key("EMAIL"));
    assert!(outcome.facts.iter().any(masked), "{outcome:?}");
    let told: Vec<u8> = outcome.frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
    assert!(!contains(&told, "example.org"), "the record holds a value");
    assert!(contains(&told, "<EMAIL_1>; <EMAIL_2>"), "{}", String::from_utf8_lossy(&told));
    let ground = house.stop().await;
    assert!(!contains(&ground.folder.database(), "example.org"), "the database holds a value");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_profile_refuses_or_blocks_does_not_pass() {
    let house = House::start(ground("the number is 536-90-4399").await).await;
    let alice = house.alice();
    let answer = house.post("/support/kickoff", &alice, asked("pay with 4111 1111 1111 1111")).await;
    assert_eq!(answer.refusal(), (422, "request_blocked".to_owned()));
    let answer = house.post("/support/kickoff", &alice, asked("for 536-90-4399")).await;
    assert_eq!(answer.refusal(), (422, "request_blocked".to_owned()));
    assert_eq!(house.support.kickoffs().len(), 0, "nothing was sent");
    let run = house.post("/support/kickoff", &alice, asked("hello")).await.field("kickoff_id");
    let path = format!("/support/status/{run}");
    let answer = until("a blocked answer", async || {
        let answer = house.get(&path, &alice).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.refusal(), (403, "answer_blocked".to_owned()));
    assert!(!answer.text().contains("4399"), "{}", answer.text());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_hits_by_entity_and_hold_no_value() {
    let ground = ground(&format!("{TOM} {MARIA}")).await;
    let serving = Serving::start(&ground.config);
    let (data, ops, alice) = (serving.address("data"), serving.address("ops"), ground.alice());
    let answer = call(data, "POST", "/support/kickoff", &alice, Some(asked(MARIA))).await;
    let path = format!("/support/status/{}", answer.field("kickoff_id"));
    until("SUCCESS", async || {
        (call(data, "GET", &path, &alice, None).await.field("state") == "SUCCESS").then_some(())
    })
    .await;
    let metrics = until("the count", async || {
        let text = call(ops, "GET", "/metrics", "", None).await.text();
        let line = text.lines().find(|line| line.starts_with("crewgate_masked") && line.contains("EMAIL"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        count.is_some_and(|count| count >= 3.0).then(|| text.clone())
    })
    .await;
    assert!(!metrics.contains("example.") && !metrics.contains("note"), "{metrics}");
    assert_eq!(serving.terminate(), Some(0));
}
