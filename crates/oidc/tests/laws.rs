//! What holds for every history of tokens, keys and clocks.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use crewgate_core::{Clock, Principal, PrincipalKey, RevokedTokens};
use crewgate_oidc::{
    Bearer, FetchError, IssuerConfig, MemoryRevocations, Reason, Revocations, Verifier, VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock};
use proptest::prelude::*;
use support::{URL, builder};

/// What happens between two looks at tokens.
#[derive(Debug, Clone)]
enum Event {
    /// A new token, of so many seconds.
    Issue(u16),
    /// One of the tokens so far is shown.
    Show(prop::sample::Index),
    /// Seconds go by.
    Pass(u16),
    /// A key is added, and signs from now on.
    Add,
    /// All keys but a new one are withdrawn.
    Rotate,
    /// One key is withdrawn.
    Retire(u8),
    /// The issuer cannot be reached, or can again.
    Down(bool),
    /// The subject of one of the tokens so far is revoked.
    Revoke(prop::sample::Index),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1_u16..400).prop_map(Event::Issue),
        6 => any::<prop::sample::Index>().prop_map(Event::Show),
        2 => prop_oneof![0_u16..5, 20_u16..40, 55_u16..65, 250_u16..400].prop_map(Event::Pass),
        1 => Just(Event::Add),
        1 => Just(Event::Rotate),
        1 => (0_u8..6).prop_map(Event::Retire),
        1 => any::<bool>().prop_map(Event::Down),
        1 => any::<prop::sample::Index>().prop_map(Event::Revoke),
    ]
}

fn config(name: &str, url: &str, audience: &[&str]) -> IssuerConfig {
    IssuerConfig::new(name, url, audience.iter().copied()).unwrap().keep_keys(Duration::from_secs(600))
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

async fn ask(verifier: &Verifier, token: &str) -> Result<Principal, Reason> {
    verifier.verify(Bearer::new(token)).await.map_err(|rejection| rejection.reason())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// So a remembered token ends when it would have been refused: with its time, its key, its issuer's, or by revocation.
    #[test]
    fn who_remembers_tokens_answers_like_who_does_not(events in prop::collection::vec(event(), 1..60)) {
        paused().block_on(async {
            let clock = ManualClock::new();
            let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
            let issuer = config("dev", URL, &["crewgate"]);
            let store = Arc::new(MemoryRevocations::new());
            let revocations = Revocations::new(store, Arc::new(clock.clone()), [&issuer]);
            revocations.refresh().await.unwrap();
            let build = |cached| {
                let builder = builder(&idp, &clock).revocations(revocations.clone());
                builder.cached_tokens(cached).issuer(issuer.clone()).build().unwrap()
            };
            // Small, so that what is remembered is also pushed out.
            let (with, without) = (build(6), build(0));
            let mut tokens = vec![("alice".to_owned(), idp.token().sign())];
            let mut revoked = BTreeSet::new();
            for event in events {
                match event {
                    Event::Issue(life) => {
                        let lifetime = Duration::from_secs(life.into());
                        let subject = tokens.len().to_string();
                        let token = idp.token().subject(&subject).lifetime(lifetime).sign();
                        tokens.push((subject, token));
                    }
                    Event::Show(at) => {
                        let (subject, token) = at.get(&tokens);
                        for time in ["first", "second"] {
                            let (ours, plain) = (ask(&with, token).await, ask(&without, token).await);
                            prop_assert!(ours.is_err() || !revoked.contains(subject), "{} is revoked", subject);
                            prop_assert_eq!(ours, plain, "the {} time", time);
                        }
                    }
                    Event::Pass(secs) => {
                        let time = Duration::from_secs(secs.into());
                        clock.advance(time);
                        tokio::time::advance(time).await;
                        revocations.refresh().await.unwrap();
                    }
                    Event::Add => drop(idp.add_key(crewgate_testkit::KeyKind::EdDsa)),
                    Event::Rotate => drop(idp.rotate()),
                    Event::Retire(n) => idp.retire(&format!("dev-{n}")),
                    Event::Down(down) => idp.set_down(down),
                    Event::Revoke(at) => {
                        let (subject, _) = at.get(&tokens);
                        let principal = PrincipalKey::new("dev", subject);
                        let all = RevokedTokens::Subject { principal };
                        revocations.revoke(all, None, None, None).await.unwrap();
                        revoked.insert(subject.clone());
                    }
                }
            }
            Ok(())
        })?;
    }

    /// Skew widens both ends by itself and no further; a token that lives too long does so at any time.
    #[test]
    fn a_token_counts_from_its_beginning_to_its_end_give_or_take_the_skew(
        skew in 0_i64..=60, max in 1_i64..4000, life in -2_i64..4000, begun in -70_i64..4100, nbf in prop::option::of(-70_i64..70),
        edge in -1_i64..=1, at in 0..5,
    ) {
        // Most draws are put on an edge, where laws break.
        let (life, begun, nbf) = match at {
            0 => (life, life + skew + edge, nbf),
            1 => (life, -skew + edge, nbf),
            2 => (max + edge, begun, nbf),
            3 => (life, begun.clamp(0, life.max(0)), Some(skew + edge)),
            _ => (life, begun, nbf),
        };
        paused().block_on(async {
            let clock = ManualClock::new();
            let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
            let issuer = config("dev", URL, &["crewgate"])
                .skew(Duration::from_secs(skew.unsigned_abs()))
                .max_lifetime(Duration::from_secs(max.unsigned_abs()));
            let verifier = builder(&idp, &clock).issuer(issuer).build().unwrap();
            let now = clock.now().as_secs();
            let (iat, exp) = (now - begun, now - begun + life);
            let token = idp.token().claim("iat", iat).claim("exp", exp);
            let token = match nbf {
                Some(ahead) => token.claim("nbf", now + ahead),
                None => token,
            }.sign();
            let begins = nbf.map_or(iat, |ahead| iat.max(now + ahead));
            let expected = if life <= 0 || life > max {
                Some(Reason::Lifetime)
            } else if now >= exp + skew {
                Some(Reason::Expired)
            } else if begins > now + skew {
                Some(Reason::NotYetValid)
            } else {
                None
            };
            // The second time out of the cache, while that may answer.
            for _ in 0..2 {
                prop_assert_eq!(ask(&verifier, &token).await.err(), expected);
            }
            Ok(())
        })?;
    }
}

/// Every issuer's keys, names and audiences in every mixture.
#[tokio::test]
async fn only_who_is_named_can_sign_and_only_for_whom_it_may() {
    const URLS: [&str; 3] = ["https://one.test", "https://two.test", "https://one.test/two"];
    const AUDIENCES: [&[&str]; 3] = [&["crewgate"], &["crewgate", "two"], &["three"]];
    let clock = ManualClock::new();
    // All their first keys are called `dev-0`.
    let idps = URLS.map(|url| DevIdp::offline(url, Arc::new(clock.clone())));
    let documents = idps.clone();
    let fetch = move |uri: http::Uri| {
        let url = uri.to_string();
        let owner = documents.iter().filter(|idp| url.starts_with(&format!("{}/", idp.url())));
        let found = owner.max_by_key(|idp| idp.url().len()).and_then(|idp| idp.document(&url));
        async move { found.map(Bytes::from).ok_or_else(|| FetchError::new("404")) }
    };
    let mut verifier = Verifier::builder().clock(clock.clone()).fetch(fetch);
    for (url, (name, audience)) in URLS.iter().zip(["one", "two", "three"].iter().zip(AUDIENCES)) {
        verifier = verifier.issuer(config(name, url, audience));
    }
    let verifier = verifier.build().unwrap();
    let mut accepted = 0;
    for (signer, idp) in idps.iter().enumerate() {
        for (named, url) in URLS.iter().enumerate() {
            for chosen in 0..8_usize {
                let audience: Vec<&str> = ["crewgate", "two", "three"]
                    .into_iter()
                    .enumerate()
                    .filter(|(n, _)| chosen >> n & 1 == 1)
                    .map(|(_, name)| name)
                    .collect();
                let fits = audience.iter().any(|name| AUDIENCES[named].contains(name));
                let token = idp.token().issuer(url).claim("aud", audience).sign();
                for _ in 0..2 {
                    let expected = match (signer == named, fits) {
                        (false, _) => Err(Reason::Signature),
                        (true, false) => Err(Reason::Audience),
                        (true, true) => Ok(["one", "two", "three"][named].to_owned()),
                    };
                    let found = ask(&verifier, &token).await.map(|principal| principal.key.issuer);
                    assert_eq!(found, expected, "signed by {signer}, named {named}, for {chosen:b}");
                    accepted += usize::from(found.is_ok());
                }
            }
        }
    }
    assert_eq!(accepted, 2 * (4 + 6 + 4));
}
