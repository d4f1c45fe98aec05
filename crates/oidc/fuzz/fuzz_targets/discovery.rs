//! Discovery documents come from issuers, and from whoever has taken one over: they may name no place we must not go to.
#![no_main]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use crewgate_oidc::{Bearer, FetchError, IssuerConfig, Reason, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, ManualClock};
use libfuzzer_sys::fuzz_target;
use support::{URL, now};

const PLACE: &str = "https://idp.test/.well-known/openid-configuration";

fuzz_target!(|data: &[u8]| {
    let document = Bytes::copy_from_slice(data);
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let token = idp.token().sign();
    let fetch = move |uri: http::Uri| {
        let answer = if uri == PLACE {
            document.clone()
        } else {
            // Wherever it sends us is the issuer's own, in whatever case its host is written.
            let host = uri.host().map(str::to_ascii_lowercase);
            assert_eq!((uri.scheme_str(), host.as_deref(), uri.port()), (Some("https"), Some("idp.test"), None));
            Bytes::from(idp.document(&format!("{URL}/jwks")).unwrap_or_default())
        };
        async move { Ok::<_, FetchError>(answer) }
    };
    let issuer = IssuerConfig::new("dev", URL, ["crewgate"]).expect("a name, a URL and an audience");
    let verifier = Verifier::builder().clock(clock).fetch(fetch).issuer(issuer).build().expect("one issuer");
    match now(verifier.verify(Bearer::new(token))) {
        Ok(_) => assert!(std::str::from_utf8(data).is_ok()),
        Err(rejection) => assert_eq!(rejection.reason(), Reason::IssuerNotReady),
    }
});
