use std::fmt;

use http::Method;

use crate::dpop::Proof;

/// A token as the caller sent it, with what came beside it to prove that it is the caller's own. `Debug` prints
/// `Bearer(..)`; there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    token: Box<str>,
    proof: Option<Box<Proof>>,
    certificate: Option<[u8; 32]>,
}

impl Bearer {
    /// The token without its scheme.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into().into_boxed_str(), proof: None, certificate: None }
    }

    /// Came with the scheme `DPoP` and this proof, for this method of the resource at this public address (RFC 9449).
    #[must_use]
    pub fn with_proof(self, jwt: impl Into<String>, method: Method, target: impl Into<String>) -> Self {
        let proof = Proof { jwt: jwt.into().into_boxed_str(), method, target: target.into() };
        Self { proof: Some(Box::new(proof)), ..self }
    }

    /// Came over a connection whose TLS client certificate has this SHA-256 (RFC 8705).
    #[must_use]
    pub fn with_certificate(self, thumbprint: [u8; 32]) -> Self {
        Self { certificate: Some(thumbprint), ..self }
    }

    /// The token. Whoever reads it must not log it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.token
    }

    pub(crate) fn proof(&self) -> Option<&Proof> {
        self.proof.as_deref()
    }

    pub(crate) fn certificate(&self) -> Option<&[u8; 32]> {
        self.certificate.as_ref()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_token_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Bearer::new("eyJ.secret.sig")), "Bearer(..)");
    }
}
