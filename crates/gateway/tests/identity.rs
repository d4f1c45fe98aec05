//! Identity at the door: what is revoked, who may revoke, and what a refused caller is told.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{sync::Arc, time::Duration};

use crewgate_audit::{Phase, Query};
use crewgate_core::{Clock, Fact, PrincipalKey, RevocationStep, RevokedTokens, SystemClock};
use crewgate_testkit::{DevIdp, ManualClock};
use house::{Answer, Ground, House, Plan, refusals, said, until, verifies};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

fn plan() -> Plan {
    Plan { tables: "[revocation]\nroles = [\"data-owners\"]\n".to_owned(), ..Plan::default() }
}

fn alice() -> Value {
    json!({ "tokens": { "kind": "subject", "issuer": "dev", "subject": "alice" }, "reason": "left" })
}

impl House {
    async fn revoke(&self, token: &str, body: Value) -> Answer {
        self.control("POST", "/api/revocations", token, Some(body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_refused_with_the_next_request_and_let_in_with_a_fresh_token() {
    let clock = ManualClock::at(SystemClock.now());
    let house = House::start_at(Ground::lay(plan()).await, clock.clone()).await;
    let (alice_token, dora) = (house.alice(), house.dora());
    assert_eq!(house.get("/support/inputs", &alice_token).await.status, 200);

    let made = house.revoke(&dora, alice()).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let refused = house.get("/support/inputs", &alice_token).await;
    assert_eq!(refused.refusal(), (401, "subject_revoked".to_owned()));
    // It says what to do, and sends nobody anywhere.
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"invalid_token\"") && challenge.contains("subject_revoked"),
        "{challenge}"
    );
    assert!(refused.header("location").is_none());
    assert_eq!(refusals(&house.record(&refused).await), [(401, "subject_revoked".to_owned())]);
    // The console refuses the same token, and others are not touched.
    let console = house.control("GET", "/api/approvals", &alice_token, None).await;
    assert_eq!(console.refusal(), (401, "subject_revoked".to_owned()));
    assert_eq!(house.get("/support/inputs", &house.token("bob", &["analysts"])).await.status, 200);

    let told = house.entries(Query::default().phase(Phase::Control)).await;
    let told: Vec<_> = told.iter().flat_map(|entry| &entry.facts).collect();
    let tokens = RevokedTokens::Subject { principal: PrincipalKey::new("dev", "alice") };
    assert!(
        told.iter().any(|fact| matches!(fact, Fact::Revocation { tokens: found, step: RevocationStep::Revoked { .. }, reason: Some(reason) } if *found == tokens && reason == "left")),
        "{told:?}"
    );

    clock.advance(Duration::from_secs(31));
    assert_eq!(
        house.get("/support/inputs", &house.alice()).await.status,
        401,
        "issued before, by the real clock"
    );
    let later = house.idp.token().subject("alice").groups(["analysts"]).issued_at(clock.now()).sign();
    assert_eq!(house.get("/support/inputs", &later).await.status, 200);
    let lifted = house.control("POST", "/api/revocations/lift", &dora, Some(alice())).await;
    assert_eq!(lifted.status, 200, "{}", lifted.text());
    assert_eq!(house.get("/support/inputs", &alice_token).await.status, 200);
    let again = house.control("POST", "/api/revocations/lift", &dora, Some(alice())).await;
    assert_eq!(again.refusal(), (404, "not_revoked".to_owned()));
    let parts = house.ops("/readyz").await.json();
    assert_eq!(parts.pointer("/parts/revocations/state"), Some(&json!("green")));
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_entitled_revokes_and_only_what_is_meant() {
    let house = House::with(plan()).await;
    let alice_token = house.alice();
    assert_eq!(house.revoke(&alice_token, alice()).await.refusal(), (403, "not_revoker".to_owned()));
    let list = house.control("GET", "/api/revocations", &alice_token, None).await;
    assert_eq!(list.refusal(), (403, "not_revoker".to_owned()));
    let dora = house.dora();
    for (tokens, refusal) in [
        // The subject may be what was meant; all of the issuer would be hit.
        (json!({ "kind": "issuer", "issuer": "dev", "subject": "alice" }), (400, "invalid_request")),
        (json!({ "kind": "subject", "issuer": "dev" }), (400, "invalid_request")),
        (json!({ "kind": "everybody" }), (400, "invalid_request")),
        (json!({ "kind": "subject", "issuer": "dev", "subject": "" }), (400, "invalid_request")),
        (json!({ "kind": "token", "issuer": "okta", "id": "x" }), (404, "issuer_unknown")),
    ] {
        let answer = house.revoke(&dora, json!({ "tokens": tokens })).await;
        assert_eq!(answer.refusal(), (refusal.0, refusal.1.to_owned()), "{tokens}");
    }
    let list = house.control("GET", "/api/revocations", &dora, None).await;
    assert_eq!(list.json(), json!({ "revocations": [] }));
    assert_eq!(house.get("/support/inputs", &alice_token).await.status, 200);
    // Where nobody is named, nobody may.
    let closed = House::open().await;
    assert_eq!(closed.revoke(&closed.dora(), alice()).await.refusal(), (403, "not_revoker".to_owned()));
    verifies(&closed.stop().await.folder).await;
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_revokes_lists_and_lifts_and_a_restart_forgets_nothing() {
    let house = House::with(plan()).await;
    let run = async |house: &House, arguments: &[&str]| {
        let console = format!("http://{}", house.running.console().unwrap());
        let folder = house.folder.path().to_owned();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let token = house.dora();
        tokio::task::spawn_blocking(move || {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_crewgate"))
                .arg("revoke")
                .args(arguments)
                .args(["--console", &console])
                .env("CREWGATE_TOKEN", token)
                .current_dir(folder)
                .output()
                .unwrap();
            (output.status.code().unwrap(), said(&output))
        })
        .await
        .unwrap()
    };
    let (code, text) = run(&house, &["--token-id", "dev:AT.1", "--reason", "leaked"]).await;
    assert!(code == 0 && text.starts_with("revoked: token dev:AT.1, issued until"), "{text}");
    let token = house.idp.token().groups(["analysts"]).claim("jti", "AT.1").sign();
    assert_eq!(house.get("/support/inputs", &token).await.refusal(), (401, "token_revoked".to_owned()));
    let house = House::start(house.stop().await).await;
    assert_eq!(house.get("/support/inputs", &token).await.refusal(), (401, "token_revoked".to_owned()));
    let (code, text) = run(&house, &["--list"]).await;
    assert!(code == 0 && text.contains("token dev:AT.1") && text.contains("leaked"), "{text}");
    let (code, text) = run(&house, &["--lift", "--token-id", "dev:AT.1"]).await;
    assert!(code == 0 && text.contains("no longer revoked: token dev:AT.1"), "{text}");
    assert_eq!(house.get("/support/inputs", &token).await.status, 200);
    assert_eq!(run(&house, &["--lift", "--token-id", "dev:AT.1"]).await.0, 1);
    // All or one, but never a guess.
    for wrong in [&["--subject", "alice"][..], &["--issuer-epoch", "dev", "--client", "dev:cli"], &[]] {
        assert_eq!(run(&house, wrong).await.0, 2, "{wrong:?}");
    }
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_record_see_whose_tokens_are_in_use() {
    let tables = "[record]\nreaders = [\"data-owners\"]\n".to_owned();
    let house = House::with(Plan { tables, ..Plan::default() }).await;
    assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200);
    let seen = async |house: &House| {
        let answer = house.control("GET", "/api/tokens", &house.dora(), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let rows = answer.json().get("tokens").and_then(Value::as_array).unwrap().clone();
        rows.into_iter().find(|row| row.get("subject") == Some(&json!("alice")))
    };
    let refused = house.control("GET", "/api/tokens", &house.alice(), None).await;
    assert_eq!(refused.refusal(), (403, "not_record_reader".to_owned()));
    // What was seen is written down at the latest when the gateway ends.
    let house = House::start(house.stop().await).await;
    let row = seen(&house).await.unwrap();
    let of = |name: &str| row.get(name).cloned().unwrap();
    assert_eq!((of("issuer"), of("algorithm"), of("lifetime")), (json!("dev"), json!("ES256"), json!(300)));
    assert_eq!(
        (of("sender_constrained"), of("roles"), of("kind")),
        (json!(false), json!(["analysts"]), json!("user"))
    );
    let told = house.entries(Query::default().phase(Phase::Access)).await;
    let noted = told.iter().flat_map(|entry| &entry.facts);
    assert!(
        noted.into_iter().any(|fact| matches!(fact, Fact::Control { what, .. } if what == "access.tokens"))
    );
    let console = format!("http://{}", house.running.console().unwrap());
    let (token, folder) = (house.dora(), house.folder.path().to_owned());
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_crewgate"))
            .args(["token", "inventory", "--console", &console])
            .env("CREWGATE_TOKEN", token)
            .current_dir(folder)
            .output()
            .unwrap()
    });
    let text = said(&output.await.unwrap());
    assert!(
        text.contains("dev:alice")
            && text.contains("ES256")
            && text.contains("bearer")
            && text.contains("analysts"),
        "{text}"
    );
    verifies(&house.stop().await.folder).await;
}

/// A provider behind TLS, with a certificate that no authority of this machine vouches for.
async fn provider(own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> DevIdp {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let (acceptor, idp) = (TlsAcceptor::from(Arc::new(config)), DevIdp::offline(&url, Arc::new(SystemClock)));
    let documents = idp.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let body = documents.document(&format!("{url}{path}")).unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    idp
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_named_for_one_issuer_vouches_for_no_other() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (known, stranger) = (provider(&own).await, provider(&own).await);
    let issuer = |name: &str, idp: &DevIdp, more: &str| {
        format!("[[issuer]]\nname = \"{name}\"\nurl = \"{}\"\naudience = [\"crewgate\"]\n{more}\n", idp.url())
    };
    let tables = issuer("known", &known, "ca = \"own.pem\"") + &issuer("stranger", &stranger, "");
    let ground = Ground::lay(Plan { tables, ..Plan::default() }).await;
    ground.folder.write("own.pem", own.cert.pem());
    let house = House::start(ground).await;

    let asked = async |idp: &DevIdp| house.get("/support/inputs", &idp.token().sign()).await.refusal();
    assert_eq!(asked(&known).await, (403, "policy_denied".to_owned()), "known, and in no group that may");
    assert_eq!(asked(&stranger).await, (503, "issuer_not_ready".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_renewed_are_told_and_used_and_so_is_their_return() {
    let house = House::open().await;
    let alice = house.alice();
    assert_eq!(house.get("/support/inputs", &alice).await.status, 200);
    let told = async |kind: &str| {
        until("a leaf that tells of the keys", async || {
            let entries = house.entries(Query::default().phase(Phase::Key)).await;
            let kinds: Vec<_> = entries.iter().filter_map(crewgate_audit::Entry::kind).collect();
            (kinds.last()? == kind).then_some(())
        })
        .await;
    };
    house.idp.set_down(true);
    // Somebody's unknown key makes the gateway look for newer ones.
    let stranger = house.idp.token().sign_with_unknown_kid();
    assert_eq!(house.get("/support/inputs", &stranger).await.status, 401);
    told("key.stale").await;
    let ready = house.ops("/readyz").await;
    assert!(ready.status == 200 && ready.text().contains("cannot be renewed"), "{}", ready.text());
    assert_eq!(house.get("/support/inputs", &alice).await.status, 200, "the last good keys are used");
    house.idp.set_down(false);
    let _ = house.idp.rotate();
    assert_eq!(house.get("/support/inputs", &house.alice()).await.status, 200, "a new key is found");
    told("key.fresh").await;
    verifies(&house.stop().await.folder).await;
}
