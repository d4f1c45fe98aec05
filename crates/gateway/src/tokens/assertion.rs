//! A client's own signature instead of a secret: `private_key_jwt` (RFC 7523 as RFC 10070 tightens it).

use std::{fmt, path::Path, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Timestamp;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::json;

use super::SourceError;

/// How long an assertion counts: it is made for one request.
const LIFE: Duration = Duration::from_secs(60);

/// A private key in PKCS#8: P-256 (ES256), Ed25519 (EdDSA) or RSA (RS256).
pub(super) enum ClientKey {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({})", self.alg())
    }
}

impl ClientKey {
    /// Reads a PEM file.
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let wrong =
            |what: &str| SourceError::Configuration(format!("the client key {}: {what}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem)
            .map_err(|_| wrong("not a PEM file with a private key in PKCS#8 (`BEGIN PRIVATE KEY`)"))?;
        let der = der.secret_pkcs8_der();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(Self::Ec)
            .or_else(|_| Ed25519KeyPair::from_pkcs8(der).map(Self::Ed))
            .or_else(|_| RsaKeyPair::from_pkcs8(der).map(Self::Rsa))
            .map_err(|_| wrong("neither a P-256, an Ed25519 nor an RSA key of at least 2048 bits"))
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        }
    }

    /// A fresh assertion of `client` for `issuer` alone: an audience of more (a token endpoint, a list) could be
    /// replayed by a server that another server's metadata points to.
    pub(super) fn assertion(
        &self,
        client: &str,
        issuer: &str,
        now: Timestamp,
    ) -> Result<String, SourceError> {
        let header = json!({ "alg": self.alg(), "typ": "client-authentication+jwt" });
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": issuer,
            "iat": now.as_secs(),
            "exp": now.saturating_add(LIFE).as_secs(),
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SourceError> {
        let failed = |_| SourceError::Unavailable("the client key could not sign".to_owned());
        let random = SystemRandom::new();
        match self {
            Self::Ec(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::Ed(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};

    use super::*;

    #[test]
    fn an_assertion_names_the_issuer_alone_once_and_for_a_minute() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let path = std::env::temp_dir().join(format!("crewgate-client-key-{}.pem", std::process::id()));
        std::fs::write(&path, pair.serialize_pem()).unwrap();
        let key = ClientKey::read(&path).unwrap();
        let now = Timestamp::from_secs(1_781_524_800);
        let assertion = key.assertion("ci", "https://idp.example", now).unwrap();
        let (message, signature) = assertion.rsplit_once('.').unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(read(header), json!({ "alg": "ES256", "typ": "client-authentication+jwt" }));
        let (claims, second) = (read(claims), key.assertion("ci", "https://idp.example", now).unwrap());
        assert_eq!(claims["aud"], "https://idp.example");
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("ci"), &json!("ci")));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        assert_ne!(read(second.split('.').nth(1).unwrap())["jti"], claims["jti"]);
        let ClientKey::Ec(pair) = &key else { panic!("{key:?}") };
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        std::fs::write(&path, "no key").unwrap();
        assert!(ClientKey::read(&path).unwrap_err().to_string().contains("PKCS#8"));
        std::fs::remove_file(&path).unwrap();
    }
}
