use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crewgate_core::{Fact, Principal, Trail};
use http::{HeaderMap, HeaderName, Request, Response, header::AUTHORIZATION};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Bearer, Reason, Rejection, VerifyToken};

/// Carries the proof (RFC 9449 section 4.1).
const PROOF: HeaderName = HeaderName::from_static("dpop");

/// The SHA-256 of the certificate a TLS client proved to hold, on the requests of its connection. Whoever ends TLS puts
/// it there; tokens bound to it (RFC 8705) are refused on other connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a digest")]
pub struct ClientCertificate(pub [u8; 32]);

/// Puts the [`Principal`] a bearer token proves on the request, or answers 401 (400 for a request that cannot be
/// right, 503 while the issuer's keys are not to be had).
///
/// Exactly one `Authorization` header is accepted, with the scheme `Bearer` (or `DPoP`, see
/// [`with_proofs_for`](Self::with_proofs_for)); a token in the query is refused. The
/// header goes no further than here, and a `Principal` that was on the request before is removed first.
pub struct AuthenticateLayer<V> {
    verifier: Arc<V>,
    place: Option<Arc<str>>,
}

impl<V> AuthenticateLayer<V> {
    /// Authenticates by this verifier: a [`Verifier`](crate::Verifier), or an `async` closure from [`Bearer`] to
    /// `Result<Principal, Rejection>`.
    #[must_use]
    pub fn new(verifier: V) -> Self {
        Self { verifier: Arc::new(verifier), place: None }
    }

    /// Accepts the scheme `DPoP` (RFC 9449) too. Proofs must be for resources below this public address, like
    /// `https://gate.example`: what a request itself says of its host proves nothing.
    #[must_use]
    pub fn with_proofs_for(mut self, place: &str) -> Self {
        self.place = Some(place.trim_end_matches('/').into());
        self
    }
}

impl<V> Clone for AuthenticateLayer<V> {
    fn clone(&self) -> Self {
        Self { verifier: Arc::clone(&self.verifier), place: self.place.clone() }
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
        Authenticate { inner, verifier: Arc::clone(&self.verifier), place: self.place.clone() }
    }
}

/// The service of [`AuthenticateLayer`].
pub struct Authenticate<S, V> {
    inner: S,
    verifier: Arc<V>,
    place: Option<Arc<str>>,
}

impl<S: Clone, V> Clone for Authenticate<S, V> {
    fn clone(&self) -> Self {
        let (verifier, place) = (Arc::clone(&self.verifier), self.place.clone());
        Self { inner: self.inner.clone(), verifier, place }
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
        let token = credentials(&request, self.place.as_deref());
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(PROOF);
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

fn credentials<B>(request: &Request<B>, place: Option<&str>) -> Result<Bearer, Rejection> {
    let (headers, uri) = (request.headers(), request.uri());
    // RFC 6750 section 2.3 allows it and RFC 9700 section 4.3.2 forbids it again.
    let names =
        uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    if names.into_iter().any(|name| name.eq_ignore_ascii_case("access_token")) {
        return Err(Reason::InQuery.into());
    }
    let Some(value) = only(headers, &AUTHORIZATION, Reason::Repeated)? else {
        return Err(Reason::Missing.into());
    };
    // RFC 9110 section 11.1: schemes are case-insensitive; RFC 6750 section 2.1: one or more spaces.
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let (bearer, dpop) = (scheme.eq_ignore_ascii_case("bearer"), scheme.eq_ignore_ascii_case("dpop"));
    let token = match token.trim_matches(' ') {
        "" if bearer || dpop => return Err(Reason::Missing.into()),
        token => Bearer::new(token),
    };
    let token = match request.extensions().get::<ClientCertificate>() {
        Some(ClientCertificate(thumbprint)) => token.with_certificate(*thumbprint),
        None => token,
    };
    match place {
        _ if bearer => Ok(token),
        Some(place) if dpop => {
            let proof = only(headers, &PROOF, Reason::ProofMissing)?.ok_or(Reason::ProofMissing)?;
            Ok(token.with_proof(proof, request.method().clone(), format!("{place}{}", uri.path())))
        }
        _ => Err(Reason::Scheme.into()),
    }
}

/// The one value of a header; the reason when there are several.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    several: Reason,
) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Reason::Malformed.into()),
        (Some(_), Some(_)) => Err(several.into()),
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
