//! Roles and temporary grants at the door: what is given counts with the next call, and what has ended or was taken away
//! does not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use std::{num::NonZeroU32, time::Duration};

use crewgate_approval::{GrantState, GrantStore, Narrowing, NewGrant};
use crewgate_audit::{Entry, Phase, Query, Timeline, run_leaves};
use crewgate_core::{
    ApprovalId, ApproverSet, Basis, Clock, Fact, GrantId, GrantStep, InputValue, PrincipalKey, RequestId,
    RoleName, RunId, SystemClock,
};
use crewgate_testkit::ManualClock;
use house::{Answer, Ground, House, Plan, call, crewgate, said, until, verifies};
use serde_json::{Value, json};

fn topic(topic: &str) -> Value {
    json!({ "inputs": { "topic": topic } })
}

fn clock() -> ManualClock {
    ManualClock::at(SystemClock.now())
}

/// A role for somebody of the house, for a minute, agreed to by the data owners.
fn given(subject: &str, role: &str, clock: &ManualClock) -> NewGrant {
    let now = clock.now();
    NewGrant {
        id: GrantId::random(),
        request: RequestId::random(),
        principal: PrincipalKey::new("dev", subject),
        role: RoleName::new(role),
        given: now,
        from: now,
        until: now.saturating_add(Duration::from_secs(60)),
        narrowed: Narrowing::default(),
        reason: "the night shift".to_owned(),
        approval: ApprovalId::random(),
        sets: [ApproverSet::new("data-owners")].into(),
    }
}

async fn house(plan: Plan) -> (House, ManualClock) {
    let clock = clock();
    (House::start_at(Ground::lay(plan).await, clock.clone()).await, clock)
}

impl House {
    async fn give(&self, new: NewGrant) -> GrantId {
        self.running.store().give(new).await.unwrap().id()
    }

    async fn used(&self, grant: GrantId) -> u32 {
        GrantStore::find(self.running.store(), grant).await.unwrap().unwrap().used
    }

    /// Somebody without any group.
    fn bob(&self) -> String {
        self.token("bob", &[])
    }

    async fn revoke(&self, token: &str, grant: GrantId) -> Answer {
        let body = Some(json!({ "reason": "over" }));
        self.control("POST", &format!("/api/grants/{grant}/revoke"), token, body).await
    }
}

fn basis(entries: &[Entry]) -> Basis {
    let facts = entries.iter().rev().flat_map(|entry| &entry.facts);
    let found = facts.filter_map(|fact| match fact {
        Fact::Decided { basis, .. } => Some(basis.clone()),
        _ => None,
    });
    found.last().unwrap_or_else(|| panic!("{entries:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_lets_a_call_pass_until_its_end_and_the_record_names_it() {
    let (house, clock) = house(Plan::default()).await;
    let bob = house.bob();
    let refused = house.post("/support/kickoff", &bob, topic("churn")).await;
    assert_eq!(refused.refusal(), (403, "policy_denied".to_owned()));

    let grant = house.give(given("bob", "analysts", &clock)).await;
    let answer = house.post("/support/kickoff", &bob, topic("churn")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = house.record(&answer).await;
    let decided = basis(&record);
    assert_eq!((decided.grants, decided.roles), ([grant].into(), [RoleName::new("analysts")].into()));
    assert!(record.iter().any(|entry| entry.phase == Phase::Intent && entry.grants() == [grant].into()));
    // And who shows the run reads it.
    let run: RunId = answer.field("kickoff_id").parse().unwrap();
    let leaves = until("the run on the record", async || {
        let leaves = run_leaves(house.running.store(), run, 100).await.unwrap();
        (!leaves.is_empty()).then_some(leaves)
    })
    .await;
    let lines = Timeline::of(&leaves).unwrap().lines();
    assert!(lines.iter().any(|line| line.text.contains(&format!("relying on grant {grant}"))), "{lines:?}");
    let api = house.control("GET", &format!("/api/runs/{run}"), &bob, None).await;
    assert!(api.text().contains(&grant.to_string()), "{}", api.text());
    // Who has the role for good relies on nothing that ends.
    let alice = house.post("/support/kickoff", &house.alice(), topic("churn")).await;
    assert_eq!(basis(&house.record(&alice).await).grants, [].into());

    clock.advance(Duration::from_secs(59));
    assert_eq!(house.post("/support/kickoff", &bob, topic("churn")).await.status, 200);
    clock.advance(Duration::from_secs(1));
    let refused = house.post("/support/kickoff", &bob, topic("churn")).await;
    assert_eq!(refused.refusal(), (403, "policy_denied".to_owned()));
    assert_eq!(basis(&house.record(&refused).await).grants, [].into());
    assert_eq!(house.support.calls().kickoff, 3);
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_gone_with_the_next_call() {
    let (house, clock) = house(Plan::default()).await;
    let (bob, eve) = (house.bob(), house.token("eve", &["analysts"]));
    let [first, second] = [(); 2].map(|()| given("bob", "analysts", &clock));
    for (new, by) in [(first, house.dora()), (second, house.bob())] {
        let id = house.give(new).await;
        assert_eq!(house.get("/support/inputs", &bob).await.status, 200);
        // Only who may approve it sees it, and its holder.
        assert_eq!(house.revoke(&eve, id).await.refusal(), (404, "not_found".to_owned()));
        let list = house.control("GET", "/api/grants", &eve, None).await.json();
        assert_eq!(list, json!({ "own": [], "revocable": [] }));
        let own = house.control("GET", "/api/grants", &bob, None).await.json();
        assert_eq!(own["own"][0]["id"], json!(id));
        let revocable = house.control("GET", "/api/grants", &house.dora(), None).await.json();
        assert_eq!(revocable["revocable"][0]["id"], json!(id));

        let answer = house.revoke(&by, id).await;
        assert_eq!((answer.status, answer.field("state")), (200, "revoked".to_owned()));
        let refused = house.get("/support/inputs", &bob).await;
        assert_eq!(refused.refusal(), (403, "policy_denied".to_owned()));
        assert_eq!(house.revoke(&by, id).await.refusal(), (409, "grant_over".to_owned()));
    }
    let told = house.entries(Query::default().phase(Phase::Grant)).await;
    let by = told.iter().filter_map(|entry| match entry.facts.as_slice() {
        [Fact::Grant { step: GrantStep::Revoked { by, .. }, .. }] => Some(by.subject.as_str()),
        _ => None,
    });
    assert_eq!(by.collect::<Vec<_>>(), ["dora", "bob"]);
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_one_crew_and_one_input_counts_nowhere_else() {
    let (house, clock) = house(Plan::default()).await;
    let bob = house.bob();
    let inputs = [("topic".to_owned(), InputValue::String("churn".to_owned()))];
    let narrowed = Narrowing { resources: ["support".to_owned()].into(), inputs: inputs.into(), uses: None };
    house.give(NewGrant { narrowed, ..given("bob", "analysts", &clock) }).await;
    let denied = (403, "policy_denied".to_owned());
    assert_eq!(house.post("/support/kickoff", &bob, topic("churn")).await.status, 200);
    assert_eq!(house.post("/support/kickoff", &bob, topic("layoffs")).await.refusal(), denied);
    let employee = json!({ "inputs": { "employee_id": "E-2001" } });
    assert_eq!(house.post("/payroll/kickoff", &bob, employee).await.refusal(), denied);
    assert_eq!(house.get("/support/inputs", &bob).await.refusal(), denied, "it carries no inputs");
    assert_eq!(house.support.calls().kickoff, 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_one_use_starts_one_run_whoever_races() {
    let (house, clock) = house(Plan::default()).await;
    let (bob, address) = (house.bob(), house.data());
    let narrowed = Narrowing { uses: NonZeroU32::new(1), ..Narrowing::default() };
    let grant = house.give(NewGrant { narrowed, ..given("bob", "analysts", &clock) }).await;
    assert_eq!(house.get("/support/inputs", &bob).await.status, 200);
    assert_eq!(house.used(grant).await, 0, "reading is no use");

    let calls: Vec<_> = (0..8)
        .map(|_| {
            let token = bob.clone();
            tokio::spawn(async move {
                call(address, "POST", "/support/kickoff", &token, Some(topic("churn"))).await
            })
        })
        .collect();
    let mut runs = Vec::new();
    for call in calls {
        let answer = call.await.unwrap();
        if answer.status == 200 {
            runs.push(answer.field("kickoff_id"));
        } else {
            let (status, code) = answer.refusal();
            assert!(status == 403 && (code == "grant_over" || code == "policy_denied"), "{code}");
        }
    }
    assert_eq!((runs.len(), house.support.calls().kickoff, house.used(grant).await), (1, 1, 1));
    // What was started can be read until the grant ends.
    let path = format!("/support/status/{}", runs[0]);
    assert_eq!(house.get(&path, &bob).await.status, 200);
    let row = GrantStore::find(house.running.store(), grant).await.unwrap().unwrap();
    assert_eq!(row.state_at(clock.now()), GrantState::UsedUp);
    clock.advance(Duration::from_secs(60));
    assert_eq!(house.get(&path, &bob).await.refusal(), (403, "policy_denied".to_owned()));
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_makes_an_approver_as_long_as_it_counts() {
    let (house, clock) = house(Plan::default()).await;
    let cem = house.token("cem", &[]);
    house.ask(&house.alice()).await;
    let waiting = async |token: &str| {
        let list = house.control("GET", "/api/approvals", token, None).await.json();
        list["waiting"].as_array().unwrap().len()
    };
    assert_eq!(waiting(&cem).await, 0);
    // One that is narrowed to calls is no right to speak for anybody.
    let narrowed = Narrowing { uses: NonZeroU32::new(9), ..Narrowing::default() };
    house.give(NewGrant { narrowed, ..given("cem", "data-owners", &clock) }).await;
    assert_eq!(waiting(&cem).await, 0);
    let grant = house.give(given("cem", "data-owners", &clock)).await;
    assert_eq!(waiting(&cem).await, 1);
    house.revoke(&house.dora(), grant).await;
    assert_eq!(waiting(&cem).await, 0);

    house.give(given("cem", "data-owners", &clock)).await;
    let sheet = house.sheet().await;
    let (id, digest) = (sheet["id"].as_str().unwrap(), sheet["digest"].clone());
    let yes = json!({ "verdict": "approve", "digest": digest });
    let path = format!("/api/approvals/{id}/decision");
    clock.advance(Duration::from_secs(60));
    let late = house.control("POST", &path, &cem, Some(yes.clone())).await;
    assert_eq!(late.refusal(), (404, "not_found".to_owned()), "it has ended");
    house.give(given("cem", "data-owners", &clock)).await;
    assert_eq!(house.control("POST", &path, &cem, Some(yes)).await.status, 200);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_spends_its_use_when_it_is_released_and_not_before() {
    let (house, clock) = house(Plan::default()).await;
    let bob = house.bob();
    let narrowed = Narrowing { uses: NonZeroU32::new(1), ..Narrowing::default() };
    let grant = house.give(NewGrant { narrowed, ..given("bob", "analysts", &clock) }).await;
    let run = house.ask(&bob).await;
    house.approve().await;
    assert_eq!((house.used(grant).await, house.payroll.calls().kickoff), (0, 0));
    let path = format!("/payroll/status/{run}");
    until("the run to end", async || {
        let answer = house.get(&path, &bob).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.field("state") == "SUCCESS").then_some(())
    })
    .await;
    assert_eq!((house.used(grant).await, house.payroll.calls().kickoff), (1, 1));
    let again = json!({ "inputs": { "employee_id": "E-2001" } });
    assert_eq!(
        house.post("/payroll/kickoff", &bob, again).await.refusal(),
        (403, "policy_denied".to_owned())
    );
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_whose_grant_was_taken_away_is_not_sent() {
    let payroll = "release = \"auto_run\"\ngroups_max_age = \"5m\"";
    let (house, clock) = house(Plan { payroll, ..Plan::default() }).await;
    let grant = house.give(given("bob", "analysts", &clock)).await;
    house.ask(&house.bob()).await;
    assert_eq!(house.sheet().await["basis"]["grants"], json!([grant]), "the approver sees what it relies on");
    assert_eq!(house.revoke(&house.bob(), grant).await.status, 200);
    let id = house.approve().await;
    // The gateway starts it by itself, and decides anew.
    let state = until("the release", async || {
        let sheet = house.control("GET", &format!("/api/approvals/{id}"), &house.dora(), None).await.json();
        let state = sheet["state"]["name"].as_str().unwrap().to_owned();
        (state != "approved" && state != "executing").then_some(state)
    })
    .await;
    assert_eq!((state.as_str(), house.payroll.calls().total()), ("invalidated", 0));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_includes_roles() {
    let tables =
        "[[role]]\nname = \"lead\"\ngroups = [\"dev:leads\"]\nincludes = [\"analysts\"]\n".to_owned();
    let (house, _) = house(Plan { tables, ..Plan::default() }).await;
    let lead = house.token("lea", &["leads"]);
    let answer = house.get("/support/inputs", &lead).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(basis(&house.record(&answer).await).roles, [RoleName::new("analysts")].into());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_read_again_and_a_circle_leaves_them_as_they_were() {
    let (house, clock) = house(Plan::default()).await;
    let (lead, bob) = (house.token("lea", &["leads"]), house.bob());
    house.give(given("bob", "lead", &clock)).await;
    let text = std::fs::read_to_string(&house.config).unwrap();
    let lead_of = |analysts: &str| {
        let tables = "[[role]]\nname = \"lead\"\ngroups = [\"dev:leads\"]\nincludes = [\"analysts\"]\n";
        std::fs::write(&house.config, format!("{text}{tables}").replacen("[[role]]", analysts, 1)).unwrap();
    };
    let both = async || {
        let [lead, bob] = [&lead, &bob].map(|token| house.get("/support/inputs", token));
        [lead.await.status, bob.await.status]
    };
    assert_eq!(both().await, [403, 403]);
    lead_of("[[role]]");
    house.running.reload().await.unwrap();
    assert_eq!(both().await, [200, 200], "grants count under the new words too");
    lead_of("[[role]]\nincludes = [\"lead\"]");
    let refused = house.running.reload().await.unwrap_err().to_string();
    assert!(refused.contains("in a circle: analysts → lead → analysts"), "{refused}");
    assert_eq!(both().await, [200, 200]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_nobody_their_calls_again() {
    let ground = Ground::lay(Plan::default()).await;
    ground.folder.write(
        "policy/rates.cedar",
        "@id(\"one-an-hour\")\n@rate(\"1/h\")\nforbid (principal, action == Action::\"kickoff\", resource == Crew::\"support\");\n",
    );
    let house = House::start(ground).await;
    let alice = house.alice();
    assert_eq!(house.post("/support/kickoff", &alice, topic("churn")).await.status, 200);
    let limited = (429, "rate_limited".to_owned());
    assert_eq!(house.post("/support/kickoff", &alice, topic("churn")).await.refusal(), limited);
    let house = House::start(house.stop().await).await;
    assert_eq!(house.post("/support/kickoff", &alice, topic("churn")).await.refusal(), limited);
    assert_eq!(house.support.calls().kickoff, 1);
    // Each caller has calls of their own.
    let carl = house.token("carl", &["analysts"]);
    assert_eq!(house.post("/support/kickoff", &carl, topic("churn")).await.status, 200);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_explained_from_a_name_and_from_a_token() {
    let (house, clock) = house(Plan::default()).await;
    let grant = house.give(given("bob", "analysts", &clock)).await;
    let token = house.token("bob", &["data-owners"]);
    house.folder.write("bob.token", format!("Bearer {token}\n"));
    let explain = async |arguments: &[&str]| {
        let mut all = vec!["roles", "explain", "--json"];
        all.extend_from_slice(arguments);
        let (folder, all) =
            (house.folder.path().to_owned(), all.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let run = move || crewgate(&folder, &all.iter().map(String::as_str).collect::<Vec<_>>(), "");
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    for arguments in [&["dev:bob", "--group", "dev:data-owners"][..], &["--token-file", "bob.token"][..]] {
        let output = explain(arguments).await;
        assert!(output.status.success(), "{}", said(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let roles = told["roles"].as_array().unwrap();
        assert_eq!((&roles[0]["role"], &roles[0]["held"]), (&json!("analysts"), &json!("yes")));
        assert_eq!(roles[0]["ways"][0]["by"], json!(format!("grant {grant}")));
        assert_eq!(roles[1]["ways"][0]["by"], json!("group dev:data-owners"));
    }
    let later = clock.now().saturating_add(Duration::from_secs(3600)).to_string();
    let output = explain(&["dev:bob", "--at", &later]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["roles"][0]["held"], json!("no"), "{}", said(&output));
    for wrong in [&[][..], &["bob"][..], &["okta:bob"][..], &["dev:bob", "--group", "data-owners"][..]] {
        assert_eq!(explain(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    house.folder.write("bob.token", "eyJhbGciOiJub25lIn0.e30.");
    assert_eq!(explain(&["--token-file", "bob.token"]).await.status.code(), Some(1));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_listed_and_taken_away_on_the_command_line() {
    let (house, clock) = house(Plan::default()).await;
    let grant = house.give(given("bob", "analysts", &clock)).await;
    let console = format!("http://{}", house.running.console().unwrap());
    let id = grant.to_string();
    let run = async |token: String, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_crewgate"));
        command.args(["grants", "--console", &console]).args(arguments).env("CREWGATE_TOKEN", token);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let output = run(house.bob(), &["list"]).await;
    assert!(said(&output).starts_with(&format!("yours\n{id}  live")), "{}", said(&output));
    let output = run(house.alice(), &["list"]).await;
    assert_eq!(said(&output), "no temporary grants\n");
    assert_eq!(run(house.alice(), &["list", "--all"]).await.status.code(), Some(1));
    assert_eq!(run(house.alice(), &["revoke", &id]).await.status.code(), Some(1));
    let output = run(house.dora(), &["revoke", &id, "--reason", "over"]).await;
    assert_eq!(said(&output), format!("{id}: revoked\n"));
    let output = run(house.bob(), &["list", "--over"]).await;
    assert!(said(&output).contains("revoked"), "{}", said(&output));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_about_to_end_are_told() {
    let day = |days: u64| SystemClock.now().saturating_add(Duration::from_secs(days * 86_400)).to_string();
    let table = |name: &str, until: String| {
        format!("[[role]]\nname = \"{name}\"\ngroups = [\"dev:{name}\"]\nuntil = \"{until}\"\n")
    };
    let tables = table("soon", day(3)) + &table("later", day(30));
    let house = House::with(Plan { tables, ..Plan::default() }).await;
    let ready = house.ops("/readyz").await;
    assert_eq!(ready.status, 200, "amber serves");
    let parts = ready.json()["parts"].clone();
    assert_eq!(parts["role soon of dev:soon"]["state"], json!("amber"), "{parts}");
    assert!(parts["role later of dev:later"].is_null(), "{parts}");
    let folder = house.folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || crewgate(&folder, &["check"], "")).await.unwrap();
    let said = said(&output);
    assert!(said.contains("note: role soon of dev:soon ends at") && !said.contains("later"), "{said}");
    house.stop().await;
}
