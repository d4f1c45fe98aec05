//! What the gateway starts by itself: beside what hangs, to its end, and for nobody who is no longer trusted.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::time::Duration;

use crewgate_approval::{ApprovalStore, Filter, State};
use crewgate_core::{Clock, SystemClock};
use crewgate_testkit::ManualClock;
use house::{Ground, House, Plan, call, until, verifies};
use serde_json::{Value, json};

fn auto_run() -> Plan {
    Plan { payroll: "release = \"auto_run\"", ..Plan::default() }
}

/// Dora says yes to all that waits.
async fn approve_all(house: &House) {
    for row in house.waiting().await {
        let id = row.get("id").and_then(Value::as_str).unwrap();
        let sheet = house.control("GET", &format!("/api/approvals/{id}"), &house.dora(), None).await;
        let yes = json!({ "verdict": "approve", "digest": sheet.field("digest") });
        let path = format!("/api/approvals/{id}/decision");
        assert_eq!(house.control("POST", &path, &house.dora(), Some(yes)).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_hangs_holds_up_no_other() {
    let house = House::with(auto_run()).await;
    // Longer than anybody here waits.
    house.payroll.set_delay(house::PATIENCE * 3);
    house.ask(&house.alice()).await;
    house.ask(&house.alice()).await;
    approve_all(&house).await;
    until("both to be started", async || (house.payroll.calls().kickoff == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_waits_for_what_it_has_started_by_itself() {
    let house = House::with(auto_run()).await;
    house.payroll.set_delay(Duration::from_secs(2));
    house.ask(&house.alice()).await;
    approve_all(&house).await;
    until("it to be started", async || (house.payroll.calls().kickoff == 1).then_some(())).await;
    let ground = house.stop().await;
    let store = ground.folder.store().await;
    let all = store.list(Filter::at(SystemClock.now())).await.unwrap();
    let states: Vec<&State> = all.iter().map(|approval| &approval.state).collect();
    assert!(matches!(states.as_slice(), [State::Executed { .. }]), "{states:?}");
    store.close().await;
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_for_who_was_revoked_while_it_waited() {
    let revocation = "[revocation]\nroles = [\"data-owners\"]\n".to_owned();
    for (payroll, hangs_on) in [("hold = \"25s\"", true), ("release = \"auto_run\"", false)] {
        let house = House::with(Plan { payroll, tables: revocation.clone(), ..Plan::default() }).await;
        let (address, token) = (house.data(), house.alice());
        let body = json!({ "inputs": { "employee_id": "E-2001" } });
        let asked =
            tokio::spawn(async move { call(address, "POST", "/payroll/kickoff", &token, Some(body)).await });
        until("the call to wait", async || (house.waiting().await.len() == 1).then_some(())).await;
        let left = json!({ "tokens": { "kind": "subject", "issuer": "dev", "subject": "alice" } });
        assert_eq!(house.control("POST", "/api/revocations", &house.dora(), Some(left)).await.status, 200);
        approve_all(&house).await;
        let answer = asked.await.unwrap();
        if hangs_on {
            assert_eq!(answer.refusal(), (403, "approval_invalidated".to_owned()), "{}", answer.text());
        }
        until("the approval to end", async || {
            let all = house.running.store().list(Filter::at(SystemClock.now())).await.unwrap();
            matches!(all.first().unwrap().state, State::Invalidated { .. }).then_some(())
        })
        .await;
        assert_eq!(house.payroll.calls().kickoff, 0, "{payroll}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_does_not_begin_again_what_has_ended() {
    let now = SystemClock.now();
    let ground = Ground::lay(Plan::default()).await;
    let house = House::start_at(ground, ManualClock::at(now)).await;
    house.ask(&house.alice()).await;
    let ground = house.stop().await;
    let start = async |ground: &Ground, by: i64| {
        let settings = crewgate_gateway::config::Settings::load(&ground.config).unwrap();
        let clock = ManualClock::at(crewgate_core::Timestamp::from_secs(now.as_secs() + by));
        let registry = prometheus::Registry::new();
        crewgate_gateway::Gateway::start_with(settings, registry, std::sync::Arc::new(clock)).await
    };
    let refused = start(&ground, -3600).await.unwrap_err().to_string();
    assert!(
        refused.contains("time would go back") && refused.contains("dangerously_turn_time_back"),
        "{refused}"
    );
    start(&ground, -30).await.unwrap().stop().await;
    // Whoever knows that the record was wrong may say so.
    let text = std::fs::read_to_string(&ground.config).unwrap();
    std::fs::write(
        &ground.config,
        text.replacen("[gateway]\n", "[gateway]\ndangerously_turn_time_back = true\n", 1),
    )
    .unwrap();
    start(&ground, -3600).await.unwrap().stop().await;
}
