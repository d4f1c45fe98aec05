//! Tokens that are refused before they expire: by subject, client, issuer or id.
//!
//! What counts is kept in a [`RevocationStore`] that all replicas share. Each holds a copy of it, asks several times a
//! second whether it has changed, and refuses everybody when it could not ask for [`STALE`]: a revocation that cannot
//! be read must not be one that does not count.

mod memory;
mod store;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crewgate_core::{Clock, Principal, PrincipalKey, RevokedTokens, Timestamp};
use tokio::time::Instant;

pub use self::{
    memory::MemoryRevocations,
    store::{Lift, MAX_REVOCATIONS, Revocation, RevocationStore, RevokeError, StoreError},
};
use crate::{IssuerConfig, Reason, Rejection};

/// How often a replica asks whether revocations have changed: three times before a second is over.
pub const REVOCATION_POLL: Duration = Duration::from_millis(300);

/// For so long a replica goes on with what it knew when the store cannot be read; then it refuses.
pub const STALE: Duration = Duration::from_secs(5);

/// What revocations could hit about a token that was believed.
#[derive(Debug, Clone, Copy)]
pub struct Revocable<'a> {
    principal: &'a Principal,
    /// `sub`, where the principal is called otherwise.
    alias: Option<&'a str>,
    /// Names of issuers, and their ids of it.
    ids: &'a [(Box<str>, Box<str>)],
    issued: Option<Timestamp>,
}

impl<'a> Revocable<'a> {
    /// What a principal shows: enough for revocations by subject, client and issuer.
    #[must_use]
    pub fn of(principal: &'a Principal) -> Self {
        Self { principal, alias: None, ids: &[], issued: Some(principal.token.issued) }
    }

    pub(crate) fn named(self, alias: Option<&'a str>, ids: &'a [(Box<str>, Box<str>)]) -> Self {
        Self { alias, ids, ..self }
    }

    /// Its issuer does not say when it was issued: it may have been before anything.
    pub(crate) fn of_unknown_age(self) -> Self {
        Self { issued: None, ..self }
    }
}

/// What is revoked, checked at every request against a copy in memory. Clones share it.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    store: Arc<dyn RevocationStore>,
    clock: Arc<dyn Clock>,
    lives: HashMap<String, Life>,
    // Held to look or to exchange, never across an await.
    copy: RwLock<Known>,
}

/// How long tokens of an issuer may live, and how far its clock may be from ours.
#[derive(Clone, Copy)]
struct Life {
    longest: Duration,
    skew: Duration,
}

#[derive(Default)]
struct Known {
    version: u64,
    by_issuer: HashMap<String, Marks>,
    read: Option<Instant>,
}

/// What is revoked of one issuer.
#[derive(Default)]
struct Marks {
    epoch: Option<Mark>,
    subjects: HashMap<String, Mark>,
    clients: HashMap<String, Mark>,
    ids: HashMap<String, Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    before: Timestamp,
    until: Timestamp,
}

impl Mark {
    /// A token whose age is not known is as old as can be.
    fn hits(self, issued: Option<Timestamp>, now: Timestamp) -> bool {
        now < self.until && issued.is_none_or(|issued| issued <= self.before)
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revocations(..)")
    }
}

impl Revocations {
    /// Revocations of tokens of these issuers. Nobody is let in before they were [read](Self::refresh) once.
    pub fn new<'a>(
        store: Arc<dyn RevocationStore>,
        clock: Arc<dyn Clock>,
        issuers: impl IntoIterator<Item = &'a IssuerConfig>,
    ) -> Self {
        let life = |config: &IssuerConfig| {
            (config.name.clone(), Life { longest: config.max_lifetime, skew: config.skew })
        };
        let lives = issuers.into_iter().map(life).collect();
        Self(Arc::new(Inner { store, clock, lives, copy: RwLock::default() }))
    }

    /// Asks the store whether something has changed, and reads it when it has.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: what was known before goes on counting, for [`STALE`] at most.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let inner = &*self.0;
        let asked = Instant::now();
        // First: what changes between the two questions is read again with the next version.
        let version = inner.store.version().await?;
        let known = {
            let mut copy = inner.copy.write().unwrap_or_else(PoisonError::into_inner);
            let known = copy.read.is_some() && copy.version == version;
            if known {
                copy.read = copy.read.max(Some(asked));
            }
            known
        };
        if known {
            return Ok(());
        }
        let mut by_issuer = HashMap::<String, Marks>::new();
        for row in inner.store.standing(inner.clock.now()).await? {
            let mark = Mark { before: row.before, until: row.until };
            let marks = by_issuer.entry(row.tokens.issuer().to_owned()).or_default();
            match row.tokens {
                RevokedTokens::Client { client, .. } => drop(marks.clients.insert(client, mark)),
                RevokedTokens::Subject { principal } => drop(marks.subjects.insert(principal.subject, mark)),
                RevokedTokens::Token { id, .. } => drop(marks.ids.insert(id, mark)),
                // Of a kind that is not known here: all of the issuer's, rather than none.
                _ => marks.epoch = Some(mark),
            }
        }
        let mut copy = inner.copy.write().unwrap_or_else(PoisonError::into_inner);
        // Two may read at once; the one that asked later knows better.
        if copy.read.is_none_or(|read| read <= asked) {
            *copy = Known { version, by_issuer, read: Some(asked) };
        }
        Ok(())
    }

    /// Keeps up with the store; never ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops that; [`STALE`] later everybody is refused.
    pub async fn keep_fresh(self) {
        let mut failing = false;
        loop {
            match self.refresh().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "revocations cannot be read: soon everybody is refused");
                    }
                }
            }
            tokio::time::sleep(REVOCATION_POLL).await;
        }
    }

    /// Whether what a replica knows is younger than [`STALE`].
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.0.copy.read().unwrap_or_else(PoisonError::into_inner).is_fresh()
    }

    /// Whether a token still counts.
    ///
    /// # Errors
    ///
    /// [`Reason::IssuerRevoked`], [`Reason::SubjectRevoked`], [`Reason::ClientRevoked`], [`Reason::TokenRevoked`];
    /// [`Reason::RevocationsUnknown`] when the store could not be read for too long.
    pub fn check(&self, token: &Revocable<'_>) -> Result<(), Rejection> {
        let copy = self.0.copy.read().unwrap_or_else(PoisonError::into_inner);
        if !copy.is_fresh() {
            return Err(Rejection::new(Reason::RevocationsUnknown)
                .expecting(format!("revocations read within {} s", STALE.as_secs()))
                .finding("none, or older ones")
                .retry_after(Duration::from_secs(1)));
        }
        if copy.by_issuer.is_empty() {
            return Ok(());
        }
        match copy.hit(token, self.0.clock.now()) {
            None => Ok(()),
            Some((Reason::TokenRevoked, _)) => Err(Rejection::new(Reason::TokenRevoked)
                .expecting("a jti that is not revoked")
                .finding("one that is")),
            Some((reason, mark)) => {
                let issued = token.issued.map_or("no iat".to_owned(), |issued| format!("iat {issued}"));
                Err(Rejection::new(reason).expecting(format!("iat after {}", mark.before)).finding(&issued))
            }
        }
    }

    /// Revokes tokens that were issued until now (or until `before`, by the issuer's clock) and were not refused anyway.
    /// Counts here at once, on the other replicas within a second.
    ///
    /// Without `before` the difference of clocks that is forgiven to the issuer is added: for so long new tokens are
    /// refused too, rather than an old one taken for new.
    ///
    /// # Errors
    ///
    /// [`RevokeError`].
    pub async fn revoke(
        &self,
        tokens: RevokedTokens,
        before: Option<Timestamp>,
        by: Option<PrincipalKey>,
        reason: Option<String>,
    ) -> Result<Revocation, RevokeError> {
        let life = *self.0.lives.get(tokens.issuer()).ok_or(RevokeError::IssuerUnknown)?;
        let at = self.0.clock.now();
        let latest = at.saturating_add(life.skew);
        // An instant that lies ahead is a mistake of the other side's, and means "all".
        let before = before.map_or(latest, |before| before.min(latest));
        let until = match &tokens {
            RevokedTokens::Token { .. } => latest,
            _ => before,
        };
        let until = until.saturating_add(life.longest).saturating_add(life.skew);
        let made = self.0.store.revoke(Revocation { tokens, before, until, at, by, reason }).await?;
        self.now().await;
        Ok(made)
    }

    /// Takes a revocation back. Counts here at once, on the other replicas within a second.
    ///
    /// # Errors
    ///
    /// [`RevokeError`].
    pub async fn lift(
        &self,
        tokens: RevokedTokens,
        by: PrincipalKey,
        reason: Option<String>,
    ) -> Result<(), RevokeError> {
        self.0.store.lift(Lift { tokens, at: self.0.clock.now(), by, reason }).await?;
        self.now().await;
        Ok(())
    }

    /// What has not ended, as the store knows it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn standing(&self) -> Result<Vec<Revocation>, StoreError> {
        self.0.store.standing(self.0.clock.now()).await
    }

    /// The change is durable; that it cannot be read back at once is made up for by the next look.
    async fn now(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a change of revocations cannot be read back yet");
        }
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.read.is_some_and(|read| read.elapsed() < STALE)
    }

    /// The first revocation that hits: the widest first.
    fn hit(&self, token: &Revocable<'_>, now: Timestamp) -> Option<(Reason, Mark)> {
        let key = &token.principal.key;
        let hits = |mark: &&Mark| mark.hits(token.issued, now);
        let issuers =
            std::iter::once(key.issuer.as_str()).chain(token.ids.iter().map(|(issuer, _)| &**issuer));
        let mut marks = issuers.filter_map(|issuer| self.by_issuer.get(issuer));
        if let Some(mark) = marks.find_map(|marks| marks.epoch.as_ref().filter(hits)) {
            return Some((Reason::IssuerRevoked, *mark));
        }
        if let Some(marks) = self.by_issuer.get(&key.issuer) {
            let subjects = std::iter::once(key.subject.as_str()).chain(token.alias);
            let mut found = subjects.filter_map(|subject| marks.subjects.get(subject));
            if let Some(mark) = found.find(hits) {
                return Some((Reason::SubjectRevoked, *mark));
            }
            let client = token.principal.client.as_deref().and_then(|client| marks.clients.get(client));
            if let Some(mark) = client.filter(hits) {
                return Some((Reason::ClientRevoked, *mark));
            }
        }
        let ids = token.ids.iter().filter_map(|(issuer, id)| self.by_issuer.get(&**issuer)?.ids.get(&**id));
        ids.copied().find(|mark| now < mark.until).map(|mark| (Reason::TokenRevoked, mark))
    }
}
