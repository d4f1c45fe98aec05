//! The describing layer, at the door.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use crewgate_core::{Effect, Fact, Layer, Operation, Refusal, RequestId, Trail};
use crewgate_policy::{Describe, DescribeLayer};
use crewgate_testkit::ReadyProbe;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::Frame;
use http_body_util::BodyExt;
use proptest::prelude::*;
use support::{Broken, Pieces, operation};
use tower::{Layer as _, ServiceExt, service_fn};

/// Says what came in, and answers with what the inner service was given.
async fn ask(
    layer: DescribeLayer<impl Describe>,
    request: Request<Pieces>,
) -> Response<(u64, Bytes, Option<Operation>)> {
    let inner = service_fn(async |request: Request<Pieces>| {
        let operation = request.extensions().get::<Operation>().cloned();
        let body = request.into_body().collect().await.map_err(|_| ()).unwrap().to_bytes();
        Ok::<_, support::Never>(Response::new((1, body, operation)))
    });
    let probe = ReadyProbe::around(inner);
    let response = layer.layer(probe.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.body().0, probe.calls(), "the inner service is reached exactly when it answers");
    response
}

fn kickoff(_: &Parts, body: &Bytes) -> Result<Operation, Refusal> {
    Ok(Operation { body_bytes: u64::try_from(body.len()).unwrap(), ..operation("kickoff") })
}

fn refusal(response: &Response<impl Sized>) -> (StatusCode, &'static str) {
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.status, response.status());
    (refusal.status, refusal.code)
}

#[tokio::test]
async fn the_operation_and_the_same_bytes_go_on() {
    for pieces in [&["{\"inputs\":{}}"][..], &["{\"in", "", "puts\"", ":{}}"], &[]] {
        let response = ask(DescribeLayer::new(kickoff), Request::new(Pieces::of(pieces))).await;
        let (_, body, operation) = response.into_body();
        assert_eq!(body, pieces.concat());
        assert_eq!(operation.unwrap().body_bytes, u64::try_from(pieces.concat().len()).unwrap());
    }
}

#[tokio::test]
async fn what_was_understood_is_noted() {
    let trail = Trail::new(RequestId::random());
    let mut request = Request::new(Pieces::of(&["x"]));
    request.extensions_mut().insert(trail.clone());
    ask(DescribeLayer::new(kickoff), request).await;
    let expected = Fact::Described {
        action: crewgate_core::Action::of("kickoff"),
        resource: "Crew/support".to_owned(),
        effect: Effect::Write,
        datasets: vec!["tickets".to_owned()],
        inputs: Vec::new(),
    };
    assert_eq!(trail.facts(), [expected]);
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_a_byte_is_read() {
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let describe = move |_: &Parts, _: &Bytes| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(operation("kickoff"))
    };
    // A broken body would be a 400 if it were read.
    let body = Pieces(vec![Err(Broken)]);
    let request = Request::builder().header("content-length", "17").body(body).unwrap();
    let response = ask(DescribeLayer::new(describe).max_body(16), request).await;
    assert_eq!(refusal(&response), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    assert_eq!(response.headers().get("connection").unwrap(), "close");
    assert_eq!(read.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_without_a_length_is_counted_while_it_is_read() {
    let exact =
        ask(DescribeLayer::new(kickoff).max_body(16), Request::new(Pieces::of(&["12345678", "12345678"])))
            .await;
    assert_eq!(exact.status(), StatusCode::OK);
    // What comes after the limit is never asked for: the broken piece would be a 400.
    let mut long = Pieces::of(&["12345678", "12345678", "9"]);
    long.0.push(Err(Broken));
    let response = ask(DescribeLayer::new(kickoff).max_body(16), Request::new(long)).await;
    assert_eq!(refusal(&response), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    assert_eq!(response.headers().get("connection").unwrap(), "close");
}

#[tokio::test]
async fn a_length_that_lies_does_not_help() {
    let request =
        Request::builder().header("content-length", "3").body(Pieces::of(&["12345678901234567"])).unwrap();
    let response = ask(DescribeLayer::new(kickoff).max_body(16), request).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_unclear_length_is_refused() {
    for (length, code) in [
        ("", "content_length_invalid"),
        ("3, 3", "content_length_invalid"),
        ("+3", "content_length_invalid"),
        ("-1", "content_length_invalid"),
        ("0x10", "content_length_invalid"),
        ("99999999999999999999999", "body_too_large"),
    ] {
        let request = Request::builder().header("content-length", length).body(Pieces::of(&["abc"])).unwrap();
        let response = ask(DescribeLayer::new(kickoff), request).await;
        assert_eq!(refusal(&response).1, code, "{length:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let mut body = Pieces::of(&["{\"inputs\""]);
    body.0.push(Err(Broken));
    let response = ask(DescribeLayer::new(kickoff), Request::new(body)).await;
    assert_eq!(refusal(&response), (StatusCode::BAD_REQUEST, "body_unreadable"));
}

#[tokio::test]
async fn trailers_end_here() {
    let mut body = Pieces::of(&["x"]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sneaked-in", "1".parse().unwrap());
    body.0.push(Ok(Frame::trailers(trailers)));
    let inner = service_fn(async |request: Request<Pieces>| {
        let collected = request.into_body().collect().await.map_err(|_| ()).unwrap();
        assert!(collected.trailers().is_none());
        Ok::<_, support::Never>(Response::new(()))
    });
    let response = DescribeLayer::new(kickoff).layer(inner).oneshot(Request::new(body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refused_description_is_the_answer() {
    let describe = |head: &Parts, _: &Bytes| {
        let detail = format!("No route {}.", head.uri.path());
        Err(Refusal::new(Layer::Describe, StatusCode::NOT_FOUND, "no_such_route", detail))
    };
    let trail = Trail::new(RequestId::random());
    let mut request = Request::builder().uri("/nowhere").body(Pieces::default()).unwrap();
    request.extensions_mut().insert(trail.clone());
    let response = ask(DescribeLayer::new(describe), request).await;
    assert_eq!(refusal(&response), (StatusCode::NOT_FOUND, "no_such_route"));
    assert!(trail.facts().is_empty());
}

#[tokio::test]
async fn an_operation_somebody_left_there_is_not_believed() {
    let describe = |head: &Parts, _: &Bytes| {
        assert!(head.extensions.get::<Operation>().is_none());
        Ok(operation("status"))
    };
    let mut request = Request::new(Pieces::default());
    request.extensions_mut().insert(operation("kickoff"));
    let response = ask(DescribeLayer::new(describe), request).await;
    assert_eq!(response.body().2.as_ref().unwrap().action.as_str(), "status");
}

proptest! {
    #[test]
    fn however_a_body_is_cut_the_same_bytes_arrive_or_none(
        text in "[a-z]{0,40}", cuts in proptest::collection::vec(0..41_usize, 0..5), limit in 0..41_usize,
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| text.get(pair[0]..pair[1]).unwrap()).collect();
        let request = Request::new(Pieces::of(&pieces));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(ask(DescribeLayer::new(kickoff).max_body(limit), request));
        if text.len() <= limit {
            prop_assert_eq!(&response.body().1, text.as_bytes());
        } else {
            prop_assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
}
