//! How keys come, stay and go: discovery, rotation, outages, strangers who ask for fetches, and the cache of tokens.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use crewgate_oidc::{Bearer, Fetch, FetchError, Fetched, IssuerConfig, Reason, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, ManualClock};
use futures_util::future::BoxFuture;
use http::Uri;
use support::{Bench, Count, URL, builder};

const MINUTE: Duration = Duration::from_secs(60);

fn config() -> IssuerConfig {
    IssuerConfig::new("dev", URL, ["crewgate"]).unwrap()
}

/// Lets spawned tasks run without time going by.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_once_for_many_callers() {
    let bench = Bench::new();
    let token = bench.idp.token().sign();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (verifier, token) = (bench.verifier.clone(), bench.idp.token().subject(&format!("s{n}")).sign());
        calls.spawn(async move { verifier.verify(Bearer::new(token)).await.is_ok() });
    }
    assert!(calls.join_all().await.into_iter().all(|ok| ok));
    assert!(bench.verify(&token).await.is_ok());
    assert_eq!((bench.idp.fetches().discovery, bench.idp.fetches().jwks), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_picked_up_and_the_old_one_stops_at_once() {
    let bench = Bench::new();
    let old = bench.idp.token().sign();
    assert!(bench.verify(&old).await.is_ok());
    bench.idp.rotate();
    let new = bench.idp.token().sign();
    assert!(bench.verify(&new).await.is_ok(), "an unknown kid makes one extra fetch");
    // It was in the cache; its key is gone.
    assert_eq!(bench.reason(&old).await, Reason::KeyUnknown);
    bench.idp.rotate();
    tokio::time::advance(MINUTE).await;
    assert!(bench.verify(&bench.idp.token().sign()).await.is_ok(), "again, a minute later");
}

#[tokio::test(start_paused = true)]
async fn new_material_under_an_old_name_is_picked_up() {
    let clock = ManualClock::new();
    let before = DevIdp::offline(URL, Arc::new(clock.clone()));
    let after = DevIdp::offline(URL, Arc::new(clock.clone()));
    let swapped = Count::default();
    let (one, two, when) = (before.clone(), after.clone(), swapped.clone());
    let fetch = move |uri: http::Uri| {
        let idp = if when.now() == 0 { &one } else { &two };
        let answer = idp.document(&uri.to_string()).map(Bytes::from).ok_or_else(|| FetchError::new("down"));
        async move { answer }
    };
    let verifier = Verifier::builder().clock(clock).fetch(fetch).issuer(config()).build().unwrap();
    assert!(verifier.verify(Bearer::new(before.token().sign())).await.is_ok());
    swapped.up();
    assert_eq!(before.kid(), after.kid());
    assert!(verifier.verify(Bearer::new(after.token().sign())).await.is_ok());
    let rejection = verifier.verify(Bearer::new(before.token().subject("x").sign())).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::Signature);
}

#[tokio::test(start_paused = true)]
async fn strangers_cause_two_fetches_and_then_one_a_minute() {
    let bench = Bench::new();
    assert!(bench.verify(&bench.idp.token().sign()).await.is_ok());
    assert_eq!(bench.idp.fetches().jwks, 1);
    for n in 0..100 {
        let token = bench.idp.token().header("kid", format!("unknown-{n}")).sign();
        assert_eq!(bench.reason(&token).await, Reason::KeyUnknown);
        let forged = bench.idp.token().subject(&n.to_string()).sign();
        let forged = format!("{}.{}", forged.rsplit_once('.').unwrap().0, "AAAA");
        assert_eq!(bench.reason(&forged).await, Reason::Signature);
    }
    assert_eq!(bench.idp.fetches().jwks, 3, "the first, and two for all strangers");
    let strange = |n: u64| bench.idp.token().header("kid", format!("strange-{n}")).sign();
    for minute in 1..=5 {
        tokio::time::advance(MINUTE).await;
        for n in 0..100 {
            assert_eq!(bench.reason(&strange(n)).await, Reason::KeyUnknown);
        }
        assert_eq!(bench.idp.fetches().jwks, 3 + minute);
    }
    // However long it was quiet, there are never more than two at once.
    tokio::time::advance(MINUTE * 600).await;
    for n in 0..100 {
        assert_eq!(bench.reason(&strange(n)).await, Reason::KeyUnknown);
    }
    assert_eq!(bench.idp.fetches().jwks, 10);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_does_not_end_the_fetch() {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let slow = idp.clone();
    let fetch = move |uri: http::Uri| {
        let answer = slow.document(&uri.to_string()).map(Bytes::from).ok_or_else(|| FetchError::new("down"));
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            answer
        }
    };
    let verifier = Verifier::builder().clock(clock).fetch(fetch).issuer(config()).build().unwrap();
    let gone = verifier.verify(Bearer::new(idp.token().sign()));
    assert!(tokio::time::timeout(Duration::from_secs(1), gone).await.is_err());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(verifier.issuers()[0].ready);
    assert_eq!(idp.fetches().jwks, 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_the_start_is_not_ready_and_gets_ready() {
    let bench = Bench::new();
    bench.idp.set_down(true);
    let fresh = tokio::spawn(bench.verifier.keep_fresh());
    settle().await;
    let token = bench.idp.token().sign();
    let rejection = bench.verify(&token).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::IssuerNotReady);
    let refusal = rejection.into_refusal();
    assert_eq!((refusal.status.as_u16(), refusal.code, refusal.challenge), (503, "issuer_not_ready", None));
    assert!(refusal.retry_after.is_some());
    let state = &bench.verifier.issuers()[0];
    assert!(!state.ready && state.last_error.as_deref().unwrap().contains("down"), "{state:?}");
    // Everybody who asks meanwhile shares the few attempts.
    for _ in 0..100 {
        assert_eq!(bench.reason(&token).await, Reason::IssuerNotReady);
    }
    assert!(bench.idp.fetches().discovery <= 2, "{:?}", bench.idp.fetches());

    bench.idp.set_down(false);
    tokio::time::sleep(MINUTE * 2).await;
    assert!(bench.verify(&token).await.is_ok());
    let state = &bench.verifier.issuers()[0];
    assert!(state.ready && state.keys == 1 && state.last_error.is_none(), "{state:?}");
    fresh.abort();
}

#[tokio::test(start_paused = true)]
async fn the_last_good_keys_serve_for_a_day() {
    let bench = Bench::new();
    let fresh = tokio::spawn(bench.verifier.keep_fresh());
    settle().await;
    bench.idp.set_down(true);
    tokio::time::sleep(MINUTE * 60 * 23).await;
    assert!(bench.verify(&bench.idp.token().sign()).await.is_ok());
    let state = &bench.verifier.issuers()[0];
    assert!(state.ready && state.last_error.is_some() && state.age.unwrap() >= MINUTE * 60 * 22, "{state:?}");
    tokio::time::sleep(MINUTE * 61).await;
    // Remembered tokens end with the keys.
    assert_eq!(bench.reason(&bench.idp.token().sign()).await, Reason::IssuerNotReady);
    assert!(!bench.verifier.issuers()[0].ready);
    fresh.abort();
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_every_quarter_of_an_hour() {
    let bench = Bench::new();
    let fresh = tokio::spawn(bench.verifier.keep_fresh());
    tokio::time::sleep(MINUTE * 60 * 10).await;
    let fetches = bench.idp.fetches().jwks;
    // 40 in ten hours, give or take the jitter of a tenth.
    assert!((36..=46).contains(&fetches), "{fetches}");
    fresh.abort();
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_answers_costs_three_seconds() {
    let fetch = |_: http::Uri| std::future::pending::<Result<Bytes, FetchError>>();
    let verifier = Verifier::builder().fetch(fetch).issuer(config()).build().unwrap();
    let idp = DevIdp::offline(URL, Arc::new(crewgate_core::SystemClock));
    let start = tokio::time::Instant::now();
    let rejection = verifier.verify(Bearer::new(idp.token().sign())).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::IssuerNotReady);
    assert_eq!(start.elapsed().as_secs(), 3);
    assert!(verifier.issuers()[0].last_error.as_deref().unwrap().contains("no answer within 3 s"));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_does_not_leave_anybody_waiting() {
    let count = Count::default();
    let counted = count.clone();
    let fetch = move |_: http::Uri| {
        counted.up();
        async { panic!("a fetch with a defect") }
    };
    let verifier = Verifier::builder().fetch(fetch).issuer(config()).build().unwrap();
    let token = DevIdp::offline(URL, Arc::new(crewgate_core::SystemClock)).token().sign();
    for _ in 0..3 {
        let rejection = verifier.verify(Bearer::new(token.clone())).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::IssuerNotReady);
        tokio::time::advance(MINUTE).await;
    }
    assert_eq!(count.now(), 3);
}

#[tokio::test(start_paused = true)]
async fn discovery_must_be_the_issuers_own_and_point_where_we_may_go() {
    for (document, error) in [
        (r#"{"issuer":"https://idp.test/","jwks_uri":"https://idp.test/jwks"}"#, "to the letter"),
        (r#"{"issuer":"https://evil.test","jwks_uri":"https://idp.test/jwks"}"#, "to the letter"),
        (r#"{"jwks_uri":"https://idp.test/jwks"}"#, "no issuer"),
        (r#"{"issuer":"https://idp.test"}"#, "no jwks_uri"),
        (r#"{"issuer":"https://idp.test","jwks_uri":"http://idp.test/jwks"}"#, "plain http"),
        (r#"{"issuer":"https://idp.test","jwks_uri":"http://127.0.0.1:8500/v1/kv"}"#, "another host"),
        (r#"{"issuer":"https://idp.test","jwks_uri":"file:///etc/passwd"}"#, "another host"),
        (
            r#"{"issuer":"https://idp.test","issuer":"https://idp.test","jwks_uri":"https://idp.test/jwks"}"#,
            "duplicate",
        ),
        (r#"{"issuer":"https://idp.test","jwks_uri":"https://idp.test/jwks"}"#, "no usable key"),
        ("<html>", "not JSON"),
    ] {
        let fetch = move |uri: http::Uri| async move {
            let jwks = uri.path() == "/jwks";
            Ok::<_, FetchError>(Bytes::from_static(if jwks { b"{\"keys\":[]}" } else { document.as_bytes() }))
        };
        let verifier = Verifier::builder().fetch(fetch).issuer(config()).build().unwrap();
        let token = DevIdp::offline(URL, Arc::new(crewgate_core::SystemClock)).token().sign();
        let rejection = verifier.verify(Bearer::new(token)).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::IssuerNotReady);
        assert!(rejection.found().unwrap().contains(error), "{error}: {rejection:?}");
        assert!(!rejection.to_string().contains("idp.test"), "an operator's matter: {rejection}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_jwks_uri_needs_no_discovery() {
    let bench = Bench::with(|config| config.jwks_uri(format!("{URL}/jwks")));
    assert!(bench.verify(&bench.idp.token().sign()).await.is_ok());
    assert_eq!((bench.idp.fetches().discovery, bench.idp.fetches().jwks), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_bounded_and_ends_with_the_token() {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let verifier = builder(&idp, &clock).cached_tokens(20).issuer(config()).build().unwrap();
    let first = idp.token().subject("first").sign();
    for n in 0..200 {
        assert!(verifier.verify(Bearer::new(first.clone())).await.is_ok());
        assert!(verifier.verify(Bearer::new(idp.token().subject(&n.to_string()).sign())).await.is_ok());
        assert!(verifier.cached_tokens() <= 20);
    }
    assert!(verifier.cached_tokens() >= 10);
    clock.advance(Duration::from_secs(331));
    let rejection = verifier.verify(Bearer::new(first)).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::Expired);
    let none = builder(&idp, &clock).cached_tokens(0).issuer(config()).build().unwrap();
    assert!(none.verify(Bearer::new(idp.token().sign())).await.is_ok());
    assert_eq!(none.cached_tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_remembered() {
    let bench = Bench::new();
    assert_eq!(bench.reason(&bench.idp.token().audience("x").sign()).await, Reason::Audience);
    assert_eq!(bench.verifier.cached_tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_remembered_token_survives_a_renewal_that_keeps_its_key() {
    let bench = Bench::new();
    let token = bench.idp.token().sign();
    assert!(bench.verify(&token).await.is_ok());
    let _ = bench.idp.add_key(crewgate_testkit::KeyKind::EdDsa);
    assert!(bench.verify(&bench.idp.token().sign()).await.is_ok());
    assert_eq!(bench.verifier.issuers()[0].keys, 2);
    assert!(bench.verify(&token).await.is_ok());
    assert_eq!(bench.verifier.cached_tokens(), 2);
}

#[test]
fn a_verifier_that_cannot_be_right_is_not_built() {
    let build = |issuers: &[IssuerConfig]| {
        issuers.iter().cloned().fold(Verifier::builder(), |builder, issuer| builder.issuer(issuer)).build()
    };
    assert!(build(&[config()]).is_ok());
    assert!(build(&[]).unwrap_err().to_string().contains("no issuer"));
    assert!(build(&[config(), config()]).unwrap_err().to_string().contains("name is used twice"));
    let same_url = IssuerConfig::new("again", URL, ["crewgate"]).unwrap();
    assert!(build(&[config(), same_url]).unwrap_err().to_string().contains("URL is used twice"));
    assert!(build(&[config().jwks_uri("http://elsewhere.test/jwks")]).is_err());
}

/// Answers like a provider with entity tags, and remembers whether it was asked with one.
#[derive(Clone)]
struct Tagged {
    idp: DevIdp,
    max_age: Option<Duration>,
    full: Count,
    unchanged: Count,
}

impl Fetch for Tagged {
    fn fetch(&self, uri: Uri, known: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let body = self.idp.document(&uri.to_string()).map(Bytes::from);
        let own = self.clone();
        Box::pin(async move {
            let body = body.ok_or_else(|| FetchError::new("down"))?;
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            let tag = Some(format!("\"{:x}\"", hasher.finish()));
            if known.is_some() && known == tag {
                own.unchanged.up();
                return Ok(Fetched { body: None, tag: None, max_age: own.max_age });
            }
            own.full.up();
            Ok(Fetched { body: Some(body), tag, max_age: own.max_age })
        })
    }
}

fn tagged(max_age: Option<Duration>) -> (Tagged, Verifier) {
    tagged_as(max_age, config())
}

fn tagged_as(max_age: Option<Duration>, config: IssuerConfig) -> (Tagged, Verifier) {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let fetch = Tagged { idp, max_age, full: Count::default(), unchanged: Count::default() };
    let verifier = Verifier::builder().clock(clock).fetch(fetch.clone()).issuer(config).build().unwrap();
    (fetch, verifier)
}

#[tokio::test(start_paused = true)]
async fn unchanged_keys_are_not_sent_again_and_stay_good() {
    let (fetch, verifier) = tagged(None);
    let fresh = tokio::spawn(verifier.keep_fresh());
    tokio::time::sleep(40 * MINUTE).await;
    // Discovery is asked for whole each time; the keys only once.
    assert_eq!((fetch.full.now(), fetch.unchanged.now()), (4, 2), "at 0, 15 and 30 minutes");
    let state = verifier.issuers().remove(0);
    assert!(state.ready && state.age.unwrap() < 15 * MINUTE, "{state:?}");
    assert!(verifier.verify(Bearer::new(fetch.idp.token().sign())).await.is_ok());
    fresh.abort();
}

#[tokio::test(start_paused = true)]
async fn the_issuers_word_on_caching_counts_within_bounds_and_settings_above_it() {
    let hour = 60 * MINUTE;
    for (said, set, fetches) in [
        // Ten per cent of jitter: counted at times that are far from every border.
        (Some(Duration::ZERO), None, 1 + 16),
        (Some(24 * hour), None, 1 + 1),
        (Some(30 * MINUTE), None, 1 + 2),
        (None, None, 1 + 5),
        (Some(Duration::ZERO), Some(30 * MINUTE), 1 + 2),
    ] {
        let config = set.map_or_else(config, |period| config().refresh_every(period));
        let (fetch, verifier) = tagged_as(said, config);
        let fresh = tokio::spawn(verifier.keep_fresh());
        tokio::time::sleep(82 * MINUTE + MINUTE / 2).await;
        fresh.abort();
        let seen = fetch.full.now() - fetch.unchanged.now() - 1;
        let asked = fetch.unchanged.now() + 1;
        assert!(asked.abs_diff(fetches) <= 1 && seen <= asked, "{said:?} {set:?}: {asked}, not {fetches}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_id_asked_for_in_vain_is_remembered_and_leaves_the_fetches_to_others() {
    let (fetch, verifier) = tagged(None);
    assert!(verifier.verify(Bearer::new(fetch.idp.token().sign())).await.is_ok());
    let before = fetch.full.now() + fetch.unchanged.now();
    let wrong = fetch.idp.token().sign_with_unknown_kid();
    for _ in 0..10 {
        assert_eq!(
            verifier.verify(Bearer::new(wrong.clone())).await.unwrap_err().reason(),
            Reason::KeyUnknown
        );
    }
    // One fetch: discovery and keys. The second of the burst is still there for a real rotation.
    assert_eq!(fetch.full.now() + fetch.unchanged.now() - before, 2);
    fetch.idp.rotate();
    assert!(verifier.verify(Bearer::new(fetch.idp.token().sign())).await.is_ok());
    // Not for ever: it may be published later.
    tokio::time::advance(2 * MINUTE).await;
    let before = fetch.full.now();
    let _ = verifier.verify(Bearer::new(wrong)).await;
    assert_eq!(fetch.full.now() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn discovery_cannot_send_us_to_another_host_unless_told_so() {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let elsewhere = "https://keys.test/jwks";
    let fetch = {
        let idp = idp.clone();
        move |uri: Uri| {
            let asked = uri.to_string().replace(elsewhere, &format!("{URL}/jwks"));
            let page = idp.document(&asked).map(|page| page.replace(&format!("{URL}/jwks"), elsewhere));
            async move { page.map(Bytes::from).ok_or_else(|| FetchError::new("down")) }
        }
    };
    let build = |config| {
        Verifier::builder().clock(clock.clone()).fetch(fetch.clone()).issuer(config).build().unwrap()
    };
    let token = || Bearer::new(idp.token().sign());
    let refused = build(config()).verify(token()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::IssuerNotReady);
    assert!(refused.found().unwrap().contains("another host"), "{refused:?}");
    assert!(build(config().jwks_uri(elsewhere)).verify(token()).await.is_ok());
}
