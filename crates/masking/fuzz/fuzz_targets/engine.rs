//! The engine finds exactly what the definition says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    #[cfg(fuzzing)]
    assert!(crewgate_masking::fuzz::engine(text));
    #[cfg(not(fuzzing))]
    let _ = text;
});
