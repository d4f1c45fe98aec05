//! A service that has nothing to do with CrewAI and masks what it answers, whole or while it streams.
//!
//! `cargo run -p embed-one-layer`, then `curl http://127.0.0.1:3000/customer` and `curl -N http://127.0.0.1:3000/story`.

use axum::{
    Json, Router,
    body::Body,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use crewgate_core::MaskProfile;
use crewgate_masking::{MaskResponseLayer, Masker, Profiles};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let masker =
        Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).ok_or("no such profile")?;
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    fn pii() -> Masker {
        Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap()
    }

    async fn get(path: &str) -> String {
        let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
        let response = service(pii()).oneshot(request).await.unwrap();
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_json_answer_is_masked() {
        assert_eq!(
            get("/customer").await,
            r#"[["name","Maria Keller"],["email","<EMAIL>"],["iban","<IBAN>"]]"#
        );
    }

    #[tokio::test]
    async fn an_address_told_in_pieces_is_masked_as_one() {
        let story = get("/story").await;
        assert!(story.contains("<EMAIL>") && !story.contains("keller"), "{story}");
    }
}
