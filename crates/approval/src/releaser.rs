use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

use crewgate_core::{Approvals, Clock, Layer as By, Principal, Refusal, SystemClock, Timestamp};
use http::{Request, Response, StatusCode};
use tower_service::Service;
use tracing::Instrument as _;

use crate::{
    Approval, ApprovalStore, Filter, Lease, LeaseError, Phase, Releasing, StoreError, release::unavailable,
    walk::walk,
};

/// How long an attempt may take from its claim to the end of the upstream's answer before others stop counting on
/// it: unsent it may then be tried again, sent it reads as indeterminate until its answer comes. Two minutes: four
/// times the longest the CrewAI clients wait for an answer to a kickoff.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(120);

type Customise<ReqB> = dyn Fn(&Approval, &mut Request<ReqB>) + Send + Sync;

type Trusts = dyn Fn(&Principal) -> Result<(), Refusal> + Send + Sync;

/// Starts approved requests: claims one and puts it back into the stack, just above the layer that decides, so that
/// today's policy has the last word.
pub struct Releaser<S, ReqB> {
    store: Arc<dyn ApprovalStore>,
    service: S,
    clock: Arc<dyn Clock>,
    lease_for: Duration,
    customise: Arc<Customise<ReqB>>,
    trusts: Arc<Trusts>,
}

impl<S, ReqB> Releaser<S, ReqB> {
    /// Releases into this service.
    pub fn new(store: Arc<dyn ApprovalStore>, service: S) -> Self {
        Self {
            store,
            service,
            clock: Arc::new(SystemClock),
            lease_for: DEFAULT_LEASE,
            customise: Arc::new(|_, _| ()),
            trusts: Arc::new(|_| Ok(())),
        }
    }

    /// Another clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long one attempt holds the approval. Default [`DEFAULT_LEASE`].
    #[must_use]
    pub fn lease_for(mut self, lease: Duration) -> Self {
        self.lease_for = lease;
        self
    }

    /// Asked of whoever it is started for, at that instant: their token may have been revoked since they came. With a
    /// `403` the approval no longer holds, any other refusal gives it back unsent. Default: everybody may.
    #[must_use]
    pub fn trusts(
        mut self,
        trusts: impl Fn(&Principal) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.trusts = Arc::new(trusts);
        self
    }

    /// A last touch on each request before it enters the stack: a trail of its own, a link to the request that
    /// asked.
    #[must_use]
    pub fn customise(
        mut self,
        customise: impl Fn(&Approval, &mut Request<ReqB>) + Send + Sync + 'static,
    ) -> Self {
        self.customise = Arc::new(customise);
        self
    }
}

impl<S: Clone, ReqB> Clone for Releaser<S, ReqB> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            service: self.service.clone(),
            clock: Arc::clone(&self.clock),
            lease_for: self.lease_for,
            customise: Arc::clone(&self.customise),
            trusts: Arc::clone(&self.trusts),
        }
    }
}

impl<S, ReqB> fmt::Debug for Releaser<S, ReqB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Releaser").field("lease_for", &self.lease_for).finish_non_exhaustive()
    }
}

impl<S, ReqB, B> Releaser<S, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: fmt::Display + Send,
    ReqB: Default + Send + 'static,
    B: Default + Send + 'static,
{
    /// Starts this approval on the authority of this principal: the owner with a fresh token, or the stored
    /// requester where the gateway starts it. `None` when it cannot be claimed now: not approved, somebody else has
    /// it, or [the principal may not](Approval::may_be_started_by).
    ///
    /// Where nothing was sent in the end, the approval is given back; where policy now refuses, it is invalidated.
    ///
    /// # Cancel safety
    ///
    /// The attempt runs in a task of its own: dropping this future abandons its answer, not the attempt.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn release(
        &self,
        approval: Approval,
        principal: Principal,
    ) -> impl Future<Output = Option<Response<B>>> + Send + use<S, ReqB, B> {
        let attempt = tokio::spawn(self.clone().attempt(approval, principal).in_current_span());
        async move {
            match attempt.await {
                Ok(answer) => answer,
                // A panic below; whether anything was sent is in the store.
                Err(error) => {
                    tracing::error!(%error, "a release ended in a panic");
                    Some(broken())
                }
            }
        }
    }

    async fn attempt(mut self, approval: Approval, principal: Principal) -> Option<Response<B>> {
        let id = approval.id();
        if !approval.may_be_started_by(&principal) {
            return None;
        }
        let lease = match self.store.claim(id, self.clock.now(), self.lease_for).await {
            Ok(lease) => lease?,
            Err(error) => return Some(unavailable(&error).with_approval(id).into_response()),
        };
        if let Err(refusal) = (self.trusts)(&principal) {
            let reason = (refusal.status == StatusCode::FORBIDDEN).then(|| refusal.detail.to_string());
            give_back(&*self.store, lease, reason, self.clock.now()).await;
            return Some(refusal.with_approval(id).into_response());
        }
        let mut request = Request::new(ReqB::default());
        *request.method_mut() = approval.asked.outgoing.method.clone();
        *request.uri_mut() = approval.asked.outgoing.path.clone().into();
        let extensions = request.extensions_mut();
        extensions.insert(principal);
        extensions.insert(approval.asked.operation.clone());
        extensions.insert(Approvals { approval: id, sets: approval.sets() });
        let approval = Arc::new(approval);
        extensions.insert(Releasing::new(Arc::clone(&approval), lease));
        (self.customise)(&approval, &mut request);
        let answer = match poll_fn(|cx| self.service.poll_ready(cx)).await {
            Ok(()) => self.service.call(request).await,
            Err(error) => Err(error),
        };
        let answer = answer.unwrap_or_else(|error| {
            tracing::error!(%error, approval = %id, "a release failed");
            broken()
        });
        let refused = answer
            .extensions()
            .get::<Refusal>()
            .filter(|refusal| refusal.by == By::Policy && refusal.status == StatusCode::FORBIDDEN)
            .map(|refusal| format!("policy refuses it now: {}", refusal.detail));
        give_back(&*self.store, lease, refused, self.clock.now()).await;
        Some(answer)
    }
}

/// After an attempt that did not reach the point of sending. The machine knows whether it did.
async fn give_back(store: &dyn ApprovalStore, lease: Lease, refused: Option<String>, now: Timestamp) {
    let done = match refused {
        Some(reason) => store.invalidate(lease, reason, now).await,
        None => store.return_unsent(lease, now).await,
    };
    match done {
        // Sent, settled or invalidated below: the usual case.
        Ok(()) | Err(LeaseError::OutOfOrder | LeaseError::Lost | LeaseError::Unknown) => (),
        // Its lease ends by itself.
        Err(LeaseError::Store(error)) => {
            tracing::warn!(%error, approval = %lease.approval, "an unsent approval was not given back");
        }
    }
}

fn broken<B: Default>() -> Response<B> {
    Refusal::new(
        By::Approval,
        StatusCode::INTERNAL_SERVER_ERROR,
        "release_failed",
        "starting the approved request failed inside the gateway",
    )
    .into_response()
}

/// Started at one look at most; the next look finds the others.
const STARTS: usize = 1000;

/// Approved tickets the gateway may start by itself now, and for whom, newest first, at most 1,000; see
/// [`Approval::starts_for`]. The others wait for their owner.
///
/// # Errors
///
/// [`StoreError`].
pub async fn pending_auto_runs(
    store: &dyn ApprovalStore,
    now: Timestamp,
) -> Result<Vec<(Approval, Principal)>, StoreError> {
    let filter = Filter { auto_run: true, newest_first: true, ..Filter::at(now).phase(Phase::Approved) };
    let starts = |approval: Approval| approval.starts_for(now).map(|principal| (approval, principal));
    Ok(walk(store, filter, STARTS, starts).await?.rows)
}
