//! Callers who do not wait, cannot wait or hang up: what they come back to, and what never happens meanwhile.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::time::Duration;

use crewgate_testkit::Script;
use house::{Answer, Ground, House, Plan, Wire, call, request, until};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// A house in which answering a task that waits for a person needs a data owner: a call that has no ticket.
async fn reviewed(plan: Plan) -> House {
    let script = Script::new().human_input("Draft on {topic}");
    let plan = Plan { support: "human_input = true", script: Some(script), ..plan };
    let ground = Ground::lay(plan).await;
    let rule = "@id(\"four-eyes\")\n@approval(\"data-owners\")\n\
                forbid (principal, action == Action::\"resume\", resource == Crew::\"support\");\n";
    ground.folder.write("policy/review.cedar", rule);
    House::start(ground).await
}

/// A run that waits for a person, and the answer that would be given to it.
async fn paused(house: &House) -> (String, Value) {
    let alice = house.alice();
    let run = house.post("/support/kickoff", &alice, json!({ "inputs": { "topic": "churn" } })).await;
    let run = run.field("kickoff_id");
    let paused = until("the task that waits", async || {
        let answer = house.get(&format!("/support/status/{run}"), &alice).await;
        (answer.field("state") == "PAUSED" && !answer.field("task_id").is_empty()).then_some(answer)
    })
    .await;
    let body = json!({
        "execution_id": paused.field("execution_id"),
        "task_id": paused.field("task_id"),
        "human_feedback": "good",
        "is_approve": true,
    });
    (run, body)
}

/// One call with one more header.
async fn asking(house: &House, method: &str, path: &str, header: &str, body: Option<&Value>) -> Answer {
    let authorization = format!("authorization: Bearer {}", house.alice());
    let body = body.map(Value::to_string).unwrap_or_default();
    let headers = ["connection: close", &authorization, header, "content-type: application/json"];
    let headers = if body.is_empty() { &headers[..3] } else { &headers[..] };
    let mut wire = Wire::connect(house.data()).await;
    wire.send(&request(method, path, headers, body.as_bytes())).await;
    wire.answer().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_rather_not_wait_comes_back_for_the_outcome() {
    let house = reviewed(Plan::default()).await;
    let (run, body) = paused(&house).await;
    let answer = asking(&house, "POST", "/support/resume", "prefer: respond-async", Some(&body)).await;
    assert_eq!(answer.refusal(), (202, "approval_pending".to_owned()));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    assert!(answer.header("retry-after").is_some());
    let place = answer.header("location").unwrap().to_owned();
    assert_eq!(place, format!("/approvals/{}", answer.field("approval_id")));

    // It is the asker's, and nobody else's.
    let bob = house.token("bob", &["analysts"]);
    for token in [&bob, &house.dora()] {
        assert_eq!(house.get(&place, token).await.refusal(), (404, "approval_not_found".to_owned()));
    }
    assert_eq!(house.get(&place, "").await.status, 401);
    assert_eq!(house.get("/approvals/none", &house.alice()).await.status, 404);
    assert_eq!(house.post(&place, &house.alice(), json!({})).await.status, 405);

    let alice = house.alice();
    assert_eq!(house.get(&place, &alice).await.refusal(), (202, "approval_pending".to_owned()));
    assert_eq!(house.support.calls().resume, 0);
    house.approve().await;
    let outcome = house.get(&place, &alice).await;
    assert_eq!(outcome.status, 200, "{}", outcome.text());
    assert_eq!(house.support.calls().resume, 1);
    // Any number of times, from the record, without another call.
    let again = until("the outcome on the record", async || {
        let again = house.get(&place, &alice).await;
        (again.status == 200).then_some(again)
    })
    .await;
    assert_eq!(again.body, outcome.body);
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(house.support.calls().resume, 1);
    let done = until("the run's end", async || {
        let answer = house.get(&format!("/support/status/{run}"), &alice).await;
        (answer.field("state") == "SUCCESS").then_some(answer)
    });
    done.await;
    house::verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_told_to_who_comes_back_and_its_words_are_masked() {
    let house = reviewed(Plan::default()).await;
    let (_, body) = paused(&house).await;
    let answer = asking(&house, "POST", "/support/resume", "prefer: wait=0", Some(&body)).await;
    assert_eq!(answer.header("preference-applied"), Some("wait=0"));
    let (id, dora) = (answer.field("approval_id"), house.dora());
    let path = format!("/api/approvals/{id}");
    let digest = house.control("GET", &path, &dora, None).await.field("digest");
    let no = json!({ "verdict": "deny", "digest": digest, "reason": "ask maria.keller@example.com first" });
    assert_eq!(house.control("POST", &format!("{path}/decision"), &dora, Some(no)).await.status, 200);
    let told = house.get(&format!("/approvals/{id}"), &house.alice()).await;
    assert_eq!(told.refusal(), (403, "approval_denied".to_owned()));
    assert!(told.field("detail").contains("<EMAIL>"), "{}", told.text());
    assert_eq!(house.support.calls().resume, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_can_be_waited_for_there_too() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let sheet = house.sheet().await;
    let place = format!("/approvals/{}", sheet.get("id").and_then(Value::as_str).unwrap());
    let pending = house.get(&place, &house.alice()).await;
    assert_eq!((pending.status, pending.field("kickoff_id")), (200, run.clone()), "{}", pending.text());
    house.approve().await;
    let started = asking(&house, "GET", &place, "prefer: wait=20", None).await;
    assert_eq!((started.status, started.field("kickoff_id")), (200, run), "{}", started.text());
    until("the kickoff", async || (house.payroll.calls().kickoff == 1).then_some(())).await;
}

/// The events up to the end of the stream: names and data.
fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.starts_with("event: "));
    blocks
        .map(|block| {
            let (event, data) = block.split_once("\ndata: ").unwrap();
            (event.trim_start_matches("event: ").to_owned(), serde_json::from_str(data).unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_client_follows_events_to_the_last() {
    let house = reviewed(Plan::default()).await;
    let (_, body) = paused(&house).await;
    let answer = asking(&house, "POST", "/support/resume", "prefer: respond-async", Some(&body)).await;
    let place = answer.header("location").unwrap().to_owned();
    let (address, token) = (house.data(), house.alice());
    let path = place.clone();
    let stream = tokio::spawn(async move {
        let headers =
            [&format!("authorization: Bearer {token}"), "accept: text/html, text/event-stream;q=0.9"];
        let mut wire = Wire::connect(address).await;
        wire.send(&request("GET", &path, &headers, b"")).await;
        wire.answer().await.unwrap()
    });
    house.approve().await;
    let stream = stream.await.unwrap();
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert!(stream.text().starts_with("retry: "), "{}", stream.text());
    let events = events(&stream.text());
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    // What is over in a moment may be passed by unseen; the last one never is.
    assert_eq!(names.last(), Some(&"executed"), "{names:?}");
    assert!(names.iter().all(|name| ["pending", "approved", "executing", "executed"].contains(name)));
    let (_, last) = events.last().unwrap();
    assert_eq!(last.get("approval_id").and_then(Value::as_str), Some(answer.field("approval_id").as_str()));
    assert_eq!(house.support.calls().resume, 1, "waiting with a valid token is the claim");
    let outcome = until("the outcome", async || {
        let outcome = house.get(&place, &house.alice()).await;
        (outcome.status == 200).then_some(outcome)
    });
    outcome.await;
    assert_eq!(house.support.calls().resume, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_of_held_requests_is_an_answer_and_not_a_drop() {
    let plan = Plan { tables: "[approval]\nheld = 1\n".to_owned(), ..Plan::default() };
    let house = reviewed(plan).await;
    let (_, body) = paused(&house).await;
    let (address, token, first) = (house.data(), house.alice(), body.clone());
    let held =
        tokio::spawn(async move { call(address, "POST", "/support/resume", &token, Some(first)).await });
    until("the call to wait", async || (house.waiting().await.len() == 1).then_some(())).await;
    for _ in 0..3 {
        let answer = house.post("/support/resume", &house.alice(), body.clone()).await;
        assert_eq!(answer.refusal(), (503, "approval_crowded".to_owned()));
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    assert_eq!(house.waiting().await.len(), 1, "nobody was asked");
    house.approve().await;
    assert_eq!(held.await.unwrap().status, 200);
    assert_eq!(house.support.calls().resume, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_lets_those_who_wait_go_and_forgets_none_of_them() {
    let plan = Plan { payroll: "hold = \"50s\"", ..Plan::default() };
    let house = House::with(plan).await;
    let (address, token) = (house.data(), house.alice());
    let body = json!({ "inputs": { "employee_id": "E-2001" } });
    let held =
        tokio::spawn(async move { call(address, "POST", "/payroll/kickoff", &token, Some(body)).await });
    until("the call to wait", async || (house.waiting().await.len() == 1).then_some(())).await;
    let ground = house.stop().await;
    let answer = held.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(ground.payroll.calls().kickoff, 0);
    // The next process finds it as it was.
    let house = House::start(ground).await;
    house.approve().await;
    let path = format!("/payroll/status/{}", answer.field("kickoff_id"));
    until("the run's end", async || {
        let status = house.get(&path, &house.alice()).await;
        (status.field("state") == "SUCCESS").then_some(())
    })
    .await;
    assert_eq!(house.payroll.calls().kickoff, 1);
}

/// Where and how one caller goes away.
#[derive(Debug, Clone)]
struct Cut {
    /// Of the request's bytes, in 10,000ths; 10,000 is the whole request.
    sent: usize,
    /// How long it stays after that.
    stays: Duration,
    /// Gone without a goodbye (RST) instead of with one (FIN).
    reset: bool,
}

fn cuts(count: usize) -> Vec<Cut> {
    let sent = proptest::prop_oneof![1 => 0..10_000_usize, 1 => proptest::strategy::Just(10_000_usize)];
    let cut = (sent, 0..40_u64, proptest::bool::ANY).prop_map(|(sent, stays, reset)| Cut {
        sent,
        stays: Duration::from_millis(stays),
        reset,
    });
    let mut runner = TestRunner::default();
    (0..count).map(|_| cut.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gone_at_any_byte_changes_nothing_and_what_it_asked_for_runs_once() {
    const CALLERS: usize = 60;
    let house = House::with(Plan { payroll: "hold = \"30s\"", ..Plan::default() }).await;
    let alice = house.alice();
    let authorization = format!("authorization: Bearer {alice}");
    let headers = [authorization.as_str(), "content-type: application/json"];
    let mut whole = 0;
    for cut in cuts(CALLERS) {
        let body = json!({ "inputs": { "employee_id": "E-2001" } }).to_string();
        let bytes = request("POST", "/payroll/kickoff", &headers, body.as_bytes());
        let sent = bytes.len() * cut.sent / 10_000;
        let mut stream = TcpStream::connect(house.data()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes[..sent]).await.unwrap();
        whole += usize::from(sent == bytes.len());
        // Nobody is answered while people are asked.
        let mut byte = [0];
        let heard = tokio::time::timeout(cut.stays, stream.read(&mut byte)).await;
        assert!(heard.is_err(), "{cut:?} got an answer");
        if cut.reset {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        assert_eq!(house.payroll.calls().kickoff, 0, "{cut:?}");
    }
    // Whoever left early enough asked for nothing; the others wait all the same.
    let waiting = house.waiting().await;
    assert!(!waiting.is_empty() && waiting.len() <= whole, "{} of {whole}", waiting.len());
    for row in &waiting {
        let id = row.get("id").and_then(Value::as_str).unwrap();
        let path = format!("/api/approvals/{id}");
        let digest = house.control("GET", &path, &house.dora(), None).await.field("digest");
        let yes = json!({ "verdict": "approve", "digest": digest });
        let path = format!("{path}/decision");
        assert_eq!(house.control("POST", &path, &house.dora(), Some(yes)).await.status, 200);
    }
    assert_eq!(house.payroll.calls().kickoff, 0, "nobody holds it open, and nobody has come back");
    for _ in 0..2 {
        for row in &waiting {
            let path = format!("/approvals/{}", row.get("id").and_then(Value::as_str).unwrap());
            assert_eq!(house.get(&path, &alice).await.status, 200);
        }
    }
    let asked = u64::try_from(waiting.len()).unwrap();
    until("every one of them to run", async || (house.payroll.calls().kickoff >= asked).then_some(())).await;
    let ground = house.stop().await;
    assert_eq!(ground.payroll.calls().kickoff, asked, "each of them once");
    house::verifies(&ground.folder).await;
}
