//! Asking whoever gives tokens: bounded in time and size, no redirects, never again by itself.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;

use super::SourceError;
use crate::{client, config::is_safe};

/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Largest answer that is read.
const MAX_ANSWER: usize = 256 << 10;

/// An HTTP client for token endpoints and what is like them.
#[derive(Debug, Clone)]
pub struct Http(client::Client);

/// An answer: JSON, or nothing that is JSON.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Http {
    /// Trusts the system's certificate authorities and `extra` (PEM).
    ///
    /// # Errors
    ///
    /// [`SourceError::Configuration`]: what is wrong with the certificates.
    pub fn new(extra: Option<&[u8]>) -> Result<Self, SourceError> {
        client::build(extra).map(Self).map_err(SourceError::Configuration)
    }

    pub(super) async fn get(
        &self,
        uri: &Uri,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, SourceError> {
        self.send(uri, Request::get(uri), Full::default(), authorization).await
    }

    pub(super) async fn post(
        &self,
        uri: &Uri,
        fields: &[(&str, &str)],
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, SourceError> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(uri).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(uri, request, Full::from(form), authorization).await
    }

    async fn send(
        &self,
        uri: &Uri,
        request: http::request::Builder,
        body: Full<Bytes>,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, SourceError> {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        if !is_safe(uri) {
            let text = format!("{host} is reached by plain HTTP, which would show tokens to others");
            return Err(SourceError::Configuration(text));
        }
        let unavailable = |why: String| SourceError::Unavailable(format!("{host} cannot be asked: {why}"));
        let mut request = request
            .header(header::ACCEPT, "application/json")
            .body(body)
            .map_err(|error| unavailable(error.to_string()))?;
        if let Some(mut authorization) = authorization {
            authorization.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
        let ask = async {
            let response = self.0.request(request).await.map_err(|error| client::chain(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
        };
        match tokio::time::timeout(ANSWER, ask).await {
            Ok(answer) => answer.map_err(unavailable),
            Err(_) => Err(unavailable(format!("no answer in {} s", ANSWER.as_secs()))),
        }
    }
}

impl Answer {
    /// A member that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}
