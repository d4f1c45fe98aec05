//! What the order of the layers is for, one fact a test, each seen from outside.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use bytes::Bytes;
use crewgate_audit::{AuditStore, Log, Phase, Query, Timeline, run_leaves};
use crewgate_core::{ApprovalStep, Ending, Fact, Layer};
use crewgate_store::Store;
use crewgate_testkit::Script;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
};

use house::{Answer, House, Plan, contains, refusals, until, verifies};

fn topic() -> Value {
    json!({ "inputs": { "topic": "churn" } })
}

/// Polls the status of a run as CrewAI's clients do, until it says this.
async fn status(house: &House, crew: &str, run: &str, state: &str) -> Answer {
    let (path, alice) = (format!("/{crew}/status/{run}"), house.alice());
    until(state, async || {
        let answer = house.get(&path, &alice).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.field("state") == state).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_is_on_the_record() {
    let house = House::open().await;
    let answer = house.get("/support/inputs", "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "));
    let record = house.record(&answer).await;
    assert_eq!(refusals(&record), [(401, "token_missing".to_owned())]);
    let facts: Vec<&Fact> = record.iter().flat_map(|entry| &entry.facts).collect();
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Refused { by: Layer::Identity, .. })));
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Received { remote: Some(_), .. })));
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::Authenticated { .. } | Fact::Described { .. })));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_body_is_never_read() {
    let house = House::open().await;
    // A megabyte is announced and not sent: an answer can only come if nobody waits for it.
    let mut wire = house::Wire::connect(house.data()).await;
    wire.send(b"POST /support/kickoff HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n").await;
    assert_eq!(wire.answer().await.unwrap().refusal(), (401, "token_missing".to_owned()));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_operation_never_reaches_the_upstream() {
    let house = House::open().await;
    let bob = house.token("bob", &["interns"]);
    for answer in
        [house.get("/support/inputs", &bob).await, house.post("/support/kickoff", &bob, topic()).await]
    {
        assert_eq!(answer.refusal(), (403, "policy_denied".to_owned()));
        let record = house.record(&answer).await;
        assert!(record.iter().all(|entry| entry.phase == Phase::Refused), "{record:?}");
        let mut facts = record.iter().flat_map(|entry| &entry.facts);
        assert!(facts.any(|fact| matches!(fact, Fact::Decided { outcome, .. } if outcome == "refuse")));
    }
    assert_eq!(house.support.calls().total(), 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_callers_run_is_unknown_before_anybody_asks_the_crew() {
    let house = House::open().await;
    let run = house.post("/support/kickoff", &house.alice(), topic()).await.field("kickoff_id");
    let ticket = house.ask(&house.alice()).await;
    let bob = house.token("bob", &["analysts"]);
    let before = house.support.calls().total();
    for path in [
        format!("/support/status/{run}"),
        format!("/payroll/status/{ticket}"),
        format!("/payroll/status/{run}"),
    ] {
        let answer = house.get(&path, &bob).await;
        assert_eq!(answer.refusal(), (404, "run_unknown".to_owned()), "{path}");
    }
    // CrewAI's own ids mean nothing here, not even to the owner.
    let theirs = house.support.run_ids().remove(0);
    let answer = house.get(&format!("/support/status/{theirs}"), &house.alice()).await;
    assert_eq!(answer.refusal(), (404, "run_unknown".to_owned()));
    assert_eq!(house.support.calls().total(), before);
    house.stop().await;
}

const MAIL: &str = "maria.keller@example.com";
const SECRET: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_never_sees_a_raw_secret() {
    let house = House::open().await;
    let note = format!("ask {MAIL}, and call the API with Authorization: Bearer {SECRET}");
    let body = json!({ "inputs": { "employee_id": "E-2001", "note": note } });
    let answer = house.post("/payroll/kickoff", &house.alice(), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sheet = house.sheet().await;
    let text = sheet.to_string();
    assert!(!text.contains(MAIL) && !text.contains(SECRET), "{text}");
    let shown = sheet.pointer("/outgoing/body").and_then(Value::as_str).unwrap();
    assert!(shown.contains("E-2001") && shown.contains("<EMAIL>"), "{shown}");
    let masked = sheet.pointer("/outgoing/masked").and_then(Value::as_array).unwrap();
    assert!(masked.iter().any(|span| span.get("entity").unwrap() == "EMAIL"), "{masked:?}");
    // What is sent keeps what the crew needs, and no secret.
    house.approve().await;
    status(&house, "payroll", &answer.field("kickoff_id"), "SUCCESS").await;
    let sent = house.payroll.kickoffs().remove(0).body;
    assert!(contains(&sent, MAIL) && !contains(&sent, SECRET), "{sent:?}");
    let ground = house.stop().await;
    let database = ground.folder.database();
    assert!(!contains(&database, SECRET));
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_is_what_is_sent() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    let sheet = house.sheet().await;
    let shown = sheet.pointer("/outgoing/body").and_then(Value::as_str).unwrap().to_owned();
    assert_eq!(house.payroll.calls().total(), 0, "nothing is sent before");
    house.approve().await;
    status(&house, "payroll", &run, "SUCCESS").await;
    let sent = house.payroll.kickoffs();
    assert_eq!(sent.len(), 1);
    assert!(sent.iter().all(|call| call.body == shown.as_bytes()), "{sent:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_poll_while_approval_waits_asks_no_crew_and_tells_for_whom() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    for _ in 0..3 {
        let answer = status(&house, "payroll", &run, "PENDING").await;
        assert_eq!(answer.field("status"), "awaiting approval by data-owners");
        let record = house.record(&answer).await;
        assert!(record.iter().all(|entry| entry.phase == Phase::Outcome), "{record:?}");
    }
    assert_eq!(house.payroll.calls().total(), 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_asked_again_when_an_approved_request_starts() {
    let house = House::open().await;
    let run = house.ask(&house.alice()).await;
    house.approve().await;
    house.folder.write("policy/freeze.cedar", "@id(\"freeze\")\n@reason(\"closed for the audit\")\nforbid (principal, action == Action::\"kickoff\", resource);\n");
    house.running.reload().await.unwrap();
    let answer = status(&house, "payroll", &run, "FAILED").await;
    assert!(answer.field("status").contains("no longer holds"), "{}", answer.text());
    assert_eq!(house.payroll.calls().total(), 0);
    let entries = house.entries(Query::default().phase(Phase::Approval)).await;
    let mut steps = entries.iter().flat_map(|entry| &entry.facts);
    assert!(steps.any(|fact| matches!(fact, Fact::Approval { step: ApprovalStep::Invalidated { .. }, .. })));
    house.stop().await;
}

/// A crew that looks into the gateway's database in the moment a kickoff arrives.
async fn watching_crew(
    listener: TcpListener,
    folder: oneshot::Receiver<std::path::PathBuf>,
) -> (String, usize) {
    let folder = folder.await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut first = [0_u8; 1];
    stream.read_exact(&mut first).await.unwrap();
    // One byte has come: whatever must be durable is durable now.
    let store = Store::open_read_only(folder.join("crewgate.db")).await.unwrap();
    let leaves = store.leaves(Query::default().phase(Phase::Intent)).await.unwrap();
    let intent = leaves.first().unwrap().entry().unwrap();
    let body = String::from_utf8(intent.request_body.unwrap().to_vec()).unwrap();
    store.close().await;
    let mut rest = Vec::new();
    while !contains(&rest, "churn") {
        assert!(stream.read_buf(&mut rest).await.unwrap() > 0);
    }
    let id = "{\"kickoff_id\":\"3f1a2b4c-0000-4000-8000-000000000001\"}";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{id}",
        id.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    (body, leaves.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_leaves_before_the_intent_is_durable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = oneshot::channel();
    let crew = tokio::spawn(watching_crew(listener, told));
    let house = House::with(Plan { support_url: Some(url), ..Plan::default() }).await;
    tell.send(house.folder.path().to_owned()).unwrap();
    let answer = house.post("/support/kickoff", &house.alice(), topic()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (body, intents) = crew.await.unwrap();
    assert_eq!(intents, 1);
    assert!(body.contains("churn"), "{body}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_keeps_what_the_caller_saw() {
    let house = House::open().await;
    let run = house.post("/support/kickoff", &house.alice(), topic()).await.field("kickoff_id");
    let seen = status(&house, "support", &run, "SUCCESS").await;
    assert!(seen.text().contains("<EMAIL>") && !seen.text().contains(MAIL), "{}", seen.text());
    let entry = until("the outcome", async || {
        house.record(&seen).await.into_iter().find(|entry| entry.phase == Phase::Outcome)
    })
    .await;
    let kept: Vec<u8> = entry.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
    assert_eq!(Bytes::from(kept), Bytes::from(seen.body));
    assert!(
        entry.facts.iter().any(|fact| matches!(fact, Fact::Ended { how: Ending::Complete, status: 200, .. }))
    );
    let leaves = run_leaves(house.running.store(), run.parse().unwrap(), 1000).await.unwrap();
    let story: Vec<String> =
        Timeline::of(&leaves).unwrap().lines().into_iter().map(|line| line.text).collect();
    assert!(story.iter().any(|line| line.contains("<EMAIL>")), "{story:?}");
    house.stop().await;
}

/// Walks all routes with what may go wrong on them, and gives everything a caller or approver was shown.
async fn everything(house: &House, token: &str) -> Vec<String> {
    let mut shown = Vec::new();
    let mut show = |answer: Answer| {
        shown.push(format!("{:?} {}", answer.headers, answer.text()));
        answer
    };
    show(house.get("/support/inputs", token).await);
    let run = show(house.post("/support/kickoff", token, topic()).await).field("kickoff_id");
    for _ in 0..3 {
        show(house.get(&format!("/support/status/{run}"), token).await);
        show(house.get(&format!("/support/{run}/status"), token).await);
    }
    let ticket =
        show(house.post("/payroll/kickoff", token, json!({ "inputs": { "employee_id": "E-1" } })).await);
    shown.push(house.sheet().await.to_string());
    house.approve().await;
    shown.push(status(house, "payroll", &ticket.field("kickoff_id"), "SUCCESS").await.text());
    let dora = house.dora();
    let mut show = |answer: Answer| shown.push(format!("{:?} {}", answer.headers, answer.text()));
    show(house.control("GET", "/api/approvals", &dora, None).await);
    show(house.control("GET", "/api/runs", token, None).await);
    show(house.control("GET", &format!("/api/runs/{run}"), token, None).await);
    show(house.ops("/metrics").await);
    show(house.ops("/readyz").await);
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn crewais_key_and_crewais_ids_reach_nobody_and_the_callers_token_stays_here() {
    let script = Script::new()
        .result("I am run {kickoff_id}; I call with Authorization: Bearer org-5b1c0d9e7f3a, or org-5b1c0d9e7f3a for short. Yours, {topic}");
    let house = House::with(Plan { script: Some(script), ..Plan::default() }).await;
    let token = house.alice();
    let shown = everything(&house, &token).await;
    let theirs: Vec<String> = [house.support.run_ids(), house.payroll.run_ids()].concat();
    assert_eq!(theirs.len(), 2);
    for text in &shown {
        for key in [house.support.key(), house.payroll.key()] {
            assert!(!text.contains(key), "a key of CrewAI's is shown: {text}");
        }
        for id in &theirs {
            assert!(!text.contains(id), "an id of CrewAI's is shown: {text}");
        }
        assert!(!text.contains(&token), "a token is shown: {text}");
    }
    let (head, signature) = token.rsplit_once('.').unwrap();
    let claims = head.rsplit_once('.').unwrap().1;
    let received = [house.support.received(), house.payroll.received()].concat();
    assert!(received.len() > 5);
    for call in received {
        let text = format!("{} {:?} {:?}", call.path, call.headers, call.body);
        assert!(!text.contains(signature) && !text.contains(claims), "the caller's token left: {text}");
    }
    let keys = [house.support.key().to_owned(), house.payroll.key().to_owned()];
    let ground = house.stop().await;
    let database = ground.folder.database();
    assert!(contains(&database, "dev:alice"), "it is the database that is looked at");
    for secret in [signature, claims, &keys.concat()].into_iter().chain(keys.iter().map(String::as_str)) {
        assert!(!contains(&database, secret), "the database holds {secret}");
    }
    verifies(&ground.folder).await;
}

fn asking() -> Plan {
    let script = Script::new().human_input("Draft on {topic} for maria.keller@example.com, run {kickoff_id}");
    Plan { support: "human_input = true", script: Some(script), ..Plan::default() }
}

fn resume(paused: &Answer, approve: bool) -> Value {
    json!({
        "execution_id": paused.field("execution_id"),
        "task_id": paused.field("task_id"),
        "human_feedback": "shorter, please",
        "is_approve": approve,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_a_person_is_answered_under_our_ids() {
    let house = House::with(asking()).await;
    let alice = house.alice();
    let run = house.post("/support/kickoff", &alice, topic()).await.field("kickoff_id");
    let path = format!("/support/status/{run}");
    let waits = async || {
        until("the task that waits", async || {
            let answer = house.get(&path, &alice).await;
            (answer.field("state") == "PAUSED" && !answer.field("task_id").is_empty()).then_some(answer)
        })
        .await
    };
    let paused = waits().await;
    assert_eq!(paused.field("execution_id"), run, "{}", paused.text());
    // Somebody else's answer does not count.
    let bob = house.token("bob", &["analysts"]);
    let answer = house.post("/support/resume", &bob, resume(&paused, true)).await;
    assert_eq!(answer.refusal(), (404, "run_unknown".to_owned()));
    assert_eq!(house.support.calls().resume, 0);

    let answer = house.post("/support/resume", &alice, resume(&paused, false)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let again = waits().await;
    let answer = house.post("/support/resume", &alice, resume(&again, true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let done = status(&house, "support", &run, "SUCCESS").await;
    assert!(!done.text().contains(MAIL), "{}", done.text());
    assert_eq!(house.support.calls().resume, 2);

    let theirs = house.support.run_ids().remove(0);
    let resumes: Vec<_> =
        house.support.received().into_iter().filter(|call| call.path == "/resume").collect();
    assert!(resumes.iter().all(|call| contains(&call.body, &theirs) && !contains(&call.body, &run)));
    let relay: Value = serde_json::from_slice(&house.support.kickoffs().remove(0).body).unwrap();
    let relay =
        relay.pointer("/humanInputWebhook/authentication/token").and_then(Value::as_str).unwrap().to_owned();

    let told = house.entries(Query::default().phase(Phase::Webhook)).await;
    assert_eq!(told.len(), 2);
    for entry in &told {
        assert_eq!(entry.run.unwrap().to_string(), run);
        assert!(
            entry
                .facts
                .iter()
                .any(|fact| matches!(fact, Fact::Webhook { kind, .. } if kind == "human_input"))
        );
        let body: Vec<u8> = entry.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
        assert!(contains(&body, "<EMAIL>") && !contains(&body, MAIL), "{body:?}");
        assert!(contains(&body, &run), "the record knows the run by our id");
    }
    // Nothing a person may read of this run names an id of CrewAI's.
    for entry in house.entries(Query::default()).await {
        let frames = entry.frames.iter().flat_map(|frame| frame.bytes.clone());
        let read: Vec<u8> = entry.request_body.iter().flatten().copied().chain(frames).collect();
        assert!(!contains(&read, &theirs), "{:?}: {}", entry.phase, String::from_utf8_lossy(&read));
    }
    let ground = house.stop().await;
    let database = ground.folder.database();
    assert!(!contains(&database, MAIL) && !contains(&database, &relay));
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_crewai_can_say_that_a_task_waits() {
    let house = House::with(asking()).await;
    let alice = house.alice();
    house.post("/support/kickoff", &alice, topic()).await;
    let leaves = async || house.running.store().head().await.unwrap().size;
    // The start, the intent and the outcome.
    until("the kickoff on the record", async || (leaves().await == 3).then_some(())).await;
    let theirs = house.support.run_ids().remove(0);
    let body = json!({ "kickoff_id": theirs, "execution_id": theirs, "task_id": theirs, "task_output": "x" });
    for token in ["", alice.as_str(), house.support.key(), "cgr_00000000000000000000000000000000aa"] {
        let answer = house.post("/relay/support", token, body.clone()).await;
        assert_eq!(answer.refusal(), (401, "relay_refused".to_owned()));
    }
    assert_eq!(house.post("/relay/payroll", "", body).await.status, 401);
    assert_eq!(leaves().await, 3);
    house.stop().await;
}
