use std::sync::Arc;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ParsedPublicKey, RsaPublicKeyComponents},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Algorithm,
    json::{Json, Object},
    jws::MAX_KID,
    roca,
};

/// One public key of an issuer, parsed for the algorithms it may be used with.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    /// SHA-256 over kind and material: the same key published again is the same key.
    thumbprint: [u8; 32],
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

impl Key {
    /// Reads one JWK (RFC 7517). The error says why the key is not used.
    /// `also` is a `use` that counts like `sig`.
    pub(crate) fn read(jwk: &Object<'_>, also: Option<&str>) -> Result<Self, &'static str> {
        let text = |name| match jwk.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.as_ref())),
            Some(_) => Err("a member has the wrong type"),
        };
        let kid = text("kid")?.map(str::to_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err("kid is too long");
        }
        if text("use")?.is_some_and(|purpose| purpose != "sig" && Some(purpose) != also) {
            return Err("use is not sig");
        }
        if jwk.get("key_ops").is_some_and(|ops| !ops.names("verify")) {
            return Err("key_ops does not contain verify");
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| jwk.contains_key(name)) {
            return Err("the private part is published with it: anybody can sign");
        }
        let only: Option<Algorithm> =
            text("alg")?.map(str::parse).transpose().map_err(|_| "alg is not an accepted one")?;
        let bytes = |name| {
            let encoded = text(name)?.ok_or("a parameter is missing")?;
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| "a parameter is not base64url")
        };
        let (possible, material): (&[Algorithm], Vec<u8>) = match (text("kty")?, text("crv")?) {
            (Some("RSA"), _) => return Self::rsa(kid, only, &bytes("n")?, &bytes("e")?),
            (Some("EC"), Some("P-256")) => (&[Algorithm::Es256], point(&bytes("x")?, &bytes("y")?, 32)?),
            (Some("EC"), Some("P-384")) => (&[Algorithm::Es384], point(&bytes("x")?, &bytes("y")?, 48)?),
            (Some("EC"), Some("P-521")) => (&[Algorithm::Es512], point(&bytes("x")?, &bytes("y")?, 66)?),
            (Some("OKP"), Some("Ed25519")) => (&[Algorithm::EdDsa], bytes("x")?),
            (Some("oct"), _) => return Err("a symmetric key cannot be public"),
            _ => return Err("kty or crv is not an accepted one"),
        };
        let verifiers = agreeing(possible, only)?
            .into_iter()
            .map(|algorithm| {
                let curve = algorithm.curve().ok_or("alg does not fit kty")?;
                let key = ParsedPublicKey::new(curve, &material).map_err(|_| "not a point on the curve")?;
                Ok((algorithm, key))
            })
            .collect::<Result<_, &'static str>>()?;
        Ok(Self { kid, thumbprint: thumbprint(possible, &[&material]), verifiers })
    }

    fn rsa(kid: Option<String>, only: Option<Algorithm>, n: &[u8], e: &[u8]) -> Result<Self, &'static str> {
        const POSSIBLE: &[Algorithm] = &[
            Algorithm::Rs256,
            Algorithm::Rs384,
            Algorithm::Rs512,
            Algorithm::Ps256,
            Algorithm::Ps384,
            Algorithm::Ps512,
        ];
        let (n, e) = (trimmed(n), trimmed(e));
        let bits = n.len().saturating_mul(8)
            - n.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or(0));
        if !(2048..=8192).contains(&bits) {
            return Err("an RSA key must have 2048 to 8192 bits");
        }
        let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        if !odd(n) || !odd(e) || e.len() > 4 || e == [1] {
            return Err("an RSA exponent must be odd, at least 3 and below 2^32, and the modulus odd");
        }
        if roca::is_suspect(n) {
            return Err("the RSA key has the ROCA weakness (CVE-2017-15361)");
        }
        let components = RsaPublicKeyComponents { n, e };
        let verifiers = agreeing(POSSIBLE, only)?
            .into_iter()
            .map(|algorithm| {
                let parameters = algorithm.rsa().ok_or("alg does not fit kty")?;
                let key = components.to_parsed_public_key(parameters).map_err(|_| "not an RSA key")?;
                Ok((algorithm, key))
            })
            .collect::<Result<_, &'static str>>()?;
        Ok(Self { kid, thumbprint: thumbprint(POSSIBLE, &[n, e]), verifiers })
    }

    pub(crate) fn supports(&self, algorithm: Algorithm) -> bool {
        self.verifiers.iter().any(|(known, _)| *known == algorithm)
    }

    /// Algorithms the key is for, for explanations.
    pub(crate) fn algorithms(&self) -> String {
        let names: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm.name()).collect();
        names.join(", ")
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifiers
            .iter()
            .find(|(known, _)| *known == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    /// Whether both are the same material under the same name.
    pub(crate) fn same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (self.kid == other.kid && self.thumbprint == other.thumbprint)
    }
}

/// The algorithms a key may be used with: all its kind can do, or the one its `alg` names.
fn agreeing(possible: &[Algorithm], only: Option<Algorithm>) -> Result<Vec<Algorithm>, &'static str> {
    match only {
        None => Ok(possible.to_vec()),
        Some(only) if possible.contains(&only) => Ok(vec![only]),
        Some(_) => Err("alg does not fit kty and crv"),
    }
}

/// An uncompressed point (SEC 1 section 2.3.3). Coordinates have the full length of the field (RFC 7518 section 6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    if x.len() != length || y.len() != length {
        return Err("a coordinate does not have the length of its curve");
    }
    Ok([&[4], x, y].concat())
}

/// Without leading zeros, which RFC 7518 forbids and some issuers write.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn thumbprint(kind: &[Algorithm], parts: &[&[u8]]) -> [u8; 32] {
    let mut text = kind.first().map_or("", |first| first.name()).to_owned().into_bytes();
    for part in parts {
        text.extend_from_slice(&part.len().to_be_bytes());
        text.extend_from_slice(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &text).as_ref());
    out
}

/// RFC 7638 over a key's members as they stand: base64url of SHA-256. They are those of a key that was parsed: base64url
/// and known names, so nothing needs escaping.
pub(crate) fn key_thumbprint<'a>(member: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let names: &[&str] = match member("kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members = names.iter().map(|name| Some(format!("\"{name}\":\"{}\"", member(name)?)));
    let text = format!("{{{}}}", members.collect::<Option<Vec<_>>>()?.join(","));
    Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())))
}
