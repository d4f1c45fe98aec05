//! The power goes at every write on the way to every state: before the transaction is whole, when it is whole and nobody
//! knows, and between the last write and the first byte to the crew.

use std::{collections::BTreeSet, time::Duration};

use crewgate_approval::{Approval, Broken, Phase, State, machine};
use crewgate_core::{Clock as _, SystemClock};
use crewgate_testkit::Trouble;
use serde_json::{Value, json};

use crate::{
    promises::Evidence,
    real::{Answer, text, until},
    strace::{Calls, Fault, Strace},
    world::World,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rounds of kills in which both must have been seen: a step that is made, and one that is not.
const ROUNDS: u32 = 5;

/// The state a step leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Pending,
    HalfApproved,
    Approved,
    Denied,
    Cancelled,
    Invalidated,
    Failed,
    Executed,
    Indeterminate,
    FoundOut,
    Broken,
    Reviewed,
    Given,
}

impl To {
    fn crew(self) -> &'static str {
        match self {
            Self::HalfApproved => "grave",
            Self::Failed => "absent",
            _ => "risky",
        }
    }

    /// What must have happened before the step: the run.
    async fn prepare(self, world: &World, topic: &str) -> Option<String> {
        if self == Self::Pending {
            return None;
        }
        if self == Self::Given {
            let wish = json!({ "role": "night", "seconds": 3600, "reason": topic });
            let asked = world.alice.post(&world.console("/api/grants"), &wish).await.expect(202).json();
            return Some(text(&asked, "approval").to_owned());
        }
        let run = world.kickoff(self.crew(), topic).await.unwrap();
        match self {
            Self::Invalidated | Self::Failed | Self::Executed | Self::Indeterminate | Self::FoundOut => {
                decide(world, &run, yes()).await.unwrap().expect(200);
            }
            Self::Reviewed => drop(break_glass(world, &run).await.unwrap().expect(200)),
            _ => (),
        }
        if matches!(self, Self::Indeterminate | Self::FoundOut) {
            world.crew.set_trouble(Trouble::Cut);
        }
        if self == Self::FoundOut {
            world.status("risky", &run).await;
            world.until(topic, Phase::Indeterminate).await;
        }
        if self == Self::Reviewed {
            world.until(topic, Phase::Executed).await;
        }
        Some(run)
    }

    /// Makes the step; whether the caller was told that it is made.
    async fn step(self, world: &World, topic: &str, run: Option<&str>) -> bool {
        let run = run.unwrap_or_default();
        let answer = match self {
            Self::Pending => return world.kickoff(self.crew(), topic).await.is_ok(),
            Self::HalfApproved | Self::Approved | Self::Given => decide(world, run, yes()).await,
            Self::Denied => decide(world, run, json!({ "verdict": "deny", "reason": "no" })).await,
            Self::Cancelled => cancel(world, run).await,
            Self::FoundOut => settle(world, run).await,
            Self::Broken => break_glass(world, run).await,
            Self::Reviewed => review(world, run).await,
            Self::Invalidated | Self::Failed | Self::Executed | Self::Indeterminate => {
                let who = if self == Self::Invalidated { &world.suspended } else { &world.alice };
                // It starts because its owner came back; how it ends is stored later.
                let came_back = who.try_get(&world.data(&format!("/{}/status/{run}", self.crew()))).await;
                return came_back.is_ok() && world.ended(topic).await;
            }
        };
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Where it may stand after the power went, and whether it may have been made.
    fn may_stand(self, row: Option<&Approval>) -> bool {
        let Some(row) = row else { return self == Self::Pending };
        let phase = row.state_at(SystemClock.now()).phase();
        let under_way = matches!(phase, Phase::Approved | Phase::Executing | Phase::Indeterminate);
        match self {
            Self::Pending => phase == Phase::Pending,
            Self::HalfApproved => phase == Phase::Pending && row.votes.len() <= 1,
            Self::Approved => matches!(phase, Phase::Pending | Phase::Approved),
            Self::Denied => matches!(phase, Phase::Pending | Phase::Denied),
            Self::Cancelled => matches!(phase, Phase::Pending | Phase::Cancelled),
            Self::Invalidated => under_way || phase == Phase::Invalidated,
            Self::Failed => under_way || phase == Phase::Failed,
            Self::Executed => under_way || phase == Phase::Executed,
            Self::Indeterminate => under_way,
            Self::FoundOut => matches!(phase, Phase::Indeterminate | Phase::Failed),
            Self::Broken => under_way || matches!(phase, Phase::Pending | Phase::Executed),
            Self::Reviewed => phase == Phase::Executed,
            // With the last yes or not at all.
            Self::Given => matches!(phase, Phase::Pending | Phase::Executed),
        }
    }

    /// Whether the step is made.
    fn is_made(self, row: &Approval) -> bool {
        let phase = row.state_at(SystemClock.now()).phase();
        match self {
            Self::Pending => true,
            Self::HalfApproved => row.votes.len() == 1,
            Self::Approved => phase == Phase::Approved,
            Self::Denied => phase == Phase::Denied,
            Self::Cancelled => phase == Phase::Cancelled,
            Self::Invalidated => phase == Phase::Invalidated,
            Self::Failed | Self::FoundOut => phase == Phase::Failed,
            Self::Executed | Self::Given => phase == Phase::Executed,
            Self::Indeterminate => phase == Phase::Indeterminate,
            Self::Broken => row.broken.is_some(),
            Self::Reviewed => row.broken.as_ref().is_some_and(|broken| !broken.is_open()),
        }
    }
}

fn yes() -> Value {
    json!({ "verdict": "approve" })
}

async fn decide(world: &World, run: &str, verdict: Value) -> Result<Answer, String> {
    world.act(&world.hanna, &world.own(run).await?, "decision", verdict).await
}

async fn cancel(world: &World, run: &str) -> Result<Answer, String> {
    world.act(&world.alice, &world.own(run).await?, "cancel", Value::Null).await
}

async fn settle(world: &World, run: &str) -> Result<Answer, String> {
    let found = json!({ "found": "did_not_run", "reason": "not in its log" });
    world.act(&world.hanna, &world.own(run).await?, "settlement", found).await
}

async fn break_glass(world: &World, run: &str) -> Result<Answer, String> {
    let reason = json!({ "reason": "production is down and nobody answers" });
    world.act(&world.alice, &world.own(run).await?, "break-glass", reason).await
}

async fn review(world: &World, run: &str) -> Result<Answer, String> {
    let right = json!({ "verdict": "approve", "reason": "I saw it" });
    world.act(&world.hanna, &world.own(run).await?, "review", right).await
}

impl World {
    async fn row(&self, topic: &str) -> Option<Approval> {
        self.stored().await.remove(topic)
    }

    async fn until(&self, topic: &str, phase: Phase) {
        until("a phase", PATIENCE, async || {
            let row = self.row(topic).await?;
            (row.state_at(SystemClock.now()).phase() == phase).then_some(())
        })
        .await;
    }

    /// Whether an attempt comes to its end before the power goes.
    async fn ended(&self, topic: &str) -> bool {
        until("an end, or none", PATIENCE, async || {
            let row = self.row(topic).await?;
            let phase = row.state_at(SystemClock.now()).phase();
            let ended = phase.is_terminal() || phase == Phase::Indeterminate;
            let dead = !self.is_alive();
            (ended || dead).then_some(ended)
        })
        .await
    }

    /// Makes one step of this kind while it is watched, and what became of it.
    async fn watched(&self, to: To, topic: &str, fault: Option<Fault>) -> (Calls, Option<Approval>) {
        let run = to.prepare(self, topic).await;
        let strace = Strace::attach(self.process(), fault, &self.folder.file("trace"));
        let told = to.step(self, topic, run.as_deref()).await;
        // What it does behind the answer.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let calls = strace.detach();
        self.kill();
        self.crew.set_trouble(Trouble::None);
        self.start();
        let row = self.row(topic).await;
        let at = fault.map_or_else(|| "nowhere".to_owned(), |fault| fault.to_string());
        assert!(to.may_stand(row.as_ref()), "{to:?}, killed at {at}: {row:?}");
        // What somebody was told stands.
        assert!(!told || row.as_ref().is_some_and(|row| to.is_made(row)), "{to:?}, killed at {at}: {row:?}");
        // Three that nobody has looked at would lock the glass.
        if let Some(run) = run.filter(|_| row.as_ref().is_some_and(is_to_be_reviewed)) {
            review(self, &run).await.unwrap().expect(200);
        }
        (calls, row)
    }
}

fn is_to_be_reviewed(row: &Approval) -> bool {
    row.broken.as_ref().is_some_and(Broken::is_open)
}

/// Kills at every write of this step, and looks at all of it together in the end. What the rows said after each kill.
async fn killed_on_the_way(to: To) -> Vec<Approval> {
    if !Strace::is_there() {
        return Vec::new();
    }
    let world = World::new().await;
    let (mut rows, mut made, mut kills) = (Vec::new(), BTreeSet::new(), 0);
    // Which transaction a call stands in is not the same each time: again, until the power went while it was being made,
    // once before it was, and once before anybody was told.
    for round in 0..ROUNDS {
        let (calls, row) = world.watched(to, &format!("uninterrupted, {round}"), None).await;
        assert!(row.is_some_and(|row| to.is_made(&row)) && !calls.killed(), "{to:?} is never made");
        let faults = calls.faults();
        let tears = faults.iter().any(|fault| matches!(fault, Fault::Write(_)));
        let syncs = faults.iter().any(|fault| matches!(fault, Fault::Sync(_)));
        assert!(tears && syncs, "{to:?}: {faults:?}");
        for fault in &faults {
            let (calls, row) = world.watched(to, &format!("killed at {fault}, {round}"), Some(*fault)).await;
            kills += u32::from(calls.killed());
            made.insert(row.as_ref().is_some_and(|row| to.is_made(row)));
            rows.extend(row);
        }
        eprintln!("{to:?}: {kills} kills, the last round at {} system calls", faults.len());
        if made.len() == 2 {
            break;
        }
    }
    assert!(kills >= 2, "{to:?}: {kills} kills");
    assert_eq!(made, BTreeSet::from([false, true]), "{to:?}");

    // Whoever comes back starts what may be started, and nothing else, however often they do.
    for _ in 0..2 {
        for row in world.stored().await.into_values() {
            if let Some(run) = row.asked.run {
                world.status(&row.asked.operation.resource.name, &run.to_string()).await;
            }
        }
    }
    let approved = world.stored().await;
    let approved = approved.iter().filter(|(_, row)| matches!(row.state, State::Approved { .. }));
    for (topic, _) in approved {
        assert!(world.ended(topic).await, "{topic} was approved and is not started");
    }
    Evidence::of(world).await.keeps_all_promises();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_request_for_approval() {
    killed_on_the_way(To::Pending).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_the_first_yes_of_two() {
    killed_on_the_way(To::HalfApproved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_the_last_yes() {
    killed_on_the_way(To::Approved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_no() {
    killed_on_the_way(To::Denied).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_cancellation() {
    killed_on_the_way(To::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_start_that_policy_refuses_by_then() {
    killed_on_the_way(To::Invalidated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_start_that_reaches_nobody() {
    killed_on_the_way(To::Failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_start_and_on_its_way_out() {
    let rows = killed_on_the_way(To::Executed).await;
    if rows.is_empty() {
        return;
    }
    let found = rows.iter().map(|row| match row.state {
        State::Approved { .. } => "approved",
        State::Executing { sent: false, lease_ends, .. } => {
            // Claimed, and nothing sent: the clock gives it back.
            let second = Duration::from_secs(1);
            assert!(machine::claim(row, SystemClock.now(), second).is_none(), "{row:?}");
            assert!(machine::claim(row, lease_ends, second).is_some(), "{row:?}");
            "claimed"
        }
        State::Executing { sent: true, .. } | State::Indeterminate => "sent",
        _ => "ended",
    });
    let found: BTreeSet<&str> = found.collect();
    for state in ["approved", "claimed", "sent"] {
        assert!(found.contains(state), "the power never went where it was {state}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_start_whose_answer_is_lost() {
    killed_on_the_way(To::Indeterminate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_what_a_person_found_out() {
    killed_on_the_way(To::FoundOut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_broken_glass_and_of_what_it_starts() {
    killed_on_the_way(To::Broken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_the_last_yes_to_a_role_for_a_while() {
    killed_on_the_way(To::Given).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_write_of_a_review() {
    killed_on_the_way(To::Reviewed).await;
}
