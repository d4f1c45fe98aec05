use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{Fact, Principal, Trail};
use http::{HeaderMap, Request, Response, Uri, header::AUTHORIZATION};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Bearer, Reason, Rejection, VerifyToken};

/// Puts the [`Principal`] a bearer token proves on the request, or answers 401 (400 for a request that cannot be
/// right, 503 while the issuer's keys are not to be had).
///
/// Exactly one `Authorization` header is accepted, with the scheme `Bearer`; a token in the query is refused. The
/// header goes no further than here, and a `Principal` that was on the request before is removed first.
pub struct AuthenticateLayer<V> {
    verifier: Arc<V>,
}

impl<V> AuthenticateLayer<V> {
    /// Authenticates by this verifier: a [`Verifier`](crate::Verifier), or an `async` closure from [`Bearer`] to
    /// `Result<Principal, Rejection>`.
    #[must_use]
    pub fn new(verifier: V) -> Self {
        Self { verifier: Arc::new(verifier) }
    }
}

impl<V> Clone for AuthenticateLayer<V> {
    fn clone(&self) -> Self {
        Self { verifier: Arc::clone(&self.verifier) }
    }
}

impl<V> fmt::Debug for AuthenticateLayer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticateLayer(..)")
    }
}

impl<S, V> Layer<S> for AuthenticateLayer<V> {
    type Service = Authenticate<S, V>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, verifier: Arc::clone(&self.verifier) }
    }
}

/// The service of [`AuthenticateLayer`].
pub struct Authenticate<S, V> {
    inner: S,
    verifier: Arc<V>,
}

impl<S: Clone, V> Clone for Authenticate<S, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), verifier: Arc::clone(&self.verifier) }
    }
}

impl<S: fmt::Debug, V> fmt::Debug for Authenticate<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, V, ReqB, ResB> Service<Request<ReqB>> for Authenticate<S, V>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    V: VerifyToken,
    ReqB: Send + 'static,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResB>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    /// # Cancel safety
    ///
    /// Until the inner service is called nothing has happened.
    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        // The clone is not ready; the one `poll_ready` was asked of is.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let verifier = Arc::clone(&self.verifier);
        // Whatever stood there before was not proved here.
        request.extensions_mut().remove::<Principal>();
        let token = credentials(request.headers(), request.uri());
        request.headers_mut().remove(AUTHORIZATION);
        Box::pin(async move {
            let verified = match token {
                Ok(token) => verifier.verify(token).await,
                Err(rejection) => Err(rejection),
            };
            match verified {
                Ok(principal) => {
                    if let Some(trail) = request.extensions().get::<Trail>() {
                        trail.note(authenticated(&principal));
                    }
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                // The record takes the refusal from the response, where it finds every layer's.
                Err(rejection) => Ok(rejection.into_refusal().into_response()),
            }
        })
    }
}

fn credentials(headers: &HeaderMap, uri: &Uri) -> Result<Bearer, Rejection> {
    // RFC 6750 section 2.3 allows it and RFC 9700 section 4.3.2 forbids it again.
    let names =
        uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    if names.into_iter().any(|name| name.eq_ignore_ascii_case("access_token")) {
        return Err(Reason::InQuery.into());
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Reason::Missing.into()),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(Reason::Repeated.into()),
    };
    let Ok(text) = value.to_str() else { return Err(Reason::Malformed.into()) };
    // RFC 9110 section 11.1: schemes are case-insensitive; RFC 6750 section 2.1: one or more spaces.
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::Scheme.into());
    }
    match token.trim_matches(' ') {
        "" => Err(Reason::Missing.into()),
        token => Ok(Bearer::new(token)),
    }
}

fn authenticated(principal: &Principal) -> Fact {
    Fact::Authenticated {
        principal: principal.key.clone(),
        kind: principal.kind,
        client: principal.client.clone(),
        expires: principal.token.expires,
        token: principal.token.fingerprint.clone(),
    }
}
