use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// The prompts a crew may be given, each with an id that rules know it by. Compared by digest, so that a prompt may be
/// listed without being written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    listed: BTreeMap<[u8; 32], String>,
    /// Whether other prompts pass too, without an id.
    pub(crate) any: bool,
}

impl Prompts {
    /// No prompts: an input that must be one is always refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists a prompt by its text.
    ///
    /// # Errors
    ///
    /// The id under which it is listed already.
    pub fn text(&mut self, id: impl Into<String>, text: &str) -> Result<(), String> {
        self.sha256(id, Sha256::digest(text.as_bytes()).into())
    }

    /// Lists a prompt by the SHA-256 of its UTF-8 text.
    ///
    /// # Errors
    ///
    /// The id under which it is listed already.
    pub fn sha256(&mut self, id: impl Into<String>, digest: [u8; 32]) -> Result<(), String> {
        match self.listed.get(&digest) {
            Some(first) => Err(first.clone()),
            None => {
                self.listed.insert(digest, id.into());
                Ok(())
            }
        }
    }

    /// Lets prompts pass that are not listed; rules see no id of theirs.
    #[must_use]
    pub fn or_any(mut self, any: bool) -> Self {
        self.any = any;
        self
    }

    /// Whether none is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The ids, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<_> = self.listed.values().map(String::as_str).collect();
        ids.sort_unstable();
        ids
    }

    /// The id of this text.
    pub(crate) fn id(&self, text: &str) -> Option<&str> {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        self.listed.get(&digest).map(String::as_str)
    }
}
