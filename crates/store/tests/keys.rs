//! The keys of a record: made, kept, replaced, missed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crewgate_audit::{
    AuditError, AuditStore, Class, Entry, EraseError, Erasure, FaultKind, Held, Lane, Log, Phase, Query,
    SealKey, prove,
    tlog::{KeyKind, SignedCheckpoint, Signer},
    verify,
};
use crewgate_core::{Fact, PrincipalKey, PrincipalKind, RequestId, Timestamp};
use crewgate_store::{Keys, OpenError, Options, Store};
use support::{Dir, entry, intruder, verified};

fn beside(dir: &Dir, end: &str) -> PathBuf {
    let mut path = dir.db().into_os_string();
    path.push(end);
    path.into()
}

fn signer(name: &str) -> Signer {
    Signer::generate(name, KeyKind::Log).unwrap()
}

/// The same key again: a signer is not cloned.
fn again(signer: &Signer) -> Signer {
    signer.expose().parse().unwrap()
}

async fn open(dir: &Dir, signers: Vec<Signer>, seal: &SealKey) -> Result<Store, OpenError> {
    Store::open(dir.db(), Options::default().keys(Keys::new(signers, seal.clone())?)).await
}

#[tokio::test]
async fn without_keys_new_ones_are_made_that_only_we_can_read() {
    let dir = Dir::new();
    let store = dir.open().await;
    for end in [".signing-key", ".seal-key"] {
        let mode = fs::metadata(beside(&dir, end)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{end}");
    }
    let origin = store.keys()[0].name().to_owned();
    assert!(origin.starts_with("crewgate/"), "{origin}");
    let checkpoint = SignedCheckpoint::parse(&store.checkpoint().await.unwrap()).unwrap();
    assert_eq!(
        (checkpoint.verify(&store.keys()).unwrap().head.size, &checkpoint.claimed().origin),
        (0, &origin)
    );
    store.close().await;
    assert_eq!(dir.open().await.keys()[0].name(), origin, "the same after a restart");
}

#[tokio::test]
async fn a_record_is_not_opened_without_its_own_keys() {
    let dir = Dir::new();
    let store = dir.open().await;
    store.append(Lane::Outcome, entry(Phase::Outcome, 10)).await.unwrap();
    store.close().await;
    let name = store.keys()[0].name().to_owned();
    let seal = SealKey::generate().unwrap();
    match open(&dir, vec![signer("another/log")], &seal).await {
        Err(OpenError::Key(reason)) => assert!(reason.contains("another/log"), "{reason}"),
        other => panic!("{other:?}"),
    }
    match open(&dir, vec![signer(&name)], &seal).await {
        Err(OpenError::Damaged { reason }) => assert!(reason.contains("no trusted key"), "{reason}"),
        other => panic!("{other:?}"),
    }
    fs::remove_file(beside(&dir, ".seal-key")).unwrap();
    assert!(matches!(Store::open(dir.db(), Options::default()).await, Err(OpenError::Key(_))));
    fs::remove_file(beside(&dir, ".signing-key")).unwrap();
    assert!(matches!(Store::open(dir.db(), Options::default()).await, Err(OpenError::Key(_))));
}

#[tokio::test]
async fn a_key_is_replaced_by_one_that_signs_beside_it_for_a_while() {
    let dir = Dir::new();
    let seal = SealKey::generate().unwrap();
    let [old, new] = [(); 2].map(|()| signer("gate.example/record"));
    let add = async |store: &Store| {
        store.append(Lane::Outcome, entry(Phase::Outcome, 10)).await.unwrap();
        let checkpoint = SignedCheckpoint::parse(&store.checkpoint().await.unwrap()).unwrap();
        store.close().await;
        checkpoint
    };
    let first = add(&open(&dir, vec![again(&old)], &seal).await.unwrap()).await;
    // Not at once: nobody who knows the old key could believe the new one.
    assert!(matches!(open(&dir, vec![again(&new)], &seal).await, Err(OpenError::Damaged { .. })));
    let both = add(&open(&dir, vec![again(&new), again(&old)], &seal).await.unwrap()).await;
    let last = open(&dir, vec![again(&new)], &seal).await.unwrap();
    let told = last.leaves(Query::default().phase(Phase::Key)).await.unwrap();
    let facts = told[0].entry().unwrap().facts;
    let what = format!("key.add {}", new.verifier());
    assert_eq!((told.len(), facts), (1, vec![Fact::Control { by: None, what }]));
    verified(&last).await;
    let last = add(&last).await;
    let [old, new] = [old, new].map(|signer| [signer.verifier().clone()]);
    assert!(first.verify(&old).is_ok() && both.verify(&old).is_ok() && both.verify(&new).is_ok());
    assert!(last.verify(&new).is_ok() && last.verify(&old).is_err());
}

#[tokio::test]
async fn keys_of_two_names_and_those_of_witnesses_sign_no_record() {
    let seal = SealKey::generate().unwrap();
    assert!(Keys::new(vec![signer("a"), signer("b")], seal.clone()).is_err());
    assert!(Keys::new(Vec::new(), seal.clone()).is_err());
    assert!(Keys::new(vec![Signer::generate("a", KeyKind::Witness).unwrap()], seal).is_err());
}

fn by(subject: &str, time: i64) -> Entry {
    let mut entry = Entry::new(Phase::Outcome, RequestId::random(), Timestamp::from_secs(time)).with_fact(
        Fact::Authenticated {
            principal: PrincipalKey::new("okta", subject),
            kind: PrincipalKind::User,
            client: None,
            expires: Timestamp::from_secs(time),
            token: "0123456789abcdef".to_owned(),
        },
    );
    entry.request_body = Some(bytes::Bytes::from_static(b"a canary nobody may find"));
    entry
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn nothing_about_a_person_stands_in_the_file() {
    let dir = Dir::new();
    let store = dir.open().await;
    for time in 0..20 {
        store.append(Lane::Outcome, by("anna-the-canary", time)).await.unwrap();
    }
    for end in ["", "-wal"] {
        let bytes = fs::read(beside(&dir, end)).unwrap();
        assert!(!contains(&bytes, b"canary"), "{end}");
    }
    let found = Query { principal: Some("okta:anna-the-canary".to_owned()), ..Query::default() };
    assert_eq!(store.leaves(found.clone()).await.unwrap().len(), 20, "and they are found all the same");
    store.close().await;
    // Whoever has the file and not the key verifies the tree, and opens nothing.
    let reader = Store::open_read_only_with(dir.db(), None).await.unwrap();
    let leaves = reader.leaves(Query::default()).await.unwrap();
    assert!(leaves.iter().all(|leaf| leaf.held == Held::Sealed && leaf.entry().unwrap().facts.is_empty()));
    assert_eq!(reader.leaves(found).await, Err(AuditError::Unavailable));
    assert!(verify(&reader, None, |_, _| ()).await.unwrap().is_err(), "without a key nothing is believed");
    reader.close().await;
}

#[tokio::test]
async fn an_erased_person_is_unreadable_and_every_proof_holds() {
    let dir = Dir::new();
    let store = dir.open().await;
    for time in 0..4 {
        store.append(Lane::Outcome, by("anna", time)).await.unwrap();
        store.append(Lane::Outcome, by("bob", time)).await.unwrap();
    }
    let before = SignedCheckpoint::parse(&store.checkpoint().await.unwrap()).unwrap();
    let receipt = prove(&store, 0, None).await.unwrap().unwrap();
    store.hold("okta:anna", true, None).await.unwrap();
    assert_eq!(store.erase("okta:anna", None).await, Err(EraseError::Held));
    assert_eq!(store.erase("okta:nobody", None).await, Err(EraseError::Unknown));
    store.hold("okta:anna", false, None).await.unwrap();
    assert_eq!(store.erase("okta:anna", None).await, Ok(4));
    // She comes again: what is new is hers and readable, what is old is not.
    store.append(Lane::Outcome, by("anna", 9)).await.unwrap();
    let of = async |person: &str| {
        let query = Query { principal: Some(person.to_owned()), ..Query::default() };
        let leaves = store.leaves(query).await.unwrap();
        leaves.iter().filter(|leaf| matches!(leaf.held, Held::Open(_))).count()
    };
    assert_eq!((of("okta:anna").await, of("okta:bob").await), (1, 4));
    let verified = verify(&store, Some(&before), |_, _| ()).await.unwrap().unwrap();
    assert_eq!((verified.erased, verified.sealed), (4, 0));
    assert!(receipt.verify(&store.keys(), &[]).is_ok());
    let told = store.leaves(Query::default().phase(Phase::Erasure)).await.unwrap();
    assert!(!format!("{told:?}").contains("anna"), "{told:?}");
    store.close().await;
    assert!(verify(&dir.open().await, Some(&before), |_, _| ()).await.unwrap().is_ok());
}

#[tokio::test]
async fn what_a_crash_leaves_of_an_erased_person_stays_unreadable_and_is_no_tampering() {
    let dir = Dir::new();
    let store = dir.open().await;
    for time in 0..2_500 {
        store.append(Lane::Outcome, by("anna", time)).await.unwrap();
    }
    let mut conn = intruder(&dir.db()).await;
    let sql = "CREATE TABLE kept AS SELECT idx, key, sealed FROM leaf WHERE idx < 10";
    sqlx::query(sql).execute(&mut conn).await.unwrap();
    assert_eq!(store.erase("okta:anna", None).await, Ok(2_500), "in several transactions");
    store.append(Lane::Outcome, by("anna", 9_999)).await.unwrap();
    // As if it had ended after the key was destroyed and before all rows were emptied.
    let sql = "UPDATE leaf SET key = kept.key, sealed = kept.sealed FROM kept WHERE kept.idx = leaf.idx";
    sqlx::query(sql).execute(&mut conn).await.unwrap();
    let leaves = store.leaves(Query::default().limit(10)).await.unwrap();
    assert!(leaves.iter().all(|leaf| matches!(leaf.held, Held::Erased { .. })), "{leaves:?}");
    let verified = verify(&store, None, |_, _| ()).await.unwrap().unwrap();
    assert_eq!((verified.erased, verified.sealed), (2_500, 0));
    // What is left goes with the next wish.
    assert_eq!(store.erase("okta:anna", None).await, Ok(11));
    store.close().await;
}

#[tokio::test]
async fn what_is_old_is_given_up_unless_it_is_on_hold() {
    let dir = Dir::new();
    let store = dir.open().await;
    for time in 0..4 {
        store.append(Lane::Outcome, by("anna", time)).await.unwrap();
        store.append(Lane::Outcome, by("bob", time)).await.unwrap();
    }
    store.hold("okta:bob", true, None).await.unwrap();
    assert_eq!(store.prune(Class::Calls, Timestamp::from_secs(2), None).await, Ok(2));
    assert_eq!(store.prune(Class::Calls, Timestamp::from_secs(2), None).await, Ok(0));
    let verified = verify(&store, None, |_, _| ()).await.unwrap().unwrap();
    assert_eq!(verified.erased, 2);
    let mut conn = intruder(&dir.db()).await;
    sqlx::query("UPDATE leaf SET sealed = NULL WHERE idx = 6").execute(&mut conn).await.unwrap();
    let found = verify(&store, None, |_, _| ()).await.unwrap().unwrap_err();
    assert_eq!((found.leaf, found.kind), (6, FaultKind::Removed), "newer than what was given up");
}
