//! Refuses, on the record, what the strict HTTP gate refused.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::body::Body;
use crewgate_core::{Layer as By, Refusal};
use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, StatusCode, header};
use tower::{Layer, Service};

use crate::gate::Violation;

/// Refuses requests that carry a [`Violation`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RefuseViolationsLayer;

impl<S> Layer<S> for RefuseViolationsLayer {
    type Service = RefuseViolations<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RefuseViolations { inner }
    }
}

/// See [`RefuseViolationsLayer`].
#[derive(Debug, Clone)]
pub(crate) struct RefuseViolations<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for RefuseViolations<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(violation) = request.extensions().get::<Violation>() else {
            return Either::Left(self.inner.call(request));
        };
        let status = match violation {
            Violation::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Violation::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        };
        let refusal = Refusal::new(By::Gateway, status, violation.code(), violation.to_string());
        let mut response: Response<Body> = refusal.into_response();
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        Either::Right(ready(Ok(response)))
    }
}
