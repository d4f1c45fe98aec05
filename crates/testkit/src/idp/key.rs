//! Signing keys of the development provider.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA 2048 with PKCS#1 v1.5 and SHA-256; takes a noticeable moment to make.
    Rs256,
}

impl KeyKind {
    /// The `alg` of its tokens.
    #[must_use]
    pub fn alg(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

pub(super) struct SigningKey {
    kid: String,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[expect(clippy::expect_used, reason = "test keys: the library fails only without memory or entropy")]
impl SigningKey {
    pub(super) fn generate(kind: KeyKind, kid: String) -> Self {
        let pair = match kind {
            KeyKind::EdDsa => Pair::Ed(Ed25519KeyPair::generate().expect("an Ed25519 key")),
            KeyKind::Es256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key"))
            }
            KeyKind::Rs256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key")),
        };
        Self { kid, pair }
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self.pair {
            Pair::Ed(_) => KeyKind::EdDsa,
            Pair::Ec(_) => KeyKind::Es256,
            Pair::Rsa(_) => KeyKind::Rs256,
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed(key) => key.sign(message).as_ref().to_vec(),
            Pair::Ec(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }

    /// The public key as RFC 7517 writes it.
    pub(super) fn jwk(&self) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let alg = self.kind().alg();
        let kid = &self.kid;
        match &self.pair {
            Pair::Ed(key) => {
                let x = b64(key.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": alg, "kid": kid })
            }
            Pair::Ec(key) => {
                // 0x04, then the two coordinates (SEC 1, section 2.3.3).
                let point = key.public_key().as_ref();
                let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
                json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y), "use": "sig", "alg": alg, "kid": kid })
            }
            Pair::Rsa(key) => {
                let public = key.public_key();
                let n = b64(public.modulus().big_endian_without_leading_zero());
                let e = b64(public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": e, "use": "sig", "alg": alg, "kid": kid })
            }
        }
    }

    /// The public key as a PEM `SubjectPublicKeyInfo` (RFC 7468).
    pub(super) fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'static> = match &self.pair {
            Pair::Ed(key) => key.public_key().as_der(),
            Pair::Ec(key) => key.public_key().as_der(),
            Pair::Rsa(key) => key.public_key().as_der(),
        }
        .expect("a public key has a DER form");
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}
