use std::{collections::HashMap, fmt, future::Future, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::{Clock, HumanId, Principal, PrincipalKey, SystemClock};
use futures_util::future::join_all;

use crate::{
    Algorithm, Bearer, Exchange, Explanation, Fetch, HttpFetch, InvalidConfig, IssuerConfig, IssuerState,
    Jws, MAX_TOKEN, OWN_ISSUER, Reason, Rejection, Revocable, Revocations, Sighted, Sightings, SubjectToken,
    VerifyToken,
    cache::{Binding, DEFAULT_CACHED_TOKENS, Digest, Inactive, Names, TokenCache, Verified, Witness},
    claims::{Claims, Times},
    dpop::Proofs,
    exchange::{chain, origin},
    introspect::{Desk, INACTIVE_AGE, INTROSPECTION_AGE},
    inventory::Sighting,
    issuer::Issuer,
    json::{Json, Object},
    principal::{at, principal},
    signed::signer,
};

/// Checks tokens of several issuers. Cheap to clone; clones share keys and cache.
///
/// Must be used inside a tokio runtime: keys are fetched in tasks of their own.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<Arc<Issuer>>,
    by_url: HashMap<String, usize>,
    persons: HashMap<PrincipalKey, HumanId>,
    clock: Arc<dyn Clock>,
    cache: Option<TokenCache>,
    inactive: Inactive,
    proofs: Proofs,
    revocations: Option<Revocations>,
    sightings: Option<Sightings>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuers", &self.issuers()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Starts from no issuer, the system's clock, HTTP, and a cache of 10,000 tokens.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// What is known of each issuer's keys, in the order of configuration.
    #[must_use]
    pub fn issuers(&self) -> Vec<IssuerState> {
        self.0.issuers.iter().map(|issuer| issuer.report()).collect()
    }

    /// Fetches all issuers' keys now and keeps them fresh; never ends. An issuer that is down is tried again, with
    /// growing pauses. Without it keys are fetched when the first token asks for them, and renewed only for unknown
    /// keys: whoever serves for long spawns this.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the renewal; a fetch that has begun still ends.
    pub fn keep_fresh(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let issuers: Vec<_> = self.0.issuers.iter().map(Arc::clone).collect();
        async move {
            join_all(issuers.into_iter().map(Issuer::keep_fresh)).await;
        }
    }

    /// Tokens in the cache.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.0.cache.as_ref().map_or(0, TokenCache::len)
    }

    /// A token that shall be exchanged, checked past the cache.
    ///
    /// # Errors
    ///
    /// As for a token that opens the gateway; one that is bound to a key is refused without its proof.
    pub async fn subject_token(&self, token: &Bearer) -> Result<SubjectToken, Rejection> {
        let verified = self.0.check(token.as_str(), &sha256(token.as_str())).await?;
        self.0.admit(token, &verified)?;
        self.0.sight(&verified);
        Ok(SubjectToken::of(verified))
    }

    /// Checks a token past the cache and says which steps it passed, which one failed, and what to do.
    pub async fn explain(&self, token: &Bearer) -> Explanation {
        let checked = self.0.check(token.as_str(), &sha256(token.as_str())).await;
        match checked.and_then(|verified| self.0.admit(token, &verified).map(|()| verified)) {
            Ok(verified) => Explanation::accepted(verified.principal),
            Err(rejection) => Explanation::rejected(&rejection),
        }
    }
}

impl VerifyToken for Verifier {
    /// # Cancel safety
    ///
    /// May be dropped at any time; a fetch of keys it began goes on for those who come after.
    async fn verify(&self, token: Bearer) -> Result<Principal, Rejection> {
        let inner = &*self.0;
        let digest = sha256(token.as_str());
        if let Some(cache) = &inner.cache {
            let now = inner.clock.now();
            if let Some(entry) = cache.find(&digest, now, |entry| inner.still_trusts(entry)) {
                inner.admit(&token, &entry)?;
                if let Some(sighting) = &entry.sighting {
                    sighting.again(now);
                }
                return Ok(entry.principal.clone());
            }
        }
        let mut verified = inner.check(token.as_str(), &digest).await?;
        inner.admit(&token, &verified)?;
        verified.sighting = inner.sight(&verified);
        let principal = verified.principal.clone();
        if let Some(cache) = &inner.cache {
            cache.insert(digest, Arc::new(verified));
        }
        Ok(principal)
    }
}

impl Inner {
    /// The whole pipeline, in the order of [`Step`](crate::Step).
    async fn check(&self, token: &str, digest: &Digest) -> Result<Verified, Rejection> {
        match self.reader_of(token) {
            Some((index, issuer, desk)) => {
                let now = self.clock.now();
                if self.inactive.find(digest, now).is_some() {
                    return Err(Reason::Inactive.into());
                }
                let claims = desk.claims(issuer, token, &*self.clock).await.inspect_err(|rejection| {
                    if rejection.reason() == Reason::Inactive {
                        self.inactive.insert(*digest, now.saturating_add(INACTIVE_AGE));
                    }
                })?;
                let witness = Witness::Issuer(now.saturating_add(INTROSPECTION_AGE));
                // RFC 7662 lets an issuer leave it out: then it is as young as the question, and as old as can be for
                // whoever revokes.
                let mut claims = claims;
                let dated = claims.contains_key("iat");
                claims.entry("iat".to_owned()).or_insert(Json::Integer(now.as_secs()));
                let mut verified = self.judge(index, issuer, Claims::read(claims)?, witness, digest)?;
                verified.names.dated = dated;
                Ok(verified)
            }
            None => self.check_jwt(token, digest).await,
        }
    }

    async fn check_jwt(&self, token: &str, digest: &Digest) -> Result<Verified, Rejection> {
        let jws = Jws::parse(token)?;
        let payload = jws.payload_object()?;
        let (index, issuer) = self.route(&payload)?;
        let config = &issuer.config;
        let key = signer(issuer, &jws).await?;
        // From here on the claims are the issuer's word.
        check_type(config, jws.typ.as_deref(), &payload)?;
        let mut verified = self.judge(index, issuer, Claims::read(payload)?, Witness::Key(key), digest)?;
        verified.algorithm = jws.alg.parse::<Algorithm>().ok().map(Algorithm::name);
        Ok(verified)
    }

    /// Whether claims that are the issuer's word open anything here.
    fn judge(
        &self,
        index: usize,
        issuer: &Issuer,
        claims: Claims,
        witness: Witness,
        digest: &Digest,
    ) -> Result<Verified, Rejection> {
        let config = &issuer.config;
        check_audience(config, &claims)?;
        claims.times.check(self.clock.now(), config.skew, config.max_lifetime)?;
        check_requirements(config, &claims)?;
        let binding = binding(&claims.all)?;
        let (mut principal, names) = if config.own {
            origin(&claims, digest)?
        } else {
            let principal = principal(config, &claims, digest)?;
            let names = names(config, &claims, &principal);
            (principal, names)
        };
        principal.human = self.persons.get(&principal.key).cloned();
        let act = chain(&claims.all)?;
        Ok(Verified {
            principal,
            times: claims.times,
            issuer: index,
            witness,
            binding,
            names,
            algorithm: None,
            sighting: None,
            act,
        })
    }

    /// Counts an admitted token; one of our own is its subject's, which was counted when it was exchanged.
    fn sight(&self, verified: &Verified) -> Option<Arc<Sighting>> {
        let sightings = self.sightings.as_ref().filter(|_| verified.principal.token.exchanged.is_none())?;
        let Times { issued, expires, .. } = verified.times;
        let lifetime = verified.names.dated.then(|| expires.since(issued).as_secs());
        sightings.of(Sighted::new(&verified.principal, verified.algorithm, lifetime, self.clock.now()))
    }

    /// What is asked of a believed token at every request.
    fn admit(&self, token: &Bearer, verified: &Verified) -> Result<(), Rejection> {
        self.prove(token, &verified.binding)?;
        let Some(revocations) = &self.revocations else { return Ok(()) };
        let names = &verified.names;
        let revocable = Revocable::of(&verified.principal).named(names.alias.as_deref(), &names.ids);
        revocations.check(&if names.dated { revocable } else { revocable.of_unknown_age() })
    }

    /// The issuer that is asked about a token that is no JWT: the one with the longest prefix that fits.
    fn reader_of(&self, token: &str) -> Option<(usize, &Arc<Issuer>, &Desk)> {
        if token.len() > MAX_TOKEN || token.split('.').count() == 3 {
            return None;
        }
        let asked = self.issuers.iter().enumerate();
        let asked = asked.filter_map(|(index, issuer)| Some((index, issuer, issuer.desk.as_ref()?)));
        asked
            .filter(|(_, _, desk)| token.starts_with(&desk.settings.prefix))
            .max_by_key(|(_, _, desk)| desk.settings.prefix.len())
    }

    /// Whether the caller may use a token of this binding. A bound token that comes as a plain bearer token is stolen
    /// or misconfigured; one that came with a proof nobody asked for was not meant to be plain.
    fn prove(&self, token: &Bearer, binding: &Binding) -> Result<(), Rejection> {
        match (binding, token.proof(), token.certificate()) {
            (Binding::None, None, _) => Ok(()),
            (Binding::Key(thumbprint), Some(proof), _) => {
                self.proofs.check(proof, thumbprint, token.as_str(), self.clock.now())
            }
            (Binding::Certificate(bound), None, Some(own)) if bound == own => Ok(()),
            (Binding::Certificate(_), None, Some(_)) => Err(Reason::CertificateOther.into()),
            (Binding::None | Binding::Certificate(_), Some(_), _) => Err(Reason::NotBound.into()),
            (Binding::Key(_) | Binding::Certificate(_), None, _) => Err(Reason::Bound.into()),
        }
    }

    /// By the unverified `iss`, to the letter; nothing is fetched for a stranger's token.
    fn route(&self, payload: &Object) -> Result<(usize, &Arc<Issuer>), Rejection> {
        let unknown = |found: &str| {
            let urls: Vec<_> = self.issuers.iter().map(|issuer| issuer.config.url.as_str()).collect();
            Rejection::new(Reason::IssuerUnknown).expecting(urls.join(" or ")).finding(found)
        };
        let url = match payload.get("iss") {
            Some(Json::String(url)) => url,
            Some(other) => return Err(unknown(other.kind())),
            None => return Err(unknown("no iss")),
        };
        let index = self.by_url.get(url).copied().ok_or_else(|| unknown(url))?;
        self.issuers.get(index).map(|issuer| (index, issuer)).ok_or_else(|| unknown(url))
    }

    /// Whether what vouched for a remembered token still does.
    fn still_trusts(&self, entry: &Verified) -> bool {
        match &entry.witness {
            Witness::Key(key) => {
                let issuer = self.issuers.get(entry.issuer);
                issuer.and_then(|issuer| issuer.current()).is_some_and(|set| set.holds(key))
            }
            Witness::Issuer(until) => self.clock.now() < *until,
        }
    }
}

/// `cnf` (RFC 7800) with the one member we can check. What we cannot check binds all the same.
fn binding(claims: &Object) -> Result<Binding, Rejection> {
    let Some(cnf) = claims.get("cnf") else { return Ok(Binding::None) };
    let wrong = |found: &str| {
        Rejection::new(Reason::Bound).expecting("cnf with jkt or x5t#S256 alone").finding(found)
    };
    let Json::Object(members) = cnf else { return Err(wrong(cnf.kind())) };
    let mut members = members.iter();
    match (members.next(), members.next()) {
        (Some((name, Json::String(thumbprint))), None) => {
            let bytes = URL_SAFE_NO_PAD.decode(thumbprint).ok().and_then(|bytes| bytes.try_into().ok());
            match (name.as_str(), bytes) {
                ("jkt", Some::<[u8; 32]>(_)) => Ok(Binding::Key(thumbprint.as_str().into())),
                ("x5t#S256", Some(bytes)) => Ok(Binding::Certificate(bytes)),
                _ => Err(wrong(name)),
            }
        }
        _ => Err(wrong("others")),
    }
}

/// By what a token can be revoked.
fn names(config: &IssuerConfig, claims: &Claims, principal: &Principal) -> Names {
    let id = claims.all.get("jti").and_then(Json::as_str);
    let id = id.map(|id| (config.name.as_str().into(), id.into()));
    let alias = (claims.subject != principal.key.subject).then(|| claims.subject.as_str().into());
    Names { alias, ids: id.into_iter().collect(), dated: true }
}

fn check_type(config: &IssuerConfig, typ: Option<&str>, payload: &Object) -> Result<(), Rejection> {
    let bare = typ.map(|typ| {
        let lower = typ.to_ascii_lowercase();
        // RFC 7515 section 4.1.9: `application/` may be left out.
        lower.strip_prefix("application/").map(str::to_owned).unwrap_or(lower)
    });
    let expected = match (&config.token_type, bare.as_deref()) {
        (Some(only), Some(bare)) if only.eq_ignore_ascii_case(bare) => None,
        (Some(only), _) => Some(only.as_str()),
        (None, None | Some("jwt" | "jose" | "at+jwt")) => None,
        // Proofs, logout and security event tokens are signed by the same keys and mean something else.
        (None, Some(_)) => Some("typ absent, JWT, JOSE or at+jwt"),
    };
    if let Some(expected) = expected {
        return Err(Rejection::new(Reason::Type).expecting(expected).finding(typ.unwrap_or("no typ")));
    }
    let mark = ["nonce", "at_hash", "c_hash"].into_iter().find(|mark| payload.contains_key(*mark));
    match mark {
        Some(mark) if !config.id_tokens => Err(Rejection::new(Reason::Type)
            .expecting("no nonce, at_hash or c_hash, which mark an ID token")
            .finding(mark)),
        _ => Ok(()),
    }
}

fn check_audience(config: &IssuerConfig, claims: &Claims) -> Result<(), Rejection> {
    if claims.audience.iter().any(|audience| config.audience.contains(audience)) {
        return Ok(());
    }
    let ours: Vec<_> = config.audience.iter().map(String::as_str).collect();
    Err(Rejection::new(Reason::Audience).expecting(ours.join(" or ")).finding(&claims.audience.join(", ")))
}

/// What settings and profile demand of this issuer's tokens beyond what every token must be.
fn check_requirements(config: &IssuerConfig, claims: &Claims) -> Result<(), Rejection> {
    if !config.clients.is_empty() && !claims.client.as_ref().is_some_and(|id| config.clients.contains(id)) {
        return Err(Rejection::new(Reason::ClientRefused)
            .expecting(config.clients.iter().map(String::as_str).collect::<Vec<_>>().join(" or "))
            .finding(claims.client.as_deref().unwrap_or("no client")));
    }
    for (path, values) in &config.require {
        let found = at(&claims.all, path).ok().flatten();
        let texts = found.map(Json::as_texts).unwrap_or_default();
        if !texts.iter().any(|text| values.contains(text)) {
            return Err(Rejection::new(Reason::Requirement)
                .expecting(format!(
                    "{} {}",
                    path.join("."),
                    values.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
                ))
                .finding(&if found.is_some() { texts.join(", ") } else { "nothing".to_owned() }));
        }
    }
    config.profile.check_token(config, claims)
}

pub(crate) fn sha256(token: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

/// A [`Verifier`] in the making.
#[must_use = "a builder does nothing until it is built"]
pub struct VerifierBuilder {
    issuers: Vec<(IssuerConfig, Option<Arc<dyn Fetch>>)>,
    persons: HashMap<PrincipalKey, HumanId>,
    clock: Arc<dyn Clock>,
    fetch: Option<Arc<dyn Fetch>>,
    cached_tokens: usize,
    demand_nonce: bool,
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
    pub fn issuer_through(mut self, issuer: IssuerConfig, fetch: impl Fetch) -> Self {
        self.issuers.push((issuer, Some(Arc::new(fetch))));
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
    pub fn persons(mut self, persons: impl IntoIterator<Item = (PrincipalKey, HumanId)>) -> Self {
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

    /// Demands a nonce of ours in every proof (RFC 9449 section 9), good for five minutes and for this process: then
    /// nobody can make proofs for later. Callers repeat their first request with the nonce of its refusal.
    pub fn demand_nonce(mut self) -> Self {
        self.demand_nonce = true;
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
        let proofs = Proofs::new(self.demand_nonce)
            .ok_or_else(|| InvalidConfig("this system has no randomness to make nonces of".to_owned()))?;
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
        Ok(Verifier(Arc::new(Inner {
            issuers,
            by_url,
            persons: self.persons,
            clock: self.clock,
            cache: TokenCache::new(self.cached_tokens),
            inactive: Inactive::default(),
            proofs,
            revocations: self.revocations,
            sightings: self.sightings,
        })))
    }
}
