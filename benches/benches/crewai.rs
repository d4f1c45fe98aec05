//! The CrewAI wire: a kickoff in and out, and the status of a long run with its ids swapped.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use bytes::Bytes;
use crewgate_core::RunId;
use crewgate_crewai::{Answer, Crew, InputDeclaration, InputKind, json, render};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header::CONTENT_TYPE};

const RUN: &str = "aea89840-a70b-4805-b6f3-d8af7b29d630";

fn kickoff(c: &mut Criterion) {
    let crew = Crew::new("support")
        .input("dataset", InputDeclaration::of(InputKind::String).dataset())
        .input("question", InputDeclaration::of(InputKind::Text));
    let (head, ()) =
        Request::post("/kickoff").header(CONTENT_TYPE, "application/json").body(()).unwrap().into_parts();
    let mut group = c.benchmark_group("crewai/kickoff");
    for size in [100, 10_000] {
        let question = "What did the customer say? ".repeat(size / 27 + 1);
        let body = Bytes::from(format!(r#"{{"inputs":{{"dataset":"hr","question":"{question}"}}}}"#));
        group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap()));
        group.bench_with_input(BenchmarkId::from_parameter(size), &body, |b, body| {
            b.iter(|| render(&crew.describe("/kickoff", &head, black_box(body), None).unwrap()).unwrap());
        });
    }
    group.finish();
}

fn status(c: &mut Criterion) {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let own = RunId::random().as_uuid();
    let mut group = c.benchmark_group("crewai/status");
    for events in [0, 238] {
        let event =
            format!(r#"{{"type":"llm_stream_chunk","execution_id":"{RUN}","data":{{"content":" the"}}}}"#);
        let result = "Report on churn for sales. Record found: C-1001, enterprise. ".repeat(20);
        let body = format!(
            r#"{{"state":"SUCCESS","status":null,"result":"{result}","last_executed_task":{{"kickoff_id":"{RUN}"}},"events":[{}]}}"#,
            vec![event; events].join(",")
        );
        group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap()));
        group.bench_with_input(BenchmarkId::new("swap", events), &body, |b, body| {
            b.iter(|| {
                let answer =
                    Answer::parse("status", StatusCode::OK, &headers, black_box(body.as_bytes()), &[RUN])
                        .unwrap();
                answer.render(|mention| (mention.upstream == RUN).then_some(own))
            });
        });
        group.bench_with_input(BenchmarkId::new("parse", events), &body, |b, body| {
            b.iter(|| json::parse(black_box(body.as_bytes()), json::MAX_DEPTH).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, kickoff, status);
criterion_main!(benches);
