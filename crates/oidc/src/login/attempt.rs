use std::time::Duration;

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Timestamp;
use openidconnect::url::form_urlencoded;

use super::{
    LoginError,
    session::{SessionId, keyed},
};
use crate::StoreError;

/// Time to log in at the issuer: to find a second factor, not to go to lunch.
pub const LOGIN_TIME: Duration = Duration::from_secs(10 * 60);

/// Bytes of the place to go back to.
const MAX_BACK: usize = 512;

/// A login under way, as the browser keeps it: `secret.seconds.place`. All else follows from it.
pub(super) struct Attempt {
    text: String,
    begun: Timestamp,
    back: String,
}

impl Attempt {
    pub(super) fn new(back: &str, now: Timestamp) -> Result<Self, StoreError> {
        let back = if is_here(back) { back } else { "/" };
        let secret = SessionId::random()?.reveal();
        let text = format!("{secret}.{}.{}", now.as_secs(), URL_SAFE_NO_PAD.encode(back));
        Ok(Self { text, begun: Timestamp::from_secs(now.as_secs()), back: back.to_owned() })
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (secret, begun, back) = (parts.next()?, parts.next()?, parts.next()?);
        SessionId::parse(secret)?;
        let begun = Timestamp::from_secs(begun.parse().ok()?);
        let back = String::from_utf8(URL_SAFE_NO_PAD.decode(back).ok()?).ok()?;
        (parts.next().is_none() && is_here(&back)).then(|| Self { text: text.to_owned(), begun, back })
    }

    pub(super) fn reveal(&self) -> String {
        self.text.clone()
    }

    pub(super) fn back(&self) -> &str {
        &self.back
    }

    pub(super) fn ends(&self) -> Timestamp {
        self.begun.saturating_add(LOGIN_TIME)
    }

    pub(super) fn state(&self) -> String {
        keyed(self.text.as_bytes(), b"state")
    }

    pub(super) fn nonce(&self) -> String {
        keyed(self.text.as_bytes(), b"nonce")
    }

    /// RFC 7636 section 4.1: 43 characters.
    pub(super) fn verifier(&self) -> String {
        keyed(self.text.as_bytes(), b"verifier")
    }

    /// Whether this answer is to this login, in time.
    pub(super) fn check(&self, answer: &Answer, now: Timestamp) -> Result<(), LoginError> {
        if answer.state.as_deref() != Some(self.state().as_str()) {
            return Err(LoginError::Attempt("the answer is to a login that another browser began"));
        }
        if now >= self.ends() || self.begun > now {
            return Err(LoginError::Attempt("the login took too long"));
        }
        Ok(())
    }
}

/// A path of ours: what leads elsewhere would make our address a way to anywhere.
fn is_here(back: &str) -> bool {
    back.len() <= MAX_BACK
        && back.starts_with('/')
        && back.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b))
        && !back.contains("//")
}

/// The query an issuer sends a browser back with.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) state: Option<String>,
    pub(super) code: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) error: Option<String>,
}

impl Answer {
    /// `None` when something we read stands in it twice (RFC 6749 section 3.1).
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "iss" => &mut answer.issuer,
                "error" => &mut answer.error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(answer)
    }
}

/// OpenID Connect Core 1.0 section 3.1.3.6; `None` for an algorithm without a hash to go with it.
pub(super) fn half_hash(alg: &str, token: &str) -> Option<String> {
    let of: &'static Algorithm = match alg {
        "RS256" | "PS256" | "ES256" => &SHA256,
        "RS384" | "PS384" | "ES384" => &SHA384,
        "RS512" | "PS512" | "EdDSA" | "Ed25519" => &SHA512,
        _ => return None,
    };
    let hash = digest(of, token.as_bytes());
    let (half, _) = hash.as_ref().split_at_checked(hash.as_ref().len() / 2)?;
    Some(URL_SAFE_NO_PAD.encode(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_reads_as_it_was_written_and_leads_nowhere_else() {
        let now = Timestamp::from_secs(1_000_000);
        for (back, kept) in [
            ("/approvals/0c", "/approvals/0c"),
            ("/", "/"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("", "/"),
        ] {
            let attempt = Attempt::new(back, now).unwrap();
            let read = Attempt::parse(&attempt.reveal()).unwrap();
            assert_eq!((read.back(), read.state(), read.ends()), (kept, attempt.state(), attempt.ends()));
        }
        let (one, other) = (Attempt::new("/", now).unwrap(), Attempt::new("/", now).unwrap());
        assert_ne!(one.state(), other.state());
        let values = [one.state(), one.nonce(), one.verifier()];
        assert!(values.iter().all(|value| value.len() == 43 && !one.reveal().contains(value)));
        assert!(values.windows(2).all(|two| two.first() != two.last()));
    }

    #[test]
    fn an_answer_counts_for_its_own_login_and_for_ten_minutes() {
        let now = Timestamp::from_secs(1_000_000);
        let attempt = Attempt::new("/", now).unwrap();
        let answer = Answer::parse(&format!("state={}&code=c", attempt.state())).unwrap();
        attempt.check(&answer, now).unwrap();
        assert!(attempt.check(&answer, now.saturating_add(LOGIN_TIME)).is_err());
        assert!(attempt.check(&answer, Timestamp::from_secs(999_999)).is_err());
        assert!(Attempt::new("/", now).unwrap().check(&answer, now).is_err());
        assert!(attempt.check(&Answer::default(), now).is_err());
        assert!(Answer::parse("state=a&state=a").is_none(), "which of the two counts?");
    }

    #[test]
    fn the_hash_of_an_access_token_is_that_of_the_standards_example() {
        // OpenID Connect Core 1.0 appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(half_hash("RS256", token).as_deref(), Some("77QmUPtjPfzWtF2AnpK9RQ"));
        assert_eq!(half_hash("none", token), None);
    }
}
