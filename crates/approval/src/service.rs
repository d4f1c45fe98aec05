use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{
    Decision, Duties, Fact, Keyed, Layer as By, Operation, Outgoing, Principal, Refusal, RequestId, Trail,
};
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::{
    End, LeaseError, Preference, Release, Releasing, ResponseFuture, digest,
    hold::{Ask, ask},
    layer::Config,
    release::unavailable,
};

/// Stops what must be approved, lets pass what has been. See the [crate](crate).
///
/// # Cancel safety
///
/// A caller who hangs up while people are asked changes nothing: the approval stays, and can be decided and started.
pub struct AwaitApproval<S, B> {
    inner: S,
    config: Arc<Config<B>>,
}

impl<S, B> AwaitApproval<S, B> {
    pub(crate) fn new(inner: S, config: Arc<Config<B>>) -> Self {
        Self { inner, config }
    }
}

impl<S: Clone, B> Clone for AwaitApproval<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), config: Arc::clone(&self.config) }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for AwaitApproval<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitApproval").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, ReqB, B> Service<Request<ReqB>> for AwaitApproval<S, B>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    ReqB: Send + 'static,
    B: Default + Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Response<B>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let extensions = request.extensions();
        let (Some(decision), Some(principal), Some(operation), Some(outgoing)) = (
            extensions.get::<Decision>(),
            extensions.get::<Principal>(),
            extensions.get::<Operation>(),
            extensions.get::<Outgoing>(),
        ) else {
            return refuse(
                "approval_unprepared",
                "the request was not identified, described, decided and sealed",
            );
        };
        if let Some(releasing) = extensions.get::<Releasing>() {
            let wrong = difference(&self.config, releasing, decision, principal, operation, outgoing);
            let releasing = releasing.clone();
            let clone = self.inner.clone();
            let inner = mem::replace(&mut self.inner, clone);
            let config = Arc::clone(&self.config);
            return ResponseFuture::held(release(config, inner, request, releasing, wrong));
        }
        match decision {
            Decision::Allow { duties, .. } if duties.approvals.is_empty() => {
                ResponseFuture::passed(self.inner.call(request))
            }
            // Somebody vouched for approvals that nobody claimed: what cannot be spent twice must be spent once.
            Decision::Allow { .. } => {
                refuse("approval_unspent", "an approved request passes only by way of its release")
            }
            Decision::Ask { approvals, duties, basis } => {
                let otherwise = (self.config.wait_for)(operation, request.headers());
                let longest = (self.config.longest_wait)(operation);
                let (wait, applied) = Preference::of(request.headers()).apply(otherwise, longest);
                let asked = Ask {
                    trail: extensions.get::<Trail>().cloned(),
                    request: extensions
                        .get::<Trail>()
                        .map(Trail::request)
                        .or_else(|| extensions.get::<RequestId>().copied())
                        .unwrap_or_else(RequestId::random),
                    // All of them: those policy still misses, and those it was told of by somebody who claimed nothing.
                    sets: approvals.union(&duties.approvals).cloned().collect(),
                    duties: duties.clone(),
                    basis: basis.clone(),
                    principal: principal.clone(),
                    operation: operation.clone(),
                    outgoing: outgoing.clone(),
                    wait,
                    keyed: extensions.get::<Keyed>().cloned(),
                    applied,
                };
                let config = Arc::clone(&self.config);
                ResponseFuture::held(async move { Ok(ask(config, asked).await) })
            }
            Decision::Refuse { .. } => refuse("not_permitted", "policy refuses this request"),
        }
    }
}

fn refuse<F, B: Default + Send + 'static, E: Send + 'static>(
    code: &'static str,
    detail: &'static str,
) -> ResponseFuture<F, Response<B>, E> {
    let answer = Refusal::new(By::Approval, StatusCode::FORBIDDEN, code, detail).into_response();
    ResponseFuture::held(std::future::ready(Ok(answer)))
}

/// What makes this another request than the approved one.
fn difference<B>(
    config: &Config<B>,
    releasing: &Releasing,
    decision: &Decision,
    principal: &Principal,
    operation: &Operation,
    outgoing: &Outgoing,
) -> Option<String> {
    let approved = &releasing.approval().asked;
    match decision {
        Decision::Refuse { reason, .. } => return Some(format!("policy refuses it now: {reason}")),
        Decision::Ask { .. } => return Some("policy asks for more approvals now".to_owned()),
        Decision::Allow { duties, .. } if *duties != approved.duties => {
            return Some(format!("policy asks for other duties now: {}", changed(&approved.duties, duties)));
        }
        Decision::Allow { .. } => (),
    }
    let upstream = (config.upstream)(operation);
    let now = digest(outgoing, principal, operation, &upstream);
    (now != approved.digest).then(|| "what would be sent now is not what was approved".to_owned())
}

fn changed(approved: &Duties, now: &Duties) -> &'static str {
    if approved.approvals != now.approvals {
        "approvals"
    } else if approved.masks != now.masks {
        "masks"
    } else {
        "rates"
    }
}

async fn release<S, ReqB, B>(
    config: Arc<Config<B>>,
    mut inner: S,
    mut request: Request<ReqB>,
    releasing: Releasing,
    wrong: Option<String>,
) -> Result<Response<B>, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Default,
{
    let lease = releasing.lease();
    if let Some(reason) = wrong {
        let refusal = match config.store.invalidate(lease, reason.clone(), config.clock.now()).await {
            Ok(()) => conflict("approval_invalidated", reason),
            Err(error) => lost(&error),
        };
        return Ok(refusal.with_approval(lease.approval).into_response());
    }
    if config.settles_itself
        && let Err(error) = config.store.mark_sent(lease, config.clock.now()).await
    {
        return Ok(lost(&error).with_approval(lease.approval).into_response());
    }
    let extensions = request.extensions_mut();
    if let Some(trail) = extensions.get::<Trail>() {
        trail.note(Fact::Released { approval: lease.approval, lease: lease.number });
    }
    let approved = &releasing.approval().asked;
    // Equal by digest; the stored bytes are the ones people read.
    extensions.insert(approved.outgoing.clone());
    extensions.insert(Release::mint(lease, approved.digest));
    let answer = inner.call(request).await;
    if config.settles_itself {
        let end = if answer.is_ok() { End::Executed } else { End::Indeterminate };
        if let Err(error) = config.store.settle(lease, end, config.clock.now()).await {
            // It reads as indeterminate once the lease ends, which is the truth.
            tracing::error!(%error, approval = %lease.approval, "an attempt was not settled");
        }
    }
    answer
}

pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(By::Approval, StatusCode::CONFLICT, code, detail)
}

fn lost(error: &LeaseError) -> Refusal {
    match error {
        LeaseError::Store(error) => unavailable(error),
        LeaseError::Lost | LeaseError::OutOfOrder | LeaseError::Unknown => {
            conflict("approval_lost", "this attempt no longer holds the approval; nothing was sent")
        }
    }
}
