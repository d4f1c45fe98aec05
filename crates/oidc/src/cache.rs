use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{Principal, Timestamp};

use crate::{claims::Times, inventory::Sighting, key::Key};

/// Verified tokens remembered. One of twenty groups takes 1.2 kB; ten thousand callers are more than a company has awake.
pub const DEFAULT_CACHED_TOKENS: usize = 10_000;

/// SHA-256 of a token: the cache never holds one.
pub(crate) type Digest = [u8; 32];

/// A token that passed every check, and what must still hold for that to count.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) principal: Principal,
    pub(crate) times: Times,
    /// Index of the issuer.
    pub(crate) issuer: usize,
    /// What vouches for it.
    pub(crate) witness: Witness,
    pub(crate) binding: Binding,
    pub(crate) names: Names,
    /// What it is signed with, when it is.
    pub(crate) algorithm: Option<&'static str>,
    /// Where its use is counted.
    pub(crate) sighting: Option<Arc<Sighting>>,
}

/// What a token can be revoked by beyond what its principal shows.
#[derive(Debug)]
pub(crate) struct Names {
    /// `sub`, where the principal is called otherwise.
    pub(crate) alias: Option<Box<str>>,
    /// Names of issuers, and their ids of it (`jti`).
    pub(crate) ids: Box<[(Box<str>, Box<str>)]>,
    /// Whether the issuer says when it was issued.
    pub(crate) dated: bool,
}

/// What vouches for a token that was verified.
#[derive(Debug)]
pub(crate) enum Witness {
    /// A key, while it is published.
    Key(Arc<Key>),
    /// The issuer's own word, until this instant.
    Issuer(Timestamp),
}

/// Who may use a token (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Whoever bears it.
    None,
    /// The holder of the key with this thumbprint (RFC 7638).
    Key(Box<str>),
    /// The TLS client with the certificate of this SHA-256.
    Certificate([u8; 32]),
}

/// At most so many entries by digest. Two generations instead of a list: what is used moves to the young one, when that
/// is full it becomes the old one, and what was not used since then is gone.
#[derive(Debug)]
struct Generations<V> {
    young: HashMap<Digest, V>,
    old: HashMap<Digest, V>,
    half: usize,
}

impl<V: Clone> Generations<V> {
    fn new(half: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half }
    }

    fn find(&mut self, digest: &Digest) -> Option<V> {
        if let Some(entry) = self.young.get(digest) {
            return Some(entry.clone());
        }
        let entry = self.old.remove(digest)?;
        self.put(*digest, entry.clone());
        Some(entry)
    }

    fn put(&mut self, digest: Digest, entry: V) {
        self.old.remove(&digest);
        if self.young.len() >= self.half && !self.young.contains_key(&digest) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
    }

    fn remove(&mut self, digest: &Digest) {
        self.young.remove(digest);
        self.old.remove(digest);
    }
}

/// Tokens that were verified.
#[derive(Debug)]
pub(crate) struct TokenCache(Mutex<Generations<Arc<Verified>>>);

impl TokenCache {
    /// `None` for a capacity below two: no cache.
    pub(crate) fn new(capacity: usize) -> Option<Self> {
        let half = capacity / 2;
        (half > 0).then(|| Self(Mutex::new(Generations::new(half))))
    }

    /// The entry, while its token has not ended and `trusted` says that what vouched for it still does. Drops it
    /// otherwise.
    pub(crate) fn find(
        &self,
        digest: &Digest,
        now: Timestamp,
        trusted: impl FnOnce(&Verified) -> bool,
    ) -> Option<Arc<Verified>> {
        let entry = self.lock().find(digest)?;
        // Outside the lock: `trusted` takes the issuer's.
        if now < entry.times.expires && trusted(&entry) {
            return Some(entry);
        }
        self.lock().remove(digest);
        None
    }

    pub(crate) fn insert(&self, digest: Digest, entry: Arc<Verified>) {
        self.lock().put(digest, entry);
    }

    pub(crate) fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    fn lock(&self) -> MutexGuard<'_, Generations<Arc<Verified>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opaque tokens their issuers did not vouch for, remembered for so long that a stranger's repetition costs nothing.
#[derive(Debug)]
pub(crate) struct Inactive(Mutex<Generations<Timestamp>>);

impl Default for Inactive {
    fn default() -> Self {
        Self(Mutex::new(Generations::new(DEFAULT_CACHED_TOKENS / 2)))
    }
}

impl Inactive {
    /// Until when it is known to be inactive, while it is.
    pub(crate) fn find(&self, digest: &Digest, now: Timestamp) -> Option<Timestamp> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).find(digest);
        found.filter(|until| now < *until)
    }

    pub(crate) fn insert(&self, digest: Digest, until: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(digest, until);
    }
}
