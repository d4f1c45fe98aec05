//! Tokens come from anybody: taking one apart must not panic, and only bounded things may come out.
#![no_main]

use crewgate_oidc::{Jws, MAX_TOKEN};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Jws::parse(text) {
        Ok(jws) => {
            assert!(text.len() <= MAX_TOKEN);
            assert_eq!(text.split('.').count(), 3);
            let _ = jws.claims();
        }
        // What the caller reads is our words alone.
        Err(rejection) => assert!(rejection.to_string().len() < 1024),
    }
});
