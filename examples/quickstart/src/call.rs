//! HTTP calls and their answers.

use bytes::Bytes;
use crewgate_gateway::client::{self, Client};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::house::Result;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A member of the answer as text.
    pub(crate) fn field(&self, name: &str) -> String {
        match self.json().get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

/// Calls with or without a token.
pub(crate) struct Caller {
    client: Client,
}

impl Caller {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { client: client::build(None)? })
    }

    pub(crate) async fn get(&self, url: &str, token: Option<&str>) -> Result<Answer> {
        self.call(Method::GET, url, token, None).await
    }

    pub(crate) async fn post(&self, url: &str, token: Option<&str>, body: Value) -> Result<Answer> {
        self.call(Method::POST, url, token, Some(body)).await
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let response = self.client.request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}
