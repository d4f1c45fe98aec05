use axum::body::Body;
use crewgate_oidc::{EventReceiver, MAX_EVENT};
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::posted;

/// Takes events that issuers push (RFC 8935).
#[derive(Debug)]
pub(crate) struct EventDesk(pub(crate) EventReceiver);

impl EventDesk {
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let refused = |status, code: &str, text: &str| {
            super::json(status, &json!({ "err": code, "description": text }))
        };
        let body = match posted(request, "application/secevent+jwt", MAX_EVENT).await {
            Ok(body) => body,
            Err(status) => return refused(status, "invalid_request", "POST application/secevent+jwt here"),
        };
        match self.0.receive(&body).await {
            Ok(outcome) => {
                tracing::info!(?outcome, "an event was taken");
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(error) => {
                tracing::warn!(%error, "an event was not taken");
                match error.code() {
                    Some(code) => refused(StatusCode::BAD_REQUEST, code, error.description()),
                    // Not the transmitter's fault: it sends the event again.
                    None => refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "send it again"),
                }
            }
        }
    }
}
