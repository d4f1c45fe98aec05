//! What is on the record, seen from the door.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use crewgate_audit::{
    AuditError, AuditLayer, AuditStore, BarrierLayer, Entry, Head, Lane, Leaf, MemoryStore, Parent, Phase,
    Query, Receipt, RefusalQuota, Seat, Timeline, verify,
};
use crewgate_core::{
    Action, ApprovalId, Departure, Effect, Ending, Fact, IdKind, Layer as By, Message, Operation,
    PrincipalKey, PrincipalKind, Refusal, RequestId, Resource, RunId, SystemClock, Timestamp, Trail,
};
use crewgate_testkit::{ManualClock, ReadyProbe};
use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceExt, service_fn};

/// A body that gives its pieces after pauses, and then ends, or fails, or never does either.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    exact: Option<u64>,
}

#[derive(Debug)]
enum Step {
    Wait(u64),
    Give(&'static str),
    Fail,
    Hang,
}

impl Script {
    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
            }
            match self.steps.pop_front() {
                Some(Step::Wait(millis)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(Duration::from_millis(millis))));
                }
                Some(Step::Give(text)) => return Poll::Ready(Some(Ok(http_body::Frame::data(text.into())))),
                Some(Step::Fail) => return Poll::Ready(Some(Err("broken"))),
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map(SizeHint::with_exact).unwrap_or_default()
    }
}

fn operation(effect: Effect) -> Operation {
    Operation {
        action: Action::of("kickoff"),
        resource: Resource { kind: "Crew".into(), name: "support".to_owned(), parents: Vec::new() },
        effect,
        inputs: Vec::new(),
        datasets: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 0,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

fn authenticated() -> Fact {
    Fact::Authenticated {
        principal: PrincipalKey::new("okta", "anna"),
        kind: PrincipalKind::User,
        client: None,
        expires: Timestamp::from_secs(0),
        token: "0".repeat(16),
    }
}

fn ended(entry: &Entry) -> (Ending, u16, u64) {
    let Some(Fact::Ended { how, status, bytes, .. }) = entry.facts.last() else {
        panic!("{entry:?} has not ended")
    };
    (*how, *status, *bytes)
}

fn trail<B>(request: &Request<B>) -> &Trail {
    request.extensions().get().unwrap()
}

fn layer(store: &MemoryStore) -> AuditLayer {
    AuditLayer::new(Arc::new(store.clone()))
}

/// Audit and barrier around a probe that answers with this body.
fn stack<B: Body<Data = Bytes> + Default + Send + 'static>(
    store: &MemoryStore,
    answer: impl Fn() -> B + Send + Sync + 'static,
) -> impl Service<Request<()>, Response = Response<crewgate_audit::AuditBody<B>>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let probe = ReadyProbe::new(move |request: Request<()>| {
        trail(&request).note(Fact::Answered { status: 200 });
        Response::new(answer())
    });
    layer(store).layer(BarrierLayer::new(Arc::new(store.clone())).layer(probe))
}

fn call(effect: Effect) -> Request<()> {
    let mut request =
        Request::post("/support/kickoff?secret=1").header("user-agent", "curl/8").body(()).unwrap();
    request.extensions_mut().insert(operation(effect));
    request
}

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
    assert_eq!(response.headers()["audit-leaf"], "1");
    assert_eq!(store.open_intents(10).await.unwrap().len(), 1);
    response.into_body().collect().await.unwrap();

    let entries = store.entries();
    assert_eq!(entries[0].request_body.as_deref(), Some(b"masked".as_slice()));
    assert_eq!((entries[1].phase, ended(&entries[1])), (Phase::Outcome, (Ending::Complete, 200, 4)));
    assert_eq!(entries[0].request, entries[1].request);
    assert!(store.open_intents(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_request_is_noted_without_its_query() {
    let store = MemoryStore::new();
    let id = RequestId::random();
    let mut request = call(Effect::Read);
    request.extensions_mut().insert(id);
    request.extensions_mut().insert(Parent(id));
    let response = stack(&store, Full::<Bytes>::default).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["request-id"], id.to_string());
    let entry = &store.entries()[0];
    assert_eq!(entry.request, id);
    let Fact::Received { method, path, user_agent, .. } = &entry.facts[0] else {
        panic!("not received first")
    };
    assert_eq!(
        (method.as_str(), path.as_str(), user_agent.as_deref()),
        ("POST", "/support/kickoff", Some("curl/8"))
    );
    assert_eq!(entry.facts[1], Fact::PartOf { request: id });
}

#[tokio::test(start_paused = true)]
async fn frames_are_kept_with_their_timing_as_the_caller_saw_them() {
    let store = MemoryStore::new();
    let body = || Script::of([Step::Wait(5), Step::Give("one "), Step::Wait(20), Step::Give("two")]);
    let response = stack(&store, body).oneshot(call(Effect::Read)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "one two");
    let entries = store.entries();
    let frames: Vec<_> =
        entries[1].frames.iter().map(|f| (f.offset_micros / 1000, f.bytes.as_ref())).collect();
    assert_eq!(frames, [(5, b"one ".as_slice()), (25, b"two")]);

    let lines = Timeline::of(&store.all()).unwrap().lines();
    let answers: Vec<_> = lines.iter().filter(|line| line.text.starts_with('<')).collect();
    assert_eq!(answers[1].at - answers[0].at, Duration::from_millis(20));
}

#[tokio::test]
async fn beyond_the_bound_bytes_are_counted_and_digested() {
    let store = MemoryStore::new();
    let inner = ReadyProbe::new(|_: Request<()>| Response::new(Full::new(Bytes::from_static(b"0123456789"))));
    let service = layer(&store).keep_bytes(4).layer(BarrierLayer::new(Arc::new(store.clone())).layer(inner));
    service.oneshot(call(Effect::Read)).await.unwrap().into_body().collect().await.unwrap();
    let outcome = &store.entries()[1];
    assert_eq!(outcome.frames[0].bytes, "0123");
    let Some(Fact::Ended { bytes, sha256, .. }) = outcome.facts.last() else { panic!("no end") };
    assert_eq!(*bytes, 10);
    assert_eq!(*sha256, crewgate_audit::Hash::of(b"0123456789").to_string());
}

#[tokio::test]
async fn a_caller_who_hangs_up_in_the_middle_is_on_the_record() {
    let store = MemoryStore::new();
    let body = || Script::of([Step::Give("half"), Step::Hang]);
    let mut response = stack(&store, body).oneshot(call(Effect::Read)).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(store.entries().len(), 1, "not before the end");
    drop(response);
    assert_eq!(ended(&store.entries()[1]), (Ending::CallerGone, 200, 4));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_on_the_record() {
    let store = MemoryStore::new();
    let body = || Script::of([Step::Give("half"), Step::Fail]);
    let response = stack(&store, body).oneshot(call(Effect::Read)).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(ended(&store.entries()[1]), (Ending::Cut, 200, 4));
}

#[tokio::test]
async fn a_server_that_stops_at_the_announced_length_has_sent_everything() {
    let store = MemoryStore::new();
    let body = || Script { exact: Some(4), ..Script::of([Step::Give("full"), Step::Hang]) };
    let mut response = stack(&store, body).oneshot(call(Effect::Read)).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(ended(&store.entries()[1]), (Ending::Complete, 200, 4));

    // An empty answer is never asked for its body at all.
    drop(stack(&store, Full::<Bytes>::default).oneshot(call(Effect::Read)).await.unwrap());
    assert_eq!(ended(&store.entries()[3]), (Ending::Complete, 200, 0));
}

#[tokio::test]
async fn a_refused_call_has_one_entry_that_says_why() {
    let store = MemoryStore::new();
    let approval = ApprovalId::random();
    let inner = ReadyProbe::new(move |request: Request<()>| {
        trail(&request).note(authenticated());
        Refusal::new(By::Policy, StatusCode::FORBIDDEN, "not_permitted", "no")
            .with_approval(approval)
            .into_response::<Full<Bytes>>()
    });
    let response = layer(&store).layer(inner).oneshot(call(Effect::Read)).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["audit-leaf"], "1");
    assert!(response.extensions().get::<Refusal>().is_some(), "whoever renders it still needs it");
    drop(response);
    let entries = store.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].phase, entries[0].approval), (Phase::Refused, Some(approval)));
    assert!(
        entries[0].facts.iter().any(|f| matches!(f, Fact::Refused { code, .. } if code == "not_permitted"))
    );
    assert_eq!(entries[0].principal().unwrap().to_string(), "okta:anna");
}

#[tokio::test]
async fn a_refusal_somebody_noted_is_not_told_twice() {
    let store = MemoryStore::new();
    let inner = ReadyProbe::new(|request: Request<()>| {
        trail(&request).note(Fact::Refused {
            by: By::Policy,
            status: 403,
            code: "not_permitted".to_owned(),
            rule: None,
            detail: "no".to_owned(),
        });
        Refusal::new(By::Policy, StatusCode::FORBIDDEN, "not_permitted", "no").into_response::<Full<Bytes>>()
    });
    layer(&store).layer(inner).oneshot(call(Effect::Read)).await.unwrap();
    let count = store.entries()[0].facts.iter().filter(|f| matches!(f, Fact::Refused { .. })).count();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_flood_of_strangers_is_folded_and_takes_no_room_from_intents() {
    let clock = ManualClock::new();
    let store = MemoryStore::with(RefusalQuota::new(2), Arc::new(clock.clone()), 100, |_: &Entry| Ok(()));
    let refuse = ReadyProbe::new(|_: Request<()>| {
        Refusal::new(By::Identity, StatusCode::UNAUTHORIZED, "token_missing", "log in")
            .into_response::<Full<Bytes>>()
    });
    let strangers =
        layer(&store).clock(clock.clone()).remote(|_| Some("10.0.0.9:1".to_owned())).layer(refuse);
    for _ in 0..50 {
        let response = strangers.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(store.all().len(), 2);
    clock.advance(Duration::from_secs(61));
    drop(stack(&store, Full::<Bytes>::default).oneshot(call(Effect::Read)).await.unwrap());
    let folded = Fact::Folded { remote: Some("10.0.0.9".to_owned()), count: 48 };
    assert!(store.entries().iter().any(|entry| entry.facts == [folded.clone()]));
    assert_eq!(verify(&store.all(), store.head().await.unwrap()), Ok(()));
}

#[tokio::test]
async fn an_answer_given_without_a_call_upstream_is_recorded_with_its_body() {
    let store = MemoryStore::new();
    let run = RunId::random();
    let inner = ReadyProbe::new(move |request: Request<()>| {
        trail(&request).note(authenticated());
        let mut response = Response::new(Full::new(Bytes::from_static(b"PENDING")));
        response.extensions_mut().insert(run);
        response
    });
    let response = layer(&store).layer(inner).oneshot(call(Effect::Read)).await.unwrap();
    response.into_body().collect().await.unwrap();
    let entry = &store.entries()[0];
    assert_eq!(
        (entry.phase, entry.run, entry.frames[0].bytes.as_ref()),
        (Phase::Outcome, Some(run), b"PENDING".as_slice())
    );
}

#[tokio::test]
async fn a_future_that_is_dropped_leaves_an_entry() {
    let store = MemoryStore::new();
    let never =
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let mut service = layer(&store).layer(never);
    drop(service.ready().await.unwrap().call(call(Effect::Read)));
    assert_eq!(
        (store.entries()[0].phase, ended(&store.entries()[0])),
        (Phase::Refused, (Ending::CallerGone, 499, 0))
    );

    // After the barrier it is an outcome.
    let barrier = BarrierLayer::new(Arc::new(store.clone()));
    let mut service = layer(&store).layer(barrier.layer(never));
    let mut future = service.ready().await.unwrap().call(call(Effect::Read));
    assert!((&mut future).now_or_never().is_none());
    drop(future);
    let phases: Vec<_> = store.entries().iter().skip(1).map(|entry| entry.phase).collect();
    assert_eq!(phases, [Phase::Intent, Phase::Outcome]);
}

#[tokio::test]
async fn a_service_that_fails_is_on_the_record() {
    let store = MemoryStore::new();
    let broken = service_fn(|_: Request<()>| ready(Err::<Response<Full<Bytes>>, _>("broken")));
    assert_eq!(layer(&store).layer(broken).oneshot(call(Effect::Read)).await.err(), Some("broken"));
    assert_eq!(ended(&store.entries()[0]), (Ending::Cut, 500, 0));
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

#[tokio::test]
async fn the_run_of_a_registered_id_and_the_released_approval_are_on_the_outcome() {
    let store = MemoryStore::new();
    let (run, approval) = (RunId::random(), ApprovalId::random());
    let inner = ReadyProbe::new(move |request: Request<()>| {
        trail(&request).note(Fact::Registered { kind: IdKind::Run, run });
        trail(&request).note(Fact::Released { approval, lease: 3 });
        Response::new(Full::<Bytes>::default())
    });
    drop(
        layer(&store)
            .layer(BarrierLayer::new(Arc::new(store.clone())).layer(inner))
            .oneshot(call(Effect::Write))
            .await,
    );
    let outcome = &store.entries()[1];
    assert_eq!(
        (outcome.run, outcome.approval, outcome.release()),
        (Some(run), Some(approval), Some((approval, 3)))
    );
    assert_eq!(store.leaves(Query::run(run)).await.unwrap().len(), 1);
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

impl AuditStore for Told {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Receipt, AuditError>> {
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

    fn head(&self) -> BoxFuture<'_, Result<Head, AuditError>> {
        self.inner.head()
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
