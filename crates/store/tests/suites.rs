//! The database passes the suites every store must pass.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use crewgate_testkit::suites;
use support::{Dir, Dirs};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_audit_store() {
    let dirs = Dirs::default();
    suites::audit::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_approval_store() {
    let dirs = Dirs::default();
    let fresh = async || Arc::new(dirs.open().await) as Arc<_>;
    suites::approval::conforms(fresh).await;
    suites::approval::races(fresh().await, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_ledger_of_runs() {
    let dirs = Dirs::default();
    let fresh = async || Arc::new(dirs.open().await) as Arc<_>;
    suites::runs::conforms(fresh).await;
    suites::runs::races(fresh, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_survives_a_restart() {
    use crewgate_runs::RunLedger;
    let dir = Dir::new();
    let store = dir.open().await;
    let run = store.start(suites::runs::run("support", "ana", 0), "up-1".to_owned()).await.unwrap();
    store.close().await;
    let store = dir.open().await;
    assert_eq!(store.find(run.own).await.unwrap(), Some(run));
}
