use std::time::Duration;

use crewgate_core::{Layer, Refusal};
use http::StatusCode;

use crate::LedgerError;

/// A value that a layer further out should have put on the request.
pub(crate) fn missing(code: &'static str, detail: &str) -> Refusal {
    Refusal::new(Layer::Runs, StatusCode::FORBIDDEN, code, detail)
}

/// The same answer for an id that is unknown, another's, of another crew or of another kind.
pub(crate) fn run_unknown() -> Refusal {
    let detail = "There is no such run, or it is not yours.";
    Refusal::new(Layer::Runs, StatusCode::NOT_FOUND, "run_unknown", detail)
}

pub(crate) fn upstream(code: &'static str, detail: &str) -> Refusal {
    Refusal::new(Layer::Upstream, StatusCode::BAD_GATEWAY, code, detail)
}

/// The ledger failed before anything was sent.
pub(crate) fn unsent(error: &LedgerError) -> Refusal {
    tracing::error!(%error, "ids cannot be looked up");
    let detail = "Runs cannot be looked up at the moment; nothing was sent.";
    Refusal::new(Layer::Runs, StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", detail)
        .with_retry_after(Duration::from_secs(1))
}

/// The ledger failed when the upstream had answered.
pub(crate) fn sent(error: &LedgerError) -> Refusal {
    tracing::error!(%error, "ids of an answer cannot be registered");
    // No `Retry-After`: sending a call again that was carried out may do it twice.
    let detail = "The call was carried out, but the ids in its answer could not be kept, so it is not shown.";
    Refusal::new(Layer::Runs, StatusCode::SERVICE_UNAVAILABLE, "ids_not_kept", detail)
}
