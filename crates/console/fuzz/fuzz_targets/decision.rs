//! Whatever a stranger sends as a decision: it is counted and answered so, or it is refused.
#![no_main]

use std::{cell::OnceCell, sync::Arc};

use axum::{Router, body::Body};
use crewgate_approval::{ApprovalStore, MemoryStore, NewApproval};
use crewgate_console::{Console, Shown, router};
use crewgate_core::Principal;
use crewgate_testkit::{
    ManualClock,
    suites::approval::{asked, person, set},
};
use http::Request;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

async fn decide(body: &[u8]) {
    let approvals = Arc::new(MemoryStore::new());
    let new = asked(&person("ana"), &[("owners", 1)]);
    approvals.open(new.clone()).await.unwrap();
    let api: Router = router(
        Console::new(
            approvals.clone(),
            Arc::new(crewgate_audit::MemoryStore::new()),
            Arc::new(crewgate_runs::MemoryLedger::new()),
            Arc::new(|_: &Principal| [set("owners")].into()),
            Arc::new(|asked: &NewApproval| Shown::nothing_but_length(asked)),
        )
        .clock(ManualClock::new()),
    );
    let mut request = Request::post(format!("/api/approvals/{}/decision", new.id))
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()))
        .unwrap();
    request.extensions_mut().insert(person("bob"));
    let answer = api.oneshot(request).await.unwrap();
    let counted = !approvals.find(new.id).await.unwrap().unwrap().votes.is_empty();
    assert_eq!(answer.status().is_success(), counted);
    assert!(counted || answer.status().is_client_error());
}

fuzz_target!(|body: &[u8]| {
    RUNTIME.with(|runtime| {
        runtime.get_or_init(|| Builder::new_current_thread().build().unwrap()).block_on(decide(body));
    });
});
