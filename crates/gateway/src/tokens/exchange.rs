//! A token of somebody else's for one of the gateway's.

use std::{fmt, sync::Arc};

use crewgate_core::Clock;
use futures_util::future::BoxFuture;

use super::{Authority, Client, SourceError, Token, TokenSource, authority::Proof};

/// Token exchange (RFC 8693) at an authority, of what another source brings.
pub struct Exchange {
    authority: Arc<Authority>,
    client: Client,
    subject: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Exchanges the tokens of `subject` for tokens that count for these roles. The token says who asks: there is no
    /// client.
    pub fn new(
        authority: Arc<Authority>,
        roles: &[String],
        subject: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let client = Client {
            id: String::new(),
            proof: Proof::Nothing,
            scopes: roles.join(" "),
            audience: None,
            resource: None,
            id_token: false,
        };
        Self { authority, client, subject, clock }
    }
}

impl TokenSource for Exchange {
    fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
        Box::pin(async move {
            let subject = self.subject.obtain().await?;
            let fields = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", subject.expose()),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ];
            Ok(self.authority.grant(&self.client, &fields, self.clock.now()).await?.token)
        })
    }
}
