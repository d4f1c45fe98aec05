//! What a body costs while it passes: little, however long it is, and however many there are.
#![expect(clippy::unwrap_used, reason = "tests")]

use crewgate_core::MaskProfile;
use crewgate_masking::{Dialect, MaskStream, Masker, Profiles};

/// A long body: a gigabyte where the build is fast.
const LONG: usize = if cfg!(debug_assertions) { 2 << 20 } else { 1 << 30 };

fn masker() -> Masker {
    Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap()
}

/// A figure of this process in KiB, by its name in `/proc/self/status`; nothing elsewhere than on Linux.
fn memory(name: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    if status.is_none() {
        eprintln!("SKIPPED: what a process needs is not told here");
    }
    let line = status?.lines().find(|line| line.starts_with(name))?.to_owned();
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_body_without_end_and_many_at_once_need_little() {
    let masker = masker();
    let line = "Record found: Maria Keller, maria.keller@example.com, and more \\u0041 words. ".repeat(50);
    // One string of the whole length, so that nothing in it is an end.
    let mut stream = MaskStream::new(masker.clone(), Dialect::Json);
    stream.push(b"{\"result\":\"").unwrap();
    stream.push(line.as_bytes()).unwrap();
    let before = memory("VmHWM");
    let (mut came, mut left) = (0, 0);
    while came < LONG {
        left += stream.push(line.as_bytes()).unwrap().len();
        came += line.len();
    }
    left += stream.push(b"\"}").unwrap().len() + stream.finish().unwrap().len();
    assert!(left > came / 2 && stream.findings().total() > came as u64 / 100, "{left} of {came}");
    if let (Some(before), Some(after)) = (before, memory("VmHWM")) {
        assert!(after - before < 8 << 10, "{} KiB for {came} bytes", after - before);
    }

    let event =
        |piece: &str| format!("data: {{\"type\":\"token\",\"data\":{{\"content\":\"{piece}\"}}}}\n\n");
    let begin = |masker: &Masker| {
        let mut stream = MaskStream::new(masker.clone(), Dialect::Sse);
        stream.push(event("to maria.keller%40exam").as_bytes()).unwrap();
        stream.push(event("ple").as_bytes()).unwrap();
        stream.push(b"data: {\"type\":\"tok").unwrap();
        stream
    };
    let first = begin(&masker);
    let before = memory("VmRSS");
    let streams: Vec<_> = (0..2000).map(|_| begin(&masker)).collect();
    if let (Some(before), Some(after)) = (before, memory("VmRSS")) {
        let each = after.saturating_sub(before) / streams.len();
        eprintln!("{each} KiB per stream");
        assert!(each <= 64, "{each} KiB per stream");
    }
    drop((first, streams));
}
