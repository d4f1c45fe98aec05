//! Masks turned back in a text, outside of a stream: by the same rules, the same profiles and the same roles as while
//! one reads the run's status.

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use crewgate_console::{MaskedText, Restore, Restored};
use crewgate_core::{Clock, Decision, Layer as By, Operation, Principal, PrincipalKey, Refusal, Trail};
use crewgate_masking::Mask;
use crewgate_policy::DescribeLayer;
use crewgate_runs::{OwnedId, ResolveLayer};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use tower::{ServiceBuilder, service_fn, util::BoxCloneSyncService};

use crate::{
    live::Live,
    masks::Masks,
    sessions::{Sessions, restorer, unavailable},
    stack::{self, DataPlane, Parts},
};

/// Answers whether somebody may have masks turned back.
pub(crate) struct RestoreDesk {
    /// The way of a question for a run's status, up to the decision.
    question: DataPlane,
    masks: Masks,
    sessions: Arc<Sessions>,
    live: Live,
    clock: Arc<dyn Clock>,
}

impl RestoreDesk {
    pub(crate) fn new(parts: &Parts) -> Self {
        // Whoever got this far owns the run or reads the record; which of both, policy sees.
        let anybody = |_: &Principal, _: &PrincipalKey, _: &Operation| true;
        let question = ServiceBuilder::new()
            .layer(DescribeLayer::new(stack::describe(parts)))
            .layer(ResolveLayer::new(Arc::clone(&parts.runs)).owned_by(anybody))
            .layer(stack::enforce(parts))
            .service(service_fn(decided));
        Self {
            question: BoxCloneSyncService::new(question),
            masks: parts.masks.clone(),
            sessions: Arc::clone(&parts.sessions),
            live: parts.live.clone(),
            clock: Arc::clone(&parts.clock),
        }
    }

    async fn turn_back(
        &self,
        who: &Principal,
        run: &OwnedId,
        masked: &MaskedText,
        trail: &Trail,
    ) -> Result<Restored, Refusal> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("/{}/status/{}", run.crew, run.own).parse().map_err(|_| denied())?;
        request.extensions_mut().insert(who.clone());
        request.extensions_mut().insert(trail.clone());
        let mut decided = stack::oneshot(self.question.clone(), request).await;
        let extensions = decided.extensions_mut();
        if let Some(refusal) = extensions.remove::<Refusal>() {
            return Err(refusal);
        }
        let (Some(Decision::Allow { .. }), Some(operation)) =
            (extensions.get::<Decision>(), extensions.get::<Operation>())
        else {
            return Err(denied());
        };
        let masker = self.masks.masker(extensions).ok_or_else(denied)?;
        let session = self.sessions.of_run(run.run).await.map_err(|error| unavailable(&error))?;
        let entitled = restorer(&self.live, (who, operation), &masker, &session, self.clock.now()).await;
        let (restorer, fact) = entitled.ok_or_else(denied)?;
        trail.note(fact);
        let restored = match masked.json {
            true => restorer.mask_json(masked.text.as_bytes()).map_err(|error| {
                Refusal::new(By::Masking, StatusCode::BAD_REQUEST, "invalid_json", error.to_string())
            })?,
            false => restorer.mask_text(&masked.text),
        };
        Ok(Restored { restored: restored.findings.total(), text: restored.text })
    }
}

impl Restore for RestoreDesk {
    fn restore<'a>(
        &'a self,
        who: &'a Principal,
        run: &'a OwnedId,
        masked: &'a MaskedText,
        trail: &'a Trail,
    ) -> BoxFuture<'a, Result<Restored, Refusal>> {
        Box::pin(self.turn_back(who, run, masked, trail))
    }
}

/// Where a status would be asked for, the question comes back with what was found out on its way.
async fn decided(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut answer = Response::default();
    *answer.extensions_mut() = request.into_parts().0.extensions;
    Ok(answer)
}

fn denied() -> Refusal {
    let text = "no mask profile in force on this run names a role of yours in `restore`";
    Refusal::new(By::Masking, StatusCode::FORBIDDEN, "restore_denied", text)
}
