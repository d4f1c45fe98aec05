//! Where a caller who was let go comes back to, on the data plane: `/approvals/{id}`.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use crewgate_approval::{Approval, Preference, State, WaitingRoom, Watch};
use crewgate_core::{ApprovalId, Clock, Layer as By, Principal, Refusal};
use crewgate_oidc::{Revocable, Revocations};
use futures_util::{future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tower::{Layer, Service};

use crate::{
    masks::Masks,
    tickets::{ReleaseDesk, standing},
};

/// First segment of these addresses; no crew may be called so.
const PATH: &str = "/approvals/";

/// A comment on an event stream when nothing moves: often enough for proxies that cut what is silent for half a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Milliseconds after which a client of events that was cut off should come back.
const RETRY_MILLIS: u64 = 2000;

/// Answers `/approvals/{id}` to whoever asked for it; anything else passes.
#[derive(Clone)]
pub(crate) struct WaitsLayer(pub(crate) Arc<WaitsDesk>);

pub(crate) struct WaitsDesk {
    pub(crate) room: WaitingRoom<Body>,
    pub(crate) releases: ReleaseDesk,
    pub(crate) revocations: Revocations,
    pub(crate) masks: Masks,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<S> Layer<S> for WaitsLayer {
    type Service = Waits<S>;

    fn layer(&self, inner: S) -> Waits<S> {
        Waits { inner, desk: Arc::clone(&self.0) }
    }
}

/// See [`WaitsLayer`].
#[derive(Clone)]
pub(crate) struct Waits<S> {
    inner: S,
    desk: Arc<WaitsDesk>,
}

impl<S> Service<Request<Body>> for Waits<S>
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

    /// # Cancel safety
    ///
    /// Dropping the future changes nothing; what it has started goes on.
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(id) = request.uri().path().strip_prefix(PATH) else {
            return Box::pin(self.inner.call(request));
        };
        let desk = Arc::clone(&self.desk);
        let (id, method, headers) = (id.parse(), request.method().clone(), request.headers().clone());
        let who = request.extensions().get::<Principal>().cloned();
        Box::pin(async move {
            let answer = async {
                let id = id.map_err(|_| refusal(StatusCode::NOT_FOUND, "approval_not_found", UNKNOWN))?;
                let who = who.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "approval_not_found", UNKNOWN))?;
                if method != Method::GET {
                    let text = "what waits is looked at with GET";
                    let refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
                    let mut answer = refused.into_response();
                    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
                    return Ok(answer);
                }
                desk.answer(id, who, &headers).await
            };
            Ok(answer.await.unwrap_or_else(Refusal::into_response))
        })
    }
}

const UNKNOWN: &str = "no request of yours waits, or has waited, under this id";

fn refusal(status: StatusCode, code: &'static str, text: &str) -> Refusal {
    Refusal::new(By::Approval, status, code, text)
}

impl WaitsDesk {
    async fn answer(
        &self,
        id: ApprovalId,
        who: Principal,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        if !accepts_events(headers) {
            return Ok(self.room.answer(id, &who, Preference::of(headers)).await);
        }
        let watch = self.room.watch(id, &who).await?;
        // No longer than the token says who is there.
        let ends = Instant::now() + who.token.expires.since(self.clock.now());
        let events = Events {
            watch,
            who,
            ends,
            claimed: false,
            releases: self.releases.clone(),
            revocations: self.revocations.clone(),
            masks: self.masks.clone(),
        };
        let first = Bytes::from(format!("retry: {RETRY_MILLIS}\n\n"));
        let body = stream::unfold((Some(first), events), async |(first, mut events)| {
            let chunk = match first {
                Some(first) => first,
                None => events.next().await?,
            };
            Some((Ok::<_, Infallible>(chunk), (None, events)))
        });
        let mut response = Response::new(Body::from_stream(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = texts.flat_map(|text| text.split(',')).filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// What a waiting client is told (server-sent events, WHATWG HTML section 9.2): each state once, named by its phase,
/// the last one included; comments while nothing moves.
struct Events {
    watch: Watch<Body>,
    who: Principal,
    ends: Instant,
    claimed: bool,
    releases: ReleaseDesk,
    revocations: Revocations,
    masks: Masks,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        let left = self.ends.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        match timeout(HEARTBEAT.min(left), self.watch.next()).await {
            Err(_) => Some(Bytes::from_static(b": nothing has moved\n\n")),
            Ok(state) => {
                let state = state?;
                self.claim(&state);
                Some(self.event(&state))
            }
        }
    }

    /// Somebody with a valid token waits for it: this is the claim, as a status is. Once for each stream: what is given
    /// back unsent is tried again by who comes back.
    fn claim(&mut self, state: &State) {
        let approved = matches!(state, State::Approved { .. });
        if !approved || self.claimed || self.revocations.check(&Revocable::of(&self.who)).is_err() {
            return;
        }
        self.claimed = true;
        self.releases.start(self.watch.approval().clone(), self.who.clone());
    }

    fn event(&self, state: &State) -> Bytes {
        let approval = self.watch.approval();
        let phase = state.phase();
        let mut data = json!({
            "approval_id": approval.id().to_string(),
            "state": phase.as_str(),
            "detail": self.detail(approval, state),
            "approvals": approval.sets(),
        });
        if let (Some(data), Some(run)) = (data.as_object_mut(), approval.asked.run) {
            data.insert("kickoff_id".to_owned(), json!(run.to_string()));
        }
        Bytes::from(format!("event: {}\ndata: {data}\n\n", phase.as_str()))
    }

    /// In words, masked; nothing where it cannot be masked.
    fn detail(&self, approval: &Approval, state: &State) -> Option<String> {
        let masker = self.masks.stored(&approval.asked.operation.resource.name)?;
        Some(masker.mask_text(&standing(approval, state)).text)
    }
}
