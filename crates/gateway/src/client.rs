//! The HTTP client towards CrewAI: no redirects, no retries, identity encoding, bounded waits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// A client; without more, for whole requests with their body in hand.
pub type Client<B = Full<Bytes>> = HyperClient<HttpsConnector<HttpConnector>, B>;

/// Time to reach the other side.
const CONNECT: Duration = Duration::from_secs(5);

/// Builds a client that trusts the system's certificate authorities and `extra` (PEM).
///
/// # Errors
///
/// What is wrong with the certificates.
pub fn build<B>(extra: Option<&[u8]>) -> Result<Client<B>, String>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    http.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(extra)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(HyperClient::builder(TokioExecutor::new())
        // A kickoff has no idempotency key: what may have left is never sent again by itself.
        .retry_canceled_requests(false)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_timer(TokioTimer::new())
        .build(connector))
}

/// TLS that trusts the system's certificate authorities and `extra` (PEM).
pub(crate) fn tls(extra: Option<&[u8]>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(pem) = extra {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| format!("the certificate authority is not PEM: {error:?}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("the certificate authority is not usable: {error}"))?;
        }
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An error with its causes; hyper's own texts name addresses, never bytes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
