//! The numbers and tokens of a run: one map for its request, stream and status, kept before any of them is seen, and
//! turned back for entitled callers outside of the record, which keeps the tokens.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use crewgate_audit::Parent;
use crewgate_core::{
    Clock, Fact, Layer as By, Operation, Principal, Refusal, RequestId, RunId, Timestamp, Trail,
};
use crewgate_masking::{BoxFuture, Dialect, Mask, MaskBody, Masker, Session, Vault, VaultError, VaultKeys};
use crewgate_policy::RoleSource;
use http::{Extensions, Request, Response, StatusCode, header};
use http_body::Frame;
use opentelemetry::{KeyValue, global, metrics::Counter};
use tower::{Layer, Service};

use crate::{
    live::Live,
    masks::{Chosen, Masks},
};

/// Sessions kept in memory. One that must go comes back from the vault; without a vault its run counts anew.
const MAX_READY: usize = 4096;

/// Where sessions are kept beyond the process.
pub(crate) struct Kept {
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) keys: VaultKeys,
    pub(crate) keep: Duration,
}

/// The sessions of all runs.
pub(crate) struct Sessions {
    ready: Mutex<HashMap<String, (Session, u64)>>,
    kept: Option<Kept>,
    clock: Arc<dyn Clock>,
}

/// A call's session and what it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Scoped {
    scope: String,
    pub(crate) session: Session,
}

impl Sessions {
    pub(crate) fn new(kept: Option<Kept>, clock: Arc<dyn Clock>) -> Self {
        Self { ready: Mutex::default(), kept, clock }
    }

    /// Forgets what has expired, for good.
    pub(crate) async fn forget(&self) -> Result<u64, VaultError> {
        match &self.kept {
            Some(kept) => kept.vault.forget(self.clock.now()).await,
            None => Ok(0),
        }
    }

    /// The session of a scope: from memory, from the vault, or a new one.
    async fn of(&self, scope: String) -> Result<Scoped, VaultError> {
        if let Some(session) = self.known(&scope) {
            return Ok(Scoped { scope, session });
        }
        let session = match &self.kept {
            Some(kept) => {
                let sealed = kept.vault.of(&scope, self.clock.now()).await?;
                let count = sealed.len();
                let opened: Vec<_> = sealed.iter().filter_map(|one| kept.keys.open(one)).collect();
                if opened.len() < count {
                    // A number given twice would be worse than no answer.
                    return Err(VaultError(
                        "a token was sealed with a key that is not configured".to_owned(),
                    ));
                }
                Session::resume(opened)
            }
            None => Session::new(),
        };
        // Who came first while we read has issued from theirs.
        Ok(Scoped { session: self.remember(&scope, session), scope })
    }

    /// The numbers and tokens of a run.
    pub(crate) async fn of_run(&self, run: RunId) -> Result<Session, VaultError> {
        self.of(scope_of(run)).await.map(|scoped| scoped.session)
    }

    /// Makes durable what was issued since the last time.
    async fn save(&self, scoped: &Scoped) -> Result<(), VaultError> {
        let issued = scoped.session.take_unsaved();
        let Some(kept) = self.kept.as_ref().filter(|_| !issued.is_empty()) else { return Ok(()) };
        let expires = self.clock.now().saturating_add(kept.keep);
        let sealed: Option<Vec<_>> =
            issued.iter().map(|one| kept.keys.seal(&scoped.scope, one, expires)).collect();
        let saved = match sealed {
            Some(sealed) => kept.vault.keep(sealed).await,
            None => Err(VaultError("the system gives no randomness".to_owned())),
        };
        if saved.is_err() {
            self.locked().remove(&scoped.scope);
        }
        saved
    }

    /// A call has become a run.
    async fn adopt(&self, scoped: &mut Scoped, run: String) -> Result<(), VaultError> {
        if scoped.scope == run {
            return Ok(());
        }
        if let Some(kept) = &self.kept {
            kept.vault.adopt(&scoped.scope, &run).await?;
        }
        self.locked().remove(&scoped.scope);
        scoped.session = self.remember(&run, scoped.session.clone());
        scoped.scope = run;
        Ok(())
    }

    fn known(&self, scope: &str) -> Option<Session> {
        let mut ready = self.locked();
        let newest = ready.values().map(|(_, used)| *used).max().unwrap_or_default();
        let (session, used) = ready.get_mut(scope)?;
        *used = newest + 1;
        Some(session.clone())
    }

    fn remember(&self, scope: &str, session: Session) -> Session {
        let mut ready = self.locked();
        if ready.len() >= MAX_READY
            && !ready.contains_key(scope)
            && let Some(oldest) =
                ready.iter().min_by_key(|(_, (_, used))| *used).map(|(scope, _)| scope.clone())
        {
            ready.remove(&oldest);
        }
        let newest = ready.values().map(|(_, used)| *used).max().unwrap_or_default();
        ready.entry(scope.to_owned()).or_insert((session, newest + 1)).0.clone()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, (Session, u64)>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scope_of(run: RunId) -> String {
    format!("run:{run}")
}

/// What a call's numbers belong to: its run, and before there is one the request that asked first.
fn scope(extensions: &Extensions) -> Option<String> {
    let operation = extensions.get::<Operation>()?;
    let asked = extensions.get::<Parent>().map(|parent| parent.0).or(extensions.get::<RequestId>().copied());
    match operation.run {
        Some(run) if operation.action.as_str() != "kickoff" => Some(scope_of(run)),
        _ => asked.map(|request| format!("request:{request}")),
    }
}

/// Finds the session of a call, where its masks need one. Above the masks.
#[derive(Clone)]
pub(crate) struct SessionLayer {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) masks: Masks,
}

/// Keeps what masks issued before it is seen, and says what may be turned back. Below the masks of requests, above
/// everything that leaves.
#[derive(Clone)]
pub(crate) struct KeepLayer {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) masks: Masks,
    pub(crate) live: Live,
    pub(crate) masked: Masking,
}

/// See [`SessionLayer`] and [`KeepLayer`].
#[derive(Clone)]
pub(crate) struct With<S, L> {
    inner: S,
    layer: L,
}

impl<S> Layer<S> for SessionLayer {
    type Service = With<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        With { inner, layer: self.clone() }
    }
}

impl<S> Layer<S> for KeepLayer {
    type Service = With<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        With { inner, layer: self.clone() }
    }
}

pub(crate) fn unavailable(error: &VaultError) -> Refusal {
    tracing::error!(%error, "masks cannot be kept");
    let text = "what masks replace cannot be kept, so nothing is passed on";
    Refusal::new(By::Masking, StatusCode::SERVICE_UNAVAILABLE, "vault_unavailable", text)
}

type Boxed<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, ResB> Service<Request<Body>> for With<S, SessionLayer>
where
    S: Service<Request<Body>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = Boxed<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let chosen = self.layer.masks.masker(request.extensions());
        let needed = chosen.as_ref().is_some_and(Masker::remembers);
        if let Some(chosen) = chosen {
            request.extensions_mut().insert(Chosen(chosen));
        }
        let Some(scope) = needed.then(|| scope(request.extensions())).flatten() else {
            return Box::pin(self.inner.call(request));
        };
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let sessions = Arc::clone(&self.layer.sessions);
        Box::pin(async move {
            match sessions.of(scope).await {
                Ok(scoped) => {
                    request.extensions_mut().insert(scoped);
                    inner.call(request).await
                }
                Err(error) => Ok(unavailable(&error).into_response()),
            }
        })
    }
}

impl<S> Service<Request<Body>> for With<S, KeepLayer>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Boxed<Response<Body>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let extensions = request.extensions();
        let trail = extensions.get::<Trail>().cloned();
        let mut scoped = extensions.get::<Scoped>().cloned();
        let caller = extensions.get::<Principal>().cloned().zip(extensions.get::<Operation>().cloned());
        let masker = self.layer.masks.masker(extensions).filter(Masker::restores);
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (sessions, masked) = (Arc::clone(&self.layer.sessions), self.layer.masked.clone());
        let live = self.layer.live.clone();
        Box::pin(async move {
            if let Some(scoped) = &scoped
                && let Err(error) = sessions.save(scoped).await
            {
                return Ok(unavailable(&error).into_response());
            }
            let session = scoped.as_ref().map(|scoped| scoped.session.clone()).unwrap_or_default();
            let restore = match caller.zip(masker).zip(trail.as_ref()) {
                Some(((caller, masker), trail)) => {
                    let restore =
                        restorer(&live, (&caller.0, &caller.1), &masker, &session, sessions.clock.now())
                            .await;
                    // Stands in the intent, which is durable before a byte of the answer is seen.
                    restore.inspect(|(_, fact)| trail.note(fact.clone()))
                }
                None => None,
            };
            let mut response = inner.call(request).await?;
            let run = trail.as_ref().and_then(|trail| {
                trail.facts().iter().rev().find_map(|fact| match fact {
                    Fact::Registered { run, .. } => Some(scope_of(*run)),
                    _ => None,
                })
            });
            if let (Some(scoped), Some(run)) = (&mut scoped, run)
                && let Err(error) = sessions.adopt(scoped, run).await
            {
                return Ok(unavailable(&error).into_response());
            }
            if let Some((masker, _)) = restore {
                response.extensions_mut().insert(Restore(masker));
            }
            Ok(response.map(|body| {
                Body::new(KeptBody { body, sessions, scoped, held: None, count: Count { trail, masked } })
            }))
        })
    }
}

/// What may be turned back for this caller, and what the record says of it. Nothing when their roles are not known.
pub(crate) async fn restorer(
    live: &Live,
    (principal, operation): (&Principal, &Operation),
    masker: &Masker,
    session: &Session,
    now: Timestamp,
) -> Option<(Masker, Fact)> {
    let roles = live.roles(principal, Some(operation), now).await.ok()?;
    let roles: BTreeSet<_> = roles.into_iter().map(|role| role.name).collect();
    let restorer = masker.restorer(session, roles.clone())?;
    Some((restorer, Fact::Restored { profiles: masker.profiles().clone(), roles }))
}

/// Put on an answer whose caller may see what its tokens stand for.
#[derive(Clone)]
struct Restore(Masker);

/// Turns tokens back for an entitled caller. Outside of the record.
pub(crate) fn restored<B>(mut response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let restore = response.extensions_mut().remove::<Restore>();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let dialect = Dialect::of(kind);
    match restore {
        Some(Restore(masker)) if !response.body().is_end_stream() => {
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response.map(|body| Body::new(MaskBody::new(body, masker, dialect)))
        }
        _ => response.map(Body::new),
    }
}

type Saving = BoxFuture<'static, Result<(), VaultError>>;

/// Hands a frame on when what was issued in it is durable.
struct KeptBody {
    body: Body,
    sessions: Arc<Sessions>,
    scoped: Option<Scoped>,
    held: Option<(Frame<Bytes>, Saving)>,
    // Behind the body: it counts what the body noted when it was dropped.
    #[expect(dead_code, reason = "does its work when it is dropped")]
    count: Count,
}

impl http_body::Body for KeptBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some((_, saving)) = &mut self.held {
                let saved = ready!(saving.as_mut().poll(cx));
                let frame = self.held.take().map(|(frame, _)| frame);
                return Poll::Ready(match saved {
                    Ok(()) => frame.map(Ok),
                    Err(error) => Some(Err(error.into())),
                });
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
                return Poll::Ready(None);
            };
            let Some(scoped) = self.scoped.clone() else { return Poll::Ready(Some(Ok(frame))) };
            let sessions = Arc::clone(&self.sessions);
            self.held = Some((frame, Box::pin(async move { sessions.save(&scoped).await })));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Counts what was masked, by entity.
#[derive(Debug, Clone)]
pub(crate) struct Masking(Counter<u64>);

impl Masking {
    pub(crate) fn new() -> Self {
        let meter = global::meter("crewgate");
        Self(meter.u64_counter("crewgate.masked").with_description("Hits of masks, by entity").build())
    }
}

struct Count {
    trail: Option<Trail>,
    masked: Masking,
}

impl Drop for Count {
    fn drop(&mut self) {
        for fact in self.trail.iter().flat_map(Trail::facts) {
            let Fact::Masked { hits, .. } = fact else { continue };
            for (entity, places) in hits {
                self.masked.0.add(places.values().sum(), &[KeyValue::new("entity", entity)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crewgate_core::SystemClock;
    use crewgate_masking::{Entity, Keys, MemoryVault, Operator, Profile};

    use super::*;

    fn masker() -> Masker {
        Masker::of_profile(Profile::default().with(Entity::Email, Operator::Number).unwrap())
    }

    fn sessions(vault: &Arc<MemoryVault>, key: u8) -> Sessions {
        let keys = VaultKeys(Keys::new([[key; 32].as_slice()]).unwrap());
        let vault: Arc<dyn Vault> = vault.clone();
        Sessions::new(Some(Kept { vault, keys, keep: Duration::from_secs(60) }), Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn a_run_keeps_its_numbers_when_the_process_ends() {
        let vault = Arc::new(MemoryVault::new());
        let before = sessions(&vault, 1);
        let mut scoped = before.of("request:1".to_owned()).await.unwrap();
        assert_eq!(masker().in_session(&scoped.session).mask_text("a@example.com").text, "<EMAIL_1>");
        before.save(&scoped).await.unwrap();
        before.adopt(&mut scoped, "run:1".to_owned()).await.unwrap();
        let after = sessions(&vault, 1);
        let scoped = after.of("run:1".to_owned()).await.unwrap();
        let text = masker().in_session(&scoped.session).mask_text("b@example.com a@example.com").text;
        assert_eq!(text, "<EMAIL_2> <EMAIL_1>");
        assert!(sessions(&vault, 2).of("run:1".to_owned()).await.is_err(), "a lost key is no fresh start");
    }

    #[tokio::test]
    async fn sessions_in_memory_are_bounded() {
        let sessions = Sessions::new(None, Arc::new(SystemClock));
        for n in 0..MAX_READY + 10 {
            sessions.of(format!("run:{n}")).await.unwrap();
        }
        assert_eq!(sessions.locked().len(), MAX_READY);
        assert!(sessions.known("run:0").is_none() && sessions.known("run:11").is_some());
    }
}
