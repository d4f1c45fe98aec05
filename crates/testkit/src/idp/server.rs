//! The HTTP face of the development provider.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Shared, TokenBuilder,
    grants::{Fields, Refused},
};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(document))
        .route("/jwks", get(document))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/device_authorization", post(device))
        .route("/revoke", post(revoke))
        .with_state(shared)
}

/// Waits as long as it is told to; `false` while it is down.
async fn is_up(shared: &Shared) -> bool {
    tokio::time::sleep(Duration::from_millis(shared.delay_millis.load(Ordering::SeqCst))).await;
    !shared.down.load(Ordering::SeqCst)
}

async fn document(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    is_up(&shared).await;
    match shared.document(uri.path()) {
        Some(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// A grant of RFC 6749 or RFC 8628; without `grant_type` a wish, and there is no secret: anybody may be anybody here.
/// `curl -d subject=alice -d groups=analysts,on-call -d lifetime=600 …/token`
async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    if !is_up(&shared).await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let answer = if fields.contains_key("grant_type") {
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        shared.grants.token(&shared, &fields, basic)
    } else {
        wish(&shared, &fields)
    };
    match answer {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(refused) => refused.into_response(),
    }
}

fn wish(shared: &Arc<Shared>, fields: &Fields) -> Result<Value, Refused> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    let invalid = Refused("invalid_request");
    let lifetime: u64 = field("lifetime").map_or(Ok(300), str::parse).map_err(|_| invalid)?;
    let groups = field("groups").unwrap_or_default().split([',', ' ']).filter(|group| !group.is_empty());
    let token = TokenBuilder::new(Arc::clone(shared))
        .subject(field("subject").ok_or(invalid)?)
        .groups(groups)
        .audience(field("audience").unwrap_or("crewgate"))
        .lifetime(Duration::from_secs(lifetime))
        .sign();
    Ok(json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "warning": "development identity provider: anybody can have any token here",
    }))
}

/// Sends a browser back, with whoever sits at it.
async fn authorize(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    if !is_up(&shared).await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match shared.codes.authorize(&shared, uri.query().unwrap_or_default()) {
        Some(back) => (StatusCode::SEE_OTHER, [(header::LOCATION, back)]).into_response(),
        None => Refused("invalid_request").into_response(),
    }
}

/// `curl -d client_id=cli …/device_authorization` (RFC 8628).
async fn device(State(shared): State<Arc<Shared>>, Form(fields): Form<Fields>) -> Response {
    if !is_up(&shared).await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if !fields.contains_key("client_id") {
        return Refused("invalid_client").into_response();
    }
    Json(shared.grants.device(&shared)).into_response()
}

/// RFC 7009.
async fn revoke(State(shared): State<Arc<Shared>>, Form(fields): Form<Fields>) -> Response {
    if !is_up(&shared).await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    shared.grants.revoke(&fields);
    StatusCode::OK.into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            if self.0 == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        (status, Json(json!({ "error": self.0 }))).into_response()
    }
}
