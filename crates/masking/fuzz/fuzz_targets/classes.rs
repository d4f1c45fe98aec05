//! Vectors and table see the same classes of bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([[u8; 16]; 4], [[u8; 16]; 4], [u8; 4], &[u8])| {
    #[cfg(fuzzing)]
    assert!(crewgate_masking::fuzz::classes(input.0, input.1, input.2, input.3));
    #[cfg(not(fuzzing))]
    let _ = input;
});
