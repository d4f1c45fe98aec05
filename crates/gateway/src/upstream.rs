//! The last service of the stack: sends the sealed bytes to CrewAI with CrewAI's key.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use crewgate_core::{Decision, Fact, Layer as By, Operation, Outgoing, Refusal, Trail};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use tower::Service;
use tower_http::timeout::TimeoutBody;

use crate::{
    client::chain,
    crews::{Crew, Crews},
};

/// Headers of CrewAI's answer that reach the caller; everything else stays here.
const PASSED: [http::HeaderName; 3] = [header::CONTENT_TYPE, header::CACHE_CONTROL, header::RETRY_AFTER];

/// Sends what was sealed. Refuses what was not decided, and what needed an approval and shows no release.
#[derive(Debug, Clone)]
pub struct Upstream {
    crews: Arc<Crews>,
}

impl Upstream {
    /// The way to these crews.
    #[must_use]
    pub fn new(crews: Arc<Crews>) -> Self {
        Self { crews }
    }
}

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// # Cancel safety
    ///
    /// Dropping the future may leave a request with CrewAI whose answer nobody reads. The stack drops it only for
    /// calls that change nothing.
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let crews = Arc::clone(&self.crews);
        Box::pin(async move {
            let trail = request.extensions().get::<Trail>().cloned();
            let answer = match prepare(&crews, &request) {
                Ok((crew, sealed)) => send(&crew, sealed, trail.as_ref()).await,
                Err(refusal) => Err(refusal),
            };
            Ok(answer.unwrap_or_else(Refusal::into_response))
        })
    }
}

/// What may leave: the proofs are all there.
fn prepare(
    crews: &Crews,
    request: &Request<Body>,
) -> Result<(Arc<Crew>, Request<Full<bytes::Bytes>>), Refusal> {
    let extensions = request.extensions();
    let missing =
        |what| Refusal::new(By::Gateway, StatusCode::INTERNAL_SERVER_ERROR, "stack_incomplete", what);
    let operation =
        extensions.get::<Operation>().ok_or_else(|| missing("the request was never described"))?;
    let outgoing =
        extensions.get::<Outgoing>().ok_or_else(|| missing("the outgoing bytes were never fixed"))?;
    let duties = match extensions.get::<Decision>() {
        Some(Decision::Allow { duties, .. }) => duties,
        Some(_) | None => return Err(missing("no decision allows the request")),
    };
    if !duties.approvals.is_empty() && extensions.get::<crewgate_approval::Release>().is_none() {
        return Err(missing("the request shows no release of its approval"));
    }
    let crew = crews.find(&operation.resource.name).ok_or_else(|| missing("the crew is not registered"))?;
    let mut sealed = Request::new(Full::new(outgoing.body.clone()));
    *sealed.method_mut() = outgoing.method.clone();
    *sealed.uri_mut() = join(&crew.settings.url, &outgoing.path)
        .ok_or_else(|| missing("the crew's address and the path do not make a URL"))?;
    let headers = sealed.headers_mut();
    if let Some(content_type) = &outgoing.content_type {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    // Masking reads the answer: it must come as it is.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("crewgate/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(header::AUTHORIZATION, crew.authorization.clone());
    crate::telemetry::inject(headers);
    Ok((crew, sealed))
}

async fn send(
    crew: &Crew,
    sealed: Request<Full<bytes::Bytes>>,
    trail: Option<&Trail>,
) -> Result<Response<Body>, Refusal> {
    let note = |fact| {
        if let Some(trail) = trail {
            trail.note(fact);
        }
    };
    let unanswered = |code: &'static str, sent: bool, status, text: &str| {
        note(Fact::Unanswered { code: code.to_owned(), sent });
        Err(Refusal::new(By::Upstream, status, code, text))
    };
    match tokio::time::timeout(crew.settings.timeout, crew.client.request(sealed)).await {
        Err(_) => {
            let text = "CrewAI did not answer in time; whether it acted on the call is not known";
            unanswered("upstream_timeout", true, StatusCode::GATEWAY_TIMEOUT, text)
        }
        Ok(Err(error)) if error.is_connect() => {
            tracing::warn!(crew = crew.settings.name, error = %chain(&error), "crew cannot be reached");
            unanswered(
                "upstream_unreachable",
                false,
                StatusCode::BAD_GATEWAY,
                "CrewAI cannot be reached; nothing was sent",
            )
        }
        Ok(Err(error)) => {
            tracing::warn!(crew = crew.settings.name, error = %chain(&error), "crew broke off");
            let text = "CrewAI broke off; whether it acted on the call is not known";
            unanswered("upstream_cut", true, StatusCode::BAD_GATEWAY, text)
        }
        Ok(Ok(answer)) => {
            note(Fact::Answered { status: answer.status().as_u16() });
            let (parts, body) = answer.into_parts();
            let mut response = Response::new(Body::new(TimeoutBody::new(crew.settings.timeout, body)));
            *response.status_mut() = status(parts.status);
            *response.headers_mut() = passed(&parts.headers);
            Ok(response)
        }
    }
}

/// A 401 of CrewAI's is about the gateway's key, not the caller's token; a 3xx would send the caller around us.
fn status(of: StatusCode) -> StatusCode {
    if of == StatusCode::UNAUTHORIZED || of.is_redirection() || of.is_informational() {
        StatusCode::BAD_GATEWAY
    } else {
        of
    }
}

fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut out: HeaderMap =
        PASSED.into_iter().filter_map(|name| headers.get(&name).map(|value| (name, value.clone()))).collect();
    // Kept so that the masking layer sees it and refuses; it never reaches the caller.
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
        out.insert(header::CONTENT_ENCODING, encoding.clone());
    }
    out
}

/// This path below an address.
pub(crate) fn join(base: &Uri, path: &PathAndQuery) -> Option<Uri> {
    let joined = format!("{}{}", base.path().trim_end_matches('/'), path);
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(joined.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_below_the_crews_address() {
        let base: Uri = "https://crew.example/support/".parse().unwrap();
        assert_eq!(
            join(&base, &PathAndQuery::from_static("/kickoff")).unwrap(),
            "https://crew.example/support/kickoff"
        );
        let root: Uri = "https://crew.example".parse().unwrap();
        assert_eq!(
            join(&root, &PathAndQuery::from_static("/kickoff")).unwrap(),
            "https://crew.example/kickoff"
        );
    }

    #[test]
    fn crewais_own_401_is_not_the_callers() {
        assert_eq!(status(StatusCode::UNAUTHORIZED), StatusCode::BAD_GATEWAY);
        assert_eq!(status(StatusCode::FOUND), StatusCode::BAD_GATEWAY);
        assert_eq!(status(StatusCode::UNPROCESSABLE_ENTITY), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
