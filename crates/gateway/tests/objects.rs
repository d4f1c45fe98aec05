//! The record in an object store: every leaf once, as files that anybody can verify and rows that anybody can read.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(unused_imports, dead_code, reason = "each test crate uses its part of the support module")]

mod house;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use crewgate_audit::{
    AuditStore, Cursors, Entry, Folder as Exported, Lane, Log, Phase, tlog::VerifierKey, verify,
};
use crewgate_core::{RequestId, Timestamp};
use futures_util::future::join_all;
use house::{Ground, House, Plan, until};
use http::{Method, StatusCode};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use serde_json::json;
use sha2::{Digest, Sha256};

const TAKE: u8 = 0;
const REFUSE: u8 = 1;
const LOSE: u8 = 2;

/// What a bucket holds, by name.
type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Something that speaks as much S3 as it is asked to.
#[derive(Clone, Default)]
struct Bucket {
    objects: Objects,
    mode: Arc<AtomicU8>,
    /// Puts that came while they were refused or lost, and puts that met an object.
    troubled: Arc<Mutex<usize>>,
    met: Arc<Mutex<usize>>,
}

impl Bucket {
    async fn stand(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bucket = self.clone();
        let app = Router::new().fallback(move |request| async move { bucket.answer(request).await });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        port
    }

    async fn answer(self, request: Request<Body>) -> Response {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 24).await.unwrap();
        let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert!(
            header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/")
                && header("authorization").contains("/eu-central-1/s3/aws4_request")
                && header("authorization").contains("Signature="),
            "{head:?}"
        );
        let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(header("x-amz-content-sha256"), digest, "what is signed is what came");
        let name = head.uri.path().strip_prefix("/bucket/").unwrap().to_owned();
        if head.method == Method::GET {
            return match self.objects.lock().unwrap().get(&name) {
                Some(bytes) => {
                    ([("etag", "\"1\""), ("last-modified", "Mon, 15 Jun 2026 12:00:00 GMT")], bytes.clone())
                        .into_response()
                }
                None => StatusCode::NOT_FOUND.into_response(),
            };
        }
        assert_eq!(head.method, Method::PUT);
        let mode = self.mode.load(Ordering::SeqCst);
        if mode != TAKE {
            *self.troubled.lock().unwrap() += 1;
        }
        if mode == REFUSE {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let mut objects = self.objects.lock().unwrap();
        if header("if-none-match") == "*" && objects.contains_key(&name) {
            *self.met.lock().unwrap() += 1;
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        assert!(
            header("if-none-match") == "*" || name.ends_with("/checkpoint"),
            "{name} can be written over"
        );
        objects.insert(name, body);
        if mode == LOSE {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        ([("etag", "\"1\"")], "").into_response()
    }

    fn troubled(&self) -> usize {
        *self.troubled.lock().unwrap()
    }

    /// Everything under this prefix, as files.
    fn down(&self, prefix: &str, folder: &Path) {
        let _ = fs::remove_dir_all(folder);
        for (name, bytes) in &*self.objects.lock().unwrap() {
            let path = folder.join(name.strip_prefix(prefix).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

fn table(url: &str, more: &str) -> Plan {
    let tables = format!("[[export]]\nname = \"archive\"\nto = \"objects\"\nurl = \"{url}\"\n{more}");
    Plan { tables, ..Plan::default() }
}

fn s3(port: u16, ground: &str) -> Plan {
    table(
        &format!("s3://bucket/{ground}"),
        &format!(
            "region = \"eu-central-1\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
             account = \"AKIATEST\"\nkey = {{ file = \"payroll.key\" }}\n"
        ),
    )
}

async fn cursor(house: &House) -> u64 {
    house.running.store().exported("archive").await.unwrap()
}

async fn fill(house: &House, leaves: usize) {
    let store = house.running.store();
    let entry = || Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(1_781_524_800));
    let appended = (0..leaves).map(|_| store.append(Lane::Outcome, entry()));
    assert!(join_all(appended).await.iter().all(Result::is_ok));
}

/// The leaves of which there are rows, in order.
fn rows(folder: &Path) -> Vec<i64> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.join("parquet")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut leaves = Vec::new();
    for file in files {
        let reader = SerializedFileReader::new(Bytes::from(fs::read(file).unwrap())).unwrap();
        leaves.extend(reader.get_row_iter(None).unwrap().map(|row| row.unwrap().get_long(0).unwrap()));
    }
    leaves
}

/// What is in a folder verifies by the public key alone up to this size, and has a row for each leaf.
async fn whole(folder: &Path, keys: Vec<VerifierKey>, size: u64) {
    let log = Exported::open(folder, keys).unwrap();
    let verified = verify(&log, None, |_, _| ()).await.unwrap().unwrap();
    assert_eq!((verified.head.size, verified.sealed), (size, size));
    assert_eq!(rows(folder), (0..i64::try_from(size).unwrap()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_gets_every_leaf_once_whatever_becomes_of_its_answers() {
    let bucket = Bucket::default();
    let port = bucket.stand().await;
    let mut house = House::start(Ground::lay(s3(port, "gateway/one")).await).await;
    let folder = house.folder.path().join("down");
    let down = || bucket.down("gateway/one/", &folder);
    until("the first leaves", async || (cursor(&house).await > 0).then_some(())).await;

    // Refused, calls go on and the cursor stands still.
    bucket.mode.store(REFUSE, Ordering::SeqCst);
    let before = cursor(&house).await;
    fill(&house, 600).await;
    let answer =
        house.post("/support/kickoff", &house.alice(), json!({ "inputs": { "topic": "tides" } })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("a put that is refused", async || (bucket.troubled() > 0).then_some(())).await;
    assert_eq!(cursor(&house).await, before);

    // Taken and not acknowledged: it is there when it is tried again, and says the same.
    bucket.mode.store(LOSE, Ordering::SeqCst);
    let seen = bucket.troubled();
    until("a put that is lost", async || (bucket.troubled() > seen).then_some(())).await;
    bucket.mode.store(TAKE, Ordering::SeqCst);
    until("full tiles", async || (cursor(&house).await >= 512).then_some(())).await;
    assert!(*bucket.met.lock().unwrap() > 0, "nothing was tried again");

    // The last, partial tile: at once after a start, else when it has waited for a minute.
    let ground = house.stop().await;
    house = House::start(ground).await;
    let keys = house.running.store().keys();
    let size = until("the last leaves", async || {
        let size = house.running.store().head().await.unwrap().size;
        (cursor(&house).await == size && size > 600).then_some(size)
    })
    .await;
    down();
    whole(&folder, keys, size).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_this_machine_gets_the_same() {
    let target = std::env::temp_dir().join(format!("crewgate-objects-{}", std::process::id()));
    let house = House::start(Ground::lay(table(&format!("file://{}", target.display()), "")).await).await;
    let size = until("the first leaves", async || {
        let size = house.running.store().head().await.unwrap().size;
        (cursor(&house).await == size && size > 0).then_some(size)
    })
    .await;
    whole(&target, house.running.store().keys(), size).await;
    house.stop().await;
    fs::remove_dir_all(target).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_another_record_is_kept_is_not_written_over() {
    let bucket = Bucket::default();
    let port = bucket.stand().await;
    let first = House::start(Ground::lay(s3(port, "gateway")).await).await;
    until("the first leaves", async || (cursor(&first).await > 0).then_some(())).await;
    first.stop().await;
    let kept = bucket.objects.lock().unwrap().clone();

    let second = House::start(Ground::lay(s3(port, "gateway")).await).await;
    until("a warning", async || {
        let health = second.ops("/readyz").await.json().to_string();
        health.contains("another record is kept there").then_some(())
    })
    .await;
    assert_eq!(cursor(&second).await, 0);
    assert_eq!(*bucket.objects.lock().unwrap(), kept);
    second.stop().await;
}
