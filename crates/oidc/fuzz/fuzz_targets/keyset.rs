//! Key sets come from issuers, and from whoever has taken one over.
#![no_main]

use crewgate_oidc::{KeySet, MAX_KEYS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(set) = KeySet::parse(data) {
        assert!(set.len() + set.refused().len() <= MAX_KEYS);
    }
});
