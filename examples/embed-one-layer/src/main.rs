//! A service that has nothing to do with CrewAI and masks what it answers, whole or while it streams.
//!
//! `cargo run -p embed-one-layer`, then `curl http://127.0.0.1:3000/customer` and `curl -N http://127.0.0.1:3000/story`.
//! `cargo run -p embed-one-layer -- --check` calls both itself, without a socket.

use std::error::Error;

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    http::{Request, header},
    response::{IntoResponse, Response},
    routing::get,
};
use crewgate_core::MaskProfile;
use crewgate_masking::{MaskResponseLayer, Masker, Profiles};
use tower::ServiceExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let profile = MaskProfile::new("pii-basic");
    let masker = Profiles::builtin().masker(&[profile].into()).ok_or("no such profile")?;
    if std::env::args().nth(1).as_deref() == Some("--check") {
        return check(masker).await;
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 3000)).await?;
    println!("http://{}/customer and /story", listener.local_addr()?);
    axum::serve(listener, service(masker)).await?;
    Ok(())
}

/// The service, with the one layer around all of it.
fn service(masker: Masker) -> Router {
    Router::new()
        .route("/customer", get(customer))
        .route("/story", get(story))
        .layer(MaskResponseLayer::new(masker))
}

async fn customer() -> impl IntoResponse {
    Json([
        ("name", "Maria Keller"),
        ("email", "maria.keller@example.com"),
        ("iban", "DE89370400440532013000"),
    ])
}

/// Tells an e-mail address in pieces, as a model would: no event holds it whole.
async fn story() -> Response {
    let pieces = ["Write to", " maria", ".", "keller", "@example", ".com", " today", "."];
    let events = pieces.map(|piece| format!("event: chunk\ndata: {{\"content\": \"{piece}\"}}\n\n"));
    let body = Body::from(events.concat() + "data: [DONE]\n\n");
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn check(masker: Masker) -> Result<(), Box<dyn Error>> {
    for path in ["/customer", "/story"] {
        let answer = service(masker.clone()).oneshot(Request::get(path).body(Body::empty())?).await?;
        let text = String::from_utf8(to_bytes(answer.into_body(), 64 * 1024).await?.into())?;
        println!("{path}\n{text}\n");
        if !text.contains("<EMAIL>") || text.contains("keller") || text.contains("DE89") {
            return Err(format!("{path} is not masked").into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_masked_whole_and_told_in_pieces() {
        let pii = Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap();
        check(pii).await.unwrap();
    }

    #[tokio::test]
    async fn the_check_finds_an_answer_that_is_not_masked() {
        let secrets = Profiles::builtin().masker(&[MaskProfile::new("secrets")].into()).unwrap();
        assert_eq!(check(secrets).await.unwrap_err().to_string(), "/customer is not masked");
    }
}
