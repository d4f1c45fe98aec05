//! Tokens as issuers make them, and as somebody might change them: each signed by a published key after the changes to
//! its header and claims, and before those to its text.

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::{prelude::RngExt, test_runner::TestRng};
use serde_json::{Value, json};

use crate::{draft::Draft, text};

/// What all three are told to expect.
pub(crate) const ISSUER: &str = "https://idp.test";
pub(crate) const AUDIENCE: &str = "crewgate";
pub(crate) const SKEW: i64 = 30;
pub(crate) const MAX_LIFETIME: i64 = 3600;

pub(crate) struct Case {
    /// Index of the key set it is held against.
    pub(crate) set: usize,
    pub(crate) token: String,
    /// What was changed; the rules that explain a refusal name these.
    pub(crate) changes: Vec<String>,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pub(crate) alg: &'static str,
    pair: Pair,
}

/// The issuer's keys, and the sets of them that it publishes, well and badly.
pub(crate) struct Issuer {
    pub(crate) keys: Vec<Key>,
    pub(crate) sets: Vec<Value>,
    /// Names of the sets; the first two are in order.
    pub(crate) set_names: Vec<&'static str>,
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key()) }),
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve =
                    ["P-256", "P-384", "P-521"][[32, 48, 66].iter().position(|n| *n == x.len()).unwrap()];
                json!({ "kty": "EC", "crv": curve, "x": b64(x), "y": b64(y) })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let n = b64(public.modulus().big_endian_without_leading_zero());
                let e = b64(public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": e })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let scheme: &'static dyn aws_lc_rs::signature::RsaEncoding = match alg {
                    "PS256" => &RSA_PSS_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(scheme, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// The public key as an attacker would use it for an HMAC: the text of its PEM.
    pub(crate) fn pem(&self) -> String {
        let der = match &self.pair {
            Pair::Ed(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        };
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.unwrap().as_ref())
        )
    }
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let ec = |algorithm| Pair::Ec(EcdsaKeyPair::generate(algorithm).unwrap());
        let rsa = || Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        let keys = vec![
            Key { kid: "p256", alg: "ES256", pair: ec(&ECDSA_P256_SHA256_FIXED_SIGNING) },
            Key { kid: "p256-b", alg: "ES256", pair: ec(&ECDSA_P256_SHA256_FIXED_SIGNING) },
            Key { kid: "p384", alg: "ES384", pair: ec(&ECDSA_P384_SHA384_FIXED_SIGNING) },
            Key { kid: "p521", alg: "ES512", pair: ec(&ECDSA_P521_SHA512_FIXED_SIGNING) },
            Key { kid: "ed", alg: "EdDSA", pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) },
            Key { kid: "rsa", alg: "RS256", pair: rsa() },
            Key { kid: "pss", alg: "PS256", pair: rsa() },
        ];
        let all: Vec<Value> = keys.iter().map(Key::jwk).collect();
        let mut named = all.clone();
        for (key, jwk) in keys.iter().zip(&mut named) {
            jwk["alg"] = json!(key.alg);
        }
        let changed = |change: &dyn Fn(&mut Vec<Value>)| {
            let mut set = all.clone();
            change(&mut set);
            json!({ "keys": set })
        };
        let every = |name: &'static str, value: Value| {
            changed(&move |set| set.iter_mut().for_each(|jwk| jwk[name] = value.clone()))
        };
        let operations = |operation: &'static str| {
            changed(&move |set| {
                for jwk in set {
                    jwk.as_object_mut().unwrap().remove("use");
                    jwk["key_ops"] = json!([operation]);
                }
            })
        };
        let sets: Vec<(&str, Value)> = vec![
            ("plain", json!({ "keys": all })),
            ("with alg", json!({ "keys": named })),
            ("one key", json!({ "keys": [all[0]] })),
            (
                "one key without kid",
                changed(&|set| {
                    set.truncate(1);
                    set[0].as_object_mut().unwrap().remove("kid");
                }),
            ),
            ("a kid twice", changed(&|set| set[1]["kid"] = json!("p256"))),
            ("for encryption", every("use", json!("enc"))),
            ("for other operations", operations("encrypt")),
            ("for verification", operations("verify")),
            (
                "alg of others",
                changed(&|set| {
                    for (jwk, alg) in
                        set.iter_mut().zip(["ES384", "RS256", "ES256", "ES256", "ES256", "PS256", "RS256"])
                    {
                        jwk["alg"] = json!(alg);
                    }
                }),
            ),
            ("private part", every("d", json!(b64([7; 32])))),
            (
                "with a symmetric key",
                changed(&|set| {
                    set.push(json!({ "kty": "oct", "kid": "mac", "k": b64([1; 32]), "alg": "HS256" }));
                }),
            ),
        ];
        let (set_names, sets) = sets.into_iter().unzip();
        Self { keys, sets, set_names }
    }

    /// One token: in a quarter of all cases as it should be, otherwise with one or two changes.
    pub(crate) fn token(&self, rng: &mut TestRng, now: i64) -> Case {
        let set =
            if rng.random_bool(0.7) { rng.random_range(0..2) } else { rng.random_range(0..self.sets.len()) };
        let mut changes = Vec::new();
        if set > 1 {
            changes.push(format!("set {}", self.set_names[set]));
        }
        let key = &self.keys[if (2..=3).contains(&set) { 0 } else { rng.random_range(0..self.keys.len()) }];
        let mut draft = Draft::good(rng, key, now);
        let mut late = 0;
        let count = if set > 1 { rng.random_range(0..2) } else { [0, 1, 1, 1, 2, 2][rng.random_range(0..6)] };
        for _ in 0..count {
            match rng.random_range(0..10) {
                0..4 => changes.push(draft.change_header(rng, self, key)),
                4..8 => changes.push(draft.change_claims(rng, now)),
                _ => late += 1,
            }
        }
        let mut token = draft.sign(rng, key);
        for _ in 0..late {
            changes.push(text::change(rng, &mut token));
        }
        Case { set, token, changes }
    }
}
