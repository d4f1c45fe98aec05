//! What every [`TokenInventory`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty one, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use crewgate_core::PrincipalKind;
use crewgate_oidc::{SeenTokens, TokenInventory};

use super::approval::start;

/// A row of this subject, seen so many seconds after the start.
#[must_use]
pub fn seen(subject: &str, client: Option<&str>, secs: u64) -> SeenTokens {
    let at = start().saturating_add(Duration::from_secs(secs));
    SeenTokens {
        issuer: "okta".to_owned(),
        client: client.map(str::to_owned),
        subject: subject.to_owned(),
        kind: PrincipalKind::User,
        algorithm: Some("RS256".to_owned()),
        lifetime_secs: Some(3600),
        sender_constrained: false,
        roles: ["analysts".to_owned()].into(),
        first: at,
        last: at,
    }
}

/// Runs the whole suite on fresh ones.
///
/// # Panics
///
/// When it breaks the contract, saying which part.
pub async fn conforms<F: Future<Output = Arc<dyn TokenInventory>>>(make: impl Fn() -> F) {
    let inventory = make().await;
    assert_eq!(inventory.seen(0, 10).await.unwrap(), []);
    let (ana, by_cli, bob) = (seen("ana", None, 0), seen("ana", Some("cli"), 1), seen("bob", None, 2));
    inventory.note(vec![bob.clone(), by_cli.clone(), ana.clone()]).await.unwrap();
    assert_eq!(inventory.seen(0, 10).await.unwrap(), [ana.clone(), by_cli.clone(), bob.clone()]);
    assert_eq!(inventory.seen(1, 1).await.unwrap(), std::slice::from_ref(&by_cli));
    assert_eq!(inventory.seen(3, 10).await.unwrap(), []);
    // What was seen last counts, and since when it is known.
    let bound = SeenTokens { sender_constrained: true, lifetime_secs: None, ..seen("ana", None, 50) };
    inventory.note(vec![bound.clone()]).await.unwrap();
    let joined = SeenTokens { first: ana.first, ..bound };
    assert_eq!(inventory.seen(0, 10).await.unwrap(), [joined, by_cli, bob]);
    inventory.note(Vec::new()).await.unwrap();
}
