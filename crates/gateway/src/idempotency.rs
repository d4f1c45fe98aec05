//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a call that its caller names happens once, however
//! often it is sent.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use crewgate_approval::{ApprovalStore, KeptKey, KeyStore, Preference, WaitingRoom};
use crewgate_audit::{AuditStore, Query};
use crewgate_core::{Clock, Effect, Fact, Keyed, Layer as By, Operation, Principal, Refusal, Trail};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tower::{Layer, Service};

use crate::{
    answers,
    tickets::{kickoff, starts_run},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters of a key: a UUID has 36.
const MAX_KEY: usize = 255;

/// When a call that is under way may have ended.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Lets a named call through once and gives its answer again; calls without a name, and reads, pass. Where it stands,
/// policy has allowed the call that repeats as it allowed the first.
#[derive(Clone)]
pub(crate) struct IdempotencyLayer(pub(crate) Arc<IdempotencyDesk>);

pub(crate) struct IdempotencyDesk {
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) approvals: Arc<dyn ApprovalStore>,
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) room: WaitingRoom<Body>,
    pub(crate) retention: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Idempotency<S> {
        Idempotency { inner, desk: Arc::clone(&self.0) }
    }
}

/// See [`IdempotencyLayer`].
#[derive(Clone)]
pub(crate) struct Idempotency<S> {
    inner: S,
    desk: Arc<IdempotencyDesk>,
}

impl<S> Service<Request<Body>> for Idempotency<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reads = request.extensions().get::<Operation>().is_some_and(|o| o.effect == Effect::Read);
        if reads || !request.headers().contains_key(IDEMPOTENCY_KEY) {
            return Box::pin(self.inner.call(request));
        }
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let desk = Arc::clone(&self.desk);
        Box::pin(async move {
            match desk.first(request).await {
                Ok(First::Call(request)) => inner.call(request).await,
                Ok(First::Answered(answer)) => Ok(answer),
                Err(refusal) => Ok(refusal.into_response()),
            }
        })
    }
}

enum First {
    /// Nobody has sent it before.
    Call(Request<Body>),
    Answered(Response<Body>),
}

impl IdempotencyDesk {
    async fn first(&self, request: Request<Body>) -> Result<First, Refusal> {
        let (mut head, body) = request.into_parts();
        // Whole and within its bound already: it was described.
        let body = body.collect().await.map_err(|_| bad("the body broke off"))?.to_bytes();
        let keyed = self.keyed(&head, &body)?;
        let kept = self.keys.kept(&keyed.key, self.clock.now()).await.map_err(|error| unavailable(&error))?;
        let Some(kept) = kept else {
            if let Some(trail) = head.extensions.get::<Trail>() {
                // The intent carries it, and takes the key with it; so does the approval.
                trail.note(Fact::Keyed(keyed.clone()));
            }
            head.extensions.insert(keyed);
            return Ok(First::Call(Request::from_parts(head, Body::from(body))));
        };
        if kept.fingerprint != keyed.fingerprint {
            let text = "this key was used for another request";
            return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", text));
        }
        self.again(&kept, &head).await.map(First::Answered)
    }

    /// What the caller who sent it first was told, or would be told by now.
    async fn again(&self, kept: &KeptKey, head: &Parts) -> Result<Response<Body>, Refusal> {
        if let Some(id) = kept.approval {
            let found = self.approvals.find(id).await.map_err(|error| unavailable(&error))?;
            let approval = found.ok_or_else(|| unknown("what it stands for is gone"))?;
            let who = head.extensions.get::<Principal>().ok_or_else(unprepared)?;
            return Ok(self.room.again(approval, who, Preference::of(&head.headers)).await);
        }
        let found = answers::outcome(&*self.audit, Query::request(kept.request), |_| true).await;
        let Some(outcome) = found.map_err(|error| unavailable(&error))? else {
            let text =
                "the first call under this key has not ended, or its end was lost; it is not sent again";
            return Err(
                refuse(StatusCode::CONFLICT, "idempotency_in_use", text).with_retry_after(LOOK_AGAIN_AFTER)
            );
        };
        if let Some(answer) = answers::again(&outcome) {
            return Ok(answer);
        }
        // Whoever heard only part of the answer to a kickoff wants its id, and there is one.
        let starts = head.extensions.get::<Operation>().is_some_and(starts_run);
        match outcome.run.filter(|_| starts) {
            Some(run) => Ok(kickoff(run)),
            None => Err(unknown("the first call under this key was sent, and its answer is not kept")),
        }
    }

    fn keyed(&self, head: &Parts, body: &[u8]) -> Result<Keyed, Refusal> {
        let key = key(&head.headers)?;
        let principal = head.extensions.get::<Principal>().ok_or_else(unprepared)?;
        let operation = head.extensions.get::<Operation>().ok_or_else(unprepared)?;
        let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
        let target = head.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
        Ok(Keyed {
            key: digest(&[
                principal.key.issuer.as_bytes(),
                principal.key.subject.as_bytes(),
                principal.client.as_deref().unwrap_or_default().as_bytes(),
                operation.action.as_str().as_bytes(),
                operation.resource.kind.as_bytes(),
                operation.resource.name.as_bytes(),
                key.as_bytes(),
            ]),
            fingerprint: digest(&[
                head.method.as_str().as_bytes(),
                target.as_bytes(),
                content_type.unwrap_or_default(),
                body,
            ]),
            until: self.clock.now().saturating_add(self.retention),
        })
    }
}

/// The one key: a string of RFC 8941 section 3.3.3, without parameters.
fn key(headers: &HeaderMap) -> Result<String, Refusal> {
    let wrong = || {
        bad("`Idempotency-Key` is one string in double quotes, e.g. \"8e03978e-40d5-43dd-bc93-6894a57f9324\"")
    };
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(wrong()) };
    let text = value.to_str().map_err(|_| wrong())?.trim_matches(' ');
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(wrong)?;
    let (mut key, mut escaped) = (String::new(), false);
    for c in inside.chars() {
        match c {
            '\\' | '"' if escaped => {
                key.push(c);
                escaped = false;
            }
            _ if escaped => return Err(wrong()),
            '\\' => escaped = true,
            ' '..='~' if c != '"' => key.push(c),
            _ => return Err(wrong()),
        }
    }
    if escaped || key.is_empty() || key.len() > MAX_KEY { Err(wrong()) } else { Ok(key) }
}

/// SHA-256 over parts that cannot run into each other, hex.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refuse(status: StatusCode, code: &'static str, text: &str) -> Refusal {
    Refusal::new(By::Gateway, status, code, text)
}

fn unprepared() -> Refusal {
    refuse(
        StatusCode::FORBIDDEN,
        "idempotency_unprepared",
        "it is not known whose call it is, or what it asks",
    )
}

fn bad(text: &str) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, "idempotency_key_malformed", text)
}

fn unknown(text: &str) -> Refusal {
    refuse(StatusCode::CONFLICT, "idempotency_outcome_unknown", text)
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "what a caller's key stands for cannot be told");
    let text = "what this key stands for cannot be told right now; nothing was sent";
    refuse(StatusCode::SERVICE_UNAVAILABLE, "idempotency_unavailable", text)
        .with_retry_after(LOOK_AGAIN_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, value.parse().unwrap());
        }
        key(&headers).ok()
    }

    #[test]
    fn a_key_is_one_string_of_a_structured_field() {
        assert_eq!(read(&["\"8e03978e-40d5\""]).as_deref(), Some("8e03978e-40d5"));
        assert_eq!(read(&[" \"a \\\"b\\\" \\\\ c\" "]).as_deref(), Some("a \"b\" \\ c"));
        let long = format!("\"{}\"", "k".repeat(MAX_KEY + 1));
        for wrong in [
            vec!["8e03978e-40d5"],
            vec!["\"\""],
            vec!["\"a"],
            vec!["\""],
            vec!["a\""],
            vec!["\"a\"b\""],
            vec!["\"a\\\""],
            vec!["\"a\\b\""],
            vec!["\"a\"; x=1"],
            vec!["\"a\", \"b\""],
            vec!["\"a\"", "\"a\""],
            vec![long.as_str()],
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_eq!(digest(&[b"a"]).len(), 64);
    }
}
