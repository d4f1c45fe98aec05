use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::fill,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::{Fact, Principal, PrincipalKey, Timestamp};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// A session nobody uses for so long has ended.
pub const SESSION_IDLE: Duration = Duration::from_secs(15 * 60);

/// A session ends after this time however much it is used: a working day.
pub const SESSION_LIFE: Duration = Duration::from_secs(8 * 3600);

/// Use is noted once in this time, so that reading a page is not a write each time.
pub const SESSION_TOUCH: Duration = Duration::from_secs(60);

/// Sessions in all.
pub const MAX_SESSIONS: usize = 10_000;

/// Sessions of one person: browsers and machines. Another one ends the oldest.
pub const MAX_SESSIONS_EACH: usize = 10;

/// What a browser shows to be let into its session: 256 random bits. Whoever has it is in.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId([u8; 32]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

impl SessionId {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the system has no randomness.
    pub fn random() -> Result<Self, StoreError> {
        let mut bits = [0; 32];
        fill(&mut bits).map_err(|_| StoreError::Unavailable("no randomness".to_owned()))?;
        Ok(Self(bits))
    }

    /// The one that is [written](Self::reveal) so; `None` when none is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }

    /// As it stands in a cookie.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What a store knows it by.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        SessionKey(key)
    }

    /// What every form of this session's pages must bring back (the synchroniser token): another site can have a form
    /// sent with the cookie, but cannot read the page that this stands on.
    #[must_use]
    pub fn form_token(&self) -> String {
        keyed(&self.0, b"form")
    }

    /// Whether a form brought this session's token; takes the same time whatever it brought.
    #[must_use]
    pub fn is_form_token(&self, token: &str) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else { return false };
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), b"form", &token).is_ok()
    }
}

/// A value that tells nothing of its key.
pub(super) fn keyed(key: &[u8], what: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), what))
}

/// SHA-256 of a [`SessionId`]: all that is kept of it, so that whoever reads the store is in no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A person in a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a row of every store")]
pub struct Session {
    /// Who logged in, with the groups of that time.
    pub principal: Principal,
    /// `sub`, which is not for every issuer what the principal is called by.
    pub sub: String,
    /// When.
    pub begun: Timestamp,
    /// When the issuer saw them prove who they are (`auth_time`); `None`: it does not say.
    pub authenticated: Option<Timestamp>,
    /// How, in the issuer's words (`acr`).
    pub acr: Option<String>,
    /// What the issuer calls its own session (`sid`), which may end by its word.
    pub sid: Option<String>,
}

impl Session {
    /// Whether one last used at `seen` goes on at `now`.
    #[must_use]
    pub fn lasts(&self, seen: Timestamp, now: Timestamp) -> bool {
        now < seen.saturating_add(SESSION_IDLE) && now < self.begun.saturating_add(SESSION_LIFE)
    }

    /// Whether it is this person's at this issuer.
    #[must_use]
    pub fn is_of(&self, issuer: &str, sub: &str) -> bool {
        self.principal.key.issuer == issuer && self.sub == sub
    }

    /// What must stand on the record when it begins.
    #[must_use]
    pub fn begins(&self) -> Fact {
        control("session.begin", &self.principal.key)
    }

    /// What must stand on the record when it is ended; time ends it without a word.
    #[must_use]
    pub fn ends(&self) -> Fact {
        control("session.end", &self.principal.key)
    }
}

fn control(what: &str, who: &PrincipalKey) -> Fact {
    Fact::Control { by: Some(who.clone()), what: what.to_owned() }
}

/// A session that shall begin.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "what every store must know")]
pub struct NewSession {
    /// What it is known by.
    pub key: SessionKey,
    /// What is known of it.
    pub session: Session,
    /// The one it takes the place of in the same browser.
    pub over: Option<SessionKey>,
}

/// Sessions an issuer wants ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "OpenID Back-Channel Logout 1.0 section 2.4 has these")]
pub enum SessionsOf {
    /// All of one person.
    Subject {
        /// Name of the issuer.
        issuer: String,
        /// `sub`.
        subject: String,
    },
    /// Those that began in one session of the issuer: its name, the issuer's `sid`, and whose, when that is said.
    Sid {
        /// Name of the issuer.
        issuer: String,
        /// Its word for the session.
        sid: String,
        /// `sub`.
        subject: Option<String>,
    },
}

impl SessionsOf {
    /// Whether this session is among them.
    #[must_use]
    pub fn covers(&self, session: &Session) -> bool {
        match self {
            Self::Subject { issuer, subject } => session.is_of(issuer, subject),
            Self::Sid { issuer, sid, subject } => {
                session.sid.as_ref() == Some(sid)
                    && session.is_of(issuer, subject.as_ref().unwrap_or(&session.sub))
            }
        }
    }
}

/// Keeps sessions, durably and for all replicas. A session ends by [evaluation](Session::lasts), whether it is swept or
/// not.
pub trait SessionStore: Send + Sync + 'static {
    /// Begins a session, and ends the one it takes the place of and the oldest ones of a person who has
    /// [`MAX_SESSIONS_EACH`]. It stands on the record with it.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also when there are [`MAX_SESSIONS`].
    fn begin(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The session, unless it has ended at `now`; from then on it was used at `now`, give or take [`SESSION_TOUCH`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn resume(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<Option<Session>, StoreError>>;

    /// Ends it; `false` when there is no such session. It stands on the record with it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn end(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Ends all of these and gives their number. It stands on the record with them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; never a part.
    fn end_all(&self, which: SessionsOf, now: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>>;
}

impl<T: SessionStore + ?Sized> SessionStore for Arc<T> {
    fn begin(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>> {
        (**self).begin(new)
    }

    fn resume(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        (**self).resume(key, now)
    }

    fn end(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        (**self).end(key, now)
    }

    fn end_all(&self, which: SessionsOf, now: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        (**self).end_all(which, now)
    }
}
