//! Proofs of possession come from anybody, with the keys of anybody.
#![no_main]

mod support;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use crewgate_oidc::{Bearer, FetchError, IssuerConfig, Reason, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, ManualClock};
use http::Method;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use support::{URL, now};

const TARGET: &str = "https://gate.example/support/kickoff";

/// A verifier, a token of its issuer, the holder of the key it is bound to, and that key.
struct House {
    verifier: Verifier,
    token: String,
    holder: DevIdp,
    jwk: Value,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let holder = DevIdp::offline("https://holder.test", Arc::new(clock.clone()));
    let set: Value = holder.document("https://holder.test/jwks").expect("a key set").parse().expect("JSON");
    let member = |name: &str| set.pointer(&format!("/keys/0/{name}")).cloned().expect("a member");
    // In the order of RFC 7638, which is that of their names.
    let jwk = json!({ "crv": member("crv"), "kty": member("kty"), "x": member("x"), "y": member("y") });
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.to_string().as_bytes()));
    let token = idp.token().claim("cnf", json!({ "jkt": thumbprint })).sign();
    let fetch = move |uri: http::Uri| {
        let document = idp.document(&uri.to_string()).map(Bytes::from);
        async move { document.ok_or_else(|| FetchError::new("404")) }
    };
    let issuer = IssuerConfig::new("dev", URL, ["crewgate"]).expect("a name, a URL and an audience");
    let verifier = Verifier::builder().clock(clock).fetch(fetch).issuer(issuer).build().expect("one issuer");
    House { verifier, token, holder, jwk }
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let House { verifier, token, holder, jwk } = &*HOUSE;
    // As it came, as claims that the holder has signed, and as a header of theirs.
    let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }).to_string();
    let proof = match text.as_bytes().first() {
        Some(b'{') => holder.sign_text(&header, text),
        Some(b'#') => holder.sign_text(&text.replacen('#', "", 1), "{}"),
        _ => text.to_owned(),
    };
    match now(verifier.verify(Bearer::new(token.as_str()).with_proof(proof, Method::POST, TARGET))) {
        Ok(_) => {
            let claims: Value = text.parse().expect("what was accepted is JSON");
            assert_eq!(claims.get("htm"), Some(&json!("POST")));
            let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
            assert_eq!(claims.get("ath"), Some(&json!(hash)));
        }
        Err(rejection) => assert!(matches!(rejection.reason(), Reason::Proof | Reason::ProofsFull), "{rejection}"),
    }
});
