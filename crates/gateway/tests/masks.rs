//! Masks from outside: a run's numbers, who may see what they stand for, and that no value is left lying about.

mod house;

use crewgate_audit::{Phase, Query};
use crewgate_core::Fact;
use crewgate_testkit::Script;
use serde_json::{Value, json};

use house::{Answer, Ground, House, Plan, Serving, call, contains, crewgate_as, said, until};

const MARIA: &str = "maria.keller@example.com";
const TOM: &str = "tom.brandt@example.org";

const MASKS: &str = r#"
[masking]
keys = [{ file = "mask.key" }]
[mask.desk]
find = { EMAIL = "number", US_SSN = "block", IBAN = "encrypt" }
restore = ["data-owners"]
[mask.clean]
find = { CREDIT_CARD = "type" }
on_request = "refuse"
"#;

/// An example of ISO 13616.
const IBAN: &str = "DE89 3704 0044 0532 0130 00";

const READERS: &str = "[record]\nreaders = [\"data-owners\", \"auditors\"]\n\
    [[role]]\nname = \"auditors\"\ngroups = [\"dev:auditors\"]\n";

const POLICY: &str = r#"@id("all-run")
permit (principal, action, resource);
@id("desk")
@mask("desk")
forbid (principal, action, resource);
@id("clean")
@mask("clean")
forbid (principal, action == Action::"kickoff", resource);
"#;

async fn ground(result: &str) -> Ground {
    let ground = Ground::lay(Plan {
        support: "inputs.note = { type = \"text\" }",
        tables: format!("{MASKS}{READERS}"),
        script: Some(Script::new().inputs(["topic", "note"]).result(result)),
        ..Plan::default()
    })
    .await;
    ground.folder.write("mask.key", "k".repeat(44));
    ground.folder.write("policy/crews.cedar", POLICY);
    ground
}

fn asked(note: &str) -> Value {
    json!({ "inputs": { "topic": "churn", "note": note } })
}

async fn finished(house: &House, token: &str, run: &str) -> Answer {
    until("SUCCESS", async || {
        let answer = house.get(&format!("/support/status/{run}"), token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.field("state") == "SUCCESS").then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_one_number_per_value_from_the_request_on_and_over_a_restart() {
    let house = House::start(ground(&format!("{{note}}; {TOM}, {MARIA}")).await).await;
    let alice = house.alice();
    let answer = house.post("/support/kickoff", &alice, asked(&format!("write to {MARIA}"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let run = answer.field("kickoff_id");
    let sent = house.support.kickoffs().remove(0).body;
    assert!(contains(&sent, "write to <EMAIL_1>") && !contains(&sent, MARIA), "{sent:?}");
    let result = finished(&house, &alice, &run).await.field("result");
    assert_eq!(result, "write to <EMAIL_1>; <EMAIL_2>, <EMAIL_1>");
    let ground = house.stop().await;
    assert!(!contains(&ground.folder.database(), "example.com"), "the database holds a value");
    let house = House::start(ground).await;
    let again = finished(&house, &alice, &run).await.field("result");
    assert_eq!(again, "write to <EMAIL_1>; <EMAIL_2>, <EMAIL_1>");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entitled_caller_sees_the_values_and_the_record_says_so_and_keeps_the_tokens() {
    let house = House::start(ground(&format!("{{note}}; {TOM}")).await).await;
    let dora = house.token("dora", &["data-owners"]);
    let run = house.post("/support/kickoff", &dora, asked(MARIA)).await.field("kickoff_id");
    let answer = finished(&house, &dora, &run).await;
    assert_eq!(answer.field("result"), format!("{MARIA}; {TOM}"));
    let request = answer.header("request-id").unwrap().parse().unwrap();
    let record = until("all of the call on the record", async || {
        let found = house.entries(Query::request(request)).await;
        found.iter().any(|entry| entry.phase == Phase::Outcome).then_some(found)
    })
    .await;
    let facts: Vec<&Fact> = record.iter().flat_map(|entry| &entry.facts).collect();
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Restored { .. })), "{facts:?}");
    let outcome = record.iter().find(|entry| entry.phase == Phase::Outcome).unwrap();
    let masked = |fact: &Fact| matches!(fact, Fact::Masked { hits, .. } if hits.contains_key("EMAIL"));
    assert!(outcome.facts.iter().any(masked), "{outcome:?}");
    let told: Vec<u8> = outcome.frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
    assert!(!contains(&told, "example.org"), "the record holds a value");
    assert!(contains(&told, "<EMAIL_1>; <EMAIL_2>"), "{}", String::from_utf8_lossy(&told));
    let ground = house.stop().await;
    assert!(!contains(&ground.folder.database(), "example.org"), "the database holds a value");
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_are_turned_back_in_a_text_for_whom_policy_and_profile_entitle_and_each_use_is_recorded() {
    let house = House::start(ground(&format!("{{note}}; {TOM}; {IBAN}")).await).await;
    let (alice, dora) = (house.alice(), house.dora());
    let (auditor, eve) = (house.token("audrey", &["auditors"]), house.token("eve", &["analysts"]));
    let run = house.post("/support/kickoff", &alice, asked(MARIA)).await.field("kickoff_id");
    let other = house.post("/support/kickoff", &alice, asked("nothing")).await.field("kickoff_id");
    let masked = finished(&house, &alice, &run).await.field("result");
    finished(&house, &alice, &other).await;
    assert!(masked.starts_with("<EMAIL_1>; <EMAIL_2>; <IBAN:e:"), "{masked}");
    let ask = async |who: &str, run: &str, text: &str| {
        let body = json!({ "text": text });
        house.control("POST", &format!("/api/runs/{run}/restore"), who, Some(body)).await
    };
    let clear = format!("{MARIA}; {TOM}; {IBAN}");
    let answer = ask(&dora, &run, &format!("see {masked}, <EMAIL_7>")).await;
    assert_eq!(answer.json(), json!({ "text": format!("see {clear}, <EMAIL_7>"), "restored": 3 }));
    // Numbers are of their run; what is encrypted is of its key.
    let answer = ask(&dora, &other, &masked).await;
    assert_eq!(answer.json(), json!({ "text": format!("{TOM}; <EMAIL_2>; {IBAN}"), "restored": 2 }));

    // In JSON, values are spelt as JSON spells them.
    let document = json!({ "text": json!({ "to": masked }).to_string(), "json": true });
    let answer = house.control("POST", &format!("/api/runs/{run}/restore"), &dora, Some(document)).await;
    assert_eq!(answer.json().get("text"), Some(&json!(json!({ "to": clear }).to_string())));
    let answer = house
        .control(
            "POST",
            &format!("/api/runs/{run}/restore"),
            &dora,
            Some(json!({ "text": "{", "json": true })),
        )
        .await;
    assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()));

    // The owner is not entitled, nor is who reads the record; whoever is neither does not learn that the run exists.
    for who in [&alice, &auditor] {
        let answer = ask(who, &run, &masked).await;
        assert_eq!(answer.refusal(), (403, "restore_denied".to_owned()), "{}", answer.text());
    }
    assert_eq!(ask(&eve, &run, &masked).await.status, 404);
    assert_eq!(ask("", &run, &masked).await.status, 401);
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(ask(&dora, nobody, &masked).await.status, 404);

    // The command, with one's own token.
    let console = format!("http://{}", house.running.console().unwrap());
    let folder = house.folder.path().to_owned();
    let arguments = ["mask", "restore", run.as_str(), "-", "--console", console.as_str()];
    let (args, input, token) = (arguments.map(str::to_owned), masked.clone(), dora.clone());
    let command = async |token: String| {
        let (args, input, folder) = (args.clone(), input.clone(), folder.clone());
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            crewgate_as(Some(&token), &folder, &args, &input)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let output = command(token).await;
    assert_eq!((output.status.code(), said(&output)), (Some(0), format!("{clear}\n")));
    let output = command(alice.clone()).await;
    assert!(output.status.code() == Some(1) && said(&output).contains("restore_denied"), "{}", said(&output));

    // A rule that keeps her from the status keeps her from this.
    let closed = format!(
        "{POLICY}@id(\"no\")\nforbid (principal in Role::\"data-owners\", action == Action::\"status\", resource);\n"
    );
    house.folder.write("policy/crews.cedar", closed);
    house.running.reload().await.unwrap();
    assert_eq!(ask(&dora, &run, &masked).await.refusal(), (403, "policy_refused".to_owned()));

    let control = house.entries(Query::default().phase(Phase::Access)).await;
    let said = |entry: &crewgate_audit::Entry| {
        let what = entry.facts.iter().find_map(|fact| match fact {
            Fact::Control { by: Some(by), what } => Some((by.subject.clone(), what.clone())),
            _ => None,
        })?;
        let restored = entry.facts.iter().any(|fact| matches!(fact, Fact::Restored { .. }));
        let decided = entry.facts.iter().any(|fact| matches!(fact, Fact::Decided { .. }));
        what.1.starts_with("access.restore").then_some((
            what.0,
            what.1,
            restored,
            decided,
            entry.run.is_some(),
        ))
    };
    let told: Vec<_> = control.iter().filter_map(said).collect();
    let line =
        |who: &str, what: &str, restored| (who.to_owned(), format!("access.{what}"), restored, true, true);
    let expected = [
        line("dora", "restore", true),
        line("dora", "restore", true),
        line("dora", "restore", true),
        line("dora", "restore_refused", true),
        line("alice", "restore_refused", false),
        line("audrey", "restore_refused", false),
        line("dora", "restore", true),
        line("alice", "restore_refused", false),
        line("dora", "restore_refused", false),
    ];
    assert_eq!(told, expected);
    let ground = house.stop().await;
    let database = ground.folder.database();
    for value in [MARIA, TOM, IBAN] {
        assert!(!contains(&database, value), "the database holds {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_profile_refuses_or_blocks_does_not_pass() {
    let house = House::start(ground("the number is 536-90-4399").await).await;
    let alice = house.alice();
    let answer = house.post("/support/kickoff", &alice, asked("pay with 4111 1111 1111 1111")).await;
    assert_eq!(answer.refusal(), (422, "request_blocked".to_owned()));
    let answer = house.post("/support/kickoff", &alice, asked("for 536-90-4399")).await;
    assert_eq!(answer.refusal(), (422, "request_blocked".to_owned()));
    assert_eq!(house.support.kickoffs().len(), 0, "nothing was sent");
    let run = house.post("/support/kickoff", &alice, asked("hello")).await.field("kickoff_id");
    let path = format!("/support/status/{run}");
    let answer = until("a blocked answer", async || {
        let answer = house.get(&path, &alice).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.refusal(), (403, "answer_blocked".to_owned()));
    assert!(!answer.text().contains("4399"), "{}", answer.text());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_hits_by_entity_and_hold_no_value() {
    let ground = ground(&format!("{TOM} {MARIA}")).await;
    let serving = Serving::start(&ground.config);
    let (data, ops, alice) = (serving.address("data"), serving.address("ops"), ground.alice());
    let answer = call(data, "POST", "/support/kickoff", &alice, Some(asked(MARIA))).await;
    let path = format!("/support/status/{}", answer.field("kickoff_id"));
    until("SUCCESS", async || {
        (call(data, "GET", &path, &alice, None).await.field("state") == "SUCCESS").then_some(())
    })
    .await;
    let metrics = until("the count", async || {
        let text = call(ops, "GET", "/metrics", "", None).await.text();
        let line = text.lines().find(|line| line.starts_with("crewgate_masked") && line.contains("EMAIL"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        count.is_some_and(|count| count >= 3.0).then(|| text.clone())
    })
    .await;
    assert!(!metrics.contains("example.") && !metrics.contains("note"), "{metrics}");
    assert_eq!(serving.terminate(), Some(0));
}
