use std::{collections::HashMap, fmt, sync::Arc};

use crewgate_core::{Clock, Human, PrincipalKey, SystemClock};

use crate::{
    Exchange, Fetch, HttpFetch, InvalidConfig, IssuerConfig, OWN_ISSUER, Revocations, Sightings, Verifier,
    cache::{DEFAULT_CACHED_TOKENS, Inactive, TokenCache},
    dpop::Proofs,
    issuer::Issuer,
    replay::Nonces,
    verifier::Inner,
};

/// A [`Verifier`] in the making.
#[must_use = "a builder does nothing until it is built"]
pub struct VerifierBuilder {
    issuers: Vec<(IssuerConfig, Option<Arc<dyn Fetch>>)>,
    persons: HashMap<PrincipalKey, Human>,
    clock: Arc<dyn Clock>,
    fetch: Option<Arc<dyn Fetch>>,
    cached_tokens: usize,
    demand_nonce: bool,
    nonce_secret: Option<Vec<u8>>,
    revocations: Option<Revocations>,
    sightings: Option<Sightings>,
}

impl Default for VerifierBuilder {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            persons: HashMap::new(),
            clock: Arc::new(SystemClock),
            fetch: None,
            cached_tokens: DEFAULT_CACHED_TOKENS,
            demand_nonce: false,
            nonce_secret: None,
            revocations: None,
            sightings: None,
        }
    }
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.issuers.iter().map(|(config, _)| config).collect();
        f.debug_struct("VerifierBuilder").field("issuers", &issuers).finish_non_exhaustive()
    }
}

impl VerifierBuilder {
    /// Adds an issuer.
    pub fn issuer(mut self, issuer: IssuerConfig) -> Self {
        self.issuers.push((issuer, None));
        self
    }

    /// Adds an issuer whose documents are fetched in a way of its own: with a certificate authority that vouches for no
    /// other.
    pub fn issuer_through(self, issuer: IssuerConfig, fetch: impl Fetch) -> Self {
        self.issuer_by(issuer, Arc::new(fetch))
    }

    pub(crate) fn issuer_by(mut self, issuer: IssuerConfig, fetch: Arc<dyn Fetch>) -> Self {
        self.issuers.push((issuer, Some(fetch)));
        self
    }

    /// Accepts the tokens that this exchange issues.
    ///
    /// # Errors
    ///
    /// When its URL cannot be an issuer's.
    pub fn exchange(self, exchange: &Exchange) -> Result<Self, InvalidConfig> {
        let (config, jwks) = (exchange.issuer()?, exchange.jwks());
        Ok(self.issuer_through(config, move |_| std::future::ready(Ok(jwks.clone()))))
    }

    /// Identities that belong to the same natural person.
    pub fn persons(mut self, persons: impl IntoIterator<Item = (PrincipalKey, Human)>) -> Self {
        self.persons.extend(persons);
        self
    }

    /// The clock that tokens are held against.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How documents are fetched. Default: [`HttpFetch`] with the operating system's certificates.
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Verified tokens remembered; below two none are. Default 10,000.
    pub fn cached_tokens(mut self, tokens: usize) -> Self {
        self.cached_tokens = tokens;
        self
    }

    /// Demands a nonce of ours in every proof (RFC 9449 section 9), good for five minutes: then nobody can make proofs for
    /// later. Callers repeat their first request with the nonce of its refusal. It counts in this process alone, unless
    /// [a secret is shared](Self::share_nonces).
    pub fn demand_nonce(mut self) -> Self {
        self.demand_nonce = true;
        self
    }

    /// Makes the nonces that are [demanded](Self::demand_nonce) of this secret, of 32 random bytes at least and for
    /// nothing else: they count with all verifiers that have it. Behind a balancer a caller would be asked again by
    /// each.
    pub fn share_nonces(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.nonce_secret = Some(secret.into());
        self
    }

    /// Refuses what is revoked, at every request and for remembered tokens too. Whoever serves spawns
    /// [`Revocations::keep_fresh`].
    pub fn revocations(mut self, revocations: Revocations) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Counts whose tokens are used. Whoever serves [takes](Sightings::take) them now and then.
    pub fn sightings(mut self, sightings: Sightings) -> Self {
        self.sightings = Some(sightings);
        self
    }

    /// The verifier. Nothing is fetched yet: an issuer that is down does not stop a start.
    ///
    /// # Errors
    ///
    /// When there is no issuer, two share a name or a URL, one's configuration cannot be right, or TLS cannot be set
    /// up.
    pub fn build(self) -> Result<Verifier, InvalidConfig> {
        let fetch = match self.fetch {
            Some(fetch) => fetch,
            None => Arc::new(HttpFetch::new().map_err(|e| InvalidConfig(e.to_string()))?),
        };
        if self.issuers.is_empty() {
            return Err(InvalidConfig("no issuer is configured: no token could ever be accepted".to_owned()));
        }
        let nonces = match self.nonce_secret {
            _ if !self.demand_nonce => None,
            Some(secret) if secret.len() < 32 => {
                return Err(InvalidConfig("nonces are made of a secret of 32 bytes at least".to_owned()));
            }
            Some(secret) => Some(Nonces::of(&secret)),
            None => Some(Nonces::random().ok_or_else(|| {
                InvalidConfig("this system has no randomness to make nonces of".to_owned())
            })?),
        };
        let (mut issuers, mut by_url) = (Vec::<Arc<Issuer>>::new(), HashMap::new());
        for (config, through) in self.issuers {
            config.check()?;
            if config.name == OWN_ISSUER && !config.own {
                return Err(InvalidConfig(format!("issuer {OWN_ISSUER}: the name is our own")));
            }
            if issuers.iter().any(|other| other.config.name == config.name) {
                return Err(InvalidConfig(format!("issuer {}: the name is used twice", config.name)));
            }
            if by_url.insert(config.url.clone(), issuers.len()).is_some() {
                return Err(InvalidConfig(format!("issuer {}: the URL is used twice", config.name)));
            }
            let prefix = |config: &IssuerConfig| Some(config.introspection.as_ref()?.prefix.clone());
            let own = prefix(&config);
            if own.is_some() && issuers.iter().any(|other| prefix(&other.config) == own) {
                return Err(InvalidConfig(format!(
                    "issuer {}: another one is asked about the same opaque tokens: give each a prefix",
                    config.name
                )));
            }
            let fetch = through.unwrap_or_else(|| Arc::clone(&fetch));
            issuers.push(Arc::new(Issuer::new(config, fetch)));
        }
        Ok(Verifier::of(Inner {
            issuers,
            by_url,
            persons: self.persons,
            clock: self.clock,
            cache: TokenCache::new(self.cached_tokens),
            inactive: Inactive::default(),
            proofs: Proofs::new(nonces),
            revocations: self.revocations,
            sightings: self.sightings,
        }))
    }
}
