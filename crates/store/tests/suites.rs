//! The database passes the suites every store must pass.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use crewgate_core::Fact;
use crewgate_testkit::suites;
use support::{Dir, Dirs, intruder};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_audit_store() {
    let dirs = Dirs::default();
    suites::audit::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_how_far_exports_have_come() {
    let dirs = Dirs::default();
    suites::cursors::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_approval_store() {
    let dirs = Dirs::default();
    let fresh = async || Arc::new(dirs.open().await) as Arc<_>;
    suites::approval::conforms(fresh).await;
    suites::glass::conforms(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_what_it_must() {
    let dirs = Dirs::default();
    suites::erasure::conforms(async || dirs.open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store_of_delegations() {
    let dirs = Dirs::default();
    suites::delegation::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
}

/// As often as `CREWGATE_RACES` says; 100 times without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_for_an_approval_have_one_winner() {
    let dirs = Dirs::default();
    let store: Arc<dyn crewgate_approval::ApprovalStore> = Arc::new(dirs.open().await);
    suites::approval::races([Arc::clone(&store), store], support::rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_callers_names() {
    let dirs = Dirs::default();
    suites::keys::conforms(async || Arc::new(dirs.open().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_grant_store() {
    let dirs = Dirs::default();
    suites::grant::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
    let store = dirs.open().await;
    suites::grant::is_given_with_the_last_yes(&store, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_ledger_of_runs() {
    let dirs = Dirs::default();
    let fresh = async || Arc::new(dirs.open().await) as Arc<_>;
    suites::runs::conforms(fresh).await;
    suites::runs::races(fresh, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_revocations_and_tells_them() {
    let dirs = Dirs::default();
    suites::revocation::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
    let store = dirs.open().await;
    let ana = suites::revocation::revocation(suites::revocation::subject("ana"), 0);
    crewgate_oidc::RevocationStore::revoke(&store, ana).await.unwrap();
    let told = support::verified(&store).await.pop().unwrap().entry().unwrap();
    assert!(
        matches!(&told.facts[..], [Fact::Control { what, .. }, Fact::Revocation { .. }] if what == "revocation.add")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_remembers_used_ids_over_a_restart() {
    use crewgate_oidc::UsedIds;
    let dirs = Dirs::default();
    suites::used::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
    let (dir, now) = (Dir::new(), suites::runs::start());
    let until = now.saturating_add(Duration::from_secs(60));
    let store = dir.open().await;
    assert!(store.spend("github", "job", until, now).await.unwrap());
    store.close().await;
    let store = dir.open().await;
    assert!(!store.spend("github", "job", until, now).await.unwrap());
    // What is over is swept by what comes.
    assert!(store.spend("github", "next", until, until).await.unwrap());
    assert!(!store.is_used("github", "job").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_sessions_and_tells_them() {
    use crewgate_oidc::{NewSession, SessionId, SessionStore};
    let dirs = Dirs::default();
    suites::session::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
    let (dir, id) = (Dir::new(), SessionId::random().unwrap());
    let store = dir.open().await;
    let session = suites::session::session("ana", "s", Duration::ZERO);
    store.begin(NewSession { key: id.key(), session: session.clone(), over: None }).await.unwrap();
    store.close().await;
    let store = dir.open().await;
    assert_eq!(store.resume(id.key(), session.begun).await.unwrap(), Some(session.clone()));
    assert!(store.end(id.key(), session.begun).await.unwrap());
    let told: Vec<_> = support::verified(&store).await.iter().filter_map(|leaf| leaf.entry().ok()).collect();
    let told: Vec<_> = told.iter().flat_map(|entry| &entry.facts).collect();
    assert!(told.contains(&&session.begins()) && told.contains(&&session.ends()));
    // What lets somebody in is not kept.
    store.close().await;
    let kept = std::fs::read(dir.db()).unwrap();
    let shown = id.reveal();
    assert!(!kept.windows(shown.len()).any(|window| window == shown.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_inventory_of_tokens() {
    let dirs = Dirs::default();
    suites::inventory::conforms(async || Arc::new(dirs.open().await) as Arc<_>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_meter() {
    let dirs = Dirs::default();
    // The suite wants its meters at once; eight behaviours, each with one of its own.
    let mut stores = Vec::new();
    for _ in 0..12 {
        stores.push(Arc::new(dirs.open().await));
    }
    let stores = std::sync::Mutex::new(stores);
    suites::meter::conforms(|| stores.lock().unwrap().pop().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_survives_a_restart_and_what_is_over_is_swept() {
    use crewgate_policy::{Meter, TakeError};
    let (dir, ana) = (Dir::new(), crewgate_core::PrincipalKey::new("okta", "ana"));
    let minute = Duration::from_secs(60);
    let (duty, now) = ([suites::meter::duty("one", 1, minute)].into(), suites::runs::start());
    let store = dir.open().await;
    assert_eq!(store.take(&ana, &duty, now).await, Ok(()));
    store.close().await;
    let store = dir.open().await;
    let refused = store.take(&ana, &duty, now).await;
    assert!(matches!(refused, Err(TakeError::Exhausted { retry_after, .. }) if retry_after == minute));
    for minutes in 1..10 {
        assert_eq!(store.take(&ana, &duty, now.saturating_add(minute * minutes)).await, Ok(()));
    }
    let mut conn = intruder(&dir.db()).await;
    let marks: i64 = sqlx::query_scalar("SELECT count(*) FROM rate_mark").fetch_one(&mut conn).await.unwrap();
    assert_eq!(marks, 1);
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
