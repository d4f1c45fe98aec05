//! Whose an id is, seen from the door.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{convert::Infallible, sync::Arc};

use crewgate_core::{IdKind, IdSlot, Operation, Principal, PrincipalKey, Refusal, RunId, TaskId, Timestamp};
use crewgate_runs::{
    LedgerError, MemoryLedger, NewRun, OwnedId, PendingTask, RegisterError, ResolveLayer, RunFilter,
    RunLedger,
};
use crewgate_testkit::{
    ReadyProbe,
    suites::runs::{asking_about, person, run, start, starting},
};
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt};
use uuid::Uuid;

/// What came through, or why not.
async fn ask<O: crewgate_runs::Owns>(
    layer: ResolveLayer<O>,
    principal: Option<Principal>,
    operation: Option<Operation>,
) -> Result<Operation, Refusal> {
    let probe = ReadyProbe::new(|request: Request<()>| {
        assert!(request.extensions().get::<Principal>().is_some(), "the principal goes on");
        let mut response = Response::new(());
        response.extensions_mut().insert(request.extensions().get::<Operation>().unwrap().clone());
        response
    });
    let mut request = Request::new(());
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    if let Some(operation) = operation {
        request.extensions_mut().insert(operation);
    }
    let mut response = layer.layer(probe.clone()).oneshot(request).await.unwrap();
    match response.extensions_mut().remove::<Refusal>() {
        Some(refusal) => {
            assert_eq!((probe.calls(), response.status()), (0, refusal.status));
            Err(refusal)
        }
        None => Ok(response.extensions_mut().remove::<Operation>().unwrap()),
    }
}

fn code(result: Result<Operation, Refusal>) -> (u16, &'static str) {
    let refusal = result.unwrap_err();
    (refusal.status.as_u16(), refusal.code)
}

fn slot(kind: IdKind, own: Uuid) -> IdSlot {
    IdSlot { kind, own, upstream: None }
}

const UNKNOWN: (u16, &str) = (404, "run_unknown");

#[tokio::test]
async fn an_owners_id_gets_its_upstream_spelling_owner_and_run() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let layer = ResolveLayer::new(ledger);
    let operation = ask(layer, Some(person("ana")), Some(asking_about("support", id.own))).await.unwrap();
    assert_eq!(operation.ids.first().unwrap().upstream.as_deref(), Some("up-1"));
    assert_eq!((operation.owner, operation.run), (Some(id.owner), Some(id.run)));
}

#[tokio::test]
async fn an_operation_without_ids_belongs_to_no_run_whatever_it_claims() {
    let layer = ResolveLayer::new(Arc::new(MemoryLedger::new()));
    let claims = Operation {
        owner: Some(PrincipalKey::new("okta", "ana")),
        run: Some(RunId::random()),
        ..starting("support")
    };
    let operation = ask(layer, Some(person("ana")), Some(claims)).await.unwrap();
    assert_eq!((operation.owner, operation.run), (None, None));
}

#[tokio::test]
async fn unknown_anothers_another_crews_and_another_kinds_ids_are_answered_alike() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let task =
        ledger.register(id.run, vec![(IdKind::Task, "task-1".into())], start()).await.unwrap().remove(0);
    let mut told = Vec::new();
    for (who, crew, own) in [
        ("ana", "support", Uuid::new_v4()),
        ("bob", "support", id.own),
        ("ana", "payroll", id.own),
        ("ana", "support", task.own),
    ] {
        let layer = ResolveLayer::new(ledger.clone());
        told.push(ask(layer, Some(person(who)), Some(asking_about(crew, own))).await.unwrap_err());
    }
    assert_eq!(told.first().map(|refusal| (refusal.status.as_u16(), refusal.code)), Some(UNKNOWN));
    assert!(told.windows(2).all(|two| two.first() == two.last()), "{told:?}");
    // The same subject at another issuer is another principal.
    let stranger = Principal { key: PrincipalKey::new("google", "ana"), ..person("ana") };
    let layer = ResolveLayer::new(ledger);
    assert_eq!(code(ask(layer, Some(stranger), Some(asking_about("support", id.own))).await), UNKNOWN);
}

#[tokio::test]
async fn a_task_is_named_together_with_its_own_run() {
    let ledger = Arc::new(MemoryLedger::new());
    let one = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let two = ledger.start(run("support", "ana", 0), "up-2".into()).await.unwrap();
    let task =
        ledger.register(one.run, vec![(IdKind::Task, "task-1".into())], start()).await.unwrap().remove(0);
    let resume = |run: &OwnedId| Operation {
        ids: vec![slot(IdKind::Run, run.own), slot(IdKind::Task, task.own)],
        ..starting("support")
    };
    let layer = ResolveLayer::new(ledger);
    let operation = ask(layer.clone(), Some(person("ana")), Some(resume(&one))).await.unwrap();
    assert_eq!(operation.ids.last().unwrap().upstream.as_deref(), Some("task-1"));
    assert_eq!(operation.run, Some(one.run));
    assert_eq!(code(ask(layer, Some(person("ana")), Some(resume(&two))).await), UNKNOWN);
}

#[tokio::test]
async fn one_anothers_id_among_own_ones_is_enough_to_refuse() {
    let ledger = Arc::new(MemoryLedger::new());
    let ana = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let bob = ledger.start(run("support", "bob", 0), "up-2".into()).await.unwrap();
    for ids in [[ana.own, bob.own], [bob.own, ana.own]] {
        let both = Operation { ids: ids.map(|own| slot(IdKind::Run, own)).to_vec(), ..starting("support") };
        assert_eq!(
            code(ask(ResolveLayer::new(ledger.clone()), Some(person("ana")), Some(both)).await),
            UNKNOWN
        );
    }
}

#[tokio::test]
async fn a_reserved_run_is_its_owners_before_it_has_an_upstream_id() {
    let ledger = Arc::new(MemoryLedger::new());
    let ticket = ledger.reserve(run("support", "ana", 0)).await.unwrap();
    let asked = asking_about("support", ticket.as_uuid());
    let operation =
        ask(ResolveLayer::new(ledger.clone()), Some(person("ana")), Some(asked.clone())).await.unwrap();
    assert_eq!((operation.run, operation.ids.first().unwrap().upstream.clone()), (Some(ticket), None));
    assert_eq!(code(ask(ResolveLayer::new(ledger), Some(person("bob")), Some(asked)).await), UNKNOWN);
}

#[tokio::test]
async fn an_operation_that_starts_a_run_is_not_part_of_the_one_it_names() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let layer = ResolveLayer::new(ledger).starts_run(|operation| operation.action.as_str() == "kickoff");
    let restores = Operation { ids: vec![slot(IdKind::Run, id.own)], ..starting("support") };
    let operation = ask(layer.clone(), Some(person("ana")), Some(restores.clone())).await.unwrap();
    assert_eq!((operation.run, operation.owner), (None, Some(id.owner)));
    assert_eq!(operation.ids.first().unwrap().upstream.as_deref(), Some("up-1"));
    assert_eq!(code(ask(layer, Some(person("bob")), Some(restores)).await), UNKNOWN);
}

#[tokio::test]
async fn ownership_can_be_wider_than_one_identity() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let linked = |who: &Principal, owner: &PrincipalKey, _: &Operation| {
        who.key.subject.strip_suffix("-admin") == Some(&owner.subject)
    };
    let layer = ResolveLayer::new(ledger).owned_by(linked);
    let asked = || Some(asking_about("support", id.own));
    let operation = ask(layer.clone(), Some(person("ana-admin")), asked()).await.unwrap();
    assert_eq!(operation.owner, Some(PrincipalKey::new("okta", "ana")), "the owner stays who started it");
    assert_eq!(code(ask(layer, Some(person("bob-admin")), asked()).await), UNKNOWN);
}

#[tokio::test]
async fn a_missing_principal_or_operation_refuses() {
    let layer = || ResolveLayer::new(Arc::new(MemoryLedger::new()));
    assert_eq!(code(ask(layer(), None, Some(starting("support"))).await), (403, "principal_missing"));
    assert_eq!(code(ask(layer(), Some(person("ana")), None).await), (403, "operation_missing"));
}

#[tokio::test]
async fn a_ledger_that_is_down_refuses_without_sending() {
    let layer = ResolveLayer::new(Arc::new(Down));
    let asked = asking_about("support", Uuid::new_v4());
    let refusal = ask(layer, Some(person("ana")), Some(asked)).await.unwrap_err();
    assert_eq!((refusal.status, refusal.code), (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable"));
    assert!(refusal.retry_after.is_some());
    assert!(!refusal.detail.contains("disk"), "what is wrong with it is not the caller's business");
}

#[tokio::test]
async fn it_calls_the_instance_that_was_ready() {
    let probe = ReadyProbe::new(|_: Request<()>| Response::new(()));
    let mut service = ResolveLayer::new(Arc::new(MemoryLedger::new())).layer(probe.clone());
    for _ in 0..3 {
        let mut request = Request::new(());
        request.extensions_mut().insert(person("ana"));
        request.extensions_mut().insert(starting("support"));
        let answer: Result<Response<()>, Infallible> = service.ready().await.unwrap().call(request).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(probe.calls(), 3);
}

/// A ledger whose disk is gone.
struct Down;

fn down<T: Send + 'static, E: From<LedgerError> + Send + 'static>() -> BoxFuture<'static, Result<T, E>> {
    Box::pin(ready(Err(LedgerError::Unavailable("the disk is gone".into()).into())))
}

impl RunLedger for Down {
    fn reserve(&self, _: NewRun) -> BoxFuture<'_, Result<RunId, LedgerError>> {
        down()
    }
    fn start(&self, _: NewRun, _: String) -> BoxFuture<'_, Result<OwnedId, LedgerError>> {
        down()
    }
    fn bind(&self, _: RunId, _: String) -> BoxFuture<'_, Result<OwnedId, RegisterError>> {
        down()
    }
    fn register(
        &self,
        _: RunId,
        _: Vec<(IdKind, String)>,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OwnedId>, RegisterError>> {
        down()
    }
    fn find(&self, _: Uuid) -> BoxFuture<'_, Result<Option<OwnedId>, LedgerError>> {
        down()
    }
    fn find_upstream<'a>(
        &'a self,
        _: &'a str,
        _: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<OwnedId>, LedgerError>> {
        down()
    }
    fn list(&self, _: RunFilter) -> BoxFuture<'_, Result<Vec<OwnedId>, LedgerError>> {
        down()
    }
    fn task_waiting(
        &self,
        _: RunId,
        _: RunId,
        _: TaskId,
    ) -> BoxFuture<'_, Result<PendingTask, RegisterError>> {
        down()
    }
    fn task_of(&self, _: RunId) -> BoxFuture<'_, Result<Option<PendingTask>, LedgerError>> {
        down()
    }
    fn task_answered(&self, _: RunId, _: PendingTask) -> BoxFuture<'_, Result<bool, LedgerError>> {
        down()
    }
}
