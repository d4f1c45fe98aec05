//! What a person answers to a run or a flow: by whom, with whose agreement, and what the crew then hears.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use crewgate_testkit::Script;
use house::{Ground, House, Plan, until, verifies};
use http::Method;
use serde_json::{Value, json};

const RULES: &str = r#"
@id("analysts-answer-flows")
permit (principal in Role::"analysts", action == Action::"feedback", resource == Crew::"support");

@id("who-started-it-does-not-answer-it")
forbid (principal, action in [Action::"resume", Action::"feedback"], resource == Crew::"support")
when { context has is_owner && context.is_owner };
"#;

const AGREED: &str = r#"
@id("answers-need-a-data-owner")
@approval("data-owners")
forbid (principal, action == Action::"feedback", resource == Crew::"support");
"#;

/// Alice and Alina are one human; Bob is another.
async fn house(rules: &[&str]) -> House {
    let answers = json!({ "status": "resumed" });
    let script = Script::new().human_input("Draft").answers(Method::POST, "/resume_feedback", answers);
    let people = "[[person]]\nname = \"alice\"\nidentities = [\"dev:alice\", \"dev:alina\"]\n";
    let plan = Plan {
        support: "runs = \"shared\"\nhuman_input = true",
        script: Some(script),
        tables: people.to_owned(),
        ..Plan::default()
    };
    let ground = Ground::lay(plan).await;
    ground.folder.write("policy/answers.cedar", rules.concat());
    House::start(ground).await
}

/// A run of Alice's: its id.
async fn started(house: &House) -> String {
    let body = json!({ "inputs": { "topic": "churn" } });
    let answer = house.post("/support/kickoff", &house.alice(), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.field("kickoff_id")
}

/// What flows of the crew were answered.
fn heard(house: &House) -> Vec<Value> {
    let calls = house.support.received();
    let feedback = calls.iter().filter(|call| call.path == "/resume_feedback");
    feedback.map(|call| serde_json::from_slice(&call.body).unwrap()).collect()
}

fn feedback(run: &str) -> Value {
    json!({ "flow_id": run, "feedback": "approved" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_answered_by_another_human_than_who_started_it() {
    let house = house(&[RULES]).await;
    let run = started(&house).await;
    let (alina, bob) = (house.token("alina", &["analysts"]), house.token("bob", &["analysts"]));
    let path = "/support/resume_feedback";
    // Not by whoever started it; to another identity of theirs it does not exist; a data owner may not answer.
    assert_eq!(house.post(path, &house.alice(), feedback(&run)).await.refusal().0, 403);
    assert_eq!(house.post(path, &alina, feedback(&run)).await.refusal(), (404, "run_unknown".to_owned()));
    assert_eq!(house.post(path, &house.dora(), feedback(&run)).await.refusal().0, 403);
    assert_eq!(house.post(path, "", feedback(&run)).await.status, 401);
    // A flow nobody started here is nobody's.
    let stray = feedback("00000000-0000-4000-8000-000000000001");
    assert_eq!(house.post(path, &bob, stray).await.refusal(), (404, "run_unknown".to_owned()));
    assert!(heard(&house).is_empty());

    let answer = house.post(path, &bob, feedback(&run)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let upstream = house.support.run_ids();
    assert_eq!(heard(&house), [json!({ "flow_id": upstream.first().unwrap(), "feedback": "approved" })]);
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flow_is_answered_waits_for_agreement_and_is_sent_once() {
    let house = house(&[RULES, AGREED]).await;
    let run = started(&house).await;
    let bob = house.token("bob", &["analysts"]);
    let answer = house.post("/support/resume_feedback", &bob, feedback(&run)).await;
    assert_eq!(answer.refusal(), (202, "approval_pending".to_owned()));
    let place = answer.header("location").unwrap().to_owned();
    assert!(heard(&house).is_empty());
    house.approve().await;
    let last = until("the outcome", async || {
        let answer = house.get(&place, &bob).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(last.field("status"), "resumed", "{}", last.text());
    house.get(&place, &bob).await;
    assert_eq!(heard(&house).len(), 1);
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_of_who_started_a_run_does_not_answer_it_either() {
    let house = house(&[RULES]).await;
    let run = started(&house).await;
    let paused = until("the task that waits", async || {
        let answer = house.get(&format!("/support/status/{run}"), &house.alice()).await;
        (answer.field("state") == "PAUSED" && !answer.field("task_id").is_empty()).then_some(answer)
    })
    .await;
    let body = json!({
        "execution_id": paused.field("execution_id"),
        "task_id": paused.field("task_id"),
        "human_feedback": "fine",
        "is_approve": true,
    });
    let resume = async |token: &str| house.post("/support/resume", token, body.clone()).await;
    let alina = house.token("alina", &["analysts"]);
    assert_eq!(resume(&house.alice()).await.refusal().0, 403);
    assert_eq!(resume(&alina).await.refusal(), (404, "run_unknown".to_owned()));
    assert_eq!(house.support.calls().resume, 0);
    let bob = resume(&house.token("bob", &["analysts"])).await;
    assert_eq!((bob.status, house.support.calls().resume), (200, 1), "{}", bob.text());
}
