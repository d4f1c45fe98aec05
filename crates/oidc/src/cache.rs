use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use crewgate_core::{Principal, Timestamp};

use crate::{claims::Times, key::Key};

/// Verified tokens remembered. One entry is about a kilobyte; ten thousand callers are more than a company has awake.
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
    pub(crate) key: Arc<Key>,
    pub(crate) binding: Binding,
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

/// Tokens that were verified, at most so many. Two generations instead of a list: what is used moves to the young
/// one, when that is full it becomes the old one, and what was not used since then is gone.
#[derive(Debug)]
pub(crate) struct TokenCache {
    generations: Mutex<Generations>,
    half: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Arc<Verified>>,
    old: HashMap<Digest, Arc<Verified>>,
}

impl TokenCache {
    /// `None` for a capacity below two: no cache.
    pub(crate) fn new(capacity: usize) -> Option<Self> {
        let half = capacity / 2;
        (half > 0).then(|| Self { generations: Mutex::default(), half })
    }

    /// The entry, while its token has not ended and `trusted` says that its key still counts. Drops it otherwise.
    pub(crate) fn find(
        &self,
        digest: &Digest,
        now: Timestamp,
        trusted: impl FnOnce(&Verified) -> bool,
    ) -> Option<Arc<Verified>> {
        let entry = {
            let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            match generations.young.get(digest) {
                Some(entry) => Arc::clone(entry),
                None => {
                    let entry = generations.old.remove(digest)?;
                    generations.put(self.half, *digest, Arc::clone(&entry));
                    entry
                }
            }
        };
        // Outside the lock: `trusted` takes the issuer's.
        if now < entry.times.expires && trusted(&entry) {
            return Some(entry);
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(digest);
        generations.old.remove(digest);
        None
    }

    pub(crate) fn insert(&self, digest: Digest, entry: Arc<Verified>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.old.remove(&digest);
        generations.put(self.half, digest, entry);
    }

    pub(crate) fn len(&self) -> usize {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.len() + generations.old.len()
    }
}

impl Generations {
    fn put(&mut self, half: usize, digest: Digest, entry: Arc<Verified>) {
        if self.young.len() >= half && !self.young.contains_key(&digest) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
    }
}
