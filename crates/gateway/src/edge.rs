//! The outside of the data plane: what happens to a request before it is anybody's.

use std::{
    any::Any,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use crewgate_core::{Layer as By, Operation, Refusal, RequestId};
use http::{Request, Response, StatusCode, header};
use opentelemetry::KeyValue;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestId, RequestId as HttpRequestId, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::{
    limit::AddressLimit,
    listen::Remote,
    oauth::Desks,
    problem,
    relay::RelayDesk,
    stack::DataPlane,
    telemetry::{self, Instruments},
    well_known::WellKnown,
};

/// What stands beside the stack.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) limit: Arc<AddressLimit>,
    pub(crate) well_known: WellKnown,
    pub(crate) oauth: Desks,
    pub(crate) relay: RelayDesk,
    pub(crate) instruments: Instruments,
    pub(crate) timeout: Duration,
}

impl Edge {
    /// The data plane with everything that belongs outside the record.
    pub(crate) fn around(self, stack: DataPlane) -> DataPlane {
        let timeout = self.timeout;
        let service = tower::service_fn(move |request: Request<Body>| {
            let (edge, stack) = (self.clone(), stack.clone());
            async move { Ok::<_, Infallible>(edge.call(stack, request).await) }
        });
        let service = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
            .map_request(forget_request_id)
            .layer(SetRequestIdLayer::new(problem::REQUEST_ID, RandomId))
            .map_request(adopt_request_id)
            .layer(TraceLayer::new_for_http().make_span_with(telemetry::span))
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, timeout))
            .service(service);
        BoxCloneSyncService::new(service)
    }

    async fn call(self, stack: DataPlane, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        if let Some(Remote(remote)) = request.extensions().get::<Remote>()
            && let Err(wait) = self.limit.take(remote.ip())
        {
            self.instruments.limited.add(1, &[]);
            let text = "too many calls from this address";
            let refusal = Refusal::new(By::Gateway, StatusCode::TOO_MANY_REQUESTS, "address_limited", text);
            return problem::answer(refusal.with_retry_after(wait));
        }
        if request.extensions().get::<crate::gate::Violation>().is_none()
            && let Some(document) = self.well_known.answer(&request)
        {
            return document;
        }
        let violates = request.extensions().get::<crate::gate::Violation>().is_some();
        let beside = match self.beside(violates, request).await {
            Ok(answer) => return answer,
            Err(request) => request,
        };
        let response = match stack.oneshot(beside).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = KeyValue::new("status", i64::from(response.status().as_u16()));
        self.instruments.calls.add(1, std::slice::from_ref(&status));
        self.instruments.latency.record(started.elapsed().as_secs_f64(), &[status]);
        response
    }
}

impl Edge {
    /// Answers what is not for a crew; gives any other request back.
    async fn beside(&self, violates: bool, request: Request<Body>) -> Result<Response<Body>, Request<Body>> {
        if violates {
            return Err(request);
        }
        match self.oauth.answer(request).await {
            Ok(answer) => Ok(answer),
            Err(request) => self.relay.answer(request).await,
        }
    }
}

/// A request id of the caller's choice could make one call look like another on the record.
fn forget_request_id(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().remove(&problem::REQUEST_ID);
    request.extensions_mut().remove::<Operation>();
    request
}

/// The id tower-http made, as the record knows it.
fn adopt_request_id(mut request: Request<Body>) -> Request<Body> {
    let id = request.headers_mut().remove(&problem::REQUEST_ID);
    if let Some(id) = id.and_then(|id| id.to_str().ok().and_then(|id| id.parse::<RequestId>().ok())) {
        request.extensions_mut().insert(id);
    }
    request
}

#[derive(Debug, Clone, Copy)]
struct RandomId;

impl MakeRequestId for RandomId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<HttpRequestId> {
        header::HeaderValue::try_from(RequestId::random().to_string()).ok().map(HttpRequestId::new)
    }
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a call panicked");
    let text = "the gateway failed while handling this call";
    problem::answer(Refusal::new(By::Gateway, StatusCode::INTERNAL_SERVER_ERROR, "internal", text))
}
