//! However a body is cut, it is masked alike.
#![no_main]

use crewgate_masking::{Dialect, Entity, MaskError, MaskStream, Masker};
use libfuzzer_sys::fuzz_target;

fn masked(dialect: Dialect, body: &[u8], size: usize) -> Result<Vec<u8>, MaskError> {
    let mut stream = MaskStream::new(Masker::of(Entity::ALL.iter().cloned()), dialect);
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        out.extend_from_slice(&stream.push(piece)?);
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(out)
}

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (dialect, size, body) = input;
    let dialect = match dialect % 4 {
        0 => Dialect::Json,
        1 => Dialect::Lines,
        2 => Dialect::Sse,
        _ => Dialect::Text,
    };
    let whole = masked(dialect, &body, body.len().max(1)).ok();
    assert_eq!(masked(dialect, &body, usize::from(size).max(1)).ok(), whole);
});
