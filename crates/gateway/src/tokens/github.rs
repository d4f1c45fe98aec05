//! The identity of a GitHub Actions job.

use std::{fmt, sync::Arc};

use crewgate_core::Clock;
use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, Uri};

use super::{Http, SourceError, Token, TokenSource};
use crate::config::Secret;

/// The ID token of a GitHub Actions job that has `permissions: id-token: write`; a fresh one each time.
pub struct GitHub {
    http: Http,
    uri: Uri,
    token: Secret,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").finish_non_exhaustive()
    }
}

impl GitHub {
    /// Tokens for this audience, asked for where `ACTIONS_ID_TOKEN_REQUEST_URL` says, with
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    ///
    /// # Errors
    ///
    /// [`SourceError::Configuration`] outside of such a job.
    pub fn from_environment(http: Http, audience: &str, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let read = |name: &str| {
            std::env::var(name).map_err(|_| {
                let help = "this is no GitHub Actions job with `permissions: id-token: write`";
                SourceError::Configuration(format!("`{name}` is not set: {help}"))
            })
        };
        let base = read("ACTIONS_ID_TOKEN_REQUEST_URL")?;
        let token = Secret::new(read("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
        let audience: String = form_urlencoded::byte_serialize(audience.as_bytes()).collect();
        let separator = if base.contains('?') { '&' } else { '?' };
        let uri = format!("{base}{separator}audience={audience}").parse().map_err(|_| {
            SourceError::Configuration("`ACTIONS_ID_TOKEN_REQUEST_URL` is not a URL".to_owned())
        })?;
        Ok(Self { http, uri, token, clock })
    }
}

impl TokenSource for GitHub {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        Box::pin(async move {
            let bearer = HeaderValue::try_from(format!("Bearer {}", self.token.expose())).map_err(|_| {
                SourceError::Configuration("`ACTIONS_ID_TOKEN_REQUEST_TOKEN` is not a token".to_owned())
            })?;
            let answer = self.http.get(&self.uri, Some(bearer)).await?;
            let wrong = |what: String| format!("GitHub's token service {what}");
            match (answer.status, answer.text("value")) {
                (StatusCode::OK, Some(value)) => Token::granted(value, None, self.clock.now())
                    .map_err(|error| SourceError::Unavailable(wrong(format!("gave what is {error}")))),
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                    Err(SourceError::Refused(wrong(format!("says no ({})", answer.status))))
                }
                (status, _) => {
                    Err(SourceError::Unavailable(wrong(format!("answered {status} without a token"))))
                }
            }
        })
    }
}
