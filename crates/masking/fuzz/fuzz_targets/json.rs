//! What is JSON for everybody is JSON for the lexer, and stays it.
#![no_main]

use crewgate_masking::{Dialect, Entity, MaskStream, Masker};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: (u8, &str)| {
    let (size, body) = input;
    let mut stream = MaskStream::new(Masker::of(Entity::ALL.iter().cloned()), Dialect::Json);
    let pieces = body.as_bytes().chunks(usize::from(size).max(1)).map(|piece| stream.push(piece)).collect::<Vec<_>>();
    let last = stream.finish();
    let out = pieces.into_iter().chain([last]).collect::<Result<Vec<_>, _>>();
    // The lexer bounds numbers, which others do not.
    if serde_json::from_str::<Value>(body).is_ok() && body.len() < 512 {
        let out = out.expect("it is JSON").concat();
        serde_json::from_slice::<Value>(&out).expect("it stays JSON");
    }
});
