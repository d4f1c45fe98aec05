//! However a connection's bytes are cut, the gate passes the same ones and finds the same violation.
#![no_main]

use bytes::BytesMut;
use crewgate_gateway::gate::{Framer, Piece};
use libfuzzer_sys::fuzz_target;

/// What passed, and how it ended. A head that is refused passes nothing, however much of it had come.
fn pass(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
    let (mut framer, mut raw, mut passed) = (Framer::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        raw.extend_from_slice(piece);
        loop {
            match framer.take(&mut raw) {
                Ok(Some(Piece::Head(bytes) | Piece::Body(bytes))) => passed.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(_) => return (passed, true),
            }
        }
    }
    (passed, false)
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (size, bytes) = input;
    let whole = pass(&bytes, bytes.len().max(1));
    assert_eq!(pass(&bytes, usize::from(size).max(1)), whole);
    // What passes is a prefix of what came, byte for byte.
    assert!(bytes.starts_with(&whole.0));
});
