//! Documents anybody may read, answered beside the stack and without a token.

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, header};
use serde_json::json;

use crate::config::Settings;

/// RFC 9728: which issuers this resource accepts.
pub(crate) const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// The document, rendered once at load.
#[derive(Debug, Clone)]
pub(crate) struct WellKnown {
    metadata: bytes::Bytes,
}

impl WellKnown {
    pub(crate) fn new(settings: &Settings) -> Self {
        let issuers: Vec<&str> = settings.issuers.iter().map(|issuer| issuer.url.as_str()).collect();
        let tls = settings.gateway.listen.tls.as_ref();
        let document = json!({
            "resource": settings.gateway.public_address(),
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": crewgate_oidc::DEFAULT_ALGORITHMS.map(|known| known.name()),
            "tls_client_certificate_bound_access_tokens": tls.is_some_and(|tls| tls.client_certificates),
        });
        Self { metadata: document.to_string().into() }
    }

    /// The answer when the request asks for such a document.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        if request.method() != Method::GET || request.uri().path() != PROTECTED_RESOURCE {
            return None;
        }
        let mut response = Response::new(Body::from(self.metadata.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(response)
    }
}
