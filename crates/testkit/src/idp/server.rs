//! The HTTP face of the development provider.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{Shared, TokenBuilder};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(document))
        .route("/jwks", get(document))
        .route("/token", post(token))
        .with_state(shared)
}

async fn document(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    tokio::time::sleep(Duration::from_millis(shared.delay_millis.load(Ordering::SeqCst))).await;
    match shared.document(uri.path()) {
        Some(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// What `POST /token` takes. There is no client secret: anybody may be anybody here.
#[derive(Debug, Deserialize)]
struct Wish {
    subject: String,
    #[serde(default)]
    groups: String,
    #[serde(default = "five_minutes")]
    lifetime: u64,
    #[serde(default = "crewgate")]
    audience: String,
}

fn five_minutes() -> u64 {
    300
}

fn crewgate() -> String {
    "crewgate".to_owned()
}

/// `curl -d subject=alice -d groups=analysts,on-call -d lifetime=600 …/token`
async fn token(State(shared): State<Arc<Shared>>, Form(wish): Form<Wish>) -> Response {
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let groups = wish.groups.split([',', ' ']).filter(|group| !group.is_empty());
    let token = TokenBuilder::new(shared)
        .subject(&wish.subject)
        .groups(groups)
        .audience(&wish.audience)
        .lifetime(Duration::from_secs(wish.lifetime))
        .sign();
    Json(json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": wish.lifetime,
        "warning": "development identity provider: anybody can have any token here",
    }))
    .into_response()
}
