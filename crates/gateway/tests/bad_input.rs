//! Bad input, byte for byte: each has its clear refusal and its place on the record, and none reaches a crew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use crewgate_audit::{Phase, Query};
use crewgate_core::{Ending, Fact};

use house::{House, Plan, Wire, refusals, request, until};

/// The limit on bodies in these tests.
const MAX_BODY: usize = 32 * 1024;

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    Case { name, bytes: bytes.into(), status, code }
}

fn plan() -> Plan {
    Plan { gateway: "max_body_bytes = 32768", ..Plan::default() }
}

/// Each on a connection of its own.
async fn refuses(house: &House, cases: Vec<Case>) {
    for Case { name, bytes, status, code } in cases {
        let mut wire = Wire::connect(house.data()).await;
        wire.send(&bytes).await;
        let answer = wire.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
        assert_eq!(answer.field("request_id"), answer.header("request-id").unwrap(), "{name}");
        assert!(!answer.field("detail").is_empty(), "{name}");
        let record = house.record(&answer).await;
        assert_eq!(record.len(), 1, "{name}: {record:?}");
        assert!(record.iter().all(|entry| entry.phase == Phase::Refused), "{name}: {record:?}");
        assert_eq!(refusals(&record), [(status, code.to_owned())], "{name}");
    }
    assert_eq!(house.support.calls().total() + house.payroll.calls().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_caller_is_refused_and_recorded() {
    let house = House::with(plan()).await;
    let inputs = |authorization: &str| request("GET", "/support/inputs", &[authorization], b"");
    let bearer = |token: String| inputs(&format!("authorization: Bearer {token}"));
    let token = || house.idp.token().subject("alice").groups(["analysts"]).audience("crewgate");
    let good = token().sign();
    let cut = good.rsplit_once('.').unwrap().0.to_owned();
    let twice = [format!("authorization: Bearer {good}"), format!("Authorization: Bearer {good}")];
    let in_query = format!("/support/inputs?access_token={good}");
    let cases = vec![
        case("none", request("GET", "/support/inputs", &[], b""), 401, "token_missing"),
        case("empty", inputs("authorization: Bearer "), 401, "token_missing"),
        case("another scheme", inputs("authorization: Basic YWxpY2U6eA=="), 401, "token_scheme"),
        case("no scheme", inputs(&format!("authorization: {good}")), 401, "token_scheme"),
        case("garbled", inputs("authorization: Bearer not-a-token"), 401, "token_malformed"),
        case("cut", bearer(cut), 401, "token_malformed"),
        case("two parts glued", bearer(format!("{good} {good}")), 401, "token_malformed"),
        case(
            "obs-text",
            b"GET /support/inputs HTTP/1.1\r\nhost: a\r\nauthorization: Bearer \xff\xfe\r\n\r\n",
            401,
            "token_malformed",
        ),
        case(
            "two",
            request("GET", "/support/inputs", &twice.each_ref().map(String::as_str), b""),
            400,
            "http_two_authorizations",
        ),
        case("in the query", request("GET", &in_query, &[], b""), 400, "token_in_query"),
        case("alg none", bearer(token().sign_none()), 401, "token_alg_refused"),
        case(
            "HS256 with the public key",
            bearer(token().sign_hs256_with_public_key()),
            401,
            "token_alg_refused",
        ),
        case("unknown kid", bearer(token().sign_with_unknown_kid()), 401, "token_key_unknown"),
        case("expired", bearer(token().expired().sign()), 401, "token_expired"),
        case("another audience", bearer(token().audience("another").sign()), 401, "token_audience"),
        case(
            "another issuer",
            bearer(token().issuer("https://evil.example").sign()),
            401,
            "token_issuer_unknown",
        ),
        case("CrewAI's own key", bearer(house.support.key().to_owned()), 401, "token_malformed"),
    ];
    refuses(&house, cases).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_or_address_is_refused_and_recorded() {
    let house = House::with(plan()).await;
    let authorization = format!("authorization: Bearer {}", house.alice());
    let json = "content-type: application/json";
    let kickoff = |headers: &[&str], body: &[u8]| {
        let headers: Vec<&str> = [authorization.as_str()].iter().chain(headers).copied().collect();
        request("POST", "/support/kickoff", &headers, body)
    };
    let get = |path: &str| request("GET", path, &[&authorization], b"");
    let deep = format!("{{\"inputs\":{{\"topic\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(deep.len() < MAX_BODY);
    let declared = format!("content-length: {}", MAX_BODY + 1);
    let big = vec![b' '; MAX_BODY + 1];
    let mut chunked = kickoff(&[json, "transfer-encoding: chunked"], b"");
    chunked.extend(format!("{:x}\r\n", big.len()).into_bytes());
    chunked.extend(&big);
    chunked.extend(b"\r\n0\r\n\r\n");
    let run = "0190f3a0-0000-7000-8000-000000000000";
    let cases = vec![
        case("too large", kickoff(&[json], &big), 413, "body_too_large"),
        case("too large, says its length", kickoff(&[json, &declared], b""), 413, "body_too_large"),
        case("too large in chunks", chunked, 413, "body_too_large"),
        case("nothing", kickoff(&[json], b""), 400, "body_missing"),
        case("not JSON", kickoff(&[json], b"topic=churn"), 400, "body_not_json"),
        case("more behind it", kickoff(&[json], b"{}{}"), 400, "body_not_json"),
        case("not UTF-8", kickoff(&[json], b"{\"inputs\":{\"topic\":\"\xff\"}}"), 400, "body_not_json"),
        case("not an object", kickoff(&[json], b"[]"), 400, "body_not_an_object"),
        case("duplicate keys", kickoff(&[json], b"{\"inputs\":{},\"inputs\":{}}"), 400, "body_not_json"),
        case(
            "duplicate keys, one escaped",
            kickoff(&[json], b"{\"inputs\":{\"topic\":\"a\",\"t\\u006fpic\":\"b\"}}"),
            400,
            "body_not_json",
        ),
        case("10,000 deep", kickoff(&[json], deep.as_bytes()), 400, "body_not_json"),
        case("wrong type", kickoff(&["content-type: text/plain"], b"{}"), 415, "content_type_refused"),
        case("no type", kickoff(&[], b"{}"), 415, "content_type_refused"),
        case(
            "gzip",
            kickoff(&[json, "content-encoding: gzip"], b"\x1f\x8b\x08"),
            415,
            "content_encoding_refused",
        ),
        case(
            "a body where none belongs",
            request("GET", "/support/inputs", &[&authorization], b"{}"),
            400,
            "body_unexpected",
        ),
        case("a key it does not know", kickoff(&[json], b"{\"input\":{}}"), 422, "kickoff_key_unknown"),
        case(
            "an input it does not declare",
            kickoff(&[json], b"{\"inputs\":{\"id\":\"x\"}}"),
            422,
            "input_refused",
        ),
        case(
            "a webhook",
            kickoff(
                &[json],
                b"{\"inputs\":{\"topic\":\"a\"},\"taskWebhookUrl\":\"http://169.254.169.254/\"}",
            ),
            422,
            "webhook_refused",
        ),
        case("no crew", get("/nobody/inputs"), 404, "crew_unknown"),
        case("nothing at all", get("/"), 404, "crew_unknown"),
        case("unknown route", get("/support/chat"), 404, "route_unknown"),
        case("wrong method", get("/support/kickoff"), 405, "method_not_allowed"),
        case("no crew, encoded slash", get("/status/..%2fkickoff"), 404, "crew_unknown"),
        case("encoded slash", get("/support/status/..%2fkickoff"), 404, "run_unknown"),
        case("dots", get("/support/status/../inputs"), 404, "route_unknown"),
        case(
            "a slash too many in front",
            request("POST", "//kickoff", &[&authorization, json], b"{}"),
            404,
            "crew_unknown",
        ),
        case(
            "a slash too many",
            request("POST", "/support//kickoff", &[&authorization, json], b"{}"),
            404,
            "route_unknown",
        ),
        case("encoded letters", get("/%73upport/inputs"), 404, "crew_unknown"),
        case("a query", get("/support/inputs?x=1"), 400, "query_refused"),
        case("a run of nobody", get(&format!("/support/status/{run}")), 404, "run_unknown"),
    ];
    refuses(&house, cases).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_with_two_readings_is_refused_and_recorded() {
    let house = House::with(plan()).await;
    let head =
        format!("host: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n", house.alice());
    let post =
        |headers: &str, body: &str| format!("POST /support/kickoff HTTP/1.1\r\n{head}{headers}\r\n{body}");
    let many = "x: y\r\n".repeat(120);
    let long = format!("x: {}\r\n", "y".repeat(40_000));
    let cases = vec![
        case(
            "CL + TE",
            post("content-length: 2\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
            "http_two_framings",
        ),
        case(
            "TE + CL",
            post("transfer-encoding: chunked\r\ncontent-length: 2\r\n", "0\r\n\r\n"),
            400,
            "http_two_framings",
        ),
        case(
            "two equal lengths",
            post("content-length: 2\r\ncontent-length: 2\r\n", "{}"),
            400,
            "http_two_framings",
        ),
        case("a list of lengths", post("content-length: 2, 2\r\n", "{}"), 400, "http_content_length"),
        case("a signed length", post("content-length: +2\r\n", "{}"), 400, "http_content_length"),
        case(
            "two codings",
            post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            400,
            "http_transfer_encoding",
        ),
        case(
            "chunked twice",
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", ""),
            400,
            "http_two_framings",
        ),
        case(
            "bare LF in the head",
            format!("GET /support/inputs HTTP/1.1\n{head}\r\n"),
            400,
            "http_bare_line_end",
        ),
        case("bare LFs only", "GET /support/inputs HTTP/1.1\nhost: a\n\n", 400, "http_bare_line_end"),
        case(
            "a lone CR",
            format!("GET /support/inputs HTTP/1.1\r\nx: a\rb\r\n{head}\r\n"),
            400,
            "http_bare_line_end",
        ),
        case(
            "two hosts",
            format!("GET /support/inputs HTTP/1.1\r\nhost: b\r\n{head}\r\n"),
            400,
            "http_two_hosts",
        ),
        case("no host", "GET /support/inputs HTTP/1.1\r\n\r\n", 400, "http_host"),
        case("a host that is none", "GET /support/inputs HTTP/1.1\r\nhost: a@b\r\n\r\n", 400, "http_host"),
        case("a folded line", post("x: a\r\n b\r\n", ""), 400, "http_header_line"),
        case("a space before the colon", post("content-length : 2\r\n", "{}"), 400, "http_header_line"),
        case("a NUL", post("x: a\0b\r\n", ""), 400, "http_header_line"),
        case("HTTP/1.0", "GET /support/inputs HTTP/1.0\r\nhost: a\r\n\r\n", 505, "http_version"),
        case("HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version"),
        case(
            "an absolute target",
            "GET http://a/support/inputs HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
            "http_request_line",
        ),
        case("CONNECT", "CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http_request_line"),
        case("a star", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http_request_line"),
        case(
            "a space too many",
            "GET  /support/inputs HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
            "http_request_line",
        ),
        case(
            "an empty line first",
            "\r\nGET /support/inputs HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
            "http_request_line",
        ),
        case("too many lines", post(&many, ""), 431, "http_head_too_large"),
        case("too long", post(&long, ""), 431, "http_head_too_large"),
    ];
    refuses(&house, cases).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smuggled_second_request_is_refused_and_what_follows_is_never_read() {
    let house = House::with(plan()).await;
    let alice = house.alice();
    let good = request("GET", "/support/inputs", &[&format!("authorization: Bearer {alice}")], b"");
    let second = format!(
        "POST /support/kickoff HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {alice}\r\ncontent-length: 4\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let mut wire = Wire::connect(house.data()).await;
    wire.send(&[good.as_slice(), second.as_bytes(), good.as_slice()].concat()).await;
    let first = wire.answer().await.unwrap();
    assert_eq!(first.status, 200, "{}", first.text());
    let refused = wire.answer().await.unwrap();
    assert_eq!(refused.refusal(), (400, "http_two_framings".to_owned()));
    assert_eq!(refusals(&house.record(&refused).await), [(400, "http_two_framings".to_owned())]);
    assert!(wire.rest().await.is_empty());
    let calls = house.support.calls();
    assert_eq!((calls.inputs, calls.total()), (1, 1));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framing_error_inside_a_body_ends_the_connection_and_the_record() {
    let house = House::with(plan()).await;
    let authorization = format!("authorization: Bearer {}", house.alice());
    let headers = [authorization.as_str(), "content-type: application/json", "transfer-encoding: chunked"];
    let follow = request("GET", "/support/inputs", &[&authorization], b"");
    for (body, told) in [
        ("2;a=b\r\n{}\r\n0\r\n\r\n", "a chunk extension"),
        ("2\r\n{}\r\n0\r\nauthorization: Bearer x\r\n\r\n", "trailers"),
        ("2\n{}\r\n0\r\n\r\n", "a bare LF behind a length"),
        ("0x2\r\n{}\r\n0\r\n\r\n", "a length that is none"),
        ("2\r\n{}xx0\r\n\r\n", "no line end behind a chunk"),
    ] {
        let before = house.entries(Query::default().phase(Phase::Refused)).await.len();
        let mut wire = Wire::connect(house.data()).await;
        let mut bytes = request("POST", "/support/kickoff", &headers, b"");
        bytes.extend(body.as_bytes());
        bytes.extend(&follow);
        wire.send(&bytes).await;
        // Whether a refusal can still be said depends on how much of the body had been read; nothing else is said.
        let said = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{told}: {said}");
        assert!(said.matches("HTTP/1.1").count() <= 1, "{told}: {said}");
        let entry = until("the record of a broken body", async || {
            let found = house.entries(Query::default().phase(Phase::Refused)).await;
            (found.len() > before).then(|| found.into_iter().next_back()).flatten()
        })
        .await;
        let received = entry
            .facts
            .iter()
            .any(|fact| matches!(fact, Fact::Received { path, .. } if path == "/support/kickoff"));
        let ended = entry.facts.iter().any(|fact| match fact {
            Fact::Refused { code, .. } => code == "body_unreadable",
            Fact::Ended { how, .. } => *how == Ending::CallerGone,
            _ => false,
        });
        assert!(received && ended, "{told}: {entry:?}");
    }
    assert_eq!(house.support.calls().total(), 0);
    let store = house.running.store().clone();
    assert!(crewgate_audit::AuditStore::open_intents(&store, 10).await.unwrap().is_empty());
    house.stop().await;
}
