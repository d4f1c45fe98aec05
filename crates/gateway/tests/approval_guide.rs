//! Every workflow of `docs/approval.md`, as it stands there: its configuration, its rules, its commands.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use std::{fs, path::Path, time::Duration};

use crewgate_approval::{GrantFilter, GrantState, GrantStore};
use crewgate_audit::Query;
use crewgate_core::{ApprovalStep, Clock, Fact, GrantStep, PrincipalKey, SystemClock, Timestamp};
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
        let payroll_asks = payroll.contains("human_input").then_some("Pay {employee_id}?");
        let tables = self.block("toml").to_owned();
        let ground = Ground::lay(Plan { payroll, payroll_asks, tables, ..Plan::default() }).await;
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
        "on-call" => fresh(house, Some(SystemClock.now())),
        "security" => house.token("sue", &["security"]),
        "stand-in" => house.token("sam", &[]),
        "director" => house.token("dana", &["directors"]),
        other => panic!("nobody is `{other}`"),
    }
}

/// The caller's, who is on call and proved who they are at this instant.
fn fresh(house: &House, authenticated: Option<Timestamp>) -> String {
    let token = house.idp.token().subject("alice").groups(["analysts", "on-call"]).audience("crewgate");
    match authenticated {
        Some(at) => token.claim("auth_time", at.as_micros() / 1_000_000).sign(),
        None => token.sign(),
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

#[tokio::test(flavor = "multi_thread")]
async fn break_glass() {
    let workflow = Workflow::new("break-glass");
    let house = workflow.house(SystemClock).await;
    let run = house.ask(&house.alice()).await;
    let list = house.control("GET", "/api/approvals", &house.alice(), None).await.json();
    let id = list.pointer("/own/0/id").and_then(Value::as_str).unwrap().to_owned();
    let digest =
        house.control("GET", &format!("/api/approvals/{id}"), &house.alice(), None).await.field("digest");
    let path = format!("/api/approvals/{id}/break-glass");
    let body = json!({ "digest": digest, "reason": "production is down and nobody answers" });
    let attempt = async |token: String| house.control("POST", &path, &token, Some(body.clone())).await;
    // Who is not named may not; who has not just proved who they are is told how to (RFC 9470).
    assert_eq!(attempt(house.alice()).await.field("code"), "no_break_glass");
    let hour_ago = SystemClock.now().saturating_sub(Duration::from_secs(3600));
    for stale in [None, Some(hour_ago)] {
        let refused = attempt(fresh(&house, stale)).await;
        assert_eq!(
            (refused.status, refused.field("code").as_str()),
            (401, "insufficient_user_authentication")
        );
        let challenge = refused.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("error=\"insufficient_user_authentication\", max_age=600"), "{challenge}");
    }
    assert_eq!(house.payroll.calls().kickoff, 0);
    let mut commands = workflow.commands().into_iter();
    let (who, line) = commands.next().unwrap();
    let broken = command(&house, who, line).await;
    assert_eq!(broken.pointer("/state/name"), Some(&json!("approved")), "{broken}");
    // It starts by itself: nobody asks for its status.
    until("the call", async || (house.payroll.calls().kickoff == 1).then_some(())).await;
    ends_well(&house, &run).await;
    let (who, line) = commands.next().unwrap();
    let waits = command(&house, who, line).await;
    assert_eq!(waits.pointer("/review/0/id"), Some(&json!(id)), "{waits}");
    // Never by whom it was broken, whatever else they are.
    let review = format!("/api/approvals/{id}/review");
    let right = json!({ "verdict": "approve", "reason": "I was right" });
    let own = house.control("POST", &review, &house.token("alice", &["security"]), Some(right)).await;
    assert_eq!((own.status, own.field("code").as_str()), (403, "self_approval"));
    let (who, line) = commands.next().unwrap();
    command(&house, who, line).await;
    let waits = command(&house, "security", "approvals list").await;
    assert_eq!(waits.pointer("/review"), Some(&json!([])), "{waits}");
    let kinds: Vec<String> = house
        .entries(Query::default())
        .await
        .iter()
        .filter_map(|entry| entry.kind())
        .map(Into::into)
        .collect();
    for kind in ["approval.break_refused", "approval.glass_broken", "approval.reviewed"] {
        assert_eq!(kinds.iter().filter(|told| *told == kind).count(), 1, "{kind}: {kinds:?}");
    }
    assert!(!kinds.iter().any(|kind| kind == "approval.voted"), "nobody has voted, and nothing says so");
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_is_away() {
    let workflow = Workflow::new("away");
    let house = workflow.house(SystemClock).await;
    let run = house.ask(&house.alice()).await;
    let mut listed = Value::Null;
    for (who, line) in workflow.commands() {
        listed = command(&house, who, line).await;
    }
    assert_eq!(listed.pointer("/delegations/0/to"), Some(&json!("dev:sam")), "{listed}");
    ends_well(&house, &run).await;
    let votes: Vec<_> = house
        .entries(Query::default())
        .await
        .into_iter()
        .flat_map(|entry| entry.facts)
        .filter_map(|fact| match fact {
            Fact::Approval { step: ApprovalStep::Voted { by, instead_of, .. }, .. } => Some((by, instead_of)),
            _ => None,
        })
        .collect();
    let dev = |subject| PrincipalKey::new("dev", subject);
    assert_eq!(votes, [(dev("sam"), [dev("olga")].into())]);
    // Ended, the voice is silent.
    let id = listed.pointer("/delegations/0/id").and_then(Value::as_str).unwrap();
    let end = format!("/api/delegations/{id}/end");
    assert_eq!(house.control("POST", &end, &token(&house, "director"), None).await.status, 404);
    assert_eq!(house.control("POST", &end, &token(&house, "stand-in"), None).await.status, 200);
    house.ask(&house.alice()).await;
    let waits = command(&house, "stand-in", "approvals list").await;
    assert_eq!(waits.pointer("/waiting"), Some(&json!([])), "{waits}");
    let folder = house.stop().await;
    verifies(&folder.folder).await;

    // Who was seen is known by now; a drill tells whom nobody could ask.
    let house = House::start(folder).await;
    let drill = async |days: &str| {
        let console = format!("http://{}", house.running.console().unwrap());
        let arguments = ["approvers", "drill", "--seen", days, "--console", &console, "--json"];
        let (token, folder) = (token(&house, "director"), house.folder.path().to_owned());
        tokio::task::block_in_place(|| crewgate_as(Some(&token), &folder, &arguments, ""))
    };
    let nobody = drill("30").await;
    assert_eq!(nobody.status.code(), Some(1), "{}", said(&nobody));
    assert!(said(&nobody).contains("too few people could answer for data-owners"), "{}", said(&nobody));
    let found: Value = serde_json::from_slice(&nobody.stdout).unwrap();
    let set = |name: &str| {
        let sets = found.pointer("/approvers").and_then(Value::as_array).unwrap();
        sets.iter().find(|set| set.get("set") == Some(&json!(name))).unwrap()
    };
    let (owners, directors) = (set("owners"), set("directors"));
    assert_eq!(owners.get("bound"), Some(&json!(["dev:owners"])), "{owners}");
    assert_eq!(owners.pointer("/seen/0/who"), Some(&json!("dev:olga")), "{owners}");
    assert_eq!(owners.pointer("/then/0"), Some(&json!({ "set": "directors", "after": 7200 })), "{owners}");
    assert_eq!(directors.get("enough"), Some(&json!(true)), "{directors}");
    // Nobody of anybody was seen in no time at all.
    let nobody = drill("0").await;
    assert_eq!(nobody.status.code(), Some(1), "{}", said(&nobody));
    assert!(said(&nobody).contains("answer for data-owners, owners, directors"), "{}", said(&nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_decides_goes_to_the_next() {
    let clock = ManualClock::at(SystemClock.now());
    let house = Workflow::new("away").house(clock.clone()).await;
    let run = house.ask(&house.alice()).await;
    let director = || {
        let token = house.idp.token().subject("dana").groups(["directors"]).audience("crewgate");
        token.issued_at(clock.now()).sign()
    };
    let waiting = async || house.control("GET", "/api/approvals", &director(), None).await.json();
    assert_eq!(waiting().await.pointer("/waiting"), Some(&json!([])));
    clock.advance(Duration::from_secs(7200));
    let list = waiting().await;
    let id = list.pointer("/waiting/0/id").and_then(Value::as_str).unwrap_or_else(|| panic!("{list}"));
    let path = format!("/api/approvals/{id}");
    let digest = house.control("GET", &path, &director(), None).await.field("digest");
    let vote = json!({ "verdict": "approve", "digest": digest });
    let voted = house.control("POST", &format!("{path}/decision"), &director(), Some(vote)).await;
    assert_eq!(voted.status, 200, "{}", voted.text());
    let alice = house.idp.token().subject("alice").groups(["analysts"]).audience("crewgate");
    let alice = alice.issued_at(clock.now()).sign();
    until("the call", async || {
        house.get(&format!("/payroll/status/{run}"), &alice).await;
        (house.payroll.calls().kickoff == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_started_a_run_does_not_answer_it() {
    let workflow = Workflow::new("four-eyes");
    let house = workflow.house(SystemClock).await;
    let run = house.ask(&house.alice()).await;
    let list = house.control("GET", "/api/approvals", &token(&house, "owner"), None).await.json();
    let id = list.pointer("/waiting/0/id").and_then(Value::as_str).unwrap();
    command(&house, "owner", "approvals approve {approval} --digest {digest}").await;
    assert!(!id.is_empty());
    let path = format!("/payroll/status/{run}");
    let paused = until("the task that waits", async || {
        let answer = house.get(&path, &house.alice()).await;
        (answer.field("state") == "PAUSED" && !answer.field("task_id").is_empty()).then_some(answer)
    })
    .await;
    let answer = json!({
        "execution_id": paused.field("execution_id"),
        "task_id": paused.field("task_id"),
        "human_feedback": "fine",
        "is_approve": true,
    });
    let resume = async |token: &str| house.post("/payroll/resume", token, answer.clone()).await;
    // Not by whoever started it, and for who is no lawyer it is not there.
    assert_eq!(resume(&house.alice()).await.refusal().0, 403);
    assert_eq!(resume(&house.token("bob", &["analysts"])).await.refusal().0, 403);
    assert_eq!(house.get(&path, &house.token("bob", &["analysts"])).await.refusal().0, 403);
    assert_eq!(house.payroll.calls().resume, 0);
    let lawyer = token(&house, "lawyer");
    assert_eq!(house.get(&path, &lawyer).await.field("state"), "PAUSED");
    let answered = resume(&lawyer).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    ends_well(&house, &run).await;
    assert_eq!(house.payroll.calls().resume, 1);
    verifies(&house.stop().await.folder).await;
}

#[test]
fn no_block_of_the_page_goes_unrun() {
    let page = Workflow::new("").page;
    let known = ["one-approver", "two-groups", "hold", "temporary-right", "break-glass", "away", "four-eyes"];
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
