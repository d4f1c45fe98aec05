//! How the gateway's parts are doing.

use std::sync::Arc;

use crewgate_core::Clock;
use crewgate_oidc::{Revocations, Verifier};
use crewgate_store::Store;
use futures_util::future::{BoxFuture, ready};

use crate::{
    config::Settings,
    export::Standing,
    issuers,
    live::{Live, Reloader},
    ops::{Checkup, Health, Parts},
    timekeeping,
};

/// Looks at the store, the issuers, exports, loosenings that still stand, and roles that are about to end.
pub(crate) struct Checkups {
    pub(crate) store: Store,
    pub(crate) verifier: Verifier,
    pub(crate) revocations: Revocations,
    pub(crate) exports: Standing,
    pub(crate) settings: Arc<Settings>,
    pub(crate) live: Live,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Checkup for Checkups {
    fn checkup(&self) -> BoxFuture<'_, Parts> {
        let mut parts = Parts::new();
        let store = if self.store.is_writable() {
            Health::Green
        } else {
            Health::Red { reason: "the store takes no more writes".to_owned() }
        };
        parts.insert("store".to_owned(), store);
        let revocations = if self.revocations.is_fresh() {
            Health::Green
        } else {
            Health::Red { reason: "what is revoked cannot be read: everybody is refused".to_owned() }
        };
        parts.insert("revocations".to_owned(), revocations);
        parts.insert("clock".to_owned(), timekeeping::health());
        for issuer in self.verifier.issuers() {
            parts.insert(format!("issuer {}", issuer.name), issuers::health(issuer));
        }
        for (name, wrong) in self.exports.all() {
            // Nothing is lost meanwhile, and calls go on.
            let health = wrong.map_or(Health::Green, |reason| Health::Amber { reason });
            parts.insert(format!("export {name}"), health);
        }
        self.rules(&mut parts);
        let now = self.clock.now();
        for crew in &self.settings.crews {
            let observes = crew.observe.filter(|observe| now < observe.until);
            if let Some(observe) = observes {
                let reason = format!("policy is only observed until {}", observe.until);
                parts.insert(format!("crew {} mode", crew.name), Health::Amber { reason });
            }
            if let Some(shared) = crew.shared_key.as_ref().filter(|shared| now < shared.until) {
                let reason = format!("the old shared key is accepted until {}", shared.until);
                parts.insert(format!("crew {} shared key", crew.name), Health::Amber { reason });
            }
            if crew.floor.is_empty() {
                let reason = "answers are dangerously unmasked".to_owned();
                parts.insert(format!("crew {} mask", crew.name), Health::Amber { reason });
            }
        }
        for (role, when) in self.live.ending(now) {
            parts.insert(role, Health::Amber { reason: when });
        }
        Box::pin(ready(parts))
    }
}

impl Checkups {
    /// Whether what decides is what is on the disk.
    fn rules(&self, parts: &mut Parts) {
        let standing = self.reloader.standing();
        let policy = match standing.refused {
            None => Health::Green,
            Some(reason) => Health::Amber { reason: format!("the rules read before still decide: {reason}") },
        };
        parts.insert("policy".to_owned(), policy);
        match standing.shadow {
            None => {}
            Some(Ok(_)) => drop(parts.insert("policy shadow".to_owned(), Health::Green)),
            Some(Err(reason)) => drop(parts.insert("policy shadow".to_owned(), Health::Amber { reason })),
        }
        if !standing.restart.is_empty() {
            let what: Vec<_> = standing.restart.into_iter().collect();
            let reason = format!("takes effect with a restart: {}", what.join(", "));
            parts.insert("configuration".to_owned(), Health::Amber { reason });
        }
    }
}
