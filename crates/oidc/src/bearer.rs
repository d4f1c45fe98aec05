use std::fmt;

/// A bearer token as the caller sent it. `Debug` prints `Bearer(..)`; there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(Box<str>);

impl Bearer {
    /// The token without its scheme.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into().into_boxed_str())
    }

    /// The token. Whoever reads it must not log it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
