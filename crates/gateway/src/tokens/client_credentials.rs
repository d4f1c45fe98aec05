//! A program's own token.

use std::{fmt, sync::Arc};

use crewgate_core::Clock;
use futures_util::future::BoxFuture;

use super::{Authority, Client, SourceError, Token, TokenSource};

/// The client credentials grant (RFC 6749 section 4.4).
pub struct ClientCredentials {
    authority: Arc<Authority>,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("client", &self.client).finish_non_exhaustive()
    }
}

impl ClientCredentials {
    /// Tokens of this client.
    pub fn new(authority: Arc<Authority>, client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { authority, client, clock }
    }
}

impl TokenSource for ClientCredentials {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        Box::pin(async move {
            let fields = [("grant_type", "client_credentials")];
            Ok(self.authority.grant(&self.client, &fields, self.clock.now()).await?.token)
        })
    }
}
