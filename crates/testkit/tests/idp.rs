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

/// What the token endpoint answers to this form: the status, and the body.
async fn grant(idp: &DevIdp, form: &str) -> (u16, Value) {
    let answer = ask(idp, "POST /token", form).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

const DEVICE: &str = "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=";

#[tokio::test]
async fn a_device_waits_for_a_person_and_is_told_when_it_asks_too_often() {
    let clock = ManualClock::new();
    let listen = "127.0.0.1:0".parse().unwrap();
    let idp = DevIdp::start_at(listen, Arc::new(clock.clone())).await.unwrap();
    let answer = ask(&idp, "POST /device_authorization", "client_id=cli").await;
    let device: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let form = format!("{DEVICE}{}", device["device_code"].as_str().unwrap());
    let code = device["user_code"].as_str().unwrap();
    let error = |answer: (u16, Value)| answer.1["error"].as_str().unwrap().to_owned();
    assert_eq!(error(grant(&idp, &form).await), "authorization_pending");
    assert_eq!(error(grant(&idp, &form).await), "slow_down");
    assert!(idp.approve_device(code, "alice", &["analysts"]));
    assert!(!idp.approve_device(code, "mallory", &[]) && !idp.deny_device("CODE-of-nobody"));
    clock.advance(Duration::from_secs(1));
    let (status, granted) = grant(&idp, &form).await;
    assert_eq!((status, &granted["token_type"]), (200, &Value::from("Bearer")));
    assert_eq!(part(granted["access_token"].as_str().unwrap(), 1)["sub"], "alice");
    assert_eq!(error(grant(&idp, &form).await), "invalid_grant", "a device code counts once");
}

#[tokio::test]
async fn a_refresh_token_counts_once_and_until_logins_end() {
    let idp = DevIdp::start().await.unwrap();
    let answer = ask(&idp, "POST /device_authorization", "client_id=cli").await;
    let device: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(idp.approve_device(device["user_code"].as_str().unwrap(), "alice", &[]));
    idp.set_token_lifetime(Duration::from_secs(7));
    let (_, first) = grant(&idp, &format!("{DEVICE}{}", device["device_code"].as_str().unwrap())).await;
    assert_eq!(first["expires_in"], 7);
    let refresh = |answer: &Value| {
        format!("grant_type=refresh_token&refresh_token={}", answer["refresh_token"].as_str().unwrap())
    };
    let (status, second) = grant(&idp, &refresh(&first)).await;
    assert_eq!((status, idp.logins(), idp.granted()), (200, 1, 2));
    assert_eq!(grant(&idp, &refresh(&first)).await.0, 400);
    idp.end_logins();
    assert_eq!(grant(&idp, &refresh(&second)).await.0, 400);
}

#[tokio::test]
async fn a_program_shows_its_secret_in_the_header_or_in_the_form() {
    let idp = DevIdp::start().await.unwrap();
    let form = "grant_type=client_credentials";
    assert_eq!(grant(&idp, form).await.0, 401);
    assert_eq!(grant(&idp, &format!("{form}&client_id=ci&client_secret=wrong")).await.0, 401);
    let (status, granted) = grant(&idp, &format!("{form}&client_id=ci&client_secret=ci-secret")).await;
    assert_eq!((status, granted.get("refresh_token")), (200, None));
    // `ci:ci-secret`
    let head = "POST /token HTTP/1.1\r\nAuthorization: Basic Y2k6Y2ktc2VjcmV0\r\nX-Rest: ";
    assert!(ask(&idp, head, form).await.contains("access_token"));
}
