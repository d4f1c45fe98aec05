//! The relying party tests of the OpenID conformance suite, as far as they are about a token and not about a login, by
//! the names they have there.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::time::Duration;

use crewgate_oidc::Reason;
use crewgate_testkit::{DevIdp, KeyKind};
use support::Bench;

/// The token with another signature of the right length.
fn spoiled(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{first}{}", signature.chars().skip(1).collect::<String>())
}

#[tokio::test(start_paused = true)]
async fn tokens_of_the_conformance_suite_get_the_answers_it_wants() {
    let bench = Bench::new();
    let idp = &bench.idp;
    type Made = fn(&DevIdp) -> String;
    let refused: [(&str, Made, Reason); 10] = [
        ("IdTokenSigAlgNone", |idp| idp.token().sign_none(), Reason::AlgRefused),
        ("InvalidSignatureHS256", |idp| idp.token().sign_hs256_with_public_key(), Reason::AlgRefused),
        ("InvalidIss", |idp| idp.token().issuer("https://idp.test/1").sign(), Reason::IssuerUnknown),
        ("InvalidAud", |idp| idp.token().audience("crewgate1").sign(), Reason::Audience),
        ("MissingAud", |idp| idp.token().without("aud").sign(), Reason::Claims),
        ("MissingIat", |idp| idp.token().without("iat").sign(), Reason::Claims),
        ("MissingSub", |idp| idp.token().without("sub").sign(), Reason::Claims),
        // These three compare an ID token with the login that it ends. What bears them is none of ours.
        ("NonceInvalid", |idp| idp.token().claim("nonce", "another").sign(), Reason::Type),
        ("InvalidAtHash", |idp| idp.token().claim("at_hash", "another").sign(), Reason::Type),
        ("InvalidCHash", |idp| idp.token().claim("c_hash", "another").sign(), Reason::Type),
    ];
    for (name, token, reason) in refused {
        assert_eq!(bench.reason(&token(idp)).await, reason, "{name}");
    }
    assert!(bench.verify(&idp.token().without_kid().sign()).await.is_ok(), "KidAbsentSingleJwks");
    for (name, kind) in [
        ("InvalidSignatureES256", KeyKind::Es256),
        ("InvalidSignatureRS256", KeyKind::Rs256),
        ("InvalidSignatureEdDSA", KeyKind::EdDsa),
    ] {
        let kid = idp.add_key(kind);
        tokio::time::advance(Duration::from_secs(61)).await;
        let token = idp.token().key(&kid).sign();
        assert!(bench.verify(&token).await.is_ok(), "{name}: as it was signed");
        assert_eq!(bench.reason(&spoiled(&token)).await, Reason::Signature, "{name}");
    }
    // Two ES256 keys are published now, and one RS256 key.
    assert_eq!(
        bench.reason(&idp.token().key("dev-0").without_kid().sign()).await,
        Reason::KeyUnknown,
        "KidAbsentMultipleJwks: several keys could have signed"
    );
    let only = idp.token().key("dev-2").without_kid().sign();
    assert!(bench.verify(&only).await.is_ok(), "KidAbsentMultipleJwks: one key could have signed");
}
