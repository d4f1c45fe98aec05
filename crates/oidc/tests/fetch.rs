//! Documents over real sockets: what is fetched, and what is not followed.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use crewgate_oidc::{Bearer, Fetch, Fetched, HttpFetch, IssuerConfig, Reason, Verifier, VerifyToken};
use crewgate_testkit::DevIdp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server of a few pages, one request per connection: the layers do not know a framework, not even in tests.
async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    url
}

async fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            // A TLS hello is no request: hang up instead of waiting for the rest of it.
            Ok(byte) if head.is_empty() && !byte.is_ascii_uppercase() => return,
            Ok(byte) if head.len() < 4096 => head.push(byte),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap_or_default();
    let (status, body) = match head.split(' ').nth(1) {
        Some("/good") => ("200 OK", "good".to_owned()),
        Some("/tagged") if head.contains("\r\nif-none-match: \"v1\"\r\n") => {
            ("304 Not Modified\r\ncache-control: max-age=60", String::new())
        }
        Some("/tagged") => (
            "200 OK\r\netag: \"v1\"\r\ncache-control: public, max-age=\"3600\", must-revalidate",
            "one".to_owned(),
        ),
        Some("/unasked") => ("304 Not Modified", String::new()),
        Some("/fleeting") => {
            ("200 OK\r\ncache-control: max-age=60\r\ncache-control: no-store", "x".to_owned())
        }
        Some("/huge") => ("200 OK", "x".repeat((1 << 20) + 1)),
        Some("/moved") => ("307 Temporary Redirect\r\nlocation: /good", String::new()),
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    // The other end may have stopped reading: that is what one of the tests is about.
    let _ = stream.write_all(text.as_bytes()).await;
}

fn verifier(url: &str) -> Verifier {
    Verifier::builder().issuer(IssuerConfig::new("dev", url, ["crewgate"]).unwrap()).build().unwrap()
}

#[tokio::test]
async fn a_provider_on_loopback_is_discovered_and_rotates_while_running() {
    let idp = DevIdp::start().await.unwrap();
    let verifier = verifier(idp.url());
    assert!(verifier.verify(Bearer::new(idp.token().sign())).await.is_ok());
    let old = idp.token().sign();
    idp.rotate();
    assert!(verifier.verify(Bearer::new(idp.token().sign())).await.is_ok());
    assert_eq!(verifier.verify(Bearer::new(old)).await.unwrap_err().reason(), Reason::KeyUnknown);
}

#[tokio::test]
async fn a_provider_nobody_listens_for_is_not_ready() {
    let idp = DevIdp::start().await.unwrap();
    let token = idp.token().sign();
    let url = idp.url().to_owned();
    let verifier = verifier(&url);
    drop(idp);
    // The listener ends with the provider's task.
    while TcpStream::connect(url.strip_prefix("http://").unwrap()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let rejection = verifier.verify(Bearer::new(token)).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::IssuerNotReady);
    assert!(!verifier.issuers()[0].ready);
}

#[tokio::test]
async fn redirects_errors_and_endless_documents_are_not_taken() {
    let url = serve().await;
    let fetch = HttpFetch::new().unwrap();
    let of = |path: &str| fetch.fetch(format!("{url}{path}").parse().unwrap(), None);
    assert_eq!(of("/good").await.unwrap(), Bytes::from("good").into());
    assert!(of("/moved").await.unwrap_err().to_string().contains("307"));
    assert!(of("/gone").await.unwrap_err().to_string().contains("404"));
    assert!(of("/huge").await.unwrap_err().to_string().contains("limit"));
}

#[tokio::test]
async fn https_is_not_spoken_to_a_server_without_a_certificate() {
    let url = serve().await;
    let fetch = HttpFetch::new().unwrap();
    assert!(
        fetch
            .fetch(format!("{url}/good").replace("http://", "https://").parse().unwrap(), None)
            .await
            .is_err()
    );
}

#[test]
fn an_extra_ca_must_hold_a_certificate() {
    for bad in ["not pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(HttpFetch::with_extra_ca(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_document_is_asked_for_by_its_tag_and_comes_with_its_age() {
    let url = serve().await;
    let fetch = HttpFetch::new().unwrap();
    let get = |path: &str, known: Option<&str>| {
        fetch.fetch(format!("{url}{path}").parse().unwrap(), known.map(str::to_owned))
    };
    let tag = Some("\"v1\"".to_owned());
    let first = get("/tagged", None).await.unwrap();
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(first, Fetched { body: Some(Bytes::from("one")), tag: tag.clone(), max_age: hour });
    let again = get("/tagged", tag.as_deref()).await.unwrap();
    assert_eq!(again, Fetched { body: None, tag: None, max_age: Some(Duration::from_secs(60)) });
    assert!(get("/unasked", None).await.is_err(), "nothing was asked with a tag");
    assert_eq!(get("/fleeting", None).await.unwrap().max_age, Some(Duration::ZERO));
}
