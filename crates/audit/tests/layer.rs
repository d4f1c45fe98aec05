//! What is on the record, seen from the door.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use crewgate_audit::{
    AuditStore, BarrierLayer, Entry, MemoryStore, Parent, Phase, Query, Recipient, RefusalQuota, Timeline,
    verify,
};
use crewgate_core::{ApprovalId, Effect, Ending, Fact, IdKind, Layer as By, Refusal, RequestId, RunId};
use crewgate_testkit::{ManualClock, ReadyProbe};
use futures_util::future::{FutureExt, ready};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use support::*;

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
    assert_eq!(*sha256, crewgate_audit::tlog::Hash::of(b"0123456789").to_string());
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
async fn an_answer_that_is_read_for_nobody_is_whole_on_the_record_and_says_so() {
    let store = MemoryStore::new();
    let response =
        stack(&store, || Script::of([Step::Give("whole")])).oneshot(call(Effect::Read)).await.unwrap();
    response.extensions().get::<Recipient>().unwrap().has_gone();
    response.into_body().collect().await.unwrap();
    assert_eq!(ended(&store.entries()[1]), (Ending::Unheard, 200, 5));
    let lines = Timeline::of(&store.all()).unwrap().lines();
    assert!(lines.iter().any(|line| line.text.contains("nobody was there to hear it")), "{lines:?}");

    let response = stack(&store, || Script::of([Step::Give("half"), Step::Hang]));
    let response = response.oneshot(call(Effect::Read)).await.unwrap();
    response.extensions().get::<Recipient>().unwrap().has_gone();
    drop(response);
    assert_eq!(ended(&store.entries()[3]).0, Ending::CallerGone, "it was not read to its end");
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
    assert_eq!(response.headers()["audit-leaf"], "0");
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
    assert!(verify(&store, None, |_, _| ()).await.unwrap().is_ok());
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
