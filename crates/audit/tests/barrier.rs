//! Nothing leaves before it is on the record.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use crewgate_audit::{
    AuditError, AuditLayer, AuditStore, BarrierLayer, Entry, Lane, Leaf, Log, MemoryStore, Phase, Place,
    Query, RefusalQuota, Seat,
    tlog::{Hash, Tiles, VerifierKey},
};
use crewgate_core::{
    ApprovalId, Departure, Effect, Ending, Fact, Operation, Refusal, RequestId, SystemClock, Timestamp,
};
use crewgate_testkit::ReadyProbe;
use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceExt};

use support::*;

#[tokio::test]
async fn the_intent_is_durable_before_the_inner_service_is_called() {
    let store = MemoryStore::new();
    let seen = store.clone();
    let inner = ReadyProbe::new(move |_: Request<()>| {
        let phases: Vec<_> = seen.entries().iter().map(|entry| entry.phase).collect();
        assert_eq!(phases, [Phase::Intent]);
        Response::new(Full::new(Bytes::from_static(b"done")))
    });
    let barrier = BarrierLayer::new(Arc::new(store.clone()))
        .mask_body(|extensions| extensions.get::<Operation>().map(|_| Bytes::from_static(b"masked")));
    let response = layer(&store).layer(barrier.layer(inner)).oneshot(call(Effect::Write)).await.unwrap();
    assert_eq!(response.headers()["audit-leaf"], "0");
    assert_eq!(store.open_intents(10).await.unwrap().len(), 1);
    response.into_body().collect().await.unwrap();

    let entries = store.entries();
    assert_eq!(entries[0].request_body.as_deref(), Some(b"masked".as_slice()));
    assert_eq!((entries[1].phase, ended(&entries[1])), (Phase::Outcome, (Ending::Complete, 200, 4)));
    assert_eq!(entries[0].request, entries[1].request);
    assert!(store.open_intents(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_withdrawn_call_never_leaves_and_never_has_an_intent() {
    let store = MemoryStore::new();
    let departure = Departure::new();
    assert!(departure.withdraw());
    let mut request = call(Effect::Write);
    request.extensions_mut().insert(departure);
    let response = stack(&store, || -> Full<Bytes> { panic!("it left") }).oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get::<Refusal>().unwrap().code, "withdrawn");
    let entries = store.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].phase, Phase::Refused);
}

#[tokio::test]
async fn a_call_that_left_can_no_longer_be_withdrawn_and_a_read_always_can() {
    for (effect, withdrawn) in [(Effect::Write, false), (Effect::Read, true)] {
        let departure = Departure::new();
        let mut request = call(effect);
        request.extensions_mut().insert(departure.clone());
        drop(stack(&MemoryStore::new(), Full::<Bytes>::default).oneshot(request).await.unwrap());
        assert_eq!(departure.withdraw(), withdrawn);
    }
}

/// A store that does as it is told.
#[derive(Clone)]
struct Told {
    inner: MemoryStore,
    append: Result<(), AuditError>,
    reserve: Result<(), AuditError>,
    hold: Option<Arc<Notify>>,
    lanes: Arc<Mutex<Vec<Lane>>>,
}

impl Told {
    fn new(reserve: Result<(), AuditError>, append: Result<(), AuditError>) -> Self {
        Self { inner: MemoryStore::new(), append, reserve, hold: None, lanes: Arc::default() }
    }
}

impl Tiles for Told {
    type Error = AuditError;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, AuditError>> {
        self.inner.tile(level, n)
    }
}

impl Log for Told {
    fn keys(&self) -> Vec<VerifierKey> {
        self.inner.keys()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>> {
        self.inner.checkpoint()
    }

    fn checkpoints(&self, above: u64, limit: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>> {
        self.inner.checkpoints(above, limit)
    }

    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        self.inner.bundle(n)
    }
}

impl AuditStore for Told {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
        self.lanes.lock().unwrap().push(lane);
        if let Err(error) = self.append {
            return ready(Err(error)).boxed();
        }
        let (written, hold) = (self.inner.append(lane, entry), self.hold.clone());
        async move {
            if let Some(hold) = hold {
                hold.notified().await;
            }
            written.await
        }
        .boxed()
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Seat>, AuditError>> {
        match self.reserve {
            Ok(()) => self.inner.reserve(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn leaves(&self, query: Query) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        self.inner.leaves(query)
    }

    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        self.inner.open_intents(limit)
    }
}

#[expect(clippy::type_complexity, reason = "a probe has no shorter name")]
fn told(
    store: &Told,
) -> (
    ReadyProbe<
        impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + use<>,
    >,
    Arc<dyn AuditStore>,
) {
    (ReadyProbe::new(|_: Request<()>| Response::new(Full::<Bytes>::default())), Arc::new(store.clone()))
}

#[tokio::test]
async fn without_a_record_nothing_leaves() {
    for (reserve, append, code) in [
        (Err(AuditError::Full), Ok(()), "audit_unavailable"),
        (Err(AuditError::Unavailable), Ok(()), "audit_unavailable"),
        (Ok(()), Err(AuditError::Full), "audit_unavailable"),
        (Ok(()), Err(AuditError::Unavailable), "audit_unavailable"),
        (Ok(()), Err(AuditError::Unknown), "audit_unavailable"),
        (Ok(()), Err(AuditError::Conflict), "approval_lost"),
    ] {
        let store = Told::new(reserve, append);
        let (probe, shared) = told(&store);
        let service =
            AuditLayer::new(Arc::clone(&shared)).layer(BarrierLayer::new(shared).layer(probe.clone()));
        let response = service.oneshot(call(Effect::Write)).await.unwrap();
        assert_eq!(response.extensions().get::<Refusal>().unwrap().code, code, "{reserve:?} {append:?}");
        assert_eq!(probe.calls(), 0);
    }
}

#[tokio::test]
async fn while_the_intent_is_not_durable_the_inner_service_is_not_called() {
    let mut store = Told::new(Ok(()), Ok(()));
    let durable = Arc::new(Notify::new());
    store.hold = Some(Arc::clone(&durable));
    let (probe, shared) = told(&store);
    let service = AuditLayer::new(Arc::clone(&shared)).layer(BarrierLayer::new(shared).layer(probe.clone()));
    let mut call = Box::pin(service.oneshot(call(Effect::Write)));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!((probe.calls(), store.inner.all().len()), (0, 1));
    durable.notify_one();
    call.await.unwrap();
    assert_eq!(probe.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_held_back() {
    let store = Told::new(Err(AuditError::Unavailable), Ok(()));
    let (probe, shared) = told(&store);
    let response = AuditLayer::new(shared).layer(probe).oneshot(call(Effect::Read)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn only_intents_use_the_lane_of_intents() {
    let store = Told::new(Ok(()), Ok(()));
    let (probe, shared) = told(&store);
    let service = AuditLayer::new(Arc::clone(&shared)).layer(BarrierLayer::new(shared).layer(probe));
    drop(service.clone().oneshot(call(Effect::Write)).await.unwrap());
    drop(service.oneshot(Request::new(())).await.unwrap());
    assert_eq!(*store.lanes.lock().unwrap(), [Lane::Intent, Lane::Refusal]);
}

#[tokio::test]
async fn a_barrier_without_an_open_record_refuses() {
    let store: Arc<dyn AuditStore> = Arc::new(MemoryStore::new());
    let probe = ReadyProbe::new(|_: Request<()>| Response::new(Full::<Bytes>::default()));
    let response = BarrierLayer::new(store).layer(probe.clone()).oneshot(call(Effect::Read)).await.unwrap();
    assert_eq!((response.extensions().get::<Refusal>().unwrap().code, probe.calls()), ("not_recorded", 0));
}

#[tokio::test]
async fn a_store_that_loses_an_approval_refuses_the_intent() {
    let admit = |entry: &Entry| if entry.release().is_some() { Err(AuditError::Conflict) } else { Ok(()) };
    let store = MemoryStore::with(RefusalQuota::default(), Arc::new(SystemClock), 10, admit);
    let request = RequestId::random();
    let entry = Entry::new(Phase::Intent, request, Timestamp::from_secs(1))
        .with_fact(Fact::Released { approval: ApprovalId::random(), lease: 1 });
    assert_eq!(store.append(Lane::Intent, entry).await, Err(AuditError::Conflict));
    assert!(store.all().is_empty());
}
