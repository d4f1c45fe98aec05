//! Tickets: a kickoff that waits for people has an id at once, and its status says how it stands.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use crewgate_approval::{Approval, ApprovalStore, Releaser, State, StoreError, Tickets};
use crewgate_core::{Clock, Layer as By, Operation, Principal, Refusal, RunId};
use crewgate_crewai::{StatusShape, Ticket, kickoff_answer, ticket_status};
use crewgate_runs::{NewRun, RunLedger};
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinHandle,
};
use tower::{Layer, Service, util::BoxCloneSyncService};
use tracing::Instrument as _;

use crate::{answers::read_to_end, masks::Masks};

/// The stack from policy down.
pub(crate) type Entry = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Starts approved requests; empty until the stack it releases into stands.
#[derive(Clone)]
pub(crate) struct ReleaseDesk {
    releaser: Arc<RwLock<Option<Releaser<Entry, Body>>>>,
    /// One for each release under way.
    under_way: Arc<Semaphore>,
}

/// Releases at once; each holds an approval, so there are far fewer.
const MAX_RELEASES: u32 = 1 << 16;

impl Default for ReleaseDesk {
    fn default() -> Self {
        let under_way =
            Arc::new(Semaphore::new(usize::try_from(MAX_RELEASES).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { releaser: Arc::default(), under_way }
    }
}

impl ReleaseDesk {
    pub(crate) fn open(&self, releaser: Releaser<Entry, Body>) {
        *self.releaser.write().unwrap_or_else(PoisonError::into_inner) = Some(releaser);
    }

    /// Ends the circle of stack, desk and stack.
    pub(crate) fn close(&self) {
        *self.releaser.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts an approval; `None` when it could not be claimed. It goes on in a task of its own when the caller goes, and
    /// its answer is read to its end then, so that the record has it.
    pub(crate) async fn release(&self, approval: Approval, principal: Principal) -> Option<Response<Body>> {
        let (tell, told) = oneshot::channel();
        let attempt = self.attempt(approval, principal)?;
        let heard = async move {
            if let Err(Some(unheard)) = tell.send(attempt.await) {
                read(unheard).await;
            }
        };
        tokio::spawn(heard.in_current_span());
        told.await.ok()?.map(|(answer, _)| answer)
    }

    /// As [`release`](Self::release), for when nobody waits. It is under way when this returns: whoever stops the gateway
    /// waits for it. The end of the task is its end.
    pub(crate) fn start(&self, approval: Approval, principal: Principal) -> Option<JoinHandle<()>> {
        let attempt = self.attempt(approval, principal)?;
        let unattended = async move {
            if let Some(attempt) = attempt.await {
                read(attempt).await;
            }
        };
        Some(tokio::spawn(unattended.in_current_span()))
    }

    fn attempt(
        &self,
        approval: Approval,
        principal: Principal,
    ) -> Option<impl Future<Output = Option<Attempt>> + Send + use<>> {
        let releaser = self.releaser.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let seat = Arc::clone(&self.under_way).try_acquire_owned().ok()?;
        let answer = releaser.release(approval, principal);
        Some(async move { Some((answer.await?, seat)) })
    }

    /// Resolves when no release is under way.
    pub(crate) async fn idle(&self) {
        // An error: it was closed, which nobody does.
        let _ = self.under_way.acquire_many(MAX_RELEASES).await;
    }
}

/// The answer comes first: dropped unread, it is recorded before the seat is free.
type Attempt = (Response<Body>, OwnedSemaphorePermit);

async fn read((answer, seat): Attempt) {
    read_to_end(answer).await;
    drop(seat);
}

/// Gives out ids for kickoffs that wait.
pub(crate) struct KickoffTickets {
    pub(crate) runs: Arc<dyn RunLedger>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Tickets<Body> for KickoffTickets {
    fn offers(&self, operation: &Operation) -> bool {
        starts_run(operation)
    }

    fn reserve<'a>(
        &'a self,
        requester: &'a Principal,
        operation: &'a Operation,
    ) -> BoxFuture<'a, Result<RunId, Refusal>> {
        let new = NewRun {
            crew: operation.resource.name.clone(),
            owner: requester.key.clone(),
            at: self.clock.now(),
        };
        Box::pin(async move {
            self.runs.reserve(new).await.map_err(|error| {
                tracing::error!(%error, "no id for a ticket");
                Refusal::new(
                    By::Runs,
                    StatusCode::SERVICE_UNAVAILABLE,
                    "runs_unavailable",
                    "ids cannot be kept right now",
                )
            })
        })
    }

    fn answer(&self, approval: &Approval) -> Response<Body> {
        match approval.asked.run {
            Some(run) => kickoff(run),
            None => {
                let text = "the ticket has no id";
                Refusal::new(By::Approval, StatusCode::INTERNAL_SERVER_ERROR, "ticket_missing", text)
                    .into_response()
            }
        }
    }
}

/// Whether the operation has a run of its own, and so an id that can be told before it starts.
pub(crate) fn starts_run(operation: &Operation) -> bool {
    operation.action.as_str() == "kickoff"
}

/// The answer to a kickoff of this run.
pub(crate) fn kickoff(run: RunId) -> Response<Body> {
    let mut response = json(kickoff_answer(run));
    // For the record: the answer belongs to the run it names.
    response.extensions_mut().insert(run);
    response
}

/// Answers the status of runs that have not started; a run that has started passes.
#[derive(Clone)]
pub(crate) struct TicketStatusLayer(pub(crate) Arc<TicketStatusDesk>);

pub(crate) struct TicketStatusDesk {
    pub(crate) runs: Arc<dyn RunLedger>,
    pub(crate) approvals: Arc<dyn ApprovalStore>,
    pub(crate) releases: ReleaseDesk,
    pub(crate) masks: Masks,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<S> Layer<S> for TicketStatusLayer {
    type Service = TicketStatus<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TicketStatus { inner, desk: Arc::clone(&self.0) }
    }
}

/// See [`TicketStatusLayer`].
#[derive(Clone)]
pub(crate) struct TicketStatus<S> {
    inner: S,
    desk: Arc<TicketStatusDesk>,
}

impl<S: fmt::Debug> fmt::Debug for TicketStatus<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketStatus").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S> Service<Request<Body>> for TicketStatus<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let operation = request.extensions().get::<Operation>();
        let waits = operation.filter(|operation| operation.ids.iter().any(|id| id.upstream.is_none()));
        let Some(operation) = waits else { return Box::pin(self.inner.call(request)) };
        let (desk, principal) = (Arc::clone(&self.desk), request.extensions().get::<Principal>().cloned());
        let operation = operation.clone();
        Box::pin(async move {
            let answer = desk.answer(&operation, principal).await;
            let mut answer = answer.unwrap_or_else(Refusal::into_response);
            // For the record: the question belongs to the run it is about.
            if let Some(run) = operation.run {
                answer.extensions_mut().insert(run);
            }
            Ok(answer)
        })
    }
}

impl TicketStatusDesk {
    /// Whether a run of CrewAI's is bound to this ticket by now.
    async fn has_started(&self, run: RunId) -> bool {
        matches!(self.runs.find(run.as_uuid()).await, Ok(Some(id)) if id.upstream.is_some())
    }

    async fn answer(
        &self,
        operation: &Operation,
        principal: Option<Principal>,
    ) -> Result<Response<Body>, Refusal> {
        let refuse = |status, code, text: &str| Refusal::new(By::Runs, status, code, text);
        if operation.action.as_str() != "status" {
            return Err(refuse(StatusCode::CONFLICT, "run_not_started", "the run has not started"));
        }
        let unknown = || refuse(StatusCode::NOT_FOUND, "run_unknown", "no run of yours has this id");
        let (run, principal) = (operation.run.ok_or_else(unknown)?, principal.ok_or_else(unknown)?);
        let failed = |error: StoreError| {
            tracing::error!(%error, "the state of a ticket cannot be read");
            refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "approval_unavailable",
                "how it stands cannot be told right now",
            )
        };
        // An id without an approval was reserved and never given to anybody.
        let approval = self.approvals.by_run(run).await.map_err(failed)?.ok_or_else(unknown)?;
        let state = approval.state_at(self.clock.now());
        let startable = approval.may_be_started_by(&principal);
        if matches!(state, State::Approved { .. }) && startable {
            // The owner is here with a valid token: this is the claim. It runs on without them.
            self.releases.start(approval.clone(), principal);
        }
        let masker = self.masks.stored(&operation.resource.name).ok_or_else(unknown)?;
        let sets = approval.sets();
        let approvers: Vec<&str> = sets.iter().map(crewgate_core::ApproverSet::as_str).collect();
        let ticket = match &state {
            State::Pending => Ticket::Waiting { approvers: &approvers },
            State::Approved { .. } if !startable => Ticket::Unclaimed,
            State::Approved { .. } | State::Executing { .. } => Ticket::Starting,
            // Bound since this request's ids were looked up: the next status is CrewAI's own.
            State::Executed { .. } if self.has_started(run).await => Ticket::Starting,
            state => {
                let reason = match state {
                    State::Executed { .. } => {
                        "CrewAI's answer named no run; whether one has started is not known".to_owned()
                    }
                    state => standing(&approval, state),
                };
                let reason = masker.mask_text(&reason).text;
                return Ok(json(ticket_status(Ticket::Ended { reason: &reason }, StatusShape::Live)));
            }
        };
        Ok(json(ticket_status(ticket, StatusShape::Live)))
    }
}

/// Where an approval stands, in words for who asked.
pub(crate) fn standing(approval: &Approval, state: &State) -> String {
    let approvers = || approval.sets().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match state {
        State::Pending => format!("awaiting approval by {}", approvers()),
        State::Approved { .. } => "approved, about to start".to_owned(),
        State::Executing { .. } => "approved, being started".to_owned(),
        State::Executed { .. } => "approved and run".to_owned(),
        State::Failed { reason } => format!("it was approved and could not be started: {reason}"),
        State::Denied { reason: Some(reason), .. } => format!("denied by {}: {reason}", approvers()),
        State::Denied { reason: None, .. } => format!("denied by {}", approvers()),
        State::Expired => "the request for approval expired; nothing was started".to_owned(),
        State::Cancelled { .. } => "the request was taken back; nothing was started".to_owned(),
        State::Invalidated { reason } => format!("the approval no longer holds: {reason}; ask again"),
        State::Indeterminate => {
            "it was sent and CrewAI's answer was lost; it is not sent again by itself".to_owned()
        }
    }
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
