use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{address::Resolver, keyset::MAX_DOCUMENT};

/// Gets a document of an issuer. Whoever calls it has checked that the URL may be fetched, ends it after
/// [`FETCH_TIMEOUT`](crate::FETCH_TIMEOUT), and judges what comes back.
///
/// An `async` closure over a `Uri` is one, for documents without an age or a tag:
///
/// ```
/// use bytes::Bytes;
/// use crewgate_oidc::{Fetch, FetchError};
///
/// let from_memory = |_: http::Uri| async { Ok::<_, FetchError>(Bytes::from_static(br#"{"keys":[]}"#)) };
/// fn takes(_: impl Fetch) {}
/// takes(from_memory);
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// The answer to a `GET`: 200, or 304 when `known` (the entity tag of the version at hand) still stands.
    ///
    /// # Errors
    ///
    /// When there is no such answer; the text may be shown to operators.
    fn fetch(&self, uri: Uri, known: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>>;

    /// The answer to a `POST` of a form that was answered with 200. Introspection and logins need it.
    ///
    /// # Errors
    ///
    /// When there is no such answer, which is all there is unless this is implemented.
    fn post(&self, uri: Uri, form: Form) -> BoxFuture<'_, Result<Posted, FetchError>> {
        let _ = (uri, form);
        Box::pin(async { Err(FetchError::new("forms cannot be sent")) })
    }
}

/// A form to send.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "what an HTTP client needs to know")]
pub struct Form {
    /// `application/x-www-form-urlencoded`. Holds a token: not to be logged.
    pub body: String,
    /// `Authorization`; a public client has none.
    pub authorization: Option<HeaderValue>,
    /// `Accept`.
    pub accept: HeaderValue,
}

/// The answer to a form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what is read of an answer")]
pub struct Posted {
    /// `Content-Type`; empty when there is none.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// What a [`Fetch`] brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The document; `None` when the version at hand still stands (304).
    pub body: Option<Bytes>,
    /// Its entity tag (RFC 9110 section 8.8.3), to ask with the next time.
    pub tag: Option<String>,
    /// `max-age` of its `Cache-Control` (RFC 9111 section 5.2.2.1).
    pub max_age: Option<Duration>,
}

impl From<Bytes> for Fetched {
    fn from(body: Bytes) -> Self {
        Self { body: Some(body), tag: None, max_age: None }
    }
}

impl<F, Fut> Fetch for F
where
    F: Fn(Uri) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Bytes, FetchError>> + Send + 'static,
{
    fn fetch(&self, uri: Uri, _: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let document = self(uri);
        Box::pin(async move { document.await.map(Fetched::from) })
    }
}

/// Why a document could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError(String);

impl FetchError {
    /// An error with this text.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

/// [`Fetch`] over HTTP/1.1 and TLS 1.2 or 1.3: no redirects, no proxy, no cookies, at most 1 MiB. Trusts the
/// operating system's certificates and those given.
#[derive(Debug, Clone)]
pub struct HttpFetch {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    tls: ClientConfig,
}

impl HttpFetch {
    /// Trusts the operating system's certificates.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, FetchError> {
        Self::with_extra_ca(&[])
    }

    /// Trusts these certificates too: PEM, one or many, for an issuer with a certificate authority of its own.
    ///
    /// # Errors
    ///
    /// When the PEM holds no certificate or something that is none, or TLS cannot be set up.
    pub fn with_extra_ca(pem: &[u8]) -> Result<Self, FetchError> {
        let mut roots = RootCertStore::empty();
        // A machine without certificates can still use loopback issuers and its own CA; https to others then fails
        // with an error that names the certificate.
        let system = rustls_native_certs::load_native_certs();
        let (_, unusable) = roots.add_parsable_certificates(system.certs);
        if unusable > 0 || !system.errors.is_empty() {
            tracing::debug!(
                unusable,
                errors = system.errors.len(),
                "some system certificates cannot be used"
            );
        }
        let mut own = 0_usize;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| FetchError::new(format!("extra CA: {e}")))?;
            roots.add(certificate).map_err(|e| FetchError::new(format!("extra CA: {e}")))?;
            own += 1;
        }
        if own == 0 && !pem.is_empty() {
            return Err(FetchError::new("extra CA: no certificate in it"));
        }
        // The provider is named: with several linked in, rustls would panic on the first connection.
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| FetchError::new(format!("TLS: {e}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::over(tls, Resolver::new(false)))
    }

    /// Goes where names lead in a private network too: to an issuer of one's own, or in one's own cluster. Without it
    /// names lead to public addresses only, and `localhost` to this machine.
    #[must_use]
    pub fn in_private_networks(self) -> Self {
        Self::over(self.tls, Resolver::new(true))
    }

    fn over(tls: ClientConfig, resolver: Resolver) -> Self {
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        let connector = connector.wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Self { client, tls }
    }

    async fn get(&self, uri: Uri, known: Option<String>) -> Result<Fetched, FetchError> {
        let mut request = http::Request::get(uri).header(header::ACCEPT, "application/json");
        let conditional = known.is_some();
        if let Some(tag) = known {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Full::default()).map_err(|e| FetchError::new(e.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| FetchError::new(causes(&e)))?;
        let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (tag, max_age) = (text(header::ETAG), max_age(response.headers()));
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if conditional => return Ok(Fetched { body: None, tag, max_age }),
            // A redirect is an answer like any other: following it would let a configured issuer be replaced by
            // whoever it points to.
            other => return Err(FetchError::new(format!("answered {other}"))),
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        let body = body.map_err(|e| FetchError::new(format!("body: {e}")))?.to_bytes();
        Ok(Fetched { body: Some(body), tag, max_age })
    }
}

impl HttpFetch {
    async fn send(&self, uri: Uri, form: Form) -> Result<Posted, FetchError> {
        let mut request = http::Request::post(uri)
            .header(header::ACCEPT, form.accept)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = form.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::from(form.body)).map_err(|e| FetchError::new(e.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| FetchError::new(causes(&e)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::new(format!("answered {}", response.status())));
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let content_type = kind.unwrap_or_default().to_owned();
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        let body = body.map_err(|e| FetchError::new(format!("body: {e}")))?.to_bytes();
        Ok(Posted { content_type, body })
    }
}

impl Fetch for HttpFetch {
    fn post(&self, uri: Uri, form: Form) -> BoxFuture<'_, Result<Posted, FetchError>> {
        Box::pin(self.send(uri, form))
    }

    fn fetch(&self, uri: Uri, known: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(self.get(uri, known))
    }
}

/// Seconds of `max-age`, zero where storing is forbidden; none where nothing is said or it cannot be read.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut found = None;
    for directive in directives.flat_map(|line| line.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            found = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    found
}

/// The error and what caused it: the outermost alone says only "client error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
