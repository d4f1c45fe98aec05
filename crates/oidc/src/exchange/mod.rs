//! Tokens of our own for those of others (RFC 8693): short, narrowed to named roles, and revoked with what they were made
//! of.
//!
//! An exchanged token is its subject's: the same issuer and subject, the same groups, the same linked person. It counts
//! for the roles it names alone, for minutes, and never longer than the token it was exchanged for. It is checked by the
//! same [`Verifier`](crate::Verifier) as every other token.

mod keys;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use crewgate_core::{Exchanged, Fact, Principal, RequestId, RoleName, Timestamp};
use serde_json::{Value, json};

pub use self::keys::SigningKey;
use crate::{
    Algorithm, Claims, InvalidConfig, IssuerConfig, MAX_TOKEN, Reason, Rejection,
    cache::{Digest, Names, Verified},
    json::{Json, Object},
    principal::fingerprint,
    verifier::sha256,
};

/// The name of the issuer of exchanged tokens: revocations name it. No other issuer may be called so.
pub const OWN_ISSUER: &str = "crewgate";

/// The longest an exchanged token lives.
pub const EXCHANGED_LIFETIME: Duration = Duration::from_secs(300);

/// Difference of our own replicas' clocks that is forgiven.
const OWN_SKEW: Duration = Duration::from_secs(2);

/// Claim of an exchanged token that holds whose it is.
const ORIGIN: &str = "crewgate";

/// The `typ` of an exchanged token (RFC 9068).
const TYP: &str = "at+jwt";

/// Actors in a chain that are kept (RFC 8693 section 4.1).
const MAX_ACTORS: usize = 8;

/// Issues exchanged tokens. Clones share the keys.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: String,
    audience: String,
    lifetime: Duration,
    keys: Vec<SigningKey>,
}

/// A token that was verified in order to be exchanged.
#[derive(Debug, Clone)]
pub struct SubjectToken {
    /// Whose it is.
    pub principal: Principal,
    /// Its issuer's id of it (`jti`).
    pub id: Option<String>,
    alias: Option<String>,
}

impl SubjectToken {
    pub(crate) fn of(verified: Verified) -> Self {
        let Verified { principal, names, .. } = verified;
        Self {
            id: names.ids.first().map(|(_, id)| id.to_string()),
            alias: names.alias.map(String::from),
            principal,
        }
    }

    /// For whom `actor` acts from here on: who acted before stands behind it and counts no more.
    #[must_use]
    pub fn acted_for_by(mut self, actor: &Principal) -> Self {
        // Who acts for the actor is behind it as well.
        let chain = [&actor.key].into_iter().chain(&actor.token.actors).cloned();
        self.principal.token.actors.splice(..0, chain);
        self
    }
}

/// A token of ours.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Minted {
    /// The token; not to be logged.
    pub token: String,
    /// When it ends.
    pub expires: Timestamp,
    /// What must stand on the record before it is handed out.
    pub fact: Fact,
}

impl Exchange {
    /// Issues tokens for `audience` as the issuer at `url`, signed with the first of these keys. The others are
    /// published too: those that signed until lately, and those that will next.
    ///
    /// # Errors
    ///
    /// When there is no key, or one stands twice.
    pub fn new(
        url: impl Into<String>,
        audience: impl Into<String>,
        keys: Vec<SigningKey>,
    ) -> Result<Self, InvalidConfig> {
        let ids: BTreeSet<&str> = keys.iter().map(SigningKey::kid).collect();
        if ids.is_empty() || ids.len() != keys.len() {
            return Err(InvalidConfig("exchange: no key to sign with, or one stands twice".to_owned()));
        }
        let (url, audience) = (url.into(), audience.into());
        Ok(Self(Arc::new(Inner { url, audience, lifetime: EXCHANGED_LIFETIME, keys })))
    }

    /// A shorter life for its tokens; [`EXCHANGED_LIFETIME`] at most.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        let lifetime = lifetime.min(EXCHANGED_LIFETIME);
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { lifetime, ..inner })),
            Err(shared) => Self(shared),
        }
    }

    /// The URL in `iss`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The published keys (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        keys::published(&self.0.keys)
    }

    /// How its tokens are checked: like those of any issuer, only that they say whose they are in a claim of ours.
    ///
    /// # Errors
    ///
    /// When the URL cannot be an issuer's.
    pub fn issuer(&self) -> Result<IssuerConfig, InvalidConfig> {
        let mut config = IssuerConfig::new(OWN_ISSUER, self.url(), [self.0.audience.as_str()])?
            .algorithms([Algorithm::Es256, Algorithm::EdDsa])
            .max_lifetime(EXCHANGED_LIFETIME)
            .skew(OWN_SKEW)
            .token_type(TYP)
            .jwks_uri(format!("{}/jwks", self.url()))
            // They never leave this process.
            .dangerously_allow_http();
        config.own = true;
        Ok(config)
    }

    /// A token for these roles, on behalf of whoever the subject's token is.
    ///
    /// # Errors
    ///
    /// [`Reason::Expired`] when nothing is left of the subject's token; [`Reason::IssuerNotReady`] on a system without
    /// randomness.
    pub fn mint(
        &self,
        subject: &SubjectToken,
        roles: BTreeSet<RoleName>,
        now: Timestamp,
    ) -> Result<Minted, Rejection> {
        let inner = &*self.0;
        let principal = &subject.principal;
        let issued = Timestamp::from_secs(now.as_secs());
        let expires = issued.saturating_add(inner.lifetime).min(principal.token.expires);
        if expires.as_secs() <= issued.as_secs() {
            let found = format!("exp {}, now {now}", principal.token.expires);
            return Err(Rejection::new(Reason::Expired).finding(&found));
        }
        let actors = &principal.token.actors;
        if actors.len() > MAX_ACTORS {
            return Err(wrong_chain());
        }
        let act = actors.iter().rev().fold(None, |behind: Option<Value>, actor| {
            let mut act = json!({ "sub": actor.to_string() });
            if let (Some(members), Some(behind)) = (act.as_object_mut(), behind) {
                members.insert("act".to_owned(), behind);
            }
            Some(act)
        });
        let id = RequestId::random().to_string();
        let scope: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
        let mut claims = json!({
            "iss": inner.url,
            "sub": principal.key.to_string(),
            "aud": inner.audience,
            "iat": issued.as_secs(),
            "exp": expires.as_secs(),
            "jti": id,
            "scope": scope.join(" "),
            ORIGIN: { "principal": principal, "id": subject.id, "alias": subject.alias },
        });
        if let Some(members) = claims.as_object_mut() {
            if let Some(client) = &principal.client {
                members.insert("client_id".to_owned(), json!(client));
            }
            if let Some(act) = act {
                members.insert("act".to_owned(), act);
            }
        }
        let token = inner.keys.first().and_then(|key| key.sign(TYP, &claims));
        let token = token.ok_or_else(|| Rejection::new(Reason::IssuerNotReady).finding("no randomness"))?;
        if token.len() > MAX_TOKEN {
            return Err(Reason::GroupsOverage.into());
        }
        let expires = Timestamp::from_secs(expires.as_secs());
        let fact = Fact::Exchanged {
            token: principal.token.fingerprint.clone(),
            id: subject.id.clone(),
            issued: fingerprint(&sha256(&token)),
            issued_id: id,
            roles,
            actor: actors.first().map(ToString::to_string),
            expires,
        };
        Ok(Minted { token, expires, fact })
    }
}

/// Whose an exchanged token is, and by what else it can be revoked. Its claims are our own word.
pub(crate) fn origin(claims: &Claims<'_>, token: &Digest) -> Result<(Principal, Names), Rejection> {
    let wrong = |what: &str| Rejection::new(Reason::Claims).expecting(what).finding("another");
    let origin = match claims.all.get(ORIGIN) {
        Some(Json::Object(origin)) => origin,
        _ => return Err(wrong("the claim crewgate as an object")),
    };
    let text = |object: &Object<'_>, name: &str| object.get(name).and_then(Json::as_str).map(str::to_owned);
    let principal = origin.get("principal").map(Json::to_value).unwrap_or_default();
    let mut principal: Principal =
        serde_json::from_value(principal).map_err(|_| wrong("whose it is in the claim crewgate"))?;
    let (Some(id), Some(scope)) = (text(&claims.all, "jti"), text(&claims.all, "scope")) else {
        return Err(wrong("jti and scope as strings"));
    };
    principal.token.expires = claims.times.expires;
    principal.token.fingerprint = fingerprint(token);
    let roles = scope.split(' ').filter(|role| !role.is_empty()).map(RoleName::new).collect();
    principal.token.exchanged = Some(Exchanged { roles });
    principal.human = None;
    let first = text(origin, "id").map(|id| (principal.key.issuer.as_str().into(), id.into()));
    let ids = [(OWN_ISSUER.into(), id.into())].into_iter().chain(first).collect();
    let names = Names { alias: text(origin, "alias").map(Into::into), ids, dated: true };
    Ok((principal, names))
}

/// Somebody who acts by a token, as it names them.
pub(crate) struct Actor<'a> {
    pub(crate) subject: &'a str,
    /// Whose subject they are, where the token says so.
    pub(crate) issuer: Option<&'a str>,
}

/// The chain of actors (RFC 8693 section 4.1), the outermost first.
pub(crate) fn chain<'a>(claims: &'a Object<'_>) -> Result<Vec<Actor<'a>>, Rejection> {
    let mut actors = Vec::new();
    let mut next = claims.get("act");
    while let Some(act) = next {
        let Json::Object(act) = act else { return Err(wrong_chain()) };
        let text = |name| act.get(name).map(|value| value.as_str().ok_or_else(wrong_chain)).transpose();
        let (Some(subject), issuer) = (text("sub")?, text("iss")?) else { return Err(wrong_chain()) };
        actors.push(Actor { subject, issuer });
        if actors.len() > MAX_ACTORS {
            return Err(wrong_chain());
        }
        next = act.get("act");
    }
    Ok(actors)
}

fn wrong_chain() -> Rejection {
    let expected = format!("act as an object with sub, at most {MAX_ACTORS} deep");
    Rejection::new(Reason::Claims).expecting(expected).finding("another")
}
