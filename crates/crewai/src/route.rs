use crewgate_core::{Effect, Layer, Refusal, RunId};
use http::{Method, StatusCode};

use crate::refuse::run_unknown;

/// Every action of the CrewAI API, passed on today or not, and whether it changes something: rules may speak of all.
pub const ACTIONS: [(&str, Effect); 10] = [
    ("inputs", Effect::Read),
    ("status", Effect::Read),
    ("kickoff", Effect::Write),
    ("resume", Effect::Write),
    ("feedback", Effect::Write),
    ("inspect", Effect::Read),
    ("chat.start", Effect::Write),
    ("chat.message", Effect::Write),
    ("chat.history", Effect::Read),
    ("chat.stream", Effect::Read),
];

/// A place in the CrewAI API that the gateway passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// `GET /inputs`
    Inputs,
    /// `POST /kickoff`
    Kickoff,
    /// `POST /resume`
    Resume,
    /// `POST /resume_feedback`
    Feedback,
    /// `GET /status/{id}`, or `GET /{id}/status` as the documentation had it until version 1.14.5.
    Status(RunId),
}

impl Route {
    /// The action's name.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Kickoff => "kickoff",
            Self::Resume => "resume",
            Self::Feedback => "feedback",
            Self::Status(_) => "status",
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub const fn effect(self) -> Effect {
        match self {
            Self::Inputs | Self::Status(_) => Effect::Read,
            Self::Kickoff | Self::Resume | Self::Feedback => Effect::Write,
        }
    }

    const fn method(self) -> Method {
        match self.effect() {
            Effect::Read => Method::GET,
            Effect::Write => Method::POST,
        }
    }
}

/// The route of this path below a crew's prefix, e.g. `/kickoff`.
///
/// The raw path is compared byte by byte: nothing is decoded, folded or normalised, so `/%6Bickoff`, `//kickoff`,
/// `/status/../kickoff`, `/kickoff/` and `/Kickoff` are nowhere.
///
/// # Errors
///
/// 404 `route_unknown`; 404 `run_unknown` when an id stands in the path that is none; 405 `method_not_allowed`.
pub fn route(method: &Method, path: &str) -> Result<Route, Refusal> {
    let route = find(path)?;
    if *method == route.method() { Ok(route) } else { Err(takes_only(route.action(), &route.method())) }
}

pub(crate) fn takes_only(action: &str, method: &Method) -> Refusal {
    let detail = format!("`{action}` takes {method} only.");
    Refusal::new(Layer::Describe, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

fn find(path: &str) -> Result<Route, Refusal> {
    let id = match path {
        "/inputs" => return Ok(Route::Inputs),
        "/kickoff" => return Ok(Route::Kickoff),
        "/resume" => return Ok(Route::Resume),
        "/resume_feedback" => return Ok(Route::Feedback),
        _ => path
            .strip_prefix("/status/")
            .or_else(|| path.strip_suffix("/status").and_then(|rest| rest.strip_prefix('/'))),
    };
    match id {
        Some(id) if !id.contains('/') => id.parse().map(Route::Status).map_err(|_| run_unknown()),
        _ => {
            let detail = "This gateway passes on GET /inputs, POST /kickoff, GET /status/{id}, POST /resume, \
                          POST /resume_feedback and what is declared for the crew.";
            Err(Refusal::new(Layer::Describe, StatusCode::NOT_FOUND, "route_unknown", detail))
        }
    }
}
