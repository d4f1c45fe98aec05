//! Connections, health, telemetry and the command line.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{Router, extract::Request};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use house::{
    Folder, Ground, House, Plan, Serving, Wire, call, crewgate, refusals, request, said, until, verifies,
};

const NAME: &str = "gateway.test";

/// A house behind TLS, and its certificate.
async fn tls_house() -> (House, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let tls = "tls = { certificate = \"tls.pem\", key = \"tls.key\", client_certificates = true }";
    let ground = Ground::lay(Plan { gateway: tls, ..Plan::default() }).await;
    ground.folder.write("tls.pem", made.cert.pem());
    ground.folder.write("tls.key", made.signing_key.serialize_pem());
    (House::start(ground).await, made.cert.der().clone())
}

async fn tls(house: &House, root: &CertificateDer<'static>, alpn: &str) -> TlsStream<TcpStream> {
    tls_as(house, root, alpn, None).await
}

/// A certificate that nobody signed, and its key.
type Own = rcgen::CertifiedKey<rcgen::KeyPair>;

async fn tls_as(
    house: &House,
    root: &CertificateDer<'static>,
    alpn: &str,
    own: Option<&Own>,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![own.cert.der().clone()], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let tcp = TcpStream::connect(house.data()).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_over_tls_passes_the_same_gate() {
    let (house, root) = tls_house().await;
    let authorization = format!("authorization: Bearer {}", house.alice());
    let mut wire = Wire::over(tls(&house, &root, "http/1.1").await);
    wire.send(&request("GET", "/support/inputs", &[&authorization], b"")).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let two = [authorization.as_str(), "content-length: 0", "transfer-encoding: chunked"];
    wire.send(&request("POST", "/support/kickoff", &two, b"")).await;
    assert_eq!(wire.answer().await.unwrap().refusal(), (400, "http_two_framings".to_owned()));
    house.stop().await;
}

/// RFC 8705 section 3: the token is the certificate holder's alone, over both versions of HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_bound_to_a_client_certificate_opens_only_its_connection() {
    let (house, root) = tls_house().await;
    let made = || rcgen::generate_simple_self_signed(["ci-job".to_owned()]).unwrap();
    let (ours, theirs) = (made(), made());
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(ours.cert.der()));
    let token = house.idp.token().subject("alice").groups(["analysts"]).audience("crewgate");
    let token = token.claim("cnf", json!({ "x5t#S256": thumbprint })).sign();
    for (own, status) in [(Some(&ours), 200), (Some(&theirs), 401), (None, 401)] {
        let authorization = format!("authorization: Bearer {token}");
        let mut wire = Wire::over(tls_as(&house, &root, "http/1.1", own).await);
        wire.send(&request("GET", "/support/inputs", &[&authorization], b"")).await;
        assert_eq!(wire.answer().await.unwrap().status, status);
        let stream = TokioIo::new(tls_as(&house, &root, "h2", own).await);
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let asked = http::Request::get(format!("https://{NAME}/support/inputs"))
            .header("authorization", format!("Bearer {token}"));
        let answer = send.send_request(asked.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_over_tls_names_one_host_and_one_caller() {
    let (house, root) = tls_house().await;
    let stream = TokioIo::new(tls(&house, &root, "h2").await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let bearer = format!("Bearer {}", house.alice());
    for (headers, expected) in [
        (vec![("authorization", bearer.as_str())], (200, "")),
        (vec![("authorization", &bearer), ("host", NAME)], (200, "")),
        (vec![("authorization", &bearer), ("host", "other.test")], (400, "http_host")),
        (vec![("authorization", &bearer), ("authorization", &bearer)], (400, "http_two_authorizations")),
        (vec![], (401, "token_missing")),
    ] {
        let mut request = http::Request::get(format!("https://{NAME}/support/inputs"));
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answer = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let code = serde_json::from_slice::<Value>(&body).unwrap();
        let code = code.get("code").and_then(Value::as_str).unwrap_or_default();
        assert_eq!((head.status.as_u16(), code), expected, "{headers:?}");
    }
    assert_eq!(house.support.calls().total(), 2);
    drop(client);
    let _ = connection.await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_progress_ends_when_the_gateway_is_told_to_stop() {
    let house = House::open().await;
    let address = house.data();
    house.support.set_delay(Duration::from_millis(500));
    let authorization = format!("authorization: Bearer {}", house.alice());
    let headers = [authorization.as_str(), "content-type: application/json"];
    let mut wire = Wire::connect(address).await;
    let idle = Wire::connect(address).await;
    wire.send(&request("POST", "/support/kickoff", &headers, b"{\"inputs\":{\"topic\":\"churn\"}}")).await;
    until("the kickoff at the crew", async || (house.support.calls().kickoff == 1).then_some(())).await;
    let House { ground, running } = house;
    let stopped = tokio::spawn(running.stop());
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(wire.rest().await.is_empty());
    stopped.await.unwrap();
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_and_amber_still_serves() {
    let end = SystemTime::now() + Duration::from_secs(30 * 86_400);
    let observe = format!("mode = \"observe\"\nuntil = \"{}\"", humantime::format_rfc3339_seconds(end));
    let ground = Ground::lay(Plan { support: observe.leak(), ..Plan::default() }).await;
    ground.idp.set_down(true);
    let house = House::start(ground).await;
    assert_eq!(house.ops("/healthz").await.text(), "ok\n");
    let ready = house.ops("/readyz").await;
    let part = |name: &str| ready.json().pointer(&format!("/parts/{name}/state")).cloned();
    assert_eq!((ready.status, ready.json().get("ready")), (200, Some(&json!(true))), "{}", ready.text());
    assert_eq!(part("store"), Some(json!("green")), "{}", ready.text());
    assert_eq!(part("issuer dev"), Some(json!("amber")), "{}", ready.text());
    assert_eq!(part("crew support mode"), Some(json!("amber")), "{}", ready.text());
    let answer = house.get("/support/inputs", &house.alice()).await;
    assert_eq!(answer.refusal(), (503, "issuer_not_ready".to_owned()));
    assert_eq!(refusals(&house.record(&answer).await).len(), 1);
    let metrics = house.ops("/metrics").await;
    assert_eq!((metrics.status, metrics.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    assert_eq!(house.ops("/").await.status, 404);
    house.stop().await;
}

/// Has a kickoff of payroll approved and started by a poll with this trace: the trace CrewAI got.
async fn released_trace(ground: &Ground, serving: &Serving, parent: &str) -> String {
    let (data, console) = (serving.address("data"), serving.address("console"));
    let (alice, dora) = (ground.alice(), ground.dora());
    let body = json!({ "inputs": { "employee_id": "E-2001" } });
    let run = call(data, "POST", "/payroll/kickoff", &alice, Some(body)).await.field("kickoff_id");
    let list = call(console, "GET", "/api/approvals", &dora, None).await.json();
    let id = list.pointer("/waiting/0/id").and_then(Value::as_str).unwrap().to_owned();
    let digest = call(console, "GET", &format!("/api/approvals/{id}"), &dora, None).await.field("digest");
    let yes = json!({ "verdict": "approve", "digest": digest });
    let answer = call(console, "POST", &format!("/api/approvals/{id}/decision"), &dora, Some(yes)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let authorization = format!("authorization: Bearer {alice}");
    let mut wire = Wire::connect(data).await;
    wire.send(&request("GET", &format!("/payroll/status/{run}"), &[&authorization, parent], b"")).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    let sent = until("the kickoff at payroll", async || ground.payroll.kickoffs().pop()).await;
    sent.headers.get("traceparent").unwrap().to_str().unwrap().to_owned()
}

type Told = Arc<Mutex<Vec<(String, Bytes)>>>;

/// A collector that takes whatever it is sent.
async fn collector() -> (String, Told) {
    let told = Told::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::clone(&told);
    let router = Router::new().fallback(async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        log.lock().unwrap().push((format!("{} {}", head.method, head.uri.path()), body));
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_to_the_crew_and_telemetry_to_the_collector() {
    let (url, told) = collector().await;
    let tables = format!("[telemetry]\notlp = \"{url}\"\nlog = \"json\"\nlevel = \"info\"\n");
    let ground = Ground::lay(Plan { tables, ..Plan::default() }).await;
    let serving = Serving::start(&ground.config);
    let (trace, token) = ("4bf92f3577b34da6a3ce929d0e0e4736", ground.alice());
    let authorization = format!("authorization: Bearer {token}");
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    let mut wire = Wire::connect(serving.address("data")).await;
    wire.send(&request("GET", "/support/inputs", &[&authorization, &parent], b"")).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(wire);
    let passed = ground.support.received().remove(0).headers;
    let passed = passed.get("traceparent").unwrap().to_str().unwrap();
    assert!(passed.starts_with(&format!("00-{trace}-")), "{passed}");
    assert!(!passed.contains("00f067aa0ba902b7"), "the span is the gateway's own: {passed}");
    assert!(passed.ends_with("-01"), "{passed}");
    let released = released_trace(&ground, &serving, &parent).await;
    assert!(
        released.starts_with(&format!("00-{trace}-")),
        "the poll that starts it passes its trace on: {released}"
    );

    let metrics = call(serving.address("ops"), "GET", "/metrics", "", None).await.text();
    let calls = metrics
        .lines()
        .find(|line| line.starts_with("crewgate_calls_total{") && line.contains("status=\"200\""));
    assert!(calls.is_some_and(|line| line.ends_with(" 3")), "{metrics}");

    assert_eq!(tokio::task::spawn_blocking(|| serving.terminate()).await.unwrap(), Some(0));
    let told = told.lock().unwrap().clone();
    let all = |what: &str| -> Vec<u8> {
        told.iter().filter(|(path, _)| path == what).flat_map(|(_, body)| body.to_vec()).collect()
    };
    let (traces, metrics) = (all("POST /v1/traces"), all("POST /v1/metrics"));
    let id: Vec<u8> = (0..32)
        .step_by(2)
        .map(|at| u8::from_str_radix(trace.get(at..at + 2).unwrap(), 16).unwrap())
        .collect();
    assert!(traces.windows(16).any(|window| window == id), "the caller's trace is told");
    assert!(
        house::contains(&metrics, "crewgate.call"),
        "{:?}",
        told.iter().map(|(path, _)| path).collect::<Vec<_>>()
    );
    for others in ["hyper", "h2::", "sqlx"] {
        assert!(!house::contains(&traces, others), "{others} tells the collector about itself");
    }
    for body in [&traces, &metrics] {
        assert!(!house::contains(body, token.rsplit_once('.').unwrap().1), "telemetry holds no token");
    }
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_where() {
    let ground = Ground::lay(Plan::default()).await;
    let folder = ground.folder.path();
    let check = || crewgate(folder, &["check"], "");
    let output = check();
    assert!(output.status.success() && said(&output).starts_with("ok: 2 crews"), "{}", said(&output));

    let good = fs::read_to_string(&ground.config).unwrap();
    let bad = good.replace("need = 1", "needs = 1");
    let line = bad.lines().position(|line| line.starts_with("needs")).unwrap() + 1;
    ground.folder.write("crewgate.toml", bad);
    let output = check();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains(&format!("crewgate.toml:{line}:1")) && said(&output).contains("needs"),
        "{}",
        said(&output)
    );

    // Something that can only be found in the whole.
    let bad = good.replace("roles = [\"data-owners\"]", "roles = [\"owners\"]");
    let line = bad.lines().position(|line| line.starts_with("roles")).unwrap() + 1;
    ground.folder.write("crewgate.toml", bad);
    let output = check();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains(&format!("crewgate.toml:{line}:")), "{}", said(&output));

    ground.folder.write("crewgate.toml", good);
    ground.folder.write(
        "policy/wrong.cedar",
        "// One line.\n@id(\"x\")\npermit (principal, action == Action::\"kickof\", resource);\n",
    );
    let output = check();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("wrong.cedar:3:") && said(&output).contains("kickof"),
        "{}",
        said(&output)
    );
    ground
        .folder
        .write("policy/wrong.cedar", "permit (principal, action, resource)\nwhen { principal in };\n");
    let output = check();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("wrong.cedar:2:"), "{}", said(&output));
}

#[test]
fn init_writes_a_configuration_that_checks_and_never_over_a_file() {
    let folder = Folder::new();
    let init = || crewgate(folder.path(), &["init", "."], "");
    let output = init();
    assert!(output.status.success(), "{}", said(&output));
    let output = crewgate(folder.path(), &["check"], "");
    assert!(output.status.success(), "{}", said(&output));
    folder.write("crewgate.toml", "mine");
    let output = init();
    assert!(!output.status.success() && said(&output).contains("crewgate.toml"), "{}", said(&output));
    assert_eq!(fs::read_to_string(folder.path().join("crewgate.toml")).unwrap(), "mine");
}

#[test]
fn completions_name_the_commands() {
    let folder = Folder::new();
    let output = crewgate(folder.path(), &["completions", "bash"], "");
    assert!(output.status.success() && said(&output).contains("approvals"), "{}", said(&output));
    assert_eq!(crewgate(folder.path(), &["completions", "abacus"], "").status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn token_explain_names_the_step_that_fails() {
    let ground = Ground::lay(Plan::default()).await;
    let explain = |token: String| crewgate(ground.folder.path(), &["token", "explain"], &token);
    let output = explain(ground.alice());
    assert!(output.status.success(), "{}", said(&output));
    let expired = ground.idp.token().subject("alice").audience("crewgate").expired().sign();
    let output = explain(expired.clone());
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("token_expired") && text.contains("time"), "{text}");
    assert!(!text.contains(expired.rsplit_once('.').unwrap().1), "the token itself is not printed");
}
