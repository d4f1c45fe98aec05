//! The development identity provider, seen from outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Clock;
use crewgate_testkit::{DevIdp, Fetches, KeyKind, ManualClock};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn part(token: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

/// One request by hand: the test kit has no HTTP client, and this is all one needs.
async fn ask(idp: &DevIdp, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(idp.url().strip_prefix("http://").unwrap()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nHost: idp\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn documents_are_served_and_counted() {
    let idp = DevIdp::start().await.unwrap();
    let answer = ask(&idp, "GET /.well-known/openid-configuration", "").await;
    assert!(answer.contains(&format!("\"issuer\":\"{}\"", idp.url())), "{answer}");
    assert!(ask(&idp, "GET /jwks", "").await.contains(&idp.kid()));
    assert_eq!(idp.fetches(), Fetches { discovery: 1, jwks: 1 });
}

#[tokio::test]
async fn a_provider_that_is_down_answers_503_until_it_is_back() {
    let idp = DevIdp::start().await.unwrap();
    idp.set_down(true);
    assert!(ask(&idp, "GET /jwks", "").await.starts_with("HTTP/1.1 503"));
    assert!(ask(&idp, "POST /token", "subject=alice").await.starts_with("HTTP/1.1 503"));
    idp.set_down(false);
    assert!(ask(&idp, "GET /jwks", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_token_endpoint_gives_a_token_and_says_that_it_is_for_development() {
    let idp = DevIdp::start().await.unwrap();
    let answer = ask(&idp, "POST /token", "subject=bob&groups=analysts,on-call&lifetime=60").await;
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(body["warning"].as_str().unwrap().contains("development"));
    let claims = part(body["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["sub"], "bob");
    assert_eq!(claims["groups"], serde_json::json!(["analysts", "on-call"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
}

#[test]
fn rotation_publishes_only_the_new_key_and_an_added_key_leaves_the_old_one() {
    let idp = DevIdp::offline("https://idp.test", Arc::new(ManualClock::new()));
    let kids = |idp: &DevIdp| -> Vec<String> {
        let jwks: Value = serde_json::from_str(&idp.document("https://idp.test/jwks").unwrap()).unwrap();
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let first = idp.kid();
    let second = idp.add_key(KeyKind::EdDsa);
    assert_eq!(kids(&idp), [first.clone(), second.clone()]);
    assert_eq!(part(&idp.token().sign(), 0)["kid"], second.as_str());
    assert_eq!(part(&idp.token().key(&first).sign(), 0)["alg"], "ES256");
    let third = idp.rotate();
    assert_eq!(kids(&idp), [third]);
}

#[test]
fn tokens_tell_the_time_of_the_providers_clock() {
    let clock = ManualClock::new();
    let idp = DevIdp::offline("https://idp.test", Arc::new(clock.clone()));
    let claims = part(&idp.token().expired().sign(), 1);
    assert_eq!(claims["exp"].as_i64().unwrap(), clock.now().as_secs() - 3600);
    clock.advance(Duration::from_secs(60));
    let claims = part(&idp.token().without("sub").sign(), 1);
    assert_eq!(claims["iat"].as_i64().unwrap(), clock.now().as_secs());
    assert!(claims.get("sub").is_none());
}
