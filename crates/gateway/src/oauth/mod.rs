//! What issuers and token clients ask of the gateway itself, beside the stack: tokens of ours for theirs, the documents
//! that say how, and events about their tokens.

mod events;
mod form;
mod token;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use crewgate_core::Clock;
use crewgate_oidc::{EventReceiver, Exchange, Fetch, InvalidConfig, Revocations, SigningKey, UsedIds};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

pub(crate) use self::{events::EventDesk, form::Form, token::TokenDesk};
use crate::{
    config::{EventSettings, ExchangeSettings},
    identity::fetch_by,
};

/// First segment of all these addresses; no crew may be called so.
const PATH: &str = "/oauth";

/// Where tokens are exchanged (RFC 8693).
pub(crate) const TOKEN: &str = "/oauth/token";

/// Where our keys are.
pub(crate) const KEYS: &str = "/oauth/jwks";

/// Where events are pushed to (RFC 8935).
pub(crate) const EVENTS: &str = "/oauth/events";

/// Where the issuer of exchanged tokens describes itself (RFC 8414 section 3.1, and OpenID Connect's place for it).
pub(crate) const METADATA: [&str; 2] =
    ["/.well-known/oauth-authorization-server/oauth", "/oauth/.well-known/openid-configuration"];

/// The exchange these settings ask for.
///
/// # Errors
///
/// What is wrong with its keys.
pub(crate) fn exchange(asked: &ExchangeSettings, base: &str) -> Result<Exchange, InvalidConfig> {
    let keys = asked.keys.iter().map(|pem| SigningKey::from_pem(pem.expose().as_bytes()));
    let exchange = Exchange::new(format!("{base}{PATH}"), base, keys.collect::<Result<_, _>>()?)?;
    Ok(exchange.lifetime(asked.lifetime))
}

/// The receiver these settings ask for.
///
/// # Errors
///
/// What is wrong with a source.
pub(crate) fn events(
    asked: &[EventSettings],
    revocations: Revocations,
    used: Arc<dyn UsedIds>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<EventDesk>>, String> {
    if asked.is_empty() {
        return Ok(None);
    }
    let mut sources = Vec::new();
    for event in asked {
        let fetch: Arc<dyn Fetch> = Arc::new(fetch_by(&event.reach)?);
        sources.push((event.source.clone(), fetch));
    }
    let receiver =
        EventReceiver::new(sources, revocations, used, clock).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(EventDesk(receiver))))
}

/// What is served of it; nothing by default.
#[derive(Clone, Default)]
pub(crate) struct Desks {
    pub(crate) token: Option<Arc<TokenDesk>>,
    pub(crate) events: Option<Arc<EventDesk>>,
}

impl Desks {
    /// Answers a request to one of these addresses; gives any other one back.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Request<Body>> {
        let path = request.uri().path();
        match (&self.token, &self.events) {
            (Some(desk), _) if path == TOKEN => Ok(desk.answer(request).await),
            (_, Some(desk)) if path == EVENTS => Ok(desk.answer(request).await),
            _ => Err(request),
        }
    }
}

/// The body of a `POST` of this type, within its bound; the status that says why not.
async fn posted(request: Request<Body>, kind: &str, bound: usize) -> Result<Bytes, StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let stated = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = stated.and_then(|value| value.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(kind)) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let body = Limited::new(request.into_body(), bound).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
}

/// An answer that nobody keeps.
fn json(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
