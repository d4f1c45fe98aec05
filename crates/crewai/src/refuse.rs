use crewgate_core::{Layer, Refusal};
use http::StatusCode;

pub(crate) fn bad(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(Layer::Describe, StatusCode::BAD_REQUEST, code, detail)
}

pub(crate) fn media(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(Layer::Describe, StatusCode::UNSUPPORTED_MEDIA_TYPE, code, detail)
}

pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(Layer::Describe, StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

pub(crate) fn upstream(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(Layer::Upstream, StatusCode::BAD_GATEWAY, code, detail)
}

/// The same answer for an id that is malformed, unknown or another's: nothing is learnt by trying.
pub(crate) fn run_unknown() -> Refusal {
    let detail = "There is no such run, or it is not yours.";
    Refusal::new(Layer::Runs, StatusCode::NOT_FOUND, "run_unknown", detail)
}

/// A stranger's text, short enough for a message.
pub(crate) fn short(text: &str) -> String {
    const LONGEST: usize = 64;
    let start: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}
