use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hmac, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::AuditError;

/// Bytes of an AES-GCM nonce.
const NONCE: usize = 12;

/// A 256-bit key that seals what lies beside the log, with AES-256-GCM. Three of them stand in a row: the house's key
/// seals the key of each person, a person's key those of their records, and a record's key its content. Destroying one
/// makes everything behind it unreadable, wherever there are copies. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the system has no random bytes.
    pub fn generate() -> Result<Self, AuditError> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| AuditError::Unavailable)?;
        Ok(Self(key))
    }

    /// Reads the base64 of 32 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        BASE64.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// The base64 of its bytes, for the one place that keeps it.
    #[must_use]
    pub fn expose(&self) -> String {
        BASE64.encode(self.0)
    }

    /// A secret for another purpose, of all who have this key: HMAC-SHA256 over the purpose's name. It says nothing of
    /// this key.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        hmac::sign(&key, purpose.as_bytes()).as_ref().to_vec()
    }

    /// Encrypts: nonce, ciphertext, tag. It opens only under the same `context`.
    ///
    /// # Errors
    ///
    /// [`AuditError::Invalid`] for what is too long for the cipher.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, AuditError> {
        let invalid = |_| AuditError::Invalid;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(invalid)?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(context), &mut sealed).map_err(invalid)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts; `None` when it was sealed with another key or context, or changed since.
    #[must_use]
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::from(context), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// Seals another key.
    ///
    /// # Errors
    ///
    /// Never for a key; see [`seal`](Self::seal).
    pub fn wrap(&self, context: &[u8], key: &Self) -> Result<Vec<u8>, AuditError> {
        self.seal(context, &key.0)
    }

    /// Opens another key.
    #[must_use]
    pub fn unwrap_key(&self, context: &[u8], sealed: &[u8]) -> Option<Self> {
        self.open(context, sealed)?.try_into().ok().map(Self)
    }

    /// What stands for a person where the record must be found by them: the same each time, and nobody without this
    /// key can tell whose it is.
    #[must_use]
    pub fn pseudonym(&self, person: &str) -> [u8; 16] {
        let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        let tag = mac(mac(&self.0, b"pseudonym").as_ref(), person.as_bytes());
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_its_key_and_context_alone() {
        let [key, other] = [(); 2].map(|()| SealKey::generate().unwrap());
        let sealed = key.seal(b"leaf 7", b"secret").unwrap();
        assert_eq!(key.open(b"leaf 7", &sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(key.open(b"leaf 8", &sealed), None);
        assert_eq!(other.open(b"leaf 7", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"leaf 7", &changed), None, "byte {at}");
        }
        assert_eq!(key.open(b"leaf 7", b"short"), None);
        assert_ne!(key.seal(b"leaf 7", b"secret").unwrap(), sealed, "each has a nonce of its own");
    }

    #[test]
    fn keys_are_wrapped_and_spelled() {
        let [house, person] = [(); 2].map(|()| SealKey::generate().unwrap());
        let wrapped = house.wrap(b"anna", &person).unwrap();
        assert_eq!(house.unwrap_key(b"anna", &wrapped).map(|key| key.0), Some(person.0));
        assert!(house.unwrap_key(b"bob", &wrapped).is_none());
        assert_eq!(SealKey::parse(&house.expose()).map(|key| key.0), Some(house.0));
        assert!(SealKey::parse("c2hvcnQ=").is_none());
        assert!(!format!("{house:?}").contains(&house.expose()));
    }

    #[test]
    fn a_pseudonym_is_steady_and_tells_nothing_without_the_key() {
        let [key, other] = [(); 2].map(|()| SealKey::generate().unwrap());
        assert_eq!(key.pseudonym("okta:anna"), key.pseudonym("okta:anna"));
        assert_ne!(key.pseudonym("okta:anna"), key.pseudonym("okta:bob"));
        assert_ne!(key.pseudonym("okta:anna"), other.pseudonym("okta:anna"));
    }
}
