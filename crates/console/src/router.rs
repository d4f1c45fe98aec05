use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use crewgate_core::Principal;
use http::{HeaderValue, StatusCode, header};

use crate::{
    Console, approvals, delegations, drill, erasure, glass, grants, leaves, problem::Problem, resolve,
    restore, reveal, revocations, runs, tokens, wish,
};

/// The API document, as served.
const OPENAPI: &str = include_str!("openapi.json");

/// The console's routes. Wrap an authentication layer around them that puts a
/// [`Principal`](crewgate_core::Principal) on every request.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/api/approvals", get(approvals::list))
        .route("/api/approvals/{id}", get(approvals::show))
        .route("/api/approvals/{id}/decision", post(approvals::decide))
        .route("/api/approvals/{id}/break-glass", post(glass::break_it))
        .route("/api/approvals/{id}/cancel", post(approvals::cancel))
        .route("/api/approvals/{id}/reveal", post(reveal::reveal))
        .route("/api/approvals/{id}/review", post(glass::review))
        .route("/api/approvals/{id}/settlement", post(resolve::resolve))
        .route("/api/approvers", get(drill::drill))
        .route("/api/delegations", get(delegations::list).post(delegations::lend))
        .route("/api/delegations/{id}/end", post(delegations::end))
        .route("/api/grants", get(grants::list).post(wish::ask))
        .route("/api/grants/{id}/revoke", post(grants::revoke))
        .route("/api/record", get(leaves::search))
        .route("/api/record/access", post(erasure::access))
        .route("/api/record/erase", post(erasure::erase))
        .route("/api/record/hold", post(erasure::hold))
        .route("/api/record/prune", post(erasure::prune))
        .route("/api/revocations", get(revocations::list).post(revocations::revoke))
        .route("/api/revocations/lift", post(revocations::lift))
        .route("/api/runs", get(runs::list))
        .route("/api/runs/{id}", get(runs::show))
        .route("/api/runs/{id}/restore", post(restore::restore))
        .route("/api/tokens", get(tokens::list))
        // Only routes stand behind this: an unknown path is 404 for everybody.
        .route_layer(middleware::from_fn(require_principal))
        .route("/api/openapi.json", get(openapi))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(async || Problem::not_found())
        .layer(middleware::map_response(harden))
        .with_state(console)
}

/// Forgetting the authentication layer costs a 401, never a pass.
async fn require_principal(request: Request, next: Next) -> Response {
    if request.extensions().get::<Principal>().is_some() {
        next.run(request).await
    } else {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "a token is needed here").into_response()
    }
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this route has other methods")
}

async fn openapi() -> Response {
    let mut response = Response::new(OPENAPI.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What waits for approval is nobody else's: not a cache's, not a frame's, not a sniffer's.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}
