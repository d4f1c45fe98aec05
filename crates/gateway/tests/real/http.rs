//! A small HTTP client: one connection per call, so that a killed gateway leaves nothing half alive behind.

use std::time::Duration;

use ::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// A client, perhaps with a bearer.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    bearer: Option<String>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { client, bearer: None }
    }

    pub(crate) fn bearer(&self) -> &str {
        self.bearer.as_deref().unwrap_or_default()
    }

    pub(crate) fn with(bearer: impl Into<String>) -> Self {
        Self { bearer: Some(bearer.into()), ..Self::new() }
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(Request::get(url).body(Full::default()).unwrap()).await.unwrap()
    }

    pub(crate) async fn post(&self, url: &str, body: &Value) -> Answer {
        self.try_post(url, body).await.unwrap()
    }

    pub(crate) async fn try_post(&self, url: &str, body: &Value) -> Result<Answer, String> {
        self.send(json(Method::POST, url, body)).await
    }

    pub(crate) async fn try_get(&self, url: &str) -> Result<Answer, String> {
        self.send(Request::get(url).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn form(&self, url: &str, cookie: &str, fields: &str) -> Answer {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, cookie)
            .body(Full::from(fields.to_owned()))
            .unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn get_with_cookie(&self, url: &str, cookie: &str) -> Answer {
        let request = Request::get(url).header(header::COOKIE, cookie).body(Full::default()).unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {bearer}").parse().unwrap());
        }
        let call = async {
            let (head, body) =
                self.client.request(request).await.map_err(|error| error.to_string())?.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(Duration::from_secs(60), call)
            .await
            .unwrap_or_else(|_| Err("no answer in 60 s".to_owned()))
    }
}

fn json(method: Method, url: &str, body: &Value) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body.to_string()))
        .unwrap()
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// The answer, when it has this status; otherwise the test ends with the whole answer in its message.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
