//! What is old is given up by class, then leaf by leaf; what is on hold stays, and so does every proof.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use crewgate_audit::{
    AuditError, AuditStore, Class, Entry, Erasure, Fault, FaultKind, Folder, Held, Lane, Log, Phase, Query,
    Word, export, prove,
    tlog::{Receipt, SignedCheckpoint, Tiles},
    verify,
};
use crewgate_core::{Fact, PrincipalKey, PrincipalKind, RequestId, Timestamp};
use crewgate_store::Store;
use futures_util::future::join_all;
use support::{Dir, intruder};

fn by(phase: Phase, subject: &str, second: i64) -> Entry {
    let principal = PrincipalKey::new("okta", subject);
    let fact = Fact::Authenticated {
        principal,
        kind: PrincipalKind::User,
        client: None,
        token: String::new(),
        expires: Timestamp::from_secs(second),
    };
    Entry::new(phase, RequestId::random(), Timestamp::from_secs(second)).with_fact(fact)
}

/// So many outcomes, one a second, of anna and of bob in turn.
async fn filled(dir: &Dir, leaves: i64) -> Store {
    let store = dir.open().await;
    let entry = |n: i64| by(Phase::Outcome, if n % 2 == 0 { "anna" } else { "bob" }, n);
    let appended = (0..leaves).map(|n| store.append(Lane::Outcome, entry(n)));
    assert!(join_all(appended).await.iter().all(Result::is_ok));
    store
}

async fn verdict(log: &dyn Log) -> Result<(u64, u64), Fault> {
    verify(log, None, |_, _| ()).await.unwrap().map(|verified| (verified.first, verified.erased))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(second)
}

const ALL: u64 = u64::MAX;

#[tokio::test]
async fn each_class_is_given_up_by_itself() {
    let dir = Dir::new();
    let store = dir.open().await;
    for second in 0..4 {
        store.append(Lane::Outcome, by(Phase::Outcome, "anna", second)).await.unwrap();
        store.append(Lane::Outcome, by(Phase::Refused, "anna", second)).await.unwrap();
    }
    let admin = PrincipalKey::new("okta", "admin");
    assert_eq!(store.prune(Class::Refusals, at(3), Some(admin.clone())).await, Ok(3));
    assert_eq!(store.prune(Class::Approvals, at(3), None).await, Ok(0));
    let leaves = store.leaves(Query::default()).await.unwrap();
    let gone: Vec<u64> =
        leaves.iter().filter(|leaf| leaf.held == Held::Missing).map(|leaf| leaf.index).collect();
    assert_eq!(gone, [1, 3, 5]);
    assert_eq!(verdict(&store).await, Ok((0, 3)));
    let told = store.leaves(Query::default().phase(Phase::Erasure)).await.unwrap();
    assert_eq!(told.len(), 1, "what gives nothing up is no leaf");
    assert_eq!(told.first().unwrap().entry().unwrap().principal(), Some(&admin), "it says who asked");
    let mut conn = intruder(&dir.db()).await;
    sqlx::query("UPDATE leaf SET subject = NULL WHERE idx = 2").execute(&mut conn).await.unwrap();
    assert_eq!(
        verdict(&store).await,
        Err(Fault { leaf: 2, kind: FaultKind::Removed }),
        "a call is no refusal"
    );
}

#[tokio::test]
async fn a_log_that_was_cut_proves_and_verifies_what_it_holds() {
    let dir = Dir::new();
    let store = filled(&dir, 600).await;
    let early = prove(&store, 3, None).await.unwrap().unwrap();
    let old = SignedCheckpoint::parse(&store.checkpoints(0, 1).await.unwrap().first().unwrap().1).unwrap();
    let before = SignedCheckpoint::parse(&store.checkpoint().await.unwrap()).unwrap();
    assert!(old.claimed().head.size < 512);
    assert_eq!(store.cut(at(540), ALL, None).await, Ok(512));
    assert_eq!(store.first().await, Ok(512));
    assert_eq!(store.tile(0, 1).await.unwrap(), [], "tiles of what is gone are gone");
    assert_eq!(store.tile(1, 0).await.unwrap().len(), 2, "what stands above them is kept");
    assert_eq!(verdict(&store).await, Ok((512, 0)));

    let receipt: Receipt = prove(&store, 555, None).await.unwrap().unwrap().to_string().parse().unwrap();
    assert!(receipt.verify(&store.keys(), &[]).is_ok());
    assert!(early.verify(&store.keys(), &[]).is_ok(), "what was proved stays proved");
    assert_eq!(prove(&store, 3, None).await.unwrap(), None);
    assert!(verify(&store, Some(&before), |_, _| ()).await.unwrap().is_ok());
    let since = verify(&store, Some(&old), |_, _| ()).await;
    assert_eq!(since, Err(AuditError::Cut { first: 512 }), "nothing is left to compare with");

    let outcomes = Query { words: [Word::Kind("outcome".to_owned())].into(), ..Query::default() };
    assert_eq!(store.leaves(outcomes).await.unwrap().len(), 88);
    let folder = dir.db().with_extension("exported");
    export(&store, &folder, true, |_, _| ()).await.unwrap();
    assert_eq!(verdict(&Folder::open(&folder, store.keys()).unwrap()).await, Ok((512, 0)));

    store.close().await;
    let store = dir.open().await;
    store.append(Lane::Outcome, by(Phase::Outcome, "anna", 700)).await.unwrap();
    assert_eq!(verdict(&store).await, Ok((512, 0)), "it goes on after a restart");
    assert_eq!(store.cut(at(540), ALL, None).await, Ok(512));
    let told = store.leaves(Query::default().phase(Phase::Erasure)).await.unwrap();
    assert_eq!(told.len(), 1, "what cuts nothing off is no leaf");
}

#[tokio::test]
async fn a_cut_stops_before_what_must_be_kept() {
    let dir = Dir::new();
    let store = filled(&dir, 1100).await;
    let call = by(Phase::Intent, "carol", 1100);
    store.append(Lane::Intent, call.clone()).await.unwrap();
    assert_eq!(store.cut(at(2000), 700, None).await, Ok(512), "an export has come as far as this");
    store.append(Lane::Outcome, Entry { phase: Phase::Outcome, ..call }).await.unwrap();

    let dir = Dir::new();
    let store = filled(&dir, 300).await;
    let call = by(Phase::Intent, "carol", 300);
    store.append(Lane::Intent, call.clone()).await.unwrap();
    let more = (0..400).map(|n| store.append(Lane::Outcome, by(Phase::Outcome, "dave", 301 + n)));
    join_all(more).await;
    store.hold("okta:bob", true, None).await.unwrap();
    assert_eq!(store.cut(at(2000), ALL, None).await, Ok(0), "bob's first leaf is 1, and he is on hold");
    store.hold("okta:bob", false, None).await.unwrap();
    assert_eq!(store.cut(at(2000), ALL, None).await, Ok(256), "carol's call has not ended");
    store.append(Lane::Outcome, Entry { phase: Phase::Outcome, ..call }).await.unwrap();
    assert_eq!(store.cut(at(2000), ALL, None).await, Ok(512));
    assert_eq!(verdict(&store).await, Ok((512, 0)));
    let mut conn = intruder(&dir.db()).await;
    let keys: i64 =
        sqlx::query_scalar("SELECT count(*) FROM subject_key").fetch_one(&mut conn).await.unwrap();
    assert_eq!(keys, 3, "carol's, dave's and nobody's: of anna and bob nothing is left");
}

#[tokio::test]
async fn leaves_that_were_cut_off_by_somebody_else_are_named() {
    for (told, wrong) in [(false, 0), (true, 256)] {
        let dir = Dir::new();
        let store = filled(&dir, 700).await;
        if told {
            assert_eq!(store.cut(at(300), ALL, None).await, Ok(256));
        }
        store.close().await;
        let mut conn = intruder(&dir.db()).await;
        for sql in ["DELETE FROM leaf WHERE idx < 512", "DELETE FROM tile WHERE level = 0 AND n < 2"] {
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        }
        let reader = Store::open_read_only(dir.db()).await.unwrap();
        assert_eq!(verdict(&reader).await, Err(Fault { leaf: wrong, kind: FaultKind::Deleted }));
        sqlx::query("UPDATE leaf SET record = record || ' ' WHERE idx = 600")
            .execute(&mut conn)
            .await
            .unwrap();
        assert_eq!(
            verdict(&reader).await,
            Err(Fault { leaf: wrong, kind: FaultKind::Deleted }),
            "it comes first"
        );
    }
}
