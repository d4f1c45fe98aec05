//! From an address at the gateway to an operation on a crew.

use std::sync::Arc;

use bytes::Bytes;
use crewgate_core::{Challenge, Fact, Layer as By, Operation, Principal, Refusal, Trail};
use crewgate_policy::Describe;
use http::{StatusCode, request::Parts};

use crate::{
    identity::{Gatekeeper, LEGACY},
    live::Live,
    relay::Relays,
};

/// Finds the crew an address names and lets its wire read the rest.
#[derive(Debug)]
pub(crate) struct DescribeCrews {
    live: Live,
    relays: Arc<Relays>,
    gatekeeper: Gatekeeper,
}

impl DescribeCrews {
    /// The crews that are declared at the time.
    #[must_use]
    pub(crate) fn new(live: Live, relays: Arc<Relays>, gatekeeper: Gatekeeper) -> Self {
        Self { live, relays, gatekeeper }
    }

    /// A shared key opens the crew it belonged to, and its use is on the record.
    fn shared_key(&self, head: &Parts, crew: &str) -> Result<(), Refusal> {
        let Some(principal) = head.extensions.get::<Principal>() else { return Ok(()) };
        if principal.key.issuer != LEGACY {
            return Ok(());
        }
        match self.gatekeeper.shared_until(&principal.key.subject, crew) {
            Some(until) => {
                if let Some(trail) = head.extensions.get::<Trail>() {
                    trail.note(Fact::SharedKey { crew: crew.to_owned(), until });
                }
                Ok(())
            }
            None => {
                let text = "this shared key belongs to another crew";
                Err(Refusal::new(By::Identity, StatusCode::UNAUTHORIZED, "shared_key_of_another_crew", text)
                    .with_challenge(Challenge { error: Some("invalid_token"), ..Challenge::default() }))
            }
        }
    }
}

impl Describe for DescribeCrews {
    fn describe(&self, head: &Parts, body: &Bytes) -> Result<Operation, Refusal> {
        let unknown = || {
            let text = "no crew has this address: it is /{crew}/kickoff, /{crew}/status/{id}, …";
            Refusal::new(By::Describe, StatusCode::NOT_FOUND, "crew_unknown", text)
        };
        // The raw path: an encoded slash is not a slash, and nothing is folded.
        let path = head.uri.path().strip_prefix('/').ok_or_else(unknown)?;
        let slash = path.find('/').unwrap_or(path.len());
        let (name, below) = path.split_at_checked(slash).ok_or_else(unknown)?;
        let described = self.live.wire(name, |wire| {
            self.shared_key(head, name)?;
            let relay = if wire.human_input { Some(self.relays.mint(name)?) } else { None };
            wire.describe(below, head, body, relay.as_ref())
        });
        described.ok_or_else(unknown)?
    }
}
