//! Whatever stands in a database file: reading it never panics, and frames and content have one spelling.
#![no_main]

use bytes::Bytes;
use crewgate_audit::{Content, Held, Leaf, Timeline, frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (Vec<u8>, String)| {
    let (bytes, record) = data;
    let encoded = Bytes::from(bytes);
    if let Some(frames) = frames::decode(&encoded) {
        assert_eq!(frames::encode(&frames), encoded);
    }
    let Some(content) = Content::decode(encoded.clone()) else { return };
    assert_eq!(content.encode(), encoded);
    let leaf = Leaf { index: 0, record, held: Held::Open(content) };
    if let Ok(timeline) = Timeline::of([&leaf]) {
        assert!(timeline.lines().iter().all(|line| !line.text.contains(char::is_control)));
    }
});
