//! The login of a person.

use std::{fmt, sync::Arc};

use crewgate_core::Clock;
use futures_util::future::BoxFuture;

use super::{
    Authority, Client, Keep, Prompt, SourceError, Token, TokenSource, authority::GrantError, device,
    keep::Kept,
};

/// A login that was made once and is renewed as long as its issuer lets it.
pub struct Login {
    authority: Arc<Authority>,
    client: Client,
    keep: Keep,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("client", &self.client)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// The login that is kept here, of this client at this authority.
    pub fn new(authority: Arc<Authority>, client: Client, keep: Keep, clock: Arc<dyn Clock>) -> Self {
        Self { authority, client, keep, clock }
    }

    /// Where it is kept, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.keep.place()
    }

    /// Signs a person in by device authorization (RFC 8628) and keeps the login. `tell` is called once, with what to show.
    ///
    /// # Errors
    ///
    /// [`SourceError::Refused`] when the person says no or lets the code end, [`SourceError::Configuration`] when the
    /// issuer knows no device authorization, or when the login cannot be kept.
    pub async fn make(&self, tell: impl FnOnce(&Prompt)) -> Result<Token, SourceError> {
        let granted = device::authorize(&self.authority, &self.client, &*self.clock, tell).await?;
        let _lock = self.keep.lock().await?;
        self.keep.write(&Kept::new(self.authority.issuer(), &self.client.id, &granted)).await?;
        Ok(granted.token)
    }

    /// Forgets the login and takes its refresh token back. `None`: there was none; `Some(false)`: it is forgotten
    /// here, but the issuer was not told.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub async fn end(&self) -> Result<Option<bool>, SourceError> {
        let _lock = self.keep.lock().await?;
        // One that cannot be read is forgotten all the same.
        let kept = match self.keep.read().await {
            Ok(None) => return Ok(None),
            Ok(Some(kept)) => Some(kept),
            Err(SourceError::LoginNeeded(_)) => None,
            Err(error) => return Err(error),
        };
        self.keep.remove().await?;
        let Some(refresh) = kept.filter(|kept| self.is_ours(kept)).and_then(|kept| kept.refresh()) else {
            return Ok(Some(false));
        };
        match self.authority.revoke(&self.client, &refresh, self.clock.now()).await {
            Ok(told) => Ok(Some(told)),
            Err(error) => {
                tracing::warn!(%error, "the issuer could not be told that the login has ended");
                Ok(Some(false))
            }
        }
    }

    /// A refresh token goes to nobody but the issuer that gave it.
    fn is_ours(&self, kept: &Kept) -> bool {
        kept.issuer == self.authority.issuer() && kept.client == self.client.id
    }

    async fn renewed(&self) -> Result<Token, SourceError> {
        let needed = |why: &str| SourceError::LoginNeeded(format!("{why}: run `crewgate login`"));
        let _lock = self.keep.lock().await?;
        let kept = self.keep.read().await?.ok_or_else(|| needed("nobody is signed in"))?;
        if !self.is_ours(&kept) {
            return Err(needed("the login is of another issuer or client"));
        }
        let now = self.clock.now();
        let current = kept.token().filter(|token| !token.is_spent(now));
        if let Some(token) = current.as_ref().filter(|token| !token.is_due(now)) {
            return Ok(token.clone());
        }
        let Some(refresh) = kept.refresh() else {
            return current
                .ok_or_else(|| needed("the login has ended, and its issuer gave no way to renew it"));
        };
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose())];
        match self.authority.grant(&self.client, &fields, now).await {
            Ok(mut granted) => {
                // RFC 6749 section 6: without a new one, the old one goes on.
                granted.refresh = granted.refresh.or(Some(refresh));
                self.keep.write(&Kept::new(&kept.issuer, &kept.client, &granted)).await?;
                Ok(granted.token)
            }
            Err(GrantError::Refused { code, text }) if code == "invalid_grant" => {
                current.ok_or_else(|| needed(&format!("the login has ended ({text})")))
            }
            Err(error) => current.ok_or_else(|| error.into()),
        }
    }
}

impl TokenSource for Login {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        Box::pin(self.renewed())
    }
}
