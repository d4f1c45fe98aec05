//! Streams of a real CrewAI server, in its three ways to cut a text: what they tell is masked as one text.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use crewgate_core::MaskProfile;
use crewgate_masking::{Dialect, MaskMessages, MaskStream, Masker, Profiles};
use real::{APP, CREW_KEY, CREWAI, CrewServer, Http, ORIGINAL, churn, parts};
use serde_json::{Value, json};

fn masker() -> Masker {
    Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap()
}

/// Masks a body cut into pieces of this size.
fn masked(dialect: Dialect, body: &[u8], size: usize) -> String {
    let mut stream = MaskStream::new(masker(), dialect);
    let mut out: Vec<u8> = Vec::new();
    for piece in body.chunks(size) {
        out.extend_from_slice(&stream.push(piece).unwrap());
    }
    out.extend_from_slice(&stream.finish().unwrap());
    String::from_utf8(out).unwrap()
}

/// The events of a body, whether framed as server-sent events or as lines.
fn events(body: &str) -> Vec<Value> {
    let data = body.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    data.filter(|data| data.starts_with('{')).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The text that pieces at this place tell.
fn told(events: &[Value], kind: Option<&str>, place: &str) -> String {
    let of = |event: &&Value| kind.is_none() || event.get("type").and_then(Value::as_str) == kind;
    events.iter().filter(of).filter_map(|event| event.pointer(place)?.as_str()).collect()
}

fn nothing_is_shown(what: &str, out: &str) {
    for value in ORIGINAL {
        assert!(!out.contains(value), "{what} shows {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_a_crew_tells_the_masked_text_however_it_is_cut() {
    let Some([python, app]) = parts([CREWAI, APP]) else { return };
    for chunking in ["bpe", "word", "char:3"] {
        let server = CrewServer::start(&python, &app, &[("LLM_CHUNK", chunking)]).await;
        let http = Http::with(CREW_KEY);
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
        for (format, dialect) in [("sse", Dialect::Sse), ("ndjson", Dialect::Lines), ("text", Dialect::Text)]
        {
            let what = format!("{chunking} {format}");
            let (path, inputs) =
                (format!("/support/kickoff/stream?format={format}"), json!({ "inputs": churn() }));
            let answer = http.post(&url(&path), &inputs).await.expect(200);
            assert_eq!(Dialect::of(Some(&answer.header("content-type"))), dialect);
            let body = answer.text();
            let (whole, pieces) =
                (masked(dialect, body.as_bytes(), usize::MAX), masked(dialect, body.as_bytes(), 7));
            assert_eq!(whole, pieces, "{what}");
            nothing_is_shown(&what, &whole);
            if dialect == Dialect::Text {
                assert_eq!(whole, masker().mask_text(&body).text, "{what}");
                continue;
            }
            let (source, out) = (events(&body), events(&whole));
            let text = told(&source, None, "/content");
            assert!(text.contains("maria.keller@example.com") && source.len() > 20, "{what}: {text}");
            let shown = told(&out, None, "/content");
            nothing_is_shown(&what, &shown);
            assert_eq!(shown, masker().mask_text(&text).text, "{what}");
            // The end repeats the result, and comes last.
            let result = out.last().unwrap().get("raw").and_then(Value::as_str).unwrap();
            assert_eq!(result, masker().mask_text(source.last().unwrap()["raw"].as_str().unwrap()).text);
        }

        let session = http.post(&url("/chat/chat/start"), &json!({})).await.expect(200).json();
        let session = session["session_id"].as_str().unwrap().to_owned();
        let message =
            json!({ "message": "Write to maria.keller@example.com or +49 30 901820", "stream": true });
        http.post(&url(&format!("/chat/chat/{session}/message")), &message).await.expect(200);
        let body = http.get(&url(&format!("/chat/chat/{session}/stream/events"))).await.expect(200).text();
        let (whole, pieces) =
            (masked(Dialect::Sse, body.as_bytes(), usize::MAX), masked(Dialect::Sse, body.as_bytes(), 5));
        assert_eq!(whole, pieces, "{chunking} chat");
        nothing_is_shown(&format!("{chunking} chat"), &whole);
        let (source, out) = (events(&body), events(&whole));
        for (kind, place) in [("token", "/data/content"), ("llm_stream_chunk", "/data/chunk")] {
            let (text, shown) = (told(&source, Some(kind), place), told(&out, Some(kind), place));
            assert_eq!(shown, masker().mask_text(&text).text, "{chunking} {kind}");
        }
        // The same events as the messages of a WebSocket.
        let mut messages = MaskMessages::new(masker());
        let mut left: Vec<String> = Vec::new();
        for event in &source {
            left.extend(messages.push(&event.to_string()).unwrap());
        }
        left.extend(messages.finish().unwrap());
        assert_eq!(
            left.iter().map(|event| serde_json::from_str(event).unwrap()).collect::<Vec<Value>>(),
            out
        );
    }
}
