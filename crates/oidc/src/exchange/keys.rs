use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{InvalidConfig, key::key_thumbprint};

/// A key tokens of ours are signed with: P-256 (`ES256`) or Ed25519 (`EdDSA`). Its `Debug` shows its id alone.
pub struct SigningKey {
    pair: Pair,
    jwk: Value,
    kid: String,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key in PEM (PKCS #8), as `openssl genpkey` writes it.
    ///
    /// # Errors
    ///
    /// When it is no such key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidConfig> {
        let wrong = || {
            let text = "not a private key in PEM (PKCS #8) of kind P-256 or Ed25519";
            InvalidConfig(text.to_owned())
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| wrong())?;
        let der = der.secret_pkcs8_der();
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (pair, mut jwk) =
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
                // An uncompressed point: 4, x, y.
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).and_then(|point| point.split_at_checked(32)).ok_or_else(wrong)?;
                let jwk =
                    json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y), "alg": "ES256" });
                (Pair::Ec(pair), jwk)
            } else {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| wrong())?;
                let x = encoded(pair.public_key().as_ref());
                (Pair::Ed(pair), json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA" }))
            };
        let kid = key_thumbprint(|name| jwk.get(name).and_then(Value::as_str)).ok_or_else(wrong)?;
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(kid));
            members.insert("use".to_owned(), json!("sig"));
        }
        Ok(Self { pair, jwk, kid })
    }

    /// RFC 7638: the same key has the same id everywhere.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The token (RFC 7515 section 3.1) with these claims; `None` on a system without randomness.
    pub(super) fn sign(&self, typ: &str, claims: &Value) -> Option<String> {
        let header = json!({ "alg": self.jwk.get("alg"), "kid": self.kid, "typ": typ });
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?,
            Pair::Ed(pair) => pair.try_sign(message.as_bytes()).ok()?,
        };
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// What is published of these keys (RFC 7517).
pub(super) fn published(keys: &[SigningKey]) -> Bytes {
    let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
    json!({ "keys": keys }).to_string().into()
}
