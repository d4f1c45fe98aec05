use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crewgate_core::{Layer as By, Refusal, Trail};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Mask, MaskBody};
use crate::{Masker, stream::Dialect};

/// Masks answers while they stream. See the [crate docs](crate).
pub struct MaskResponseLayer<M> {
    mask: Arc<M>,
}

impl<M: Mask> MaskResponseLayer<M> {
    /// Masks by what `mask` says: a [`Masker`], or a closure over the request's extensions.
    pub fn new(mask: M) -> Self {
        Self { mask: Arc::new(mask) }
    }
}

impl<M> Clone for MaskResponseLayer<M> {
    fn clone(&self) -> Self {
        Self { mask: Arc::clone(&self.mask) }
    }
}

impl<M> fmt::Debug for MaskResponseLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskResponseLayer").finish_non_exhaustive()
    }
}

impl<S, M> Layer<S> for MaskResponseLayer<M> {
    type Service = MaskResponse<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        MaskResponse { inner, mask: Arc::clone(&self.mask) }
    }
}

/// See [`MaskResponseLayer`].
pub struct MaskResponse<S, M> {
    inner: S,
    mask: Arc<M>,
}

impl<S: Clone, M> Clone for MaskResponse<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), mask: Arc::clone(&self.mask) }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for MaskResponse<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskResponse").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, M, ReqB, ResB> Service<Request<ReqB>> for MaskResponse<S, M>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    M: Mask,
    ResB: Body + Default,
    ResB::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<MaskBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let trail = request.extensions().get::<Trail>().cloned();
        match self.mask.masker(request.extensions()) {
            Some(masker) => ResponseFuture {
                state: State::Calling { future: self.inner.call(request), masker: Some((masker, trail)) },
            },
            // Before the call: an answer that cannot be masked must not be fetched.
            None => ResponseFuture { state: State::Refused },
        }
    }
}

pin_project! {
    /// Future of [`MaskResponse`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F> {
        Calling { #[pin] future: F, masker: Option<(Masker, Option<Trail>)> },
        Refused,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + Default,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<MaskBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Calling { future, masker } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(match masker.take() {
                    Some((masker, trail)) => mask(response, masker, trail),
                    None => refuse("mask_unknown", StatusCode::INTERNAL_SERVER_ERROR),
                }))
            }
            StateProjection::Refused => {
                Poll::Ready(Ok(refuse("mask_unknown", StatusCode::INTERNAL_SERVER_ERROR)))
            }
        }
    }
}

fn refuse<B: Default>(code: &'static str, status: StatusCode) -> Response<B> {
    let text = match code {
        "upstream_encoded" => "the answer came in an encoding that cannot be masked",
        _ => "which masks apply to this answer is not known",
    };
    Refusal::new(By::Masking, status, code, text).into_response()
}

/// Headers that speak of the bytes as they were before masking.
const STALE: [HeaderName; 6] = [
    header::ACCEPT_RANGES,
    header::CONTENT_LENGTH,
    header::ETAG,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
];

fn mask<B: Body + Default>(
    response: Response<B>,
    masker: Masker,
    trail: Option<Trail>,
) -> Response<MaskBody<B>> {
    // A refusal's bare answer has no body to mask, and its renderer needs it as it is.
    if response.body().is_end_stream() {
        return response.map(MaskBody::passing);
    }
    if encoded(response.headers()) {
        return refuse("upstream_encoded", StatusCode::BAD_GATEWAY);
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let dialect = Dialect::of(kind);
    let (mut parts, body) = response.into_parts();
    for name in STALE {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, MaskBody::masking(body, masker, dialect, trail))
}

fn encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
