use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use crewgate_core::{Layer as By, Refusal, Trail};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Mask, MaskBody,
    body::{How, Sleep},
    inflate::Inflate,
};
use crate::{MaskError, Masker, stream::Dialect};

/// Bytes of an answer that is held until it is known that nothing in it blocks it.
const MAX_HELD: usize = 8 << 20;

/// Masks answers while they stream. See the [crate docs](crate).
pub struct MaskResponseLayer<M> {
    mask: Arc<M>,
    sleep: Option<Sleep>,
}

impl<M: Mask> MaskResponseLayer<M> {
    /// Masks by what `mask` says: a [`Masker`], or a closure over the request's extensions.
    pub fn new(mask: M) -> Self {
        Self { mask: Arc::new(mask), sleep: None }
    }

    /// Lets the beginning of a word that waits for the rest of it go when nothing has come for 250 ms. It takes the
    /// runtime's way to wait, such as `tokio::time::sleep`. What could become part of a number, a key or a known secret
    /// waits on.
    #[must_use]
    pub fn sleep<F>(mut self, sleep: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.sleep = Some(Arc::new(move |age| Box::pin(sleep(age))));
        self
    }
}

impl<M> Clone for MaskResponseLayer<M> {
    fn clone(&self) -> Self {
        Self { mask: Arc::clone(&self.mask), sleep: self.sleep.clone() }
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
        MaskResponse { inner, mask: Arc::clone(&self.mask), sleep: self.sleep.clone() }
    }
}

/// See [`MaskResponseLayer`].
pub struct MaskResponse<S, M> {
    inner: S,
    mask: Arc<M>,
    sleep: Option<Sleep>,
}

impl<S: Clone, M> Clone for MaskResponse<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), mask: Arc::clone(&self.mask), sleep: self.sleep.clone() }
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
    type Future = ResponseFuture<S::Future, ResB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let trail = request.extensions().get::<Trail>().cloned();
        match self.mask.masker(request.extensions()) {
            Some(masker) => {
                // Text as it is, and all of it: a part could begin in the middle of a secret.
                request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                request.headers_mut().remove(header::RANGE);
                let with = With { masker, trail, sleep: self.sleep.clone() };
                ResponseFuture {
                    state: State::Calling { future: self.inner.call(request), with: Some(with) },
                }
            }
            // Before the call: an answer that cannot be masked must not be fetched.
            None => ResponseFuture { state: State::Refused },
        }
    }
}

/// What one call's answer is masked with.
struct With {
    masker: Masker,
    trail: Option<Trail>,
    sleep: Option<Sleep>,
}

impl fmt::Debug for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With").field("masker", &self.masker).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of [`MaskResponse`].
    #[derive(Debug)]
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F, B> {
        Calling { #[pin] future: F, with: Option<With> },
        Holding { head: Option<Parts>, #[pin] body: MaskBody<B>, held: BytesMut },
        Refused,
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + Default,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<MaskBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                StateProjection::Calling { future, with } => {
                    let response = ready!(future.poll(cx))?;
                    let Some(with) = with.take() else { return Poll::Ready(Ok(unknown())) };
                    let whole = with.masker.may_block() && !is_stream(&response);
                    let response = mask(response, with);
                    if !whole || response.body().is_end_stream() {
                        return Poll::Ready(Ok(response));
                    }
                    let (head, body) = response.into_parts();
                    State::Holding { head: Some(head), body, held: BytesMut::new() }
                }
                StateProjection::Holding { head, body, held } => {
                    let whole = ready!(poll_whole(body, held, cx));
                    return Poll::Ready(Ok(match (whole, head.take()) {
                        (Ok(bytes), Some(head)) => {
                            Response::from_parts(head, MaskBody::whole(B::default(), bytes))
                        }
                        (Err(refusal), _) => refusal.into_response(),
                        (Ok(_), None) => unknown(),
                    }));
                }
                StateProjection::Refused => return Poll::Ready(Ok(unknown())),
            };
            self.as_mut().project().state.set(next);
        }
    }
}

/// Reads a masked body to its end: no byte of an answer that something blocks may be seen, nor its status.
fn poll_whole<B>(
    mut body: Pin<&mut MaskBody<B>>,
    held: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, Refusal>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(Ok(held.split().freeze())),
            Some(Ok(frame)) => held.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(error)) if error.downcast_ref() == Some(&MaskError::Blocked) => {
                let text = "the answer holds something that must not be passed on";
                return Poll::Ready(Err(refusal(StatusCode::FORBIDDEN, "answer_blocked", text)));
            }
            Some(Err(_)) => {
                let text = "the answer broke off, or is not what it says it is";
                return Poll::Ready(Err(refusal(StatusCode::BAD_GATEWAY, "answer_unreadable", text)));
            }
        }
        if held.len() > MAX_HELD {
            let text = "the answer is too large to be looked through before it is passed on";
            return Poll::Ready(Err(refusal(StatusCode::BAD_GATEWAY, "answer_too_large", text)));
        }
    }
}

/// Events are told as they come: one that something blocks ends the stream.
fn is_stream<B>(response: &Response<B>) -> bool {
    matches!(dialect(response.headers()), Dialect::Lines | Dialect::Sse)
}

fn dialect(headers: &HeaderMap) -> Dialect {
    Dialect::of(headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()))
}

fn refusal(status: StatusCode, code: &'static str, text: &str) -> Refusal {
    Refusal::new(By::Masking, status, code, text)
}

fn unknown<B: Default>() -> Response<B> {
    let text = "which masks apply to this answer is not known";
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "mask_unknown", text).into_response()
}

/// Headers that speak of the bytes as they were before masking.
const STALE: [HeaderName; 10] = [
    header::ACCEPT_RANGES,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::ETAG,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("signature"),
    HeaderName::from_static("signature-input"),
];

fn mask<B: Body + Default>(response: Response<B>, with: With) -> Response<MaskBody<B>> {
    // A refusal's bare answer has no body to mask, and its renderer needs it as it is.
    if response.body().is_end_stream() {
        return response.map(MaskBody::passing);
    }
    let Ok(inflate) = Inflate::of(response.headers()) else {
        let text = "the answer came in an encoding that cannot be masked";
        return refusal(StatusCode::BAD_GATEWAY, "upstream_encoded", text).into_response();
    };
    let dialect = dialect(response.headers());
    let (mut parts, body) = response.into_parts();
    for name in STALE {
        parts.headers.remove(name);
    }
    let With { masker, trail, sleep } = with;
    Response::from_parts(parts, MaskBody::masking(body, How { masker, dialect, inflate, trail, sleep }))
}
