//! Whose tokens are in use: what the verifier saw, with the roles that were held, written down beside the calls.

use std::{sync::Arc, time::Duration};

use crewgate_core::Clock;
use crewgate_oidc::{Sightings, TokenInventory};
use crewgate_policy::RoleSource;

/// How often what was seen is written down; so much of it is lost with a crash.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Writes sightings down.
#[derive(Clone)]
pub(crate) struct Scribe {
    pub(crate) sightings: Sightings,
    pub(crate) inventory: Arc<dyn TokenInventory>,
    pub(crate) roles: Arc<dyn RoleSource>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Scribe {
    /// Writes for ever.
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            self.write().await;
        }
    }

    /// Writes what was seen until now.
    pub(crate) async fn write(&self) {
        let mut rows = Vec::new();
        for seen in self.sightings.take() {
            match self.roles.roles(&seen.principal, None, self.clock.now()).await {
                Ok(held) => {
                    rows.push(seen.holding(held.into_iter().map(|role| role.name.to_string()).collect()))
                }
                Err(error) => {
                    tracing::warn!(%error, "a token that was seen is not written down until it is used again");
                }
            }
        }
        if let Err(error) = self.inventory.note(rows).await {
            tracing::warn!(%error, "tokens that were seen are not written down until they are used again");
        }
    }
}
