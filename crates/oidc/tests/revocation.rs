//! Tokens that are refused before they expire, at the next request and for no longer than needed.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crewgate_core::{Clock, Fact, PrincipalKey, RevokedTokens, Timestamp};
use crewgate_oidc::{
    IssuerConfig, Lift, MemoryRevocations, REVOCATION_POLL, Reason, Revocable, Revocation, RevocationStore,
    Revocations, RevokeError, STALE, StoreError, Verifier,
};
use crewgate_testkit::suites::{self, revocation::subject};
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use support::{Bench, URL, builder};

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_a_revocation_store() {
    suites::revocation::conforms(async || Arc::new(MemoryRevocations::new()) as Arc<_>).await;
}

/// A store that can be out of reach.
#[derive(Clone, Default)]
struct Shaky {
    rows: Arc<MemoryRevocations>,
    down: Arc<AtomicBool>,
}

impl Shaky {
    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

impl RevocationStore for Shaky {
    fn revoke(&self, new: Revocation) -> BoxFuture<'_, Result<Revocation, RevokeError>> {
        self.rows.revoke(new)
    }

    fn lift(&self, lift: Lift) -> BoxFuture<'_, Result<(), RevokeError>> {
        self.rows.lift(lift)
    }

    fn version(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        if self.down.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("down".to_owned())) });
        }
        self.rows.version()
    }

    fn standing(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        self.rows.standing(now)
    }
}

/// Two replicas over one store.
struct Two {
    bench: Bench,
    store: Shaky,
    here: Revocations,
    there: Verifier,
    far: Revocations,
}

impl Two {
    async fn new() -> Self {
        let store = Shaky::default();
        let bench = Bench::new();
        let config = || IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
        let revocations =
            || Revocations::new(Arc::new(store.clone()), Arc::new(bench.clock.clone()), [&config()]);
        let (here, far) = (revocations(), revocations());
        let verifier = |revocations: &Revocations| {
            let builder = builder(&bench.idp, &bench.clock).issuer(config());
            builder.revocations(revocations.clone()).build().unwrap()
        };
        let (mine, there) = (verifier(&here), verifier(&far));
        here.refresh().await.unwrap();
        far.refresh().await.unwrap();
        let bench = Bench { verifier: mine, ..bench };
        Self { bench, store, here, there, far }
    }

    async fn revoke(&self, tokens: RevokedTokens) {
        self.here.revoke(tokens, None, Some(PrincipalKey::new("dev", "sue")), None).await.unwrap();
    }

    async fn there(&self, token: &str) -> Result<(), Reason> {
        use crewgate_oidc::{Bearer, VerifyToken};
        self.there.verify(Bearer::new(token)).await.map(|_| ()).map_err(|rejection| rejection.reason())
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_hits_what_it_means_and_a_fresh_token_is_let_in() {
    let (issuer, id) = ("dev".to_owned(), "AT.1".to_owned());
    let kinds = [
        (RevokedTokens::Subject { principal: PrincipalKey::new("dev", "alice") }, Reason::SubjectRevoked),
        (RevokedTokens::Client { issuer: issuer.clone(), client: "cli".to_owned() }, Reason::ClientRevoked),
        (RevokedTokens::Issuer { issuer: issuer.clone() }, Reason::IssuerRevoked),
        (RevokedTokens::Token { issuer, id }, Reason::TokenRevoked),
    ];
    for (tokens, reason) in kinds {
        let two = Two::new().await;
        let token = |id: &str| two.bench.idp.token().client("cli").claim("jti", id).sign();
        let (old, other) = (token("AT.1"), two.bench.idp.token().subject("bob").client("web").sign());
        assert!(two.bench.verify(&old).await.is_ok() && two.bench.verify(&other).await.is_ok());
        two.revoke(tokens.clone()).await;
        // Remembered or not, at the next request.
        assert_eq!(two.bench.reason(&old).await, reason);
        assert_eq!(two.bench.verify(&other).await.is_ok(), reason != Reason::IssuerRevoked, "{tokens}");
        let explained = two.bench.verifier.explain(&crewgate_oidc::Bearer::new(old.as_str())).await;
        assert_eq!(explained.failed.unwrap().code, reason.code());
        // As soon as the clocks' difference cannot make an old one look young.
        two.bench.clock.advance(Duration::from_secs(31));
        assert!(two.bench.verify(&token("AT.2")).await.is_ok(), "{tokens}");
        assert_eq!(two.bench.reason(&old).await, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn another_replica_knows_within_a_second() {
    let two = Two::new().await;
    let token = two.bench.idp.token().sign();
    assert_eq!(two.there(&token).await, Ok(()));
    let watch = tokio::spawn(two.far.clone().keep_fresh());
    tokio::time::sleep(Duration::from_millis(10)).await;
    two.revoke(subject_of("alice")).await;
    tokio::time::sleep(REVOCATION_POLL).await;
    assert!(REVOCATION_POLL < Duration::from_secs(1));
    assert_eq!(two.there(&token).await, Err(Reason::SubjectRevoked));
    two.here.lift(subject_of("alice"), PrincipalKey::new("dev", "sue"), None).await.unwrap();
    assert!(two.bench.verify(&token).await.is_ok());
    tokio::time::sleep(REVOCATION_POLL).await;
    assert_eq!(two.there(&token).await, Ok(()));
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn who_cannot_know_refuses_everybody() {
    let two = Two::new().await;
    let token = two.bench.idp.token().sign();
    // Never read: nobody.
    let config = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
    let blind = Revocations::new(Arc::new(two.store.clone()), Arc::new(two.bench.clock.clone()), [&config]);
    let principal = two.bench.verify(&token).await.unwrap();
    let refused = blind.check(&Revocable::of(&principal)).unwrap_err();
    assert_eq!((refused.reason(), refused.reason().status().as_u16()), (Reason::RevocationsUnknown, 503));
    // Read and then no more: for a while.
    let watch = tokio::spawn(two.far.clone().keep_fresh());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(two.there(&token).await, Ok(()));
    two.store.set_down(true);
    tokio::time::sleep(STALE - 2 * REVOCATION_POLL).await;
    assert_eq!(two.there(&token).await, Ok(()));
    tokio::time::sleep(3 * REVOCATION_POLL).await;
    assert_eq!(two.there(&token).await, Err(Reason::RevocationsUnknown));
    two.store.set_down(false);
    tokio::time::sleep(2 * REVOCATION_POLL).await;
    assert_eq!(two.there(&token).await, Ok(()));
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_when_every_token_it_could_hit_has() {
    let two = Two::new().await;
    let long = two.bench.idp.token().lifetime(Duration::from_secs(3600)).sign();
    two.revoke(subject_of("alice")).await;
    let row = two.here.standing().await.unwrap().pop().unwrap();
    // The longest life of the issuer's tokens, and twice the difference of clocks.
    assert_eq!(row.until.since(two.bench.clock.now()), Duration::from_secs(3600 + 60));
    two.bench.clock.set(row.until.saturating_sub(Duration::from_secs(1)));
    assert_eq!(two.bench.reason(&long).await, Reason::Expired);
    two.bench.clock.set(row.until);
    assert_eq!(two.here.standing().await.unwrap(), []);
    let unknown =
        two.here.revoke(RevokedTokens::Issuer { issuer: "okta".to_owned() }, None, None, None).await;
    assert_eq!(unknown, Err(RevokeError::IssuerUnknown));
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (sink, closed) = (Arc::clone(&told), Arc::new(AtomicBool::new(false)));
    let full = Arc::clone(&closed);
    let store = MemoryRevocations::new().record(move |facts| {
        if full.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("full".to_owned()));
        }
        sink.lock().unwrap().extend(facts.to_vec());
        Ok(())
    });
    let new = suites::revocation::revocation(subject("ana"), 0);
    store.revoke(new.clone()).await.unwrap();
    assert!(
        matches!(&told.lock().unwrap()[..], [Fact::Control { by: Some(_), what }, Fact::Revocation { .. }] if what == "revocation.add")
    );
    closed.store(true, Ordering::SeqCst);
    assert!(store.revoke(suites::revocation::revocation(subject("bob"), 0)).await.is_err());
    let lift =
        Lift { tokens: subject("ana"), at: new.at, by: PrincipalKey::new("okta", "sue"), reason: None };
    assert!(store.lift(lift).await.is_err());
    assert_eq!(store.standing(new.at).await.unwrap(), [new]);
}

fn subject_of(subject: &str) -> RevokedTokens {
    RevokedTokens::Subject { principal: PrincipalKey::new("dev", subject) }
}

proptest! {
    /// Whatever the instants: no token that was accepted when its subject was revoked is ever accepted again.
    #[test]
    fn no_token_that_counted_when_it_was_revoked_ever_counts_again(
        issued in 0_u64..7200, life in 1_u64..4000, revoked in 0_u64..7200, tried in 0_u64..9000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let two = Two::new().await;
            let start = two.bench.clock.now();
            let at = |secs: u64| start.saturating_add(Duration::from_secs(secs));
            let token = two.bench.idp.token().issued_at(at(issued)).lifetime(Duration::from_secs(life)).sign();
            two.bench.clock.set(at(revoked));
            let counted = two.bench.verify(&token).await.is_ok();
            two.revoke(subject_of("alice")).await;
            two.bench.clock.set(at(revoked.max(tried)));
            let counts = two.bench.verify(&token).await.is_ok();
            prop_assert!(!(counted && counts));
            // And one that was issued well after it is not touched.
            let fresh = two.bench.idp.token().issued_at(two.bench.clock.now()).sign();
            let late = revoked.max(tried) > revoked + 30;
            prop_assert!(!late || two.bench.verify(&fresh).await.is_ok());
            Ok(())
        })?;
    }
}
