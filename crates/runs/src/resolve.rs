use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{Operation, Principal, PrincipalKey, Refusal};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    RunLedger,
    refuse::{missing, run_unknown, unsent},
};

/// Says whether a run that `owner` started exists for `who`, who asks for this operation on it (shown without its ids).
/// A closure `Fn(&Principal, &PrincipalKey, &Operation) -> bool` does.
pub trait Owns: Send + Sync + 'static {
    /// Whether it does.
    fn owns(&self, who: &Principal, owner: &PrincipalKey, operation: &Operation) -> bool;
}

impl<F: Fn(&Principal, &PrincipalKey, &Operation) -> bool + Send + Sync + 'static> Owns for F {
    fn owns(&self, who: &Principal, owner: &PrincipalKey, operation: &Operation) -> bool {
        self(who, owner, operation)
    }
}

/// A run is its starter's under the very identity that started it.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SameKey;

impl Owns for SameKey {
    fn owns(&self, who: &Principal, owner: &PrincipalKey, _: &Operation) -> bool {
        who.key == *owner
    }
}

type StartsRun = Arc<dyn Fn(&Operation) -> bool + Send + Sync>;

/// Looks up every id the caller sent, before anybody decides anything. See the [crate's examples](crate).
pub struct ResolveLayer<O = SameKey> {
    ledger: Arc<dyn RunLedger>,
    owns: Arc<O>,
    starts_run: StartsRun,
}

impl ResolveLayer {
    /// Looks ids up in this ledger; a run is its starter's only ([`SameKey`]).
    #[must_use]
    pub fn new(ledger: Arc<dyn RunLedger>) -> Self {
        Self { ledger, owns: Arc::new(SameKey), starts_run: Arc::new(|_| false) }
    }
}

impl<O> ResolveLayer<O> {
    /// For whom a run exists besides its starter: for example the same person under another identity, or whoever answers
    /// what a crew's runs ask.
    #[must_use]
    pub fn owned_by<P: Owns>(self, owns: P) -> ResolveLayer<P> {
        ResolveLayer { ledger: self.ledger, owns: Arc::new(owns), starts_run: self.starts_run }
    }

    /// Which operations start a run of their own, so that the runs they name (a state to go on from) must be the
    /// caller's, but the operation is not part of them. By default none does.
    #[must_use]
    pub fn starts_run(mut self, starts: impl Fn(&Operation) -> bool + Send + Sync + 'static) -> Self {
        self.starts_run = Arc::new(starts);
        self
    }
}

impl<O> Clone for ResolveLayer<O> {
    fn clone(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            owns: Arc::clone(&self.owns),
            starts_run: Arc::clone(&self.starts_run),
        }
    }
}

impl<O> fmt::Debug for ResolveLayer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveLayer").finish_non_exhaustive()
    }
}

impl<S, O> Layer<S> for ResolveLayer<O> {
    type Service = Resolve<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Resolve { inner, layer: self.clone() }
    }
}

/// The service [`ResolveLayer`] makes.
pub struct Resolve<S, O = SameKey> {
    inner: S,
    layer: ResolveLayer<O>,
}

impl<S: Clone, O> Clone for Resolve<S, O> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, O> fmt::Debug for Resolve<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolve").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, O, ReqB, ResB> Service<Request<ReqB>> for Resolve<S, O>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    O: Owns,
    ReqB: Send + 'static,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<ResB>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    /// # Cancel safety
    ///
    /// Nothing is written: dropping the future while ids are looked up changes nothing.
    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        // The instance that was polled ready is the one that must be called.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let extensions = request.extensions_mut();
            let (principal, operation) = (extensions.remove::<Principal>(), extensions.remove::<Operation>());
            match layer.resolve(principal.as_ref(), operation).await {
                Ok(operation) => {
                    let extensions = request.extensions_mut();
                    extensions.insert(operation);
                    if let Some(principal) = principal {
                        extensions.insert(principal);
                    }
                    inner.call(request).await
                }
                Err(refusal) => Ok(refusal.into_response()),
            }
        })
    }
}

impl<O: Owns> ResolveLayer<O> {
    async fn resolve(
        &self,
        principal: Option<&Principal>,
        operation: Option<Operation>,
    ) -> Result<Operation, Refusal> {
        let principal =
            principal.ok_or_else(|| missing("principal_missing", "It is not known who asks for this."))?;
        let mut operation =
            operation.ok_or_else(|| missing("operation_missing", "It is not known what is asked."))?;
        // Whatever a description says: whose run it is comes from the ledger.
        operation.owner = None;
        operation.run = None;
        let mut first = None;
        let mut ids = std::mem::take(&mut operation.ids);
        for slot in &mut ids {
            let found = self.ledger.find(slot.own).await.map_err(|error| unsent(&error))?;
            let found = found.ok_or_else(run_unknown)?;
            let meant = found.kind == slot.kind
                && found.crew == operation.resource.name
                && self.owns.owns(principal, &found.owner, &operation);
            // A task of one run cannot be answered under the name of another.
            let same = |(run, owner): &(_, PrincipalKey)| *run == found.run && *owner == found.owner;
            if !meant || !first.as_ref().is_none_or(same) {
                return Err(run_unknown());
            }
            slot.upstream = found.upstream;
            first = Some((found.run, found.owner));
        }
        operation.ids = ids;
        if let Some((run, owner)) = first {
            operation.owner = Some(owner);
            operation.run = (!(self.starts_run)(&operation)).then_some(run);
        }
        Ok(operation)
    }
}
