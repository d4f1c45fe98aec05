//! People in browsers: they log in at their issuer and come back with a session of ours.
//!
//! Authorization code with PKCE (RFC 7636), `state`, `nonce` and the issuer's name in the answer (RFC 9207). Nothing is
//! kept of a login that has begun: all its secrets follow from one value in the browser's own cookie, so nobody fills
//! a store by beginning logins. The ID token passes the same pipeline as every other token.

mod attempt;
mod logout;
mod memory;
mod provider;
mod session;

use std::{fmt, sync::Arc, time::Duration};

use crewgate_core::{Clock, Principal, Timestamp};
use http::StatusCode;

pub use self::{
    attempt::LOGIN_TIME,
    memory::MemorySessions,
    session::{
        MAX_SESSIONS, MAX_SESSIONS_EACH, NewSession, SESSION_IDLE, SESSION_LIFE, SESSION_TOUCH, Session,
        SessionId, SessionKey, SessionStore, SessionsOf,
    },
};
use self::{
    attempt::{Answer, Attempt},
    provider::Provider,
};
use crate::{
    Fetch, InvalidConfig, IssuerConfig, Jws, KindRule, Reason, Rejection, Revocable, Revocations, StoreError,
    UsedIds, Verifier,
    claims::{audience, instant},
    json::{Json, Object},
};

/// How old a login may be when something is decided by it, where settings do not say otherwise.
pub const DEFAULT_FRESH: Duration = Duration::from_secs(5 * 60);

/// How long an ID token may say that it lives: it counts once, in the login that asked for it, so that little hangs on
/// what issuers put there (five minutes to ten hours).
const ID_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Where people log in, and as which client.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "all of it must be known")]
pub struct LoginConfig {
    /// The issuer. Of its settings the audience, the clients and the kind of token mean nothing here: an ID token is
    /// for `client_id`.
    pub issuer: IssuerConfig,
    /// What the issuer knows us by.
    pub client_id: String,
    /// With what we prove it; `None`: a public client, which PKCE alone protects.
    pub client_secret: Option<String>,
    /// Where the issuer sends people back to, to the letter as it is registered there.
    pub redirect_uri: String,
    /// Where the issuer sends people to after they logged out there too.
    pub after_logout: String,
    /// Asked for beside `openid`.
    pub scopes: Vec<String>,
    /// How a person must have proved who they are before they decide something: one of these `acr`. Empty: however.
    pub acr: Vec<String>,
    /// How long ago at most.
    pub fresh: Duration,
}

impl fmt::Debug for LoginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginConfig")
            .field("issuer", &self.issuer.name)
            .field("client_id", &self.client_id)
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

/// Why somebody is not logged in.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoginError {
    /// What came back does not belong to a login that this browser began. Beginning again helps.
    Attempt(&'static str),
    /// The issuer did not let them in, in its word (RFC 6749 section 4.1.2.1).
    Denied(String),
    /// The issuer cannot be reached, or does not keep to what was agreed.
    Provider(String),
    /// The ID token is not one that counts here.
    Token(Rejection),
    /// The store failed.
    Store(StoreError),
}

impl LoginError {
    /// The stable machine-readable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Attempt(_) => "login_mismatch",
            Self::Denied(_) => "login_denied",
            Self::Provider(_) => "login_provider",
            Self::Token(rejection) => rejection.reason().code(),
            Self::Store(_) => "unavailable",
        }
    }

    /// The status of the page that tells it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Attempt(_) => StatusCode::BAD_REQUEST,
            Self::Denied(_) | Self::Token(_) => StatusCode::FORBIDDEN,
            Self::Provider(_) => StatusCode::BAD_GATEWAY,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(what) => f.write_str(what),
            Self::Denied(error) => write!(f, "the issuer answered {error}"),
            Self::Provider(what) => f.write_str(what),
            Self::Token(rejection) => write!(f, "the ID token is refused: {}", rejection.reason().code()),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoginError {}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Rejection> for LoginError {
    fn from(rejection: Rejection) -> Self {
        match rejection.reason() {
            Reason::IssuerNotReady => Self::Provider("the issuer's keys could not be fetched".to_owned()),
            _ => Self::Token(rejection),
        }
    }
}

/// A login that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a cookie and a place")]
pub struct Begun {
    /// Where the browser goes.
    pub location: String,
    /// What it keeps in a cookie for [`LOGIN_TIME`] and shows when it comes back. Whoever has it could end the login.
    pub attempt: String,
}

/// A login that has ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a cookie and a place")]
pub struct Opened {
    /// What the browser keeps in a cookie.
    pub id: SessionId,
    /// Where it wanted to go.
    pub back: String,
    /// Who it is.
    pub principal: Principal,
}

/// Lets people log in at one issuer. Clones share its keys.
#[derive(Clone)]
pub struct Login(Arc<Inner>);

struct Inner {
    config: LoginConfig,
    verifier: Verifier,
    provider: Provider,
    sessions: Arc<dyn SessionStore>,
    used: Arc<dyn UsedIds>,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Login {
    /// Logins at this issuer. `revocations` must remember those of its subjects for [`SESSION_LIFE`] at least: give
    /// them the issuer [with sessions](IssuerConfig::with_sessions).
    ///
    /// # Errors
    ///
    /// When the configuration cannot be right.
    pub fn new(
        config: LoginConfig,
        fetch: Arc<dyn Fetch>,
        sessions: Arc<dyn SessionStore>,
        used: Arc<dyn UsedIds>,
        revocations: Revocations,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidConfig> {
        let mut id_tokens = config.issuer.clone().kind(KindRule::User).accept_id_tokens();
        id_tokens.audience = [config.client_id.clone()].into();
        id_tokens.max_lifetime = id_tokens.max_lifetime.max(ID_TOKEN_LIFETIME);
        id_tokens.clients.clear();
        id_tokens.token_type = None;
        id_tokens.introspection = None;
        let verifier = Verifier::builder()
            .issuer_by(id_tokens, Arc::clone(&fetch))
            .revocations(revocations.clone())
            .cached_tokens(0)
            .clock(Arc::clone(&clock))
            .build()?;
        let provider = Provider::new(&config, &verifier, fetch)?;
        Ok(Self(Arc::new(Inner { config, verifier, provider, sessions, used, revocations, clock })))
    }

    /// Begins a login, to go on to `back` when it is done. `fresh` asks the issuer to make the person prove anew who
    /// they are unless they just did.
    ///
    /// # Errors
    ///
    /// [`LoginError::Provider`], [`LoginError::Store`].
    pub async fn begin(&self, back: &str, fresh: bool) -> Result<Begun, LoginError> {
        let inner = &*self.0;
        let attempt = Attempt::new(back, inner.clock.now())?;
        let location = inner.provider.authorize(&inner.config, &attempt, fresh).await?;
        Ok(Begun { location, attempt: attempt.reveal() })
    }

    /// Ends a login: `attempt` is the browser's cookie, `query` what it came back with, `over` the session it is in,
    /// which ends, so that nobody stays in one that was known before (session fixation).
    ///
    /// # Errors
    ///
    /// [`LoginError`]; then there is no session.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the login must be begun again.
    pub async fn finish(
        &self,
        attempt: Option<&str>,
        query: &str,
        over: Option<&SessionId>,
    ) -> Result<Opened, LoginError> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let attempt = attempt.and_then(Attempt::parse);
        let attempt = attempt.ok_or(LoginError::Attempt("no login was begun in this browser"))?;
        let answer = Answer::parse(query).ok_or(LoginError::Attempt("the answer cannot be read"))?;
        attempt.check(&answer, now)?;
        inner.provider.check_issuer(answer.issuer.as_deref()).await?;
        let over_already = || LoginError::Attempt("this login is over");
        if inner.used.is_used("login", &attempt.state()).await? {
            return Err(over_already());
        }
        let code = match (answer.code, answer.error) {
            (Some(code), None) => code,
            (None, Some(error)) => return Err(LoginError::Denied(error)),
            _ => return Err(LoginError::Attempt("the answer cannot be read")),
        };
        let tokens = inner.provider.redeem(&inner.config, code, &attempt).await?;
        let (principal, facts) = inner.believe(&tokens, &attempt.nonce()).await?;
        // One cookie opens one session. Remembered only now, or whoever makes up cookies could fill the store.
        if !inner.used.spend("login", &attempt.state(), attempt.ends(), now).await? {
            return Err(over_already());
        }
        let id = SessionId::random()?;
        let session = Session {
            principal: principal.clone(),
            sub: facts.sub,
            begun: now,
            authenticated: facts.authenticated,
            acr: facts.acr,
            sid: facts.sid,
        };
        let new = NewSession { key: id.key(), session, over: over.map(SessionId::key) };
        inner.sessions.begin(new).await?;
        Ok(Opened { id, back: attempt.back().to_owned(), principal })
    }

    /// The session, unless it has ended or its person is revoked.
    ///
    /// # Errors
    ///
    /// [`LoginError::Store`]; [`LoginError::Token`] for who is revoked.
    pub async fn resume(&self, id: &SessionId) -> Result<Option<Session>, LoginError> {
        let inner = &*self.0;
        let Some(session) = inner.sessions.resume(id.key(), inner.clock.now()).await? else {
            return Ok(None);
        };
        let alias = Some(session.sub.as_str()).filter(|sub| *sub != session.principal.key.subject);
        inner.revocations.check(&Revocable::of(&session.principal).named(alias, &[]))?;
        Ok(Some(session))
    }

    /// Whether something may be decided in this session now: the person proved who they are not too long ago, and in
    /// a way that is enough. Their groups are of that time.
    #[must_use]
    pub fn is_fresh(&self, session: &Session) -> bool {
        let (config, now) = (&self.0.config, self.0.clock.now());
        let recent = |at: Timestamp| now < at.saturating_add(config.fresh);
        session.authenticated.is_some_and(recent)
            && recent(session.begun)
            && (config.acr.is_empty() || session.acr.as_ref().is_some_and(|acr| config.acr.contains(acr)))
    }

    /// Ends the session here, and says where to go to end the issuer's too (OpenID RP-Initiated Logout 1.0); `None`
    /// when the issuer has no such place or cannot be reached.
    ///
    /// # Errors
    ///
    /// [`LoginError::Store`]: it may not have ended.
    pub async fn logout(&self, id: &SessionId) -> Result<Option<String>, LoginError> {
        let inner = &*self.0;
        inner.sessions.end(id.key(), inner.clock.now()).await?;
        Ok(inner.provider.logout(&inner.config).await)
    }
}

/// What an ID token says of a session beside whose it is.
struct Facts {
    sub: String,
    authenticated: Option<Timestamp>,
    acr: Option<String>,
    sid: Option<String>,
}

impl Inner {
    /// OpenID Connect Core 1.0 section 3.1.3.7, on top of what every token must be.
    async fn believe(
        &self,
        tokens: &provider::Tokens,
        nonce: &str,
    ) -> Result<(Principal, Facts), LoginError> {
        let principal = self.verifier.id_token(&tokens.id_token).await?;
        let jws = Jws::parse(&tokens.id_token)?;
        let claims = jws.payload_object()?;
        let wrong = |expected: &str, found: &str| {
            LoginError::from(Rejection::new(Reason::Claims).expecting(expected.to_owned()).finding(found))
        };
        if text(&claims, "nonce") != Some(nonce) {
            return Err(wrong("the nonce of this login", "another"));
        }
        let audiences = audience(&claims).count();
        match claims.get("azp") {
            None if audiences == 1 => {}
            Some(azp) if azp.as_str() == Some(self.config.client_id.as_str()) => {}
            _ => return Err(wrong("azp of this client", "another")),
        }
        match claims.get("at_hash") {
            None => {}
            Some(hash) if hash.as_str() == attempt::half_hash(&jws.alg, &tokens.access_token).as_deref() => {}
            Some(_) => return Err(wrong("at_hash of the access token beside it", "another")),
        }
        let owned = |name| text(&claims, name).map(str::to_owned);
        let authenticated = instant(&claims, "auth_time")?;
        // A clock that is ahead makes nobody fresher.
        let authenticated = authenticated.map(|at| at.min(self.clock.now()));
        let sub = owned("sub").unwrap_or_default();
        Ok((principal, Facts { sub, authenticated, acr: owned("acr"), sid: owned("sid") }))
    }
}

fn text<'a>(claims: &'a Object<'_>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Json::as_str)
}
