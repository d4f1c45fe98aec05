//! CrewAI's own client, unchanged: `InvokeCrewAIAutomationTool` with a crew's address at the gateway and an OIDC token.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use real::{Desk, Dialect, Folder, House, Http, TOOLS, churn, parts, text, until};
use serde_json::{Value, json};

/// Runs the client to its end; what it returned to its agent.
fn client(python: &Path, url: &str, token: &str) -> String {
    patient_client(python, url, token, 60)
}

/// Runs the client, which asks for the status for so many seconds, to its end; what it returned to its agent.
fn patient_client(python: &Path, url: &str, token: &str, seconds: u64) -> String {
    let storage = Folder::new("", "");
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/client.py"))
        .envs([
            ("CREWAI_DISABLE_TELEMETRY", "true"),
            ("OTEL_SDK_DISABLED", "true"),
            ("CREWAI_TRACING_ENABLED", "false"),
        ])
        .env("CREWAI_STORAGE_DIR", storage.file("crewai"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "url": url, "token": token, "inputs": churn(), "seconds": seconds });
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let last = printed
        .lines()
        .last()
        .unwrap_or_else(|| panic!("the client said nothing and ended {}", output.status));
    let answer: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {printed}"));
    text(&answer, "returned").to_owned()
}

/// The report, with the customer's name, without what is masked.
fn assert_masked_report(returned: &str) {
    assert!(
        returned.starts_with("Report on churn for sales.") && returned.contains("Maria Keller"),
        "{returned}"
    );
    for secret in real::ORIGINAL {
        assert!(!returned.contains(secret), "{returned}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crewais_client_runs_a_crew_through_the_gateway() {
    let Some([python]) = parts([TOOLS]) else { return };
    let Some(house) = House::open(Dialect::Live).await else { return };
    let url = format!("{}/support", house.gateway.data);
    let token = house.token_of_person(house.idp.job("ci-job").await);
    let returned = tokio::task::spawn_blocking(move || client(&python, &url, &token)).await.unwrap();
    assert_masked_report(&returned);
    assert_eq!(house.tap.kickoffs(), 1);
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn crewais_client_waits_for_an_approval_as_for_a_slow_crew() {
    let Some([python]) = parts([TOOLS]) else { return };
    let Some(house) = House::open(Dialect::Live).await else { return };
    let url = format!("{}/restricted", house.gateway.data);
    let token = house.token_of_person(house.idp.job("ci-job").await);
    let waiting = tokio::task::spawn_blocking(move || client(&python, &url, &token));
    let hanna = Http::with(house.token_of_person(house.idp.person("hanna").await));
    let approvals = format!("{}/api/approvals", house.gateway.console);
    let id = until("the client's request", Duration::from_secs(60), async || {
        let list = hanna.get(&approvals).await.expect(200).json();
        real::waiting(&list).first().map(|row| text(row, "id").to_owned())
    })
    .await;
    // Long enough for the client to ask for the status and be told to wait.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!waiting.is_finished(), "the client did not wait");
    assert_eq!(house.tap.kickoffs(), 0);
    let sheet = hanna.get(&format!("{approvals}/{id}")).await.expect(200).json();
    let yes = json!({ "verdict": "approve", "digest": text(&sheet, "digest") });
    hanna.post(&format!("{approvals}/{id}/decision"), &yes).await.expect(200);
    assert_masked_report(&waiting.await.unwrap());
    assert_eq!(house.tap.kickoffs(), 1);
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn crewais_client_is_told_why_it_is_refused() {
    let Some([python]) = parts([TOOLS]) else { return };
    let Some(house) = House::open(Dialect::Live).await else { return };
    let url = format!("{}/support", house.gateway.data);
    let token = house.token_of_person(house.idp.job("other-job").await);
    let returned = tokio::task::spawn_blocking(move || client(&python, &url, &token)).await.unwrap();
    assert!(
        returned.starts_with("Error: Failed to kickoff crew.") && returned.contains("detail"),
        "{returned}"
    );
    assert_eq!(house.tap.kickoffs(), 0);
    house.close();
}

/// Lifetime of a token and length of the run, in seconds: the run outlives two tokens. With `CREWGATE_TEN_MINUTES=1`
/// tokens of five minutes and a run of ten.
fn lengths() -> (u32, u64) {
    if std::env::var_os("CREWGATE_TEN_MINUTES").is_some_and(|value| value == "1") {
        (300, 600)
    } else {
        (6, 15)
    }
}

/// A process that ends with the test.
struct Ending(std::process::Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crewais_client_knows_one_static_bearer_while_its_tokens_change() {
    let Some([python]) = parts([TOOLS]) else { return };
    let (lifetime, length) = lengths();
    let Some(house) = House::with_tokens_of(Dialect::Live, lifetime).await else { return };
    let desk = Desk::new(&house.gateway.data, &house.idp.issuer);

    // She signs in with a code, on a page of the provider.
    let login = desk.login();
    house.idp.enter(text(&login.prompt, "verification_uri_complete"), "alice").await;
    let signed_in = login.end().await;
    assert!(signed_in.status.success(), "{signed_in:?}");

    // A proxy to a crew whose kickoffs wait for an approver, so that the run is as long as we like.
    let arguments = ["connect", "restricted", "--listen", "127.0.0.1:0"];
    let mut connect = desk.command(&arguments).stderr(Stdio::inherit()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(connect.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let connect = Ending(connect);
    let ready: Value = serde_json::from_str(ready.strip_prefix("crewgate ready ").unwrap()).unwrap();
    let (url, secret) = (text(&ready, "url").to_owned(), text(&ready, "secret").to_owned());
    let waiting = tokio::task::spawn_blocking(move || patient_client(&python, &url, &secret, length + 120));

    let approvals = format!("{}/api/approvals", house.gateway.console);
    let list = async || {
        // Hanna's tokens are as short.
        let hanna = Http::with(house.token_of_person(house.idp.person("hanna").await));
        let list = hanna.get(&approvals).await.expect(200).json();
        (hanna, real::waiting(&list).first().map(|row| text(row, "id").to_owned()))
    };
    until("the client's request", Duration::from_secs(60), async || list().await.1).await;
    let mut lives = std::collections::BTreeSet::new();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(length) {
        let kept = std::fs::read(desk.login_file()).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        lives.insert(kept.get("from").and_then(Value::as_i64).unwrap());
        house.token_of_person(text(&kept, "token").to_owned());
        assert!(!waiting.is_finished(), "the client did not wait");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(lives.len() >= 3, "the token did not change twice in {length} s: {lives:?}");
    assert_eq!(house.tap.kickoffs(), 0);

    let (hanna, id) = list().await;
    let approval = format!("{approvals}/{}", id.unwrap());
    let sheet = hanna.get(&approval).await.expect(200).json();
    let yes = json!({ "verdict": "approve", "digest": text(&sheet, "digest") });
    hanna.post(&format!("{approval}/decision"), &yes).await.expect(200);
    assert_masked_report(&waiting.await.unwrap());
    assert_eq!(house.tap.kickoffs(), 1);
    drop(connect);
    house.close();
}
