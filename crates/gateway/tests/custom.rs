//! Operations a crew declares beside CrewAI's own, and prompts that rules speak of, at the door.

mod house;

use crewgate_core::Fact;
use crewgate_testkit::Script;
use house::{House, Plan};
use http::Method;
use serde_json::{Value, json};

const OPERATIONS: &str = "[[crew.operation]]
action = \"reports.export\"
method = \"POST\"
path = \"/reports/export\"
inputs.dataset = { type = \"string\", dataset = true, required = true }
inputs.note = { type = \"text\" }

[[crew.operation]]
action = \"reports.list\"
method = \"GET\"
path = \"/reports\"
";

const RULES: &str = r#"@id("analysts-read-reports")
permit (principal in Role::"analysts", action == Action::"reports.list", resource == Crew::"support");

@id("analysts-export")
permit (principal in Role::"analysts", action == Action::"reports.export", resource == Crew::"support")
when { context.datasets.contains("sales-2026") || context.datasets.contains("hr-2026") };

@id("hr-needs-a-data-owner")
@approval("data-owners")
forbid (principal, action == Action::"reports.export", resource) when { context.datasets.contains("hr-2026") };
"#;

async fn house() -> House {
    let answer = json!({ "report": "for maria.keller@example.com", "key": "AKIAIOSFODNN7EXAMPLE" });
    let script = Script::new().answers(Method::GET, "/reports", json!({ "reports": ["q3"] })).answers(
        Method::POST,
        "/reports/export",
        answer,
    );
    let plan = Plan { support: OPERATIONS, script: Some(script), ..Plan::default() };
    let ground = house::Ground::lay(plan).await;
    ground.folder.write("policy/reports.cedar", RULES);
    House::start(ground).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_operation_is_identified_decided_masked_and_recorded_like_crewais_own() {
    let house = house().await;
    assert_eq!(house.get("/support/reports", "").await.status, 401);
    let bob = house.token("bob", &["interns"]);
    assert_eq!(house.get("/support/reports", &bob).await.refusal(), (403, "policy_denied".to_owned()));
    let list = house.get("/support/reports", &house.alice()).await;
    assert_eq!((list.status, list.json()), (200, json!({ "reports": ["q3"] })), "{}", list.text());

    // Undeclared, or declared for another crew: nothing leaves.
    let before = house.support.calls().total();
    let other = house.get("/support/exports", &house.alice()).await;
    assert_eq!(other.refusal(), (404, "route_unknown".to_owned()));
    let other = house.get("/payroll/reports", &house.alice()).await;
    assert_eq!(other.refusal(), (404, "route_unknown".to_owned()));
    let secret = json!({ "dataset": "top-secret" });
    let refused = house.post("/support/reports/export", &house.alice(), secret).await;
    assert_eq!(refused.refusal(), (403, "policy_denied".to_owned()));
    assert_eq!(house.support.calls().total(), before);

    let body = json!({ "dataset": "sales-2026", "note": "as agreed" });
    let export = house.post("/support/reports/export", &house.alice(), body.clone()).await;
    assert_eq!(export.status, 200, "{}", export.text());
    assert!(export.text().contains("maria.keller"), "the floor of this crew masks secrets alone");
    assert!(!export.text().contains("AKIAIOSFODNN7EXAMPLE"), "{}", export.text());
    let sent = house.support.received().pop().unwrap();
    assert_eq!((sent.method, sent.path.as_str()), (Method::POST, "/reports/export"));
    assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap(), body);
    let facts: Vec<_> = house.record(&export).await.into_iter().flat_map(|entry| entry.facts).collect();
    assert!(
        facts.iter().any(|fact| matches!(fact, Fact::Decided { basis, .. }
            if format!("{basis:?}").contains("analysts-export"))),
        "{facts:?}"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_operation_that_needs_approval_waits_and_then_is_sent_once() {
    let house = house().await;
    let body = json!({ "dataset": "hr-2026" });
    let alice = house.alice();
    let waits = house.post("/support/reports/export", &alice, body.clone());
    let approves = async {
        house::until("an approval", async || (house.waiting().await.len() == 1).then_some(())).await;
        let sheet = house.sheet().await;
        assert!(sheet.to_string().contains("hr-2026"), "{sheet}");
        house.approve().await;
    };
    let (answer, ()) = tokio::join!(waits, approves);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let exports = house.support.received().into_iter().filter(|call| call.path == "/reports/export");
    assert_eq!(exports.count(), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_see_which_listed_prompt_is_used() {
    let support = "inputs.task = { type = \"text\", prompt = true }
[[crew.prompt]]
id = \"weekly\"
text = \"Summarise the week.\"
[[crew.prompt]]
id = \"payouts\"
text = \"List all payouts.\"
";
    let ground = house::Ground::lay(Plan { support, ..Plan::default() }).await;
    ground.folder.write(
        "policy/prompts.cedar",
        "@id(\"no-payouts\")\n@reason(\"Payouts are listed by finance.\")\n\
         forbid (principal, action == Action::\"kickoff\", resource == Crew::\"support\")\n\
         when { context.prompts.contains(\"payouts\") };",
    );
    let house = House::start(ground).await;
    let ask = |task: &str| json!({ "inputs": { "topic": "churn", "task": task } });
    let weekly = house.post("/support/kickoff", &house.alice(), ask("Summarise the week.")).await;
    assert_eq!(weekly.status, 200, "{}", weekly.text());
    let payouts = house.post("/support/kickoff", &house.alice(), ask("List all payouts.")).await;
    assert_eq!(payouts.refusal(), (403, "policy_refused".to_owned()), "{}", payouts.text());
    let other = house.post("/support/kickoff", &house.alice(), ask("List all payouts!")).await;
    assert_eq!(other.refusal(), (422, "input_prompt".to_owned()));
    assert_eq!(house.support.kickoffs().len(), 1);
    house.stop().await;
}
