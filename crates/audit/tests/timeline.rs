//! A run, told again.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use crewgate_audit::{AuditStore, Entry, Frame, Lane, MemoryStore, Phase, Timeline, run_leaves};
use crewgate_core::{
    ApprovalId, ApprovalStep, Basis, Ending, Fact, IdKind, PrincipalKey, RequestId, RunId, Timestamp, Verdict,
};

const START: Timestamp = Timestamp::from_secs(1_781_524_800);

fn received(path: &str) -> Fact {
    Fact::Received { method: "POST".to_owned(), path: path.to_owned(), remote: None, user_agent: None }
}

fn approval(approval: ApprovalId, step: ApprovalStep) -> Fact {
    Fact::Approval { approval, step }
}

/// A kickoff that needed a person: asked, approved, released, answered in two pieces.
async fn story(store: &MemoryStore) -> RunId {
    let (run, id, asked, release) =
        (RunId::random(), ApprovalId::random(), RequestId::random(), RequestId::random());
    let after = |millis| START.saturating_add(Duration::from_millis(millis));
    let requested = approval(
        id,
        ApprovalStep::Requested { sets: BTreeSet::new(), digest: "00".to_owned(), expires: after(3_600_000) },
    );
    let decided = Fact::Decided {
        outcome: "ask".to_owned(),
        duties: None,
        reason: None,
        basis: Basis { rules: [crewgate_core::RuleId::new("payroll")].into(), ..Basis::default() },
    };
    let voted = approval(
        id,
        ApprovalStep::Voted {
            by: PrincipalKey::new("okta", "bob"),
            verdict: Verdict::Approve,
            sets: BTreeSet::new(),
            instead_of: BTreeSet::new(),
            reason: Some("looks right".to_owned()),
            settles: true,
        },
    );
    let ended = Fact::Ended { how: Ending::Complete, status: 200, bytes: 7, sha256: String::new() };

    let ask = Entry::new(Phase::Outcome, asked, after(20)).with_fact(received("/support/kickoff"));
    let ask = Entry { started: START, ..ask }.with_fact(decided).with_fact(requested.clone());
    let mut intent = Entry::new(Phase::Intent, release, after(60_010)).with_run(Some(run));
    intent.started = after(60_000);
    intent.request_body = Some(Bytes::from_static(b"{\"inputs\":{}}"));
    let intent = intent.with_fact(received("/kickoff")).with_fact(Fact::PartOf { request: asked });
    let mut outcome =
        Entry { phase: Phase::Outcome, time: after(60_900), request_body: None, ..intent.clone() }
            .with_fact(Fact::Answered { status: 200 })
            .with_fact(Fact::Registered { kind: IdKind::Run, run })
            .with_fact(ended);
    outcome.frames = vec![
        Frame { offset_micros: 500_000, bytes: Bytes::from_static(b"one ") },
        Frame { offset_micros: 800_000, bytes: Bytes::from_static(b"two") },
    ];
    let moves = [(10, requested), (30_000, voted), (59_000, approval(id, ApprovalStep::Claimed))];
    let moves = moves.map(|(millis, fact)| {
        Entry::new(Phase::Approval, asked, after(millis)).with_fact(fact).with_run(Some(run))
    });
    let [opened, voted, claimed] = moves;
    for entry in [opened, ask, voted, claimed, intent, outcome] {
        store.append(Lane::Outcome, entry).await.unwrap();
    }
    // Somebody else's call does not belong to it.
    let other = Entry::new(Phase::Refused, RequestId::random(), after(5)).with_fact(received("/other"));
    store.append(Lane::Outcome, other).await.unwrap();
    run
}

#[tokio::test]
async fn a_run_is_told_from_the_question_to_the_last_byte() {
    let store = MemoryStore::new();
    let run = story(&store).await;
    let leaves = run_leaves(&store, run, 100).await.unwrap();
    assert_eq!(leaves.len(), 6);
    let lines: Vec<_> = Timeline::of(&leaves)
        .unwrap()
        .lines()
        .into_iter()
        .map(|line| {
            let known = line.text.split("approval ").next().unwrap_or_default();
            let text = if line.text.starts_with("approval") {
                line.text.split_once(": ").map(|(_, step)| step.to_owned()).unwrap_or_default()
            } else {
                known.to_owned()
            };
            (line.at.as_millis(), text)
        })
        .map(|(at, text)| format!("{at} {}", text.split(" until ").next().unwrap_or_default()))
        .filter(|line| !line.contains("belongs to request") && !line.contains(" run "))
        .collect();
    assert_eq!(
        lines,
        [
            "0 POST /support/kickoff",
            "10 asks ",
            "20 policy: ask by payroll",
            "30000 okta:bob approves, which settles it: looks right",
            "59000 being started",
            "60000 POST /kickoff",
            "60010 > {\"inputs\":{}}",
            "60010 on the record as leaf 4; the call leaves",
            "60500 upstream answers 200",
            "60500 < one ",
            "60800 < two",
            "60900 complete: status 200, 7 bytes",
        ]
    );
}

#[tokio::test]
async fn a_leaf_that_cannot_be_read_is_named() {
    let store = MemoryStore::new();
    story(&store).await;
    let mut leaves = store.all();
    if let Some(leaf) = leaves.get_mut(2) {
        leaf.record.truncate(40);
    }
    assert_eq!(Timeline::of(&leaves), Err(crewgate_audit::AuditError::Corrupt { leaf: 2 }));
}
