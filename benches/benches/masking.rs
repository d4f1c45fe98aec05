//! Masking beside a copy of the same bytes: the engine alone, JSON whole and in pieces, events, and one small delta.
//! Texts are those of `../shared/pii` where it is present, else a sentence again and again.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use crewgate_core::MaskProfile;
use crewgate_masking::{Dialect, MaskStream, Masker, Profiles};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SENTENCE: &str = "Report on churn for sales. Record found: Maria Keller, maria.keller@example.com, +49 30 901820, \
     DE89 3704 0044 0532 0130 00. Next step: contact the customer and confirm the data of the quarter. ";

/// The texts of a set of records, one behind the other; a sentence where there are none.
fn corpus(name: &str, instead: impl FnOnce() -> String) -> String {
    let path = format!("{}/../../shared/pii/clean/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let Ok(records) = std::fs::read_to_string(&path) else {
        eprintln!("{path} is absent: a sentence stands for it");
        return instead();
    };
    let text = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record.get("text")?.as_str().map(str::to_owned)
    };
    records.lines().filter_map(text).map(|text| text + "\n").collect()
}

fn json() -> String {
    let result = SENTENCE.repeat(200);
    format!("{{\"state\":\"SUCCESS\",\"result\":\"{result}\",\"usage_metrics\":{{\"total_tokens\":1110}}}}")
}

fn events() -> String {
    let piece =
        |piece: &str| format!("event: chunk\ndata: {{\"content\": \"{piece}\", \"task_index\": 0}}\n\n");
    SENTENCE.repeat(40).split_inclusive(' ').map(piece).collect()
}

fn run(masker: &Masker, dialect: Dialect, body: &str, size: usize) -> usize {
    let mut stream = MaskStream::new(masker.clone(), dialect);
    let masked: usize = body.as_bytes().chunks(size).map(|piece| stream.push(piece).unwrap().len()).sum();
    masked + stream.finish().unwrap().len()
}

fn masking(criterion: &mut Criterion) {
    let masker = Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap();

    let mut group = criterion.benchmark_group("masking/engine");
    for (name, text) in [
        ("prose", corpus("crewai_prose", || SENTENCE.repeat(2000))),
        ("json", corpus("crewai_json", json)),
        ("events", corpus("crewai_sse", events)),
        ("dense", SENTENCE.repeat(2000)),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| masker.find(black_box(&text)).len()));
    }
    group.finish();

    for (name, dialect, body) in [
        ("json", Dialect::Json, corpus("crewai_json", json)),
        ("json with hits", Dialect::Json, json()),
        ("events", Dialect::Sse, events()),
    ] {
        let mut group = criterion.benchmark_group(format!("masking/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("copy", |bench| bench.iter(|| black_box(body.as_bytes().to_vec())));
        if dialect == Dialect::Json {
            group.bench_function("whole", |bench| {
                bench.iter(|| masker.mask_json(black_box(body.as_bytes())).unwrap().text.len());
            });
        }
        for size in [4096, 64] {
            group.bench_function(format!("in pieces of {size} B"), |bench| {
                bench.iter(|| run(&masker, dialect, black_box(&body), size));
            });
        }
        group.finish();
    }

    // One delta of a long text.
    let prose = corpus("crewai_prose", || SENTENCE.repeat(2000));
    let mut pieces = prose.as_bytes().chunks(16).cycle();
    let mut stream = MaskStream::new(masker, Dialect::Text);
    criterion.bench_function("masking/a delta of 16 B", |bench| {
        bench.iter(|| stream.push(black_box(pieces.next().unwrap())).unwrap().len());
    });
}

criterion_group!(benches, masking);
criterion_main!(benches);
