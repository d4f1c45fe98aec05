use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::{
    Clock, Effect, Fact, IdKind, Layer as By, Operation, Principal, PrincipalKey, Refusal, RunId,
    SystemClock, Trail,
};
use futures_util::future::BoxFuture;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    response::Parts,
};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    AnswerIds, FoundId, NewRun, OwnIds, OwnedId, PendingTask, Place, RegisterError, RunLedger, Whole,
    body::{self, Unread},
    refuse::{missing, sent, unsent, upstream},
};

/// Bytes of an answer [`RegisterLayer`] takes by default: 8 MiB. A status with all events of a long run is about
/// 1 MiB; the whole answer is held in memory.
pub const DEFAULT_MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Put on a request that starts a run which was given its id before: the upstream's id is bound to this run instead of
/// a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the run, and nothing else")]
pub struct Reserved(pub RunId);

/// Gives every id in an answer one of ours, durably, before the caller sees it.
/// See the [crate's examples](crate).
pub struct RegisterLayer<A> {
    ledger: Arc<dyn RunLedger>,
    ids: Arc<A>,
    clock: Arc<dyn Clock>,
    max_answer: usize,
    keep: Arc<[HeaderName]>,
}

impl<A: AnswerIds> RegisterLayer<A> {
    /// Registers the ids that `ids` finds. Answers may have [`DEFAULT_MAX_ANSWER`] bytes and keep `content-type`,
    /// `cache-control` and `retry-after`: any other header might name an id.
    pub fn new(ledger: Arc<dyn RunLedger>, ids: A) -> Self {
        Self {
            ledger,
            ids: Arc::new(ids),
            clock: Arc::new(SystemClock),
            max_answer: DEFAULT_MAX_ANSWER,
            keep: Arc::new([CONTENT_TYPE, CACHE_CONTROL, RETRY_AFTER]),
        }
    }
}

impl<A> RegisterLayer<A> {
    /// Where "now" comes from.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Refuses answers of more than this many bytes (502).
    #[must_use]
    pub fn max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Passes this header of answers on as well. Its value must never name an id.
    #[must_use]
    pub fn keep_header(mut self, name: HeaderName) -> Self {
        self.keep = self.keep.iter().cloned().chain([name]).collect();
        self
    }
}

impl<A> Clone for RegisterLayer<A> {
    fn clone(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            ids: Arc::clone(&self.ids),
            clock: Arc::clone(&self.clock),
            max_answer: self.max_answer,
            keep: Arc::clone(&self.keep),
        }
    }
}

impl<A> fmt::Debug for RegisterLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterLayer").field("max_answer", &self.max_answer).finish_non_exhaustive()
    }
}

impl<S, A> Layer<S> for RegisterLayer<A> {
    type Service = Register<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        Register { inner, layer: self.clone() }
    }
}

/// The service [`RegisterLayer`] makes.
pub struct Register<S, A> {
    inner: S,
    layer: RegisterLayer<A>,
}

impl<S: Clone, A> Clone for Register<S, A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, A> fmt::Debug for Register<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<S, A, ReqB, ResB> Service<Request<ReqB>> for Register<S, A>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    A: AnswerIds,
    ReqB: Send + 'static,
    ResB: Body + Send,
    ResB::Data: Send,
{
    type Response = Response<Whole>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Whole>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    /// # Cancel safety
    ///
    /// Dropping the future after the request has left loses the ids of its answer: a run would go on that nobody can
    /// ask about. Whoever sends requests that start runs must drive this future to its end, caller or no caller.
    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        // The instance that was polled ready is the one that must be called.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let asked = match layer.asked(&request).await {
                Ok(asked) => asked,
                Err(refusal) => return Ok(refusal.into_response()),
            };
            let (head, body) = inner.call(request).await?.into_parts();
            // A refusal from below is bare, and holds nothing of the upstream's.
            if head.extensions.get::<Refusal>().is_some() {
                return Ok(Response::from_parts(head, Whole::default()));
            }
            Ok(layer.answer(asked, head, body).await.unwrap_or_else(Refusal::into_response))
        })
    }
}

/// What must be remembered of the request.
struct Asked {
    operation: Operation,
    caller: PrincipalKey,
    reserved: Option<RunId>,
    trail: Option<Trail>,
    /// The wait that this operation answers.
    answers: Option<PendingTask>,
}

impl Asked {
    fn note(&self, fact: Fact) {
        if let Some(trail) = &self.trail {
            trail.note(fact);
        }
    }
}

impl<A: AnswerIds> RegisterLayer<A> {
    /// Reads the request's extensions only; not async in the body, so that `ReqB` need not be `Sync`.
    fn asked<ReqB>(
        &self,
        request: &Request<ReqB>,
    ) -> impl Future<Output = Result<Asked, Refusal>> + use<A, ReqB> {
        let extensions = request.extensions();
        let operation = extensions.get::<Operation>().cloned();
        let caller = extensions.get::<Principal>().map(|principal| principal.key.clone());
        let reserved = extensions.get::<Reserved>().map(|reserved| reserved.0);
        let trail = extensions.get::<Trail>().cloned();
        let ledger = Arc::clone(&self.ledger);
        async move {
            let operation =
                operation.ok_or_else(|| missing("operation_missing", "It is not known what is asked."))?;
            let caller =
                caller.ok_or_else(|| missing("principal_missing", "It is not known who asks for this."))?;
            if let Some(run) = reserved {
                let id = ledger.find(run.as_uuid()).await.map_err(|error| unsent(&error))?;
                let meant = |id: &OwnedId| id.owner == caller && id.crew == operation.resource.name;
                if !id.as_ref().is_some_and(meant) {
                    return Err(not_reserved());
                }
            }
            let mut answers = None;
            let task = operation.ids.iter().find(|slot| slot.kind == IdKind::Task).map(|slot| slot.own);
            if let (Effect::Write, Some(run), Some(task)) = (operation.effect, operation.run, task) {
                // Which wait is answered must be known before it is: the same task may wait again at once.
                answers = ledger.task_of(run).await.map_err(|error| unsent(&error))?;
                answers = answers.filter(|waits| waits.task.as_uuid() == task);
            }
            Ok(Asked { operation, caller, reserved, trail, answers })
        }
    }

    async fn answer<B>(&self, asked: Asked, head: Parts, body: B) -> Result<Response<Whole>, Refusal>
    where
        B: Body + Send,
        B::Data: Send,
    {
        whole_answer(&head)?;
        let body = body::read(body, self.max_answer).await.map_err(|unread| match unread {
            Unread::Cut => {
                asked.note(Fact::Unanswered { code: "upstream_cut".to_owned(), sent: true });
                let detail = "The upstream's answer broke off; whether it acted on the call is not known.";
                upstream("upstream_cut", detail)
            }
            Unread::TooLarge => {
                upstream("upstream_too_large", "The upstream's answer is larger than may be passed on.")
            }
        })?;
        let answer = self.ids.read(&asked.operation, &head, &body)?;
        let own = self.register(&asked, self.ids.ids(&answer), &head).await?;
        Ok(self.response(head, self.ids.write(answer, &own)?))
    }

    async fn register(&self, asked: &Asked, found: Vec<FoundId>, head: &Parts) -> Result<OwnIds, Refusal> {
        let operation = &asked.operation;
        let mut own = OwnIds {
            crew: operation.resource.name.clone(),
            owner: operation.owner.clone().unwrap_or_else(|| asked.caller.clone()),
            run: operation.run,
            pending: None,
            known: Default::default(),
        };
        for new in found.iter().filter(|found| found.place == Place::NewRun) {
            let id = self.new_run(asked, &new.upstream).await?;
            own.run = Some(id.run);
            own.owner = asked.caller.clone();
            asked.note(Fact::Registered { kind: id.kind, run: id.run });
            own.known.insert(new.upstream.clone(), id);
        }
        if let Some(run) = own.run {
            let given: Vec<_> = found
                .iter()
                .filter_map(|found| match found.place {
                    Place::OfRun(kind) => Some((kind, found.upstream.clone())),
                    _ => None,
                })
                .collect();
            if !given.is_empty() {
                let ids = self.ledger.register(run, given.clone(), self.clock.now()).await;
                for (id, (_, upstream)) in ids.map_err(|error| unregistered(&error))?.into_iter().zip(given) {
                    if id.run == run {
                        asked.note(Fact::Registered { kind: id.kind, run });
                    }
                    own.known.insert(upstream, id);
                }
            }
        }
        self.look_up(&mut own, &found).await?;
        self.pending(asked, &mut own, head).await?;
        Ok(own)
    }

    async fn new_run(&self, asked: &Asked, id: &str) -> Result<OwnedId, Refusal> {
        let new = || NewRun {
            crew: asked.operation.resource.name.clone(),
            owner: asked.caller.clone(),
            at: self.clock.now(),
        };
        let id = match asked.reserved {
            Some(run) => self.ledger.bind(run, id.to_owned()).await.map_err(|error| unregistered(&error))?,
            None => self.ledger.start(new(), id.to_owned()).await.map_err(|error| sent(&error))?,
        };
        // Nobody is given another's run because the upstream says so.
        if id.owner == asked.caller { Ok(id) } else { Err(not_new()) }
    }

    /// Ids that were given out earlier.
    async fn look_up(&self, own: &mut OwnIds, found: &[FoundId]) -> Result<(), Refusal> {
        let mut asked: Vec<String> = found
            .iter()
            .filter(|found| !own.known.contains_key(&found.upstream))
            .flat_map(|found| [found.upstream.clone(), found.upstream.to_ascii_lowercase()])
            .collect();
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            return Ok(());
        }
        let ids = self.ledger.find_upstream(&own.crew, asked).await.map_err(|error| sent(&error))?;
        for id in ids {
            let Some(upstream) = id.upstream.clone() else { continue };
            // One spelling may stand for several things; the reader's own, and runs before parts, come first.
            let rank =
                |id: &OwnedId| (id.owner == own.owner, id.kind == IdKind::Run, Some(id.run) == own.run);
            let better = own.known.get(&upstream).is_none_or(|known| rank(known) < rank(&id));
            if better {
                own.known.insert(upstream, id);
            }
        }
        Ok(())
    }

    async fn pending(&self, asked: &Asked, own: &mut OwnIds, head: &Parts) -> Result<(), Refusal> {
        let Some(run) = asked.operation.run else { return Ok(()) };
        if asked.operation.effect == Effect::Read {
            own.pending = self.ledger.task_of(run).await.map_err(|error| sent(&error))?;
        } else if let Some(answered) = asked.answers
            && head.status.is_success()
            && let Err(error) = self.ledger.task_answered(run, answered).await
        {
            // The answer itself is safe; at worst the status shows a wait for a little longer.
            tracing::warn!(%error, %run, "an answered wait could not be noted");
        }
        Ok(())
    }

    fn response(&self, mut head: Parts, body: Bytes) -> Response<Whole> {
        let kept = |name: &HeaderName| self.keep.contains(name);
        head.headers = head
            .headers
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Response::from_parts(head, Whole::from(body))
    }
}

/// An endless or coded answer would be held for ever, or not be understood: known from its head.
fn whole_answer(head: &Parts) -> Result<(), Refusal> {
    let streams = head.headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let essence = value.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    });
    if streams {
        return Err(upstream(
            "upstream_streams",
            "The upstream answered with a stream, which this route has not.",
        ));
    }
    let coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if head.headers.get_all(CONTENT_ENCODING).iter().any(coded) {
        return Err(upstream(
            "upstream_encoded",
            "The upstream's answer is encoded, which was not asked for.",
        ));
    }
    Ok(())
}

fn unregistered(error: &RegisterError) -> Refusal {
    match error {
        RegisterError::Ledger(error) => sent(error),
        _ => not_new(),
    }
}

fn not_reserved() -> Refusal {
    let detail = "The run reserved for this call is not the caller's; nothing was sent.";
    Refusal::new(By::Runs, StatusCode::INTERNAL_SERVER_ERROR, "reserved_run_unusable", detail)
}

fn not_new() -> Refusal {
    let detail =
        "The upstream took the call and answered with the id of another run, so its answer is not shown.";
    upstream("upstream_unexpected", detail)
}
