use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crewgate_core::{ApprovalId, Approvals, Clock, Layer as By, Principal, Refusal, SystemClock, Timestamp};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::{Approval, ApprovalStore, Digest, Filter, Lease, LeaseError, Phase, ReleaseMode, StoreError};

/// How long an attempt may take from its claim to the end of the upstream's answer before others stop counting on
/// it: unsent it may then be tried again, sent it reads as indeterminate until its answer comes. Two minutes: four
/// times the longest the CrewAI clients wait for an answer to a kickoff.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(120);

/// A request that carries out an approval, on its way down the stack. Only a [`Releaser`] makes one.
#[derive(Debug, Clone)]
pub struct Releasing {
    approval: Arc<Approval>,
    lease: Lease,
}

impl Releasing {
    /// The approval, as it was before it was claimed.
    #[must_use]
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The attempt.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease
    }
}

/// The proof that this very request was approved and claimed: put on the request by
/// [`AwaitApproval`](crate::AwaitApproval) after it has checked decision, duties and digest, asked for by whoever
/// sends. Nobody else can make one:
///
/// ```compile_fail,E0451
/// # use crewgate_approval::{Lease, Release};
/// # fn forge(lease: Lease, digest: crewgate_approval::Digest) -> Release {
/// Release { lease, digest }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    lease: Lease,
    digest: Digest,
}

impl Release {
    pub(crate) fn mint(lease: Lease, digest: Digest) -> Self {
        Self { lease, digest }
    }

    /// Of which approval.
    #[must_use]
    pub fn approval(&self) -> ApprovalId {
        self.lease.approval
    }

    /// The attempt that may send.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// Of what may be sent.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

type Path<B> = dyn Fn(Approval, Principal) -> BoxFuture<'static, Option<Response<B>>> + Send + Sync;

/// The way by which a held request re-enters the stack once it is approved. The stack contains the layer that needs
/// the way, so it is made closed, given to the layer, and opened when the stack stands. Clones share it.
pub struct ReleasePath<B>(Arc<RwLock<Option<Arc<Path<B>>>>>);

impl<B> ReleasePath<B> {
    /// A closed one: a held request that is approved meanwhile gets its ticket.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }

    /// Opens it: from now on this is how a held request is released. `None` from it means that it could not be
    /// claimed.
    pub fn open<F, Fut>(&self, release: F)
    where
        F: Fn(Approval, Principal) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Response<B>>> + Send + 'static,
    {
        let path: Arc<Path<B>> = Arc::new(move |approval, principal| Box::pin(release(approval, principal)));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }

    /// Closes it, which also ends the circle of stack, path and stack: without this a discarded stack is never freed.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn get(&self) -> Option<Arc<Path<B>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<B> Default for ReleasePath<B> {
    fn default() -> Self {
        Self::closed()
    }
}

impl<B> Clone for ReleasePath<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for ReleasePath<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleasePath").field("open", &self.get().is_some()).finish()
    }
}

type Customise<ReqB> = dyn Fn(&Approval, &mut Request<ReqB>) + Send + Sync;

/// Starts approved requests: claims one and puts it back into the stack, just above the layer that decides, so that
/// today's policy has the last word.
pub struct Releaser<S, ReqB> {
    store: Arc<dyn ApprovalStore>,
    service: S,
    clock: Arc<dyn Clock>,
    lease_for: Duration,
    customise: Arc<Customise<ReqB>>,
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
    /// it, or the principal is not who asked (another identity or another client would not be what was approved).
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
        let attempt = tokio::spawn(self.clone().attempt(approval, principal));
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
        let requester = &approval.asked.requester;
        if principal.key != requester.key || principal.client != requester.client {
            return None;
        }
        let lease = match self.store.claim(id, self.clock.now(), self.lease_for).await {
            Ok(lease) => lease?,
            Err(error) => return Some(unavailable(&error).with_approval(id).into_response()),
        };
        let mut request = Request::new(ReqB::default());
        *request.method_mut() = approval.asked.outgoing.method.clone();
        *request.uri_mut() = approval.asked.outgoing.path.clone().into();
        let extensions = request.extensions_mut();
        extensions.insert(principal);
        extensions.insert(approval.asked.operation.clone());
        extensions.insert(Approvals { approval: id, sets: approval.sets() });
        let approval = Arc::new(approval);
        extensions.insert(Releasing { approval: Arc::clone(&approval), lease });
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

pub(crate) fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the approval store failed");
    let (code, detail) = match error {
        StoreError::Unavailable(_) => {
            ("approval_unavailable", "approvals cannot be kept right now; nothing was sent")
        }
        StoreError::Unknown(_) => {
            ("approval_unknown", "whether the request for approval was kept is not known; nothing was sent")
        }
    };
    Refusal::new(By::Approval, StatusCode::SERVICE_UNAVAILABLE, code, detail)
        .with_retry_after(Duration::from_secs(5))
}

/// Approved tickets the gateway may start by itself now, newest first, at most
/// [`DEFAULT_LIST_LIMIT`](crate::DEFAULT_LIST_LIMIT): those whose requester's groups were seen recently enough. Older
/// ones wait for their owner.
///
/// # Errors
///
/// [`StoreError`].
pub async fn pending_auto_runs(
    store: &dyn ApprovalStore,
    now: Timestamp,
) -> Result<Vec<Approval>, StoreError> {
    // Newest first: those too old to be started by us are at the far end, and cannot fill the list.
    let filter = Filter { auto_run: true, newest_first: true, ..Filter::at(now).phase(Phase::Approved) };
    let mut found = store.list(filter).await?;
    found.retain(|approval| match approval.asked.release {
        ReleaseMode::Claim => false,
        // The groups were seen when the token was issued.
        ReleaseMode::AutoRun { max_age } => now.since(approval.asked.requester.token.issued) <= max_age,
    });
    Ok(found)
}
