//! Callers who ask again and again: every question is recorded, an answer that says nothing new is kept once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use crewgate_audit::{AuditLayer, BarrierLayer, Entry, LineKind, MemoryStore, Phase, Timeline};
use crewgate_core::{Action, Effect, Fact, IdKind, PrincipalKey, RequestId, RunId, Timestamp};
use crewgate_testkit::{ManualClock, ReadyProbe};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use support::*;

struct Polls {
    store: MemoryStore,
    clock: ManualClock,
    layer: AuditLayer,
    run: RunId,
}

impl Polls {
    fn new() -> Self {
        let (store, clock) = (MemoryStore::new(), ManualClock::at(Timestamp::from_secs(1_781_524_800)));
        let layer = AuditLayer::new(Arc::new(store.clone())).clock(clock.clone());
        Self { store, clock, layer, run: RunId::random() }
    }

    /// One question of this subject's, and the answer it gets.
    async fn ask(&self, subject: &str, effect: Effect, answer: &'static str) {
        let facts = vec![
            match authenticated() {
                Fact::Authenticated { kind, client, expires, token, .. } => Fact::Authenticated {
                    principal: PrincipalKey::new("okta", subject),
                    kind,
                    client,
                    expires,
                    token,
                },
                _ => panic!("not authenticated"),
            },
            Fact::Described {
                action: Action::of("status"),
                resource: "Crew/support".to_owned(),
                effect,
                datasets: Vec::new(),
                inputs: Vec::new(),
            },
            Fact::Registered { kind: IdKind::Run, run: self.run },
        ];
        let facts = Mutex::new(facts);
        let probe = ReadyProbe::new(move |request: Request<()>| {
            facts.lock().unwrap().drain(..).for_each(|fact| trail(&request).note(fact));
            Response::new(Full::new(Bytes::from_static(answer.as_bytes())))
        });
        let stack = self
            .layer
            .layer(BarrierLayer::new(Arc::new(self.store.clone())).clock(self.clock.clone()).layer(probe));
        let response = stack.oneshot(call(effect)).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), answer, "what the caller sees");
        self.clock.advance(Duration::from_secs(2));
    }

    fn outcomes(&self) -> Vec<Entry> {
        let entries = self.store.entries();
        entries.into_iter().filter(|entry| entry.phase == Phase::Outcome).collect()
    }
}

fn repeats(entry: &Entry) -> Option<RequestId> {
    entry.facts.iter().find_map(|fact| match fact {
        Fact::Repeated { request } => Some(*request),
        _ => None,
    })
}

#[tokio::test]
async fn an_unchanged_answer_is_recorded_each_time_and_kept_once() {
    let polls = Polls::new();
    for answer in ["running", "running", "running", "done", "done", "running"] {
        polls.ask("anna", Effect::Read, answer).await;
    }
    let outcomes = polls.outcomes();
    let first = |n: usize| Some(outcomes[n].request);
    let told: Vec<_> = outcomes.iter().map(repeats).collect();
    assert_eq!(told, [None, first(0), first(0), None, first(3), None]);
    for entry in &outcomes {
        assert_eq!(entry.frames.is_empty(), repeats(entry).is_some());
        assert!(matches!(entry.facts.last(), Some(Fact::Ended { bytes: 4 | 7, .. })), "each has its own end");
    }
    // Shown folded: a line for each row of repeats.
    let timeline = Timeline::of(&polls.store.all()).unwrap();
    let folded: Vec<_> = timeline.folded().into_iter().filter(|line| line.kind == LineKind::Folded).collect();
    let texts: Vec<_> = folded.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "asked 2 more times until +4.000s, and told nothing new",
            "asked 1 more times until +8.000s, and told nothing new"
        ]
    );
    let quiet =
        timeline.lines().len() - timeline.steps.iter().filter(|s| !told_again(&outcomes, s.request)).count();
    assert_eq!(timeline.folded().len() + quiet - 2, timeline.lines().len(), "nothing else is left out");
}

fn told_again(outcomes: &[Entry], request: RequestId) -> bool {
    outcomes.iter().any(|entry| entry.request == request && repeats(entry).is_some())
}

#[tokio::test]
async fn what_others_were_told_what_changes_something_and_what_is_old_is_kept_anew() {
    let polls = Polls::new();
    polls.ask("anna", Effect::Read, "running").await;
    polls.ask("ben", Effect::Read, "running").await;
    polls.ask("anna", Effect::Write, "running").await;
    polls.ask("anna", Effect::Write, "running").await;
    polls.clock.advance(Duration::from_secs(3600));
    polls.ask("anna", Effect::Read, "running").await;
    assert_eq!(polls.outcomes().iter().filter_map(repeats).count(), 0);
}
