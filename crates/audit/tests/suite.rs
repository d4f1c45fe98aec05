//! The store in memory passes the suite every store must pass.

use std::sync::Arc;

use crewgate_audit::MemoryStore;

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    crewgate_testkit::suites::audit::conforms(async || Arc::new(MemoryStore::new()) as Arc<_>).await;
}
