//! Values that must not be seen, sent in by every way there is; then every place is searched where they could lie.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use crewgate_testkit::Script;
use futures_util::stream;
use serde_json::json;

use house::{Ground, House, Plan, call, contains, crewgate_as, said, until};

const SSN: &str = "536-90-4399";
const CARD: &str = "4111 1111 1111 1111";
const API_KEY: &str = "AKIAQ3EGV7NXMB5TL2RD";

/// Everything that is logged, at any level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was seen somewhere.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn note(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn holds_none_of(&self, canaries: &[&str]) {
        for (place, bytes) in &self.0 {
            assert!(!bytes.is_empty(), "{place} was not looked at");
            for canary in canaries {
                assert!(
                    !contains(bytes, canary),
                    "{place} shows {canary}: {}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_that_is_masked_lies_in_clear_anywhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    tracing::subscriber::set_global_default(subscriber.with_writer(move || writer.clone()).finish()).unwrap();
    let values = format!("{SSN}, {CARD}, {API_KEY}");
    let script = Script::new().inputs(["topic", "note"]);
    let key = Script::KEY;
    let ground = Ground::lay(Plan {
        support: "mask = [\"pii-basic\"]\nhuman_input = true\ninputs.note = { type = \"text\" }",
        // What waits for people is kept as it will be sent: masked, as this crew's rule asks.
        payroll: "mask = [\"pii-basic\"]",
        tables: "[record]\nreaders = [\"data-owners\"]\n".to_owned(),
        script: Some(
            script
                .result(format!("{{note}}; {values}; {key}"))
                .human_input(format!("Look at {{note}}, {values} and {key}")),
        ),
        ..Plan::default()
    })
    .await;
    let house = House::start(ground).await;
    let (alice, dora, mut seen) = (house.alice(), house.dora(), Seen::default());
    let note = format!("{values}; {key}; {alice}");

    // A run that asks a person, over the relay, goes on and ends.
    let answer =
        house.post("/support/kickoff", &alice, json!({ "inputs": { "topic": "x", "note": note } })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    seen.note("a kickoff's answer", answer.text());
    let run = answer.field("kickoff_id");
    let status = until("the question", async || {
        let answer = house.get(&format!("/support/status/{run}"), &alice).await;
        (answer.field("state") == "PAUSED" && !answer.field("task_id").is_empty()).then_some(answer)
    })
    .await;
    seen.note("a status", status.text());
    let resumed = json!({
        "execution_id": status.field("execution_id"),
        "task_id": status.field("task_id"),
        "human_feedback": note,
        "is_approve": true,
    });
    let resumed = house.post("/support/resume", &alice, resumed).await;
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    seen.note("a resume's answer", resumed.text());
    let ended = until("the end", async || {
        let answer = house.get(&format!("/support/status/{run}"), &alice).await;
        (answer.field("state") == "SUCCESS").then_some(answer)
    })
    .await;
    seen.note("a status behind a resume", ended.text());

    // What is refused, what is an error, and what is no crew's.
    let refused = json!({ "inputs": { "topic": "x", "note": note, "other": note } });
    seen.note("a refusal", house.post("/support/kickoff", &alice, refused).await.text());
    seen.note("a refusal of a stranger", house.get("/support/inputs", &format!("{alice}x")).await.text());

    // A request that waits for people: their screens, and the commands.
    // Each crew's masks know its own key.
    let payroll_key = house.payroll.key().to_owned();
    let asked = json!({ "inputs": { "employee_id": "E-2001", "note": note.replace(key, &payroll_key) } });
    let ticket = house.post("/payroll/kickoff", &alice, asked).await;
    assert_eq!(ticket.status, 200, "{}", ticket.text());
    seen.note("a ticket", ticket.text());
    let sheet = house.sheet().await;
    assert!(sheet.to_string().contains("US_SSN"), "{sheet}");
    seen.note("the approver's sheet", sheet.to_string());
    let approval = sheet.get("id").and_then(serde_json::Value::as_str).unwrap().to_owned();
    for path in ["/api/approvals".to_owned(), "/api/runs?all=true".to_owned(), format!("/api/runs/{run}")] {
        let answer = house.control("GET", &path, &dora, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen.note(path, answer.text());
    }
    let console = format!("http://{}", house.running.console().unwrap());
    for arguments in [
        vec!["approvals", "show", &approval, "--console", &console],
        vec!["runs", "show", &run, "--console", &console],
    ] {
        let (folder, token) = (house.folder.path().to_owned(), dora.clone());
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let name = arguments.join(" ");
        let output = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            crewgate_as(Some(&token), &folder, &arguments, "")
        });
        let output = output.await.unwrap();
        assert!(output.status.success(), "{name}: {}", said(&output));
        seen.note(name, said(&output));
    }
    house.approve().await;
    let path = format!("/payroll/status/{}", ticket.field("kickoff_id"));
    let done = until("the approved run", async || {
        let answer = house.get(&path, &alice).await;
        (answer.field("state") == "SUCCESS").then_some(answer)
    })
    .await;
    seen.note("an approved run's status", done.text());
    seen.note("metrics", format!("# {}", house.ops("/metrics").await.text()));
    seen.note("readiness", house.ops("/readyz").await.text());
    let ground = house.stop().await;
    seen.note("the database", ground.folder.database());
    seen.note("the log", log.0.lock().unwrap().clone());
    seen.holds_none_of(&[SSN, CARD, API_KEY, key, &payroll_key, &alice, &dora]);
}

/// An upstream that answers every question with this.
async fn upstream(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let router = Router::new().fallback(move || std::future::ready(answer()));
        axum::serve(listener, router).await.unwrap();
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_masks_or_withholds_every_answer_however_it_fails() {
    let values = format!("{SSN}, {CARD}, {API_KEY}, {}", Script::KEY);
    let json = format!("{{\"detail\":\"no {values}\",\"unknown\":{{\"{SSN}\":[\"{CARD}\"]}}}}");
    let half = format!("{{\"inputs\":[\"see {SSN}");
    let pieces = SSN.split_at(6);
    let events =
        format!("data: {{\"content\":\"see {}\"}}\n\ndata: {{\"content\":\"{}, ", pieces.0, pieces.1);
    let lines = format!("{{\"text\":\"{values}\"}}\n{{\"text\":\"{values}\"}}\n");
    let cases: [(&'static str, u16, &'static str, String, bool); 13] = [
        ("a refusal in JSON", 422, "application/json", json.clone(), false),
        ("an error in JSON", 500, "application/json", json.clone(), false),
        ("an error in text", 503, "text/plain", values.clone(), false),
        ("an error page", 502, "text/html", format!("<h1>{values}</h1>"), false),
        ("a page that says it is JSON", 400, "application/json", format!("<h1>{values}</h1>"), false),
        ("an answer without a type", 500, "", json.clone(), false),
        ("an answer of an unknown type", 404, "application/x-secret", values.clone(), false),
        ("an unknown shape", 200, "application/json", json, false),
        ("an answer that breaks off in a value", 200, "application/json", half, true),
        (
            "a stream of events",
            200,
            "text/event-stream",
            format!("{events}{values}\"}}\n\ndata: {values}\n\n"),
            false,
        ),
        ("a stream of events that breaks off", 200, "text/event-stream", format!("{events}{values}"), true),
        ("an event that is not ended", 200, "text/event-stream", format!("{events}{values}"), false),
        ("a stream of lines", 200, "application/x-ndjson", lines, false),
    ];
    for (name, status, kind, body, cut) in cases {
        let answer = move || {
            let whole = Ok(Bytes::from(body.clone()));
            let end = cut.then(|| Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            let body = Body::from_stream(stream::iter([Some(whole), end].into_iter().flatten()));
            let answer = Response::builder().status(status);
            let answer = if kind.is_empty() { answer } else { answer.header("content-type", kind) };
            answer.body(body).unwrap()
        };
        let support_url = Some(upstream(answer).await);
        let house =
            House::with(Plan { support: "mask = [\"pii-basic\"]", support_url, ..Plan::default() }).await;
        let alice = house.alice();
        let mut seen = Seen::default();
        let got = house.get("/support/inputs", &alice).await;
        assert!(got.status >= 400 || status == 200, "{name}: {}", got.text());
        seen.note(name, format!("{} {}", got.status, got.text()));
        let topic = Some(json!({ "inputs": { "topic": "x" } }));
        let got = call(house.data(), "POST", "/support/kickoff", &alice, topic).await;
        seen.note(format!("{name}, to a kickoff"), format!("{} {}", got.status, got.text()));
        let ground = house.stop().await;
        seen.note(format!("the database behind {name}"), ground.folder.database());
        seen.holds_none_of(&[SSN, pieces.1, CARD, API_KEY, Script::KEY]);
    }
}
