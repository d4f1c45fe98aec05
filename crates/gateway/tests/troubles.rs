//! CrewAI down, slow, cut, babbling; callers who hang up. Each has its clear answer, and the record says what is known
//! about whether anything was sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use std::time::Duration;

use crewgate_audit::{AuditStore, Entry, Phase, Query};
use crewgate_core::{ApprovalStep, Ending, Fact};
use crewgate_runs::{RunFilter, RunLedger};
use crewgate_testkit::Trouble;
use serde_json::{Value, json};

use house::{Answer, House, Plan, Wire, refusals, request, unanswered, until};

async fn kickoff(house: &House) -> Answer {
    house.post("/support/kickoff", &house.alice(), json!({ "inputs": { "topic": "churn" } })).await
}

/// The call is refused like this; the record has the intent and the same refusal behind it.
async fn refused(house: &House, answer: &Answer, status: u16, code: &str) -> Vec<Entry> {
    assert_eq!(answer.refusal(), (status, code.to_owned()), "{}", answer.text());
    let record = until("the outcome", async || {
        let record = house.record(answer).await;
        record.iter().any(|entry| entry.phase == Phase::Outcome).then_some(record)
    })
    .await;
    let phases: Vec<Phase> = record.iter().map(|entry| entry.phase).collect();
    assert_eq!(phases, [Phase::Intent, Phase::Outcome]);
    assert_eq!(refusals(&record), [(status, code.to_owned())]);
    assert!(house.running.store().open_intents(10).await.unwrap().is_empty());
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_that_is_down_is_a_502_and_nothing_was_sent() {
    let house = House::open().await;
    house.support.go_down().await;
    let answer = kickoff(&house).await;
    let record = refused(&house, &answer, 502, "upstream_unreachable").await;
    assert_eq!(unanswered(&record), [("upstream_unreachable".to_owned(), false)]);
    house.support.come_up().await.unwrap();
    assert_eq!(kickoff(&house).await.status, 200, "it goes on when the crew is back");
    assert_eq!(house.support.calls().kickoff, 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_that_is_slow_is_a_504_and_may_have_acted() {
    let house = House::with(Plan { support: "timeout = \"300ms\"", ..Plan::default() }).await;
    house.support.set_delay(Duration::from_secs(20));
    let answer = kickoff(&house).await;
    let record = refused(&house, &answer, 504, "upstream_timeout").await;
    assert_eq!(unanswered(&record), [("upstream_timeout".to_owned(), true)]);
    assert_eq!(house.support.calls().kickoff, 1, "it is not sent again by itself");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_in_the_middle_is_a_502_and_none_of_it_is_passed_on() {
    let house = House::open().await;
    house.support.set_trouble(Trouble::Cut);
    let answer = kickoff(&house).await;
    let record = refused(&house, &answer, 502, "upstream_cut").await;
    assert_eq!(unanswered(&record), [("upstream_cut".to_owned(), true)]);
    assert_eq!(house.support.calls().kickoff, 1, "it is not sent again by itself");
    let run = house.support.run_ids();
    assert!(run.iter().all(|id| !answer.text().contains(id)));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_a_502_and_not_passed_on() {
    let house = House::open().await;
    house.support.set_trouble(Trouble::Html);
    let answer = kickoff(&house).await;
    refused(&house, &answer, 502, "upstream_not_json").await;
    assert!(!answer.text().contains("doctype"));
    let answer = house.get("/support/inputs", &house.alice()).await;
    refused(&house, &answer, 502, "upstream_not_json").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_in_plain_text_stays_an_error() {
    let house = House::open().await;
    house.support.set_trouble(Trouble::Error);
    let answer = kickoff(&house).await;
    assert!(answer.status >= 500, "{} {}", answer.status, answer.text());
    let record = until("the outcome", async || {
        let record = house.record(&answer).await;
        record.iter().any(|entry| entry.phase == Phase::Outcome).then_some(record)
    })
    .await;
    let mut answered = record.iter().flat_map(|entry| &entry.facts);
    assert!(answered.any(|fact| *fact == Fact::Answered { status: 500 }), "{record:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_ends_is_ended() {
    let house = House::open().await;
    house.support.set_trouble(Trouble::Endless);
    let answer = kickoff(&house).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let code = answer.field("code");
    refused(&house, &answer, 502, &code).await;
    assert_eq!(code, "upstream_too_large");
    house.stop().await;
}

/// The ticket's status, once it says how the approved kickoff ended.
async fn ended(house: &House, run: &str) -> Value {
    let (path, alice) = (format!("/payroll/status/{run}"), house.alice());
    until("the end of the ticket", async || {
        let answer = house.get(&path, &alice).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.field("state") != "PENDING").then(|| answer.json())
    })
    .await
}

async fn state(house: &House, approval: &str) -> String {
    let shown = house.control("GET", &format!("/api/approvals/{approval}"), &house.dora(), None).await;
    let name = shown.json().pointer("/state/name").and_then(Value::as_str).map(str::to_owned);
    name.unwrap_or_else(|| panic!("{}", shown.text()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_kickoff_of_a_crew_that_is_down_fails_with_the_reason() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let approval = house.approve().await;
    house.payroll.go_down().await;
    let status = ended(&house, &run).await;
    assert_eq!(status.get("state").unwrap(), "FAILED", "{status}");
    let reason = status.get("status").and_then(Value::as_str).unwrap();
    assert!(reason.contains("could not be started") && reason.contains("upstream_unreachable"), "{reason}");
    assert_eq!(state(&house, &approval).await, "failed");
    house.payroll.come_up().await.unwrap();
    assert_eq!(ended(&house, &run).await.get("state").unwrap(), "FAILED", "an approval is used once");
    assert_eq!(house.payroll.calls().kickoff, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_kickoff_whose_answer_was_cut_is_indeterminate_and_never_sent_again() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let approval = house.approve().await;
    house.payroll.set_trouble(Trouble::Cut);
    let status = ended(&house, &run).await;
    assert_eq!(status.get("state").unwrap(), "FAILED", "{status}");
    assert!(status.get("status").and_then(Value::as_str).unwrap().contains("not sent again"), "{status}");
    assert_eq!(state(&house, &approval).await, "indeterminate");
    house.payroll.set_trouble(Trouble::None);
    for _ in 0..5 {
        ended(&house, &run).await;
    }
    assert_eq!(house.payroll.calls().kickoff, 1);

    // Who was asked looks at the crew, finds the run, and says so: the ticket stands for it from then on.
    let found =
        json!({ "found": "ran", "run": house.payroll.run_ids().pop(), "reason": "in the crew's log" });
    let path = format!("/api/approvals/{approval}/settlement");
    let own = house.control("POST", &path, &house.alice(), Some(found.clone())).await;
    assert_eq!(own.refusal(), (403, "self_approval".to_owned()));
    let settled = house.control("POST", &path, &house.dora(), Some(found)).await;
    assert_eq!(settled.status, 200, "{}", settled.text());
    let status = ended(&house, &run).await;
    assert_ne!(status.get("state").unwrap(), "FAILED", "the ticket is that run now: {status}");
    assert_eq!(house.payroll.calls().kickoff, 1);
    let resolved = house.entries(Query { approval: approval.parse().ok(), ..Query::default() }).await;
    let mut facts = resolved.iter().flat_map(|entry| &entry.facts);
    assert!(
        facts.any(|fact| matches!(
            fact,
            Fact::Approval { step: ApprovalStep::Resolved { by, ran: true, upstream: Some(_), .. }, .. }
                if by.subject == "dora"
        )),
        "{resolved:?}"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_kickoff_that_crewai_refuses_ends_without_a_run() {
    let house = House::open().await;
    let body = json!({ "inputs": { "note": "the crew asks for employee_id" } });
    let answer = house.post("/payroll/kickoff", &house.alice(), body).await;
    let run = answer.field("kickoff_id");
    let approval = house.approve().await;
    let status = ended(&house, &run).await;
    assert_eq!(status.get("state").unwrap(), "FAILED", "{status}");
    assert_eq!(house.payroll.calls().kickoff, 1);
    assert_eq!(state(&house, &approval).await, "executed", "{status}");
    let outcomes = house.entries(Query::default().phase(Phase::Outcome)).await;
    let mut answered = outcomes.iter().flat_map(|entry| &entry.facts);
    assert!(answered.any(|fact| *fact == Fact::Answered { status: 422 }), "{outcomes:?}");
    house.stop().await;
}

/// Whether the record has a call to this path whose caller is gone.
async fn gone(house: &House, path: &str, phase: Phase) -> Entry {
    until("the record of a caller who is gone", async || {
        let found = house.entries(Query::default().phase(phase)).await;
        found.into_iter().find(|entry| {
            let is = |wanted: &dyn Fn(&Fact) -> bool| entry.facts.iter().any(wanted);
            is(&|fact| matches!(fact, Fact::Ended { how: Ending::CallerGone, .. }))
                && is(&|fact| matches!(fact, Fact::Received { path: p, .. } if p == path))
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kickoff_that_has_left_finds_its_owner_although_the_caller_hung_up() {
    let house = House::open().await;
    house.support.set_delay(Duration::from_millis(500));
    let authorization = format!("authorization: Bearer {}", house.alice());
    let headers = [authorization.as_str(), "content-type: application/json"];
    let mut wire = Wire::connect(house.data()).await;
    wire.send(&request("POST", "/support/kickoff", &headers, b"{\"inputs\":{\"topic\":\"churn\"}}")).await;
    until("the kickoff at the crew", async || (house.support.calls().kickoff == 1).then_some(())).await;
    drop(wire);
    let run = until("the run in the ledger", async || {
        let found = house.running.store().list(RunFilter::default()).await.unwrap();
        found.into_iter().next()
    })
    .await;
    assert_eq!(run.owner.to_string(), "dev:alice");
    assert_eq!(run.upstream.as_ref(), house.support.run_ids().first());
    let outcome = house.outcomes(1).await.remove(0);
    assert_eq!(outcome.run, Some(run.run));
    assert!(outcome.facts.contains(&Fact::Answered { status: 200 }), "{outcome:?}");
    // Who asks again with their token has their run.
    house.support.set_delay(Duration::ZERO);
    let answer = house.get(&format!("/support/status/{}", run.run), &house.alice()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(house.support.calls().kickoff, 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_while_people_are_asked_leaves_the_question_standing() {
    let house = House::with(Plan { payroll: "hold = \"20s\"", ..Plan::default() }).await;
    let authorization = format!("authorization: Bearer {}", house.alice());
    let headers = [authorization.as_str(), "content-type: application/json"];
    let mut wire = Wire::connect(house.data()).await;
    wire.send(&request("POST", "/payroll/kickoff", &headers, b"{\"inputs\":{\"employee_id\":\"E-1\"}}"))
        .await;
    until("the question", async || (house.waiting().await.len() == 1).then_some(())).await;
    drop(wire);
    gone(&house, "/payroll/kickoff", Phase::Refused).await;
    assert_eq!(house.waiting().await.len(), 1);
    assert_eq!(house.payroll.calls().total(), 0);
    assert!(house.entries(Query::default().phase(Phase::Intent)).await.is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_call_that_has_left_though_its_caller_is_gone() {
    let house = House::open().await;
    house.support.set_delay(Duration::from_millis(1500));
    let authorization = format!("authorization: Bearer {}", house.alice());
    let headers = [authorization.as_str(), "content-type: application/json"];
    let mut wire = Wire::connect(house.data()).await;
    wire.send(&request("POST", "/support/kickoff", &headers, b"{\"inputs\":{\"topic\":\"churn\"}}")).await;
    until("the call to leave", async || (house.support.calls().kickoff == 1).then_some(())).await;
    drop(wire);
    // Time for the gateway to see that nobody listens any more: the connection alone would not hold it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ground = house.stop().await;
    let store = ground.folder.store().await;
    let runs = RunLedger::list(&store, RunFilter::default()).await.unwrap();
    assert!(matches!(&runs[..], [run] if run.upstream.is_some()), "its id was lost: {runs:?}");
    let outcomes = store.leaves(Query::default().phase(Phase::Outcome)).await.unwrap();
    let answered =
        |entry: Entry| entry.facts.iter().any(|fact| matches!(fact, Fact::Answered { status: 200 }));
    assert!(outcomes.iter().any(|leaf| answered(leaf.entry().unwrap())), "its outcome was lost");
}
