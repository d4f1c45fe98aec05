use std::{borrow::Cow, time::Duration};

use crewgate_core::Timestamp;

use crate::{
    Reason, Rejection,
    json::{Json, Object},
};

/// Bytes of a `sub`: OpenID Connect says 255, GitHub's grow with repository and environment names.
pub const MAX_SUBJECT: usize = 1024;

/// Registered claims with the types they must have. Reading them is not believing them.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    pub(crate) subject: Cow<'a, str>,
    pub(crate) times: Times,
    /// `client_id`, else `azp`, else `cid` (Okta), else `appid` (Entra).
    pub(crate) client: Option<Cow<'a, str>>,
    pub(crate) all: Object<'a>,
}

/// When a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) not_before: Option<Timestamp>,
}

impl<'a> Claims<'a> {
    pub(crate) fn read(all: Object<'a>) -> Result<Self, Rejection> {
        let subject = required(string(&all, "sub")?, "sub")?;
        if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
            return Err(wrong("sub of 1 to 1024 bytes without control characters", "another"));
        }
        match all.get("aud") {
            None => return Err(wrong("aud", "no aud")),
            Some(aud) if aud.strings().is_none() => {
                return Err(wrong("aud as a string or a list of strings", aud.kind()));
            }
            Some(_) => {}
        }
        let times = Self::times(&all)?;
        // All are read, so that a wrong type in any of them is seen.
        string(&all, "jti")?;
        let (client_id, azp, cid, appid) =
            (string(&all, "client_id")?, string(&all, "azp")?, string(&all, "cid")?, string(&all, "appid")?);
        let client = client_id.or(azp).or(cid).or(appid);
        Ok(Self { subject, times, client, all })
    }

    /// When it is valid.
    pub(crate) fn times(all: &Object<'_>) -> Result<Times, Rejection> {
        Ok(Times {
            issued: required(instant(all, "iat")?, "iat")?,
            expires: required(instant(all, "exp")?, "exp")?,
            not_before: instant(all, "nbf")?,
        })
    }

    /// For whom the token is.
    pub(crate) fn audience(&self) -> impl Iterator<Item = &str> {
        audience(&self.all)
    }
}

impl Times {
    /// Whether the token is valid at `now`.
    pub(crate) fn check(
        &self,
        now: Timestamp,
        skew: Duration,
        max_lifetime: Duration,
    ) -> Result<(), Rejection> {
        if self.expires <= self.issued || self.expires.since(self.issued) > max_lifetime {
            let found = self.expires.since(self.issued).as_secs();
            return Err(Rejection::new(Reason::Lifetime)
                .expecting(format!("exp at most {} s after iat", max_lifetime.as_secs()))
                .finding(&format!("{found} s")));
        }
        if now >= self.expires.saturating_add(skew) {
            return Err(Rejection::new(Reason::Expired).finding(&format!("exp {}, now {now}", self.expires)));
        }
        let latest = now.saturating_add(skew);
        for (name, instant) in [("iat", Some(self.issued)), ("nbf", self.not_before)] {
            if let Some(instant) = instant.filter(|instant| *instant > latest) {
                return Err(Rejection::new(Reason::NotYetValid)
                    .expecting(format!("{name} not more than {} s ahead", skew.as_secs()))
                    .finding(&format!("{name} {instant}, now {now}")));
            }
        }
        Ok(())
    }
}

fn wrong(expected: &str, found: &str) -> Rejection {
    Rejection::new(Reason::Claims).expecting(expected).finding(found)
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Rejection> {
    value.ok_or_else(|| wrong(name, &format!("no {name}")))
}

fn string<'a>(claims: &Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(&format!("{name} as a string"), other.kind())),
    }
}

/// For whom these claims are; for nobody when it does not say so as it must.
pub(crate) fn audience<'a>(claims: &'a Object<'_>) -> impl Iterator<Item = &'a str> {
    claims.get("aud").and_then(Json::strings).into_iter().flatten()
}

/// A NumericDate (RFC 7519 section 2): seconds, a fraction allowed, below 2^53 where doubles are still exact.
pub(crate) fn instant(claims: &Object<'_>, name: &str) -> Result<Option<Timestamp>, Rejection> {
    const LIMIT: i64 = 1 << 53;
    let expected = || format!("{name} as a number of seconds since 1970");
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Integer(secs)) if (0..LIMIT).contains(secs) => Ok(Some(Timestamp::from_secs(*secs))),
        Some(Json::Float(secs)) => Duration::try_from_secs_f64(*secs)
            .ok()
            .filter(|since| since.as_secs() < 1 << 53)
            .and_then(|since| i64::try_from(since.as_micros()).ok())
            .map(|micros| Some(Timestamp::from_micros(micros)))
            .ok_or_else(|| wrong(&expected(), "a number out of range")),
        Some(Json::Integer(_)) => Err(wrong(&expected(), "a number out of range")),
        Some(other) => Err(wrong(&expected(), other.kind())),
    }
}
