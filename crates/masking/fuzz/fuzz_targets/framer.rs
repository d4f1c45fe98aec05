//! Whatever came before and however it is cut, an address that events tell in pieces does not leave.
#![no_main]

use crewgate_masking::{Dialect, Entity, MaskError, MaskMessages, MaskStream, Masker};
use libfuzzer_sys::fuzz_target;

const PIECES: [&str; 4] = ["to maria.kel", "ler@exa", "mple.c", "om, yes"];

fn masked(dialect: Dialect, body: &[u8], size: usize) -> Result<String, MaskError> {
    let mut stream = MaskStream::new(Masker::of([Entity::Email]), dialect);
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        out.extend_from_slice(&stream.push(piece)?);
        out.extend_from_slice(&stream.idle()?);
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(String::from_utf8(out).expect("text"))
}

fuzz_target!(|input: (bool, u8, Vec<u8>)| {
    let (lines, size, mut body) = input;
    let (dialect, before, behind) =
        if lines { (Dialect::Lines, "\n", "\n") } else { (Dialect::Sse, "\n\ndata: ", "\n\n") };
    let strange = String::from_utf8_lossy(&body).contains("ler@exa");
    for piece in PIECES {
        body.extend_from_slice(format!("{before}{{\"type\":\"token\",\"text\":\"{piece}\"}}{behind}").as_bytes());
    }
    if let Ok(out) = masked(dialect, &body, usize::from(size).max(1)) {
        assert!(strange || !out.contains("ler@exa"), "{out}");
    }
    let mut messages = MaskMessages::new(Masker::of([Entity::Email]));
    for message in String::from_utf8_lossy(&body).split('\n') {
        if messages.push(message).is_err() {
            return;
        }
    }
    let _ = messages.finish();
});
