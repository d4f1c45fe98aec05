//! What comes broken, endless or made to hurt: nothing leaks, nothing grows, and whoever asked hears about it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::MaskProfile;
use crewgate_masking::{CustomDetector, CustomError, MaskResponseLayer, Masker, Profiles};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};

/// What must not be seen.
const ADDRESS: &str = "maria.keller@example.com";

fn pii() -> Masker {
    Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap()
}

/// A body that says piece after piece of what is repeated, and at last that it broke off or nothing.
#[derive(Default)]
struct Telling {
    piece: Bytes,
    first: Option<Bytes>,
    left: usize,
    breaks: bool,
}

impl Telling {
    fn once(text: &[u8], breaks: bool) -> Self {
        Self { piece: Bytes::new(), first: Some(Bytes::copy_from_slice(text)), left: 0, breaks }
    }
}

impl Body for Telling {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if this.left > 0 {
            this.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(this.piece.clone()))));
        }
        let breaks = std::mem::take(&mut this.breaks);
        Poll::Ready(breaks.then_some(Err("the other side is gone")))
    }
}

async fn answer(kind: &'static str, body: Telling) -> crewgate_masking::MaskBody<Telling> {
    let body = std::sync::Mutex::new(Some(body));
    let inner = service_fn(move |_: Request<()>| {
        let mut response = Response::new(body.lock().unwrap().take().unwrap());
        response.headers_mut().insert("content-type", kind.parse().unwrap());
        async move { Ok::<_, Infallible>(response) }
    });
    let response = MaskResponseLayer::new(pii()).layer(inner).oneshot(Request::new(())).await;
    response.unwrap().into_body()
}

/// What is heard of a body, and whether it came to its end.
async fn heard(mut body: crewgate_masking::MaskBody<Telling>) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => all.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => return (all, false),
        }
    }
    (all, true)
}

fn shows(heard: &[u8], text: &str) -> bool {
    heard.windows(text.len()).any(|window| window == text.as_bytes())
}

const DOCUMENTS: [(&str, &str); 4] = [
    ("application/json", r#"{"who": "call maria.keller@example.com now", "n": 1}"#),
    ("application/x-ndjson", "{\"who\": \"maria.keller@example.com\"}\n{\"n\": 2}\n"),
    ("text/event-stream", "event: message\ndata: {\"who\": \"maria.keller@example.com\"}\n\n"),
    ("text/plain", "call maria.keller@example.com now"),
];

#[tokio::test]
async fn an_upstream_that_dies_at_any_byte_shows_nothing_and_is_told_as_broken() {
    for (kind, text) in DOCUMENTS {
        for cut in 0..text.len() {
            let body = Telling::once(text.get(..cut).unwrap().as_bytes(), true);
            let (heard, whole) = heard(answer(kind, body).await).await;
            assert!(!whole, "{kind} cut at {cut}");
            assert!(!shows(&heard, "maria.keller") && !shows(&heard, "example.com"), "{kind} cut at {cut}");
        }
    }
}

#[tokio::test]
async fn strings_and_events_that_never_end_show_nothing() {
    for (kind, text) in DOCUMENTS {
        for cut in 0..text.len() {
            let (heard, _) =
                heard(answer(kind, Telling::once(text.get(..cut).unwrap().as_bytes(), false)).await).await;
            assert!(!shows(&heard, ADDRESS), "{kind} ended at {cut}");
        }
        let (heard, whole) = heard(answer(kind, Telling::once(text.as_bytes(), false)).await).await;
        assert!(whole && shows(&heard, "<EMAIL>") && !shows(&heard, ADDRESS), "{kind}");
    }
    // A document that is not whole is told as broken: whoever asked must not take it for one that is.
    let body = Telling::once(br#"{"who": "call maria.keller@exa"#, false);
    assert!(!heard(answer("application/json", body).await).await.1);
}

#[tokio::test]
async fn bytes_that_are_no_text_hide_nothing() {
    for (kind, text) in DOCUMENTS {
        for wrong in
            [&[0xff][..], &[0xc3], &[0xe2, 0x82], &[0xf8, 0x88, 0x80, 0x80, 0x80], &[0xed, 0xa0, 0x80]]
        {
            for at in 0..=text.len() {
                let (before, behind) = text.as_bytes().split_at(at);
                let body = Telling::once(&[before, wrong, behind].concat(), false);
                let (heard, _) = heard(answer(kind, body).await).await;
                assert!(!shows(&heard, ADDRESS), "{kind} with {wrong:x?} at {at}");
            }
        }
    }
}

/// As many MiB as `CREWGATE_BODY_MIB` says; 16 without it.
#[tokio::test]
async fn a_body_without_end_is_handed_on_as_it_comes() {
    let mib = std::env::var("CREWGATE_BODY_MIB").map_or(16, |mib| mib.parse().unwrap());
    // A string that never ends, one of many values, events, and prose.
    let kinds = [
        ("application/json", "{\"a\":\"", "the crew went on with its work and wrote it down, "),
        ("application/json", "[0", ",{\"step\":\"the crew went on\",\"n\":17}"),
        ("text/event-stream", "", "data: {\"delta\":\"the crew went on\"}\n\n"),
        ("text/plain", "", "the crew went on with its work and wrote it down, "),
    ];
    for (kind, begin, unit) in kinds {
        let piece = Bytes::from(unit.repeat((64 << 10) / unit.len()));
        let left = (mib << 20) / piece.len();
        let told = begin.len() + left * piece.len();
        let first = Some(Bytes::from_static(begin.as_bytes()));
        let mut body = answer(kind, Telling { piece: piece.clone(), first, left, breaks: true }).await;
        let (mut seen, mut frames) = (0, 0);
        while let Some(Ok(frame)) = body.frame().await {
            let frame = frame.into_data().unwrap();
            // Nothing piles up: each piece leaves before the next but one is asked for.
            assert!(frame.len() <= 2 * piece.len(), "{kind}: {} at once", frame.len());
            (seen, frames) = (seen + frame.len(), frames + 1);
        }
        assert!(frames >= left, "{kind}: {frames} of {left}");
        assert!(told - seen <= piece.len(), "{kind}: {seen} of {told}");
    }
}

#[test]
fn a_pattern_that_would_explode_is_refused_when_it_is_read() {
    for (pattern, refused) in [
        ("(a{1000}){1000}", CustomError::Unbounded),
        ("(a+)+b", CustomError::Unbounded),
        ("(x|y|z)*", CustomError::Empty),
        (r"[\p{L}\p{N}\p{S}]{1,60}", CustomError::TooLarge),
        ("(?:", CustomError::Syntax(String::new())),
    ] {
        let error = CustomDetector::regex("ORDER_ID", pattern).unwrap_err();
        let same = std::mem::discriminant(&error) == std::mem::discriminant(&refused);
        assert!(same, "{pattern}: {error:?}");
    }
}
