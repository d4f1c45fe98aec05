//! Two gateways on one PostgreSQL: whatever begins at one goes on at the other, and what is approved is sent once.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crewgate_audit::{AuditStore, Phase, Query, verify};
use crewgate_core::SystemClock;
use crewgate_gateway::{Gateway, Running, config::Settings};
use crewgate_testkit::postgres;
use house::{Answer, House, Plan, Serving, call, crewgate, request, said, until};
use serde_json::{Value, json};

/// A gateway, and another one with the same configuration.
struct Pair {
    house: House,
    other: Running,
}

impl Pair {
    /// `None` where there is no PostgreSQL, which has been said.
    async fn open(plan: Plan) -> Option<Self> {
        let house = House::with(Plan { postgres: Some(postgres::database()?), ..plan }).await;
        let settings = Settings::load(&house.config).unwrap();
        let other = Gateway::start_with(settings, prometheus::Registry::new(), Arc::new(SystemClock));
        let other = other.await.unwrap();
        Some(Self { house, other })
    }

    async fn close(self) {
        let report = verify(self.house.running.store(), None, |_, _| ()).await.unwrap();
        report.unwrap();
        self.other.stop().await;
        self.house.stop().await;
    }
}

fn kickoff() -> Value {
    json!({ "inputs": { "employee_id": "E-2001" } })
}

async fn state(data: SocketAddr, run: &str, token: &str, state: &str) -> Answer {
    until(&format!("state {state}"), async || {
        let answer = call(data, "GET", &format!("/payroll/status/{run}"), token, None).await;
        (answer.field("state") == state).then_some(answer)
    })
    .await
}

async fn approve(console: SocketAddr, token: &str) {
    let list = call(console, "GET", "/api/approvals", token, None).await.json();
    let rows = list.get("waiting").and_then(Value::as_array).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let id = rows.first().and_then(|row| row.get("id")).and_then(Value::as_str).unwrap();
    let sheet = call(console, "GET", &format!("/api/approvals/{id}"), token, None).await;
    let yes = json!({ "verdict": "approve", "digest": sheet.field("digest"), "reason": "seen at the other" });
    let answer = call(console, "POST", &format!("/api/approvals/{id}/decision"), token, Some(yes)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_at_one_approved_at_the_other_and_sent_once_whoever_is_asked() {
    let Some(pair) = Pair::open(Plan::default()).await else { return };
    let (house, other) = (&pair.house, &pair.other);
    let run = house.ask(&house.alice()).await;
    state(other.data(), &run, &house.alice(), "PENDING").await;
    approve(other.console().unwrap(), &house.dora()).await;
    // Its owner comes back to both at once, many times.
    let back: Vec<_> = (0..16)
        .map(|n| {
            let data = if n % 2 == 0 { house.data() } else { other.data() };
            let (path, token) = (format!("/payroll/status/{run}"), house.alice());
            tokio::spawn(async move { call(data, "GET", &path, &token, None).await.status })
        })
        .collect();
    for answer in back {
        assert_eq!(answer.await.unwrap(), 200);
    }
    state(house.data(), &run, &house.alice(), "SUCCESS").await;
    state(other.data(), &run, &house.alice(), "SUCCESS").await;
    assert_eq!(house.payroll.calls().kickoff, 1);
    // One record tells all of it, and both read the same.
    let query = || Query::run(run.parse().unwrap()).limit(100);
    let told = house.leaves(query()).await;
    assert!(told.iter().filter(|leaf| leaf.entry().unwrap().phase == Phase::Approval).count() >= 3);
    // What has come meanwhile stands behind it.
    assert!(other.store().leaves(query()).await.unwrap().starts_with(&told), "both read the same");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_held_at_one_is_let_go_by_the_other() {
    let Some(pair) = Pair::open(Plan { payroll: "hold = \"20s\"", ..Plan::default() }).await else { return };
    let (data, token) = (pair.house.data(), pair.house.alice());
    let held =
        tokio::spawn(async move { call(data, "POST", "/payroll/kickoff", &token, Some(kickoff())).await });
    until("the call to wait", async || (pair.house.waiting().await.len() == 1).then_some(())).await;
    approve(pair.other.console().unwrap(), &pair.house.dora()).await;
    let answer = held.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(pair.house.payroll.calls().kickoff, 1);
    state(pair.other.data(), &answer.field("kickoff_id"), &pair.house.alice(), "SUCCESS").await;
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_start_what_runs_by_itself_once() {
    let Some(pair) = Pair::open(Plan { payroll: "release = \"auto_run\"", ..Plan::default() }).await else {
        return;
    };
    let run = pair.house.ask(&pair.house.alice()).await;
    approve(pair.other.console().unwrap(), &pair.house.dora()).await;
    until("a gateway to start it", async || (pair.house.payroll.calls().kickoff > 0).then_some(())).await;
    state(pair.other.data(), &run, &pair.house.alice(), "SUCCESS").await;
    assert_eq!(pair.house.payroll.calls().kickoff, 1);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_of_a_caller_is_one_call_whichever_gateway_is_asked() {
    let Some(pair) = Pair::open(Plan::default()).await else { return };
    let calls: Vec<_> = (0..12)
        .map(|n| {
            let data = if n % 2 == 0 { pair.house.data() } else { pair.other.data() };
            let token = pair.house.alice();
            tokio::spawn(async move {
                let headers = [
                    "connection: close".to_owned(),
                    format!("authorization: Bearer {token}"),
                    "content-type: application/json".to_owned(),
                    "idempotency-key: \"8f0c1d6e-key\"".to_owned(),
                ];
                let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                let body = json!({ "inputs": { "topic": "tides" } }).to_string();
                let mut wire = house::Wire::connect(data).await;
                wire.send(&request("POST", "/support/kickoff", &headers, body.as_bytes())).await;
                wire.answer().await.unwrap()
            })
        })
        .collect();
    for answer in calls {
        let answer = answer.await.unwrap();
        // 409: the first is still being carried out.
        assert!([200, 409].contains(&answer.status), "{}", answer.text());
    }
    assert_eq!(pair.house.support.calls().kickoff, 1);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_at_one_is_out_at_the_other_a_second_later() {
    let tables = "[revocation]\nroles = [\"data-owners\"]\n".to_owned();
    let Some(pair) = Pair::open(Plan { tables, ..Plan::default() }).await else { return };
    let token = pair.house.alice();
    assert_eq!(pair.house.get("/support/inputs", &token).await.status, 200);
    let body =
        json!({ "tokens": { "kind": "subject", "issuer": "dev", "subject": "alice" }, "reason": "left" });
    let console = pair.other.console().unwrap();
    let made = call(console, "POST", "/api/revocations", &pair.house.dora(), Some(body)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = pair.house.get("/support/inputs", &token).await;
    assert_eq!(refused.refusal(), (401, "subject_revoked".to_owned()));
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_leaves_what_waits_to_the_other() {
    let Some(database) = postgres::database() else { return };
    let plan = Plan { postgres: Some(database), payroll: "hold = \"20s\"", ..Plan::default() };
    let house = House::with(plan).await;
    let other = Serving::start(&house.config);
    let (data, token) = (other.address("data"), house.alice());
    let held = tokio::spawn(async move {
        let mut wire = house::Wire::connect(data).await;
        let headers = ["content-type: application/json".to_owned(), format!("authorization: Bearer {token}")];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        wire.send(&request("POST", "/payroll/kickoff", &headers, kickoff().to_string().as_bytes())).await;
        wire.answer().await
    });
    until("the call to wait", async || (house.waiting().await.len() == 1).then_some(())).await;
    other.signal("KILL");
    assert!(held.await.unwrap().is_none(), "its caller hears nothing");
    approve(house.running.console().unwrap(), &house.dora()).await;
    let runs = call(house.running.console().unwrap(), "GET", "/api/runs", &house.alice(), None).await.json();
    let run = runs.pointer("/runs/0/run").or_else(|| runs.pointer("/runs/0/id")).and_then(Value::as_str);
    let run = run.unwrap().to_owned();
    state(house.data(), &run, &house.alice(), "SUCCESS").await;
    assert_eq!(house.payroll.calls().kickoff, 1);
    verify(house.running.store(), None, |_, _| ()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_reads_and_verifies_what_gateways_are_writing() {
    let Some(pair) = Pair::open(Plan::default()).await else { return };
    let run = pair.house.ask(&pair.house.alice()).await;
    let folder = pair.house.folder.path();
    let verified = crewgate(folder, &["audit", "verify", "--config", "crewgate.toml"], "");
    assert!(verified.status.success(), "{}", said(&verified));
    let shown = crewgate(folder, &["runs", "show", &run, "--config", "crewgate.toml"], "");
    assert!(shown.status.success(), "{}", said(&shown));
    assert!(said(&shown).contains("data-owners"), "{}", said(&shown));
    let checked = crewgate(folder, &["check", "--config", "crewgate.toml"], "");
    assert!(checked.status.success(), "{}", said(&checked));
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_gateway_refuses_and_goes_on_when_it_is_back() {
    let Some(database) = postgres::database() else { return };
    let house = House::with(Plan { postgres: Some(database.clone()), ..Plan::default() }).await;
    assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200);
    postgres::hang_up(&database);
    // Whatever is found broken is refused, and nothing was sent; then it is made again.
    until("the database to be used again", async || {
        let answer =
            house.post("/support/kickoff", &house.alice(), json!({ "inputs": { "topic": "t" } })).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(house.support.calls().kickoff, 1);
    verify(house.running.store(), None, |_, _| ()).await.unwrap().unwrap();
}
