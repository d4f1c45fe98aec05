//! A digest in a stranger's request has one spelling or is refused.
#![no_main]

use crewgate_approval::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
});
