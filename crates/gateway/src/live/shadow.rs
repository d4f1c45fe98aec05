use std::sync::Arc;

use crewgate_audit::{AuditStore, Entry, Lane, Phase};
use crewgate_core::{Fact, RequestId};
use crewgate_policy::{Shadow, Sight};
use opentelemetry::KeyValue;
use tokio::runtime::Handle;

use crate::telemetry::Instruments;

/// A second policy whose every difference goes on the record, and whose every answer is counted. Runs on a thread of its
/// own, so that what waits there for the disk is no request.
pub(crate) fn watcher(audit: Arc<dyn AuditStore>, instruments: &Instruments) -> std::io::Result<Shadow> {
    let (runtime, counter) = (Handle::current(), instruments.shadow.clone());
    Shadow::new(move |sight| {
        let outcome = match sight {
            Sight::Agreed => "agreed",
            Sight::Differed { request, at, how } => {
                let outcome = how.divergence.as_str();
                // An entry of its own: the call's may be closed already.
                let entry = Entry::new(Phase::Policy, RequestId::random(), at).with_fact(Fact::Shadowed(how));
                let entry = match request {
                    Some(request) => entry.with_fact(Fact::PartOf { request }),
                    None => entry,
                };
                // One at a time: when the disk is slow, questions are left out and counted.
                if let Err(error) = runtime.block_on(audit.append(Lane::Outcome, entry)) {
                    tracing::warn!(%error, "what the shadow policy would have decided is not on the record");
                }
                outcome
            }
            Sight::Failed => {
                tracing::error!("the shadow policy panicked; nothing was changed by it");
                "failed"
            }
            _ => "skipped",
        };
        counter.add(1, &[KeyValue::new("outcome", outcome)]);
    })
}
