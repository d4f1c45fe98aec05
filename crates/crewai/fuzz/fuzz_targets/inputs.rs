//! Inputs of strangers against declarations of every kind: never a panic, and a refusal never repeats a value.
#![no_main]

use bytes::Bytes;
use crewgate_crewai::{Bounds, Choices, Crew, InputDeclaration, InputKind, Pattern, Prompts, Span, render};
use http::{Request, header::CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;

/// A value no message of ours holds.
const MARK: &str = "\u{1f980}";

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (pattern, prompt, body) = input;
    let pattern = Pattern::new(pattern).ok();
    let length = Span { min: Some(1), max: Some(9) };
    let strings = Bounds { pattern, length, ..Bounds::default() };
    let choices = Some(Choices::Strings(["a".to_owned(), "b".to_owned()].into()));
    let value = Span { min: Some(-9), max: None };
    let mut prompts = Prompts::new();
    let _ = prompts.text("one", prompt);
    let crew = Crew::new("support")
        .input("c", InputDeclaration::of(InputKind::String).bounds(Bounds { choices, ..Bounds::default() }))
        .input("n", InputDeclaration::of(InputKind::Integer).bounds(Bounds { value, ..Bounds::default() }))
        .input("p", InputDeclaration::of(InputKind::Text).prompt())
        .input("s", InputDeclaration::of(InputKind::Strings).bounds(strings.clone()))
        .input("t", InputDeclaration::of(InputKind::String).bounds(strings).required())
        .prompts(prompts);
    let request = Request::post("/kickoff").header(CONTENT_TYPE, "application/json").body(());
    let (head, ()) = request.expect("a request").into_parts();
    match crew.describe("/kickoff", &head, &Bytes::copy_from_slice(body), None) {
        Ok(operation) => drop(render(&operation)),
        Err(refusal) => {
            let body = String::from_utf8_lossy(body);
            let names_it = body.contains(&format!("\"{MARK}"));
            assert!(names_it || !refusal.detail.contains(MARK) || input.0.contains(MARK));
        }
    }
});
