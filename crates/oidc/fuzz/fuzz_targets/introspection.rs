//! What an issuer answers about an opaque token: only a whole and active one opens, whatever else it says.
#![no_main]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use crewgate_core::Clock;
use crewgate_oidc::{
    Bearer, Fetch, FetchError, Fetched, Form, Introspection, IssuerConfig, Posted, Reason, Verifier, VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock};
use futures_util::future::BoxFuture;
use http::Uri;
use libfuzzer_sys::fuzz_target;
use support::{URL, now};

struct Desk {
    idp: DevIdp,
    answer: Posted,
}

impl Fetch for Desk {
    fn fetch(&self, uri: Uri, _: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let document = self.idp.document(&uri.to_string()).map(Bytes::from);
        Box::pin(async move { document.map(Fetched::from).ok_or_else(|| FetchError::new("404")) })
    }

    fn post(&self, _: Uri, _: Form) -> BoxFuture<'_, Result<Posted, FetchError>> {
        let answer = self.answer.clone();
        Box::pin(async move { Ok(answer) })
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else { return };
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let signed = kind % 3 == 2;
    let (content_type, body) = match (kind % 3, std::str::from_utf8(body)) {
        // As it came, and as the issuer would have signed it.
        (2, Ok(claims)) => {
            let header = format!(r#"{{"typ":"token-introspection+jwt","alg":"ES256","kid":"{}"}}"#, idp.kid());
            ("application/token-introspection+jwt", idp.sign_text(&header, claims).into_bytes())
        }
        (1, _) => ("application/token-introspection+jwt", body.to_vec()),
        _ => ("application/json", body.to_vec()),
    };
    let answer = Posted { content_type: content_type.to_owned(), body: body.into() };
    let desk = Introspection::new("https://idp.test/introspect", "gate", "secret");
    let desk = if signed { desk.signed() } else { desk };
    let issuer = IssuerConfig::new("dev", URL, ["crewgate"]).expect("a name, a URL and an audience").introspection(desk);
    let verifier = Verifier::builder().clock(clock.clone()).fetch(Desk { idp, answer }).issuer(issuer);
    let verifier = verifier.build().expect("one issuer");
    match now(verifier.verify(Bearer::new("opaque"))) {
        Ok(principal) => {
            assert!(principal.token.expires > clock.now().saturating_sub(std::time::Duration::from_secs(30)));
            assert_eq!(principal.key.issuer, "dev");
            assert!(!principal.key.subject.is_empty());
            assert!(content_type == "application/json" || signed, "nobody signed this");
        }
        Err(rejection) => assert_ne!(rejection.reason(), Reason::Malformed, "the token is not to blame"),
    }
});
