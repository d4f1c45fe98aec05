//! Documents anybody may read, answered beside the stack and without a token.

use std::{collections::HashMap, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use serde_json::json;

use crate::{
    config::Settings,
    oauth::{KEYS, METADATA, TokenDesk},
};

/// RFC 9728: which issuers this resource accepts.
pub(crate) const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// The documents by path, rendered once at load.
#[derive(Debug, Clone)]
pub(crate) struct WellKnown(Arc<HashMap<&'static str, Bytes>>);

impl WellKnown {
    /// Of the gateway at this public address; with an exchange, of the issuer it is.
    pub(crate) fn new(settings: &Settings, base: &str, exchange: Option<&TokenDesk>) -> Self {
        let issuers = settings.issuers.iter().map(|issuer| issuer.url.as_str());
        let issuers: Vec<&str> = issuers.chain(exchange.map(|desk| desk.exchange.url())).collect();
        let tls = settings.gateway.listen.tls.as_ref();
        let resource = json!({
            "resource": base,
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": crewgate_oidc::DEFAULT_ALGORITHMS.map(|known| known.name()),
            "tls_client_certificate_bound_access_tokens": tls.is_some_and(|tls| tls.client_certificates),
        });
        let mut documents = HashMap::from([(PROTECTED_RESOURCE, resource.to_string().into())]);
        if let Some(desk) = exchange {
            documents.insert(KEYS, desk.exchange.jwks());
            documents.extend(METADATA.map(|path| (path, desk.metadata())));
        }
        Self(Arc::new(documents))
    }

    /// The answer when the request asks for such a document.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let document = self.0.get(request.uri().path()).filter(|_| request.method() == Method::GET)?;
        let mut response = Response::new(Body::from(document.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(response)
    }
}
