use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crewgate_core::{Fact, Timestamp};
use futures_util::future::{BoxFuture, ready};

use super::session::{
    MAX_SESSIONS, MAX_SESSIONS_EACH, NewSession, SESSION_TOUCH, Session, SessionKey, SessionStore, SessionsOf,
};
use crate::StoreError;

type Record = dyn Fn(&[Fact]) -> Result<(), StoreError> + Send + Sync;
type Rows = BTreeMap<SessionKey, (Session, Timestamp)>;

/// Sessions in memory, for tests and for services whose people may log in again after a restart.
pub struct MemorySessions {
    // A std mutex: held for a look at a map, never across an await.
    rows: Mutex<Rows>,
    record: Box<Record>,
}

impl MemorySessions {
    /// An empty one that keeps no record.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Mutex::default(), record: Box::new(|_| Ok(())) }
    }

    /// Where the facts of each change go. It is called before the change happens; an error prevents it.
    #[must_use]
    pub fn record(
        mut self,
        record: impl Fn(&[Fact]) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        self.record = Box::new(record);
        self
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_now(&self, new: NewSession) -> Result<(), StoreError> {
        let mut rows = self.rows();
        let now = new.session.begun;
        rows.retain(|_, (session, seen)| session.lasts(*seen, now));
        let mut own: Vec<_> = rows
            .iter()
            .filter(|(key, (session, _))| {
                session.is_of(&new.session.principal.key.issuer, &new.session.sub) && Some(**key) != new.over
            })
            .map(|(key, (session, _))| (session.begun, *key))
            .collect();
        own.sort_unstable();
        let surplus = (own.len() + 1).saturating_sub(MAX_SESSIONS_EACH);
        let ended: Vec<_> = own.into_iter().take(surplus).map(|(_, key)| key).chain(new.over).collect();
        let gone: Vec<_> = ended.iter().filter_map(|key| rows.get(key)).map(|(row, _)| row.ends()).collect();
        if rows.len() - gone.len() >= MAX_SESSIONS {
            return Err(StoreError::Unavailable("there are as many sessions as can be".to_owned()));
        }
        (self.record)(&gone.into_iter().chain([new.session.begins()]).collect::<Vec<_>>())?;
        for key in ended {
            rows.remove(&key);
        }
        rows.insert(new.key, (new.session, now));
        Ok(())
    }

    fn resume_now(&self, key: SessionKey, now: Timestamp) -> Option<Session> {
        let mut rows = self.rows();
        let (session, seen) = rows.get_mut(&key).filter(|(session, seen)| session.lasts(*seen, now))?;
        if now.since(*seen) >= SESSION_TOUCH {
            *seen = now;
        }
        Some(session.clone())
    }

    fn end_those(
        &self,
        now: Timestamp,
        which: impl Fn(&SessionKey, &Session) -> bool,
    ) -> Result<usize, StoreError> {
        let mut rows = self.rows();
        rows.retain(|_, (session, seen)| session.lasts(*seen, now));
        let ended: Vec<_> =
            rows.iter().filter(|(key, (row, _))| which(key, row)).map(|(key, _)| *key).collect();
        let facts: Vec<_> = ended.iter().filter_map(|key| rows.get(key)).map(|(row, _)| row.ends()).collect();
        if !facts.is_empty() {
            (self.record)(&facts)?;
        }
        rows.retain(|key, _| !ended.contains(key));
        Ok(ended.len())
    }
}

impl Default for MemorySessions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions").field("sessions", &self.rows().len()).finish_non_exhaustive()
    }
}

impl SessionStore for MemorySessions {
    fn begin(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ready(self.begin_now(new)))
    }

    fn resume(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        Box::pin(ready(Ok(self.resume_now(key, now))))
    }

    fn end(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(ready(self.end_those(now, |row, _| *row == key).map(|ended| ended > 0)))
    }

    fn end_all(&self, which: SessionsOf, now: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        Box::pin(ready(self.end_those(now, |_, session| which.covers(session))))
    }
}
