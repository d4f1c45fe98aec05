//! The way over: loosenings that end by themselves, and their marks on what passes.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use crewgate_core::{Clock, Operation, Principal, Timestamp};
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response};
use tower::{Layer, Service};

use crate::{crews::Crews, identity::LEGACY};

/// Whether a crew only observes now.
pub(crate) fn observes(crews: &Crews, operation: &Operation, now: Timestamp) -> bool {
    let crew = crews.find(&operation.resource.name);
    crew.and_then(|crew| crew.settings.observe).is_some_and(|observe| now < observe.until)
}

/// RFC 9745.
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// RFC 8594.
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// Tells who still uses a shared key that it is deprecated, and when it ends.
#[derive(Clone)]
pub(crate) struct SunsetLayer(pub(crate) Arc<dyn Clock>);

impl<S> Layer<S> for SunsetLayer {
    type Service = Sunset<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Sunset { inner, clock: Arc::clone(&self.0) }
    }
}

/// See [`SunsetLayer`].
#[derive(Clone)]
pub(crate) struct Sunset<S> {
    inner: S,
    clock: Arc<dyn Clock>,
}

impl<S> Service<Request<Body>> for Sunset<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let legacy =
            request.extensions().get::<Principal>().filter(|principal| principal.key.issuer == LEGACY);
        let Some(ends) = legacy.map(|principal| principal.token.expires) else {
            return Box::pin(self.inner.call(request));
        };
        let (now, answer) = (self.clock.now(), self.inner.call(request));
        Box::pin(async move {
            let mut response = answer.await?;
            let headers = response.headers_mut();
            if let Ok(value) = HeaderValue::try_from(format!("@{}", now.as_secs())) {
                headers.insert(DEPRECATION, value);
            }
            if let Ok(value) = HeaderValue::try_from(httpdate::fmt_http_date(ends.into())) {
                headers.insert(SUNSET, value);
            }
            Ok(response)
        })
    }
}
