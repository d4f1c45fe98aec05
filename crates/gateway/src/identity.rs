//! Who calls: a token of a configured issuer, or, on the way over, the old shared key of a crew.

use std::sync::Arc;

use crewgate_core::{Clock, Principal, PrincipalKey, PrincipalKind, SystemClock, Timestamp, TokenFacts};
use crewgate_oidc::{Bearer, Exchange, HttpFetch, Rejection, Revocations, Sightings, Verifier, VerifyToken};
use sha2::{Digest, Sha256};

use crate::{
    config::{Reach, Settings},
    live::Live,
    oauth,
};

/// The issuer name of principals that only hold a shared key. No issuer may be called so.
pub(crate) const LEGACY: &str = "legacy";

/// Verifies tokens, and shared keys while they are still accepted.
#[derive(Debug, Clone)]
pub(crate) struct Gatekeeper {
    verifier: Verifier,
    keys: Arc<Vec<SharedKey>>,
    clock: ClockHandle,
    live: Option<Live>,
}

#[derive(Clone)]
struct ClockHandle(Arc<dyn Clock>);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A crew's old key, as its digest: comparing digests takes the same time whatever the key begins with.
#[derive(Debug)]
struct SharedKey {
    crew: String,
    digest: [u8; 32],
    until: Timestamp,
}

impl Gatekeeper {
    /// The verifier of these settings; without revocations for tools that only explain.
    ///
    /// # Errors
    ///
    /// What is wrong with an issuer.
    pub(crate) fn new(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        revocations: Option<Revocations>,
        exchange: Option<&Exchange>,
        sightings: Sightings,
    ) -> Result<Self, String> {
        let mut builder = Verifier::builder().clock(Arc::clone(&clock)).sightings(sightings);
        if let Some(revocations) = revocations {
            builder = builder.revocations(revocations);
        }
        if settings.gateway.demand_dpop_nonce {
            builder = builder.demand_nonce();
            // Gateways that share a database share its keys; one alone needs no other to know its nonces.
            if let Some(keys) = &settings.record_keys {
                builder = builder.share_nonces(keys.derive("crewgate dpop nonces"));
            }
        }
        if let Some(exchange) = exchange {
            builder = builder.exchange(exchange).map_err(|error| error.to_string())?;
        }
        for settings in &settings.issuers {
            builder = builder.issuer_through(settings.config.clone(), fetch_by(&settings.reach)?);
        }
        let keys = settings.crews.iter().filter_map(|crew| {
            let shared = crew.shared_key.as_ref()?;
            let digest = Sha256::digest(shared.key.expose().as_bytes()).into();
            Some(SharedKey { crew: crew.name.clone(), digest, until: shared.until })
        });
        Ok(Self {
            verifier: builder.build().map_err(|error| error.to_string())?,
            keys: Arc::new(keys.collect()),
            clock: ClockHandle(clock),
            live: None,
        })
    }

    /// For tools that only explain: nothing is revoked, nobody is counted.
    ///
    /// # Errors
    ///
    /// What is wrong with an issuer, or with the exchange.
    pub(crate) fn offline(settings: &Settings) -> Result<Self, String> {
        let base = settings.gateway.public_address(settings.gateway.listen.address);
        // Without secrets there are no keys to know our own tokens by.
        let asked = settings.exchange.as_ref().filter(|asked| !asked.keys.is_empty());
        let exchange = asked.map(|asked| oauth::exchange(asked, &base)).transpose();
        let exchange = exchange.map_err(|error| error.to_string())?;
        Self::new(settings, Arc::new(SystemClock), None, exchange.as_ref(), Sightings::default())
    }

    /// Says of a token whose identity it is by the words that count at the time.
    #[must_use]
    pub(crate) fn with_persons(mut self, live: Live) -> Self {
        self.live = Some(live);
        self
    }

    /// Tokens only: behind a shared key stands no person.
    #[must_use]
    pub(crate) fn without_shared_keys(&self) -> Self {
        Self { keys: Arc::default(), ..self.clone() }
    }

    /// The token verifier behind it.
    #[must_use]
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn legacy(&self, token: &Bearer) -> Option<Principal> {
        if self.keys.is_empty() {
            return None;
        }
        let (digest, now): ([u8; 32], _) =
            (Sha256::digest(token.as_str().as_bytes()).into(), self.clock.0.now());
        let key = self.keys.iter().find(|key| key.digest == digest && now < key.until)?;
        Some(Principal {
            key: PrincipalKey::new(LEGACY, key.crew.as_str()),
            kind: PrincipalKind::Service,
            groups: Default::default(),
            client: None,
            token: TokenFacts {
                issued: now,
                expires: key.until,
                fingerprint: "shared-key".to_owned(),
                mfa: false,
                sender_constrained: false,
                authenticated: None,
                class: None,
                actors: Vec::new(),
                exchanged: None,
            },
            human: None,
        })
    }

    /// When the shared key of a legacy principal stops working on this crew, whose key it must be: several crews may
    /// have had the same one, and the principal is named after the first.
    pub(crate) fn shared_until(&self, principal: &str, crew: &str) -> Option<Timestamp> {
        let of = |name: &str| self.keys.iter().find(|key| key.crew == name);
        let (used, wanted) = (of(principal)?, of(crew)?);
        (used.digest == wanted.digest && self.clock.0.now() < wanted.until).then_some(wanted.until)
    }
}

/// Fetches as an issuer is reached.
///
/// # Errors
///
/// What is wrong with its certificate authority.
pub(crate) fn fetch_by(reach: &Reach) -> Result<HttpFetch, String> {
    let fetch = HttpFetch::with_extra_ca(reach.ca.as_deref().unwrap_or_default());
    let fetch = fetch.map_err(|error| error.to_string())?;
    Ok(if reach.private_network { fetch.in_private_networks() } else { fetch })
}

impl VerifyToken for Gatekeeper {
    async fn verify(&self, token: Bearer) -> Result<Principal, Rejection> {
        match self.legacy(&token) {
            Some(principal) => Ok(principal),
            None => {
                let mut principal = self.verifier.verify(token).await?;
                if let Some(live) = &self.live {
                    principal.human = live.person(&principal.key);
                }
                Ok(principal)
            }
        }
    }
}
