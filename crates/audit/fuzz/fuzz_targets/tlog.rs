//! Whatever somebody sends as a receipt, a checkpoint, a key or a bundle: reading it never panics, and what is read is
//! spelled the same again.
#![no_main]

use crewgate_audit::tlog::{AddCheckpoint, Receipt, SignedCheckpoint, VerifierKey, decode_bundle, encode_bundle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(leaves) = decode_bundle(data) {
        assert_eq!(encode_bundle(leaves.iter().map(Vec::as_slice)).as_deref(), Some(data));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let key = text.parse::<VerifierKey>();
    if let Ok(key) = &key {
        assert_eq!(key.to_string().parse().as_ref(), Ok(key));
    }
    let keys: Vec<_> = key.into_iter().collect();
    if let Ok(receipt) = text.parse::<Receipt>() {
        assert_eq!(receipt.to_string().parse(), Ok(receipt.clone()));
        assert!(receipt.verify(&keys, &[]).is_err());
    }
    if let Ok(request) = text.parse::<AddCheckpoint>() {
        assert_eq!(request.to_string().parse(), Ok(request));
    }
    if let Ok(checkpoint) = SignedCheckpoint::parse(text) {
        assert_eq!(checkpoint.as_str(), text);
    }
});
