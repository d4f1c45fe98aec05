//! The control API behind the same identity as the data plane, and the pages of those who logged in, on a listener of
//! their own.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use crewgate_approval::NewApproval;
use crewgate_console::{Console, MaskedSpan, Shown, router};
use crewgate_oidc::AuthenticateLayer;
use http::{Request, Response, StatusCode};
use tower::{ServiceBuilder, util::BoxCloneSyncService};
use tower_http::timeout::TimeoutLayer;

use crate::{
    drill::DrillDesk,
    identity::Gatekeeper,
    login::LoginDesk,
    masks::{Masks, with_own_ids},
    problem::RenderRefusalsLayer,
    restore::RestoreDesk,
    stack::Parts,
    violations::RefuseViolationsLayer,
};

/// Time a call to the control API may take, its body's arrival included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The console's service.
pub(crate) fn service(
    parts: &Parts,
    gatekeeper: Gatekeeper,
    login: Option<LoginDesk>,
) -> BoxCloneSyncService<Request<Body>, Response<Body>, Infallible> {
    let masks = parts.masks.clone();
    let console = Console::new(
        Arc::clone(&parts.approvals),
        Arc::clone(&parts.audit),
        Arc::clone(&parts.runs),
        Arc::new(parts.live.clone()),
        Arc::new(move |asked: &NewApproval| show(&masks, asked)),
    )
    .grants(Arc::clone(&parts.grants))
    .requestable(Arc::new(parts.live.clone()))
    .delegations(Arc::clone(&parts.delegations))
    .break_glass(Arc::new(parts.live.clone()))
    .drill(Arc::new(DrillDesk::new(parts)))
    .restore(Arc::new(RestoreDesk::new(parts)))
    .revocations(parts.revocations.clone(), Arc::new(parts.live.clone()))
    .erasure(Arc::clone(&parts.erasure), Arc::new(parts.live.clone()))
    .inventory(Arc::clone(&parts.inventory))
    .record_readers(Arc::new(parts.live.clone()))
    .clock(Arc::clone(&parts.clock));
    let authenticate = AuthenticateLayer::new(gatekeeper.without_shared_keys());
    let api = ServiceBuilder::new().layer(authenticate).service(router(console.clone()));
    // What is neither a page nor a door to one is the API's, with its own answer for what it does not know.
    let api = Router::new().fallback_service(api);
    let all = match login {
        Some(desk) => desk.around(console, api),
        None => api,
    };
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(RenderRefusalsLayer::at(&parts.base))
        .layer(RefuseViolationsLayer)
        .service(all);
    BoxCloneSyncService::new(service)
}

/// What will be sent, with every masked place marked.
fn show(masks: &Masks, asked: &NewApproval) -> Option<Shown> {
    // Asked for here and about no crew: its approvers read it as it was written, and nobody else does.
    if asked.operation.resource.kind == crewgate_console::ROLE {
        let body = String::from_utf8(asked.outgoing.body.to_vec()).ok()?;
        return Some(Shown { body, masked: Vec::new(), hidden_inputs: Vec::new() });
    }
    let masker = masks.stored(&asked.operation.resource.name)?;
    if asked.outgoing.body.is_empty() {
        return Some(Shown { body: String::new(), masked: Vec::new(), hidden_inputs: Vec::new() });
    }
    let body = with_own_ids(&asked.operation, &asked.outgoing)?;
    let masked = masker.mask_json(body.as_bytes()).ok()?;
    let span = |span: &crewgate_masking::Span| MaskedSpan {
        at: span.at,
        shown: span.shown,
        entity: span.entity.name().to_owned(),
        length: span.len,
    };
    let inputs = masks.stored_inputs(&asked.operation).into_iter();
    let hidden_inputs = inputs.filter(|(_, shown)| shown.is_none()).map(|(name, _)| name).collect();
    Some(Shown { masked: masked.spans.iter().map(span).collect(), body: masked.text, hidden_inputs })
}
