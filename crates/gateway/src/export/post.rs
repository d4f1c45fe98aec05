use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};

use crate::{
    client::{self, Client, chain},
    config::HttpSink,
};

/// Largest answer of a collector that is read; it says next to nothing.
const MAX_ANSWER: usize = 64 * 1024;

/// A collector that takes batches by POST and acknowledges them with a status of 2xx.
pub(super) struct Post {
    client: Client,
    url: String,
    bearer: Option<HeaderValue>,
}

impl Post {
    pub(super) fn new(to: &HttpSink, path: &str) -> Result<Self, String> {
        let bearer =
            to.bearer.as_ref().map(|secret| HeaderValue::try_from(format!("Bearer {}", secret.expose())));
        let mut bearer = bearer.transpose().map_err(|_| "the bearer is not fit for a header".to_owned())?;
        bearer.iter_mut().for_each(|bearer| bearer.set_sensitive(true));
        let url = format!("{}{path}", to.url.to_string().trim_end_matches('/'));
        Ok(Self { client: client::build(to.ca.as_deref())?, url, bearer })
    }

    /// Sends a body; the answer's, once it is acknowledged.
    pub(super) async fn send(&self, kind: &'static str, body: Vec<u8>) -> Result<Bytes, String> {
        let mut request = Request::post(&self.url).header(header::CONTENT_TYPE, kind);
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    }
}
