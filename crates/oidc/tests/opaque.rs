//! Tokens only their issuer can read: what it says of them is believed as far as it is well said, and for a minute.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use crewgate_core::{Clock, Principal, PrincipalKey, PrincipalKind, RevokedTokens};
use crewgate_oidc::{
    Bearer, Fetch, FetchError, Fetched, Form, Introspection, IssuerConfig, MAX_INTROSPECTIONS,
    MemoryRevocations, Posted, Reason, Rejection, Revocations, Verifier, VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock};
use futures_util::future::BoxFuture;
use http::Uri;
use serde_json::{Value, json};
use support::{Count, URL};

const ENDPOINT: &str = "https://idp.test/introspect";

/// An issuer that is asked, and what it answers next.
#[derive(Clone)]
struct Desk {
    idp: DevIdp,
    answer: Arc<Mutex<(String, String)>>,
    asked: Count,
    last: Arc<Mutex<Option<Form>>>,
    slow: Arc<Mutex<Option<Duration>>>,
}

impl Fetch for Desk {
    fn fetch(&self, uri: Uri, _: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let body =
            self.idp.document(&uri.to_string()).map(Bytes::from).ok_or_else(|| FetchError::new("down"));
        Box::pin(async move { body.map(Fetched::from) })
    }

    fn post(&self, uri: Uri, form: Form) -> BoxFuture<'_, Result<Posted, FetchError>> {
        assert_eq!(uri, ENDPOINT);
        self.asked.up();
        *self.last.lock().unwrap() = Some(form);
        let (content_type, body) = self.answer.lock().unwrap().clone();
        let slow = *self.slow.lock().unwrap();
        Box::pin(async move {
            if let Some(time) = slow {
                tokio::time::sleep(time).await;
            }
            Ok(Posted { content_type, body: body.into() })
        })
    }
}

struct House {
    desk: Desk,
    clock: ManualClock,
    verifier: Verifier,
    revocations: Option<Revocations>,
}

fn house() -> House {
    house_as(Introspection::new(ENDPOINT, "crew:gate", "s3cr+t"))
}

fn house_as(settings: Introspection) -> House {
    house_of(settings, None)
}

fn house_of(settings: Introspection, revocations: Option<Arc<MemoryRevocations>>) -> House {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let desk = Desk {
        idp,
        answer: Arc::default(),
        asked: Count::default(),
        last: Arc::default(),
        slow: Arc::default(),
    };
    let config = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap().introspection(settings);
    let revocations = revocations.map(|rows| Revocations::new(rows, Arc::new(clock.clone()), [&config]));
    let mut builder = Verifier::builder().clock(clock.clone()).fetch(desk.clone()).issuer(config);
    if let Some(revocations) = &revocations {
        builder = builder.revocations(revocations.clone());
    }
    let verifier = builder.build().unwrap();
    House { desk, clock, verifier, revocations }
}

impl House {
    fn says(&self, changes: Value) {
        let now = self.clock.now().as_secs();
        let mut answer = json!({ "active": true, "sub": "alice", "aud": "crewgate", "iss": URL, "iat": now,
            "exp": now + 600, "client_id": "cli", "groups": ["analysts"], "scope": "run" });
        answer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.answers("application/json; charset=utf-8", answer.to_string());
    }

    fn answers(&self, kind: &str, body: impl Into<String>) {
        *self.desk.answer.lock().unwrap() = (kind.to_owned(), body.into());
    }

    async fn verify(&self, token: &str) -> Result<Principal, Rejection> {
        self.verifier.verify(Bearer::new(token)).await
    }

    async fn reason(&self, token: &str) -> Reason {
        self.verify(token).await.unwrap_err().reason()
    }
}

#[tokio::test(start_paused = true)]
async fn an_active_token_names_its_principal_for_a_minute() {
    let house = house();
    house.says(json!({}));
    let alice = house.verify("opaque/1+2").await.unwrap();
    assert_eq!((alice.key.subject.as_str(), alice.kind), ("alice", PrincipalKind::User));
    assert_eq!(alice.groups.len(), 1);
    let form = house.desk.last.lock().unwrap().clone().unwrap();
    assert_eq!(form.body, "token=opaque%2F1%2B2&token_type_hint=access_token");
    // RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
    let authorization = form.authorization.unwrap();
    assert_eq!(authorization, "Basic Y3JldyUzQWdhdGU6czNjciUyQnQ=");
    assert!(authorization.is_sensitive());

    house.verify("opaque/1+2").await.unwrap();
    assert_eq!(house.desk.asked.now(), 1, "remembered");
    house.says(json!({ "active": false }));
    house.clock.advance(Duration::from_secs(59));
    house.verify("opaque/1+2").await.unwrap();
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(house.reason("opaque/1+2").await, Reason::Inactive);
    assert_eq!(house.reason("opaque/1+2").await, Reason::Inactive);
    assert_eq!(house.desk.asked.now(), 2, "that is remembered too, for ten seconds");
    house.clock.advance(Duration::from_secs(10));
    house.says(json!({}));
    house.verify("opaque/1+2").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_is_never_remembered_beyond_its_own_end() {
    let house = house();
    let now = house.clock.now().as_secs();
    house.says(json!({ "exp": now + 5 }));
    house.verify("opaque").await.unwrap();
    house.says(json!({ "exp": now + 5 }));
    house.clock.advance(Duration::from_secs(40));
    assert_eq!(house.reason("opaque").await, Reason::Expired);
    assert_eq!(house.desk.asked.now(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_active_token_must_be_for_us_and_end() {
    let house = house();
    let now = house.clock.now().as_secs();
    for (n, (changes, reason)) in [
        (json!({ "aud": "another" }), Reason::Audience),
        (json!({ "aud": null }), Reason::Claims),
        (json!({ "exp": null }), Reason::Claims),
        (json!({ "exp": now - 60, "iat": now - 120 }), Reason::Expired),
        (json!({ "exp": now + 86400 }), Reason::Lifetime),
        (json!({ "sub": null, "client_id": null }), Reason::Claims),
        (json!({ "cnf": { "jkt": "x" } }), Reason::Bound),
        (json!({ "iss": "https://another.test" }), Reason::IssuerNotReady),
        (json!({ "active": "true" }), Reason::IssuerNotReady),
        (json!({ "active": null }), Reason::IssuerNotReady),
    ]
    .into_iter()
    .enumerate()
    {
        house.says(changes.clone());
        assert_eq!(house.reason(&format!("opaque-{n}")).await, reason, "{changes}");
    }
    house.says(json!({ "sub": null, "iat": null, "iss": null }));
    let job = house.verify("a-program").await.unwrap();
    assert_eq!((job.key.subject.as_str(), job.kind), ("cli", PrincipalKind::Service));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_not_believed() {
    let house = house();
    for (kind, body) in [
        ("text/html", "<html>"),
        ("application/json", "{\"active\":true,\"active\":false}"),
        ("application/json", "[]"),
        ("", ""),
        ("application/token-introspection+jwt", "a.b.c"),
    ] {
        house.answers(kind, body);
        assert_eq!(house.reason("opaque").await, Reason::IssuerNotReady, "{kind} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signed_answer_must_be_the_issuers_and_for_us() {
    let house = house_as(Introspection::new(ENDPOINT, "gate", "s").signed());
    let now = house.clock.now().as_secs();
    let inner = json!({ "active": true, "sub": "alice", "aud": "crewgate", "exp": now + 600 });
    let sign = |change: &dyn Fn(crewgate_testkit::TokenBuilder) -> crewgate_testkit::TokenBuilder| {
        let token = house.desk.idp.token().audience("gate").header("typ", "token-introspection+jwt");
        change(token.claim("token_introspection", inner.clone())).sign()
    };
    let signed = "application/token-introspection+jwt";
    house.answers(signed, sign(&|token| token));
    house.verify("opaque").await.unwrap();
    // A new key signs answers as it signs tokens.
    house.desk.idp.rotate();
    house.answers(signed, sign(&|token| token));
    house.verify("opaque-1").await.unwrap();
    let stranger = DevIdp::offline(URL, Arc::new(house.clock.clone()));
    for body in [
        sign(&|token| token.audience("another")),
        sign(&|token| token.issuer("https://another.test")),
        sign(&|token| token.header("typ", "at+jwt")),
        sign(&|token| token.without("token_introspection")),
        sign(&|token| token.without("iat")),
        sign(&|token| token.claim("iat", now - 61)),
        sign(&|token| token.claim("iat", now + 61)),
        sign(&|token| token.claim("iat", i64::MIN)),
        stranger.token().audience("gate").header("typ", "token-introspection+jwt").sign(),
        house.desk.idp.token().audience("gate").sign_none(),
    ] {
        house.answers(signed, body);
        assert_eq!(house.reason("opaque-2").await, Reason::IssuerNotReady);
    }
    house.says(json!({}));
    assert_eq!(house.reason("opaque-3").await, Reason::IssuerNotReady, "plain, where signed is demanded");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_is_not_drowned_in_questions_and_not_waited_for() {
    let house = house();
    house.says(json!({}));
    *house.desk.slow.lock().unwrap() = Some(Duration::from_secs(60));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..MAX_INTROSPECTIONS + 10 {
        let verifier = house.verifier.clone();
        calls.spawn(async move { verifier.verify(Bearer::new(format!("stranger-{n}"))).await.unwrap_err() });
    }
    let refused = calls.join_all().await;
    assert!(refused.iter().all(|rejection| rejection.reason() == Reason::IssuerNotReady));
    assert_eq!(house.desk.asked.now(), u64::try_from(MAX_INTROSPECTIONS).unwrap());
}

#[tokio::test(start_paused = true)]
async fn only_tokens_with_an_issuers_prefix_are_put_to_it() {
    let house = house_as(Introspection::new(ENDPOINT, "gate", "s").prefix("dev_"));
    house.says(json!({}));
    house.verify("dev_1").await.unwrap();
    assert_eq!(house.reason("other_1").await, Reason::Malformed);
    assert_eq!(house.reason("a.b.c").await, Reason::Malformed, "three segments are a JWT");
    assert_eq!(house.desk.asked.now(), 1);
    let config = |name: &str, url: &str| {
        IssuerConfig::new(name, url, ["a"]).unwrap().introspection(Introspection::new(ENDPOINT, "x", "y"))
    };
    let two = Verifier::builder().issuer(config("a", URL)).issuer(config("b", "https://b.test")).build();
    assert!(two.unwrap_err().to_string().contains("prefix"));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_opaque_token_is_refused_and_one_of_unknown_age_counts_as_old() {
    let house = house_of(
        Introspection::new(ENDPOINT, "crew:gate", "s3cr+t"),
        Some(Arc::new(MemoryRevocations::new())),
    );
    let revocations = house.revocations.clone().unwrap();
    revocations.refresh().await.unwrap();
    let subject = |name: &str| RevokedTokens::Subject { principal: PrincipalKey::new("dev", name) };
    let revoke = async |tokens| {
        revocations.revoke(tokens, None, Some(PrincipalKey::new("dev", "sue")), None).await.unwrap()
    };
    house.says(json!({ "jti": "one" }));
    house.verify("remembered").await.unwrap();
    revoke(subject("alice")).await;
    assert_eq!(house.reason("remembered").await, Reason::SubjectRevoked, "though it was remembered");
    assert_eq!(house.reason("asked for now").await, Reason::SubjectRevoked);

    house.clock.advance(Duration::from_secs(31));
    revocations.refresh().await.unwrap();
    house.says(json!({ "jti": "two" }));
    house.verify("issued since").await.unwrap();
    // Its issuer does not say when it issued it: that may have been before.
    house.says(json!({ "jti": "three", "iat": null }));
    assert_eq!(house.reason("of no age").await, Reason::SubjectRevoked);

    house.says(json!({ "jti": "four", "sub": "bob" }));
    house.verify("bob's").await.unwrap();
    revoke(RevokedTokens::Token { issuer: "dev".to_owned(), id: "four".to_owned() }).await;
    assert_eq!(house.reason("bob's").await, Reason::TokenRevoked);
}

#[tokio::test]
async fn active_tokens_that_are_no_access_tokens_open_nothing() {
    let house = house();
    for kind in [
        json!({ "token_type": "refresh_token" }),
        json!({ "token_type": "N_A" }),
        json!({ "token_type": 1 }),
        json!({ "token_use": "refresh_token" }),
        json!({ "token_use": "id" }),
        json!({ "nonce": "n-0S6_WzA2Mj" }),
        json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" }),
    ] {
        house.says(kind.clone());
        let refused = house.verify(&format!("opaque-{kind}")).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Type, "{kind}");
    }
    for kind in ["Bearer", "bearer", "DPoP"] {
        house.says(json!({ "token_type": kind, "token_use": "access_token" }));
        assert!(house.verify(&format!("opaque-{kind}")).await.is_ok(), "{kind}");
    }
}
