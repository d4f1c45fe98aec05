//! A service that knows its callers by their tokens and decides with a closure: all may read, `writers` may write.
//!
//! `cargo run -p embed-policy -- https://issuer.example`, an issuer of yours whose tokens carry the audience `notes`.
//! `cargo run -p embed-policy -- --check` starts a development issuer and calls the service itself.

use std::{convert::Infallible, error::Error};

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use crewgate_core::{Action, Decision, Effect, Message, Operation, Refusal, Resource};
use crewgate_oidc::{AuthenticateLayer, HttpFetch, IssuerConfig, Verifier};
use crewgate_policy::{DescribeLayer, EnforceLayer, Query};
use crewgate_testkit::DevIdp;
use http::{Method, Request, Response, header::AUTHORIZATION, request::Parts};
use tower::{Service, ServiceBuilder, ServiceExt, make::Shared};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1).ok_or("usage: embed-policy <issuer URL> | --check")?;
    if argument == "--check" {
        return check().await;
    }
    let verifier = verifier(&argument)?;
    tokio::spawn(verifier.keep_fresh());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 3000)).await?;
    println!("http://{}/notes/<name>", listener.local_addr()?);
    axum::serve(listener, Shared::new(service(verifier))).await?;
    Ok(())
}

fn verifier(issuer: &str) -> Result<Verifier, Box<dyn Error>> {
    let issuer = IssuerConfig::new("idp", issuer, ["notes"])?;
    Ok(Verifier::builder().fetch(HttpFetch::new()?).issuer(issuer).build()?)
}

/// Who, what, whether: three layers around a router that knows nothing of them.
fn service(
    verifier: Verifier,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync
{
    ServiceBuilder::new()
        .layer(AuthenticateLayer::new(verifier))
        .layer(DescribeLayer::new(describe))
        .layer(EnforceLayer::new(decide))
        .service(Router::new().route("/notes/{name}", any(async || "a note\n")))
}

fn describe(head: &Parts, _body: &Bytes) -> Result<Operation, Refusal> {
    let read = head.method == Method::GET;
    Ok(Operation {
        action: Action::of(if read { "read" } else { "write" }),
        resource: Resource { kind: "Note".into(), name: head.uri.path().to_owned(), parents: Vec::new() },
        effect: if read { Effect::Read } else { Effect::Write },
        inputs: Vec::new(),
        datasets: Vec::new(),
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 0,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: head.method.clone(), path: Vec::new(), body: None, free_text: Vec::new() },
    })
}

fn decide(query: &Query<'_>) -> Decision {
    let writer = query.principal.groups.contains("idp:writers");
    match query.operation.effect {
        Effect::Write if !writer => Decision::refuse("only members of `writers` may write"),
        Effect::Read | Effect::Write => Decision::allow(),
    }
}

async fn check() -> Result<(), Box<dyn Error>> {
    let idp = DevIdp::start().await?;
    let service = service(verifier(idp.url())?);
    let token = |group: &str| idp.token().subject("ana").groups([group]).audience("notes").sign();
    let (reader, writer) = (token("readers"), token("writers"));
    for (who, method, token, expected) in [
        ("nobody", Method::GET, "", 401),
        ("a reader", Method::GET, &*reader, 200),
        ("a reader", Method::PUT, &*reader, 403),
        ("a writer", Method::PUT, &*writer, 200),
    ] {
        let request = Request::builder().method(&method).uri("/notes/one");
        let request =
            if token.is_empty() { request } else { request.header(AUTHORIZATION, format!("Bearer {token}")) };
        let status = service.clone().oneshot(request.body(Body::empty())?).await?.status();
        println!("{method} by {who}: {status}");
        (status == expected).then_some(()).ok_or(format!("expected {expected}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_closure_decides_who_may_write() {
    check().await.unwrap();
}
