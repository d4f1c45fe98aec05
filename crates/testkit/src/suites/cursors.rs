//! What everything must do that keeps how far exports of the record have come.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::sync::Arc;

use crewgate_audit::Cursors;

/// A store under test.
pub type Store = Arc<dyn Cursors>;

/// Every rule of the port.
///
/// # Panics
///
/// When a rule is broken.
pub async fn conforms(make: impl AsyncFn() -> Store) {
    let store = make().await;
    assert_eq!(store.exported("siem").await, Ok(0), "nothing is acknowledged at first");
    store.acknowledge("siem", 7).await.unwrap();
    store.acknowledge("archive", 3).await.unwrap();
    assert_eq!((store.exported("siem").await, store.exported("archive").await), (Ok(7), Ok(3)));
    store.acknowledge("siem", 5).await.unwrap();
    assert_eq!(store.exported("siem").await, Ok(7), "what was acknowledged stays so");
    store.acknowledge("siem", 1000).await.unwrap();
    assert_eq!(store.exported("siem").await, Ok(1000));
    assert_eq!(store.leads("siem").await, Ok(true), "who is alone hands on");
    assert_eq!(store.leads("siem").await, Ok(true), "and goes on doing so");
}
