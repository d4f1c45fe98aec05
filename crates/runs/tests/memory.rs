//! The in-memory ledger keeps the laws of the port, and its own bound.

use std::{num::NonZeroUsize, sync::Arc};

use crewgate_core::IdKind;
use crewgate_runs::{LedgerError, MemoryLedger, RegisterError, RunLedger};
use crewgate_testkit::suites::runs::{Ledger, conforms, races, run, start};

async fn fresh() -> Ledger {
    Arc::new(MemoryLedger::new())
}

#[tokio::test]
async fn it_conforms() {
    conforms(fresh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_callers_agree() {
    races(fresh, 50).await;
}

#[tokio::test]
async fn a_full_ledger_refuses_and_keeps_what_it_has() {
    let ledger = MemoryLedger::new().limit(NonZeroUsize::new(2).unwrap());
    let first = ledger.start(run("support", "ana", 0), "up-1".into()).await.unwrap();
    ledger.reserve(run("support", "ana", 0)).await.unwrap();
    let full = |e: &LedgerError| matches!(e, LedgerError::Unavailable(_));
    assert!(ledger.reserve(run("support", "ana", 0)).await.is_err_and(|e| full(&e)));
    assert!(ledger.start(run("support", "ana", 0), "up-2".into()).await.is_err_and(|e| full(&e)));
    let task = vec![(IdKind::Task, "task".to_owned())];
    let refused = ledger.register(first.run, task, start()).await;
    assert!(matches!(refused, Err(RegisterError::Ledger(e)) if full(&e)));
    assert_eq!(ledger.start(run("support", "bob", 1), "up-1".into()).await, Ok(first.clone()));
    assert_eq!(ledger.find(first.own).await, Ok(Some(first)));
}
