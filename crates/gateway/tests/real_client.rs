//! CrewAI's own client, unchanged: `InvokeCrewAIAutomationTool` with a crew's address at the gateway and an OIDC token.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use real::{Dialect, Folder, House, Http, TOOLS, churn, parts, text, until};
use serde_json::{Value, json};

/// Runs the client to its end; what it returned to its agent.
fn client(python: &Path, url: &str, token: &str) -> String {
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
    let asked = json!({ "url": url, "token": token, "inputs": churn() });
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
