//! A service that knows its callers by their tokens and decides with a closure: members of `writers` may write, every
//! caller may read.
//!
//! `cargo run -p embed-policy -- https://issuer.example` with an issuer of yours whose tokens carry the audience
//! `notes`.

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use crewgate_core::{Action, Decision, Effect, Group, Message, Operation, Refusal, Resource};
use crewgate_oidc::{AuthenticateLayer, HttpFetch, IssuerConfig, Verifier};
use crewgate_policy::{DescribeLayer, EnforceLayer, Query};
use http::{Method, Request, Response, request::Parts};
use tower::{Service, ServiceBuilder, make::Shared};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = std::env::args().nth(1).ok_or("usage: embed-policy <issuer URL>")?;
    let verifier = verifier(&issuer)?;
    tokio::spawn(verifier.keep_fresh());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 3000)).await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, Shared::new(service(verifier))).await?;
    Ok(())
}

fn verifier(issuer: &str) -> Result<Verifier, Box<dyn std::error::Error>> {
    let issuer = IssuerConfig::new("idp", issuer, ["notes"])?;
    Ok(Verifier::builder().fetch(HttpFetch::new()?).issuer(issuer).build()?)
}

/// Who, what, whether: three layers around a router that knows nothing of them.
fn service(
    verifier: Verifier,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible, Future: Send>
+ Clone
+ Send
+ Sync {
    let notes = Router::new().route("/notes/{name}", any(async || "a note\n"));
    ServiceBuilder::new()
        .layer(AuthenticateLayer::new(verifier))
        .layer(DescribeLayer::new(describe))
        .layer(EnforceLayer::new(decide))
        .service(notes)
}

fn describe(head: &Parts, _body: &Bytes) -> Result<Operation, Refusal> {
    let (action, effect) = match head.method {
        Method::GET => (Action::of("read"), Effect::Read),
        _ => (Action::of("write"), Effect::Write),
    };
    Ok(Operation {
        action,
        resource: Resource { kind: "Note".into(), name: head.uri.path().to_owned(), parents: Vec::new() },
        effect,
        inputs: Vec::new(),
        datasets: Vec::new(),
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
    let writer = query.principal.groups.contains(&Group::new("idp", "writers"));
    match query.operation.effect {
        Effect::Read => Decision::allow(),
        Effect::Write if writer => Decision::allow(),
        Effect::Write => Decision::refuse("only members of `writers` may write"),
    }
}

#[cfg(test)]
mod tests {
    use crewgate_testkit::DevIdp;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_closure_decides_who_may_write() {
        let idp = DevIdp::start().await.unwrap();
        let service = service(verifier(idp.url()).unwrap());
        let token = |group: &str| idp.token().subject("ana").groups([group]).audience("notes").sign();
        for (method, token, expected) in [
            (Method::GET, None, 401),
            (Method::GET, Some(token("readers")), 200),
            (Method::PUT, Some(token("readers")), 403),
            (Method::PUT, Some(token("writers")), 200),
        ] {
            let mut request = Request::builder().method(method).uri("/notes/one");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), expected);
        }
    }
}
