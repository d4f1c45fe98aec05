//! Where what stands behind numbers and tokens is kept, sealed.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use crewgate_core::Timestamp;

use super::{Issued, Keys};

/// A boxed future, so that a vault can be chosen when the program starts.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes of an AES-GCM nonce (NIST SP 800-38D section 8.2.2, random construction).
const NONCE: usize = 12;

/// One issued token as it is kept: whoever reads the vault learns no value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// The run, or whatever else its tokens belong to together.
    pub scope: String,
    /// The token as it stands in masked text.
    pub token: String,
    /// Name of the entity.
    pub entity: String,
    /// Which key opens it.
    pub key: String,
    /// Nonce and ciphertext (AES-256-GCM) over the value.
    pub sealed: Vec<u8>,
    /// When it is forgotten.
    pub expires: Timestamp,
}

impl Sealed {
    /// One that was kept somewhere.
    #[must_use]
    pub fn new(
        scope: impl Into<String>,
        token: impl Into<String>,
        entity: impl Into<String>,
        key: impl Into<String>,
        sealed: Vec<u8>,
        expires: Timestamp,
    ) -> Self {
        Self {
            scope: scope.into(),
            token: token.into(),
            entity: entity.into(),
            key: key.into(),
            sealed,
            expires,
        }
    }
}

/// The vault could not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultError(pub String);

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the vault failed: {}", self.0)
    }
}

impl std::error::Error for VaultError {}

/// Keeps issued tokens. It sees none of their values: they come sealed.
///
/// # Cancel safety
///
/// Dropping a future leaves its change either wholly done or not done.
pub trait Vault: Send + Sync + 'static {
    /// Keeps these; a token that is there already stays as it is. `Ok` means that they are durable.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    fn keep(&self, issued: Vec<Sealed>) -> BoxFuture<'_, Result<(), VaultError>>;

    /// Everything kept under a scope that has not expired.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    fn of<'a>(&'a self, scope: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Vec<Sealed>, VaultError>>;

    /// What belongs to one scope belongs to another from now on: a call has become a run.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    fn adopt<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), VaultError>>;

    /// Forgets what has expired, and says how much that was.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    fn forget(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, VaultError>>;
}

/// Seals and opens what a vault keeps.
#[derive(Debug, Clone)]
pub struct VaultKeys(pub Keys);

impl VaultKeys {
    /// Seals with the newest key, bound to its token. `None` when the system has no randomness.
    #[must_use]
    pub fn seal(&self, scope: &str, issued: &Issued, expires: Timestamp) -> Option<Sealed> {
        let (key, secret) = self.0.vault()?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let bound = bound(&issued.token, &issued.entity);
        let payload = Payload { msg: issued.value.as_bytes(), aad: &bound };
        let sealed = Aes256Gcm::new(secret.into()).encrypt(&nonce.into(), payload).ok()?;
        let sealed = [nonce.as_slice(), &sealed].concat();
        Some(Sealed::new(scope, issued.token.as_str(), issued.entity.as_str(), key, sealed, expires))
    }

    /// Opens what one of the keys sealed; `None` when none did, or when it was changed.
    #[must_use]
    pub fn open(&self, sealed: &Sealed) -> Option<Issued> {
        let secret = self.0.vault_named(&sealed.key)?;
        let (nonce, rest) = sealed.sealed.split_first_chunk::<NONCE>()?;
        let bound = bound(&sealed.token, &sealed.entity);
        let payload = Payload { msg: rest, aad: &bound };
        let clear = Aes256Gcm::new(secret.into()).decrypt(&(*nonce).into(), payload).ok()?;
        let value = String::from_utf8(clear).ok()?;
        Some(Issued::new(sealed.token.as_str(), sealed.entity.as_str(), value))
    }
}

/// What a sealed value cannot be taken away from. Not the scope: a call becomes a run.
fn bound(token: &str, entity: &str) -> Vec<u8> {
    format!("crewgate vault v1\0{entity}\0{token}").into_bytes()
}

/// Keeps them in memory: gone with the process.
#[derive(Debug, Default)]
pub struct MemoryVault(Mutex<BTreeMap<(String, String), Sealed>>);

impl MemoryVault {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut BTreeMap<(String, String), Sealed>) -> T,
    ) -> BoxFuture<'_, Result<T, VaultError>> {
        let done = act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(std::future::ready(Ok(done)))
    }
}

impl Vault for MemoryVault {
    fn keep(&self, issued: Vec<Sealed>) -> BoxFuture<'_, Result<(), VaultError>> {
        self.with(|kept| {
            for one in issued {
                kept.entry((one.scope.clone(), one.token.clone())).or_insert(one);
            }
        })
    }

    fn of<'a>(&'a self, scope: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Vec<Sealed>, VaultError>> {
        self.with(|kept| {
            kept.values().filter(|one| one.scope == scope && one.expires > now).cloned().collect()
        })
    }

    fn adopt<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        self.with(|kept| {
            let moved: Vec<_> = kept.extract_if(.., |(scope, _), _| scope == from).collect();
            for ((_, token), mut one) in moved {
                one.scope = to.to_owned();
                kept.entry((to.to_owned(), token)).or_insert(one);
            }
        })
    }

    fn forget(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, VaultError>> {
        self.with(|kept| {
            let before = kept.len();
            kept.retain(|_, one| one.expires > now);
            u64::try_from(before - kept.len()).unwrap_or(u64::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8) -> VaultKeys {
        VaultKeys(Keys::new([[byte; 32].as_slice()]).unwrap())
    }

    #[test]
    fn what_is_kept_shows_no_value_and_cannot_be_moved_to_another_token() {
        let issued = Issued::new("<EMAIL_1>", "EMAIL", "maria@example.com");
        let mut sealed = keys(1).seal("run", &issued, Timestamp::from_micros(10)).unwrap();
        assert!(!sealed.sealed.windows(5).any(|five| five == b"maria"));
        assert_eq!(keys(1).open(&sealed), Some(issued.clone()));
        assert_eq!(keys(2).open(&sealed), None);
        sealed.token = "<EMAIL_2>".to_owned();
        assert_eq!(keys(1).open(&sealed), None);
        let again = keys(1).seal("run", &issued, Timestamp::from_micros(10)).unwrap();
        assert_ne!(again.sealed, keys(1).seal("run", &issued, Timestamp::from_micros(10)).unwrap().sealed);
    }
}
