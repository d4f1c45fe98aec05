//! Renders refusals: the one place that turns a typed "no" into RFC 9457 `application/problem+json`.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use crewgate_core::{Challenge, FieldError, Refusal, RequestId};
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;
use tower::{Layer, Service};

/// `request-id`, on every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// RFC 9449 section 8.2.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Renders the [`Refusal`] a layer below left on a bare answer.
#[derive(Debug, Clone, Default)]
pub struct RenderRefusalsLayer {
    metadata: Option<Arc<str>>,
}

impl RenderRefusalsLayer {
    /// For the resource at this public address: a 401 says where its metadata is (RFC 9728 section 5.1).
    #[must_use]
    pub fn at(base: &str) -> Self {
        Self { metadata: Some(format!("{base}{}", crate::well_known::PROTECTED_RESOURCE).into()) }
    }
}

impl<S> Layer<S> for RenderRefusalsLayer {
    type Service = RenderRefusals<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RenderRefusals { inner, metadata: self.metadata.clone() }
    }
}

/// See [`RenderRefusalsLayer`].
#[derive(Debug, Clone)]
pub struct RenderRefusals<S> {
    inner: S,
    metadata: Option<Arc<str>>,
}

impl<S, B> Service<Request<B>> for RenderRefusals<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let id = request.extensions().get::<RequestId>().copied();
        let (answer, metadata) = (self.inner.call(request), self.metadata.clone());
        Box::pin(async move { answer.await.map(|response| render(response, id, metadata.as_deref())) })
    }
}

/// The problem document of a refusal, or the answer untouched.
pub(crate) fn render(
    mut response: Response<Body>,
    id: Option<RequestId>,
    metadata: Option<&str>,
) -> Response<Body> {
    let id = id.or_else(|| response.extensions().get::<RequestId>().copied());
    if let Some(value) = id.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        response.headers_mut().entry(REQUEST_ID).or_insert(value);
    }
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else { return response };
    let mut problem = json!({
        "type": format!("urn:crewgate:problem:{}", refusal.code),
        "title": refusal.status.canonical_reason().unwrap_or("Refused"),
        "status": refusal.status.as_u16(),
        "code": refusal.code,
        "detail": refusal.detail,
    });
    if let Some(fields) = problem.as_object_mut() {
        if !refusal.fields.is_empty() {
            // The shape of the example in RFC 9457 section 3.
            let error = |field: &FieldError| json!({ "pointer": field.pointer, "code": field.code, "detail": field.detail });
            fields.insert("errors".to_owned(), refusal.fields.iter().map(error).collect());
        }
        if let Some(rule) = &refusal.rule {
            fields.insert("rule".to_owned(), json!(rule));
        }
        if !refusal.hints.is_empty() {
            fields.insert("hints".to_owned(), json!(refusal.hints));
        }
        if !refusal.approvals.is_empty() {
            fields.insert("approvals".to_owned(), json!(refusal.approvals));
        }
        if let Some(id) = response.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()) {
            fields.insert("request_id".to_owned(), json!(id));
        }
        if let Some(approval) = refusal.approval {
            fields.insert("approval_id".to_owned(), json!(approval.to_string()));
        }
        if let Some(after) = refusal.retry_after {
            fields.insert("retry_after".to_owned(), json!(after.as_secs().max(1)));
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(after) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if let Some(challenge) = &refusal.challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge_header(challenge, refusal.code, metadata));
        if let Some(nonce) = challenge.nonce.as_ref().and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
            headers.insert(DPOP_NONCE, nonce);
        }
    }
    if refusal.status == StatusCode::PAYLOAD_TOO_LARGE {
        // The rest of the body was not read: the connection cannot be used again.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    *response.status_mut() = refusal.status;
    *response.body_mut() = Body::from(problem.to_string());
    response
}

/// RFC 6750 section 3, RFC 9449 section 7.1; RFC 9728 section 5.1 for `resource_metadata`.
fn challenge_header(challenge: &Challenge, code: &str, metadata: Option<&str>) -> HeaderValue {
    let scheme = if challenge.proof.is_some() { "DPoP" } else { "Bearer" };
    let mut text = format!("{scheme} realm=\"crewgate\"");
    if let Some(error) = challenge.error {
        text.push_str(&format!(", error=\"{error}\", error_description=\"{code}\""));
    }
    if let Some(algorithms) = challenge.proof {
        text.push_str(&format!(", algs=\"{algorithms}\""));
    }
    if let Some(metadata) = metadata {
        text.push_str(&format!(", resource_metadata=\"{metadata}\""));
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"crewgate\""))
}

/// A refusal as an answer, outside the stack (limits, listeners).
pub(crate) fn answer(refusal: Refusal) -> Response<Body> {
    render(refusal.into_response(), Some(RequestId::random()), None)
}

#[cfg(test)]
mod tests {
    use crewgate_core::{Layer as By, RuleId};
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_reads_as_a_problem_document() {
        let refusal = Refusal::new(
            By::Policy,
            StatusCode::FORBIDDEN,
            "policy_refused",
            "payroll data needs an approval",
        )
        .with_rule(Some(RuleId::new("hr-payroll")))
        .with_retry_after(std::time::Duration::from_secs(30));
        let response = answer(refusal);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "30");
        let id = response.headers()["request-id"].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "policy_refused");
        assert_eq!(problem["rule"], "hr-payroll");
        assert_eq!(problem["request_id"], id);
        assert_eq!(problem["detail"], "payroll data needs an approval");
    }

    #[tokio::test]
    async fn a_401_says_where_to_get_a_token() {
        let refusal =
            Refusal::new(By::Identity, StatusCode::UNAUTHORIZED, "token_expired", "the token has expired")
                .with_challenge(Challenge { error: Some("invalid_token"), ..Challenge::default() });
        let inner = tower::service_fn(move |_: Request<()>| {
            let refusal = refusal.clone();
            async move { Ok::<_, std::convert::Infallible>(refusal.into_response()) }
        });
        let service = RenderRefusalsLayer::at("https://gate.example").layer(inner);
        let answer = tower::ServiceExt::oneshot(service, Request::new(())).await.unwrap();
        assert_eq!(
            answer.headers()["www-authenticate"],
            "Bearer realm=\"crewgate\", error=\"invalid_token\", error_description=\"token_expired\", \
             resource_metadata=\"https://gate.example/.well-known/oauth-protected-resource\""
        );
    }

    #[tokio::test]
    async fn a_wanted_proof_is_asked_for_with_its_algorithms_and_nonce() {
        let nonce = Some("eyJ7S".to_owned());
        let challenge = Challenge { error: Some("use_dpop_nonce"), proof: Some("ES256 EdDSA"), nonce };
        let refusal = Refusal::new(By::Identity, StatusCode::UNAUTHORIZED, "proof_nonce", "once more");
        let answer = answer(refusal.with_challenge(challenge));
        let header = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(header.starts_with("DPoP realm=") && header.contains("algs=\"ES256 EdDSA\""), "{header}");
        assert_eq!(answer.headers()["dpop-nonce"], "eyJ7S");
    }
}
