//! Tokens of ours for those of others: whose they are, what is left of them, and when they end.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crewgate_core::{Clock, Exchanged, Fact, PrincipalKey, RevokedTokens, RoleName};
use crewgate_oidc::{
    Bearer, Exchange, IssuerConfig, MemoryRevocations, MemoryUsed, Minted, OWN_ISSUER, Reason, Rejection,
    Revocations, SigningKey, Verifier, VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock, suites};
use serde_json::{Value, json};
use support::{URL, builder};

const OWN: &str = "https://gate.test/oauth";

#[tokio::test(flavor = "multi_thread")]
async fn memory_remembers_used_ids() {
    suites::used::conforms(async || Arc::new(MemoryUsed::default()) as Arc<_>).await;
}

fn pem(der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der)).into_bytes()
}

fn p256() -> Vec<u8> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    pem(key.as_ref())
}

fn ed25519() -> Vec<u8> {
    pem(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref())
}

fn exchange(keys: &[&[u8]]) -> Exchange {
    let keys = keys.iter().map(|pem| SigningKey::from_pem(pem).unwrap()).collect();
    Exchange::new(OWN, "https://gate.test", keys).unwrap()
}

fn roles(names: &[&str]) -> BTreeSet<RoleName> {
    names.iter().map(|name| RoleName::new(*name)).collect()
}

struct Desk {
    idp: DevIdp,
    clock: ManualClock,
    exchange: Exchange,
    revocations: Revocations,
    verifier: Verifier,
}

impl Desk {
    async fn new(exchange: Exchange) -> Self {
        let clock = ManualClock::new();
        let handle: Arc<dyn Clock> = Arc::new(clock.clone());
        let idp = DevIdp::offline(URL, Arc::clone(&handle));
        let configs = [IssuerConfig::new("dev", URL, ["crewgate"]).unwrap(), exchange.issuer().unwrap()];
        let revocations = Revocations::new(Arc::new(MemoryRevocations::new()), handle, &configs);
        revocations.refresh().await.unwrap();
        let [config, _] = configs;
        let made = builder(&idp, &clock).issuer(config).revocations(revocations.clone());
        let verifier = made.exchange(&exchange).unwrap().build().unwrap();
        Self { idp, clock, exchange, revocations, verifier }
    }

    async fn mint(&self, token: &str, named: &[&str]) -> Result<Minted, Rejection> {
        let subject = self.verifier.subject_token(&Bearer::new(token)).await?;
        self.exchange.mint(&subject, roles(named), self.clock.now())
    }

    async fn reason(&self, token: &str) -> Option<Reason> {
        self.verifier.verify(Bearer::new(token)).await.err().map(|rejection| rejection.reason())
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_exchanged_token_is_its_subjects_and_counts_for_the_roles_it_names() {
    for key in [p256(), ed25519()] {
        let desk = Desk::new(exchange(&[&key])).await;
        let token = desk.idp.token().groups(["analysts"]).client("cli").claim("jti", "AT.1").sign();
        let own = desk.verifier.verify(Bearer::new(token.as_str())).await.unwrap();
        let minted = desk.mint(&token, &["reports", "summaries"]).await.unwrap();
        let principal = desk.verifier.verify(Bearer::new(minted.token.as_str())).await.unwrap();
        assert_eq!(
            (&principal.key, &principal.groups, &principal.client),
            (&own.key, &own.groups, &own.client)
        );
        assert_eq!(principal.token.issued, own.token.issued);
        let left = Exchanged { roles: roles(&["reports", "summaries"]) };
        assert_eq!(principal.token.exchanged, Some(left));
        assert_ne!(principal.token.fingerprint, own.token.fingerprint);
        let Fact::Exchanged { token, id, issued, issued_id, expires, .. } = &minted.fact else {
            panic!("{minted:?}")
        };
        assert_eq!((token, id.as_deref()), (&own.token.fingerprint, Some("AT.1")));
        assert_eq!(
            (claims(&minted.token)["jti"].as_str().unwrap(), minted.expires),
            (issued_id.as_str(), *expires)
        );
        assert_eq!(issued, &principal.token.fingerprint, "its calls are found by it");
        // It is a token like any other: it passes the same steps, and is not exchanged again for more.
        let explained = desk.verifier.explain(&Bearer::new(minted.token.as_str())).await;
        assert!(explained.is_accepted(), "{explained}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_lives_five_minutes_at_most_and_never_longer_than_what_it_was_made_of() {
    let desk = Desk::new(exchange(&[&p256()])).await;
    let secs = Duration::from_secs;
    for (life, expected) in [(3600, 300), (300, 300), (90, 90), (1, 1)] {
        let minted = desk.mint(&desk.idp.token().lifetime(secs(life)).sign(), &["reports"]).await.unwrap();
        assert_eq!(minted.expires.since(desk.clock.now()), secs(expected), "{life}");
    }
    let minted = desk.mint(&desk.idp.token().lifetime(secs(3600)).sign(), &["reports"]).await.unwrap();
    assert_eq!(desk.reason(&minted.token).await, None);
    desk.clock.advance(secs(302));
    assert_eq!(desk.reason(&minted.token).await, Some(Reason::Expired));
    // The skew that is forgiven to an issuer is not time left.
    let ending = desk.idp.token().lifetime(secs(10)).sign();
    desk.clock.advance(secs(10));
    assert_eq!(desk.mint(&ending, &["reports"]).await.unwrap_err().reason(), Reason::Expired);
    let short = exchange(&[&p256()]).lifetime(secs(60));
    let short = Desk::new(short).await;
    let minted = short.mint(&short.idp.token().sign(), &["reports"]).await.unwrap();
    assert_eq!(minted.expires.since(short.clock.now()), secs(60));
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_what_it_was_made_of_and_by_itself() {
    let (issuer, id) = ("dev".to_owned(), "AT.1".to_owned());
    let kinds = [
        RevokedTokens::Subject { principal: PrincipalKey::new("dev", "alice") },
        RevokedTokens::Client { issuer: issuer.clone(), client: "cli".to_owned() },
        RevokedTokens::Issuer { issuer: issuer.clone() },
        RevokedTokens::Token { issuer, id },
        RevokedTokens::Issuer { issuer: OWN_ISSUER.to_owned() },
    ];
    for tokens in kinds {
        let desk = Desk::new(exchange(&[&p256()])).await;
        let token = desk.idp.token().client("cli").claim("jti", "AT.1").sign();
        let minted = desk.mint(&token, &["reports"]).await.unwrap();
        assert_eq!(desk.reason(&minted.token).await, None);
        desk.revocations.revoke(tokens.clone(), None, None, None).await.unwrap();
        assert!(desk.reason(&minted.token).await.is_some(), "{tokens}");
        let own = tokens.issuer() == OWN_ISSUER;
        assert_eq!(desk.mint(&token, &["reports"]).await.is_ok(), own, "{tokens}");
    }
    let desk = Desk::new(exchange(&[&p256()])).await;
    let minted = desk.mint(&desk.idp.token().sign(), &["reports"]).await.unwrap();
    let id = claims(&minted.token)["jti"].as_str().unwrap().to_owned();
    let tokens = RevokedTokens::Token { issuer: OWN_ISSUER.to_owned(), id };
    desk.revocations.revoke(tokens, None, None, None).await.unwrap();
    assert_eq!(desk.reason(&minted.token).await, Some(Reason::TokenRevoked));
}

#[tokio::test(start_paused = true)]
async fn nobody_else_signs_such_a_token_and_none_is_made_of_what_proves_nothing() {
    let desk = Desk::new(exchange(&[&p256()])).await;
    let minted = desk.mint(&desk.idp.token().sign(), &["reports"]).await.unwrap();
    let stolen = claims(&minted.token);
    // Another issuer cannot say whose such a token is: the claim means nothing in its tokens.
    let origin = stolen["crewgate"].clone();
    let theirs = desk.idp.token().subject("bob").claim("crewgate", origin).claim("scope", "admin").sign();
    let principal = desk.verifier.verify(Bearer::new(theirs)).await.unwrap();
    assert_eq!((principal.key, principal.token.exchanged), (PrincipalKey::new("dev", "bob"), None));
    let forged = exchange(&[&p256()]);
    let forger = Desk::new(forged).await;
    let forged = forger.mint(&forger.idp.token().sign(), &["admin"]).await.unwrap();
    assert_eq!(desk.reason(&forged.token).await, Some(Reason::KeyUnknown));
    let bound =
        desk.idp.token().claim("cnf", json!({ "jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" }));
    assert_eq!(desk.mint(&bound.sign(), &["reports"]).await.unwrap_err().reason(), Reason::Bound);
    let config = IssuerConfig::new(OWN_ISSUER, "https://other.test", ["crewgate"]).unwrap();
    assert!(builder(&desk.idp, &desk.clock).issuer(config).build().is_err(), "the name is taken");
}

#[tokio::test(start_paused = true)]
async fn keys_rotate_with_an_overlap() {
    let (old, new) = (p256(), ed25519());
    let before = Desk::new(exchange(&[&old, &new])).await;
    let after = Desk::new(exchange(&[&new, &old])).await;
    let first = before.mint(&before.idp.token().sign(), &["reports"]).await.unwrap();
    let second = after.mint(&after.idp.token().sign(), &["reports"]).await.unwrap();
    for desk in [&before, &after] {
        assert_eq!(desk.reason(&first.token).await, None);
        assert_eq!(desk.reason(&second.token).await, None);
    }
    let last = Desk::new(exchange(&[&new])).await;
    assert_eq!(last.reason(&first.token).await, Some(Reason::KeyUnknown));
    let jwks: Value = serde_json::from_slice(&before.exchange.jwks()).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    assert!(!jwks.to_string().contains("\"d\""), "the private part stays here");
    for wrong in [&b"nonsense"[..], &pem(b"nonsense"), b""] {
        assert!(SigningKey::from_pem(wrong).is_err());
    }
    assert!(Exchange::new(OWN, "x", Vec::new()).is_err());
    let twice = [&new, &new].map(|pem| SigningKey::from_pem(pem).unwrap());
    assert!(Exchange::new(OWN, "x", twice.into()).is_err());
}

#[tokio::test(start_paused = true)]
async fn of_a_chain_of_actors_the_outermost_counts_and_all_are_kept() {
    let desk = Desk::new(exchange(&[&p256()])).await;
    let chain = json!({ "sub": "agent-2", "act": { "sub": "agent-1" } });
    let token = desk.idp.token().claim("act", chain.clone()).sign();
    let subject = desk.verifier.subject_token(&Bearer::new(token.as_str())).await.unwrap();
    let minted = desk.exchange.mint(&subject, roles(&["reports"]), desk.clock.now()).unwrap();
    let named = json!({ "sub": "dev:agent-2", "act": { "sub": "dev:agent-1" } });
    assert_eq!(claims(&minted.token)["act"], named);
    let actors = async |token: &str| {
        let actors = desk.verifier.verify(Bearer::new(token)).await.unwrap().token.actors;
        actors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(actors(&token).await, ["dev:agent-2", "dev:agent-1"], "of an issuer's own token too");
    assert_eq!(actors(&minted.token).await, ["dev:agent-2", "dev:agent-1"]);
    let robot = desk.verifier.verify(Bearer::new(desk.idp.token().subject("robot").sign())).await.unwrap();
    let minted =
        desk.exchange.mint(&subject.acted_for_by(&robot), roles(&["reports"]), desk.clock.now()).unwrap();
    assert_eq!(claims(&minted.token)["act"], json!({ "sub": "dev:robot", "act": named }));
    assert_eq!(actors(&minted.token).await, ["dev:robot", "dev:agent-2", "dev:agent-1"]);
    let elsewhere = json!({ "sub": "bob", "iss": "https://other.test" });
    let token = desk.idp.token().claim("act", elsewhere).sign();
    assert_eq!(actors(&token).await, ["https://other.test:bob"], "nobody of ours");
    let mut deep = json!({ "sub": "agent" });
    for _ in 0..8 {
        deep = json!({ "sub": "agent", "act": deep });
    }
    for wrong in
        [deep, json!("agent"), json!({ "iss": "x" }), json!({ "sub": 7 }), json!({ "sub": "x", "iss": 7 })]
    {
        let token = desk.idp.token().claim("act", wrong.clone()).sign();
        assert_eq!(desk.reason(&token).await, Some(Reason::Claims), "{wrong}");
    }
}
