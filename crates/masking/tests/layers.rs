//! The layers as a stranger meets them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::{
    Action, Basis, Decision, Duties, Effect, Fact, MaskProfile, Message, Operation, Refusal, RequestId,
    Resource, Trail, Value,
};
use crewgate_masking::{Mask, MaskError, MaskRequestLayer, MaskResponseLayer, Masker, Profiles};
use crewgate_testkit::ReadyProbe;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};

/// A body told in these frames.
#[derive(Default)]
struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

impl Frames {
    fn of(pieces: &[&'static str]) -> Self {
        Self(pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn pii() -> Masker {
    Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap()
}

async fn answer(
    mask: impl Mask,
    kind: &'static str,
    body: Frames,
) -> Response<crewgate_masking::MaskBody<Frames>> {
    let (trail, body) = (Trail::new(RequestId::random()), std::sync::Mutex::new(Some(body)));
    let inner = service_fn(move |_: Request<()>| {
        let mut response = Response::new(body.lock().unwrap().take().unwrap_or_default());
        let headers = response.headers_mut();
        headers.insert("content-type", kind.parse().unwrap());
        headers.insert("content-length", "999".parse().unwrap());
        headers.insert("etag", "\"x\"".parse().unwrap());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut request = Request::new(());
    request.extensions_mut().insert(trail.clone());
    let mut response = MaskResponseLayer::new(mask).layer(inner).oneshot(request).await.unwrap();
    response.extensions_mut().insert(trail);
    response
}

#[tokio::test]
async fn an_answer_is_masked_across_its_frames_and_what_it_said_of_its_bytes_is_dropped() {
    let response =
        answer(pii(), "application/json", Frames::of(&["{\"a\":\"maria.kel", "ler@exam", "ple.com\"}"]))
            .await;
    assert!(response.headers().get("content-length").is_none() && response.headers().get("etag").is_none());
    let trail = response.extensions().get::<Trail>().unwrap().clone();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "{\"a\":\"<EMAIL>\"}");
    let facts = trail.facts();
    assert!(matches!(&facts[..], [Fact::Masked { hits, .. }] if hits["EMAIL"]["a"] == 1), "{facts:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_loses_what_was_held() {
    let mut frames = Frames::of(&["see maria.keller@exam"]);
    frames.0.push_back(Err("cut"));
    let mut body = answer(pii(), "text/plain", frames).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "see ");
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn trailers_are_not_passed() {
    let mut frames = Frames::of(&["{}"]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x", "maria.keller@example.com".parse().unwrap());
    frames.0.push_back(Ok(Frame::trailers(trailers)));
    let collected = answer(pii(), "application/json", frames).await.into_body().collect().await.unwrap();
    assert!(collected.trailers().is_none());
}

#[tokio::test]
async fn an_answer_that_lies_about_its_type_ends_in_an_error() {
    let response = answer(pii(), "application/json", Frames::of(&["<html>a@example.com"])).await;
    assert!(response.into_body().collect().await.is_err());
    let mut frames = Frames::default();
    frames.0.push_back(Ok(Frame::data(Bytes::from_static(&[0xff, 0xd8]))));
    assert!(answer(pii(), "image/jpeg", frames).await.into_body().collect().await.is_err());
}

async fn encoded(coding: &'static str, body: Vec<Bytes>) -> Response<crewgate_masking::MaskBody<Frames>> {
    let inner = service_fn(move |request: Request<()>| {
        assert_eq!(request.headers()["accept-encoding"], "identity");
        let frames = body.iter().map(|piece| Ok(Frame::data(piece.clone()))).collect();
        let mut response = Response::new(Frames(frames));
        response.headers_mut().insert("content-encoding", coding.parse().unwrap());
        async move { Ok::<_, Infallible>(response) }
    });
    MaskResponseLayer::new(pii()).layer(inner).oneshot(Request::new(())).await.unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_answer_is_decoded_and_masked_and_says_so() {
    let text = "see maria.keller@example.com, ".repeat(50);
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut deflate, text.as_bytes()).unwrap();
    for (coding, bytes) in [("gzip", gzip(text.as_bytes())), ("deflate", deflate.finish().unwrap())] {
        let pieces = bytes.chunks(7).map(Bytes::copy_from_slice).collect();
        let response = encoded(coding, pieces).await;
        assert!(response.headers().get("content-encoding").is_none());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "see <EMAIL>, ".repeat(50));
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_not_passed() {
    for coding in ["br", "zstd", "gzip, gzip"] {
        let response = encoded(coding, vec![Bytes::from_static(b"x")]).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.extensions().get::<Refusal>().unwrap().code, "upstream_encoded");
    }
    let bytes = gzip(b"see maria.keller@example.com, and so on");
    let cut = bytes.get(..bytes.len() - 6).unwrap();
    for broken in [cut, b"no gzip at all".as_slice()] {
        let body = encoded("gzip", vec![Bytes::copy_from_slice(broken)]).await.into_body();
        assert!(body.collect().await.is_err());
    }
}

#[tokio::test]
async fn a_bomb_ends_the_answer_long_before_it_is_large() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let mut body = encoded("gzip", vec![Bytes::from(bomb)]).await.into_body();
    let mut got = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => got += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.downcast_ref(), Some(&MaskError::Encoded));
    assert!(got < 8 << 20, "{got}");
}

/// A body that tells one piece and then nothing for long.
struct Stalls(Option<Bytes>);

impl Body for Stalls {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
    }
}

impl Default for Stalls {
    fn default() -> Self {
        Self(Some(Bytes::from_static(b"write to Mar")))
    }
}

#[tokio::test(start_paused = true)]
async fn the_beginning_of_a_word_leaves_when_nothing_comes_for_a_while() {
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Stalls::default())) });
    let layer =
        MaskResponseLayer::new(Masker::of([crewgate_masking::Entity::Email])).sleep(tokio::time::sleep);
    let mut body = layer.layer(inner).oneshot(Request::new(())).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "write to ");
    let begun = tokio::time::Instant::now();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "Mar");
    assert_eq!(begun.elapsed().as_millis() / 10, 25);
}

#[tokio::test]
async fn an_unknown_mask_is_refused_before_anything_is_fetched() {
    let inner = service_fn(|_: Request<()>| async {
        panic!("the inner service was called");
        #[expect(unreachable_code, reason = "gives the block its type")]
        Ok::<_, Infallible>(Response::new(Frames::default()))
    });
    let layer = MaskResponseLayer::new(|_: &Extensions| None::<Masker>);
    let response = layer.layer(inner).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.extensions().get::<Refusal>().unwrap().code, "mask_unknown");
}

fn operation() -> Operation {
    Operation {
        action: Action::of("kickoff"),
        resource: Resource { kind: "Crew".into(), name: "support".to_owned(), parents: vec![] },
        effect: Effect::Write,
        inputs: vec![],
        datasets: vec![],
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 0,
        webhook_hosts: vec![],
        ids: vec![],
        owner: None,
        run: None,
        message: Message {
            method: Method::POST,
            path: vec![],
            body: Some(Value::Object(vec![
                ("question".to_owned(), Value::String("who is a@example.com".to_owned())),
                ("customer".to_owned(), Value::String("b@example.com".to_owned())),
            ])),
            free_text: vec![vec!["question".to_owned()]],
        },
    }
}

#[tokio::test]
async fn only_declared_free_text_of_a_request_is_masked_and_only_as_a_duty() {
    for (masks, expected) in
        [(vec![], "who is a@example.com"), (vec![MaskProfile::new("pii-basic")], "who is <EMAIL>")]
    {
        let inner = service_fn(|request: Request<()>| async move {
            let body = request.extensions().get::<Operation>().unwrap().message.body.clone().unwrap();
            let texts =
                ["question", "customer"].map(|name| body.member(name).unwrap().as_str().unwrap().to_owned());
            Ok::<_, Infallible>(Response::new(texts.join("|")))
        });
        let mut request = Request::new(());
        let duties = Duties { masks: masks.into_iter().collect(), ..Duties::default() };
        request.extensions_mut().insert(Decision::Allow { duties, basis: Basis::default() });
        request.extensions_mut().insert(operation());
        let response = MaskRequestLayer::new(pii()).layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.body(), &format!("{expected}|b@example.com"));
    }
}

#[tokio::test]
async fn a_request_that_was_never_decided_is_refused() {
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let response = MaskRequestLayer::new(pii()).layer(inner).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.extensions().get::<Refusal>().unwrap().code, "decision_missing");
}

#[tokio::test]
async fn both_layers_call_the_service_they_made_ready() {
    let probe = ReadyProbe::new(|_: Request<()>| Response::new(Frames::default()));
    let _ = MaskResponseLayer::new(pii()).layer(probe.clone()).oneshot(Request::new(())).await.unwrap();
    let mut request = Request::new(());
    request.extensions_mut().insert(Decision::allow());
    let _ = MaskRequestLayer::new(pii()).layer(probe).oneshot(request).await.unwrap();
}
