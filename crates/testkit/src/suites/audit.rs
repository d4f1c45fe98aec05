//! What every [`AuditStore`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use crewgate_audit::{
    AuditStore, Entry, Frame, Lane, Leaf, Log, Phase, Query, Word, prove, tlog::Head, tlog::TILE, verify,
};
use crewgate_core::{
    ApprovalId, ApprovalStep, Basis, Effect, Ending, Fact, IdKind, PrincipalKey, PrincipalKind, RequestId,
    RoleName, RuleId, RunId, Timestamp, Verdict,
};

/// A store under test.
pub type Store = Arc<dyn AuditStore>;

/// Every rule of the port, each on a store of its own.
///
/// # Panics
///
/// When a rule is broken.
pub async fn conforms(make: impl AsyncFn() -> Store) {
    entries_come_back_as_they_went(make().await).await;
    the_log_has_no_gap_under_concurrency(make().await).await;
    an_entry_is_in_line_before_its_future_is_polled(make().await).await;
    a_seat_takes_exactly_one_entry_and_gives_room_back(make().await).await;
    queries_select(make().await).await;
    what_a_leaf_says_finds_it(make().await).await;
    open_intents_are_those_without_an_outcome(make().await).await;
    pages_join(make().await).await;
    every_leaf_can_be_proved(make().await).await;
}

/// Reads the whole log and verifies it.
///
/// # Panics
///
/// When it does not verify.
pub async fn verified(store: &Store) -> Vec<Leaf> {
    let leaves = store.leaves(Query::default().limit(u32::MAX)).await.unwrap();
    let verified = verify(store, None, |_, _| ()).await.unwrap().unwrap();
    assert_eq!((verified.head.size, verified.whole), (leaves.len() as u64, leaves.len() as u64));
    leaves
}

fn entry(phase: Phase) -> Entry {
    Entry::new(phase, RequestId::random(), Timestamp::from_secs(1_781_524_800))
}

fn by(subject: &str) -> Fact {
    Fact::Authenticated {
        principal: PrincipalKey::new("okta", subject),
        kind: PrincipalKind::User,
        client: Some("cli".to_owned()),
        expires: Timestamp::from_micros(1_781_524_800_123_456),
        token: "0123456789abcdef".to_owned(),
    }
}

async fn entries_come_back_as_they_went(store: Store) {
    assert_eq!(store.head().await.unwrap(), Head::default());
    let mut full = entry(Phase::Outcome)
        .with_fact(by("anna \"the\u{1}\" ü\u{202e}"))
        .with_fact(Fact::Described {
            action: "kickoff".to_owned().into(),
            resource: "Crew::support".to_owned(),
            effect: Effect::Write,
            datasets: vec!["hr".to_owned()],
            inputs: vec![],
        })
        .with_fact(Fact::Approval {
            approval: ApprovalId::random(),
            step: ApprovalStep::Voted {
                by: PrincipalKey::new("okta", "bob"),
                verdict: Verdict::Approve,
                sets: BTreeSet::new(),
                instead_of: BTreeSet::new(),
                reason: None,
                settles: true,
            },
        })
        .with_fact(Fact::Approval { approval: ApprovalId::random(), step: ApprovalStep::Executed })
        .with_fact(Fact::Registered { kind: IdKind::Run, run: RunId::random() })
        .with_fact(Fact::Ended { how: Ending::Cut, status: 200, bytes: u64::MAX, sha256: "00".to_owned() })
        .with_run(Some(RunId::random()));
    full.request_body = Some(Bytes::from_static(b"\x00\xff not text"));
    full.frames = vec![
        Frame { offset_micros: 0, bytes: Bytes::from_static(b"data: 1\n\n") },
        Frame { offset_micros: u64::MAX, bytes: Bytes::from_static(b"\xff") },
    ];
    let mut empty = entry(Phase::Control);
    empty.request_body = Some(Bytes::new());
    for (wanted, index) in [(full, 0), (empty, 1)] {
        assert_eq!(store.append(Lane::Outcome, wanted.clone()).await.unwrap().index, index);
        let found = store.leaves(Query::request(wanted.request)).await.unwrap();
        assert_eq!(found.iter().map(|leaf| leaf.entry().unwrap()).collect::<Vec<_>>(), [wanted]);
    }
    assert_eq!(verified(&store).await.len(), 2);
}

async fn the_log_has_no_gap_under_concurrency(store: Store) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for lane in [Lane::Intent, Lane::Outcome, Lane::Refusal, Lane::Intent] {
                    store.append(lane, entry(Phase::Control)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(verified(&store).await.len(), 32);
    assert_eq!(store.head().await.unwrap().size, 32);
}

async fn an_entry_is_in_line_before_its_future_is_polled(store: Store) {
    drop(store.append(Lane::Outcome, entry(Phase::Outcome)));
    let seat = store.reserve().await.unwrap();
    drop(seat.submit(entry(Phase::Outcome)));
    // What is put in line later is durable later.
    assert_eq!(store.append(Lane::Outcome, entry(Phase::Control)).await.unwrap().index, 2);
    assert_eq!(verified(&store).await.len(), 3);
}

async fn a_seat_takes_exactly_one_entry_and_gives_room_back(store: Store) {
    for _ in 0..5_000 {
        drop(store.reserve().await.unwrap());
    }
    let seat = store.reserve().await.unwrap();
    assert_eq!(store.head().await.unwrap().size, 0);
    seat.submit(entry(Phase::Outcome)).await.unwrap();
    assert_eq!(store.head().await.unwrap().size, 1);
}

async fn queries_select(store: Store) {
    let (run, approval) = (RunId::random(), ApprovalId::random());
    let entries = [
        entry(Phase::Intent).with_fact(by("anna")).with_run(Some(run)),
        entry(Phase::Outcome).with_fact(by("anna")),
        entry(Phase::Outcome).with_fact(by("bob")).with_run(Some(run)),
        entry(Phase::Approval)
            .with_fact(Fact::Approval { approval, step: ApprovalStep::Claimed })
            .with_run(Some(run)),
    ];
    for entry in entries {
        store.append(Lane::Outcome, entry).await.unwrap();
    }
    let found = async |query: Query| {
        store.leaves(query).await.unwrap().iter().map(|leaf| leaf.index).collect::<Vec<_>>()
    };
    assert_eq!(found(Query::default()).await, [0, 1, 2, 3]);
    assert_eq!(found(Query::default().newest_first()).await, [3, 2, 1, 0]);
    assert_eq!(found(Query::default().newest_first().after(2)).await, [1, 0]);
    assert_eq!(found(Query::default().after(0).limit(2)).await, [1, 2]);
    assert_eq!(found(Query::default().limit(0)).await, [0_u64; 0]);
    assert_eq!(found(Query::run(run)).await, [0, 2, 3]);
    assert_eq!(found(Query::run(run).phase(Phase::Outcome)).await, [2]);
    assert_eq!(found(Query::run(RunId::random())).await, [0_u64; 0]);
    assert_eq!(found(Query { approval: Some(approval), ..Query::default() }).await, [3]);
    assert_eq!(found(Query { principal: Some("okta:anna".to_owned()), ..Query::default() }).await, [0, 1, 3]);
    assert_eq!(
        found(Query { principal: Some("okta:ann%".to_owned()), ..Query::default() }).await,
        [0_u64; 0]
    );
}

async fn what_a_leaf_says_finds_it(store: Store) {
    let decided = |outcome: &str, rule: &str, role: &str| Fact::Decided {
        outcome: outcome.to_owned(),
        duties: None,
        reason: None,
        basis: Basis {
            rules: [RuleId::new(rule)].into(),
            roles: [RoleName::new(role)].into(),
            grants: BTreeSet::new(),
            policy: None,
        },
    };
    let described = |action: &str, crew: &str| Fact::Described {
        action: action.to_owned().into(),
        resource: format!("Crew/{crew}"),
        effect: Effect::Write,
        datasets: Vec::new(),
        inputs: Vec::new(),
    };
    let at = |phase: Phase, second: i64| {
        Entry::new(phase, RequestId::random(), Timestamp::from_secs(1_781_524_800 + second))
    };
    let hits = [("EMAIL".to_owned(), [(String::new(), 2)].into())].into();
    let entries = [
        at(Phase::Intent, 0)
            .with_fact(by("anna"))
            .with_fact(described("kickoff", "support"))
            .with_fact(decided("allow", "analysts-run", "analysts")),
        at(Phase::Refused, 10)
            .with_fact(by("anna"))
            .with_fact(described("kickoff", "sales"))
            // Decided twice, as a release is: the last one counts.
            .with_fact(decided("ask", "analysts-run", "analysts"))
            .with_fact(decided("refuse", "never-on-sundays", "owners")),
        at(Phase::Outcome, 20)
            .with_fact(by("bob"))
            .with_fact(described("status", "support"))
            .with_fact(Fact::Masked { profiles: BTreeSet::new(), hits }),
        Entry::told("config.reload", None, RequestId::random(), Timestamp::from_secs(1_781_524_830)),
    ];
    for entry in entries {
        store.append(Lane::Outcome, entry).await.unwrap();
    }
    let found = async |words: &[Word], query: Query| {
        let query = Query { words: words.iter().cloned().collect(), ..query };
        store.leaves(query).await.unwrap().iter().map(|leaf| leaf.index).collect::<Vec<_>>()
    };
    let (all, word) = (Query::default, str::to_owned);
    assert_eq!(found(&[Word::Action(word("kickoff"))], all()).await, [0, 1]);
    assert_eq!(found(&[Word::Resource(word("Crew/support"))], all().newest_first()).await, [2, 0]);
    assert_eq!(
        found(&[Word::Action(word("kickoff")), Word::Resource(word("Crew/support"))], all()).await,
        [0]
    );
    assert_eq!(found(&[Word::Decision(word("refuse"))], all()).await, [1]);
    assert_eq!(found(&[Word::Rule(word("analysts-run"))], all()).await, [0]);
    assert_eq!(found(&[Word::Role(word("owners"))], all()).await, [1]);
    assert_eq!(found(&[Word::Masked(word("EMAIL"))], all()).await, [2]);
    assert_eq!(found(&[Word::Kind(word("config.reload"))], all()).await, [3]);
    assert_eq!(found(&[Word::Kind(word("intent"))], all()).await, [0]);
    assert_eq!(found(&[Word::Action(word("kick%"))], all()).await, [0_u64; 0]);
    let anna = |since: i64, until: i64| Query {
        principal: Some("okta:anna".to_owned()),
        since: Some(Timestamp::from_secs(1_781_524_800 + since)),
        until: Some(Timestamp::from_secs(1_781_524_800 + until)),
        ..Query::default()
    };
    assert_eq!(found(&[], anna(0, 20)).await, [0, 1]);
    assert_eq!(found(&[], anna(0, 10)).await, [0], "what ends when another begins is not in both");
    assert_eq!(found(&[], anna(10, 20)).await, [1]);
    assert_eq!(found(&[Word::Decision(word("allow"))], anna(0, 20)).await, [0]);
}

async fn open_intents_are_those_without_an_outcome(store: Store) {
    let intents = [entry(Phase::Intent), entry(Phase::Intent), entry(Phase::Intent)];
    for intent in intents.clone() {
        store.append(Lane::Intent, intent).await.unwrap();
    }
    let [_, second, _] = intents;
    store.append(Lane::Outcome, Entry { phase: Phase::Outcome, ..second }).await.unwrap();
    let open = store.open_intents(10).await.unwrap();
    assert_eq!(open.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(store.open_intents(1).await.unwrap().iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [0]);
}

async fn pages_join(store: Store) {
    let many = TILE + 20;
    for _ in 1..many {
        drop(store.append(Lane::Outcome, entry(Phase::Control)));
    }
    store.append(Lane::Outcome, entry(Phase::Control)).await.unwrap();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = store.leaves(Query { after, limit: 10, ..Query::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.index);
        read.extend(page);
    }
    assert_eq!(read, verified(&store).await);
    assert_eq!(read.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), (0..many).collect::<Vec<_>>());
    let mut told = Vec::new();
    verify(&store, None, |verified, of| told.push((verified, of))).await.unwrap().unwrap();
    assert_eq!(told, [(TILE, many), (many, many)]);
}

async fn every_leaf_can_be_proved(store: Store) {
    for index in 0..5 {
        store.append(Lane::Outcome, entry(Phase::Control)).await.unwrap();
        for leaf in 0..=index {
            let receipt = prove(&store, leaf, None).await.unwrap().unwrap();
            assert_eq!(receipt.verify(&store.keys(), &[]).unwrap().head, store.head().await.unwrap());
        }
    }
    assert_eq!(prove(&store, 5, None).await.unwrap(), None);
}
