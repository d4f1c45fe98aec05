//! Requests and answers of strangers: never a panic, and an upstream id never shown.
#![no_main]

use bytes::Bytes;
use crewgate_crewai::{Answer, Crew, Undeclared, parse_human_input, render};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header::CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;

const RUN: &str = "aea89840-a70b-4805-b6f3-d8af7b29d630";

fuzz_target!(|input: (&str, &[u8])| {
    let (path, body) = input;
    let crew = Crew::new("support").undeclared(Undeclared::Ignore);
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).header(CONTENT_TYPE, "application/json").body(());
        let (head, ()) = request.expect("a request").into_parts();
        if let Ok(operation) = crew.describe(path, &head, &Bytes::copy_from_slice(body), None) {
            let _ = render(&operation);
        }
    }
    let _ = parse_human_input(body);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    for action in ["inputs", "kickoff", "status", "resume", "feedback"] {
        let Ok(answer) = Answer::parse(action, StatusCode::OK, &headers, body, &[RUN]) else { continue };
        let shown = answer.render(|mention| (mention.upstream == RUN).then_some(crewgate_core::RunId::random().as_uuid()));
        assert!(!String::from_utf8_lossy(&shown).contains(RUN));
    }
});
