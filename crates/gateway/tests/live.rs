//! Rules and words that change while calls are served, and a second rule set beside the first.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{collections::BTreeSet, fs};

use crewgate_audit::{AuditStore as _, Entry, Phase, Query};
use crewgate_core::{Divergence, Fact, PolicyHash, Shadowed};
use crewgate_testkit::Script;
use house::{Answer, Ground, House, Plan, Serving, call, crewgate, said, until};
use serde_json::{Value, json};

const GOOD: &str = r#"@id("interns-look")
permit (principal in Role::"interns", action == Action::"inputs", resource);
"#;

/// A second role, which the plain house has not.
fn with_interns() -> Plan {
    Plan {
        tables: "[[role]]\nname = \"interns\"\ngroups = [\"dev:interns\"]\n".to_owned(),
        ..Plan::default()
    }
}

fn topic() -> Value {
    json!({ "inputs": { "topic": "churn" } })
}

impl House {
    fn bob(&self) -> String {
        self.token("bob", &["interns"])
    }

    /// State and reason of a part of `/readyz`.
    async fn part(&self, name: &str) -> Option<(String, String)> {
        let ready = self.ops("/readyz").await;
        assert_eq!(ready.status, 200, "amber serves: {}", ready.text());
        let part = ready.json().pointer(&format!("/parts/{name}")).cloned()?;
        let text = |key: &str| part.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some((text("state"), text("reason")))
    }

    /// What the record says of reloads, in order.
    async fn reloads(&self) -> Vec<Fact> {
        let control = self.entries(Query::default()).await;
        let facts = control.into_iter().flat_map(|entry| entry.facts);
        facts.filter(|fact| matches!(fact, Fact::PolicyLoaded { .. } | Fact::PolicyRefused { .. })).collect()
    }

    /// The rule set that decided the call with this answer.
    async fn decided_by(&self, answer: &Answer) -> PolicyHash {
        let basis = |entry: &Entry| {
            entry.facts.iter().find_map(|fact| match fact {
                Fact::Decided { basis, .. } => basis.policy.clone(),
                _ => None,
            })
        };
        self.record(answer).await.iter().find_map(basis).unwrap()
    }

    /// Differences on the record, once there are as many as this.
    async fn differences(&self, count: usize) -> Vec<Shadowed> {
        until("a difference on the record", async || {
            let control = self.entries(Query::default().phase(Phase::Policy)).await;
            let found: Vec<_> = control
                .into_iter()
                .flat_map(|entry| entry.facts)
                .filter_map(|fact| match fact {
                    Fact::Shadowed(how) => Some(*how),
                    _ => None,
                })
                .collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{from}");
        self.folder.write("crewgate.toml", text.replacen(from, to, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_folder_is_read_and_a_bad_one_keeps_the_running_rules() {
    let house = House::with(with_interns()).await;
    let refused = house.get("/support/inputs", &house.bob()).await;
    assert_eq!(refused.refusal(), (403, "policy_denied".to_owned()));
    let first = house.decided_by(&refused).await;
    assert_eq!(house.part("policy").await.unwrap().0, "green");

    // A good one, by itself.
    house.folder.write("policy/interns.cedar", GOOD);
    until("the new rule", async || {
        (house.get("/support/inputs", &house.bob()).await.status == 200).then_some(())
    })
    .await;
    let passed = house.get("/support/inputs", &house.bob()).await;
    let second = house.decided_by(&passed).await;
    assert_ne!(first, second);
    let loaded = Fact::PolicyLoaded { before: first.clone(), now: second.clone() };
    assert_eq!(house.reloads().await, [loaded]);

    // A bad one: amber with its place, and what decided goes on deciding.
    house.folder.write("policy/interns.cedar", GOOD.replace("\"interns\"", "\"interms\""));
    let reason = until("an amber policy", async || {
        house.part("policy").await.filter(|(state, _)| state == "amber").map(|(_, reason)| reason)
    })
    .await;
    assert!(reason.contains("interns.cedar:2:22: unknown role `interms`"), "{reason}");
    let passed = house.get("/support/inputs", &house.bob()).await;
    assert_eq!((passed.status, house.decided_by(&passed).await), (200, second.clone()));
    let reloads = house.reloads().await;
    assert!(
        matches!(reloads.as_slice(), [_, Fact::PolicyRefused { running, reason }]
            if *running == second && reason.contains("interns.cedar:2:22")),
        "{reloads:?}"
    );

    // Put right, without anybody asking.
    fs::remove_file(house.folder.path().join("policy/interns.cedar")).unwrap();
    until("a green policy", async || house.part("policy").await.filter(|(state, _)| state == "green")).await;
    assert_eq!(house.get("/support/inputs", &house.bob()).await.status, 403);
    assert_eq!(house.reloads().await.pop(), Some(Fact::PolicyLoaded { before: second, now: first }));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_folder_keeps_the_running_rules_and_says_why() {
    use std::os::unix::fs::symlink;

    let house = House::open().await;
    let folder = house.folder.path().join("policy");
    let bad = folder.join("bad.cedar");
    let write = |text: &[u8]| fs::write(&bad, text).unwrap();
    let cases: [(&str, &dyn Fn(), &str); 7] = [
        ("syntax", &|| write(b"permit (principal"), "bad.cedar:1:"),
        (
            "twice",
            &|| write(b"@id(\"analysts-run-crews\") permit (principal, action, resource);"),
            "crews.cedar:1:1: a second rule",
        ),
        (
            "mask",
            &|| write(b"@id(\"m\") @mask(\"none\") forbid (principal, action, resource);"),
            "unknown mask profile `none`",
        ),
        (
            "people",
            &|| write(b"@id(\"a\") @approval(\"none\") forbid (principal, action, resource);"),
            "unknown approver set `none`",
        ),
        (
            "size",
            &|| fs::File::create(&bad).unwrap().set_len(100 << 20).unwrap(),
            "bad.cedar: 104857600 bytes",
        ),
        ("text", &|| write(b"\xff\xfe"), "bad.cedar: not UTF-8 text"),
        (
            "ring",
            &|| {
                fs::remove_file(&bad).unwrap();
                symlink(&bad, &bad).unwrap();
            },
            "bad.cedar: cannot be read",
        ),
    ];
    for (name, make, says) in cases {
        make();
        let error = house.running.reload().await.unwrap_err().to_string();
        let (state, reason) = house.part("policy").await.unwrap();
        assert_eq!(state, "amber", "{name}");
        assert!(reason.contains(says), "{name}: {reason}\n{error}");
        assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200, "{name}");
    }
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    house.running.reload().await.unwrap_err();
    let (_, reason) = house.part("policy").await.unwrap();
    assert!(reason.contains("no *.cedar file"), "{reason}");
    assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_inputs_and_persons_are_read_again_and_the_rest_waits_for_a_restart() {
    let house = House::open().await;
    let bob = house.bob();
    assert_eq!(house.get("/support/inputs", &bob).await.status, 403);
    house.edit("groups = [\"dev:analysts\"]", "groups = [\"dev:analysts\", \"dev:interns\"]");
    house.running.reload().await.unwrap();
    assert_eq!(house.get("/support/inputs", &bob).await.status, 200);

    // Inputs: what passed is refused under the new declaration, before anything reaches the crew.
    assert_eq!(house.post("/support/kickoff", &bob, topic()).await.status, 200);
    house.edit(
        "inputs.topic = { type = \"string\" }",
        "inputs.topic = { type = \"string\", enum = [\"sales\"] }",
    );
    house.running.reload().await.unwrap();
    let before = house.support.calls().total();
    let refused = house.post("/support/kickoff", &bob, topic()).await;
    assert_eq!(refused.refusal(), (422, "input_value".to_owned()), "{}", refused.text());
    assert_eq!(house.support.calls().total(), before);

    // Two identities of one person: she cannot approve what she asked for, from the next call on.
    house.edit("groups = [\"dev:data-owners\"]", "groups = [\"dev:data-owners\"]\n[[person]]\nname = \"alice\"\nidentities = [\"dev:alice\", \"dev:dora\"]\n");
    house.running.reload().await.unwrap();
    house.ask(&house.alice()).await;
    assert_eq!(house.waiting().await.len(), 0, "nobody is asked about a request of their own");

    // What needs a restart is named, and changes nothing before.
    house.edit("name = \"payroll\"", "name = \"wages\"");
    house.edit("[console]", "[approval]\nheld = 7\n\n[console]");
    house.running.reload().await.unwrap();
    let (state, reason) = house.part("configuration").await.unwrap();
    assert_eq!(state, "amber");
    for what in ["[approval]", "the end of crew `payroll`", "the new crew `wages`"] {
        assert!(reason.contains(what), "{reason}");
    }
    for name in ["payroll", "wages"] {
        let answer = house.get(&format!("/{name}/inputs"), &house.alice()).await;
        assert_eq!(answer.refusal(), (404, "crew_unknown".to_owned()), "{name}");
    }

    // A file that is no configuration changes nothing at all.
    house.edit("[policy]", "[polcy]");
    let error = house.running.reload().await.unwrap_err().to_string();
    assert!(error.contains("unknown field `polcy`"), "{error}");
    let (_, reason) = house.part("policy").await.unwrap();
    assert!(reason.contains("crewgate.toml:") && reason.contains("polcy"), "{reason}");
    assert_eq!(house.get("/support/inputs", &bob).await.status, 200);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mask_profiles_are_read_again_and_a_bad_one_keeps_the_running_ones() {
    let ground = Ground::lay(Plan {
        support: "mask = [\"desk\"]",
        tables:
            "[masking]\nkeys = [{ file = \"mask.key\" }]\n[mask.desk]\nfind = { MAC_ADDRESS = \"type\" }\n"
                .to_owned(),
        script: Some(
            Script::new()
                .inputs(["topic"])
                .result("to 00:1a:2b:3c:4d:5e, 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ),
        ..Plan::default()
    })
    .await;
    ground.folder.write("mask.key", "k".repeat(44));
    let house = House::start(ground).await;
    let alice = house.alice();
    let answer = house.post("/support/kickoff", &alice, topic()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = format!("/support/status/{}", answer.field("kickoff_id"));
    let result = async || {
        until("SUCCESS", async || {
            let answer = house.get(&path, &alice).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            (answer.field("state") == "SUCCESS").then(|| answer.field("result"))
        })
        .await
    };
    assert_eq!(result().await, "to <MAC_ADDRESS>, 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2");
    house.edit(
        "find = { MAC_ADDRESS = \"type\" }",
        "find = { MAC_ADDRESS = \"number\", CRYPTO = \"redact\" }",
    );
    house.running.reload().await.unwrap();
    assert_eq!(result().await, "to <MAC_ADDRESS_1>, ");
    assert_eq!(house.part("configuration").await, None);

    // A bad one, and one that an answer still needs: the running ones stay, and the place is told.
    house.edit("CRYPTO = \"redact\"", "CRYPTOS = \"redact\"");
    let error = house.running.reload().await.unwrap_err().to_string();
    assert!(error.contains("no entity `CRYPTOS`"), "{error}");
    let (state, reason) = house.part("policy").await.unwrap();
    let line = 1 + fs::read_to_string(&house.config)
        .unwrap()
        .lines()
        .position(|line| line.contains("CRYPTOS"))
        .unwrap();
    assert!(state == "amber" && reason.contains(&format!("crewgate.toml:{line}:")), "{reason}");
    assert_eq!(result().await, "to <MAC_ADDRESS_1>, ");
    house.edit("CRYPTOS", "CRYPTO");
    house.edit("mask = [\"desk\"]", "mask = [\"pii-basic\"]");
    house.edit("[mask.desk]", "[mask.office]");
    let error = house.running.reload().await.unwrap_err().to_string();
    assert!(error.contains("crew `support` are masked with `desk` until a restart"), "{error}");
    assert_eq!(result().await, "to <MAC_ADDRESS_1>, ");
    house.edit("mask = [\"pii-basic\"]", "mask = [\"desk\"]");
    house.edit("[mask.office]", "[mask.desk]");
    house.running.reload().await.unwrap();
    assert_eq!(house.part("policy").await.unwrap().0, "green");

    // Other keys need a restart, and so do profiles that may use them.
    house.folder.write("mask.key", "n".repeat(44));
    house.edit("CRYPTO = \"redact\"", "CRYPTO = \"hash\"");
    house.running.reload().await.unwrap();
    let (state, reason) = house.part("configuration").await.unwrap();
    assert!(state == "amber" && reason.contains("[mask.*]") && reason.contains("[masking]"), "{reason}");
    assert_eq!(result().await, "to <MAC_ADDRESS_1>, ");
    house.folder.write("mask.key", "k".repeat(44));
    house.running.reload().await.unwrap();
    assert_eq!(house.part("configuration").await, None);
    let hashed = result().await;
    assert!(hashed.starts_with("to <MAC_ADDRESS_1>, <CRYPTO:h:"), "{hashed}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_inputs_names_every_field_and_what_is_allowed() {
    let support = "inputs.days = { type = \"integer\", min = 1, max = 31, required = true }\n\
        inputs.region = { type = \"string\", enum = [\"eu\", \"us\"] }\n\
        inputs.task = { type = \"text\", prompt = true }\n\
        [[crew.prompt]]\nid = \"weekly\"\ntext = \"Summarise the week.\"\n";
    let house = House::with(Plan { support, ..Plan::default() }).await;
    let secret = "mars-s3cret";
    let wrong = json!({ "inputs": { "region": secret, "task": secret, "other": secret } });
    let answer = house.post("/support/kickoff", &house.alice(), wrong).await;
    assert_eq!(answer.refusal(), (422, "input_undeclared".to_owned()), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let expected = json!([
        { "pointer": "/inputs/other", "code": "input_undeclared", "detail": "is not declared for this crew" },
        { "pointer": "/inputs/days", "code": "input_missing",
          "detail": "is missing; it must be a whole number, 1 to 31" },
        { "pointer": "/inputs/region", "code": "input_value", "detail": "must be one of `eu`, `us`" },
        { "pointer": "/inputs/task", "code": "input_prompt",
          "detail": "must be to the letter one of this crew's prompts: `weekly`" },
    ]);
    assert_eq!(answer.json().get("errors"), Some(&expected), "{}", answer.text());
    let record = format!("{:?}", house.record(&answer).await);
    assert!(!answer.text().contains(secret) && !record.contains(secret), "{record}");
    assert_eq!(house.support.calls().total(), 0);

    // CrewAI's own answer to the question for inputs stays as it is.
    let direct = house.get("/support/inputs", &house.alice()).await;
    assert_eq!(direct.json(), json!({ "inputs": ["topic"] }), "{}", direct.text());
    let good =
        json!({ "inputs": { "topic": "churn", "days": 7, "region": "eu", "task": "Summarise the week." } });
    let answer = house.post("/support/kickoff", &house.alice(), good.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent: Value = serde_json::from_slice(&house.support.kickoffs().remove(0).body).unwrap();
    assert_eq!(sent.get("inputs"), good.get("inputs"));
    house.stop().await;
}

const NEXT: &str = r#"@id("interns-run-crews")
permit (principal in Role::"interns", action in [Action::"inputs", Action::"kickoff"], resource);

@id("analysts-run-crews")
permit (principal in Role::"analysts", action in [Action::"kickoff", Action::"status", Action::"resume"], resource);

@id("support-too")
@approval("data-owners")
forbid (principal, action == Action::"kickoff", resource == Crew::"support");
"#;

/// A house whose `policy-next` decides beside its `policy`.
async fn with_shadow(next: &str) -> House {
    let ground = Ground::lay(with_interns()).await;
    let text = fs::read_to_string(&ground.config).unwrap();
    let text = text.replace("path = \"policy\"", "path = \"policy\"\nshadow = \"policy-next\"");
    ground.folder.write("crewgate.toml", text);
    ground.folder.write("policy-next/next.cedar", next);
    House::start(ground).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rule_set_reports_what_it_would_change_and_changes_nothing() {
    let house = with_shadow(NEXT).await;
    assert_eq!(house.part("policy shadow").await.unwrap().0, "green");
    // Newly allowed, newly denied, newly asking; each decided by the first set alone.
    let bob = house.get("/support/inputs", &house.bob()).await;
    assert_eq!(bob.refusal(), (403, "policy_denied".to_owned()));
    let alice = house.get("/support/inputs", &house.alice()).await;
    assert_eq!(alice.status, 200);
    assert_eq!(house.post("/support/kickoff", &house.alice(), topic()).await.status, 200);
    let found = house.differences(3).await;
    let seen: Vec<_> = found
        .iter()
        .map(|how| (how.principal.to_string(), how.action.to_string(), how.divergence, how.decided.clone()))
        .collect();
    let row = |who: &str, action: &str, divergence, decided: &str| {
        (who.to_owned(), action.to_owned(), divergence, decided.to_owned())
    };
    let expected = [
        row("dev:bob", "inputs", Divergence::NewlyAllowed, "refuse"),
        row("dev:alice", "inputs", Divergence::NewlyDenied, "allow"),
        row("dev:alice", "kickoff", Divergence::NewlyAsking, "allow"),
    ];
    assert_eq!(seen, expected);
    let first = house.decided_by(&alice).await;
    assert!(found.iter().all(|how| how.basis.policy == Some(first.clone())), "{found:?}");
    assert!(found.iter().all(|how| how.shadow_basis.policy.as_ref().is_some_and(|hash| *hash != first)));
    // The record of the call itself is as it would be without.
    assert_eq!(house.record(&bob).await.len(), 1);

    // A second set that does not load keeps nothing from being read, and nothing from deciding.
    house.folder.write("policy-next/next.cedar", "permit (");
    house.folder.write("policy/interns.cedar", GOOD);
    house.running.reload().await.unwrap();
    assert_eq!(house.part("policy").await.unwrap().0, "green");
    let (state, reason) = house.part("policy shadow").await.unwrap();
    assert!(state == "amber" && reason.contains("next.cedar:1:"), "{reason}");
    assert_eq!(house.get("/support/inputs", &house.bob()).await.status, 200);

    let ground = house.stop().await;
    let report = crewgate(ground.folder.path(), &["policy", "shadow"], "");
    let text = said(&report);
    assert!(report.status.success(), "{text}");
    for line in [
        "1 × support inputs by dev:bob: refuse (no rule) would be newly allowed (interns-run-crews)",
        "1 × support inputs by dev:alice: allow (analysts-run-crews, answers-are-masked) would be newly denied (no rule): Not permitted.",
        "would be newly asking (analysts-run-crews, support-too)",
    ] {
        assert!(text.contains(line), "{line:?} not in:\n{text}");
    }
    let report = crewgate(ground.folder.path(), &["policy", "shadow", "--json"], "");
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report.get("differences").and_then(Value::as_array).map(Vec::len), Some(3), "{report}");
    // That the record was read is on it, each time.
    let store = ground.folder.store().await;
    let read = store.leaves(Query::default().phase(Phase::Access)).await.unwrap();
    let kinds: Vec<_> = read.iter().map(|leaf| leaf.entry().unwrap().kind().unwrap().into_owned()).collect();
    assert_eq!(kinds, ["access.record", "access.record"]);
    store.close().await;

    // A check says what serving only makes amber.
    let check = crewgate(ground.folder.path(), &["check"], "");
    assert_eq!(check.status.code(), Some(2), "{}", said(&check));
    assert!(said(&check).contains("next.cedar:1:"), "{}", said(&check));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_beside_a_second_rule_set_that_does_not_load() {
    let house = with_shadow("permit (principal in Role::\"nobody\", action, resource);").await;
    assert_eq!(house.part("policy shadow").await.unwrap().0, "amber");
    assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200);
    house.folder.write("policy-next/next.cedar", NEXT);
    house.running.reload().await.unwrap();
    assert_eq!(house.part("policy shadow").await.unwrap().0, "green");
    assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200);
    assert_eq!(house.differences(1).await.remove(0).divergence, Divergence::NewlyDenied);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_everything_again_and_metrics_tell() {
    let ground = Ground::lay(with_interns()).await;
    let serving = Serving::start(&ground.config);
    let ops = serving.address("ops");
    let metrics = async || call(ops, "GET", "/metrics", "", None).await.text();
    let state = async || {
        let ready = call(ops, "GET", "/readyz", "", None).await.json();
        ready.pointer("/parts/policy/state").and_then(Value::as_str).map(str::to_owned).unwrap()
    };
    assert_eq!(state().await, "green");
    ground.folder.write("policy/interns.cedar", "permit (");
    serving.signal("HUP");
    until("an amber policy", async || (state().await == "amber").then_some(())).await;
    let text = metrics().await;
    assert!(text.contains("crewgate_policy_stale{") && text.contains("outcome=\"refused\""), "{text}");
    let age = "crewgate_issuer_keys_age_seconds{issuer=\"dev\"";
    until("the age of keys", async || metrics().await.contains(age).then_some(())).await;
    ground.folder.write("policy/interns.cedar", GOOD);
    serving.signal("HUP");
    until("a green policy", async || (state().await == "green").then_some(())).await;
    let bob = ground.token("bob", &["interns"]);
    let answer = call(serving.address("data"), "GET", "/support/inputs", &bob, None).await;
    assert_eq!(answer.status, 200);
    let text = metrics().await;
    assert!(text.contains("outcome=\"loaded\""), "{text}");
    let stale = text.lines().find(|line| line.starts_with("crewgate_policy_stale{")).unwrap();
    assert!(stale.ends_with(" 0"), "{stale}");
    assert_eq!(serving.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_would_help_when_the_rules_say_so_and_nothing_else() {
    let house = House::with(with_interns()).await;
    let closed = r#"@id("no-status")
@reason("Runs of support are not shown.")
@hint("Their owner gets a letter.")
forbid (principal, action == Action::"status", resource == Crew::"support");

@id("interns-look")
@hint("Ask #access for the role interns.")
permit (principal in Role::"interns", action == Action::"inputs", resource == Crew::"support");
"#;
    house.folder.write("policy/closed.cedar", closed);
    house.running.reload().await.unwrap();
    let stranger = house.token("carol", &[]);
    let denied = house.get("/support/inputs", &stranger).await;
    assert_eq!(denied.refusal(), (403, "policy_denied".to_owned()));
    let hints = json!([{ "text": "Ask #access for the role interns.", "roles": ["interns"] }]);
    assert_eq!(denied.json().get("hints"), Some(&hints), "{}", denied.text());
    assert_eq!((denied.field("detail").as_str(), denied.json().get("rule")), ("Not permitted.", None));
    // Nobody wrote a hint for this: the denial reveals nothing.
    let denied = house.get("/payroll/inputs", &stranger).await;
    let document = denied.json();
    let keys: BTreeSet<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["code", "detail", "request_id", "status", "title", "type"].into();
    assert_eq!(keys, all, "{document}");
    // A guard: its id, its reason, its hint.
    let kickoff = house.post("/support/kickoff", &house.alice(), topic()).await;
    let run = kickoff.field("kickoff_id");
    let refused = house.get(&format!("/support/status/{run}"), &house.alice()).await;
    assert_eq!(refused.refusal(), (403, "policy_refused".to_owned()), "{}", refused.text());
    assert_eq!(
        (refused.field("rule").as_str(), refused.field("detail").as_str()),
        ("no-status", "Runs of support are not shown.")
    );
    assert_eq!(refused.json().get("hints"), Some(&json!([{ "text": "Their owner gets a letter." }])));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_wait_is_told_whose_approval_is_wanted() {
    let ground = Ground::lay(Plan { payroll: "hold = \"1s\"", ..Plan::default() }).await;
    ground.folder.write(
        "policy/look.cedar",
        "@id(\"looking-needs-a-data-owner\")\n@approval(\"data-owners\")\nforbid (principal, action == Action::\"inputs\", resource in Fleet::\"hr\");\n",
    );
    let house = House::start(ground).await;
    let answer = house.get("/payroll/inputs", &house.alice()).await;
    assert_eq!(answer.refusal(), (202, "approval_pending".to_owned()), "{}", answer.text());
    assert_eq!(answer.json().get("approvals"), Some(&json!(["data-owners"])), "{}", answer.text());
    assert!(answer.field("detail").contains("data-owners") && answer.header("location").is_some());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_decided_whole_by_one_set_while_sets_are_swapped() {
    let house = House::open().await;
    let set = |name: &str| {
        format!(
            "@id(\"{name}-permit\")\npermit (principal in Role::\"analysts\", action, resource);\n\
             @id(\"{name}-mask\")\n@mask(\"{}\")\nforbid (principal, action, resource);\n",
            if name == "even" { "secrets" } else { "pii-basic" },
        )
    };
    let mut hashes = Vec::new();
    let mut answers = Vec::new();
    for round in 0..6 {
        house.folder.write("policy/crews.cedar", set(if round % 2 == 0 { "even" } else { "odd" }));
        let alice = house.alice();
        let calls = async {
            let mut answers = Vec::new();
            for _ in 0..10 {
                answers.push(house.get("/support/inputs", &alice).await);
            }
            answers
        };
        let (reloaded, calls) = tokio::join!(house.running.reload(), calls);
        reloaded.unwrap();
        answers.extend(calls);
        if let Some(Fact::PolicyLoaded { now, .. }) = house.reloads().await.pop() {
            hashes.push((now, if round % 2 == 0 { "even" } else { "odd" }));
        }
    }
    let mut seen = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let record = house.record(answer).await;
        let decided = record.iter().flat_map(|entry| &entry.facts).find_map(|fact| match fact {
            Fact::Decided { basis, duties, .. } => Some((basis.clone(), duties.clone().unwrap())),
            _ => None,
        });
        let (basis, duties) = decided.unwrap();
        let hash = basis.policy.unwrap();
        // Rules and duties are of the very set whose hash stands beside them.
        let Some((_, name)) = hashes.iter().find(|(known, _)| *known == hash) else { continue };
        let rules: Vec<_> = basis.rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, [format!("{name}-mask"), format!("{name}-permit")]);
        let mask = if *name == "even" { "secrets" } else { "pii-basic" };
        assert_eq!(duties.masks.iter().map(|mask| mask.as_str()).collect::<Vec<_>>(), [mask]);
        seen.insert(*name);
    }
    assert_eq!(seen.len(), 2, "both sets decided some call");
    house.stop().await;
}
