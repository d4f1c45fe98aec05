//! The layer at the door: which credentials it takes, what it passes on, and what it answers.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use crewgate_core::{Fact, Layer as By, Principal, PrincipalKey, Refusal, RequestId, Trail};
use crewgate_oidc::{AuthenticateLayer, Bearer, Verifier};
use crewgate_testkit::{Answer, ReadyProbe};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use support::Bench;
use tower::{Layer, Service, ServiceExt};

type Probe = ReadyProbe<Answer<fn(Request<String>) -> Response<String>>>;
type Door = crewgate_oidc::Authenticate<Probe, Verifier>;
/// Header values, then status, code and RFC 6750 error of the answer.
type Case<'a> = (&'a [&'a str], StatusCode, &'a str, Option<Option<&'a str>>);

/// Answers with who was authenticated and whether a credential came through.
fn inner(request: Request<String>) -> Response<String> {
    let who = request.extensions().get::<Principal>().map(|principal| principal.key.to_string());
    let leaked = request.headers().contains_key(AUTHORIZATION);
    Response::new(format!("{} {leaked} {}", who.unwrap_or_default(), request.body()))
}

fn door(bench: &Bench) -> (Door, Probe) {
    let probe = ReadyProbe::new(inner as fn(Request<String>) -> Response<String>);
    (AuthenticateLayer::new(bench.verifier.clone()).layer(probe.clone()), probe)
}

fn request(values: &[&str]) -> Request<String> {
    let mut request = Request::new("body".to_owned());
    for value in values {
        request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_good_token_becomes_a_principal_and_goes_no_further() {
    let bench = Bench::new();
    let (door, _) = door(&bench);
    let token = bench.idp.token().sign();
    for scheme in ["Bearer ", "bearer ", "BEARER   "] {
        let answer = door.clone().oneshot(request(&[&format!("{scheme}{token}")])).await.unwrap();
        assert_eq!(answer.body(), "dev:alice false body");
    }
}

#[tokio::test]
async fn the_ready_instance_is_the_one_that_is_called() {
    let bench = Bench::new();
    let (mut door, probe) = door(&bench);
    let header = format!("Bearer {}", bench.idp.token().sign());
    // The probe panics when the clone is called instead.
    for _ in 0..3 {
        door.ready().await.unwrap().call(request(&[&header])).await.unwrap();
    }
    assert_eq!(probe.calls(), 3);
}

#[tokio::test]
async fn credentials_that_are_missing_doubled_or_of_another_scheme_are_refused() {
    let bench = Bench::new();
    let (door, probe) = door(&bench);
    let good = format!("Bearer {}", bench.idp.token().sign());
    let cases: [Case<'_>; 8] = [
        (&[], StatusCode::UNAUTHORIZED, "token_missing", Some(None)),
        (&[&good, &good], StatusCode::BAD_REQUEST, "token_repeated", None),
        (&[&good, "Basic x"], StatusCode::BAD_REQUEST, "token_repeated", None),
        (&["Basic YTpi"], StatusCode::UNAUTHORIZED, "token_scheme", Some(None)),
        (&["Bearer"], StatusCode::UNAUTHORIZED, "token_missing", Some(None)),
        (&["DPoP x"], StatusCode::UNAUTHORIZED, "token_scheme", Some(None)),
        (&["Bearer "], StatusCode::UNAUTHORIZED, "token_missing", Some(None)),
        (&["Bearer a, Bearer b"], StatusCode::UNAUTHORIZED, "token_malformed", Some(Some("invalid_token"))),
    ];
    for (values, status, code, challenge) in cases {
        let answer = door.clone().oneshot(request(values)).await.unwrap();
        let refusal = answer.extensions().get::<Refusal>().unwrap();
        assert_eq!((answer.status(), refusal.code, refusal.by), (status, code, By::Identity), "{values:?}");
        assert_eq!(refusal.challenge.as_ref().map(|challenge| challenge.error), challenge, "{values:?}");
        assert!(answer.body().is_empty());
    }
    assert_eq!(probe.calls(), 0);
}

#[tokio::test]
async fn a_token_in_the_query_is_refused_even_beside_a_good_header() {
    let bench = Bench::new();
    let (door, probe) = door(&bench);
    let token = bench.idp.token().sign();
    for query in [format!("access_token={token}"), "x=1&access_token=".to_owned(), "Access_Token".to_owned()]
    {
        let mut request = request(&[&format!("Bearer {token}")]);
        *request.uri_mut() = format!("/support/kickoff?{query}").parse().unwrap();
        let answer = door.clone().oneshot(request).await.unwrap();
        let refusal = answer.extensions().get::<Refusal>().unwrap();
        assert_eq!((refusal.status, refusal.code), (StatusCode::BAD_REQUEST, "token_in_query"));
        assert!(!refusal.detail.contains(&token));
    }
    assert_eq!(probe.calls(), 0);
    let mut harmless = request(&[&format!("Bearer {token}")]);
    *harmless.uri_mut() = "/x?my_access_token=1".parse().unwrap();
    assert_eq!(door.oneshot(harmless).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_principal_from_before_is_removed_whatever_happens() {
    let bench = Bench::new();
    let token = bench.idp.token().subject("root").sign();
    let before = bench.verify(&token).await.unwrap();
    let (door, probe) = door(&bench);
    let mut forged = request(&[]);
    forged.extensions_mut().insert(before.clone());
    assert_eq!(door.clone().oneshot(forged).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(probe.calls(), 0);
    let mut replaced = request(&[&format!("Bearer {}", bench.idp.token().subject("bob").sign())]);
    replaced.extensions_mut().insert(before);
    assert_eq!(door.oneshot(replaced).await.unwrap().body(), "dev:bob false body");
}

#[tokio::test]
async fn the_trail_says_who_and_nothing_that_opens_a_door() {
    let bench = Bench::new();
    let (door, _) = door(&bench);
    let token = bench.idp.token().client("cli").sign();
    let trail = Trail::new(RequestId::random());
    let mut request = request(&[&format!("Bearer {token}")]);
    request.extensions_mut().insert(trail.clone());
    door.oneshot(request).await.unwrap();
    let facts = trail.facts();
    let [Fact::Authenticated { principal, client, token: fingerprint, .. }] = facts.as_slice() else {
        panic!("{facts:?}")
    };
    assert_eq!(principal, &PrincipalKey::new("dev", "alice"));
    assert_eq!(client.as_deref(), Some("cli"));
    assert!(!token.contains(fingerprint.as_str()));
    let shown = format!("{facts:?}");
    assert!(token.split('.').all(|segment| !shown.contains(segment)), "{shown}");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_503_and_not_the_callers_fault() {
    let bench = Bench::new();
    bench.idp.set_down(true);
    let (door, probe) = door(&bench);
    let answer = door.oneshot(request(&[&format!("Bearer {}", bench.idp.token().sign())])).await.unwrap();
    let refusal = answer.extensions().get::<Refusal>().unwrap();
    assert_eq!((answer.status(), refusal.code), (StatusCode::SERVICE_UNAVAILABLE, "issuer_not_ready"));
    assert_eq!((refusal.challenge.clone(), probe.calls()), (None, 0));
}

#[tokio::test]
async fn a_closure_is_a_verifier_too() {
    let bench = Bench::new();
    let alice = bench.verify(&bench.idp.token().sign()).await.unwrap();
    let check = move |token: Bearer| {
        let alice = alice.clone();
        async move {
            if token.as_str() == "letmein" { Ok(alice) } else { Err(crewgate_oidc::Reason::Signature.into()) }
        }
    };
    let door = AuthenticateLayer::new(check).layer(ReadyProbe::new(inner));
    let good = door.clone().oneshot(request(&["Bearer letmein"])).await.unwrap();
    assert_eq!(good.body(), "dev:alice false body");
    assert_eq!(door.oneshot(request(&["Bearer x"])).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
