use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::{Clock, Ending, Fact, Layer as By, Refusal, RequestId, SystemClock, Trail};
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    AuditBody, AuditStore, Seat,
    body::{Recipient, Recording},
    open::{FAILED, Open, ended},
    repeats::Repeats,
    tlog::Hash,
};

/// The response header with the request's id.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("request-id");

/// The response header with the leaf the call has on the record, once it has one.
pub const LEAF_HEADER: HeaderName = HeaderName::from_static("audit-leaf");

/// Bytes of an answer that are kept for replay; the rest is counted and digested.
pub const DEFAULT_KEPT_BYTES: usize = 1024 * 1024;

/// Characters of a path or user agent that are kept.
const MAX_TEXT: usize = 200;

/// Put on a request that belongs to an earlier one, such as the release of an approval: the record links the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent(pub RequestId);

type Remote = dyn Fn(&Extensions) -> Option<String> + Send + Sync;

/// Keeps the record of every request that passes: the outermost of the layers that know a caller.
///
/// It puts a [`Trail`] on the request for all layers further in, and writes what was noted there when the call has
/// ended: one [`Refused`](crate::Phase::Refused) entry when nothing left, an [`Outcome`](crate::Phase::Outcome) with
/// the answer as the caller saw it otherwise. An answer to a question about a run that is the one its caller got last is
/// not kept a second time: a [`Fact::Repeated`] says where it lies. A [`RequestId`] found on the request is used, else one is made.
#[derive(Clone)]
pub struct AuditLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
struct Config {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    remote: Arc<Remote>,
    keep: usize,
    repeats: Arc<Repeats>,
}

impl fmt::Debug for AuditLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLayer").field("kept_bytes", &self.config.keep).finish_non_exhaustive()
    }
}

impl AuditLayer {
    /// Writes to this store.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>) -> Self {
        let config = Config {
            store,
            clock: Arc::new(SystemClock),
            remote: Arc::new(|_| None),
            keep: DEFAULT_KEPT_BYTES,
            repeats: Arc::default(),
        };
        Self { config: Arc::new(config) }
    }

    /// Reads the time here instead of from the operating system.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// How to find the other end's address among the request's extensions. Default: it is not recorded.
    #[must_use]
    pub fn remote(self, remote: impl Fn(&Extensions) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|config| config.remote = Arc::new(remote))
    }

    /// Bytes of an answer to keep; 0 keeps none and still counts and digests them. Default [`DEFAULT_KEPT_BYTES`].
    #[must_use]
    pub fn keep_bytes(self, keep: usize) -> Self {
        self.with(|config| config.keep = keep)
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit { inner, config: Arc::clone(&self.config) }
    }
}

/// See [`AuditLayer`].
#[derive(Clone)]
pub struct Audit<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S: fmt::Debug> fmt::Debug for Audit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for Audit<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    ReqB: Send + 'static,
    ResB: Body<Data = Bytes> + Default + Send + 'static,
{
    type Response = Response<AuditBody<ResB>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    /// # Cancel safety
    ///
    /// Dropping the future, polled or not, puts the entry in line: as "caller gone".
    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let open = open(&self.config, &mut request);
        let keep = self.config.keep;
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            // Inside the future, so that `open` is dropped, and the call recorded, when it is.
            let mut open = open;
            let response = match inner.call(request).await {
                Ok(response) => response,
                Err(error) => {
                    open.close(None, ended(Ending::Cut, FAILED, 0, Hash::of(b"")), Vec::new());
                    return Err(error);
                }
            };
            Ok(answer(open, response, keep).await)
        })
    }
}

fn open<B>(config: &Config, request: &mut Request<B>) -> Open {
    let id = request.extensions().get::<RequestId>().copied().unwrap_or_else(RequestId::random);
    let trail = Trail::new(id);
    let user_agent = request
        .headers()
        .get(header::USER_AGENT)
        .map(|agent| cut(&String::from_utf8_lossy(agent.as_bytes())));
    trail.note(Fact::Received {
        method: request.method().as_str().to_owned(),
        path: cut(request.uri().path()),
        remote: (config.remote)(request.extensions()),
        user_agent,
    });
    if let Some(Parent(request)) = request.extensions().get::<Parent>() {
        trail.note(Fact::PartOf { request: *request });
    }
    let repeats = Arc::clone(&config.repeats);
    let open = Open::new(Arc::clone(&config.store), Arc::clone(&config.clock), repeats, trail.clone());
    let extensions = request.extensions_mut();
    extensions.insert(id);
    extensions.insert(trail);
    extensions.insert(open.slot.clone());
    open
}

async fn answer<B>(mut open: Open, response: Response<B>, keep: usize) -> Response<AuditBody<B>>
where
    B: Body<Data = Bytes> + Default,
{
    let id = open.trail.request();
    let status = response.status().as_u16();
    let refused = open.answered(response.extensions());
    let mut response = if open.has_intent() {
        let leaf = open.intent_leaf();
        let seat = open.take_seat();
        let mut response = recorded(response, open, seat, keep);
        name_leaf(&mut response, leaf);
        response
    } else if refused || status >= 400 {
        let place = open.refused(status).await;
        let mut response = response.map(AuditBody::silent);
        name_leaf(&mut response, place.map(|place| place.index));
        response
    } else {
        // Answered without a call upstream, with something the record must hold all the same: no seat, no answer.
        match open.store.reserve().await {
            Ok(seat) => recorded(response, open, Some(seat), keep),
            Err(error) => {
                tracing::error!(request = %id, %error, "an answer is held back: it could not be recorded");
                unavailable().into_response().map(AuditBody::silent)
            }
        }
    };
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
}

fn recorded<B: Body<Data = Bytes>>(
    mut response: Response<B>,
    open: Open,
    seat: Option<Box<dyn Seat>>,
    keep: usize,
) -> Response<AuditBody<B>> {
    // The answer to a call that is part of this one goes to the same.
    let recipient = response.extensions_mut().get_or_insert_default::<Recipient>().clone();
    let recording = Recording::new(open, seat, recipient, response.status().as_u16(), keep);
    response.map(|body| AuditBody::recorded(body, recording))
}

fn name_leaf<B>(response: &mut Response<B>, leaf: Option<u64>) {
    if let Some(leaf) = leaf {
        response.headers_mut().insert(LEAF_HEADER, HeaderValue::from(leaf));
    }
}

pub(crate) fn unavailable() -> Refusal {
    Refusal::new(
        By::Audit,
        StatusCode::SERVICE_UNAVAILABLE,
        "audit_unavailable",
        "this call could not be put on the record, so it was not made",
    )
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned()
}
