//! What every [`RunLedger`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty ledger, and [`races`] with as many rounds as the ledger's
//! speed allows, from an integration test on the multi-threaded runtime.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

use std::{collections::BTreeSet, future::Future, num::NonZeroUsize, sync::Arc, time::Duration};

use crewgate_core::{
    Action, Effect, IdKind, IdSlot, Message, Operation, Principal, PrincipalKey, PrincipalKind, Resource,
    RunId, TaskId, Timestamp, TokenFacts,
};
use crewgate_runs::{NewRun, OwnedId, RegisterError, RunFilter, RunLedger};
use http::Method;
use uuid::Uuid;

/// A ledger under test.
pub type Ledger = Arc<dyn RunLedger>;

/// The instant at which the first run here starts: 2026-06-15T12:00:00Z.
#[must_use]
pub fn start() -> Timestamp {
    Timestamp::from_secs(1_781_524_800)
}

/// A run of this crew, started by this person `after` seconds after [`start`].
#[must_use]
pub fn run(crew: &str, owner: &str, after: u64) -> NewRun {
    NewRun {
        crew: crew.to_owned(),
        owner: PrincipalKey::new("okta", owner),
        at: start().saturating_add(Duration::from_secs(after)),
    }
}

/// This person at the issuer `okta`, who owns what [`run`] starts for them.
#[must_use]
pub fn person(subject: &str) -> Principal {
    Principal {
        key: PrincipalKey::new("okta", subject),
        kind: PrincipalKind::User,
        groups: Default::default(),
        client: None,
        token: TokenFacts {
            issued: start(),
            expires: start().saturating_add(Duration::from_secs(3600)),
            fingerprint: "0123456789abcdef".to_owned(),
            mfa: false,
            sender_constrained: false,
            authenticated: None,
            class: None,
            actors: Vec::new(),
            exchanged: None,
        },
        human: None,
    }
}

/// An operation that starts a run.
#[must_use]
pub fn starting(crew: &str) -> Operation {
    Operation {
        action: Action::of("kickoff"),
        resource: Resource { kind: "Crew".into(), name: crew.to_owned(), parents: Vec::new() },
        effect: Effect::Write,
        inputs: Vec::new(),
        datasets: Vec::new(),
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 0,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

/// An operation that reads the run with this id, before the id is looked up.
#[must_use]
pub fn asking_about(crew: &str, own: Uuid) -> Operation {
    Operation {
        action: Action::of("status"),
        effect: Effect::Read,
        ids: vec![IdSlot { kind: IdKind::Run, own, upstream: None }],
        ..starting(crew)
    }
}

/// Runs every law on a fresh ledger of its own.
pub async fn conforms<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Ledger>,
{
    an_unknown_id_is_nobodys(fresh().await).await;
    a_started_run_is_its_owners(fresh().await).await;
    a_reserved_run_is_bound_once(fresh().await).await;
    a_bound_run_keeps_its_upstream_id_to_itself(fresh().await).await;
    an_upstream_run_has_one_own_id_per_crew(fresh().await).await;
    ids_seen_in_a_run_belong_to_its_owner(fresh().await).await;
    registering_is_idempotent_and_keeps_the_order(fresh().await).await;
    a_task_belongs_to_the_run_it_was_seen_in(fresh().await).await;
    an_id_is_not_registered_for_a_run_that_is_none(fresh().await).await;
    upstream_ids_are_found_per_crew(fresh().await).await;
    strange_spellings_survive(fresh().await).await;
    runs_are_listed_newest_first(fresh().await).await;
    the_last_task_that_waits_is_the_one(fresh().await).await;
    an_answer_to_an_earlier_wait_ends_no_later_one(fresh().await).await;
}

async fn an_unknown_id_is_nobodys(ledger: Ledger) {
    assert_eq!(ledger.find(Uuid::new_v4()).await, Ok(None));
    assert_eq!(ledger.find_upstream("support", vec!["up".into()]).await, Ok(Vec::new()));
    assert_eq!(ledger.find_upstream("support", Vec::new()).await, Ok(Vec::new()));
    assert_eq!(ledger.list(RunFilter::default()).await, Ok(Vec::new()));
    assert_eq!(ledger.task_of(RunId::random()).await, Ok(None));
}

async fn a_started_run_is_its_owners(ledger: Ledger) {
    let id = ledger.start(run("support", "ana", 1), "up-1".into()).await.unwrap();
    let expected = OwnedId {
        own: id.run.as_uuid(),
        kind: IdKind::Run,
        crew: "support".into(),
        owner: PrincipalKey::new("okta", "ana"),
        run: id.run,
        upstream: Some("up-1".into()),
        at: start().saturating_add(Duration::from_secs(1)),
    };
    assert_eq!(id, expected);
    assert_eq!(id.own.get_version_num(), 4);
    assert_eq!(ledger.find(id.own).await, Ok(Some(expected)));
}

async fn a_reserved_run_is_bound_once(ledger: Ledger) {
    let ticket = ledger.reserve(run("support", "ana", 0)).await.unwrap();
    let waiting = ledger.find(ticket.as_uuid()).await.unwrap().unwrap();
    assert_eq!((waiting.run, waiting.upstream), (ticket, None));

    let bound = ledger.bind(ticket, "up-1".into()).await.unwrap();
    assert_eq!((bound.own, bound.upstream.as_deref()), (ticket.as_uuid(), Some("up-1")));
    assert_eq!(bound.owner, PrincipalKey::new("okta", "ana"));
    assert_eq!(ledger.find(ticket.as_uuid()).await, Ok(Some(bound.clone())));
    assert_eq!(ledger.bind(ticket, "up-1".into()).await, Ok(bound.clone()));
    assert_eq!(ledger.bind(ticket, "up-2".into()).await, Err(RegisterError::Bound));
    assert_eq!(ledger.find(ticket.as_uuid()).await, Ok(Some(bound)));
    assert_eq!(ledger.bind(RunId::random(), "up-3".into()).await, Err(RegisterError::NoRun));
}

async fn a_bound_run_keeps_its_upstream_id_to_itself(ledger: Ledger) {
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let ticket = ledger.reserve(run("support", "bob", 1)).await.unwrap();
    assert_eq!(ledger.bind(ticket, "up-1".into()).await, Err(RegisterError::Taken));
    assert_eq!(ledger.find(ticket.as_uuid()).await.unwrap().unwrap().upstream, None);
    assert_eq!(ledger.find_upstream("support", vec!["up-1".into()]).await, Ok(vec![first]));
    // Another crew's ids are other ids.
    let other = ledger.reserve(run("payroll", "bob", 1)).await.unwrap();
    assert!(ledger.bind(other, "up-1".into()).await.is_ok());
}

async fn an_upstream_run_has_one_own_id_per_crew(ledger: Ledger) {
    let ana = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let bob = ledger.start(run("support", "bob", 1), "up-1".into()).await.unwrap();
    assert_eq!(ana, bob, "who asked first owns it");
    let elsewhere = ledger.start(run("payroll", "bob", 1), "up-1".into()).await.unwrap();
    assert_ne!(elsewhere.own, ana.own);
    assert_eq!(elsewhere.owner, PrincipalKey::new("okta", "bob"));
}

async fn ids_seen_in_a_run_belong_to_its_owner(ledger: Ledger) {
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let later = start().saturating_add(Duration::from_secs(9));
    let seen = vec![(IdKind::Task, "task-1".to_owned()), (IdKind::Run, "up-2".to_owned())];
    let ids = ledger.register(first.run, seen, later).await.unwrap();
    for (id, kind, upstream) in [(&ids[0], IdKind::Task, "task-1"), (&ids[1], IdKind::Run, "up-2")] {
        let expected =
            OwnedId { own: id.own, kind, upstream: Some(upstream.into()), at: later, ..first.clone() };
        assert_eq!(*id, expected);
        assert_ne!(id.own, first.own);
        assert_eq!(ledger.find(id.own).await, Ok(Some(expected)));
    }
    // A reserved run that has not started can be given ids, too: its owner is known.
    let ticket = ledger.reserve(run("support", "bob", 1)).await.unwrap();
    let ids = ledger.register(ticket, vec![(IdKind::Task, "task-2".into())], later).await.unwrap();
    assert_eq!((ids[0].run, ids[0].owner.subject.as_str()), (ticket, "bob"));
}

async fn registering_is_idempotent_and_keeps_the_order(ledger: Ledger) {
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let seen =
        |names: &[&str]| names.iter().map(|name| (IdKind::Task, (*name).to_owned())).collect::<Vec<_>>();
    let one = ledger.register(first.run, seen(&["a", "b"]), start()).await.unwrap();
    let later = start().saturating_add(Duration::from_secs(5));
    let two = ledger.register(first.run, seen(&["b", "c", "a", "c"]), later).await.unwrap();
    assert_eq!((&two[0], &two[2]), (&one[1], &one[0]));
    assert_eq!(two[1], two[3], "twice in one call is once");
    assert_eq!(ledger.register(first.run, Vec::new(), later).await, Ok(Vec::new()));
    // The run's own id is found again, not registered a second time.
    let again = ledger.register(first.run, vec![(IdKind::Run, "up-1".into())], later).await.unwrap();
    assert_eq!(again, [first]);
}

async fn a_task_belongs_to_the_run_it_was_seen_in(ledger: Ledger) {
    let ana = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let bob = ledger.start(run("support", "bob", 0), "up-2".into()).await.unwrap();
    let task = || vec![(IdKind::Task, "same-task".to_owned())];
    let of_ana = ledger.register(ana.run, task(), start()).await.unwrap().remove(0);
    let of_bob = ledger.register(bob.run, task(), start()).await.unwrap().remove(0);
    assert_ne!(of_ana.own, of_bob.own);
    assert_eq!((of_ana.owner, of_bob.owner), (ana.owner.clone(), bob.owner));
    // Another's run is not taken over by being seen.
    let seen = ledger.register(bob.run, vec![(IdKind::Run, "up-1".into())], start()).await.unwrap();
    assert_eq!(seen, [ana]);
}

async fn an_id_is_not_registered_for_a_run_that_is_none(ledger: Ledger) {
    let ids = vec![(IdKind::Task, "task-1".to_owned())];
    assert_eq!(ledger.register(RunId::random(), ids.clone(), start()).await, Err(RegisterError::NoRun));
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let task = ledger.register(first.run, ids.clone(), start()).await.unwrap().remove(0);
    let no_run = RunId::from_uuid(task.own);
    assert_eq!(ledger.register(no_run, ids, start()).await, Err(RegisterError::NoRun));
    assert_eq!(ledger.bind(no_run, "up-9".into()).await, Err(RegisterError::NoRun));
    let waits = ledger.task_waiting(no_run, first.run, TaskId::from_uuid(task.own)).await;
    assert_eq!(waits, Err(RegisterError::NoRun));
}

async fn upstream_ids_are_found_per_crew(ledger: Ledger) {
    let ana = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let bob = ledger.start(run("support", "bob", 0), "up-2".into()).await.unwrap();
    let other = ledger.start(run("payroll", "bob", 0), "up-1".into()).await.unwrap();
    let task =
        ledger.register(ana.run, vec![(IdKind::Task, "up-2".into())], start()).await.unwrap().remove(0);
    let sorted = |mut ids: Vec<OwnedId>| {
        ids.sort_by_key(|id| id.own);
        ids
    };
    let asked = ["up-1", "up-2", "up-2", "nothing"].map(str::to_owned).to_vec();
    let found = ledger.find_upstream("support", asked.clone()).await.unwrap();
    assert_eq!(sorted(found), sorted(vec![ana, bob, task]), "each once");
    assert_eq!(ledger.find_upstream("payroll", asked).await, Ok(vec![other]));
    // More at once than a database takes parameters.
    let mut many: Vec<_> = (0..3000).map(|n| format!("none-{n}")).collect();
    many.push("up-1".to_owned());
    assert_eq!(ledger.find_upstream("support", many).await.unwrap().len(), 1);
}

async fn strange_spellings_survive(ledger: Ledger) {
    let spelling = "Ünï ' \" \\ % _ \u{1F600}";
    let lower = ledger.start(run("support", "o'hara", 0), "abc".into()).await.unwrap();
    let upper = ledger.start(run("support", "o'hara", 0), "ABC".into()).await.unwrap();
    assert_ne!(lower.own, upper.own, "compared byte by byte");
    let strange = ledger.start(run("support", "o'hara", 0), spelling.into()).await.unwrap();
    assert_eq!(ledger.find(strange.own).await, Ok(Some(strange.clone())));
    assert_eq!(ledger.find_upstream("support", vec![spelling.into()]).await, Ok(vec![strange]));
}

async fn runs_are_listed_newest_first(ledger: Ledger) {
    let mut runs = Vec::new();
    for (n, (crew, owner)) in
        (0..).zip([("support", "ana"), ("support", "bob"), ("payroll", "ana"), ("support", "ana")])
    {
        runs.push(ledger.start(run(crew, owner, n), format!("up-{n}")).await.unwrap());
    }
    let parts = vec![(IdKind::Task, "task".to_owned()), (IdKind::Run, "resumed".to_owned())];
    let late = start().saturating_add(Duration::from_secs(60));
    ledger.register(runs[0].run, parts, late).await.unwrap();
    let ticket = ledger.reserve(run("payroll", "bob", 30)).await.unwrap();

    let owns = |ids: Vec<OwnedId>| ids.into_iter().map(|id| id.run).collect::<Vec<_>>();
    let all = owns(ledger.list(RunFilter::default()).await.unwrap());
    assert_eq!(all, [ticket, runs[3].run, runs[2].run, runs[1].run, runs[0].run]);
    let filter = RunFilter {
        crew: Some("support".into()),
        owner: Some(PrincipalKey::new("okta", "ana")),
        ..RunFilter::default()
    };
    assert_eq!(owns(ledger.list(filter).await.unwrap()), [runs[3].run, runs[0].run]);
    let page =
        RunFilter { before: Some(runs[3].at), limit: NonZeroUsize::new(2).unwrap(), ..RunFilter::default() };
    assert_eq!(owns(ledger.list(page).await.unwrap()), [runs[2].run, runs[1].run]);
}

async fn the_last_task_that_waits_is_the_one(ledger: Ledger) {
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let (one, two) = (TaskId::random(), TaskId::random());
    let waits = ledger.task_waiting(first.run, first.run, one).await.unwrap();
    assert_eq!((waits.execution, waits.task), (first.run, one));
    assert_eq!(ledger.task_of(first.run).await, Ok(Some(waits)));
    let resumed = RunId::random();
    let next = ledger.task_waiting(first.run, resumed, two).await.unwrap();
    assert_eq!((next.execution, next.task), (resumed, two));
    assert!(next.turn > waits.turn);
    assert_eq!(ledger.task_of(first.run).await, Ok(Some(next)));
    let other = ledger.start(run("support", "ana", 0), "up-2".into()).await.unwrap();
    assert_eq!(ledger.task_of(other.run).await, Ok(None));
}

async fn an_answer_to_an_earlier_wait_ends_no_later_one(ledger: Ledger) {
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let task = TaskId::random();
    let before = ledger.task_waiting(first.run, first.run, task).await.unwrap();
    // Rejected and retried: the same task waits again before the first answer is noted.
    let again = ledger.task_waiting(first.run, first.run, task).await.unwrap();
    assert_eq!(ledger.task_answered(first.run, before).await, Ok(false));
    assert_eq!(ledger.task_of(first.run).await, Ok(Some(again)));
    assert_eq!(ledger.task_answered(first.run, again).await, Ok(true));
    assert_eq!(ledger.task_of(first.run).await, Ok(None));
    assert_eq!(ledger.task_answered(first.run, again).await, Ok(false));
    let third = ledger.task_waiting(first.run, first.run, task).await.unwrap();
    assert!(third.turn > again.turn, "a turn is never used twice");
    assert_eq!(ledger.task_answered(RunId::random(), third).await, Ok(false));
}

/// Many callers at once: an upstream id gets one own id, and a ticket is bound once.
pub async fn races<F, Fut>(fresh: F, rounds: usize)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Ledger>,
{
    const CALLERS: u64 = 16;
    let ledger = fresh().await;
    for round in 0..rounds {
        let mut starts = Vec::new();
        for n in 0..CALLERS {
            let ledger = Arc::clone(&ledger);
            let upstream = format!("raced-{round}");
            starts.push(tokio::spawn(async move {
                ledger.start(run("support", &format!("caller-{n}"), n), upstream).await.unwrap()
            }));
        }
        let mut owns = BTreeSet::new();
        for started in starts {
            let id = started.await.unwrap();
            owns.insert((id.own, id.owner));
        }
        assert_eq!(owns.len(), 1, "one upstream run, one own id, one owner");

        let ticket = ledger.reserve(run("support", "ana", 0)).await.unwrap();
        let mut binds = Vec::new();
        for n in 0..CALLERS {
            let ledger = Arc::clone(&ledger);
            binds.push(tokio::spawn(async move {
                ledger.bind(ticket, format!("bound-{round}-{n}")).await.is_ok()
            }));
        }
        let mut bound = 0;
        for done in binds {
            bound += usize::from(done.await.unwrap());
        }
        assert_eq!(bound, 1, "a ticket is bound once");

        let owner = *owns.first().map(|(own, _)| own).unwrap();
        let mut tasks = Vec::new();
        for _ in 0..CALLERS {
            let ledger = Arc::clone(&ledger);
            let seen = vec![(IdKind::Task, "t".to_owned()), (IdKind::Task, "u".to_owned())];
            tasks.push(tokio::spawn(async move {
                let ids = ledger.register(RunId::from_uuid(owner), seen, start()).await.unwrap();
                (ids[0].own, ids[1].own)
            }));
        }
        let mut seen = BTreeSet::new();
        for task in tasks {
            seen.insert(task.await.unwrap());
        }
        assert_eq!(seen.len(), 1, "one task, one own id");
    }
}
