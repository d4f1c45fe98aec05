//! Whose tokens are in use, and what they are like.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{sync::Arc, time::Duration};

use crewgate_core::{Clock, PrincipalKind};
use crewgate_oidc::{Bearer, IssuerConfig, MemoryInventory, SeenTokens, Sightings, VerifyToken};
use crewgate_testkit::{DevIdp, KeyKind, ManualClock, suites};
use support::{URL, builder};

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_an_inventory() {
    suites::inventory::conforms(async || Arc::new(MemoryInventory::default()) as Arc<_>).await;
}

#[tokio::test(start_paused = true)]
async fn every_use_is_seen_once_a_look_and_refused_tokens_never() {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let sightings = Sightings::default();
    let config = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
    let verifier = builder(&idp, &clock).issuer(config).sightings(sightings.clone()).build().unwrap();
    let start = clock.now();
    let use_it = async |token: &str| verifier.verify(Bearer::new(token)).await.is_ok();
    let take = || {
        let mut rows: Vec<SeenTokens> =
            sightings.take().into_iter().map(|seen| seen.holding(["analysts".to_owned()].into())).collect();
        rows.sort_by(|a, b| a.subject.cmp(&b.subject));
        rows
    };
    let (alice, robot) =
        (idp.token().client("cli").sign(), idp.token().subject("robot").client("robot").sign());
    assert!(use_it(&alice).await && use_it(&alice).await && use_it(&robot).await);
    assert!(!use_it(&idp.token().subject("eve").expired().sign()).await);
    let seen = take();
    assert_eq!(seen.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>(), ["alice", "robot"]);
    let first = SeenTokens {
        issuer: "dev".to_owned(),
        client: Some("cli".to_owned()),
        subject: "alice".to_owned(),
        kind: PrincipalKind::User,
        algorithm: Some("ES256".to_owned()),
        lifetime_secs: Some(300),
        sender_constrained: false,
        roles: ["analysts".to_owned()].into(),
        first: start,
        last: start,
    };
    assert_eq!(seen.first(), Some(&first));
    assert_eq!(take(), [], "nothing new");
    // A remembered token is seen again, one of another kind replaces what is known.
    clock.advance(Duration::from_secs(10));
    assert!(use_it(&alice).await);
    assert_eq!(take(), [SeenTokens { last: clock.now(), ..first.clone() }]);
    let kid = idp.add_key(KeyKind::EdDsa);
    tokio::time::advance(Duration::from_secs(61)).await;
    let other = idp.token().client("cli").key(&kid).lifetime(Duration::from_secs(60)).sign();
    assert!(use_it(&other).await);
    let changed = SeenTokens {
        algorithm: Some("EdDSA".to_owned()),
        lifetime_secs: Some(60),
        last: clock.now(),
        ..first
    };
    assert_eq!(take(), [changed]);
}
