use std::sync::Arc;

use crate::{
    Algorithm, Jws, Reason, Rejection,
    json::{self, Json},
    key::Key,
};

/// Bytes of a key set or discovery document. The largest in use (a certificate chain per key) are under 100 KiB.
pub const MAX_DOCUMENT: usize = 1024 * 1024;

/// Keys in one set; issuers publish two to ten.
pub const MAX_KEYS: usize = 100;

/// The public keys of one issuer (RFC 7517 section 5). Keys that cannot be used are left out one by one; they never
/// spoil the others.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    refused: Vec<RefusedKey>,
}

/// A published key that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedKey {
    /// Its `kid`, when it has a usable one.
    pub kid: Option<String>,
    /// Why it is not used.
    pub why: &'static str,
}

impl KeySet {
    /// Reads a JWKS document.
    ///
    /// # Errors
    ///
    /// When it is not a JSON object with a list `keys` of objects, is larger than 1 MiB, or has more than 100 keys.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        Self::parse_with_use(document, None)
    }

    /// Like [`parse`](Self::parse), with one more `use` that keys may have.
    pub(crate) fn parse_with_use(document: &[u8], also: Option<&str>) -> Result<Self, String> {
        if document.len() > MAX_DOCUMENT {
            return Err("a key set of more than 1 MiB".to_owned());
        }
        let set = json::parse_object(document)?;
        let Some(Json::Array(jwks)) = set.get("keys") else {
            return Err("no list named keys".to_owned());
        };
        if jwks.len() > MAX_KEYS {
            return Err(format!("a key set of more than {MAX_KEYS} keys"));
        }
        let (mut keys, mut refused) = (Vec::<Arc<Key>>::new(), Vec::new());
        for jwk in jwks {
            let Json::Object(jwk) = jwk else { return Err("a key that is not an object".to_owned()) };
            match Key::read(jwk, also) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(why) => {
                    let kid = jwk.get("kid").and_then(Json::as_str).map(|kid| kid.chars().take(64).collect());
                    refused.push(RefusedKey { kid, why });
                }
            }
        }
        // Which of two keys of one name signed? Nobody can say, so neither did. A key that was refused above counts:
        // its name is not free for another.
        let names: Vec<String> = jwks.iter().filter_map(kid_of).map(str::to_owned).collect();
        keys.retain(|key| {
            let Some(kid) = &key.kid else { return true };
            let unique = names.iter().filter(|name| *name == kid).count() == 1;
            if !unique {
                refused.push(RefusedKey { kid: Some(kid.clone()), why: "its kid is used twice" });
            }
            unique
        });
        Ok(Self { keys, refused })
    }

    /// Number of keys that can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys that are not used.
    #[must_use]
    pub fn refused(&self) -> &[RefusedKey] {
        &self.refused
    }

    /// Checks that one of these keys signed the token, with one of these algorithms.
    ///
    /// # Errors
    ///
    /// [`Reason::AlgRefused`], [`Reason::KeyUnknown`] or [`Reason::Signature`].
    pub fn verify(&self, jws: &Jws<'_>, allowed: &[Algorithm]) -> Result<(), Rejection> {
        let algorithm = allowed_algorithm(jws, allowed)?;
        let key = self.select(jws.kid.as_deref(), algorithm)?;
        check_signature(&key, algorithm, jws)
    }

    /// The one key this token can have been signed with.
    pub(crate) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Rejection> {
        let Some(kid) = kid else {
            let mut fitting = self.keys.iter().filter(|key| key.supports(algorithm));
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(Arc::clone(key)),
                (None, _) => {
                    Err(Rejection::new(Reason::KeyUnknown).expecting(format!("a key for {algorithm}")))
                }
                (Some(_), Some(_)) => Err(Rejection::new(Reason::KeyUnknown)
                    .expecting("a kid in the header: the issuer has several keys")
                    .finding("no kid")),
            };
        };
        let Some(key) = self.keys.iter().find(|key| key.kid.as_deref() == Some(kid)) else {
            let why = self.refused.iter().find(|refused| refused.kid.as_deref() == Some(kid));
            let found = why.map_or_else(|| kid.to_owned(), |refused| format!("{kid}: {}", refused.why));
            return Err(Rejection::new(Reason::KeyUnknown).finding(&found));
        };
        if !key.supports(algorithm) {
            return Err(Rejection::new(Reason::AlgRefused)
                .expecting(format!("{}, which is what the key is for", key.algorithms()))
                .finding(algorithm.name()));
        }
        Ok(Arc::clone(key))
    }

    /// Whether a key of this id is published, usable or not.
    pub(crate) fn names(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
            || self.refused.iter().any(|refused| refused.kid.as_deref() == Some(kid))
    }

    /// Whether this key is still published.
    pub(crate) fn holds(&self, key: &Arc<Key>) -> bool {
        self.keys.iter().any(|own| own.same(key))
    }
}

pub(crate) fn allowed_algorithm(jws: &Jws<'_>, allowed: &[Algorithm]) -> Result<Algorithm, Rejection> {
    match jws.alg.parse() {
        Ok(algorithm) if allowed.contains(&algorithm) => Ok(algorithm),
        _ => {
            let names: Vec<_> = allowed.iter().map(|algorithm| algorithm.name()).collect();
            Err(Rejection::new(Reason::AlgRefused).expecting(names.join(", ")).finding(&jws.alg))
        }
    }
}

pub(crate) fn check_signature(key: &Key, algorithm: Algorithm, jws: &Jws<'_>) -> Result<(), Rejection> {
    if key.verify(algorithm, jws.message.as_bytes(), &jws.signature) {
        Ok(())
    } else {
        Err(Rejection::new(Reason::Signature))
    }
}

fn kid_of<'a>(jwk: &'a Json<'_>) -> Option<&'a str> {
    match jwk {
        Json::Object(jwk) => jwk.get("kid").and_then(Json::as_str),
        _ => None,
    }
}
