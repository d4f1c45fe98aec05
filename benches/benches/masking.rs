//! Masking JSON and server-sent events, beside a copy of the same bytes.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use crewgate_masking::{Dialect, Entity, MaskStream, Masker};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SENTENCE: &str = "Report on churn for sales. Record found: Maria Keller, maria.keller@example.com, +49 30 901820, \
     DE89 3704 0044 0532 0130 00. Next step: contact the customer and confirm the data of the quarter. ";

fn json() -> String {
    let result = SENTENCE.repeat(200);
    format!("{{\"state\":\"SUCCESS\",\"result\":\"{result}\",\"usage_metrics\":{{\"total_tokens\":1110}}}}")
}

fn events() -> String {
    let pieces: Vec<String> = SENTENCE.repeat(40).split_inclusive(' ').map(str::to_owned).collect();
    pieces
        .iter()
        .map(|piece| format!("event: chunk\ndata: {{\"content\": \"{piece}\", \"task_index\": 0}}\n\n"))
        .collect()
}

fn run(masker: &Masker, dialect: Dialect, body: &str, size: usize) -> usize {
    let mut stream = MaskStream::new(masker.clone(), dialect);
    let masked: usize = body.as_bytes().chunks(size).map(|piece| stream.push(piece).unwrap().len()).sum();
    masked + stream.finish().unwrap().len()
}

fn masking(criterion: &mut Criterion) {
    let masker = Masker::of(Entity::ALL.iter().cloned());
    for (name, dialect, body) in [("json", Dialect::Json, json()), ("sse", Dialect::Sse, events())] {
        let mut group = criterion.benchmark_group(format!("masking/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("copy", |bench| bench.iter(|| black_box(body.as_bytes().to_vec())));
        group.bench_function("mask in 4 KiB pieces", |bench| {
            bench.iter(|| run(&masker, dialect, black_box(&body), 4096));
        });
        group.bench_function("mask in 64 B pieces", |bench| {
            bench.iter(|| run(&masker, dialect, black_box(&body), 64))
        });
        group.finish();
    }
}

criterion_group!(benches, masking);
criterion_main!(benches);
