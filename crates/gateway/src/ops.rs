//! Health, readiness and metrics, on a listener of their own.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::BoxFuture;
use serde::Serialize;
use tower::{ServiceExt, util::BoxCloneSyncService};

use crate::telemetry::Telemetry;

/// How one part is doing.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a traffic light has three colours")]
pub enum Health {
    /// Works, with something to look at.
    Amber {
        /// What.
        reason: String,
    },
    /// Works.
    Green,
    /// Does not work; calls that need it are refused.
    Red {
        /// Why.
        reason: String,
    },
}

/// The state of every part by name.
pub type Parts = BTreeMap<String, Health>;

/// Asks every part how it is.
pub trait Checkup: Send + Sync + 'static {
    /// The parts and their state now.
    fn checkup(&self) -> BoxFuture<'_, Parts>;
}

#[derive(Clone)]
struct Ops {
    checkup: Arc<dyn Checkup>,
    registry: prometheus::Registry,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    parts: Parts,
}

/// `/healthz` (the process runs), `/readyz` (it can serve; amber is still ready), `/metrics` (Prometheus text).
#[must_use]
pub fn service(
    checkup: Arc<dyn Checkup>,
    registry: prometheus::Registry,
) -> BoxCloneSyncService<http::Request<Body>, Response, Infallible> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Ops { checkup, registry });
    BoxCloneSyncService::new(router.map_request(|request: http::Request<Body>| request))
}

async fn ready(State(ops): State<Ops>) -> Response {
    let parts = ops.checkup.checkup().await;
    let ready = !parts.values().any(|health| matches!(health, Health::Red { .. }));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, parts })).into_response()
}

async fn metrics(State(ops): State<Ops>) -> Response {
    match Telemetry::scrape(&ops.registry) {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    struct Fixed(Health);

    impl Checkup for Fixed {
        fn checkup(&self) -> BoxFuture<'_, Parts> {
            Box::pin(async { Parts::from([("store".to_owned(), self.0.clone())]) })
        }
    }

    async fn get(health: Health, path: &str) -> (StatusCode, String) {
        let service = service(Arc::new(Fixed(health)), prometheus::Registry::new());
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let status = response.status();
        (
            status,
            String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn amber_serves_and_red_does_not() {
        let amber = Health::Amber { reason: "observe mode".to_owned() };
        let (status, body) = get(amber, "/readyz").await;
        assert!(status == StatusCode::OK && body.contains("observe mode"), "{body}");
        let red = Health::Red { reason: "poisoned".to_owned() };
        assert_eq!(get(red.clone(), "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(red, "/healthz").await.0, StatusCode::OK);
    }
}
