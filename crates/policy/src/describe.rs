use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use crewgate_core::{Fact, Layer as By, Operation, Refusal, Trail};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH},
    request::Parts,
};
use http_body::Body;
use http_body_util::BodyExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxFuture;

/// Turns a request's head and whole body into an [`Operation`].
/// A closure `Fn(&Parts, &Bytes) -> Result<Operation, Refusal>` does.
pub trait Describe: Send + Sync + 'static {
    /// What is asked.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] to answer with when it is nothing this service offers (404), or not said properly (400).
    fn describe(&self, head: &Parts, body: &Bytes) -> Result<Operation, Refusal>;
}

impl<F> Describe for F
where
    F: Fn(&Parts, &Bytes) -> Result<Operation, Refusal> + Send + Sync + 'static,
{
    fn describe(&self, head: &Parts, body: &Bytes) -> Result<Operation, Refusal> {
        self(head, body)
    }
}

/// Bytes of a request body [`DescribeLayer`] takes by default: 1 MiB, many times a long prompt, and small enough
/// that hundreds of requests fit in memory at once.
pub const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// Reads the body (bounded), has it described, and puts the [`Operation`] on the request. The body goes on as the
/// same bytes. See the [crate's examples](crate).
pub struct DescribeLayer<D: ?Sized> {
    max_body: usize,
    describe: Arc<D>,
}

impl<D: Describe> DescribeLayer<D> {
    /// Describes with `describe`; bodies of up to [`DEFAULT_MAX_BODY`] bytes.
    pub fn new(describe: D) -> Self {
        Self { max_body: DEFAULT_MAX_BODY, describe: Arc::new(describe) }
    }
}

impl<D: ?Sized> DescribeLayer<D> {
    /// Refuses bodies of more than this many bytes (413) as soon as that is known.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }
}

impl<D: ?Sized> Clone for DescribeLayer<D> {
    fn clone(&self) -> Self {
        Self { max_body: self.max_body, describe: Arc::clone(&self.describe) }
    }
}

impl<D: ?Sized> fmt::Debug for DescribeLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescribeLayer").field("max_body", &self.max_body).finish_non_exhaustive()
    }
}

impl<S, D: ?Sized> Layer<S> for DescribeLayer<D> {
    type Service = Described<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Described { inner, layer: self.clone() }
    }
}

/// The service [`DescribeLayer`] makes.
pub struct Described<S, D: ?Sized> {
    inner: S,
    layer: DescribeLayer<D>,
}

impl<S: Clone, D: ?Sized> Clone for Described<S, D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, D: ?Sized> fmt::Debug for Described<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<S, D, ReqB, ResB> Service<Request<ReqB>> for Described<S, D>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    D: Describe + ?Sized,
    ReqB: Body + From<Bytes> + Send + 'static,
    ReqB::Data: Send,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<ResB>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        // The instance that was polled ready is the one that must be called.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let DescribeLayer { max_body, describe } = self.layer.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            head.extensions.remove::<Operation>();
            let bytes = match read(&head, body, max_body).await {
                Ok(bytes) => bytes,
                Err(unread) => return Ok(unread.into_response(max_body)),
            };
            let operation = match describe.describe(&head, &bytes) {
                Ok(operation) => operation,
                Err(refusal) => return Ok(refusal.into_response()),
            };
            if let Some(trail) = head.extensions.get::<Trail>() {
                trail.note(described(&operation));
            }
            head.extensions.insert(operation);
            inner.call(Request::from_parts(head, ReqB::from(bytes))).await
        })
    }
}

fn described(operation: &Operation) -> Fact {
    Fact::Described {
        action: operation.action.clone(),
        resource: format!("{}/{}", operation.resource.kind, operation.resource.name),
        effect: operation.effect,
        datasets: operation.datasets.clone(),
        inputs: operation.inputs.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// A body that could not be had.
enum Unread {
    Broken,
    LengthUnclear,
    TooLarge,
}

impl Unread {
    fn into_response<B: Default>(self, max_body: usize) -> Response<B> {
        match self {
            Self::Broken => Refusal::new(
                By::Describe,
                StatusCode::BAD_REQUEST,
                "body_unreadable",
                "The request body broke off before its end.",
            )
            .into_response(),
            Self::LengthUnclear => Refusal::new(
                By::Describe,
                StatusCode::BAD_REQUEST,
                "content_length_invalid",
                "The content-length header is not one number of bytes.",
            )
            .into_response(),
            Self::TooLarge => {
                let detail = format!("The request body is larger than {max_body} bytes.");
                let refusal =
                    Refusal::new(By::Describe, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail);
                let mut response = refusal.into_response::<B>();
                // The rest of the body is still on its way; read as a next request it would be smuggled in.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }
}

/// The whole body, or the reason why not. Trailers are dropped: nothing behind this layer may rest on them.
async fn read<B: Body>(head: &Parts, body: B, max_body: usize) -> Result<Bytes, Unread> {
    let bound = u64::try_from(max_body).unwrap_or(u64::MAX);
    for length in head.headers.get_all(CONTENT_LENGTH) {
        let digits = length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        match digits.map(str::parse::<u64>) {
            Some(Ok(length)) if length <= bound => {}
            // Digits alone fail to parse only when there are too many of them, or none.
            Some(_) if !length.is_empty() => return Err(Unread::TooLarge),
            _ => return Err(Unread::LengthUnclear),
        }
    }
    if body.size_hint().lower() > bound {
        return Err(Unread::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unread::Broken)?;
        let Ok(mut data) = frame.into_data() else { continue };
        let before = whole.len().saturating_add(joined.len());
        if data.remaining() > max_body.saturating_sub(before) {
            return Err(Unread::TooLarge);
        }
        if before == 0 {
            // Most bodies are one frame, which needs no copy.
            whole = data.copy_to_bytes(data.remaining());
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&mem::take(&mut whole));
            }
            joined.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
    }
    Ok(if joined.is_empty() { whole } else { joined.freeze() })
}
