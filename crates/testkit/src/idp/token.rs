//! Any token a test needs: good ones, and every kind of bad one.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Timestamp;
use serde_json::{Map, Value, json};

use super::Shared;

/// A token in the making; [`sign`](Self::sign) ends it well, [`sign_none`](Self::sign_none) and its like badly.
#[derive(Debug, Clone)]
#[must_use = "a token is made by signing it"]
pub struct TokenBuilder {
    shared: Arc<Shared>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    removed: Vec<String>,
    issued: Timestamp,
    lifetime: Duration,
    key: Option<String>,
}

impl TokenBuilder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let issued = shared.clock.now();
        let claims = Map::from_iter([
            ("iss".to_owned(), json!(shared.url)),
            ("sub".to_owned(), json!("alice")),
            ("aud".to_owned(), json!("crewgate")),
        ]);
        Self {
            shared,
            header: Map::new(),
            claims,
            removed: Vec::new(),
            issued,
            lifetime: Duration::from_secs(300),
            key: None,
        }
    }

    /// The `sub` claim.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// The `groups` claim.
    pub fn groups<I>(self, groups: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        self.claim("groups", groups)
    }

    /// The `aud` claim as one string.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// The `iss` claim: another one than this provider's makes a bad token.
    pub fn issuer(self, issuer: &str) -> Self {
        self.claim("iss", issuer)
    }

    /// The OAuth client: `client_id` and `azp`.
    pub fn client(self, client: &str) -> Self {
        self.claim("client_id", client).claim("azp", client)
    }

    /// From `iat` to `exp`, in whole seconds.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The `iat` claim.
    pub fn issued_at(mut self, issued: Timestamp) -> Self {
        self.issued = issued;
        self
    }

    /// Ended an hour ago.
    pub fn expired(mut self) -> Self {
        let hour_and_life = Duration::from_secs(3600).saturating_add(self.lifetime);
        self.issued = self.shared.clock.now().saturating_sub(hour_and_life);
        self
    }

    /// Any claim; one set here wins over the computed `iat` and `exp`.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves this claim out.
    pub fn without(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    /// Any header parameter; one set here wins over `alg`, `kid` and `typ`.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves `kid` out of the header.
    pub fn without_kid(self) -> Self {
        self.header("kid", Value::Null)
    }

    /// Signs with this published key instead of the newest; unknown kids are ignored.
    pub fn key(mut self, kid: &str) -> Self {
        self.key = Some(kid.to_owned());
        self
    }

    /// The signed token.
    #[must_use]
    pub fn sign(self) -> String {
        let key =
            self.key.as_deref().and_then(|kid| self.shared.key(kid)).unwrap_or_else(|| self.shared.current());
        let header = self.header_text(key.kind().alg(), key.kid());
        assemble(&header, &self.claims_text(), |message| key.sign(message))
    }

    /// A token of `alg: none` with an empty signature.
    #[must_use]
    pub fn sign_none(self) -> String {
        let header = self.header_text("none", self.shared.current().kid());
        assemble(&header, &self.claims_text(), |_| Vec::new())
    }

    /// A token of `alg: HS256` whose secret is the *public* key in PEM: the classic key confusion.
    #[must_use]
    pub fn sign_hs256_with_public_key(self) -> String {
        let current = self.shared.current();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, current.public_pem().as_bytes());
        let header = self.header_text("HS256", current.kid());
        assemble(&header, &self.claims_text(), |message| hmac::sign(&secret, message).as_ref().to_vec())
    }

    /// A token with a good signature whose header names a key nobody published.
    #[must_use]
    pub fn sign_with_unknown_kid(self) -> String {
        self.header("kid", "nobody-published-this").sign()
    }

    fn header_text(&self, alg: &str, kid: &str) -> String {
        let mut header = Map::from_iter([
            ("alg".to_owned(), json!(alg)),
            ("typ".to_owned(), json!("at+jwt")),
            ("kid".to_owned(), json!(kid)),
        ]);
        header.extend(self.header.clone());
        header.retain(|_, value| !value.is_null());
        Value::Object(header).to_string()
    }

    fn claims_text(&self) -> String {
        let issued = self.issued.as_secs();
        let expires = self.issued.saturating_add(self.lifetime).as_secs();
        let mut claims =
            Map::from_iter([("iat".to_owned(), json!(issued)), ("exp".to_owned(), json!(expires))]);
        claims.extend(self.claims.clone());
        claims.retain(|name, _| !self.removed.contains(name));
        Value::Object(claims).to_string()
    }
}

/// The compact serialisation (RFC 7515, section 3.1).
pub(super) fn assemble(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}
