//! Proof of possession (RFC 9449): the caller signs every request with the key its token is bound to.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Timestamp;
use http::{Method, Uri};

use crate::{
    Reason, Rejection,
    algorithm::DEFAULT_ALGORITHMS,
    json::{Json, Object},
    jws::Jws,
    key::{Key, key_thumbprint},
    keyset::allowed_algorithm,
    replay::{NONCE_LIFE, Nonces, Replays, Seen},
};

/// How old a proof may be; it is made for one request. Clocks may differ by as much the other way.
pub const PROOF_AGE: std::time::Duration = std::time::Duration::from_secs(60);

/// Bytes of a `jti`.
const MAX_JTI: usize = 256;

/// A proof as it came, and the request it must be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) jwt: Box<str>,
    pub(crate) method: Method,
    /// The public address of the resource, without query.
    pub(crate) target: String,
}

/// Checks proofs: remembers which were used, and gives out nonces when it demands them.
#[derive(Debug)]
pub(crate) struct Proofs {
    replays: Replays,
    nonces: Option<Nonces>,
}

impl Proofs {
    /// Demands one of these nonces, where there are any.
    pub(crate) fn new(nonces: Option<Nonces>) -> Self {
        Self { replays: Replays::default(), nonces }
    }

    /// Checks that the holder of the key `thumbprint` (RFC 7638, base64url) made this proof now, for this request with
    /// this token, and that it was not used before. The checks are those of RFC 9449 section 4.3, in its order.
    pub(crate) fn check(
        &self,
        proof: &Proof,
        thumbprint: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        let (jws, jwk) = Jws::parse_proof(&proof.jwt).map_err(as_proof)?;
        if jws.typ.as_deref() != Some("dpop+jwt") {
            return Err(wrong("typ dpop+jwt", jws.typ.as_deref().unwrap_or("no typ")));
        }
        let algorithm = allowed_algorithm(&jws, &DEFAULT_ALGORITHMS).map_err(as_proof)?;
        let key = Key::read(&jwk, None).map_err(|why| wrong("a public key that may sign", why))?;
        if !key.supports(algorithm) || !key.verify(algorithm, jws.message.as_bytes(), &jws.signature) {
            return Err(wrong("the signature of the key in it", "another"));
        }
        let claims = jws.payload_object().map_err(as_proof)?;
        let id = text(&claims, "jti")?;
        if id.is_empty() || id.len() > MAX_JTI {
            return Err(wrong("a jti of 1 to 256 bytes", "another"));
        }
        let method = text(&claims, "htm")?;
        if method != proof.method.as_str() {
            return Err(wrong(&format!("htm {}", proof.method), method));
        }
        let target = text(&claims, "htu")?;
        if !same_resource(target, &proof.target) {
            return Err(wrong(&format!("htu {}", proof.target), target));
        }
        self.fresh(&claims, now)?;
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
        if text(&claims, "ath")? != hash {
            return Err(wrong("ath of the token that came with it", "another"));
        }
        let own = key_thumbprint(|name| jwk.get(name).and_then(Json::as_str))
            .ok_or_else(|| wrong("a complete key", "parts of one"))?;
        if own != thumbprint {
            return Err(wrong("the key the token is bound to", "another key"));
        }
        // Last, so that only who holds the key can fill the memory.
        match self.replays.see(&own, id, now) {
            Seen::First => Ok(()),
            Seen::Again => Err(wrong("a proof that was not used before", "one that was")),
            Seen::Full => Err(Rejection::new(Reason::ProofsFull).retry_after(PROOF_AGE)),
        }
    }

    fn fresh(&self, claims: &Object<'_>, now: Timestamp) -> Result<(), Rejection> {
        let Some(Json::Integer(issued)) = claims.get("iat") else {
            return Err(wrong("iat as a number of seconds since 1970", "none or another"));
        };
        let issued = Timestamp::from_secs(*issued);
        if issued.saturating_add(PROOF_AGE) < now || issued > now.saturating_add(PROOF_AGE) {
            return Err(wrong(&format!("iat within {} s of now", PROOF_AGE.as_secs()), &issued.to_string()));
        }
        let Some(nonces) = &self.nonces else { return Ok(()) };
        match claims.get("nonce") {
            Some(Json::String(nonce)) if nonces.holds(nonce, now) => Ok(()),
            _ => Err(Rejection::new(Reason::NonceWanted)
                .expecting(format!("the nonce of the answer, good for {} s", NONCE_LIFE.as_secs()))
                .offering(nonces.issue(now))),
        }
    }
}

/// RFC 9449 section 4.3, after RFC 3986 section 6.2: scheme and host without case, the scheme's own port left out, an
/// empty path like `/`; query and fragment do not count.
fn same_resource(stated: &str, ours: &str) -> bool {
    let parts = |text: &str| {
        let uri: Uri = text.split(['?', '#']).next()?.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or(match scheme.as_str() {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        })?;
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Some((scheme, uri.host()?.to_ascii_lowercase(), port, path.to_owned()))
    };
    matches!((parts(stated), parts(ours)), (Some(stated), Some(ours)) if stated == ours)
}

fn text<'a>(claims: &'a Object<'a>, name: &str) -> Result<&'a str, Rejection> {
    let found = claims.get(name);
    found
        .and_then(Json::as_str)
        .ok_or_else(|| wrong(&format!("{name} as a string"), found.map_or_else(|| "nothing", Json::kind)))
}

fn wrong(expected: &str, found: &str) -> Rejection {
    Rejection::new(Reason::Proof).expecting(expected).finding(found)
}

/// What is wrong with the shape of a proof is told like what is wrong with a token, as a fault of the proof.
fn as_proof(rejection: Rejection) -> Rejection {
    wrong(rejection.expected().unwrap_or("a signed JWT"), rejection.found().unwrap_or("another"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_has_several_spellings_and_another_has_none() {
        let ours = "https://gate.example/support/kickoff";
        for same in
            [ours, "HTTPS://Gate.Example:443/support/kickoff", "https://gate.example/support/kickoff?x=1#y"]
        {
            assert!(same_resource(same, ours), "{same}");
        }
        for other in [
            "http://gate.example/support/kickoff",
            "https://gate.example:8443/support/kickoff",
            "https://gate.example/support/Kickoff",
            "https://gate.example/support/kickoff/",
            "https://evil.example/support/kickoff",
            "/support/kickoff",
            "",
        ] {
            assert!(!same_resource(other, ours), "{other}");
        }
        assert!(same_resource("https://gate.example", "https://gate.example/"));
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let jwk = crate::json::parse_object(
            br#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
        )
        .unwrap();
        assert_eq!(
            key_thumbprint(|name| jwk.get(name).and_then(Json::as_str)).as_deref(),
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
    }
}
