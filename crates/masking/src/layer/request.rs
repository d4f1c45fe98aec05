use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{Decision, Fact, Layer as By, Operation, Refusal, Trail, Value};
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::Mask;
use crate::Findings;

/// Masks the declared free text of an [`Operation`] when its [`Decision`] makes a mask a duty, before the outgoing bytes
/// are fixed. Only strings the operation points to are touched: policy never read them, so its decision still holds.
pub struct MaskRequestLayer<M> {
    mask: Arc<M>,
}

impl<M: Mask> MaskRequestLayer<M> {
    /// Masks by what `mask` says of the request's extensions; it is asked only when there is a duty to mask.
    pub fn new(mask: M) -> Self {
        Self { mask: Arc::new(mask) }
    }
}

impl<M> Clone for MaskRequestLayer<M> {
    fn clone(&self) -> Self {
        Self { mask: Arc::clone(&self.mask) }
    }
}

impl<M> fmt::Debug for MaskRequestLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskRequestLayer").finish_non_exhaustive()
    }
}

impl<S, M> Layer<S> for MaskRequestLayer<M> {
    type Service = MaskRequest<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        MaskRequest { inner, mask: Arc::clone(&self.mask) }
    }
}

/// See [`MaskRequestLayer`].
pub struct MaskRequest<S, M> {
    inner: S,
    mask: Arc<M>,
}

impl<S: Clone, M> Clone for MaskRequest<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), mask: Arc::clone(&self.mask) }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for MaskRequest<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskRequest").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, M, ReqB, ResB> Service<Request<ReqB>> for MaskRequest<S, M>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    M: Mask,
    ResB: Default + 'static,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        match mask(&*self.mask, &mut request) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(refusal) => Box::pin(async move { Ok(refusal.into_response()) }),
        }
    }
}

fn mask<M: Mask, B>(mask: &M, request: &mut Request<B>) -> Result<(), Refusal> {
    let refuse = |code, text: &str| Refusal::new(By::Masking, StatusCode::INTERNAL_SERVER_ERROR, code, text);
    let decision = request.extensions().get::<Decision>();
    let decision = decision.ok_or_else(|| refuse("decision_missing", "the request was never decided"))?;
    let Some(duties) = decision.duties().filter(|duties| !duties.masks.is_empty()) else { return Ok(()) };
    let duties = duties.clone();
    let operation = request.extensions().get::<Operation>();
    let operation =
        operation.ok_or_else(|| refuse("operation_missing", "the request was never described"))?;
    if operation.message.free_text.is_empty() {
        return Ok(());
    }
    let masker = mask.masker(request.extensions());
    let masker =
        masker.ok_or_else(|| refuse("mask_unknown", "which masks apply to this request is not known"))?;
    let mut findings = Findings::default();
    if let Some(operation) = request.extensions_mut().get_mut::<Operation>() {
        let pointers = operation.message.free_text.clone();
        for pointer in pointers {
            let value = operation.message.body.as_mut().and_then(|body| find(body, &pointer));
            // A declared free text that is not there, or no string, was refused when it was parsed.
            if let Some(value) = value {
                masker.mask_value(value, &mut findings).map_err(|_| blocked())?;
            }
        }
    }
    if masker.refuses_request(&findings) {
        return Err(blocked());
    }
    if let (Some(trail), false) = (request.extensions().get::<Trail>(), findings.is_empty()) {
        trail.note(Fact::Masked { profiles: duties.masks, hits: findings.hits() });
    }
    Ok(())
}

/// The caller learns that, not what: the names of entities would be an oracle for what is in a document.
fn blocked() -> Refusal {
    let text = "the free text of the request holds something that must not be sent";
    Refusal::new(By::Masking, StatusCode::UNPROCESSABLE_ENTITY, "request_blocked", text)
}

fn find<'a>(value: &'a mut Value, pointer: &[String]) -> Option<&'a mut Value> {
    pointer.iter().try_fold(value, |value, name| match value {
        Value::Object(members) => members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value),
        _ => None,
    })
}
