use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Claims, Reason, Rejection,
    json::{self, Json, Object},
};

/// Bytes of a whole token. 16 KiB is what HTTP servers take in one header; tokens in use stay under 8.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Bytes of the decoded header: it holds three short strings.
pub const MAX_HEADER: usize = 2 * 1024;

/// Bytes of a `kid`; the longest in use is a 64-digit thumbprint.
pub const MAX_KID: usize = 256;

/// A token in compact form (RFC 7515 section 3.1), taken apart and not yet believed.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// Header and payload as they were signed.
    pub(crate) message: &'a str,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] unless it is three base64url segments (no padding, no stray bits) of bounded size with
    /// a JSON object of unique members in front; [`Reason::HeaderRefused`] when that header has a member that
    /// changes what is verified or with which key.
    pub fn parse(token: &'a str) -> Result<Self, Rejection> {
        Self::read(token, &["crit", "b64", "zip", "jku", "x5u", "jwk", "x5c"]).map(|(jws, _)| jws)
    }

    /// Takes a proof apart: a token that brings its own key (RFC 9449 section 4.2), which proves only itself.
    pub(crate) fn parse_proof(token: &'a str) -> Result<(Self, Object<'static>), Rejection> {
        let (jws, jwk) = Self::read(token, &["crit", "b64", "zip", "jku", "x5u", "kid", "x5c"])?;
        match jwk {
            Some(Json::Object(jwk)) => Ok((jws, jwk)),
            _ => Err(Rejection::new(Reason::HeaderRefused).expecting("jwk as an object")),
        }
    }

    fn read(token: &'a str, refused: &[&str]) -> Result<(Self, Option<Json<'static>>), Rejection> {
        let malformed = |expected: &str| Rejection::new(Reason::Malformed).expecting(expected);
        if token.len() > MAX_TOKEN {
            return Err(malformed("at most 16 KiB").finding(&format!("{} bytes", token.len())));
        }
        let segments = token.split('.').count();
        let (Some((message, signature)), 3) = (token.rsplit_once('.'), segments) else {
            return Err(malformed("three segments").finding(&format!("{segments} segments")));
        };
        let Some((header, payload)) = message.split_once('.') else {
            return Err(malformed("three segments"));
        };
        let decode = |segment: &str| {
            URL_SAFE_NO_PAD
                .decode(segment)
                .map_err(|_| malformed("base64url without padding in every segment"))
        };
        let header = decode(header)?;
        if header.len() > MAX_HEADER {
            return Err(malformed("a header of at most 2 KiB"));
        }
        let mut header = json::parse_object(&header)
            .map_err(|e| malformed("a header that is one JSON object with unique members").finding(&e))?;
        let (alg, kid, typ) = members(&header, refused)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        let jwk = header.remove("jwk").map(Json::into_owned);
        Ok((Self { alg, kid, typ, message, payload, signature }, jwk))
    }

    /// Whether its `typ` is this media type (RFC 7515 section 4.1.9: `application/` may be left out).
    pub(crate) fn is(&self, media_type: &str) -> bool {
        let Some(typ) = self.typ.as_deref() else { return false };
        let bare = match typ.split_at_checked("application/".len()) {
            Some((kind, bare)) if kind.eq_ignore_ascii_case("application/") => bare,
            _ => typ,
        };
        bare.eq_ignore_ascii_case(media_type)
    }

    /// The payload as strictly typed claims, not yet believed.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] unless the payload is one JSON object with unique members, [`Reason::Claims`] when a
    /// required claim is missing or a registered one has the wrong type.
    pub fn claims(&self) -> Result<Claims<'_>, Rejection> {
        Claims::read(self.payload_object()?)
    }

    pub(crate) fn payload_object(&self) -> Result<Object<'_>, Rejection> {
        json::parse_object(&self.payload).map_err(|e| {
            Rejection::new(Reason::Malformed)
                .expecting("a payload that is one JSON object with unique members")
                .finding(&e)
        })
    }
}

fn members(
    header: &Object<'_>,
    refuse: &[&str],
) -> Result<(String, Option<String>, Option<String>), Rejection> {
    let refused = |expected: &str, found: &str| {
        Rejection::new(Reason::HeaderRefused).expecting(expected).finding(found)
    };
    // RFC 8725: extensions we do not implement (`crit`, `b64`), compression bombs (`zip`), and keys or places to
    // fetch keys from that the *sender* chose. A key comes from the issuer or from nowhere.
    if let Some(name) = refuse.iter().find(|name| header.contains_key(name)) {
        return Err(refused(&format!("none of {}", refuse.join(", ")), name));
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.to_string())),
        Some(other) => Err(refused(&format!("{name} as a string"), other.kind())),
    };
    let Some(alg) = text("alg")? else { return Err(refused("alg", "no alg")) };
    let kid = text("kid")?;
    if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
        return Err(refused("a kid of at most 256 bytes", "a longer one"));
    }
    text("cty")?;
    Ok((alg, kid, text("typ")?))
}
