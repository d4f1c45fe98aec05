//! One text, one reading: what is read is written and read again the same, and another reader agrees.
#![no_main]

use crewgate_crewai::json::{parse, to_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse(bytes, 64) else { return };
    let written = to_bytes(&value).expect("it refers to no id");
    assert_eq!(parse(&written, 64).expect("what is written can be read"), value);
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(bytes) {
        assert!(error.to_string().contains("number out of range"), "{error}");
    }
});
