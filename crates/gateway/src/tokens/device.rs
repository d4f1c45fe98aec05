//! Signing a person in without a browser of our own: the device authorization grant (RFC 8628).

use std::time::Duration;

use crewgate_core::Clock;
use http::StatusCode;
use serde_json::Value;

use super::{
    Authority, Client, SourceError,
    authority::{GrantError, Granted, printable},
};

/// RFC 8628 section 3.2: what counts when the server names no interval.
const INTERVAL: Duration = Duration::from_secs(5);

/// RFC 8628 section 3.5: how much slower after `slow_down`.
const SLOWER: Duration = Duration::from_secs(5);

/// Longest time between two questions, and longest life of a code: a server that says more is not believed.
const MAX_INTERVAL: Duration = Duration::from_secs(60);
const MAX_LIFE: Duration = Duration::from_secs(30 * 60);

/// What the person must see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// The page to open.
    pub page: String,
    /// The code to enter there.
    pub code: String,
    /// The page with the code in it.
    pub complete: Option<String>,
    /// How long the code counts.
    pub life: Duration,
}

/// Asks for a code, tells it, and waits until somebody has signed in with it.
///
/// # Errors
///
/// [`SourceError::Refused`] when the person says no or lets the code end, and what the authority refuses;
/// [`SourceError::Configuration`] when it knows no device authorization.
pub(super) async fn authorize(
    authority: &Authority,
    client: &Client,
    clock: &dyn Clock,
    tell: impl FnOnce(&Prompt),
) -> Result<Granted, SourceError> {
    let endpoint = authority.metadata().await?.device.as_ref().ok_or_else(|| {
        let text = format!("the issuer {} knows no device authorization (RFC 8628)", authority.issuer());
        SourceError::Configuration(text)
    })?;
    let answer = authority.ask(endpoint, client, &client.wishes(), clock.now()).await?;
    if answer.status != StatusCode::OK {
        return Err(authority.refusal(&answer).into());
    }
    let text = |name: &str| answer.text(name).filter(|text| !text.is_empty());
    let (Some(device_code), Some(code), Some(page)) =
        (text("device_code"), text("user_code"), text("verification_uri"))
    else {
        let text = format!("the issuer {} gave no code", authority.issuer());
        return Err(SourceError::Unavailable(text));
    };
    let secs = |name: &str| answer.body.get(name).and_then(Value::as_u64).map(Duration::from_secs);
    let life = secs("expires_in").unwrap_or(MAX_LIFE).min(MAX_LIFE);
    tell(&Prompt {
        page: printable(page),
        code: printable(code),
        complete: text("verification_uri_complete").map(printable),
        life,
    });
    let fields =
        [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", device_code)];
    let mut interval = secs("interval").unwrap_or(INTERVAL).min(MAX_INTERVAL);
    let polling = async {
        loop {
            tokio::time::sleep(interval).await;
            match authority.grant(client, &fields, clock.now()).await {
                Ok(granted) => return Ok(granted),
                Err(GrantError::Refused { code, text }) => match code.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => interval = (interval + SLOWER).min(MAX_INTERVAL),
                    "expired_token" => return Err(ended()),
                    _ => return Err(SourceError::Refused(text)),
                },
                // RFC 8628 section 3.5: whoever did not answer is asked less often.
                Err(GrantError::Other(SourceError::Unavailable(error))) => {
                    tracing::debug!(error, "not answered");
                    interval = (interval * 2).clamp(Duration::from_secs(1), MAX_INTERVAL);
                }
                Err(GrantError::Other(error)) => return Err(error),
            }
        }
    };
    tokio::time::timeout(life, polling).await.unwrap_or_else(|_| Err(ended()))
}

fn ended() -> SourceError {
    SourceError::Refused("the code has ended before anybody signed in with it".to_owned())
}
