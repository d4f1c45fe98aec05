//! What every [`UsedIds`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty one, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use crewgate_oidc::UsedIds;

use super::approval::start;

/// Runs the whole suite on fresh ones.
///
/// # Panics
///
/// When it breaks the contract, saying which part.
pub async fn conforms<F: Future<Output = Arc<dyn UsedIds>>>(make: impl Fn() -> F) {
    let until = start().saturating_add(Duration::from_secs(600));
    let ids = make().await;
    assert!(!ids.is_used("github", "job-1").await.unwrap());
    assert!(ids.spend("github", "job-1", until, start()).await.unwrap());
    assert!(ids.is_used("github", "job-1").await.unwrap());
    assert!(!ids.spend("github", "job-1", until, start()).await.unwrap(), "it counts once");
    // Another owner's ids are others, however the two are spelled together.
    for (owner, id) in [("gitlab", "job-1"), ("github", "job-2"), ("githubjob", "-1")] {
        assert!(ids.spend(owner, id, until, start()).await.unwrap(), "{owner} {id}");
    }
    // Until its end, whatever else is used.
    for number in 0..100 {
        let now = until.saturating_sub(Duration::from_micros(1));
        assert!(ids.spend("later", &number.to_string(), until, now).await.unwrap());
    }
    assert!(!ids.spend("github", "job-1", until, start()).await.unwrap());

    let ids = make().await;
    let racers: Vec<_> = (0..32)
        .map(|_| {
            let ids = Arc::clone(&ids);
            tokio::spawn(async move { ids.spend("github", "one", until, start()).await })
        })
        .collect();
    let mut passed = 0;
    for racer in racers {
        passed += u32::from(racer.await.unwrap().unwrap());
    }
    assert_eq!(passed, 1, "of many at once one is told that it was first");
}
