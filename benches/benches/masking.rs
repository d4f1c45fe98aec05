//! Masking beside a copy of the same bytes: the engine alone, JSON whole and in pieces, events, one small delta, and how texts
//! that are nothing but beginnings grow. Texts are those of `../shared/pii` where it is present, else a sentence again and again.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

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

/// The documents of recorded bodies that are whole: most records end in the middle of one.
fn documents() -> String {
    let bodies = corpus("crewai_json", json);
    let (mut whole, mut rest) = (String::new(), bodies.as_str());
    while !rest.is_empty() {
        let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        while documents.by_ref().next().is_some_and(|document| document.is_ok()) {}
        let (read, behind) = rest.split_at(documents.byte_offset());
        whole.push_str(read);
        // Behind what is cut begins another.
        rest = behind.split_once("\n{").map_or("", |(cut, _)| behind.split_at(cut.len() + 1).1);
    }
    whole
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
        ("json", Dialect::Json, documents()),
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

/// The processor time of this thread, where the system tells it; else the time.
fn clock(begin: Instant) -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| begin.elapsed(), Duration::from_nanos)
}

/// Texts that are nothing but beginnings of something, up to 64 MiB: what a byte costs is the same however long they are.
fn growth(_: &mut Criterion) {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if !words.is_empty() && !words.iter().any(|word| "masking/growth".contains(word.as_str())) {
        return;
    }
    let masker = Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap();
    let begin = Instant::now();
    let units = [
        "@",
        ":",
        "1",
        "a.",
        "1-",
        "4-",
        "4111 ",
        "-----BEGIN ",
        "eyJ",
        "a@",
        "a:b@",
        "://",
        "x=",
        "password=",
        "A1 ",
        "aGVsbG8",
        "(1) ",
        "+1",
        "\\n",
        "\\u0041",
        "%41",
        "&#64;",
        "{\"a\":",
        "\u{200b}",
        "é",
    ];
    for unit in units {
        let cost = |size: usize| {
            let piece = unit.repeat((1 << 16) / unit.len());
            let (mut stream, mut come) = (MaskStream::new(masker.clone(), Dialect::Text), 0);
            let begun = clock(begin);
            while come < size {
                black_box(stream.push(piece.as_bytes()).unwrap());
                come += piece.len();
            }
            black_box(stream.finish().unwrap());
            (clock(begin) - begun).as_nanos() as f64 / come as f64
        };
        let [small, large] = [1 << 20, 64 << 20].map(cost);
        println!(
            "masking/growth/{unit:?}: {small:.1} ns a byte of 1 MiB, {large:.1} of 64 MiB: {:.2}",
            large / small
        );
        assert!(large < 4.0 * small + 4.0, "{unit:?} costs more the longer it is");
    }
}

criterion_group!(benches, masking, growth);
criterion_main!(benches);
