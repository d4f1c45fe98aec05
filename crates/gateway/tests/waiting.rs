//! Every way a risky call may wait, and every way its waiting may end, through the whole gateway.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{fs, time::Duration};

use crewgate_runs::{RunFilter, RunLedger};
use house::{Answer, House, Plan, call, until};
use serde_json::{Value, json};

fn kickoff() -> Value {
    json!({ "inputs": { "employee_id": "E-2001" } })
}

async fn status(house: &House, run: &str) -> Answer {
    house.get(&format!("/payroll/status/{run}"), &house.alice()).await
}

/// The status once it says this.
async fn state(house: &House, run: &str, state: &str) -> Answer {
    until(&format!("state {state}"), async || {
        let answer = status(house, run).await;
        (answer.field("state") == state).then_some(answer)
    })
    .await
}

async fn decide(house: &House, id: &str, verdict: &str, reason: &str) -> Answer {
    let sheet = house.control("GET", &format!("/api/approvals/{id}"), &house.dora(), None).await;
    let body = json!({ "verdict": verdict, "digest": sheet.field("digest"), "reason": reason });
    house.control("POST", &format!("/api/approvals/{id}/decision"), &house.dora(), Some(body)).await
}

async fn only(house: &House) -> String {
    let rows = house.waiting().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.first().and_then(|row| row.get("id")).and_then(Value::as_str).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_is_answered_by_crewai_itself_once_it_is_approved() {
    let house = House::with(Plan { payroll: "hold = \"20s\"", ..Plan::default() }).await;
    let (address, token) = (house.data(), house.alice());
    let held =
        tokio::spawn(async move { call(address, "POST", "/payroll/kickoff", &token, Some(kickoff())).await });
    until("the call to wait", async || (house.waiting().await.len() == 1).then_some(())).await;
    assert_eq!(house.payroll.calls().kickoff, 0);
    house.approve().await;
    let answer = held.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(house.payroll.calls().kickoff, 1);
    state(&house, &answer.field("kickoff_id"), "SUCCESS").await;
    house::verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_times_out_becomes_a_ticket() {
    let house = House::with(Plan { payroll: "hold = \"200ms\"", ..Plan::default() }).await;
    let run = house.ask(&house.alice()).await;
    assert_eq!(status(&house, &run).await.field("state"), "PENDING");
    house.approve().await;
    state(&house, &run, "SUCCESS").await;
    assert_eq!(house.payroll.calls().kickoff, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_run_starts_without_its_owner_coming_back() {
    let house = House::with(Plan { payroll: "release = \"auto_run\"", ..Plan::default() }).await;
    let run = house.ask(&house.alice()).await;
    house.approve().await;
    // Nobody asks for the status: the gateway starts it by itself, once.
    until("the gateway to start it", async || (house.payroll.calls().kickoff == 1).then_some(())).await;
    state(&house, &run, "SUCCESS").await;
    assert_eq!(house.payroll.calls().kickoff, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_ends_the_ticket_with_its_reason_for_an_unmodified_client() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let answer = decide(&house, &only(&house).await, "deny", "not this quarter").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ended = state(&house, &run, "FAILED").await;
    for member in ["status", "result", "error"] {
        assert!(ended.field(member).contains("not this quarter"), "{member}: {}", ended.text());
    }
    assert_eq!(house.payroll.calls().kickoff, 0);
    // A verdict is for ever.
    let again = decide(&house, &ended_approval(&house).await, "approve", "on second thought").await;
    assert_eq!(again.status, 409, "{}", again.text());
}

/// The id of the one approval there ever was.
async fn ended_approval(house: &House) -> String {
    use crewgate_approval::{ApprovalStore, Filter};
    let all = ApprovalStore::list(house.running.store(), Filter::at(now())).await.unwrap();
    all.first().unwrap().id().to_string()
}

fn now() -> crewgate_core::Timestamp {
    std::time::SystemTime::now().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_requester_takes_back_never_runs() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let path = format!("/api/approvals/{}/cancel", only(&house).await);
    assert_eq!(house.control("POST", &path, &house.token("bob", &["analysts"]), None).await.status / 100, 4);
    assert_eq!(house.control("POST", &path, &house.alice(), None).await.status, 200);
    assert!(state(&house, &run, "FAILED").await.field("result").contains("taken back"));
    assert_eq!(house.payroll.calls().kickoff, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_nobody_decides_expires_by_itself() {
    let house =
        House::with(Plan { tables: "[approval]\nexpires = \"300ms\"\n".to_owned(), ..Plan::default() }).await;
    let run = house.ask(&house.alice()).await;
    assert!(state(&house, &run, "FAILED").await.field("result").contains("expired"));
    assert!(house.waiting().await.is_empty());
    assert_eq!(house.payroll.calls().kickoff, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_does_not_outlive_the_policy_that_asked_for_it() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let file = house.folder.path().join("policy/crews.cedar");
    let rules = fs::read_to_string(&file).unwrap();
    let stop = "\n@id(\"freeze\")\n@reason(\"payroll is frozen\")\nforbid (principal, action == Action::\"kickoff\", resource == Crew::\"payroll\");\n";
    fs::write(&file, format!("{rules}{stop}")).unwrap();
    house.approve().await;
    house.running.reload().await.unwrap();
    let ended = state(&house, &run, "FAILED").await;
    assert!(ended.field("result").contains("payroll is frozen"), "{}", ended.text());
    assert_eq!(house.payroll.calls().kickoff, 0);
    // A set that does not load keeps the running one.
    fs::write(&file, "permit (nonsense").unwrap();
    assert!(house.running.reload().await.is_err());
    assert_eq!(house.post("/payroll/kickoff", &house.alice(), kickoff()).await.field("rule"), "freeze");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_while_held_leaves_the_request_waiting() {
    let house = House::with(Plan { payroll: "hold = \"20s\"", ..Plan::default() }).await;
    let (address, token) = (house.data(), house.alice());
    let held =
        tokio::spawn(async move { call(address, "POST", "/payroll/kickoff", &token, Some(kickoff())).await });
    until("the call to wait", async || (house.waiting().await.len() == 1).then_some(())).await;
    held.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    house.approve().await;
    // It has an id already, though its owner never saw it: the next status of that run is the claim.
    let runs = house.running.store();
    let run = RunLedger::list(runs, RunFilter::default()).await.unwrap().first().unwrap().run.to_string();
    state(&house, &run, "SUCCESS").await;
    assert_eq!(house.payroll.calls().kickoff, 1);
}
