//! What becomes of the ids in an answer, seen from the door.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::{
    Effect, Fact, IdKind, IdSlot, Layer as By, Operation, Refusal, RequestId, RunId, TaskId, Trail,
};
use crewgate_runs::{
    AnswerIds, FoundId, MemoryLedger, OwnIds, OwnedId, Place, RegisterLayer, Reserved, RunLedger, Whole,
};
use crewgate_testkit::{
    ManualClock, ReadyProbe,
    suites::runs::{asking_about, person, run, start, starting},
};
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName},
    response::Parts,
};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};
use uuid::Uuid;

/// Answers of lines `place=id`.
struct Lines;

impl AnswerIds for Lines {
    type Answer = Vec<(String, String)>;

    fn read(&self, _: &Operation, _: &Parts, body: &Bytes) -> Result<Self::Answer, Refusal> {
        let unread = || Refusal::new(By::Upstream, StatusCode::BAD_GATEWAY, "unread", "not lines");
        let text = std::str::from_utf8(body).map_err(|_| unread())?;
        let line = |line: &str| line.split_once('=').map(|(place, id)| (place.to_owned(), id.to_owned()));
        text.lines().map(|text| line(text).ok_or_else(unread)).collect()
    }

    fn ids(&self, answer: &Self::Answer) -> Vec<FoundId> {
        let found = |(place, id): &(String, String)| FoundId {
            upstream: id.clone(),
            place: match place.as_str() {
                "new" => Place::NewRun,
                "run" => Place::OfRun(IdKind::Run),
                "task" => Place::OfRun(IdKind::Task),
                "named" => Place::Named,
                _ => Place::Text,
            },
        };
        answer.iter().map(found).collect()
    }

    fn write(&self, answer: Self::Answer, own: &OwnIds) -> Result<Bytes, Refusal> {
        let line = |(place, id): (String, String)| match own.own(&id, place != "text") {
            Some(own) => format!("{place}={own}"),
            None => format!("{place}={id}"),
        };
        let mut lines: Vec<_> = answer.into_iter().map(line).collect();
        lines.extend(own.pending_task().map(|waits| format!("waits={}", waits.task)));
        Ok(lines.join("\n").into())
    }
}

fn request(who: &str, operation: Operation) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(person(who));
    request.extensions_mut().insert(operation);
    request.extensions_mut().insert(Trail::new(RequestId::random()));
    request
}

fn about(id: &OwnedId) -> Operation {
    Operation {
        run: Some(id.run),
        owner: Some(id.owner.clone()),
        ids: vec![IdSlot { kind: IdKind::Run, own: id.own, upstream: id.upstream.clone() }],
        ..asking_about(&id.crew, id.own)
    }
}

async fn send(ledger: &Arc<MemoryLedger>, request: Request<()>, answer: Response<Whole>) -> Response<Whole> {
    let upstream = tower::service_fn(move |_: Request<()>| {
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(answer) }
    });
    let layer = RegisterLayer::new(ledger.clone(), Lines).clock(ManualClock::new());
    layer.layer(ReadyProbe::around(upstream)).oneshot(request).await.unwrap()
}

fn lines(text: &str) -> Response<Whole> {
    Response::new(Whole::from(Bytes::copy_from_slice(text.as_bytes())))
}

async fn text(response: Response<Whole>) -> String {
    assert_eq!(response.status(), StatusCode::OK, "{:?}", response.extensions().get::<Refusal>());
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The id behind `place=`.
fn own(text: &str, place: &str) -> Uuid {
    let line = text.lines().find_map(|line| line.strip_prefix(place)?.strip_prefix('='));
    line.unwrap().parse().unwrap()
}

fn code(response: &Response<Whole>) -> (u16, &'static str) {
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(response.status(), refusal.status);
    assert!(response.body().is_end_stream(), "nothing of the answer is passed");
    (refusal.status.as_u16(), refusal.code)
}

#[tokio::test]
async fn a_started_run_is_on_the_ledger_before_the_caller_sees_it() {
    let ledger = Arc::new(MemoryLedger::new());
    let request = request("ana", starting("support"));
    let trail = request.extensions().get::<Trail>().unwrap().clone();
    let seen = text(send(&ledger, request, lines("new=up-1\nnamed=up-1\ntext=up-1")).await).await;
    let id = ledger.find(own(&seen, "new")).await.unwrap().unwrap();
    assert_eq!((id.crew.as_str(), id.owner.subject.as_str()), ("support", "ana"));
    assert_eq!((id.upstream.as_deref(), id.at), (Some("up-1"), start()));
    assert!(!seen.contains("up-1"), "{seen}");
    assert_eq!((own(&seen, "named"), own(&seen, "text")), (id.own, id.own));
    assert_eq!(trail.facts(), [Fact::Registered { kind: IdKind::Run, run: id.run }]);
}

#[tokio::test]
async fn a_reserved_run_keeps_its_id_when_it_starts() {
    let ledger = Arc::new(MemoryLedger::new());
    let ticket = ledger.reserve(run("support", "ana", 0)).await.unwrap();
    let mut request = request("ana", starting("support"));
    request.extensions_mut().insert(Reserved(ticket));
    let seen = text(send(&ledger, request, lines("new=up-1")).await).await;
    assert_eq!(own(&seen, "new"), ticket.as_uuid());
    assert_eq!(ledger.find(ticket.as_uuid()).await.unwrap().unwrap().upstream.as_deref(), Some("up-1"));
}

#[tokio::test]
async fn an_upstream_that_gives_out_anothers_run_gives_nothing() {
    let ledger = Arc::new(MemoryLedger::new());
    ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let plain = send(&ledger, request("bob", starting("support")), lines("new=up-1")).await;
    assert_eq!(code(&plain), (502, "upstream_unexpected"));
    let ticket = ledger.reserve(run("support", "bob", 0)).await.unwrap();
    let mut released = request("bob", starting("support"));
    released.extensions_mut().insert(Reserved(ticket));
    assert_eq!(code(&send(&ledger, released, lines("new=up-1")).await), (502, "upstream_unexpected"));
}

#[tokio::test]
async fn a_run_reserved_for_somebody_else_or_elsewhere_is_not_started() {
    let ledger = Arc::new(MemoryLedger::new());
    let reserved = ledger.reserve(run("support", "bob", 0)).await.unwrap();
    for (who, crew, run) in
        [("ana", "support", reserved), ("bob", "payroll", reserved), ("bob", "support", RunId::random())]
    {
        let probe = ReadyProbe::new(|_: Request<()>| lines("new=up-1"));
        let mut released = request(who, starting(crew));
        released.extensions_mut().insert(Reserved(run));
        let layer = RegisterLayer::new(ledger.clone(), Lines);
        let response = layer.layer(probe.clone()).oneshot(released).await.unwrap();
        assert_eq!((code(&response), probe.calls()), ((500, "reserved_run_unusable"), 0));
    }
    assert_eq!(ledger.find(reserved.as_uuid()).await.unwrap().unwrap().upstream, None);
}

#[tokio::test]
async fn ids_of_a_run_belong_to_its_owner() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let seen =
        text(send(&ledger, request("ana", about(&id)), lines("named=up-1\ntask=t-1\nrun=up-2")).await).await;
    assert_eq!(own(&seen, "named"), id.own);
    let task = ledger.find(own(&seen, "task")).await.unwrap().unwrap();
    assert_eq!((task.kind, task.run, task.owner.clone()), (IdKind::Task, id.run, id.owner.clone()));
    let resumed = ledger.find(own(&seen, "run")).await.unwrap().unwrap();
    assert_eq!((resumed.kind, resumed.run), (IdKind::Run, id.run));
    let again = text(send(&ledger, request("ana", about(&id)), lines("task=t-1\ntext=up-2")).await).await;
    assert_eq!((own(&again, "task"), own(&again, "text")), (task.own, resumed.own));
}

#[tokio::test]
async fn an_id_nobody_knows_becomes_a_stand_in_that_opens_nothing() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let other = ledger.start(run("support", "ana", 0), "up-2".into()).await.unwrap();
    let ask = |id: &OwnedId, answer: &'static str| {
        let (ledger, request) = (ledger.clone(), request("ana", about(id)));
        async move { text(send(&ledger, request, lines(answer)).await).await }
    };
    let seen = ask(&id, "named=event-7\ntext=order-7").await;
    assert!(seen.ends_with("text=order-7"), "other text is left alone: {seen}");
    let stand_in = own(&seen, "named");
    assert_eq!(ledger.find(stand_in).await.unwrap(), None);
    assert_eq!(
        own(&ask(&id, "named=event-7").await, "named"),
        stand_in,
        "the same in every answer of the run"
    );
    assert_ne!(own(&ask(&other, "named=event-7").await, "named"), stand_in, "another in another run");
    assert_ne!(own(&ask(&id, "named=event-8").await, "named"), stand_in);
    let without_run =
        text(send(&ledger, request("ana", starting("support")), lines("named=event-7")).await).await;
    assert_ne!(own(&without_run, "named"), stand_in);
}

#[tokio::test]
async fn anothers_run_in_ones_own_result_shows_neither_its_upstream_id_nor_its_own() {
    let ledger = Arc::new(MemoryLedger::new());
    let ana = ledger.start(run("support", "ana", 0), "up-ana".into()).await.unwrap();
    let bob = ledger.start(run("support", "bob", 0), "up-bob".into()).await.unwrap();
    let seen = text(
        send(&ledger, request("bob", about(&bob)), lines("text=up-ana\nnamed=UP-ANA\nrun=up-ana")).await,
    )
    .await;
    assert!(!seen.to_ascii_lowercase().contains("up-ana") && !seen.contains(&ana.own.to_string()), "{seen}");
    assert_eq!(ledger.find(own(&seen, "text")).await.unwrap(), None);
    assert_eq!(ledger.find(ana.own).await.unwrap(), Some(ana), "and it stays ana's");
}

#[tokio::test]
async fn a_task_that_waits_is_shown_until_it_is_answered() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let task = ledger.register(id.run, vec![(IdKind::Task, "t-1".into())], start()).await.unwrap().remove(0);
    let task_id = TaskId::from_uuid(task.own);
    ledger.task_waiting(id.run, id.run, task_id).await.unwrap();
    let status =
        || async { text(send(&ledger, request("ana", about(&id)), lines("named=up-1")).await).await };
    assert!(status().await.contains(&format!("waits={task_id}")));

    let slot = IdSlot { kind: IdKind::Task, own: task.own, upstream: Some("t-1".into()) };
    let resume = || {
        let mut operation = about(&id);
        operation.ids.push(slot.clone());
        request("ana", Operation { effect: Effect::Write, ..operation })
    };
    let mut refused = lines("text=not pending");
    *refused.status_mut() = StatusCode::BAD_REQUEST;
    assert_eq!(send(&ledger, resume(), refused).await.status(), StatusCode::BAD_REQUEST);
    assert!(status().await.contains("waits="), "a resume that was not taken answers nothing");
    send(&ledger, resume(), lines("text=resumed")).await;
    assert!(!status().await.contains("waits="));
}

#[tokio::test]
async fn a_task_that_waits_again_while_it_is_answered_goes_on_waiting() {
    let ledger = Arc::new(MemoryLedger::new());
    let id = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    let task = TaskId::random();
    ledger.task_waiting(id.run, id.run, task).await.unwrap();
    let mut operation = Operation { effect: Effect::Write, ..about(&id) };
    operation.ids.push(IdSlot { kind: IdKind::Task, own: task.as_uuid(), upstream: Some("t".into()) });
    let upstream = {
        let (ledger, run) = (ledger.clone(), id.run);
        tower::service_fn(move |_: Request<()>| {
            let ledger = ledger.clone();
            async move {
                // Rejected, retried and paused again before the answer to the resume is out.
                ledger.task_waiting(run, run, task).await.unwrap();
                Ok::<_, Infallible>(lines("text=retrying"))
            }
        })
    };
    let layer = RegisterLayer::new(ledger.clone(), Lines);
    text(layer.layer(upstream).oneshot(request("ana", operation)).await.unwrap()).await;
    assert!(ledger.task_of(id.run).await.unwrap().is_some());
}

#[tokio::test]
async fn only_headers_that_name_no_id_are_kept() {
    let ledger = Arc::new(MemoryLedger::new());
    let mut answer = lines("new=up-1");
    for (name, value) in [
        ("content-type", "text/plain"),
        ("cache-control", "no-store"),
        ("retry-after", "3"),
        ("content-length", "999"),
        ("location", "/status/up-1"),
        ("x-kickoff-id", "up-1"),
        ("etag", "\"up-1\""),
        ("set-cookie", "a=b"),
    ] {
        answer.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let response = send(&ledger, request("ana", starting("support")), answer).await;
    let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "content-length", "content-type", "retry-after"]);
    let length: usize = response.headers().get(CONTENT_LENGTH).unwrap().to_str().unwrap().parse().unwrap();
    let size = response.body().size_hint().exact().unwrap();
    assert_eq!(text(response).await.len(), length);
    assert_eq!(size, u64::try_from(length).unwrap());
}

#[tokio::test]
async fn a_refusal_from_below_passes_bare() {
    let ledger = Arc::new(MemoryLedger::new());
    let refusal = Refusal::new(By::Upstream, StatusCode::BAD_GATEWAY, "upstream_unreachable", "not reached");
    let response = send(&ledger, request("ana", starting("support")), refusal.into_response()).await;
    assert_eq!(code(&response), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn answers_that_cannot_be_read_whole_are_refused() {
    let ledger = Arc::new(MemoryLedger::new());
    let ask = || request("ana", starting("support"));
    for (name, value, expected) in [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8", "upstream_streams"),
        (CONTENT_TYPE, "Text/Event-Stream", "upstream_streams"),
        (CONTENT_ENCODING, "gzip", "upstream_encoded"),
    ] {
        let mut answer = lines("new=up-1");
        answer.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(code(&send(&ledger, ask(), answer).await), (502, expected));
    }
    assert_eq!(code(&send(&ledger, ask(), lines("nonsense")).await), (502, "unread"));
    assert_eq!(ledger.list(Default::default()).await.unwrap(), []);
}

#[tokio::test]
async fn an_answer_has_a_bound_whether_it_says_its_length_or_not() {
    for (size, says, expected) in [(64, true, 200), (65, true, 502), (64, false, 200), (65, false, 502)] {
        let ledger = Arc::new(MemoryLedger::new());
        let upstream = tower::service_fn(move |_: Request<()>| async move {
            let line = format!("text={}", "x".repeat(size - 5));
            Ok::<_, Infallible>(Response::new(Pieces { rest: line.into(), says, cut: false }))
        });
        let service = RegisterLayer::new(ledger, Lines).max_answer(64).layer(upstream);
        let response = service.oneshot(request("ana", starting("support"))).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{size} {says}");
        if expected == 502 {
            assert_eq!(code(&response), (502, "upstream_too_large"));
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_shows_nothing_and_is_noted() {
    let ledger = Arc::new(MemoryLedger::new());
    let upstream = tower::service_fn(|_: Request<()>| async {
        let rest = Bytes::from_static(b"new=up-1\ntext=half of it");
        Ok::<_, Infallible>(Response::new(Pieces { rest, says: false, cut: true }))
    });
    let service = RegisterLayer::new(ledger.clone(), Lines).layer(upstream);
    let request = request("ana", starting("support"));
    let trail = request.extensions().get::<Trail>().unwrap().clone();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(code(&response), (502, "upstream_cut"));
    assert_eq!(trail.facts(), [Fact::Unanswered { code: "upstream_cut".into(), sent: true }]);
    assert_eq!(ledger.list(Default::default()).await.unwrap(), []);
}

#[tokio::test]
async fn an_id_that_cannot_be_kept_is_not_shown() {
    let ledger = Arc::new(MemoryLedger::new().limit(NonZeroUsize::MIN));
    ledger.reserve(run("support", "ana", 0)).await.unwrap();
    let response = send(&ledger, request("ana", starting("support")), lines("new=up-1")).await;
    assert_eq!(code(&response), (503, "ids_not_kept"));
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.retry_after, None, "trying again could run it twice");
}

#[tokio::test]
async fn a_missing_principal_or_operation_refuses_before_anything_is_sent() {
    for (who, what, expected) in [(true, false, "operation_missing"), (false, true, "principal_missing")] {
        let probe = ReadyProbe::new(|_: Request<()>| lines("new=up-1"));
        let mut request = Request::new(());
        if who {
            request.extensions_mut().insert(person("ana"));
        }
        if what {
            request.extensions_mut().insert(starting("support"));
        }
        let layer = RegisterLayer::new(Arc::new(MemoryLedger::new()), Lines);
        let response = layer.layer(probe.clone()).oneshot(request).await.unwrap();
        assert_eq!((code(&response), probe.calls()), ((403, expected), 0));
    }
}

#[tokio::test]
async fn it_calls_the_instance_that_was_ready() {
    let probe = ReadyProbe::new(|_: Request<()>| lines("text=x"));
    let mut service = RegisterLayer::new(Arc::new(MemoryLedger::new()), Lines).layer(probe.clone());
    for _ in 0..3 {
        let answer = service.ready().await.unwrap().call(request("ana", starting("support"))).await;
        assert_eq!(text(answer.unwrap()).await, "text=x");
    }
    assert_eq!(probe.calls(), 3);
}

#[tokio::test]
async fn the_same_upstream_run_read_by_its_owner_twice_has_one_id() {
    let ledger = Arc::new(MemoryLedger::new());
    let first = text(send(&ledger, request("ana", starting("support")), lines("new=up-1")).await).await;
    let second = text(send(&ledger, request("ana", starting("support")), lines("new=up-1")).await).await;
    assert_eq!(first, second);
    assert_ne!(RunId::from_uuid(own(&first, "new")), RunId::random());
}

/// A body that comes byte by byte, and may break off at its end.
struct Pieces {
    rest: Bytes,
    says: bool,
    cut: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.rest.is_empty() {
            return Poll::Ready(self.cut.then_some(Err("connection reset")));
        }
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(1)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        if self.says {
            http_body::SizeHint::with_exact(self.rest.len().try_into().unwrap())
        } else {
            Default::default()
        }
    }
}
