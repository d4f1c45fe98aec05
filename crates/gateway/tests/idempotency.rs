//! A call that its caller names happens once, however often and by whomever it is sent.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::time::Duration;

use crewgate_core::Fact;
use crewgate_testkit::Trouble;
use house::{Answer, House, Plan, Wire, contains, request, until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

const KEY: &str = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"";

fn topic(topic: &str) -> Value {
    json!({ "inputs": { "topic": topic } })
}

/// The bytes of a named call.
fn named(path: &str, token: &str, key: &str, body: &Value) -> Vec<u8> {
    let headers = [
        "connection: close".to_owned(),
        format!("authorization: Bearer {token}"),
        format!("idempotency-key: {key}"),
        "content-type: application/json".to_owned(),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    request("POST", path, &headers, body.to_string().as_bytes())
}

async fn send(house: &House, path: &str, token: &str, key: &str, body: &Value) -> Answer {
    let mut wire = Wire::connect(house.data()).await;
    wire.send(&named(path, token, key, body)).await;
    wire.answer().await.unwrap()
}

async fn kickoff(house: &House, key: &str, body: &Value) -> Answer {
    send(house, "/support/kickoff", &house.alice(), key, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_under_the_same_key_happens_once_and_is_answered_alike() {
    let house = House::open().await;
    let first = kickoff(&house, KEY, &topic("churn")).await;
    assert_eq!(first.status, 200, "{}", first.text());
    // An answer is given again once it is on the record, which is a moment after it was heard.
    house.outcomes(1).await;
    for _ in 0..3 {
        let again = kickoff(&house, KEY, &topic("churn")).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert_eq!(again.header("content-type"), Some("application/json"));
    }
    assert_eq!(house.support.calls().kickoff, 1);
    let other = kickoff(&house, KEY, &topic("sales")).await;
    assert_eq!(other.refusal(), (422, "idempotency_key_reused".to_owned()));
    let next = kickoff(&house, "\"next\"", &topic("churn")).await;
    assert_ne!(next.field("kickoff_id"), first.field("kickoff_id"));
    assert_eq!(house.support.calls().kickoff, 2);
    // The key itself is nobody's business: what is kept is a digest, on the record too.
    let record = house.record(&first).await;
    assert!(record.iter().flat_map(|entry| &entry.facts).any(|fact| matches!(fact, Fact::Keyed(_))));
    let ground = house.stop().await;
    assert!(!contains(&ground.folder.database(), KEY.trim_matches('"')));
    house::verifies(&ground.folder).await;
    // Nor does a restart make it happen again.
    let house = House::start(ground).await;
    assert_eq!(kickoff(&house, KEY, &topic("churn")).await.body, first.body);
    assert_eq!(house.support.calls().kickoff, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_callers_and_stands_for_one_operation() {
    let house = House::open().await;
    let first = kickoff(&house, KEY, &topic("churn")).await.field("kickoff_id");
    let carol = house.token("carol", &["analysts"]);
    let theirs = send(&house, "/support/kickoff", &carol, KEY, &topic("churn")).await;
    assert_ne!(theirs.field("kickoff_id"), first);
    let payroll = json!({ "inputs": { "employee_id": "E-2001" } });
    let other = send(&house, "/payroll/kickoff", &house.alice(), KEY, &payroll).await;
    assert_eq!(other.status, 200, "{}", other.text());
    assert_eq!((house.support.calls().kickoff, house.waiting().await.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_and_reads_have_none() {
    let house = House::open().await;
    for wrong in ["8e03978e", "\"\"", "\"a\", \"b\"", "\"a\";x"] {
        let answer = kickoff(&house, wrong, &topic("churn")).await;
        assert_eq!(answer.refusal(), (400, "idempotency_key_malformed".to_owned()), "{wrong}");
    }
    assert_eq!(house.support.calls().kickoff, 0);
    let run = kickoff(&house, KEY, &topic("churn")).await.field("kickoff_id");
    let authorization = format!("authorization: Bearer {}", house.alice());
    for key in ["idempotency-key: nonsense", &format!("idempotency-key: {KEY}")] {
        let mut wire = Wire::connect(house.data()).await;
        let path = format!("/support/status/{run}");
        wire.send(&request("GET", &path, &["connection: close", &authorization, key], b"")).await;
        assert_eq!(wire.answer().await.unwrap().status, 200, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_people_is_asked_for_once() {
    let house = House::open().await;
    let (alice, body) = (house.alice(), json!({ "inputs": { "employee_id": "E-2001" } }));
    let first = send(&house, "/payroll/kickoff", &alice, KEY, &body).await;
    let again = send(&house, "/payroll/kickoff", &alice, KEY, &body).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(house.waiting().await.len(), 1);
    house.approve().await;
    let run = first.field("kickoff_id");
    until("the run's end", async || {
        let status = house.get(&format!("/payroll/status/{run}"), &alice).await;
        (status.field("state") == "SUCCESS").then_some(())
    })
    .await;
    assert_eq!(send(&house, "/payroll/kickoff", &alice, KEY, &body).await.body, first.body);
    assert_eq!(house.payroll.calls().kickoff, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_under_one_key_are_one_call() {
    let house = House::open().await;
    let (address, bytes) = (house.data(), named("/support/kickoff", &house.alice(), KEY, &topic("churn")));
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut wire = Wire::connect(address).await;
                wire.send(&bytes).await;
                wire.answer().await.unwrap()
            })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for caller in callers {
        let answer = caller.await.unwrap();
        match answer.status {
            200 => _ = ids.insert(answer.field("kickoff_id")),
            _ => assert_eq!(answer.refusal(), (409, "idempotency_in_use".to_owned())),
        }
    }
    assert_eq!((ids.len(), house.support.calls().kickoff), (1, 1));
    // Its callers may have heard the answer before the record has it.
    house.outcomes(1).await;
    assert!(ids.contains(&kickoff(&house, KEY, &topic("churn")).await.field("kickoff_id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_the_answer_gets_it_by_asking_again() {
    let house = House::open().await;
    let bytes = named("/support/kickoff", &house.alice(), KEY, &topic("churn"));
    for stays in [0, 1, 2, 4, 8] {
        let mut stream = tokio::net::TcpStream::connect(house.data()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        tokio::time::sleep(Duration::from_millis(stays)).await;
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    let answer = until("the answer", async || {
        let answer = kickoff(&house, KEY, &topic("churn")).await;
        if answer.status != 200 {
            assert_eq!(answer.refusal(), (409, "idempotency_in_use".to_owned()));
        }
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(house.support.calls().kickoff, 1);
    let run = answer.field("kickoff_id");
    until("the run", async || {
        let status = house.get(&format!("/support/status/{run}"), &house.alice()).await;
        (status.field("state") == "SUCCESS").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_certainly_did_not_leave_may_be_sent_again_and_what_may_have_is_not() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = Plan { support_url: Some(format!("http://{closed}")), ..Plan::default() };
    let house = House::with(plan).await;
    for _ in 0..2 {
        let answer = kickoff(&house, KEY, &topic("churn")).await;
        assert_eq!(answer.refusal(), (502, "upstream_unreachable".to_owned()));
        house.outcomes(1).await;
    }
    house.stop().await;

    let house = House::open().await;
    house.support.set_trouble(Trouble::Cut);
    let first = kickoff(&house, KEY, &topic("churn")).await;
    assert_eq!(first.status / 100, 5, "{}", first.text());
    house.outcomes(1).await;
    let again = kickoff(&house, KEY, &topic("churn")).await;
    assert_eq!(again.refusal(), (409, "idempotency_outcome_unknown".to_owned()));
    assert_eq!(house.support.calls().kickoff, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_by_the_clock() {
    let plan = Plan { gateway: "idempotency = \"200ms\"", ..Plan::default() };
    let house = House::with(plan).await;
    let first = kickoff(&house, KEY, &topic("churn")).await.field("kickoff_id");
    let next = until("the key to end", async || {
        let next = kickoff(&house, KEY, &topic("churn")).await.field("kickoff_id");
        (!next.is_empty() && next != first).then_some(next)
    })
    .await;
    assert_ne!(next, first);
    assert_eq!(house.support.calls().kickoff, 2);
}
