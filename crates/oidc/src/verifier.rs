use std::{collections::HashMap, fmt, future::Future, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use crewgate_core::{Clock, Human, Principal, PrincipalKey};
use futures_util::future::join_all;

use crate::{
    Algorithm, Bearer, Explanation, IssuerState, Jws, MAX_TOKEN, Reason, Rejection, Revocable, Revocations,
    Sighted, Sightings, Step, SubjectToken, VerifierBuilder, VerifyToken,
    cache::{Binding, Digest, Inactive, TokenCache, Verified, Witness},
    check,
    claims::{Claims, Times},
    dpop::Proofs,
    exchange::{Actor, chain, origin},
    introspect::{Desk, INACTIVE_AGE, INTROSPECTION_AGE},
    inventory::Sighting,
    issuer::Issuer,
    json::{Json, Object},
    principal::principal,
    signed::signer,
};

/// Checks tokens of several issuers. Cheap to clone; clones share keys and cache.
///
/// Must be used inside a tokio runtime: keys are fetched in tasks of their own.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) issuers: Vec<Arc<Issuer>>,
    pub(crate) by_url: HashMap<String, usize>,
    pub(crate) persons: HashMap<PrincipalKey, Human>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Option<TokenCache>,
    pub(crate) inactive: Inactive,
    pub(crate) proofs: Proofs,
    pub(crate) revocations: Option<Revocations>,
    pub(crate) sightings: Option<Sightings>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuers", &self.issuers()).finish_non_exhaustive()
    }
}

impl Verifier {
    pub(crate) fn of(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

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

    /// Whose ID token this is.
    pub(crate) async fn id_token(&self, token: &str) -> Result<Principal, Rejection> {
        let verified = self.0.check_jwt(token, &sha256(token)).await?;
        self.0.admit(&Bearer::new(token), &verified)?;
        Ok(verified.principal)
    }

    /// The first issuer, which is all of a verifier made for one.
    pub(crate) fn only_issuer(&self) -> Option<Arc<Issuer>> {
        self.0.issuers.first().map(Arc::clone)
    }

    /// Checks a token past the cache and says which steps it passed, which one failed, and what to do; and which steps
    /// nobody can make here: whether its holder has the key it is bound to, when no proof came with it, and whether it
    /// is revoked, when no revocations are known.
    pub async fn explain(&self, token: &Bearer) -> Explanation {
        let inner = &*self.0;
        let verified = match inner.check(token.as_str(), &sha256(token.as_str())).await {
            Ok(verified) => verified,
            Err(rejection) => return Explanation::rejected(&rejection, &[]),
        };
        let plain = token.proof().is_none() && token.certificate().is_none();
        let mut unchecked = Vec::new();
        let mut admitted = Ok(());
        if plain && verified.binding != Binding::None {
            unchecked.push(Step::Binding);
        } else {
            admitted = inner.prove(token, &verified.binding);
        }
        if inner.revocations.is_none() {
            unchecked.push(Step::Revocation);
        }
        match admitted.and_then(|()| inner.not_revoked(&verified)) {
            Ok(()) => Explanation::accepted(verified.principal, unchecked),
            Err(rejection) => Explanation::rejected(&rejection, &unchecked),
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
        let Some(cache) = &inner.cache else { return Ok(verified.principal) };
        let principal = verified.principal.clone();
        cache.insert(digest, Arc::new(verified));
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
                if !dated {
                    claims.insert("iat", Json::Integer(now.as_secs()));
                }
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
        check::token_type(config, &jws, &payload)?;
        let mut verified = self.judge(index, issuer, Claims::read(payload)?, Witness::Key(key), digest)?;
        verified.algorithm = jws.alg.parse::<Algorithm>().ok().map(Algorithm::name);
        Ok(verified)
    }

    /// Whether claims that are the issuer's word open anything here.
    fn judge(
        &self,
        index: usize,
        issuer: &Issuer,
        claims: Claims<'_>,
        witness: Witness,
        digest: &Digest,
    ) -> Result<Verified, Rejection> {
        let config = &issuer.config;
        check::audience(config, &claims)?;
        claims.times.check(self.clock.now(), config.skew, config.max_lifetime)?;
        check::requirements(config, &claims)?;
        let (mut principal, names) = if config.own {
            origin(&claims, digest)?
        } else {
            let mut principal = principal(config, &claims, digest)?;
            principal.token.actors = self.actors(&config.name, &claims.all)?;
            let names = check::names(config, &claims, &principal);
            (principal, names)
        };
        principal.human = self.persons.get(&principal.key).cloned();
        let binding = check::binding(&claims.all)?;
        Ok(Verified {
            principal,
            times: claims.times,
            issuer: index,
            witness,
            binding,
            names,
            algorithm: None,
            sighting: None,
        })
    }

    /// Who acts by a token of the issuer `own`: those it names without an issuer are its own.
    fn actors(&self, own: &str, claims: &Object<'_>) -> Result<Vec<PrincipalKey>, Rejection> {
        let named = |actor: Actor<'_>| {
            let issuer = match actor.issuer {
                None => own,
                Some(url) => self
                    .by_url
                    .get(url)
                    .and_then(|index| self.issuers.get(*index))
                    .map_or(url, |issuer| &issuer.config.name),
            };
            PrincipalKey::new(issuer, actor.subject)
        };
        Ok(chain(claims)?.into_iter().map(named).collect())
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
        self.not_revoked(verified)
    }

    fn not_revoked(&self, verified: &Verified) -> Result<(), Rejection> {
        let Some(revocations) = &self.revocations else { return Ok(()) };
        let names = &verified.names;
        let revocable = Revocable::of(&verified.principal).named(names.alias.as_deref(), &names.ids);
        revocations.check(&if names.dated { revocable } else { revocable.of_unknown_age() })
    }

    /// The issuer that is asked about a token that is no JWT: the one with the longest prefix that fits.
    fn reader_of(&self, token: &str) -> Option<(usize, &Arc<Issuer>, &Desk)> {
        let asked = self.issuers.iter().enumerate();
        let asked = asked.filter_map(|(index, issuer)| Some((index, issuer, issuer.desk.as_ref()?)));
        asked
            .filter(|(_, _, desk)| token.starts_with(&desk.settings.prefix))
            .max_by_key(|(_, _, desk)| desk.settings.prefix.len())
            .filter(|_| token.len() <= MAX_TOKEN && token.split('.').count() != 3)
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
    fn route(&self, payload: &Object<'_>) -> Result<(usize, &Arc<Issuer>), Rejection> {
        let unknown = |found: &str| {
            let urls: Vec<_> = self.issuers.iter().map(|issuer| issuer.config.url.as_str()).collect();
            Rejection::new(Reason::IssuerUnknown).expecting(urls.join(" or ")).finding(found)
        };
        let url = match payload.get("iss") {
            Some(Json::String(url)) => url,
            Some(other) => return Err(unknown(other.kind())),
            None => return Err(unknown("no iss")),
        };
        let index = self.by_url.get(url.as_ref()).copied().ok_or_else(|| unknown(url))?;
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

pub(crate) fn sha256(token: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}
