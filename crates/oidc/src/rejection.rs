use std::{fmt, time::Duration};

use crewgate_core::{Challenge, Layer, Refusal};
use http::StatusCode;

use crate::{Reason, Step, algorithm::PROOF_ALGORITHMS};

/// Why a token was not accepted. Shows the caller what was expected, except of clients and claims; what was found instead is for
/// [`Explanation`](crate::Explanation) alone, because it comes out of a token nobody vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    reason: Reason,
    expected: Option<Box<str>>,
    found: Option<Box<str>>,
    retry_after: Option<Duration>,
    nonce: Option<Box<str>>,
}

/// Characters of a foreign value that an explanation shows.
const MAX_FOUND: usize = 200;

impl Rejection {
    /// A rejection for this reason.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, expected: None, found: None, retry_after: None, nonce: None }
    }

    /// Says what would have been accepted; the caller reads it, except at [`Step::Requirements`].
    #[must_use]
    pub fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into().into_boxed_str());
        self
    }

    /// Says what was there instead; only an explanation shows it, escaped and cut at 200 characters.
    #[must_use]
    pub fn finding(mut self, found: &str) -> Self {
        let mut text: String = found.chars().take(MAX_FOUND).flat_map(char::escape_debug).collect();
        if found.chars().nth(MAX_FOUND).is_some() {
            text.push('…');
        }
        self.found = Some(text.into_boxed_str());
        self
    }

    /// Says when trying again may help.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Gives a nonce to repeat the request with.
    pub(crate) fn offering(mut self, nonce: String) -> Self {
        self.nonce = Some(nonce.into_boxed_str());
        self
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The check that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.reason.step()
    }

    /// What would have been accepted.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// What was there instead. Comes from the token: not for other callers' eyes.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// The typed answer: 401 with a challenge, 400 for a request that cannot be right, 503 for an issuer that is
    /// not ready. Nothing of the token is in it.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        let status = self.reason.status();
        let mut refusal = Refusal::new(Layer::Identity, status, self.reason.code(), self.to_string());
        if status == StatusCode::UNAUTHORIZED {
            refusal = refusal.with_challenge(Challenge {
                error: self.reason.challenge(),
                proof: self.reason.is_about_proof().then_some(PROOF_ALGORITHMS),
                nonce: self.nonce.map(Into::into),
            });
        }
        if let Some(after) = self.retry_after {
            refusal = refusal.with_retry_after(after);
        }
        refusal
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

/// What was wrong, what was expected, and what to do about it.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.summary())?;
        // Whose tenants, clients and projects are accepted is for whoever may ask `token explain`.
        let told = self.step() != Step::Requirements;
        if let Some(expected) = self.expected.as_ref().filter(|_| told) {
            write!(f, " (expected: {expected})")?;
        }
        write!(f, ". {}", self.reason.advice())
    }
}

impl std::error::Error for Rejection {}
