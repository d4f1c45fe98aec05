//! The record handed on: whatever happens to whoever takes it, nothing is lost, nothing is out of order, and calls go on.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(unused_imports, dead_code, reason = "each test crate uses its part of the support module")]

mod house;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use crewgate_audit::{Cursors, Log};
use crewgate_gateway::config::Settings;
use house::{Ground, House, Plan, until};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ocsf,
    Otlp,
    Syslog,
}

impl Kind {
    /// The leaves a batch tells of, in its order.
    fn leaves(self, batch: &[u8]) -> Vec<u64> {
        let text = std::str::from_utf8(batch).unwrap();
        match self {
            Self::Ocsf => text.lines().map(|line| leaf(line, "/metadata/sequence")).collect(),
            Self::Otlp => {
                let logs: Value = serde_json::from_str(text).unwrap();
                let records =
                    logs.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap().as_array().unwrap();
                let attribute = |record: &Value| {
                    let attributes = record.get("attributes").unwrap().as_array().unwrap();
                    let leaf = attributes
                        .iter()
                        .find(|one| one.get("key") == Some(&json!("crewgate.leaf")))
                        .unwrap();
                    leaf.pointer("/value/intValue").unwrap().as_str().unwrap().parse().unwrap()
                };
                records.iter().map(attribute).collect()
            }
            Self::Syslog => {
                let (mut rest, mut leaves) = (text, Vec::new());
                while let Some((length, more)) = rest.split_once(' ') {
                    let (message, more) = more.split_at(length.parse().unwrap());
                    leaves.push(leaf(message.split_once("\"] ").unwrap().1, "/leaf"));
                    rest = more;
                }
                leaves
            }
        }
    }
}

fn leaf(json: &str, place: &str) -> u64 {
    serde_json::from_str::<Value>(json).unwrap().pointer(place).unwrap().as_u64().unwrap()
}

const TAKE: u8 = 0;
const REFUSE: u8 = 1;
const LOSE: u8 = 2;

/// Somebody who takes the record: as long as it stands, on the same port whenever it is put up again.
struct Receiver {
    kind: Kind,
    port: u16,
    tls: Option<TlsAcceptor>,
    mode: Arc<AtomicU8>,
    /// Leaves of batches that were taken and acknowledged.
    taken: Arc<Mutex<Vec<u64>>>,
    /// Batches that came, whatever became of them.
    seen: Arc<Mutex<usize>>,
    standing: Option<tokio::task::JoinHandle<()>>,
}

impl Receiver {
    async fn new(kind: Kind, tls: Option<TlsAcceptor>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(TAKE));
        let mut receiver =
            Self { kind, port, tls, mode, taken: Arc::default(), seen: Arc::default(), standing: None };
        receiver.stand_up().await;
        receiver
    }

    async fn stand_up(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let (kind, tls, mode) = (self.kind, self.tls.clone(), Arc::clone(&self.mode));
        let (taken, seen) = (Arc::clone(&self.taken), Arc::clone(&self.seen));
        self.standing = Some(tokio::spawn(async move {
            // Gone with this task, connections and all.
            let mut calls = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, taken, seen) = (tls.clone(), Arc::clone(&taken), Arc::clone(&seen));
                let mode = mode.load(Ordering::SeqCst);
                calls.spawn(async move {
                    match tls {
                        Some(tls) => {
                            let Ok(io) = tls.accept(tcp).await else { return };
                            serve(kind, io, mode, &taken, &seen).await;
                        }
                        None => serve(kind, tcp, mode, &taken, &seen).await,
                    }
                });
            }
        }));
    }

    fn fall(&mut self) {
        if let Some(standing) = self.standing.take() {
            standing.abort();
        }
    }

    fn mode(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap().clone()
    }

    fn seen(&self) -> usize {
        *self.seen.lock().unwrap()
    }
}

async fn serve(
    kind: Kind,
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    mode: u8,
    taken: &Mutex<Vec<u64>>,
    seen: &Mutex<usize>,
) {
    let mut batch = Vec::new();
    if kind == Kind::Syslog {
        if mode != TAKE {
            // Hanging up on what was not read is no end in order.
            let _ = io.read_u8().await;
            *seen.lock().unwrap() += 1;
            return;
        }
        if io.read_to_end(&mut batch).await.is_err() {
            return;
        }
    } else {
        let head = loop {
            if let Some(end) = batch.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if !matches!(io.read_buf(&mut batch).await, Ok(n) if n > 0) {
                return;
            }
        };
        let text = String::from_utf8(batch.drain(..head).collect()).unwrap().to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let length: usize = length.parse().unwrap();
        while batch.len() < length {
            if !matches!(io.read_buf(&mut batch).await, Ok(n) if n > 0) {
                return;
            }
        }
    }
    *seen.lock().unwrap() += 1;
    if mode == LOSE {
        return;
    }
    if kind != Kind::Syslog {
        let status = if mode == TAKE { "200 OK" } else { "503 Service Unavailable" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = io.write_all(answer.as_bytes()).await;
    }
    if mode == TAKE {
        taken.lock().unwrap().extend(kind.leaves(&batch));
    }
    let _ = io.shutdown().await;
}

async fn calls(house: &House, count: usize) {
    for _ in 0..count {
        let inputs = json!({ "inputs": { "topic": "tides" } });
        let answer = house.post("/support/kickoff", &house.alice(), inputs).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Everything that is on the record by now was taken.
async fn caught_up(house: &House, receiver: &Receiver) {
    until("the record to be handed on", async || {
        let size = house.running.store().head().await.unwrap().size;
        (receiver.taken().last() == Some(&(size - 1))).then_some(())
    })
    .await;
}

async fn conforms(kind: Kind, tables: String, mut receiver: Receiver) {
    let mut house = House::start(Ground::lay(Plan { tables, ..Plan::default() }).await).await;
    calls(&house, 3).await;
    caught_up(&house, &receiver).await;

    // Nobody there: calls go on, health says so, and the cursor stands still.
    receiver.fall();
    let taken = receiver.taken().len();
    calls(&house, 3).await;
    until("a warning", async || {
        let health = house.ops("/readyz").await.json().to_string();
        health.contains("export siem").then_some(()).filter(|()| health.contains("amber"))
    })
    .await;
    let cursor = async |house: &House| house.running.store().exported("siem").await.unwrap();
    assert_eq!(cursor(&house).await, u64::try_from(taken).unwrap());

    // There again, and it refuses, and then loses what it was given: neither is an acknowledgement.
    for mode in [REFUSE, LOSE] {
        receiver.mode(mode);
        if receiver.standing.is_none() {
            receiver.stand_up().await;
        }
        let seen = receiver.seen();
        until("a batch that is not acknowledged", async || (receiver.seen() > seen).then_some(())).await;
        calls(&house, 1).await;
        assert_eq!(cursor(&house).await, u64::try_from(taken).unwrap(), "{kind:?}");
    }

    // The gateway ends, begins again, and goes on where it was.
    let ground = house.stop().await;
    receiver.mode(TAKE);
    house = House::start(ground).await;
    calls(&house, 2).await;
    caught_up(&house, &receiver).await;
    let size = house.running.store().head().await.unwrap().size;
    assert_eq!(
        receiver.taken(),
        (0..size).collect::<Vec<_>>(),
        "{kind:?}: each once, in order, none left out"
    );
    until("the cursor", async || (cursor(&house).await == size).then_some(())).await;
    house.stop().await;
}

fn table(to: &str, url: &str, more: &str) -> String {
    format!("[[export]]\nname = \"siem\"\nto = \"{to}\"\nurl = \"{url}\"\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_otlp_logs_gets_every_leaf_in_order() {
    let receiver = Receiver::new(Kind::Otlp, None).await;
    conforms(Kind::Otlp, table("otlp", &format!("http://127.0.0.1:{}", receiver.port), ""), receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_ocsf_events_gets_every_leaf_in_order() {
    let receiver = Receiver::new(Kind::Ocsf, None).await;
    conforms(Kind::Ocsf, table("ocsf", &format!("http://127.0.0.1:{}/in", receiver.port), ""), receiver)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_server_gets_every_leaf_in_order() {
    let receiver = Receiver::new(Kind::Syslog, None).await;
    conforms(Kind::Syslog, table("syslog", &format!("tcp://127.0.0.1:{}", receiver.port), ""), receiver)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_server_behind_tls_gets_every_leaf_in_order() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = house::Folder::new();
    let ca = folder.write("ca.pem", key.cert.pem());
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let receiver = Receiver::new(Kind::Syslog, Some(TlsAcceptor::from(Arc::new(server)))).await;
    let url = format!("tls://localhost:{}", receiver.port);
    let more = format!("ca = \"{}\"\n", ca.display());
    conforms(Kind::Syslog, table("syslog", &url, &more), receiver).await;
}

#[tokio::test]
async fn what_is_wrong_with_an_export_is_said_with_its_place() {
    for (tables, said) in [
        (
            table("kafka", "http://127.0.0.1:1", ""),
            "`kafka` is none of `objects`, `ocsf`, `otlp` and `syslog`",
        ),
        (table("otlp", "http://collector.example", ""), "plain HTTP to another machine"),
        (table("syslog", "tcp://logs.example:601", ""), "plain TCP to another machine"),
        (table("syslog", "udp://127.0.0.1:514", ""), "is no log server"),
        (table("syslog", "tls://logs.example:6514", "bearer = { env = \"PATH\" }"), "syslog has no bearer"),
        (table("ocsf", "https://siem.example", "ca = \"nowhere.pem\""), "nowhere.pem` cannot be read"),
        (table("ocsf", "https://siem.example", "region = \"eu\""), "is for `to = \"objects\"`"),
        (table("objects", "s3://bucket", ""), "`region` belongs to it"),
        (table("objects", "s3://bucket", "region = \"eu\"\naccount = \"a\""), "`key` belongs to it"),
        (table("objects", "az://container", ""), "`account` belongs to it"),
        (table("objects", "https://bucket", ""), "is none of `s3://`"),
        (table("objects", "file:///tmp", "bearer = { env = \"PATH\" }"), "an object store has `account`"),
        (table("ocsf", "https://siem.example", "colour = 1"), "unknown field `colour`"),
        (table("ocsf", "https://a.example", "") + &table("otlp", "https://b.example", ""), "stands twice"),
    ] {
        let ground = Ground::lay(Plan { tables, ..Plan::default() }).await;
        let error = Settings::load(&ground.config).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("crewgate.toml:"), "{said}: {error}");
    }
}
