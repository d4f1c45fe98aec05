//! `crewgate connect`: what passes, what does not, and whose token it carries.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crewgate_core::SystemClock;
use crewgate_gateway::{
    config::Secret,
    connect::{Connect, ConnectError, ConnectSettings},
    tokens::{self, Fresh, SourceError, Token, TokenSource},
};
use crewgate_testkit::DevIdp;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    desk::{Desk, ended, settings},
    house::{Answer, Ground, House, PATIENCE, Plan, Wire, request, until},
};

const SECRET: &str = "the-local-secret-of-this-test";

/// Somebody's token, a new one each time.
#[derive(Debug)]
struct Whose(DevIdp, &'static str, &'static [&'static str]);

impl TokenSource for Whose {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        Box::pin(async {
            let Self(idp, subject, groups) = self;
            let token = idp.token().subject(subject).groups(groups.iter().copied()).sign();
            Ok(Token::found(&token, crewgate_core::Clock::now(&SystemClock)).unwrap())
        })
    }
}

fn wanted(gateway: SocketAddr) -> ConnectSettings {
    ConnectSettings {
        gateway: format!("http://{gateway}").parse().unwrap(),
        crew: "support".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        secret: Secret::new(SECRET),
        ca: None,
        dangerously_listen_anywhere: false,
    }
}

async fn connect(gateway: SocketAddr, source: impl TokenSource) -> Connect {
    let tokens = Fresh::new(Arc::new(source), Arc::new(SystemClock));
    Connect::start(wanted(gateway), tokens).await.unwrap()
}

/// A call with this bearer, from a client that names this host.
async fn call_as(connect: &Connect, host: &str, bearer: &str, path: &str, body: Option<Value>) -> Answer {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut headers = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    if !bearer.is_empty() {
        headers.push_str(&format!("authorization: {bearer}\r\n"));
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    if !body.is_empty() {
        headers.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    let mut wire = Wire::connect(connect.address()).await;
    wire.send(format!("{headers}\r\n{body}").as_bytes()).await;
    wire.answer().await.unwrap_or_else(|| panic!("{path} got no answer"))
}

async fn call(connect: &Connect, path: &str, body: Option<Value>) -> Answer {
    let host = connect.address().to_string();
    call_as(connect, &host, &format!("Bearer {SECRET}"), path, body).await
}

fn kickoff() -> Option<Value> {
    Some(json!({ "inputs": { "topic": "churn" } }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_one_static_bearer_calls_the_crew_with_a_token() {
    let house = House::open().await;
    let alice = connect(house.data(), Whose(house.idp.clone(), "alice", &["analysts"])).await;
    let started = call(&alice, "/kickoff", kickoff()).await;
    assert_eq!(started.status, 200, "{}", started.text());
    let run = started.field("kickoff_id");
    assert_eq!(call(&alice, &format!("/status/{run}"), None).await.status, 200);
    assert_eq!(call(&alice, &format!("/{run}/status"), None).await.status, 200);

    // The gateway's refusals come through as they are.
    let bob = connect(house.data(), Whose(house.idp.clone(), "bob", &[])).await;
    let direct = house.get("/support/inputs", &house.token("bob", &[])).await;
    let through = call(&bob, "/inputs", None).await;
    assert_eq!(through.refusal(), direct.refusal());
    assert_eq!(through.header("content-type"), Some("application/problem+json"));
    assert!(through.header("request-id").is_some());
    assert_eq!(call(&bob, &format!("/status/{run}"), None).await.status, 404);

    // It is a way to one crew.
    for path in ["/../payroll/inputs", "/%2e%2e/payroll/inputs", "//payroll/inputs"] {
        assert!(matches!(call(&alice, path, None).await.status, 400 | 404), "{path}");
    }
    assert_eq!(house.payroll.received().len(), 0);
    alice.stop().await;
    bob.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_local_secret_gets_nowhere() {
    let house = House::open().await;
    let alice = connect(house.data(), Whose(house.idp.clone(), "alice", &["analysts"])).await;
    let here = alice.address().to_string();
    let own = format!("Bearer {}", house.alice());
    for bearer in
        ["", "Bearer", "Bearer ", "Bearer the-local-secret-of-this-tesT", "Basic dGhlOnNlY3JldA==", &own]
    {
        let answer = call_as(&alice, &here, bearer, "/kickoff", kickoff()).await;
        assert_eq!(answer.refusal(), (401, "local_secret".to_owned()), "{bearer}");
        assert!(answer.header("www-authenticate").is_some());
    }
    // A page that had its own name pointed here has not the secret; and would not be let in with it.
    let bearer = format!("Bearer {SECRET}");
    for host in ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "gateway.test"] {
        let answer = call_as(&alice, host, &bearer, "/kickoff", kickoff()).await;
        assert_eq!(answer.refusal(), (403, "local_host".to_owned()), "{host}");
    }
    let localhost = format!("localhost:{}", alice.address().port());
    assert_eq!(call_as(&alice, &localhost, &bearer, "/inputs", None).await.status, 200);
    // The strict gate stands here too.
    let mut wire = Wire::connect(alice.address()).await;
    let twice = [format!("authorization: {bearer}"), format!("authorization: {bearer}")];
    wire.send(&request("GET", "/inputs", &[&twice[0], &twice[1]], b"")).await;
    assert_eq!(wire.answer().await.unwrap().refusal(), (400, "http_two_authorizations".to_owned()));
    assert_eq!(house.support.received().iter().filter(|call| call.path.contains("kickoff")).count(), 0);
    alice.stop().await;
    house.stop().await;
}

#[tokio::test]
async fn nothing_is_opened_that_would_give_the_token_away() {
    let tokens = || {
        let idp = DevIdp::offline("https://idp.example", Arc::new(SystemClock));
        Fresh::new(Arc::new(Whose(idp, "alice", &[])), Arc::new(SystemClock))
    };
    let plain = wanted("127.0.0.1:1".parse().unwrap());
    for (settings, why) in [
        (ConnectSettings { listen: "0.0.0.0:0".parse().unwrap(), ..plain.clone() }, "other machines"),
        (ConnectSettings { listen: "[::]:0".parse().unwrap(), ..plain.clone() }, "other machines"),
        (ConnectSettings { secret: Secret::new("short"), ..plain.clone() }, "fewer than"),
        (ConnectSettings { gateway: "http://crewgate.example".parse().unwrap(), ..plain.clone() }, "https"),
        (ConnectSettings { crew: "a/b".to_owned(), ..plain.clone() }, "not a name"),
    ] {
        let error = Connect::start(settings, tokens()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Settings(_)) && error.to_string().contains(why), "{error}");
    }
    let dangerous =
        ConnectSettings { listen: "0.0.0.0:0".parse().unwrap(), dangerously_listen_anywhere: true, ..plain };
    Connect::start(dangerous, tokens()).await.unwrap().stop().await;
}

/// A gateway made of bytes: gives each connection to `serve`.
async fn bytes_of<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads until these bytes have come.
async fn read_until(stream: &mut TcpStream, what: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(what) {
        let count = tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap();
        assert!(count > 0, "ended before {what:?}: {}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_as_they_come() {
    // Answers the first part of a body before the second is sent.
    let gateway = bytes_of(|mut stream| async move {
        let head = read_until(&mut stream, "first").await;
        assert!(!head.contains(SECRET) && head.contains("authorization: Bearer ey"), "{head}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\none\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut stream, "second").await;
        stream.write_all(b"5\r\ntwo\r\n\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    let idp = DevIdp::start().await.unwrap();
    let alice = connect(gateway, Whose(idp, "alice", &[])).await;
    let mut stream = TcpStream::connect(alice.address()).await.unwrap();
    let head = format!(
        "POST /kickoff HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {SECRET}\r\ntransfer-encoding: chunked\r\n\r\n",
        alice.address()
    );
    stream.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "one").await;
    assert!(answer.contains("text/event-stream"), "{answer}");
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "two").await;
    drop(stream);
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_arrived_is_never_sent_again() {
    let (seen, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let gateway = bytes_of(move |mut stream| {
        let seen = seen.clone();
        async move {
            // Reads the call and hangs up.
            read_until(&mut stream, "churn").await;
            seen.send(()).unwrap();
        }
    })
    .await;
    let idp = DevIdp::start().await.unwrap();
    let alice = connect(gateway, Whose(idp.clone(), "alice", &[])).await;
    let answer = call(&alice, "/kickoff", kickoff()).await;
    assert_eq!(answer.refusal(), (502, "gateway_cut".to_owned()));
    assert!(calls.try_recv().is_ok() && calls.try_recv().is_err(), "not once");
    alice.stop().await;

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let alice = connect(nobody, Whose(idp, "alice", &[])).await;
    assert_eq!(call(&alice, "/kickoff", kickoff()).await.refusal(), (502, "gateway_unreachable".to_owned()));
    alice.stop().await;
}

/// A house whose gateway takes no token that has ended.
async fn strict() -> House {
    let ground = Ground::lay(Plan::default()).await;
    let text = std::fs::read_to_string(&ground.config).unwrap();
    let strict = text.replace("audience = [\"crewgate\"]\n", "audience = [\"crewgate\"]\nskew = \"1s\"\n");
    assert_ne!(text, strict);
    std::fs::write(&ground.config, strict).unwrap();
    House::start(ground).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_are_renewed_under_load_without_one_wrong_refusal() {
    let house = strict().await;
    house.idp.set_token_lifetime(Duration::from_secs(5));
    let desk = Desk::at(&house.idp);
    ended(&desk.sign_in(&house.idp, "alice", &["analysts"]), 0);
    let file = desk.login_file("default");
    let (connect, running) = spawned(&desk, &house);
    let before = house.idp.granted();
    let calls = std::sync::atomic::AtomicU32::new(0);
    let clients = (0..8).map(|_| async {
        // Until the token has been renewed twice: nothing is said about how long that takes.
        while house.idp.granted() < before + 2 {
            let answer = at(connect.0, &connect.1, "/inputs").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    tokio::time::timeout(PATIENCE, futures_util::future::join_all(clients)).await.unwrap();
    eprintln!("{calls:?} calls over {} tokens", house.idp.granted());
    assert_eq!(house.idp.logins(), 1, "the refresh token was used twice");

    // The provider is killed: calls go on as long as the token counts, then wait for nothing and are told why.
    house.idp.set_down(true);
    assert_eq!(at(connect.0, &connect.1, "/inputs").await.status, 200);
    let refused = until("the end of the token", async || {
        let answer = at(connect.0, &connect.1, "/inputs").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.refusal(), (503, "token_unavailable".to_owned()));
    assert!(refused.header("retry-after").is_some());
    house.idp.set_down(false);
    until("the next token", async || {
        (at(connect.0, &connect.1, "/inputs").await.status == 200).then_some(())
    })
    .await;

    // The login ends: somebody must sign in, and once somebody has, calls go on.
    house.idp.end_logins();
    let refused = until("the end of the login", async || {
        let answer = at(connect.0, &connect.1, "/inputs").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.refusal(), (503, "login_needed".to_owned()));
    assert!(refused.text().contains("crewgate login"), "{}", refused.text());
    ended(&desk.sign_in(&house.idp, "alice", &["analysts"]), 0);
    until("the new login", async || (at(connect.0, &connect.1, "/inputs").await.status == 200).then_some(()))
        .await;
    assert!(file.exists());
    drop(running);
    house.stop().await;
}

/// The program itself, connected to `support`: its address and local secret.
fn spawned(desk: &Desk, house: &House) -> ((SocketAddr, String), Ending) {
    use std::io::BufRead as _;

    let gateway = format!("http://{}", house.data());
    let arguments = ["connect", "support", "--listen", "127.0.0.1:0", "--gateway", &gateway];
    let mut child = desk.spawn(&arguments, &[]);
    let stdout = child.stdout.take().unwrap();
    let running = Ending(child);
    let mut line = String::new();
    tokio::task::block_in_place(|| std::io::BufReader::new(stdout).read_line(&mut line).unwrap());
    let ready = line.strip_prefix("crewgate ready ").unwrap_or_else(|| panic!("it said {line:?}"));
    let ready: Value = serde_json::from_str(ready).unwrap();
    let text = |name: &str| ready.get(name).and_then(Value::as_str).unwrap().to_owned();
    let address = text("url").strip_prefix("http://").unwrap().parse().unwrap();
    ((address, text("secret")), running)
}

/// A program that is ended with the test.
struct Ending(std::process::Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn at(address: SocketAddr, secret: &str, path: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {secret}\r\nconnection: close\r\n\r\n"
    );
    wire.send(head.as_bytes()).await;
    wire.answer().await.unwrap_or_else(|| panic!("{path} got no answer"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_secret_of_a_file_is_made_once_and_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;

    let house = House::open().await;
    let desk = Desk::new("source = \"gitlab\"\n");
    let gateway = format!("http://{}", house.data());
    let arguments = [
        "connect",
        "support",
        "--listen",
        "127.0.0.1:0",
        "--gateway",
        &gateway,
        "--secret-file",
        "local.secret",
    ];
    let file = desk.folder().path().join("local.secret");
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let mut child = desk.spawn(&arguments, &[("CREWGATE_TOKEN", &house.alice())]);
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        tokio::task::block_in_place(|| {
            std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap()
        });
        let secret = std::fs::read_to_string(&file).unwrap();
        assert!(line.contains("local.secret") && !line.contains(&secret), "{line}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let ready: Value = serde_json::from_str(line.strip_prefix("crewgate ready ").unwrap()).unwrap();
        let address = ready.get("url").and_then(Value::as_str).unwrap().strip_prefix("http://").unwrap();
        assert_eq!(at(address.parse().unwrap(), &secret, "/inputs").await.status, 200);
        secrets.push(secret);
        // SIGTERM ends it well.
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(tokio::task::block_in_place(|| child.wait().unwrap()).success());
    }
    assert_eq!(secrets.first(), secrets.last());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    ended(&desk.run_with(&arguments, &[("CREWGATE_TOKEN", &house.alice())]), 2);
    // Without a token nothing is opened.
    ended(&desk.run(&arguments), 2);
    house.stop().await;
}

#[tokio::test]
async fn settings_say_which_source_and_what_it_needs() {
    let clock: Arc<dyn crewgate_core::Clock> = Arc::new(SystemClock);
    for (text, what) in [
        ("issuer = \"https://a.example\"", "`client_id` is missing"),
        ("client_id = \"a\"", "`issuer` is missing"),
        ("source = \"kubernetes\"", "`token_file` is missing"),
        (
            "source = \"client-credentials\"\nissuer = \"https://a.example\"\nclient_id = \"a\"",
            "client_secret",
        ),
        ("source = \"github\"", "`audience` is missing"),
    ] {
        let error = tokens::source(&settings(text), &clock).unwrap_err();
        assert!(
            matches!(error, SourceError::Configuration(_)) && error.to_string().contains(what),
            "{error}"
        );
    }
}
