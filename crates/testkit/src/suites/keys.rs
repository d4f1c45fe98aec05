//! What every [`KeyStore`] must do together with the [`ApprovalStore`] it belongs to, whatever they are made of.
//!
//! Call [`conforms`] with a closure that makes an empty one, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use crewgate_approval::{ApprovalStore, KeptKey, KeyStore, NewApproval, OpenError};
use crewgate_core::{Keyed, Timestamp};

use super::approval::{asked, person, start};

/// How long names count here.
const DAY: Duration = Duration::from_secs(86_400);

/// This name for this request, given at [`start`].
#[must_use]
pub fn keyed(key: &str, fingerprint: &str) -> Keyed {
    Keyed { key: key.to_owned(), fingerprint: fingerprint.to_owned(), until: start().saturating_add(DAY) }
}

/// A request of Ana's that needs an owner, under this name.
fn named(key: &str, fingerprint: &str, opened: Timestamp) -> NewApproval {
    let keyed = Keyed { until: opened.saturating_add(DAY), ..keyed(key, fingerprint) };
    NewApproval { keyed: Some(keyed), opened, ..asked(&person("ana"), &[("owners", 1)]) }
}

/// Runs the whole suite.
///
/// # Panics
///
/// When it breaks the contract, saying which part.
pub async fn conforms<S, F>(make: impl Fn() -> F)
where
    S: ApprovalStore + KeyStore,
    F: Future<Output = Arc<S>>,
{
    let store = make().await;
    assert_eq!(store.kept("k", start()).await.unwrap(), None);
    let first = named("k", "f", start());
    store.open(first.clone()).await.unwrap();
    let kept = KeptKey { fingerprint: "f".to_owned(), request: first.request, approval: Some(first.id) };
    assert_eq!(store.kept("k", start()).await.unwrap(), Some(kept));
    for fingerprint in ["f", "g"] {
        let again = named("k", fingerprint, start());
        assert_eq!(store.open(again.clone()).await, Err(OpenError::KeyTaken), "whoever comes second");
        assert!(store.find(again.id).await.unwrap().is_none(), "nobody was asked");
    }
    store.open(named("other", "f", start())).await.unwrap();
    store.open(asked(&person("ana"), &[("owners", 1)])).await.unwrap();

    // By evaluation: nobody has to sweep for a name to be free again.
    let end = start().saturating_add(DAY);
    assert!(store.kept("k", end.saturating_sub(Duration::from_micros(1))).await.unwrap().is_some());
    assert_eq!(store.kept("k", end).await.unwrap(), None);
    let next = named("k", "g", end);
    store.open(next.clone()).await.unwrap();
    assert_eq!(store.kept("k", end).await.unwrap().unwrap().approval, Some(next.id));

    let store = make().await;
    let racers: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.open(named("one", "f", start())).await })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, OpenError::KeyTaken),
        }
    }
    assert_eq!(won, 1, "of many at once exactly one begins");
}
