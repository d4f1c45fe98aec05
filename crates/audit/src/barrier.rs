use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::{Clock, Departure, Effect, Layer as By, Operation, Refusal, SystemClock, Trail};
use futures_util::future::BoxFuture;
use http::{Extensions, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    AuditError, AuditStore, Entry, Lane, Phase,
    entry::{approval_of, run_of},
    layer::unavailable,
    open::Slot,
};

type MaskBody = dyn Fn(&Extensions) -> Option<Bytes> + Send + Sync;

/// Lets a call through only after its intent is durable: the last layer before anything leaves.
///
/// In this order: a seat for the outcome is reserved; a call that changes something *departs*, or is refused because
/// its caller has withdrawn; the intent is written; the inner service is called. Departing comes first so that an
/// intent never stands for a withdrawn call. When the intent cannot be written the call is answered `503
/// audit_unavailable` and nothing leaves.
///
/// It needs an [`AuditLayer`](crate::AuditLayer) further out and an [`Operation`] on the request. A call that changes
/// something and has no [`Departure`] cannot be withdrawn, so it is not asked.
#[derive(Clone)]
pub struct BarrierLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
struct Config {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    mask_body: Arc<MaskBody>,
}

impl fmt::Debug for BarrierLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierLayer").finish_non_exhaustive()
    }
}

impl BarrierLayer {
    /// Writes to this store.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>) -> Self {
        let config = Config { store, clock: Arc::new(SystemClock), mask_body: Arc::new(|_| None) };
        Self { config: Arc::new(config) }
    }

    /// Reads the time here instead of from the operating system.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// What of the request's body may be stored, made from the request's extensions. Default: nothing of it.
    #[must_use]
    pub fn mask_body(self, mask: impl Fn(&Extensions) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|config| config.mask_body = Arc::new(mask))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for BarrierLayer {
    type Service = Barrier<S>;

    fn layer(&self, inner: S) -> Barrier<S> {
        Barrier { inner, config: Arc::clone(&self.config) }
    }
}

/// See [`BarrierLayer`].
#[derive(Clone)]
pub struct Barrier<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S: fmt::Debug> fmt::Debug for Barrier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for Barrier<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    ReqB: Send + 'static,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    /// # Cancel safety
    ///
    /// Dropped before the intent is in line: nothing happened. Dropped after: the intent is written, and the audit
    /// layer, which is dropped too, writes that the caller left.
    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let config = Arc::clone(&self.config);
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            match pass(&config, request.extensions_mut()).await {
                Ok(()) => inner.call(request).await,
                Err(refusal) => Ok(refusal.into_response()),
            }
        })
    }
}

/// Writes the intent; on `Ok` it is durable.
async fn pass(config: &Config, extensions: &mut Extensions) -> Result<(), Refusal> {
    let (Some(trail), Some(slot)) = (extensions.get::<Trail>().cloned(), extensions.get::<Slot>().cloned())
    else {
        return Err(misplaced("not_recorded", "no record was opened for this call"));
    };
    let Some(operation) = extensions.get::<Operation>() else {
        return Err(misplaced("not_described", "this call was never described"));
    };
    let (effect, run) = (operation.effect, operation.run);
    let departure = extensions.get::<Departure>().cloned();
    let request_body = (config.mask_body)(extensions);
    slot.belongs_to(run);

    let seat = config.store.reserve().await.map_err(|error| refuse(&trail, error))?;
    if effect == Effect::Write && departure.is_some_and(|departure| !departure.depart()) {
        return Err(withdrawn());
    }
    let facts = trail.facts();
    let entry = Entry {
        time: config.clock.now(),
        started: slot.started,
        phase: Phase::Intent,
        request: trail.request(),
        run: run.or_else(|| facts.iter().find_map(run_of)),
        approval: facts.iter().rev().find_map(approval_of),
        facts,
        request_body,
        frames: Vec::new(),
    };
    slot.begin(seat);
    match config.store.append(Lane::Intent, entry).await {
        Ok(place) => {
            slot.written(place);
            Ok(())
        }
        // It may be there: what ends now is an outcome, and says that nothing was sent.
        Err(AuditError::Unknown) => Err(refuse(&trail, AuditError::Unknown)),
        Err(error) => {
            slot.withdraw();
            Err(refuse(&trail, error))
        }
    }
}

fn refuse(trail: &Trail, error: AuditError) -> Refusal {
    if error == AuditError::Conflict {
        let text = "the approval this call stands on is held by another attempt, or has ended";
        let mut refusal = Refusal::new(By::Audit, StatusCode::CONFLICT, "approval_lost", text);
        refusal.approval = trail.facts().iter().rev().find_map(approval_of);
        return refusal;
    }
    if error == AuditError::GrantOver {
        let text =
            "a temporary right this call relies on has ended, was taken away or is used up; nothing was sent";
        return Refusal::new(By::Audit, StatusCode::FORBIDDEN, "grant_over", text);
    }
    if error == AuditError::KeyTaken {
        let text = "another call under this key came first; nothing was sent";
        return Refusal::new(By::Audit, StatusCode::CONFLICT, "idempotency_in_use", text);
    }
    tracing::error!(request = %trail.request(), %error, "a call is refused: its intent could not be recorded");
    unavailable()
}

fn withdrawn() -> Refusal {
    // Nobody reads this answer but the record.
    let text = "the caller hung up before the call left; nothing was sent";
    Refusal::new(By::Audit, StatusCode::REQUEST_TIMEOUT, "withdrawn", text)
}

fn misplaced(code: &'static str, text: &str) -> Refusal {
    Refusal::new(By::Audit, StatusCode::INTERNAL_SERVER_ERROR, code, text)
}
