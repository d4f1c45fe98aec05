//! Keys, and what is computed with them alone: the same value gives the same token wherever the key is the same.

use std::{fmt, sync::Arc};

use aes_siv::{KeyInit as _, siv::Aes256Siv};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::Entity;

/// Bytes a secret must have: what its keys are derived from must not be guessable.
pub const MIN_KEY_BYTES: usize = 32;

/// Bytes of a keyed hash that are shown: 128 bits, so that two values never meet.
const SHOWN: usize = 16;

/// Keys for hashes, encryption and the vault, newest first: the newest writes, all of them read.
#[derive(Clone)]
pub struct Keys(Arc<[Key]>);

struct Key {
    /// Stands in tokens, so that they name the key that opens them.
    id: String,
    hash: [u8; 32],
    siv: [u8; 64],
    card: [u8; 32],
    vault: [u8; 32],
}

/// Why keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There is none.
    None,
    /// One has less than [`MIN_KEY_BYTES`].
    TooShort,
    /// The same one stands twice.
    Twice,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no key"),
            Self::TooShort => write!(f, "a key must have at least {MIN_KEY_BYTES} bytes"),
            Self::Twice => f.write_str("the same key stands twice"),
        }
    }
}

impl std::error::Error for KeyError {}

impl Keys {
    /// Derives one key per use from each secret; the newest secret comes first.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, KeyError> {
        let mut keys: Vec<Key> = Vec::new();
        for secret in secrets {
            if secret.len() < MIN_KEY_BYTES {
                return Err(KeyError::TooShort);
            }
            let key = Key::derive(secret);
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyError::Twice);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Self(keys.into())) }
    }

    fn newest(&self) -> Option<&Key> {
        self.0.first()
    }

    fn named(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Writes `<EMAIL:h:…>`: HMAC-SHA-256 over the entity and the normalised value, 128 bits in hex.
    pub(super) fn hash(&self, entity: &Entity, value: &str, out: &mut String) {
        let Some(key) = self.newest() else { return };
        let tag =
            mac(&key.hash, &[entity.name().as_bytes(), b"\0", normalised(entity.name(), value).as_bytes()]);
        let hex: String = tag.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
        out.push_str(&format!("<{}:h:{hex}>", entity.name()));
    }

    /// Writes `<EMAIL:e:KEY:…>`: AES-256-SIV (RFC 5297) with the entity as associated data.
    pub(super) fn encrypt(&self, entity: &Entity, value: &str, out: &mut String) {
        let Some(key) = self.newest() else { return };
        let sealed = Aes256Siv::new(&key.siv.into()).encrypt([entity.name()], value.as_bytes());
        match sealed {
            Ok(sealed) => {
                out.push_str(&format!("<{}:e:{}:{}>", entity.name(), key.id, BASE64.encode(sealed)))
            }
            // Not for the lengths and headers we give; a value is never shown for it.
            Err(_) => out.push_str(&format!("<{}>", entity.name())),
        }
    }

    /// What is behind a token that [`Operator::Encrypt`](super::Operator::Encrypt) wrote with one of these keys.
    #[must_use]
    pub fn decrypt(&self, token: &str) -> Option<String> {
        let (entity, rest) = token.strip_prefix('<')?.strip_suffix('>')?.split_once(":e:")?;
        let (id, sealed) = rest.split_once(':')?;
        let sealed = BASE64.decode(sealed).ok()?;
        let clear = Aes256Siv::new(&self.named(id)?.siv.into()).decrypt([entity], &sealed).ok()?;
        String::from_utf8(clear).ok()
    }

    /// The key for format-preserving encryption.
    pub(super) fn card(&self) -> Option<&[u8; 32]> {
        self.newest().map(|key| &key.card)
    }

    /// The key that seals what goes into a vault, and its name.
    pub(super) fn vault(&self) -> Option<(&str, &[u8; 32])> {
        self.newest().map(|key| (key.id.as_str(), &key.vault))
    }

    /// The key that opens what was sealed under this name.
    pub(super) fn vault_named(&self, id: &str) -> Option<&[u8; 32]> {
        self.named(id).map(|key| &key.vault)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|key| &key.id).eq(other.0.iter().map(|key| &key.id))
    }
}

impl Eq for Keys {}

impl Key {
    fn derive(secret: &[u8]) -> Self {
        // A PRF over fixed, different labels: RFC 5869 section 2.3 with one block per key.
        let part = |label: &str| mac(secret, &[b"crewgate mask v1 ", label.as_bytes()]);
        let mut siv = [0; 64];
        for (byte, from) in siv.iter_mut().zip(part("siv 1").into_iter().chain(part("siv 2"))) {
            *byte = from;
        }
        let id = part("id").iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self { id, hash: part("hash"), siv, card: part("card"), vault: part("vault") }
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length; there is no error to tell.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// One spelling for all spellings of a value: `4111-1111 …` is `41111111…`, `A@Example.com` is `a@example.com`.
pub(super) fn normalised(entity: &str, value: &str) -> String {
    match entity {
        "EMAIL" | "URL" => value.to_lowercase(),
        _ => value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[u8]) -> Keys {
        let secrets: Vec<_> = secrets.iter().map(|byte| [*byte; 32]).collect();
        Keys::new(secrets.iter().map(|secret| secret.as_slice())).unwrap()
    }

    fn written(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn spellings_of_a_value_have_one_hash_and_keys_and_entities_have_different_ones() {
        let hash = |key, entity: &Entity, value: &str| written(|out| keys(&[key]).hash(entity, value, out));
        let card = hash(1, &Entity::CreditCard, "4111 1111 1111 1111");
        assert_eq!(card, hash(1, &Entity::CreditCard, "4111-1111-1111-1111"));
        assert_ne!(card, hash(2, &Entity::CreditCard, "4111 1111 1111 1111"));
        let digits = |token: &str| token.rsplit(':').next().unwrap().to_owned();
        assert_ne!(digits(&card), digits(&hash(1, &Entity::Phone, "4111 1111 1111 1111")));
        assert_eq!(hash(1, &Entity::Email, "A@Example.com"), hash(1, &Entity::Email, "a@example.com"));
        assert_eq!(digits(&card).len(), 2 * SHOWN + 1);
    }

    #[test]
    fn what_was_encrypted_opens_with_its_key_however_old_and_with_no_other() {
        let token = written(|out| keys(&[1]).encrypt(&Entity::Email, "a@example.com", out));
        assert_eq!(token, written(|out| keys(&[1, 9]).encrypt(&Entity::Email, "a@example.com", out)));
        assert_eq!(keys(&[2, 1]).decrypt(&token).as_deref(), Some("a@example.com"));
        assert_eq!(keys(&[2]).decrypt(&token), None);
        assert_eq!(keys(&[1]).decrypt(&token.replace("EMAIL", "PHONE")), None);
        assert_ne!(token, written(|out| keys(&[2, 1]).encrypt(&Entity::Email, "a@example.com", out)));
        assert!(!token.contains("example"));
    }

    #[test]
    fn short_missing_and_doubled_keys_are_refused_and_none_shows_itself() {
        assert_eq!(Keys::new([[7; 31].as_slice()]).err(), Some(KeyError::TooShort));
        assert_eq!(Keys::new([]).err(), Some(KeyError::None));
        assert_eq!(Keys::new([[7; 32].as_slice(), &[7; 32]]).err(), Some(KeyError::Twice));
        assert_eq!(format!("{:?}", keys(&[7])).len(), "[\"01234567\"]".len());
    }
}
