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
        let resource = settings.gateway.public_url.as_ref().map_or_else(
            || {
                format!(
                    "{}://{}",
                    if settings.gateway.listen.tls.is_some() { "https" } else { "http" },
                    settings.gateway.listen.address
                )
            },
            |url| url.to_string().trim_end_matches('/').to_owned(),
        );
        let document = json!({
            "resource": resource,
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
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
