//! Walks every step and checks each answer.

use std::{fs, path::Path, time::Duration};

use crewgate_audit::{Query, Timeline, run_leaves, verify};
use crewgate_store::Store;
use http::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    call::{Answer, Caller},
    house::{House, PATIENCE, Result},
};

/// What no caller may see: the personal data in the scripted results.
const PERSONAL: [&str; 4] =
    ["maria.keller@example.com", "DE89370400440532013000", "4111 1111 1111 1111", "536-90-4399"];

/// Says each step, and stops the tour at the first that does not hold.
struct Guide {
    steps: u32,
}

impl Guide {
    fn step(&mut self, what: &str, holds: bool, seen: &str) -> Result<()> {
        self.steps += 1;
        println!("{:>2}. {} {what}", self.steps, if holds { "ok  " } else { "FAIL" });
        if holds { Ok(()) } else { Err(format!("step {} does not hold; seen: {seen}", self.steps).into()) }
    }

    /// An answer with this status, and with this text in it.
    fn answer(&mut self, what: &str, answer: &Answer, status: StatusCode, holds: &str) -> Result<()> {
        let seen = format!("{} {}", answer.status, answer.text);
        self.step(what, answer.status == status && answer.text.contains(holds), &seen)
    }
}

pub(crate) async fn walk() -> Result<()> {
    let (house, caller, mut guide) = (House::open().await?, Caller::new()?, Guide { steps: 0 });
    let run = identity_and_policy(&house, &caller, &mut guide).await?;
    approval(&house, &caller, &mut guide).await?;
    ended_rights(&house, &caller, &mut guide, &run).await?;
    way_over(&house, &caller, &mut guide).await?;
    let folder = house.folder.clone();
    house.running.stop().await;
    record(&folder, &run, &mut guide).await?;
    fs::remove_dir_all(&folder)?;
    println!("\n{} steps, all as they should be.", guide.steps);
    Ok(())
}

async fn identity_and_policy(house: &House, caller: &Caller, guide: &mut Guide) -> Result<String> {
    let support = format!("{}/support", house.data());
    let (inputs, kickoff) = (format!("{support}/inputs"), format!("{support}/kickoff"));
    let alice = || house.idp.token().subject("alice").groups(["analysts"]).audience("crewgate");
    let answer = caller.get(&inputs, None).await?;
    guide.answer("no token: 401", &answer, StatusCode::UNAUTHORIZED, "token_missing")?;
    let answer = caller.get(&inputs, Some(&alice().expired().sign())).await?;
    guide.answer("an expired token: 401", &answer, StatusCode::UNAUTHORIZED, "token_expired")?;
    let answer = caller.get(&inputs, Some(&alice().audience("another-service").sign())).await?;
    guide.answer("a token for another service: 401", &answer, StatusCode::UNAUTHORIZED, "token_audience")?;
    guide.step("none of them reached the crew", house.support.calls().total() == 0, "the crew was called")?;

    let token = alice().sign();
    let answer = caller.post(&kickoff, Some(&token), json!({ "inputs": { "topic": "churn" } })).await?;
    guide.answer("an allowed kickoff gets a run id", &answer, StatusCode::OK, "kickoff_id")?;
    let run = answer.field("kickoff_id");
    let theirs = house.support.run_ids();
    guide.step("the id is ours, not CrewAI's", !theirs.contains(&run), &run)?;
    let key = house.support.kickoffs().last().and_then(|call| call.headers.get("authorization").cloned());
    let key = key.and_then(|key| key.to_str().ok().map(str::to_owned)).unwrap_or_default();
    guide.step(
        "the crew was called with its own key, not with her token",
        key == format!("Bearer {}", house.support.key()),
        &key,
    )?;
    let done = finished(caller, &format!("{support}/status/{run}"), &token).await?;
    let clean = PERSONAL.iter().all(|secret| !done.text.contains(secret)) && done.text.contains("<EMAIL>");
    guide.step("the result is there and masked", done.field("state") == "SUCCESS" && clean, &done.text)?;

    let before = house.support.calls().kickoff;
    let body = json!({ "inputs": { "topic": "churn", "dataset": "restricted-2026" } });
    let answer = caller.post(&kickoff, Some(&token), body).await?;
    guide.answer(
        "a restricted dataset: 403 with the rule",
        &answer,
        StatusCode::FORBIDDEN,
        "restricted-datasets",
    )?;
    guide.answer("and with its reason", &answer, StatusCode::FORBIDDEN, "ask the data office")?;
    guide.step("the crew was not called", house.support.calls().kickoff == before, "it was called")?;
    Ok(run)
}

async fn approval(house: &House, caller: &Caller, guide: &mut Guide) -> Result<()> {
    let payroll = format!("{}/payroll", house.data());
    let alice =
        house.idp.token().subject("alice").groups(["analysts", "data-owners"]).audience("crewgate").sign();
    let dora = house.idp.token().subject("dora").groups(["data-owners"]).audience("crewgate").sign();
    let body = json!({ "inputs": { "employee_id": "E-2001" } });
    let answer = caller.post(&format!("{payroll}/kickoff"), Some(&alice), body).await?;
    guide.answer("a high-risk kickoff gets a ticket", &answer, StatusCode::OK, "kickoff_id")?;
    let status = format!("{payroll}/status/{}", answer.field("kickoff_id"));
    let answer = caller.get(&status, Some(&alice)).await?;
    guide.answer(
        "its status says it waits, and for whom",
        &answer,
        StatusCode::OK,
        "awaiting approval by data-owners",
    )?;

    let approvals = format!("{}/api/approvals", house.console());
    let list = caller.get(&approvals, Some(&dora)).await?.json();
    let waiting = list.get("waiting").and_then(Value::as_array).cloned().unwrap_or_default();
    let id =
        waiting.first().and_then(|row| row.get("id")).and_then(Value::as_str).unwrap_or_default().to_owned();
    let one = format!("{approvals}/{id}");
    let sheet = caller.get(&one, Some(&dora)).await?;
    guide.answer("the approver sees the exact inputs", &sheet, StatusCode::OK, "E-2001")?;
    let yes = json!({ "verdict": "approve", "digest": sheet.field("digest"), "reason": "quarterly review" });
    let answer = caller.post(&format!("{one}/decision"), Some(&alice), yes.clone()).await?;
    guide.step(
        "the requester cannot approve it, data owner or not",
        answer.status == StatusCode::FORBIDDEN,
        &answer.text,
    )?;
    guide.step("nothing has run", house.payroll.calls().kickoff == 0, "it ran")?;
    let answer = caller.post(&format!("{one}/decision"), Some(&dora), yes).await?;
    guide.step("the data owner approves it", answer.status == StatusCode::OK, &answer.text)?;
    let done = finished(caller, &status, &alice).await?;
    guide.step("it runs", done.field("state") == "SUCCESS", &done.text)?;
    guide.step("once", house.payroll.calls().kickoff == 1, &house.payroll.calls().kickoff.to_string())
}

async fn ended_rights(house: &House, caller: &Caller, guide: &mut Guide, run: &str) -> Result<()> {
    let support = format!("{}/support", house.data());
    let token = |subject: &str, groups: &[&str]| {
        house.idp.token().subject(subject).groups(groups.iter().copied()).audience("crewgate").sign()
    };
    let answer = caller.get(&format!("{support}/inputs"), Some(&token("carol", &[]))).await?;
    guide.answer(
        "a contractor whose role ended yesterday: 403",
        &answer,
        StatusCode::FORBIDDEN,
        "policy_denied",
    )?;
    let answer = caller.get(&format!("{support}/status/{run}"), Some(&token("bob", &["analysts"]))).await?;
    guide.answer("another caller's run: 404", &answer, StatusCode::NOT_FOUND, "run_unknown")
}

async fn way_over(house: &House, caller: &Caller, guide: &mut Guide) -> Result<()> {
    let kickoff = format!("{}/reports/kickoff", house.data());
    let body = json!({ "inputs": { "topic": "sales" } });
    let answer = caller.post(&kickoff, Some(house.reports.key()), body.clone()).await?;
    guide.answer(
        "a crew in observe mode still takes its old shared key",
        &answer,
        StatusCode::OK,
        "kickoff_id",
    )?;
    let answer =
        caller.post(&format!("{}/support/kickoff", house.data()), Some(house.reports.key()), body).await?;
    let refused = answer.status == StatusCode::UNAUTHORIZED;
    guide.step("which opens no other crew", refused, &answer.text)
}

async fn record(folder: &Path, run: &str, guide: &mut Guide) -> Result<()> {
    let database = House::database(folder);
    let report = crewgate_gateway::cli::transition(&database).await.map_err(|error| error.to_string())?;
    let told = report.contains("shared key of crew reports: 1 calls") && report.contains("topic");
    guide.step("the report says who still uses the key", told, &report)?;
    let told = report.contains("kickoff by legacy:reports");
    guide.step("and what would have been refused", told, &report)?;

    let store = Store::open_read_only(&database).await?;
    let leaves = run_leaves(&store, run.parse()?, Query::default().limit).await?;
    let lines = Timeline::of(&leaves)?.lines();
    let story: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let story = story.join("\n");
    let clean = story.contains("<EMAIL>") && PERSONAL.iter().all(|secret| !story.contains(secret));
    guide.step("the run can be replayed as its caller saw it", clean, &story)?;
    for line in lines.iter().take(12) {
        println!("      +{:.3}s {}", line.at.as_secs_f64(), line.text.chars().take(110).collect::<String>());
    }
    let verified = verify(&store, None, |_, _| ()).await?;
    guide.step("the record verifies", verified.is_ok(), &format!("{verified:?}"))?;
    store.close().await;

    let tampered = folder.join("tampered.db");
    fs::copy(&database, &tampered)?;
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&tampered)).await?;
    sqlx::query("UPDATE leaf SET record = json_set(record, '$.time', 0) WHERE idx = 5")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    for end in ["signing-key", "seal-key"] {
        fs::copy(database.with_extension(format!("db.{end}")), tampered.with_extension(format!("db.{end}")))?;
    }
    let store = Store::open_read_only(&tampered).await?;
    let verified = verify(&store, None, |_, _| ()).await?;
    let fault = verified.err().map(|fault| fault.to_string()).unwrap_or_default();
    guide.step(&format!("an edited copy does not: {fault}"), fault.contains("leaf 5"), &fault)?;
    store.close().await;
    Ok(())
}

/// Polls a status until the run has ended, as CrewAI's own clients do.
async fn finished(caller: &Caller, status: &str, token: &str) -> Result<Answer> {
    let start = tokio::time::Instant::now();
    loop {
        let answer = caller.get(status, Some(token)).await?;
        if matches!(answer.field("state").as_str(), "SUCCESS" | "FAILED") || start.elapsed() > PATIENCE {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
