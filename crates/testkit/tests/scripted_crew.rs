//! The scripted deployment talks like the real one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use axum::{Json, Router, extract::State, routing::post};
use crewgate_testkit::{Calls, Script, ScriptedCrew, StatusWords, Takes, Trouble};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Status and raw body of one call on a connection of its own; `None` when the connection or the answer broke.
async fn raw(
    crew: &ScriptedCrew,
    key: Option<&str>,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, String)> {
    let host = crew.url().strip_prefix("http://")?;
    let mut stream = TcpStream::connect(host).await.ok()?;
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{key}content-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let whole = !chunked || body.ends_with("0\r\n\r\n");
    whole.then(|| (head.get(9..12).unwrap().parse().unwrap(), body.to_owned()))
}

async fn call(crew: &ScriptedCrew, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = raw(crew, Some(crew.key()), method, path, &body).await.unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

async fn kickoff(crew: &ScriptedCrew, body: Value) -> String {
    let (status, answer) = call(crew, "POST", "/kickoff", body).await;
    assert_eq!(status, 200, "{answer}");
    answer["kickoff_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_is_started_watched_and_done() {
    let crew = ScriptedCrew::start().await.unwrap();
    assert_eq!(call(&crew, "GET", "/inputs", Value::Null).await, (200, json!({"inputs": ["topic"]})));
    let id = kickoff(&crew, json!({"inputs": {"topic": "churn"}, "meta": {"r": 1}})).await;
    assert_eq!(crew.run_ids(), [id.as_str()]);
    let (_, running) = call(&crew, "GET", &format!("/status/{id}"), Value::Null).await;
    assert_eq!((&running["state"], &running["result"]), (&json!("RUNNING"), &Value::Null));
    let (_, done) = call(&crew, "GET", &format!("/{id}/status"), Value::Null).await;
    assert_eq!(done["state"], "SUCCESS");
    let result = done["result"].as_str().unwrap();
    assert!(result.starts_with("Report on churn.") && result.contains("DE89370400440532013000"), "{result}");
    assert_eq!(done["last_executed_task"]["kickoff_id"], id);
    assert_eq!(crew.calls(), Calls { inputs: 1, kickoff: 1, status: 2, ..Calls::default() });
    let kickoffs = crew.kickoffs();
    let body: Value = serde_json::from_slice(&kickoffs.first().unwrap().body).unwrap();
    assert_eq!(body["inputs"]["topic"], "churn");
    assert!(kickoffs.first().unwrap().headers.contains_key("authorization"));
}

#[tokio::test]
async fn it_refuses_in_crewais_words() {
    let crew = ScriptedCrew::start().await.unwrap();
    let none = raw(&crew, None, "GET", "/inputs", "").await.unwrap();
    assert_eq!(none, (401, r#"{"detail":"Not authenticated"}"#.to_owned()));
    let wrong = raw(&crew, Some("org-wrong"), "GET", "/inputs", "").await.unwrap();
    assert_eq!(wrong.0, 401);
    let missing = call(&crew, "POST", "/kickoff", json!({"inputs": {}})).await;
    assert_eq!(missing, (422, json!({"detail": "Missing inputs: topic"})));
    let bad = raw(&crew, Some(crew.key()), "POST", "/kickoff", "{bad").await.unwrap();
    assert_eq!(bad, (500, "Internal Server Error".to_owned()));
    assert_eq!(call(&crew, "GET", "/status/nothing", Value::Null).await.1["state"], "NOT FOUND");
    assert_eq!(call(&crew, "GET", "/inspect", Value::Null).await.0, 404);
    assert_eq!((crew.calls().total(), crew.run_ids().len()), (6, 0));
}

#[tokio::test]
async fn it_speaks_the_documented_words_too() {
    let crew = ScriptedCrew::start_with(Script::new().words(StatusWords::Documented)).await.unwrap();
    let id = kickoff(&crew, json!({"inputs": {"topic": "x"}})).await;
    let path = format!("/status/{id}");
    assert_eq!(call(&crew, "GET", &path, Value::Null).await.1["status"], "running");
    let (_, done) = call(&crew, "GET", &path, Value::Null).await;
    assert_eq!(
        (&done["status"], &done["result"]["tasks"][0]["task_id"]),
        (&json!("completed"), &json!("report_task"))
    );
    assert_eq!(call(&crew, "GET", "/status/nothing", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_result_may_be_json_that_names_the_run() {
    let script = Script::new().result(r#"{"id": "{kickoff_id}", "topic": "{topic}"}"#).takes(Takes::Polls(0));
    let crew = ScriptedCrew::start_with(script).await.unwrap();
    let id = kickoff(&crew, json!({"inputs": {"topic": "x"}})).await;
    let (_, done) = call(&crew, "GET", &format!("/status/{id}"), Value::Null).await;
    assert_eq!(done["result_json"], json!({"id": id, "topic": "x"}));
    assert!(done["result"].as_str().unwrap().contains(&id));
}

/// A receiver of webhooks: its address, and what arrives with which authorization.
async fn receiver() -> (String, mpsc::UnboundedReceiver<(String, Value)>) {
    let (to, from) = mpsc::unbounded_channel();
    let hook = |State(to): State<mpsc::UnboundedSender<_>>, headers: HeaderMap, Json(body): Json<Value>| async move {
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        to.send((authorization.unwrap_or_default(), body)).unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(hook)).with_state(to);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, from)
}

#[tokio::test]
async fn a_run_that_asks_a_person_pauses_calls_and_is_resumed() {
    let (url, mut calls) = receiver().await;
    for takes in [Takes::Polls(0), Takes::Time(Duration::from_millis(10))] {
        let script = Script::new().human_input("ssn: 536-90-4399 for {topic}").takes(takes);
        let crew = ScriptedCrew::start_with(script).await.unwrap();
        let webhook = json!({"url": url, "authentication": {"strategy": "bearer", "token": "t0k3n"}});
        let body = json!({"inputs": {"topic": "pay"}, "humanInputWebhook": webhook});
        let id = kickoff(&crew, body).await;
        let path = format!("/status/{id}");
        if takes == Takes::Polls(0) {
            assert_eq!(call(&crew, "GET", &path, Value::Null).await.1["state"], "PAUSED");
        }
        let (authorization, told) = calls.recv().await.unwrap();
        assert_eq!((authorization.as_str(), &told["execution_id"]), ("Bearer t0k3n", &json!(id)));
        assert_eq!(told["task_output"], "ssn: 536-90-4399 for pay");
        let task = told["task_id"].as_str().unwrap();

        let resume = |task: &str, approve: bool| json!({"execution_id": id, "taskId": task, "human_feedback": "f", "isApprove": approve, "humanInputWebhook": webhook});
        assert_eq!(call(&crew, "POST", "/resume", json!({})).await.0, 422);
        assert_eq!(call(&crew, "POST", "/resume", resume("other", true)).await.0, 404);
        assert_eq!(call(&crew, "POST", "/resume", resume(task, false)).await.1["status"], "retrying");
        if takes == Takes::Polls(0) {
            assert_eq!(call(&crew, "GET", &path, Value::Null).await.1["state"], "PAUSED");
        }
        assert_eq!(calls.recv().await.unwrap().1["task_id"], task, "the same task, once more");
        assert_eq!(call(&crew, "POST", "/resume", resume(task, true)).await.1["status"], "resumed");
        assert_eq!(call(&crew, "POST", "/resume", resume(task, true)).await.0, 400);
        loop {
            let (_, status) = call(&crew, "GET", &path, Value::Null).await;
            if status["state"] == "SUCCESS" {
                break;
            }
            assert_eq!(status["state"], "RUNNING");
        }
    }
}

#[tokio::test]
async fn it_misbehaves_when_told() {
    let crew = ScriptedCrew::start().await.unwrap();
    let ask = || raw(&crew, Some(crew.key()), "POST", "/kickoff", r#"{"inputs":{"topic":"x"}}"#);
    crew.set_trouble(Trouble::Html);
    assert!(ask().await.unwrap().1.starts_with("<!doctype html>"));
    crew.set_trouble(Trouble::Error);
    assert_eq!(ask().await.unwrap().0, 500);
    assert!(crew.run_ids().is_empty());
    crew.set_trouble(Trouble::Cut);
    assert_eq!(ask().await, None);
    assert_eq!(crew.run_ids().len(), 1, "it acted before it broke off");
    crew.set_trouble(Trouble::None);
    crew.go_down().await;
    assert_eq!(ask().await, None);
    assert_eq!(crew.kickoffs().len(), 3, "nothing arrives while it is down");
    crew.come_up().await.unwrap();
    assert_eq!(ask().await.unwrap().0, 200);
}

#[tokio::test]
async fn an_endless_answer_goes_on_and_on() {
    let crew = ScriptedCrew::start().await.unwrap();
    crew.set_trouble(Trouble::Endless);
    let host = crew.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request =
        format!("GET /inputs HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\r\n", crew.key());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = vec![0; 1024 * 1024];
    stream.read_exact(&mut read).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 200"));
}
