//! Every workflow of `docs/approval.md`, as it stands there: its configuration, its rules, its commands.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use std::{fs, path::Path, time::Duration};

use crewgate_approval::{GrantFilter, GrantState, GrantStore};
use crewgate_audit::Query;
use crewgate_core::{Clock, Fact, GrantStep, SystemClock};
use crewgate_testkit::ManualClock;
use house::{Answer, Ground, House, Plan, crewgate_as, said, until, verifies};
use serde_json::{Value, json};

const ANALYSTS: &str = r#"
@id("analysts-run-crews")
permit (principal in Role::"analysts", action, resource);
"#;

/// The blocks of one workflow, by kind.
struct Workflow {
    page: String,
    name: &'static str,
}

impl Workflow {
    fn new(name: &'static str) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/approval.md");
        Self { page: fs::read_to_string(page).unwrap(), name }
    }

    fn find(&self, kind: &str) -> Option<&str> {
        let (_, rest) = self.page.split_once(&format!("\n```{kind},{}\n", self.name))?;
        rest.split_once("\n```").map(|(block, _)| block)
    }

    fn block(&self, kind: &str) -> &str {
        self.find(kind).unwrap_or_else(|| panic!("no block `{kind},{}`", self.name))
    }

    async fn house(&self, clock: impl Clock) -> House {
        let payroll: &'static str = self.find("crew").unwrap_or_default().to_owned().leak();
        let ground =
            Ground::lay(Plan { payroll, tables: self.block("toml").to_owned(), ..Plan::default() }).await;
        ground.folder.write("policy/crews.cedar", format!("{ANALYSTS}{}", self.block("cedar")));
        House::start_at(ground, clock).await
    }

    /// Who types what.
    fn commands(&self) -> Vec<(&str, &str)> {
        self.block("console").lines().map(|line| line.split_once("$ crewgate ").unwrap()).collect()
    }
}

/// The token of whoever stands before the `$`.
fn token(house: &House, who: &str) -> String {
    match who {
        // No group of theirs lets them run payroll.
        "caller" => house.token("alice", &[]),
        "owner" => house.token("olga", &["owners"]),
        "owner2" => house.token("omar", &["owners", "lawyers"]),
        "lawyer" => house.token("lena", &["lawyers"]),
        other => panic!("nobody is `{other}`"),
    }
}

/// Types one command, with the placeholders filled from what was asked last.
async fn command(house: &House, who: &str, line: &str) -> Value {
    let caller = house.alice();
    let list = house.control("GET", "/api/approvals", &caller, None).await.json();
    let id = list.pointer("/own/0/id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let sheet = house.control("GET", &format!("/api/approvals/{id}"), &caller, None).await;
    let digest = sheet.json().get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
    let line = line.replace("{approval}", &id).replace("{digest}", &digest);
    let console = format!("http://{}", house.running.console().unwrap());
    let mut arguments: Vec<&str> = line.split(' ').collect();
    arguments.extend(["--console", &console, "--json"]);
    let (token, folder) = (token(house, who), house.folder.path().to_owned());
    let output = tokio::task::block_in_place(|| crewgate_as(Some(&token), &folder, &arguments, ""));
    assert!(output.status.success(), "{who}$ {line}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn state(house: &House, run: &str) -> Answer {
    house.get(&format!("/payroll/status/{run}"), &house.alice()).await
}

async fn ends_well(house: &House, run: &str) {
    until("the run to end", async || (state(house, run).await.field("state") == "SUCCESS").then_some(()))
        .await;
    assert_eq!(house.payroll.calls().kickoff, 1, "it runs once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approver() {
    let workflow = Workflow::new("one-approver");
    let house = workflow.house(SystemClock).await;
    let run = house.ask(&house.alice()).await;
    for (who, line) in workflow.commands() {
        assert_eq!(house.payroll.calls().kickoff, 0);
        command(&house, who, line).await;
    }
    ends_well(&house, &run).await;
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups() {
    let workflow = Workflow::new("two-groups");
    let house = workflow.house(SystemClock).await;
    let run = house.ask(&house.alice()).await;
    for (who, line) in workflow.commands() {
        let waiting = state(&house, &run).await;
        assert_eq!(waiting.field("state"), "PENDING", "before {who}: {}", waiting.text());
        command(&house, who, line).await;
    }
    ends_well(&house, &run).await;
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_or_hold() {
    let workflow = Workflow::new("hold");
    let house = workflow.house(SystemClock).await;
    let (address, alice) = (house.data(), house.alice());
    let body = json!({ "inputs": { "employee_id": "E-2001" } });
    let held =
        tokio::spawn(
            async move { house::call(address, "POST", "/payroll/kickoff", &alice, Some(body)).await },
        );
    let owner = token(&house, "owner");
    until("the call to wait", async || {
        let list = house.control("GET", "/api/approvals", &owner, None).await.json();
        list.pointer("/waiting/0").is_some().then_some(())
    })
    .await;
    assert!(!held.is_finished(), "its caller is held");
    for (who, line) in workflow.commands() {
        command(&house, who, line).await;
    }
    let answer = held.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    ends_well(&house, &answer.field("kickoff_id")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_for_a_while() {
    let workflow = Workflow::new("temporary-right");
    let clock = ManualClock::at(SystemClock.now());
    let house = workflow.house(clock.clone()).await;
    let kickoff = async || {
        let body = json!({ "inputs": { "employee_id": "E-2001" } });
        house.post("/payroll/kickoff", &token(&house, "caller"), body).await
    };
    assert_eq!(kickoff().await.status, 403);
    let mut listed = Value::Null;
    for (who, line) in workflow.commands() {
        assert_eq!(house.payroll.calls().kickoff, 0);
        listed = command(&house, who, line).await;
    }
    let end = clock.now().saturating_add(Duration::from_secs(7200));
    assert_eq!(listed.pointer("/own/0/state"), Some(&json!("live")), "{listed}");
    assert_eq!(listed.pointer("/own/0/until"), Some(&json!(end.to_string())), "{listed}");
    // Narrowed to one call on payroll: one leaves, the second does not.
    assert_eq!(kickoff().await.status, 200);
    assert_eq!(kickoff().await.status, 403);
    assert_eq!(house.payroll.calls().kickoff, 1);
    // What gave it, to whom and for what is on the record; and it ends by the clock, with nobody's doing.
    let facts: Vec<Fact> =
        house.entries(Query::default()).await.into_iter().flat_map(|entry| entry.facts).collect();
    let given = facts.iter().any(|fact| {
        matches!(fact, Fact::Grant { step: GrantStep::Given { reason, until, .. }, .. }
            if reason == "month-end" && *until == end)
    });
    assert!(given, "{facts:#?}");
    clock.advance(Duration::from_secs(7200));
    let ended = GrantFilter { over: true, ..GrantFilter::at(clock.now()) };
    let ended = GrantStore::list(house.running.store(), ended).await.unwrap();
    let states: Vec<GrantState> = ended.iter().map(|grant| grant.state_at(clock.now())).collect();
    assert_eq!(states, [GrantState::Ended]);
    verifies(&house.stop().await.folder).await;
}

#[test]
fn no_block_of_the_page_goes_unrun() {
    let page = Workflow::new("").page;
    let known = ["one-approver", "two-groups", "hold", "temporary-right"];
    let mut open = false;
    for line in page.lines() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        if !open && kind != "text" {
            let (_, workflow) = kind.split_once(',').unwrap_or_else(|| panic!("nobody runs `{kind}`"));
            assert!(known.contains(&workflow), "nobody runs `{kind}`");
        }
        open = !open;
    }
}
