//! Which tokens are in use: by whom, how they are signed, how long they live, whether they are bound to a key.
//!
//! Sightings are counted in memory beside the cache of tokens, at the cost of two atomic writes a request, and handed
//! over in batches to whoever adds the roles and keeps them.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use crewgate_core::{Principal, PrincipalKind, Timestamp};
use futures_util::future::{BoxFuture, ready};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Identities an inventory holds; of more, those that were used last.
pub const MAX_SEEN: usize = 50_000;

/// The tokens of one identity with one client, as they were seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a row of every inventory")]
pub struct SeenTokens {
    /// Name of the issuer.
    pub issuer: String,
    /// The OAuth client, when tokens say so.
    pub client: Option<String>,
    /// The subject.
    pub subject: String,
    /// Person or program.
    pub kind: PrincipalKind,
    /// What they are signed with; `None` for tokens only their issuer can read.
    pub algorithm: Option<String>,
    /// From `iat` to `exp`, in seconds; `None` when the issuer does not say.
    pub lifetime_secs: Option<u64>,
    /// Whether only the holder of a key can use them.
    pub sender_constrained: bool,
    /// Roles held when they were used last.
    pub roles: BTreeSet<String>,
    /// When one was first seen.
    pub first: Timestamp,
    /// When one was used last.
    pub last: Timestamp,
}

/// Keeps what was seen.
pub trait TokenInventory: Send + Sync + 'static {
    /// Adds what was seen. Of an identity and client that are known, everything but `first` is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn note(&self, seen: Vec<SeenTokens>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// At most `limit` rows after the first `offset`, by issuer, subject and client.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn seen(&self, offset: u32, limit: u32) -> BoxFuture<'_, Result<Vec<SeenTokens>, StoreError>>;
}

/// An inventory in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryInventory(Mutex<HashMap<Key, SeenTokens>>);

impl TokenInventory for MemoryInventory {
    fn note(&self, seen: Vec<SeenTokens>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for new in seen {
            let key = (new.issuer.clone(), new.subject.clone(), new.client.clone());
            let first = rows.get(&key).map_or(new.first, |known| known.first);
            rows.insert(key, SeenTokens { first, ..new });
        }
        if rows.len() > MAX_SEEN {
            let mut used: Vec<Timestamp> = rows.values().map(|row| row.last).collect();
            used.sort_unstable();
            let oldest = used.get(rows.len() - MAX_SEEN).copied();
            rows.retain(|_, row| Some(row.last) >= oldest);
        }
        Box::pin(ready(Ok(())))
    }

    fn seen(&self, offset: u32, limit: u32) -> BoxFuture<'_, Result<Vec<SeenTokens>, StoreError>> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<&SeenTokens> = rows.values().collect();
        sorted.sort_by_key(|row| (&row.issuer, &row.subject, &row.client));
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let page = sorted.into_iter().skip(count(offset)).take(count(limit)).cloned().collect();
        Box::pin(ready(Ok(page)))
    }
}

type Key = (String, String, Option<String>);

/// Counts which tokens are used. Clones share it.
#[derive(Clone, Default)]
pub struct Sightings(Arc<Mutex<HashMap<Key, Arc<Sighting>>>>);

impl fmt::Debug for Sightings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sightings").field("identities", &self.rows().len()).finish_non_exhaustive()
    }
}

/// One identity with one client.
#[derive(Debug)]
pub(crate) struct Sighting {
    first: Timestamp,
    last: AtomicI64,
    /// Whether it was used since somebody looked.
    news: AtomicBool,
    about: Mutex<Sighted>,
}

/// What a token showed when it was seen, and when that was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sighted {
    /// Whose it is: roles are asked for with it.
    pub principal: Principal,
    algorithm: Option<&'static str>,
    lifetime_secs: Option<u64>,
    first: Timestamp,
    last: Timestamp,
}

impl Sighted {
    pub(crate) fn new(
        principal: &Principal,
        algorithm: Option<&'static str>,
        lifetime_secs: Option<u64>,
        now: Timestamp,
    ) -> Self {
        Self { principal: principal.clone(), algorithm, lifetime_secs, first: now, last: now }
    }

    /// The row to keep, with the roles that were held.
    #[must_use]
    pub fn holding(self, roles: BTreeSet<String>) -> SeenTokens {
        let Self { principal, algorithm, lifetime_secs, first, last } = self;
        SeenTokens {
            issuer: principal.key.issuer,
            client: principal.client,
            subject: principal.key.subject,
            kind: principal.kind,
            algorithm: algorithm.map(str::to_owned),
            lifetime_secs,
            sender_constrained: principal.token.sender_constrained,
            roles,
            first,
            last,
        }
    }
}

impl Sighting {
    /// It was used again.
    pub(crate) fn again(&self, now: Timestamp) {
        self.last.store(now.as_micros(), Ordering::Relaxed);
        // After the instant: who sees that there is news sees which.
        self.news.store(true, Ordering::Release);
    }
}

impl Sightings {
    fn rows(&self) -> MutexGuard<'_, HashMap<Key, Arc<Sighting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody's token was accepted. `None` when there is no room until the next [`take`](Self::take).
    pub(crate) fn of(&self, seen: Sighted) -> Option<Arc<Sighting>> {
        let principal = &seen.principal;
        let key = (principal.key.issuer.clone(), principal.key.subject.clone(), principal.client.clone());
        let mut rows = self.rows();
        if let Some(known) = rows.get(&key) {
            let now = seen.last;
            *known.about.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            known.again(now);
            return Some(Arc::clone(known));
        }
        if rows.len() >= MAX_SEEN {
            return None;
        }
        let new = Arc::new(Sighting {
            first: seen.first,
            last: AtomicI64::new(seen.last.as_micros()),
            news: AtomicBool::new(true),
            about: Mutex::new(seen),
        });
        rows.insert(key, Arc::clone(&new));
        Some(new)
    }

    /// What was seen since the last time; forgets identities whose tokens are no longer remembered.
    #[must_use]
    pub fn take(&self) -> Vec<Sighted> {
        let mut taken = Vec::new();
        self.rows().retain(|_, sighting| {
            let news = sighting.news.swap(false, Ordering::Acquire);
            if news {
                let last = Timestamp::from_micros(sighting.last.load(Ordering::Relaxed));
                let about = sighting.about.lock().unwrap_or_else(PoisonError::into_inner).clone();
                taken.push(Sighted { first: sighting.first, last, ..about });
            }
            // The other holders are cached tokens: while there is one, it is counted where it is.
            news || Arc::strong_count(sighting) > 1
        });
        taken
    }
}
