//! Tokens come from anybody: taking one apart must not panic, and only bounded things may come out. Behind a signature
//! stands what an issuer says, which may be nonsense too: then nobody is let in as somebody.
#![no_main]

mod support;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use crewgate_core::Clock;
use crewgate_oidc::{Algorithm, Bearer, FetchError, IssuerConfig, Jws, MAX_TOKEN, Profile, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, ManualClock};
use libfuzzer_sys::fuzz_target;
use support::{URL, now};

/// Those that ask for nothing but what can be demanded of any URL.
const PROFILES: [(Profile, Option<&str>); 5] = [
    (Profile::Generic, None),
    (Profile::Keycloak, None),
    (Profile::Kubernetes, None),
    (Profile::GithubActions, Some("repository_owner_id")),
    (Profile::Gitlab, Some("namespace_id")),
];

struct House {
    idp: DevIdp,
    clock: ManualClock,
    verifiers: Vec<Verifier>,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let verifier = |(profile, demanded): (Profile, Option<&str>)| {
        let issuer = IssuerConfig::new("dev", URL, ["crewgate"]).expect("a name, a URL and an audience");
        let issuer = issuer.profile(profile).algorithms([Algorithm::Es256]);
        let issuer = demanded.into_iter().fold(issuer, |issuer, claim| issuer.require([claim], ["65"]));
        let idp = idp.clone();
        let fetch = move |uri: http::Uri| {
            let document = idp.document(&uri.to_string()).map(Bytes::from);
            async move { document.ok_or_else(|| FetchError::new("404")) }
        };
        Verifier::builder().clock(clock.clone()).fetch(fetch).cached_tokens(0).issuer(issuer).build().expect("one issuer")
    };
    House { verifiers: PROFILES.into_iter().map(verifier).collect(), idp, clock }
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let House { idp, clock, verifiers } = &*HOUSE;
    // As it came, and as claims that the issuer has signed: a digit for the profile, the header's line, the claims.
    let signed = text.split_once('\n').and_then(|(head, claims)| {
        let verifier = verifiers.get(head.get(..1)?.parse::<usize>().ok()?)?;
        let header = head.get(1..).filter(|header| !header.is_empty());
        let usual = format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{}"}}"#, idp.kid());
        Some((verifier, idp.sign_text(header.unwrap_or(&usual), claims)))
    });
    let Some((verifier, token)) = signed else {
        match Jws::parse(text) {
            Ok(jws) => {
                assert!(text.len() <= MAX_TOKEN);
                assert_eq!(text.split('.').count(), 3);
                let _ = jws.claims();
            }
            // What the caller reads is our words alone.
            Err(rejection) => assert!(rejection.to_string().len() < 1024),
        }
        let unsigned = verifiers.first().map(|verifier| now(verifier.verify(Bearer::new(text))));
        assert!(unsigned.is_some_and(|verified| verified.is_err()), "nobody signed this");
        return;
    };
    match now(verifier.verify(Bearer::new(token))) {
        Ok(principal) => {
            assert!(principal.key.issuer == "dev" && !principal.key.subject.is_empty());
            assert!(principal.groups.iter().all(|group| group.starts_with("dev:")));
            assert!(principal.token.expires > clock.now().saturating_sub(std::time::Duration::from_secs(30)));
        }
        Err(rejection) => assert!(rejection.to_string().len() < 1024),
    }
});
