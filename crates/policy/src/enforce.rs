use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{Clock, Decision, InputValue, Operation, SystemClock, Timestamp};
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxFuture, Meter, Policy, RoleSource, Shadow, verdict};

/// Puts every described request to the policy: refuses, or passes it on with the [`Decision`] in its extensions.
///
/// It needs a [`Principal`](crewgate_core::Principal) and an [`Operation`] on the request; without either the
/// request is refused. `Ask` is passed on: the layer that asks people stands further in.
/// See the [crate's examples](crate).
pub struct EnforceLayer<P: ?Sized> {
    pub(crate) roles: Option<Arc<dyn RoleSource>>,
    pub(crate) meter: Option<Arc<dyn Meter>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observe: Option<Arc<ObserveWhen>>,
    pub(crate) shadow: Option<Arc<Shadow>>,
    pub(crate) recorded: Option<Arc<RecordInputs>>,
    pub(crate) policy: Arc<P>,
}

pub(crate) type RecordInputs = dyn Fn(&Operation) -> Vec<(String, Option<InputValue>)> + Send + Sync;
pub(crate) type ObserveWhen = dyn Fn(&Operation, Timestamp) -> bool + Send + Sync;

impl<P: Policy> EnforceLayer<P> {
    /// Decides with `policy`: nobody holds a role, no rate can be met, and the clock is the system's.
    pub fn new(policy: P) -> Self {
        Self::shared(Arc::new(policy))
    }
}

impl<P: Policy + ?Sized> EnforceLayer<P> {
    /// Like [`new`](EnforceLayer::new), for a policy others hold too, such as an `Arc<dyn Policy>`.
    #[must_use]
    pub fn shared(policy: Arc<P>) -> Self {
        Self {
            roles: None,
            meter: None,
            clock: Arc::new(SystemClock),
            observe: None,
            shadow: None,
            recorded: None,
            policy,
        }
    }

    /// Looks roles up here.
    #[must_use]
    pub fn roles(mut self, roles: Arc<dyn RoleSource>) -> Self {
        self.roles = Some(roles);
        self
    }

    /// Counts rates here. Without a meter a request a rule wants counted is answered 503.
    #[must_use]
    pub fn meter(mut self, meter: Arc<dyn Meter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Takes "now" from here.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Puts the question on the record beside the answer, so that other rules can be asked it later: with these
    /// inputs of it, those without a value by name alone.
    #[must_use]
    pub fn record_questions(
        mut self,
        inputs: impl Fn(&Operation) -> Vec<(String, Option<InputValue>)> + Send + Sync + 'static,
    ) -> Self {
        self.recorded = Some(Arc::new(inputs));
        self
    }

    /// Only records what policy would refuse, ask for or slow down, for operations of which this is true at the
    /// time. They pass as allowed with the masks policy asks for, as far as it got to say which.
    ///
    /// A missing value or a failing lookup is still refused: those are not the policy's answers.
    #[must_use]
    pub fn observe_when(
        mut self,
        when: impl Fn(&Operation, Timestamp) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.observe = Some(Arc::new(when));
        self
    }

    /// Puts every decided question to a second policy as well, which reports and changes nothing.
    #[must_use]
    pub fn shadow(mut self, shadow: Arc<Shadow>) -> Self {
        self.shadow = Some(shadow);
        self
    }
}

impl<P: ?Sized> Clone for EnforceLayer<P> {
    fn clone(&self) -> Self {
        Self {
            roles: self.roles.clone(),
            meter: self.meter.clone(),
            clock: Arc::clone(&self.clock),
            observe: self.observe.clone(),
            shadow: self.shadow.clone(),
            recorded: self.recorded.clone(),
            policy: Arc::clone(&self.policy),
        }
    }
}

impl<P: ?Sized> fmt::Debug for EnforceLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnforceLayer")
            .field("roles", &self.roles.is_some())
            .field("meter", &self.meter.is_some())
            .field("observe", &self.observe.is_some())
            .field("shadow", &self.shadow.is_some())
            .finish_non_exhaustive()
    }
}

impl<S, P: ?Sized> Layer<S> for EnforceLayer<P> {
    type Service = Enforce<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Enforce { inner, setup: Arc::new(self.clone()) }
    }
}

/// The service [`EnforceLayer`] makes.
pub struct Enforce<S, P: ?Sized> {
    inner: S,
    // One Arc around the six of the layer: the service is cloned for every request.
    setup: Arc<EnforceLayer<P>>,
}

impl<S: Clone, P: ?Sized> Clone for Enforce<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), setup: Arc::clone(&self.setup) }
    }
}

impl<S: fmt::Debug, P: ?Sized> fmt::Debug for Enforce<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enforce").field("inner", &self.inner).field("setup", &self.setup).finish()
    }
}

impl<S, P, ReqB, ResB> Service<Request<ReqB>> for Enforce<S, P>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    P: Policy + ?Sized,
    ReqB: Send + 'static,
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
        let setup = Arc::clone(&self.setup);
        Box::pin(async move {
            // Taken apart because a body need not be `Sync`, and the extensions are borrowed across awaits.
            let (mut head, body) = request.into_parts();
            head.extensions.remove::<Decision>();
            match verdict::of(&setup, &head.extensions).await {
                Ok(decision) => {
                    head.extensions.insert(decision);
                    inner.call(Request::from_parts(head, body)).await
                }
                Err(refusal) => Ok(refusal.into_response()),
            }
        })
    }
}
