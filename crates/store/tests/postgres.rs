//! PostgreSQL passes the suites every store must pass, and gateways that share one take turns.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use crewgate_approval::ApprovalStore;
use crewgate_audit::tlog::{KeyKind, Signer};
use crewgate_audit::{AuditError, AuditStore, Erasure, Held, Lane, Phase, Query, SealKey, verify};
use crewgate_store::{Keys, OpenError, Options, Postgres, Store};
use crewgate_testkit::{postgres, suites};
use support::entry;

/// A new database and the keys of its record.
struct Database {
    url: String,
    keys: Keys,
}

impl Database {
    /// `None` where there is no PostgreSQL, which has been said.
    fn new() -> Option<Self> {
        let signer = Signer::generate("crewgate/shared", KeyKind::Log).unwrap();
        let keys = Keys::new(vec![signer], SealKey::generate().unwrap()).unwrap();
        Some(Self { url: postgres::database()?, keys })
    }

    fn options(&self) -> Options {
        Options::default().keys(self.keys.clone())
    }

    async fn open(&self) -> Store {
        Store::connect(Postgres::new(&self.url).unwrap(), self.options()).await.unwrap()
    }

    async fn intruder(&self) -> sqlx::PgConnection {
        <sqlx::PgConnection as sqlx::Connection>::connect(&self.url).await.unwrap()
    }
}

async fn fresh() -> Store {
    Database::new().unwrap().open().await
}

/// Whether there is a PostgreSQL; if not, that has been said and the test passes.
fn here() -> bool {
    postgres::database().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_audit_store() {
    if here() {
        suites::audit::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_how_far_exports_have_come() {
    if here() {
        suites::cursors::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_approval_store() {
    if here() {
        suites::approval::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
        suites::glass::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_what_it_must() {
    if here() {
        suites::erasure::conforms(fresh).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store_of_delegations() {
    if here() {
        suites::delegation::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

/// As often as `CREWGATE_RACES` says; 100 times without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_of_two_replicas_for_an_approval_have_one_winner() {
    let Some(database) = Database::new() else { return };
    let replicas = [Arc::new(database.open().await) as Arc<_>, Arc::new(database.open().await) as Arc<_>];
    suites::approval::races(replicas, support::rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_callers_names() {
    if here() {
        suites::keys::conforms(async || Arc::new(fresh().await)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_grant_store() {
    if here() {
        suites::grant::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
        let store = fresh().await;
        suites::grant::is_given_with_the_last_yes(&store, &store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_ledger_of_runs() {
    if here() {
        let fresh = async || Arc::new(fresh().await) as Arc<_>;
        suites::runs::conforms(fresh).await;
        suites::runs::races(fresh, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_revocations() {
    if here() {
        suites::revocation::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_remembers_used_ids() {
    if here() {
        suites::used::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_sessions() {
    if here() {
        suites::session::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_inventory_of_tokens() {
    if here() {
        suites::inventory::conforms(async || Arc::new(fresh().await) as Arc<_>).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_meter() {
    if !here() {
        return;
    }
    let mut stores = Vec::new();
    for _ in 0..12 {
        stores.push(Arc::new(fresh().await));
    }
    let stores = std::sync::Mutex::new(stores);
    suites::meter::conforms(|| stores.lock().unwrap().pop().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_write_one_log_in_turn() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (database.open().await, database.open().await);
    let mut put = Vec::new();
    for n in 0..200 {
        let store = if n % 2 == 0 { a.clone() } else { b.clone() };
        put.push(tokio::spawn(async move { store.append(Lane::Outcome, entry(Phase::Control, 100)).await }));
    }
    let mut places = Vec::new();
    for put in put {
        places.push(put.await.unwrap().unwrap().index);
    }
    places.sort_unstable();
    assert!(places.into_iter().eq(0..200), "every leaf has a place of its own, without gaps");
    let leaves = support::verified(&a).await;
    assert_eq!(leaves.len(), 200);
    assert_eq!(support::verified(&b).await, leaves, "and both see the same");
    // Somebody else, with the keys and without a gateway.
    let postgres = Postgres::new(&database.url).unwrap();
    let reader = Store::connect_read_only(&postgres, Some(&database.keys)).await.unwrap();
    assert!(verify(&reader, None, |_, _| ()).await.unwrap().is_ok());
    let refused = reader.append(Lane::Outcome, entry(Phase::Control, 0)).await;
    assert_eq!(refused, Err(AuditError::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_reaches_the_other_gateway() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (database.open().await, database.open().await);
    let new = suites::approval::asked(&suites::approval::person("ana"), &[("owners", 1)]);
    // Listening begins after opening; a ring that comes too early is one that is lost, and then the row is looked at.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut ear = b.hint().listen_for(new.id);
    ApprovalStore::open(&a, new).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), ear.heard()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_erased_at_one_gateway_is_unreadable_at_the_other_and_may_come_again() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (database.open().await, database.open().await);
    let by_ana = || {
        entry(Phase::Control, 10).with_fact(crewgate_core::Fact::Authenticated {
            principal: crewgate_core::PrincipalKey::new("okta", "ana"),
            kind: crewgate_core::PrincipalKind::User,
            client: None,
            expires: crewgate_core::Timestamp::from_secs(1_781_524_800),
            token: "0123456789abcdef".to_owned(),
        })
    };
    a.append(Lane::Outcome, by_ana()).await.unwrap();
    b.append(Lane::Outcome, by_ana()).await.unwrap();
    assert_eq!(a.erase("okta:ana", None).await.unwrap(), 2);
    let place = b.append(Lane::Outcome, by_ana()).await.unwrap();
    let leaves = b.leaves(Query::default()).await.unwrap();
    let readable: Vec<u64> =
        leaves.iter().filter(|leaf| matches!(leaf.held, Held::Open(_))).map(|leaf| leaf.index).collect();
    assert_eq!(readable, [2, place.index], "the leaf that tells of it, and what came later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_and_comes_back_is_gone_on_with() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
    postgres::hang_up(&database.url);
    // Whoever comes first finds the connection gone, and nothing was changed; a reader's is made again.
    let mut again = store.append(Lane::Outcome, entry(Phase::Control, 0)).await;
    if let Err(error) = &again {
        assert_eq!(*error, AuditError::Unavailable);
        again = store.append(Lane::Outcome, entry(Phase::Control, 0)).await;
    }
    assert_eq!(again.unwrap().index, 1);
    assert!(store.is_writable());
    support::verified(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_went_back_or_was_signed_by_others_is_not_gone_on_with() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    for _ in 0..3 {
        store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
    }
    let mut conn = database.intruder().await;
    for sql in ["DELETE FROM leaf WHERE idx >= 2", "DELETE FROM checkpoint WHERE size > 2"] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    let refused = store.append(Lane::Outcome, entry(Phase::Control, 0)).await;
    assert_eq!(refused, Err(AuditError::Unavailable));

    // A gateway with keys of its own is another log's.
    let Some(other) = Database::new() else { return };
    other.open().await.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
    let postgres = Postgres::new(&other.url).unwrap();
    let opened = Store::connect(postgres, database.options()).await;
    assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
}

#[test]
fn only_a_server_that_is_known_or_on_this_machine_will_do() {
    for (address, good) in [
        ("postgres://gw@db.internal/crewgate?sslmode=verify-full", true),
        ("postgres://gw@db.internal/crewgate?sslmode=verify-ca", false),
        ("postgres://gw@db.internal/crewgate?sslmode=require", false),
        ("postgres://gw@db.internal/crewgate", false),
        ("postgres://gw@10.0.0.7/crewgate?sslmode=disable", false),
        ("postgres://gw@127.0.0.1/crewgate", true),
        ("postgres://gw@localhost:5433/crewgate?sslmode=disable", true),
        ("postgres://gw@%2Fvar%2Frun%2Fpostgresql/crewgate", true),
        ("mysql://localhost/crewgate", false),
        ("postgres", false),
    ] {
        assert_eq!(Postgres::new(address).is_ok(), good, "{address}");
    }
    let shown =
        format!("{0} {0:?}", Postgres::new("postgres://gw@localhost/crewgate").unwrap().password("hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_certificate() {
    let Some(database) = Database::new() else { return };
    let certificate = postgres::certificate().unwrap();
    let known = format!("sslmode=verify-full&sslrootcert={}", certificate.display());
    let address = |host: &str, query: &str| {
        let address = database.url.replace("127.0.0.1", host).replace("sslmode=disable", query);
        Postgres::new(&address).unwrap()
    };
    let store = Store::connect(address("localhost", &known), database.options()).await.unwrap();
    store.append(Lane::Outcome, entry(Phase::Control, 0)).await.unwrap();
    // By another name it is another server, and without its certificate nobody knows it.
    for wrong in [address("127.0.0.1", &known), address("localhost", "sslmode=verify-full")] {
        let opened = Store::connect(wrong, database.options()).await;
        assert!(matches!(opened, Err(OpenError::Database(_))), "{opened:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_keys_is_not_opened() {
    let Some(database) = Database::new() else { return };
    let opened = Store::connect(Postgres::new(&database.url).unwrap(), Options::default()).await;
    assert!(matches!(opened, Err(OpenError::Key(_))), "{opened:?}");
    assert!(matches!(Postgres::new("mysql://somewhere"), Err(OpenError::Database(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_on_the_disk_whatever_the_database_was_told() {
    let Some(database) = Database::new() else { return };
    let mut conn = database.intruder().await;
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut conn).await.unwrap();
    let sql = format!("ALTER ROLE postgres IN DATABASE {name} SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    // Ours is stronger than what the role was given.
    drop(database.open().await);
    // A server that forgets is refused; what it says is all that can be looked at.
    let sql = format!("ALTER DATABASE {name} SET search_path = lies, pg_catalog");
    for sql in [
        "CREATE SCHEMA lies",
        "CREATE FUNCTION lies.current_setting(name text) RETURNS text LANGUAGE sql AS
         $$ SELECT CASE name WHEN 'fsync' THEN 'off' ELSE pg_catalog.current_setting(name) END $$",
        &sql,
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    }
    let opened = Store::connect(Postgres::new(&database.url).unwrap(), database.options()).await;
    assert!(matches!(&opened, Err(OpenError::Server(why)) if why.contains("fsync = off")), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_gateways_hands_the_record_on_and_the_other_when_it_has_stopped() {
    use crewgate_audit::{Cursors, EXPORT_TURN};
    use crewgate_testkit::ManualClock;
    let Some(database) = Database::new() else { return };
    let clock = ManualClock::at(suites::runs::start());
    let open = async || {
        let options = database.options().clock(clock.clone());
        Store::connect(Postgres::new(&database.url).unwrap(), options).await.unwrap()
    };
    let (a, b) = (open().await, open().await);
    assert_eq!((a.leads("siem").await, b.leads("siem").await), (Ok(true), Ok(false)));
    assert_eq!(b.leads("archive").await, Ok(true), "each export by itself");
    clock.advance(EXPORT_TURN / 2);
    assert_eq!((a.leads("siem").await, b.leads("siem").await), (Ok(true), Ok(false)), "it goes on");
    clock.advance(EXPORT_TURN);
    assert_eq!((b.leads("siem").await, a.leads("siem").await), (Ok(true), Ok(false)), "it had stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rolled_back_and_written_on_is_not_gone_on_with() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let put = async |store: &Store| store.append(Lane::Outcome, entry(Phase::Control, 0)).await;
    put(&store).await.unwrap();
    let mut conn = database.intruder().await;
    let mut sql = async |sql: &'static str| {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    };
    for copy in [
        "CREATE TABLE old_leaf AS SELECT idx, record, subject, key, sealed FROM leaf",
        "CREATE TABLE old_tile AS SELECT * FROM tile",
        "CREATE TABLE old_checkpoint AS SELECT * FROM checkpoint",
    ] {
        sql(copy).await;
    }
    put(&store).await.unwrap();
    for back in [
        "DELETE FROM leaf",
        "DELETE FROM tile",
        "DELETE FROM checkpoint",
        "INSERT INTO leaf (idx, record, subject, key, sealed) SELECT * FROM old_leaf",
        "INSERT INTO tile SELECT * FROM old_tile",
        "INSERT INTO checkpoint SELECT * FROM old_checkpoint",
        "DELETE FROM leaf_word WHERE idx > 0",
    ] {
        sql(back).await;
    }
    // Another gateway knows nothing of what was signed meanwhile.
    let other = database.open().await;
    put(&other).await.unwrap();
    assert_eq!(put(&store).await, Err(AuditError::Unavailable), "as long, and another one");
    put(&other).await.unwrap();
    assert_eq!(put(&store).await, Err(AuditError::Unavailable), "longer, and another one");
    support::verified(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_has_happened_even_where_another_call_ended_the_transaction() {
    use crewgate_oidc::UsedIds;
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let mut conn = database.intruder().await;
    sqlx::query("ALTER TABLE subject_key RENAME TO gone").execute(&mut conn).await.unwrap();
    let (now, mut refused) = (suites::runs::start(), 0);
    for n in 0..50 {
        let id = format!("job-{n}");
        let until = now.saturating_add(Duration::from_secs(60));
        let spent = store.spend("github", &id, until, now);
        let (spent, put) = tokio::join!(spent, store.append(Lane::Outcome, entry(Phase::Control, 0)));
        assert_eq!(put, Err(AuditError::Unavailable));
        refused += usize::from(spent.is_err());
        assert_eq!(store.is_used("github", &id).await.unwrap(), spent.is_ok(), "{n}");
    }
    assert!(refused > 0, "they never met in a transaction");
}
