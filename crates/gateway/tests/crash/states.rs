//! The power goes while approvals are in every state.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    promises::Evidence,
    real::{Http, is, text, until},
    world::World,
};

/// Where the approvals of these runs stand, for who asked for them.
async fn states(world: &World) -> BTreeMap<String, String> {
    let list = world.alice.get(&world.console("/api/approvals")).await.expect(200).json();
    let own = list.get("own").and_then(Value::as_array).unwrap().clone();
    let state = |row: &Value| text(row.get("state").unwrap(), "name").to_owned();
    own.iter().map(|row| (text(row, "run").to_owned(), state(row))).collect()
}

/// One approval for each state it can be left in, and the power goes while all of them are. I1 to I7 are those of
/// `docs/approval.md`.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_state_changes_no_state_and_sends_nothing_again() {
    let world = World::new().await;
    let ask_of = async |crew: &str, topic: &str| world.kickoff(crew, topic).await.unwrap();
    let ask = async |topic: &str| ask_of("risky", topic).await;
    let act = async |who: &Http, run: &str, what: &str, body: Value| {
        world.act(who, &world.own(run).await.unwrap(), what, body).await.unwrap().expect(200);
    };
    let (yes, no) = (json!({ "verdict": "approve" }), json!({ "verdict": "deny", "reason": "no" }));
    let pending = ask("pending").await;
    let denied = ask("denied").await;
    act(&world.hanna, &denied, "decision", no).await;
    let cancelled = ask("cancelled").await;
    act(&world.alice, &cancelled, "cancel", Value::Null).await;
    let half = ask_of("grave", "half").await;
    act(&world.hanna, &half, "decision", yes.clone()).await;
    let failed = ask_of("absent", "failed").await;
    act(&world.hanna, &failed, "decision", yes.clone()).await;
    let invalidated = ask("invalidated").await;
    act(&world.hanna, &invalidated, "decision", yes.clone()).await;
    let path = world.data(&format!("/risky/status/{invalidated}"));
    world.suspended.get(&path).await.expect(200);
    until("both ends", Duration::from_secs(30), async || {
        world.status("absent", &failed).await;
        let states = states(&world).await;
        let ended = |run: &str, name: &str| states.get(run).is_some_and(|state| state == name);
        (ended(&failed, "failed") && ended(&invalidated, "invalidated")).then_some(())
    })
    .await;
    let approved = ask("approved").await;
    act(&world.hanna, &approved, "decision", yes.clone()).await;
    let executed = ask("executed").await;
    act(&world.hanna, &executed, "decision", yes.clone()).await;
    until("the run", Duration::from_secs(30), async || {
        is(&world.status("risky", &executed).await, "SUCCESS").then_some(())
    })
    .await;
    let broken = ask("broken").await;
    let reason = json!({ "reason": "production is down and nobody answers" });
    act(&world.alice, &broken, "break-glass", reason).await;
    until("the broken glass", Duration::from_secs(30), async || (world.sent("broken") == 1).then_some(()))
        .await;
    until("its end", Duration::from_secs(30), async || {
        is(&world.status("risky", &broken).await, "SUCCESS").then_some(())
    })
    .await;
    // The last one is with CrewAI, which does not answer.
    let executing = ask("executing").await;
    act(&world.hanna, &executing, "decision", yes).await;
    world.crew.set_delay(Duration::from_secs(600));
    world.status("risky", &executing).await;
    until("the call", Duration::from_secs(30), async || (world.sent("executing") == 1).then_some(())).await;
    let before = states(&world).await;
    let name = |states: &BTreeMap<String, String>, run: &str| states.get(run).cloned().unwrap_or_default();
    assert_eq!(name(&before, &executing), "executing", "{before:?}");

    // Twice: what a restart does must stand the next one.
    for _ in 0..2 {
        world.kill();
        world.crew.set_delay(Duration::ZERO);
        world.start();
        let after = states(&world).await;
        // I5, I7: nothing moved, except that nobody knows what became of what was with CrewAI.
        for (run, expected) in [
            (&pending, "pending"),
            (&denied, "denied"),
            (&cancelled, "cancelled"),
            (&half, "pending"),
            (&failed, "failed"),
            (&invalidated, "invalidated"),
            (&approved, "approved"),
            (&executed, "executed"),
            (&broken, "executed"),
            (&executing, "indeterminate"),
        ] {
            assert_eq!(name(&after, run), expected, "{after:?}");
        }
    }
    // It is still to be reviewed, and what waits is still put before who decides.
    let list = world.hanna.get(&world.console("/api/approvals")).await.expect(200).json();
    assert_eq!(list.get("review").and_then(Value::as_array).map(Vec::len), Some(1), "{list}");
    world.approval(&pending).await;
    // I1, I4: whoever comes back starts what was approved, once, and nothing else.
    for _ in 0..3 {
        for run in [&pending, &denied, &cancelled, &invalidated, &approved, &executed, &broken, &executing] {
            world.status("risky", run).await;
        }
        world.status("grave", &half).await;
        world.status("absent", &failed).await;
    }
    until("the approved one", Duration::from_secs(30), async || (world.sent("approved") == 1).then_some(()))
        .await;
    let evidence = Evidence::of(world).await;
    for (topic, times) in [
        ("pending", 0),
        ("denied", 0),
        ("cancelled", 0),
        ("half", 0),
        ("failed", 0),
        ("invalidated", 0),
        ("approved", 1),
        ("executed", 1),
        ("broken", 1),
        ("executing", 1),
    ] {
        assert_eq!(evidence.sent(topic), times, "{topic}");
    }
    evidence.keeps_all_promises();
}

/// What has ended by the clock has ended, whether anybody was there to see it or not.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_stops_no_clock_and_what_ended_meanwhile_is_never_sent() {
    let world = World::with("expires = \"3s\"\nusable = \"3s\"").await;
    let undecided = world.kickoff("risky", "undecided").await.unwrap();
    let half = world.kickoff("grave", "half").await.unwrap();
    let unstarted = world.kickoff("risky", "unstarted").await.unwrap();
    let yes = json!({ "verdict": "approve" });
    for run in [&half, &unstarted] {
        world
            .act(&world.hanna, &world.own(run).await.unwrap(), "decision", yes.clone())
            .await
            .unwrap()
            .expect(200);
    }
    world.kill();
    tokio::time::sleep(Duration::from_secs(4)).await;
    for _ in 0..2 {
        world.start();
        for (crew, run) in [("risky", &undecided), ("grave", &half), ("risky", &unstarted)] {
            let late = world
                .act(&world.hanna, &world.own(run).await.unwrap(), "decision", yes.clone())
                .await
                .unwrap();
            assert_eq!(late.status, 409, "{late:?}");
            assert!(is(&world.status(crew, run).await, "FAILED"), "{run}");
            assert_eq!(states(&world).await.get(run).map(String::as_str), Some("expired"));
        }
        world.kill();
    }
    world.start();
    let evidence = Evidence::of(world).await;
    assert_eq!(evidence.received.len(), 0);
    evidence.keeps_all_promises();
}
