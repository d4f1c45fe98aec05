//! The sealing layer, at the door.
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use crewgate_core::{Fact, Layer, Operation, Outgoing, Refusal, RequestId, Trail};
use crewgate_policy::SealLayer;
use crewgate_testkit::ReadyProbe;
use http::{Method, Request, Response, StatusCode, uri::PathAndQuery};
use support::operation;
use tower::{Layer as _, ServiceExt};

fn outgoing(body: &'static str) -> Outgoing {
    Outgoing {
        method: Method::POST,
        path: PathAndQuery::from_static("/kickoff"),
        content_type: None,
        body: Bytes::from_static(body.as_bytes()),
    }
}

/// Answers with the bytes it would send.
type Sender = ReadyProbe<crewgate_testkit::Answer<fn(Request<()>) -> Response<Option<Outgoing>>>>;

fn echo() -> Sender {
    ReadyProbe::new(|request| Response::new(request.extensions().get::<Outgoing>().cloned()))
}

#[tokio::test]
async fn the_bytes_are_rendered_once_and_their_digest_is_noted() {
    let renders = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&renders);
    let render = move |_: &Operation| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(outgoing("abc"))
    };
    let trail = Trail::new(RequestId::random());
    let mut request = Request::new(());
    request.extensions_mut().insert(operation("kickoff"));
    request.extensions_mut().insert(trail.clone());
    let probe = echo();
    let response = SealLayer::new(render).layer(probe.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.into_body(), Some(outgoing("abc")));
    assert_eq!((renders.load(Ordering::SeqCst), probe.calls()), (1, 1));
    // SHA-256 of "abc", FIPS 180-2 appendix B.1.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    assert_eq!(trail.facts(), [Fact::Sealed { sha256, bytes: 3 }]);
}

#[tokio::test]
async fn without_an_operation_nothing_may_be_sent() {
    let probe = echo();
    let mut request = Request::new(());
    request.extensions_mut().insert(outgoing("smuggled"));
    let layer = SealLayer::new(|_: &Operation| Ok::<_, Refusal>(outgoing("abc")));
    let response = layer.layer(probe.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.extensions().get::<Refusal>().unwrap().code, "operation_missing");
    assert_eq!(probe.calls(), 0);
}

#[tokio::test]
async fn bytes_somebody_left_there_are_not_sent() {
    let mut request = Request::new(());
    request.extensions_mut().insert(operation("kickoff"));
    request.extensions_mut().insert(outgoing("smuggled"));
    let layer = SealLayer::new(|_: &Operation| Ok::<_, Refusal>(outgoing("abc")));
    let response = layer.layer(echo()).oneshot(request).await.unwrap();
    assert_eq!(response.into_body(), Some(outgoing("abc")));
}

#[tokio::test]
async fn what_cannot_be_rendered_is_refused() {
    let refuse = |_: &Operation| {
        Err(Refusal::new(Layer::Runs, StatusCode::CONFLICT, "run_not_started", "The run has not started."))
    };
    let trail = Trail::new(RequestId::random());
    let mut request = Request::new(());
    request.extensions_mut().insert(operation("kickoff"));
    request.extensions_mut().insert(trail.clone());
    let probe = echo();
    let response = SealLayer::new(refuse).layer(probe.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get::<Refusal>().unwrap().code, "run_not_started");
    assert_eq!((probe.calls(), trail.facts().len()), (0, 0));
}
