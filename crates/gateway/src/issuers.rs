//! Whether issuers still publish the keys that are used: that it is not known is for operators to see, and on the record.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crewgate_audit::{AuditStore, Entry, Lane};
use crewgate_core::{Clock, RequestId};
use crewgate_oidc::{IssuerState, Verifier};
use opentelemetry::{KeyValue, global, metrics::Gauge};

use crate::ops::Health;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches the keys of all issuers.
pub(crate) struct KeyWatch {
    verifier: Verifier,
    audit: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    age: Gauge<u64>,
    /// Names of those whose keys could not be renewed when they were looked at last.
    stale: BTreeSet<String>,
}

impl KeyWatch {
    pub(crate) fn new(verifier: Verifier, audit: Arc<dyn AuditStore>, clock: Arc<dyn Clock>) -> Self {
        let age = global::meter("crewgate").u64_gauge("crewgate.issuer.keys_age").with_unit("s").build();
        Self { verifier, audit, clock, age, stale: BTreeSet::new() }
    }

    /// Looks, until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            for issuer in self.verifier.issuers() {
                self.look(issuer).await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&mut self, issuer: IssuerState) {
        if let Some(age) = issuer.age {
            self.age.record(age.as_secs(), &[KeyValue::new("issuer", issuer.name.clone())]);
        }
        let stale = issuer.last_error.is_some();
        if stale == self.stale.contains(&issuer.name) {
            return;
        }
        let what = format!("key.{} {}", if stale { "stale" } else { "fresh" }, issuer.name);
        let entry = Entry::told(what, None, RequestId::random(), self.clock.now());
        match self.audit.append(Lane::Outcome, entry).await {
            // Told again at the next look.
            Err(error) => {
                tracing::warn!(%error, issuer = issuer.name, "the state of its keys is not on the record")
            }
            Ok(_) if stale => drop(self.stale.insert(issuer.name)),
            Ok(_) => drop(self.stale.remove(&issuer.name)),
        }
    }
}

/// How an issuer is doing. Tokens of others still count in any case.
pub(crate) fn health(issuer: IssuerState) -> Health {
    let reason = match (issuer.ready, issuer.last_error) {
        (true, None) => return Health::Green,
        (true, Some(error)) => {
            let age = issuer.age.unwrap_or_default().as_secs();
            format!("its keys of {age} s ago are used, and cannot be renewed: {error}")
        }
        (false, error) => error.unwrap_or_else(|| "its keys are not known yet".to_owned()),
    };
    Health::Amber { reason }
}
