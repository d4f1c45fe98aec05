//! The whole path for real: tokens of a real OpenID provider, a real CrewAI server, and the program between them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use std::time::Duration;

use real::{Dialect, House, Http, churn, is, text, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_ci_job_runs_crews_and_reads_masked_results() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let job = house.job("ci-job").await;
    for crew in ["root", "support"] {
        let inputs = job.get(&format!("/{crew}/inputs")).await.expect(200).json();
        assert_eq!(inputs, json!({ "inputs": ["audience", "customer_id", "topic"] }));
        let run = job.kickoff(crew, &churn()).await;
        let status = job.result(crew, &run).await;
        let result = text(&status, "result");
        assert!(
            result.starts_with("Report on churn for sales.") && result.contains("Maria Keller"),
            "{status}"
        );
        // The old form of the address is the same run.
        let old = job.get(&format!("/{crew}/{run}/status")).await.expect(200).json();
        assert_eq!(text(&old, "result"), result);
        // Wherever CrewAI's id stands in the answer, ours does.
        let last = status.get("last_executed_task").unwrap();
        assert_eq!(text(last, "kickoff_id"), run, "{status}");
    }
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_with_a_code_and_runs_a_flow() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let alice = house.person("alice").await;
    let note = "call Maria at +49 30 901820 or maria.keller@example.com";
    let run = alice.kickoff("notes", &json!({ "note": note })).await;
    let status = alice.result("notes", &run).await;
    let result: Value = serde_json::from_str(text(&status, "result")).unwrap();
    let notes = result.get("notes").and_then(Value::as_array).unwrap();
    assert!(
        notes.iter().any(|note| note.as_str().is_some_and(|note| note.starts_with("call Maria at "))),
        "{status}"
    );
    assert_eq!(
        status.get("result_json"),
        Some(&result),
        "the parsed and the written result are masked alike"
    );
    // The flow's state bears CrewAI's id of the run; the caller sees ours, in the text as well.
    assert_eq!(text(&result, "id"), run, "{status}");
    // Her next run goes on from the state of this one.
    let next = json!({ "inputs": { "note": "and then?" }, "restoreFromStateId": run });
    let answer = alice.post("/notes/kickoff", &next).await.expect(200).json();
    let status = alice.result("notes", text(&answer, "kickoff_id")).await;
    let restored: Value = serde_json::from_str(text(&status, "result")).unwrap();
    assert_eq!(restored.get("notes").and_then(Value::as_array).unwrap().len(), 2, "{status}");
    // Nobody else's does, and nobody chooses whose state is written.
    let bob = house.person("bob").await;
    bob.post("/notes/kickoff", &next).await.expect(404);
    for (status, body) in [
        (404, json!({ "inputs": { "note": "x" }, "restoreFromStateId": uuid_of_nobody() })),
        (422, json!({ "inputs": { "note": "x", "id": run } })),
        (422, json!({ "inputs": { "note": "x" }, "crewWebhookUrl": "http://127.0.0.1:9/" })),
        (422, json!({ "inputs": { "note": "x" }, "somethingNew": true })),
    ] {
        let answer = alice.post("/notes/kickoff", &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    assert_eq!(house.tap.kickoffs(), 2);
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_the_openapi_document_is_masked_and_carries_own_ids_too() {
    let Some(house) = House::open(Dialect::OpenApi).await else { return };
    let alice = house.person("alice").await;
    let run = alice.kickoff("support", &churn()).await;
    let status = alice.poll("support", &run, |status| text(status, "status") == "completed").await;
    let result = status.get("result").unwrap();
    assert!(text(result, "output").starts_with("Report on churn for sales."), "{status}");
    alice.get(&format!("/support/status/{}", uuid_of_nobody())).await.expect(404);
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_callers_run_is_not_found() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let (alice, bob, job) =
        (house.person("alice").await, house.person("bob").await, house.job("ci-job").await);
    let run = alice.kickoff("support", &churn()).await;
    alice.result("support", &run).await;
    let asked = house.tap.asked().len();
    for other in [&bob, &job] {
        let stolen = other.get(&format!("/support/status/{run}")).await.expect(404);
        let unknown = other.get(&format!("/support/status/{}", uuid_of_nobody())).await.expect(404);
        other.get(&format!("/support/{run}/status")).await.expect(404);
        let without_id = |answer: &real::Answer| {
            let mut problem = answer.json();
            problem.as_object_mut().unwrap().retain(|name, _| name != "request_id" && name != "instance");
            problem
        };
        assert_eq!(without_id(&stolen), without_id(&unknown), "a stolen id and an unknown one look the same");
    }
    // Her own run, but on another crew: not there either.
    alice.get(&format!("/notes/status/{run}")).await.expect(404);
    assert_eq!(house.tap.asked().len(), asked, "none of this reached CrewAI");
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_no_role_or_an_ended_one_is_refused_before_crewai() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    for caller in [house.person("carl").await, house.job("other-job").await, house.person("hanna").await] {
        let refused = caller.post("/support/kickoff", &json!({ "inputs": churn() })).await.expect(403);
        assert!(refused.header("content-type").starts_with("application/problem+json"), "{refused:?}");
    }
    Http::new().get(&format!("{}/support/inputs", house.gateway.data)).await.expect(401);
    assert_eq!(house.tap.asked(), "");
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_shows_own_ids_and_goes_on_when_it_is_resumed() {
    for dialect in [Dialect::Live, Dialect::OpenApi] {
        let Some(house) = House::open(dialect).await else { return };
        let (alice, dora) = (house.person("alice").await, house.person("dora").await);
        let run = alice.kickoff("payroll", &json!({ "audience": "hr", "employee_id": "E-2001" })).await;
        let paused = alice.poll("payroll", &run, |status| !text(status, "task_id").is_empty()).await;
        let (execution, task) = (text(&paused, "execution_id"), text(&paused, "task_id"));
        let answer = |ok: bool, words: &str| json!({ "execution_id": execution, "task_id": task, "human_feedback": words, "is_approve": ok });
        // CrewAI's id of the task came by webhook: it must not be the one that is shown.
        assert!(!house.tap.asked().contains(task) && !house.tap.answered().contains(task), "{paused}");
        // Somebody else with the same role cannot answer for her.
        dora.post("/payroll/resume", &answer(true, "fine")).await.expect(404);
        let again = alice.post("/payroll/resume", &answer(false, "name the bonus")).await.expect(200);
        assert_eq!(text(&again.json(), "status"), "retrying", "{again:?}");
        // The second answer in the other spelling, as soon as the run waits again.
        let resumed = until("the second pause", Duration::from_secs(60), async || {
            let status = alice.status("payroll", &run).await;
            let (execution, task) = (text(&status, "execution_id"), text(&status, "task_id"));
            if task.is_empty() {
                return None;
            }
            let body = json!({
                "executionId": execution, "taskId": task, "humanFeedback": "fine", "isApprove": true,
            });
            Some(alice.post("/payroll/resume", &body).await).filter(|answer| answer.status == 200)
        })
        .await;
        assert_eq!(text(&resumed.json(), "status"), "resumed", "{resumed:?}");
        let ended = |status: &Value| is(status, "SUCCESS") || text(status, "status") == "completed";
        let status = alice.poll("payroll", &run, ended).await;
        let result = match dialect {
            Dialect::Live => text(&status, "result"),
            Dialect::OpenApi => text(status.get("result").unwrap(), "output"),
        };
        assert!(result.contains("Report on pay for hr.") && result.contains("name the bonus"), "{status}");
        assert_eq!(house.tap.kickoffs(), 1);
        // The pause, both answers and what came of them are told again, in this order.
        let kicked = format!("\"kickoff_id\":\"{run}\"");
        told_again(
            &house,
            &run,
            &[&kicked, task, "name the bonus", "retrying", "fine", "resumed", "Report on pay for hr."],
        );
        house.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payroll_run_is_asked_for_agreed_to_and_answered_by_three_people() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let (alice, dora) = (house.person("alice").await, house.person("dora").await);
    let run = alice.kickoff("salaries", &json!({ "audience": "hr", "employee_id": "E-2001" })).await;
    let waiting = alice.status("salaries", &run).await;
    assert!(is(&waiting, "PENDING") && text(&waiting, "status").contains("data-owners"), "{waiting}");
    assert_eq!(house.tap.kickoffs(), 0, "CrewAI was called before anybody agreed");

    let approvals = format!("{}/api/approvals", house.gateway.console);
    let hanna = Http::with(house.token_of_person(house.idp.person("hanna").await));
    let row = only_row(&hanna.get(&approvals).await.expect(200).json());
    let one = format!("{approvals}/{}", text(&row, "id"));
    let sheet = hanna.get(&one).await.expect(200).json();
    let yes = json!({ "verdict": "approve", "digest": text(&sheet, "digest"), "reason": "month-end" });
    hanna.post(&format!("{one}/decision"), &yes).await.expect(200);

    let paused = alice.poll("salaries", &run, |status| !text(status, "task_id").is_empty()).await;
    let answer = json!({
        "execution_id": text(&paused, "execution_id"),
        "task_id": text(&paused, "task_id"),
        "human_feedback": "the bonus is right",
        "is_approve": true,
    });
    // Not by who started it; by a colleague, who reads there what she is asked.
    alice.post("/salaries/resume", &answer).await.expect(403);
    assert_eq!(text(&dora.status("salaries", &run).await, "task_id"), text(&paused, "task_id"));
    let resumed = dora.post("/salaries/resume", &answer).await.expect(200);
    assert_eq!(text(&resumed.json(), "status"), "resumed", "{resumed:?}");
    let status = alice.poll("salaries", &run, |status| is(status, "SUCCESS")).await;
    assert!(text(&status, "result").contains("Report on pay for hr."), "{status}");
    assert_eq!(house.tap.kickoffs(), 1);
    let steps = [
        "salaries/kickoff",
        "asks data-owners",
        "approves, which settles it",
        "the call leaves",
        "salaries/resume",
        "the bonus is right",
        "Report on pay for hr.",
    ];
    told_again(&house, &run, &steps);
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotated_while_running_keep_working_and_removed_ones_stop() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let (job, alice) = (house.job("ci-job").await, house.person("alice").await);
    job.get("/support/inputs").await.expect(200);
    alice.get("/support/inputs").await.expect(200);
    // New keys beside the old ones.
    house.idp.rotate(true).await;
    let fresh = house.job("ci-job").await;
    fresh.get("/support/inputs").await.expect(200);
    job.get("/support/inputs").await.expect(200);
    house.person("bob").await.get("/support/inputs").await.expect(200);
    // New keys instead of the old ones: once they have been fetched, a token of the old ones is worth nothing.
    let late = house.job("ci-job").await;
    house.idp.rotate(false).await;
    house.job("ci-job").await.get("/support/inputs").await.expect(200);
    house.person("alice").await.get("/support/inputs").await.expect(200);
    for removed in [late, fresh, job, alice] {
        removed.get("/support/inputs").await.expect(401);
    }
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_risky_kickoff_waits_for_its_approver_and_runs_once() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let job = house.job("ci-job").await;
    let run = job.kickoff("restricted", &churn()).await;
    let waiting = job.status("restricted", &run).await;
    assert!(is(&waiting, "PENDING"), "{waiting}");
    assert!(text(&waiting, "status").contains("data-owners"), "{waiting}");
    assert_eq!(house.tap.kickoffs(), 0, "CrewAI was called before anybody agreed");

    let approvals = format!("{}/api/approvals", house.gateway.console);
    let hanna = Http::with(house.token_of_person(house.idp.person("hanna").await));
    let row = only_row(&hanna.get(&approvals).await.expect(200).json());
    let one = format!("{approvals}/{}", text(&row, "id"));
    let sheet = hanna.get(&one).await.expect(200);
    for input in ["C-1001", "churn", "sales"] {
        assert!(sheet.text().contains(input), "the approver does not see {input}: {sheet:?}");
    }
    let yes = json!({ "verdict": "approve", "digest": text(&sheet.json(), "digest"), "reason": "quarterly review" });
    // Neither the requester nor somebody without the role decides; nor a yes to something else.
    let requester = Http::with(house.token_of_person(house.idp.job("ci-job").await));
    let bob = Http::with(house.token_of_person(house.idp.person("bob").await));
    for other in [&requester, &bob] {
        let refused = other.post(&format!("{one}/decision"), &yes).await;
        assert!(matches!(refused.status.as_u16(), 403 | 404), "{refused:?}");
    }
    let other_digest = json!({ "verdict": "approve", "digest": "0".repeat(64) });
    let refused = hanna.post(&format!("{one}/decision"), &other_digest).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    assert!(is(&job.status("restricted", &run).await, "PENDING"));
    assert_eq!(house.tap.kickoffs(), 0);

    hanna.post(&format!("{one}/decision"), &yes).await.expect(200);
    let status = job.result("restricted", &run).await;
    assert!(text(&status, "result").starts_with("Report on churn for sales."), "{status}");
    let steps = [
        "restricted/kickoff",
        "asks data-owners",
        "approves, which settles it",
        "the call leaves",
        "Report on churn",
    ];
    told_again(&house, &run, &steps);
    // Asking again, and agreeing again, starts nothing.
    let _ = hanna.post(&format!("{one}/decision"), &yes).await;
    job.result("restricted", &run).await;
    assert_eq!(house.tap.kickoffs(), 1);
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn approvers_decide_on_the_command_line_too() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let (alice, hanna) =
        (house.person("alice").await, house.token_of_person(house.idp.person("hanna").await));
    let console = house.gateway.console.clone();
    let approvals = |arguments: &[&str]| {
        let rest = ["--console", &console, "--token-env", "APPROVER_TOKEN", "--json"];
        let output = house.command(&[&["approvals"], arguments, &rest].concat(), &hanna);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let approved = alice.kickoff("restricted", &churn()).await;
    let row = only_row(&approvals(&["list"]));
    let sheet = approvals(&["show", text(&row, "id")]);
    approvals(&["approve", text(&row, "id"), "--digest", text(&sheet, "digest")]);
    alice.result("restricted", &approved).await;
    assert_eq!(house.tap.kickoffs(), 1);

    let denied = alice.kickoff("restricted", &churn()).await;
    let row = only_row(&approvals(&["list"]));
    let sheet = approvals(&["show", text(&row, "id")]);
    approvals(&[
        "deny",
        text(&row, "id"),
        "--digest",
        text(&sheet, "digest"),
        "--reason",
        "not this quarter",
    ]);
    let status = alice.status("restricted", &denied).await;
    assert!(is(&status, "FAILED") && text(&status, "status").contains("not this quarter"), "{status}");
    assert!(text(&status, "result").contains("not this quarter"), "{status}");
    assert_eq!(house.tap.kickoffs(), 1, "a denied kickoff ran");
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_listed_shown_and_replayed_without_its_secrets() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let alice = house.person("alice").await;
    let run = alice.kickoff("support", &churn()).await;
    alice.result("support", &run).await;
    let list = house.ask(&["runs", "list"]).to_string();
    assert!(list.contains(&run) && list.contains("alice"), "{list}");
    for arguments in [["runs", "show", &run], ["runs", "replay", &run]] {
        let shown = house.ask(&arguments).to_string();
        assert!(shown.contains("analysts-run-customer-crews") || arguments.contains(&"replay"), "{shown}");
        for secret in real::ORIGINAL.into_iter().chain([real::CREW_KEY]) {
            assert!(!shown.contains(secret), "{arguments:?} shows {secret}");
        }
    }
    let replay = house.ask(&["runs", "replay", &run]).to_string();
    assert!(replay.contains("Report on churn for sales."), "the replay shows what the caller saw: {replay}");
    house.close();
}

/// A replay of this run tells these, in this order.
fn told_again(house: &House, run: &str, pieces: &[&str]) {
    let replay = house.ask(&["runs", "replay", run]);
    let steps = replay.get("steps").and_then(Value::as_array).unwrap();
    let lines: Vec<&str> = steps.iter().map(|step| text(step, "text")).collect();
    let mut rest = lines.iter();
    for piece in pieces {
        // An answer's quotes stand in the line as they are.
        assert!(rest.any(|line| line.contains(piece)), "`{piece}` is not told in its place: {lines:#?}");
    }
}

/// The one approval that waits for whoever asked for the list.
fn only_row(list: &Value) -> Value {
    match real::waiting(list).as_slice() {
        [row] => row.clone(),
        _ => panic!("not one approval waits: {list}"),
    }
}

fn uuid_of_nobody() -> &'static str {
    "0b8f2c1d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_signs_in_with_its_key_and_shows_no_secret() {
    let Some(house) = House::open(Dialect::Live).await else { return };
    let desk = real::Folder::new("", "");
    std::fs::write(desk.file("signer.pem"), &house.idp.signer).unwrap();
    let settings = format!(
        "issuer = \"{}\"\nsource = \"client-credentials\"\nclient_id = \"signer\"\nclient_key = \"signer.pem\"\n\
         scopes = [\"crews\"]\nresource = \"urn:crewgate\"\n",
        house.idp.issuer
    );
    std::fs::write(desk.file("client.toml"), settings).unwrap();
    let output = desk.run(&["token", "print", "--client-config", "client.toml"], &[]);
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    // Known to the gateway, and without a role there.
    house.caller(token).get("/support/inputs").await.expect(403);
    house.close();
}
