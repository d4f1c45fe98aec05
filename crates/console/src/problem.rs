use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// A "no" as RFC 9457 `application/problem+json`, with a stable `code`.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    more: Map<String, Value>,
    /// Parameters of the challenge of a 401.
    challenge: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), more: Map::new(), challenge: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// For what does not exist and for what is not the caller's to see: the two look the same.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing, or it is not yours to see")
    }

    /// For what was there until the person it belonged to was erased.
    pub(crate) fn erased() -> Self {
        Self::new(StatusCode::GONE, "erased", "who asked for it was erased: nothing of it is left to be read")
    }

    pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "the console could not read or write");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "it cannot be read or written right now")
    }

    /// It was handed to the disk, and nobody knows.
    pub(crate) fn unknown(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "the console does not know the outcome");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "outcome_unknown",
            "whether it was kept is not known: look again before you repeat it",
        )
    }

    /// What a person is told.
    pub(crate) fn told(self) -> (StatusCode, String) {
        (self.status, self.detail)
    }

    /// Says in the challenge what is missing.
    pub(crate) fn challenge(mut self, parameters: String) -> Self {
        self.challenge = Some(parameters);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut problem = json!({
            "type": format!("urn:crewgate:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Refused"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(members) = problem.as_object_mut() {
            members.extend(self.more);
        }
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            let mut challenge = "Bearer realm=\"crewgate\"".to_owned();
            if let Some(parameters) = &self.challenge {
                challenge.push_str(", ");
                challenge.push_str(parameters);
            }
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
