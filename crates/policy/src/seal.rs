use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{Fact, Layer as By, Operation, Outgoing, Refusal, Trail};
use http::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use tower_layer::Layer;
use tower_service::Service;

use crate::AnswerFuture;

/// Renders an [`Operation`] to the bytes that will be sent.
/// A closure `Fn(&Operation) -> Result<Outgoing, Refusal>` does.
pub trait Seal: Send + Sync + 'static {
    /// The outgoing message. It must rest on the operation alone: what was decided on is what is sent.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] to answer with when it cannot be rendered.
    fn seal(&self, operation: &Operation) -> Result<Outgoing, Refusal>;
}

impl<F> Seal for F
where
    F: Fn(&Operation) -> Result<Outgoing, Refusal> + Send + Sync + 'static,
{
    fn seal(&self, operation: &Operation) -> Result<Outgoing, Refusal> {
        self(operation)
    }
}

/// Renders the operation once and puts the [`Outgoing`] bytes on the request: from here on they are fixed. What
/// approvers see, what is digested, recorded and sent is this value.
///
/// ```
/// use bytes::Bytes;
/// use crewgate_core::{Operation, Outgoing, Refusal};
/// use crewgate_policy::SealLayer;
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let render = |operation: &Operation| {
///     Ok::<_, Refusal>(Outgoing {
///         method: operation.message.method.clone(),
///         path: http::uri::PathAndQuery::from_static("/kickoff"),
///         content_type: None,
///         body: Bytes::new(),
///     })
/// };
/// let service = ServiceBuilder::new()
///     .layer(SealLayer::new(render))
///     .service(service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(()))));
///
/// // Nobody described this request, so there is nothing to render.
/// let answer = service.oneshot(Request::new(())).await.unwrap();
/// assert_eq!(answer.status(), StatusCode::FORBIDDEN);
/// # }
/// ```
pub struct SealLayer<R: ?Sized> {
    render: Arc<R>,
}

impl<R: Seal> SealLayer<R> {
    /// Renders with `render`.
    pub fn new(render: R) -> Self {
        Self { render: Arc::new(render) }
    }
}

impl<R: ?Sized> Clone for SealLayer<R> {
    fn clone(&self) -> Self {
        Self { render: Arc::clone(&self.render) }
    }
}

impl<R: ?Sized> fmt::Debug for SealLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealLayer(..)")
    }
}

impl<S, R: ?Sized> Layer<S> for SealLayer<R> {
    type Service = Sealed<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Sealed { inner, layer: self.clone() }
    }
}

/// The service [`SealLayer`] makes.
pub struct Sealed<S, R: ?Sized> {
    inner: S,
    layer: SealLayer<R>,
}

impl<S: Clone, R: ?Sized> Clone for Sealed<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, R: ?Sized> fmt::Debug for Sealed<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<S, R, ReqB, ResB> Service<Request<ReqB>> for Sealed<S, R>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    R: Seal + ?Sized,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = AnswerFuture<S::Future, ResB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        // Bytes somebody fixed earlier were not rendered from this operation.
        request.extensions_mut().remove::<Outgoing>();
        let Some(operation) = request.extensions().get::<Operation>() else {
            return AnswerFuture::refuse(Refusal::new(
                By::Policy,
                StatusCode::FORBIDDEN,
                "operation_missing",
                "This request was never described, so there is nothing that may be sent.",
            ));
        };
        let outgoing = match self.layer.render.seal(operation) {
            Ok(outgoing) => outgoing,
            Err(refusal) => return AnswerFuture::refuse(refusal),
        };
        if let Some(trail) = request.extensions().get::<Trail>() {
            trail.note(Fact::Sealed {
                sha256: hex(&outgoing.body),
                bytes: u64::try_from(outgoing.body.len()).unwrap_or(u64::MAX),
            });
        }
        request.extensions_mut().insert(outgoing);
        AnswerFuture::pass(self.inner.call(request))
    }
}

/// SHA-256 in lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
