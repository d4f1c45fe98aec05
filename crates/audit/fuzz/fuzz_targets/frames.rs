//! Whatever stands in a database file: reading it never panics, and frames have one spelling.
#![no_main]

use bytes::Bytes;
use crewgate_audit::{Hash, Leaf, Timeline, frames, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (Vec<u8>, String)| {
    let (bytes, record) = data;
    let encoded = Bytes::from(bytes);
    if let Some(frames) = frames::decode(&encoded) {
        assert_eq!(frames::encode(&frames), encoded);
    }
    let leaf =
        Leaf { seq: 1, prev: Hash::GENESIS, hash: Hash::default(), record, body: None, frames: encoded };
    if let Ok(timeline) = Timeline::of([&leaf]) {
        assert!(timeline.lines().iter().all(|line| !line.text.contains(char::is_control)));
    }
    let _ = verify([&leaf], Default::default());
});
