//! A token and where it comes from.

use std::{fmt, fs::File, io::Read, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::{Clock, Timestamp};
use crewgate_oidc::MAX_TOKEN;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::config::Secret;

/// Brings a token. Whoever asks often asks through [`Fresh`](super::Fresh), which renews it in time.
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// A token as fresh as this source has it.
    ///
    /// # Errors
    ///
    /// [`SourceError`], whose text may be shown to the user and holds no secret.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may lose a token, and with a rotating refresh token the login: [`Fresh`](super::Fresh)
    /// never drops it.
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>>;
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// The settings or the environment are wrong.
    Configuration(String),
    /// Somebody must sign in (again).
    LoginNeeded(String),
    /// Whoever gives tokens says no.
    Refused(String),
    /// Whoever gives tokens cannot be reached, or does not answer as it should: later it may.
    Unavailable(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(text)
            | Self::LoginNeeded(text)
            | Self::Refused(text)
            | Self::Unavailable(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for SourceError {}

/// A text that cannot be a bearer token (RFC 6750 section 2.1, at most [`MAX_TOKEN`] bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidToken;

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a bearer token: letters, digits and `-._~+/=`, at most {MAX_TOKEN} bytes")
    }
}

impl std::error::Error for InvalidToken {}

/// A token and the time it counts. Its `Debug` shows no token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: Secret,
    from: Timestamp,
    ends: Timestamp,
}

/// How long a token counts that does not say so itself: short enough to be renewed before any sensible end.
const UNKNOWN_LIFE: Duration = Duration::from_secs(60);

impl Token {
    /// A token that was just granted. Its life is what the grant or, without it, the token itself says, counted by
    /// our own clock: it may differ from the issuer's.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`]
    pub fn granted(value: &str, life: Option<Duration>, now: Timestamp) -> Result<Self, InvalidToken> {
        let said = || life_in(value).map(|(from, ends)| ends.since(from));
        Self::new(value, now, now.saturating_add(life.or_else(said).unwrap_or(UNKNOWN_LIFE)))
    }

    /// A token that was found: when it was made is known only to itself.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`]
    pub fn found(value: &str, now: Timestamp) -> Result<Self, InvalidToken> {
        let (from, ends) = life_in(value).unwrap_or((now, now.saturating_add(UNKNOWN_LIFE)));
        Self::new(value, from, ends)
    }

    /// A token with its beginning and end.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`]
    pub fn new(value: &str, from: Timestamp, ends: Timestamp) -> Result<Self, InvalidToken> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if value.is_empty() || value.len() > MAX_TOKEN || !value.bytes().all(good) {
            return Err(InvalidToken);
        }
        Ok(Self { value: Secret::new(value), from, ends })
    }

    /// The token, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.expose()
    }

    /// When it began to count.
    #[must_use]
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// When it ends.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Whether four fifths of its life are over: time to get the next one.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.after(4, 5)
    }

    /// Whether so little is left that a call might arrive after its end: it is not sent any more.
    #[must_use]
    pub fn is_spent(&self, now: Timestamp) -> bool {
        now >= self.after(19, 20)
    }

    fn after(&self, parts: u32, of: u32) -> Timestamp {
        self.from.saturating_add(self.ends.since(self.from) / of * parts)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("from", &self.from).field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// `iat` and `exp` of a JWT, unchecked: whoever it is for checks it. Without `iat` it began with `nbf`.
fn life_in(token: &str) -> Option<(Timestamp, Timestamp)> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let at = |name: &str| claims.get(name).and_then(Value::as_i64).map(Timestamp::from_secs);
    let (from, ends) = (at("iat").or_else(|| at("nbf"))?, at("exp")?);
    Some((from.min(ends), ends))
}

/// A token in an environment variable, as GitLab's `id_tokens` gives it: as good as it was when the job began.
pub struct Variable {
    name: String,
    token: Secret,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Variable {
    /// Reads the variable, once.
    ///
    /// # Errors
    ///
    /// [`SourceError::Configuration`] when it is not set.
    pub fn read(name: &str, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let token = std::env::var(name).map_err(|_| {
            SourceError::Configuration(format!("the environment variable `{name}` with the token is not set"))
        })?;
        Ok(Self { name: name.to_owned(), token: Secret::new(token.trim()), clock })
    }
}

impl TokenSource for Variable {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        let name = &self.name;
        Box::pin(async move { valid(self.token.expose(), &format!("the token in `{name}`"), &*self.clock) })
    }
}

/// A token in a file that somebody else keeps fresh, as Kubernetes does with a projected token: read each time.
pub struct TokenFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TokenFile {
    /// The token in this file.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into(), clock }
    }

    fn read(&self) -> Result<Token, SourceError> {
        let place = self.path.display();
        let mut text = String::new();
        let limit = u64::try_from(MAX_TOKEN).unwrap_or(u64::MAX) + 2;
        File::open(&self.path)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|error| SourceError::Unavailable(format!("the token file {place}: {error}")))?;
        valid(text.trim(), &format!("the token in {place}"), &*self.clock)
    }
}

impl TokenSource for TokenFile {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        Box::pin(async move { self.read() })
    }
}

/// A token somebody else renews, unless it has ended.
fn valid(value: &str, what: &str, clock: &dyn Clock) -> Result<Token, SourceError> {
    let now = clock.now();
    let token =
        Token::found(value, now).map_err(|error| SourceError::Configuration(format!("{what} is {error}")))?;
    if now >= token.ends() {
        return Err(SourceError::Unavailable(format!("{what} has ended at {}", token.ends())));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use crewgate_testkit::{DevIdp, ManualClock};
    use proptest::prelude::*;

    use super::*;

    fn jwt(clock: &ManualClock, life: u64) -> String {
        let idp = DevIdp::offline("https://idp.example", Arc::new(clock.clone()));
        idp.token().lifetime(Duration::from_secs(life)).sign()
    }

    #[test]
    fn a_granted_token_lives_by_our_clock_and_a_found_one_by_its_own() {
        let clock = ManualClock::new();
        let token = jwt(&clock, 300);
        let issued = clock.now();
        clock.advance(Duration::from_secs(100));
        let granted = Token::granted(&token, None, clock.now()).unwrap();
        assert_eq!(granted.ends(), clock.now().saturating_add(Duration::from_secs(300)));
        let shorter = Token::granted(&token, Some(Duration::from_secs(10)), clock.now()).unwrap();
        assert_eq!(shorter.ends(), clock.now().saturating_add(Duration::from_secs(10)));
        let found = Token::found(&token, clock.now()).unwrap();
        assert_eq!((found.from(), found.ends()), (issued, issued.saturating_add(Duration::from_secs(300))));
    }

    #[test]
    fn an_opaque_token_counts_for_a_minute() {
        let now = ManualClock::new().now();
        let token = Token::granted("opaque", None, now).unwrap();
        assert!(!token.is_spent(now) && token.is_spent(now.saturating_add(Duration::from_secs(60))));
    }

    #[test]
    fn what_cannot_be_a_header_is_no_token() {
        for text in ["", "two words", "a\nb", "ü", &"a".repeat(MAX_TOKEN + 1)] {
            assert_eq!(Token::found(text, ManualClock::new().now()), Err(InvalidToken), "{text:?}");
        }
    }

    #[test]
    fn a_token_never_shows_itself() {
        let token = Token::found("t0ps3cret", ManualClock::new().now()).unwrap();
        assert!(!format!("{token:?}").contains("t0ps3cret"));
    }

    #[tokio::test]
    async fn a_file_is_read_again_and_an_ended_token_in_it_is_none() {
        let clock = ManualClock::new();
        let path = std::env::temp_dir().join(format!("crewgate-token-file-{}", std::process::id()));
        let first = jwt(&clock, 60);
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let source = TokenFile::new(&path, Arc::new(clock.clone()));
        assert_eq!(source.obtain().await.unwrap().expose(), first);
        clock.advance(Duration::from_secs(60));
        assert!(matches!(source.obtain().await, Err(SourceError::Unavailable(_))));
        let second = jwt(&clock, 60);
        std::fs::write(&path, &second).unwrap();
        assert_eq!(source.obtain().await.unwrap().expose(), second);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(source.obtain().await, Err(SourceError::Unavailable(_))));
    }

    proptest! {
        #[test]
        fn a_token_is_due_before_it_is_spent_and_spent_before_it_ends(life in 1_u64..1_000_000_000, at in 0_u64..2_000_000_000) {
            let start = Timestamp::from_secs(1_781_524_800);
            let token = Token::new("t", start, start.saturating_add(Duration::from_micros(life))).unwrap();
            let now = start.saturating_add(Duration::from_micros(at));
            prop_assert!(token.is_due(now) || !token.is_spent(now));
            prop_assert!(token.is_spent(now) || now < token.ends());
        }
    }
}
