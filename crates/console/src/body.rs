use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::{MAX_DECISION_BYTES, problem::Problem};

/// The whole body, within the bound of decisions.
pub(crate) async fn read(body: Body) -> Result<Bytes, Problem> {
    read_up_to(MAX_DECISION_BYTES, body).await
}

async fn read_up_to(most: usize, body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, most).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large or broke off")
    })
}

/// A body of JSON, read strictly: what is not understood was perhaps meant. `what` it is stands in the refusal.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    what: &str,
) -> Result<T, Problem> {
    json_up_to(MAX_DECISION_BYTES, headers, body, what).await
}

/// As [`json`], with another bound in bytes.
pub(crate) async fn json_up_to<T: DeserializeOwned>(
    most: usize,
    headers: &HeaderMap,
    body: Body,
    what: &str,
) -> Result<T, Problem> {
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = json.and_then(|value| value.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("{what} is application/json"),
        ));
    }
    let bytes = read_up_to(most, body).await?;
    // A list would be read as the members in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad(format!("{what} is a JSON object")));
    }
    serde_json::from_slice(&bytes).map_err(|error| Problem::bad(format!("{what} is not understood: {error}")))
}
