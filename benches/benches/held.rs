//! Ten thousand calls held at once by a gateway in a process of its own: what each costs in memory, how soon an approved
//! one reaches the crew, and that none is dropped when the gateway stops. Prints its numbers; `--test` holds a hundred.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::post};
use crewgate_approval::{Approval, ApprovalStore, Filter, Phase};
use crewgate_core::{Clock, SystemClock};
use crewgate_gateway::{Gateway, Signals, config::Settings};
use crewgate_store::Store;
use crewgate_testkit::DevIdp;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Set in the process that is the gateway: its configuration.
const CHILD: &str = "CREWGATE_BENCH_HELD";

/// Calls being opened at once.
const OPENING: usize = 64;

/// Decisions made at once: a busy morning of approvers.
const DECIDING: usize = 4;

/// When each call reached the crew, by its topic.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var_os(CHILD) {
        Some(config) => runtime.block_on(gateway(Path::new(&config))),
        None => {
            let (calls, decisions) =
                if std::env::args().any(|word| word == "--test") { (100, 20) } else { (10_000, 1000) };
            runtime.block_on(measure(calls, decisions));
        }
    }
}

async fn gateway(config: &Path) {
    let running = Gateway::start(Settings::load(config).unwrap()).await.unwrap();
    println!("{} {}", running.data(), running.console().unwrap());
    running.until_told(Signals::listen().unwrap()).await;
}

async fn measure(calls: usize, decisions: usize) {
    let idp = DevIdp::start().await.unwrap();
    let arrivals = Arrivals::default();
    let crew = crew(Arc::clone(&arrivals)).await;
    let folder = std::env::temp_dir().join(format!("crewgate-held-{}", std::process::id()));
    let config = configure(&folder, idp.url(), crew, calls);
    let (mut child, data, console) = spawn(&config);
    let token = |subject: &str, group: &str| {
        let token = idp.token().subject(subject).groups([group]).audience("crewgate");
        token.lifetime(Duration::from_secs(3000)).sign()
    };
    let (alice, dora) = (token("alice", "analysts"), token("dora", "owners"));
    // Keys, rules and code are read: what comes now is the calls' own.
    answered(data, &request("GET", "/support/inputs", &alice, "")).await;
    let before = resident(&child);

    let mut held = JoinSet::new();
    let open = Arc::new(tokio::sync::Semaphore::new(OPENING));
    let store = Store::open_read_only(folder.join("crewgate.db")).await.unwrap();
    let begun = Instant::now();
    for number in 0..calls {
        let seat = Arc::clone(&open).acquire_owned().await.unwrap();
        let body = json!({ "inputs": { "topic": format!("topic-{number}") } }).to_string();
        let bytes = request("POST", "/support/kickoff", &alice, &body);
        held.spawn(async move {
            let mut stream = TcpStream::connect(data).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            drop(seat);
            read(&mut stream).await
        });
    }
    let waiting = loop {
        let waiting = waiting(&store, calls).await;
        if waiting.len() == calls {
            break waiting;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let opened = begun.elapsed();
    // What opening them took and gave back is not what holding them costs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = resident(&child).saturating_sub(before) / calls;
    println!("{calls} calls are held after {opened:.1?}: {:.1} kB of memory each", each as f64 / 1000.0);

    let one_more = request("POST", "/support/kickoff", &alice, "{\"inputs\":{\"topic\":\"more\"}}");
    let more = Instant::now();
    assert_eq!(answered(data, &one_more).await.0, 200, "one more than may be held gets its ticket");
    println!("one more than may be held has its ticket after {:.1?}", more.elapsed());

    let mut times: Vec<Duration> = stream::iter(waiting.iter().take(decisions))
        .map(|approval| decide(console, &dora, approval, &arrivals))
        .buffer_unordered(DECIDING)
        .collect()
        .await;
    times.sort();
    let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default();
    let (p50, p99, max) = (at(50), at(99), at(100));
    println!(
        "from a decision sent to the call at the crew, {decisions} of them: p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}"
    );

    let told = Instant::now();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut answers = 0;
    while let Some(answer) = held.join_next().await {
        assert_eq!(answer.unwrap().0, 200, "nobody is dropped");
        answers += 1;
    }
    println!("told to stop: {answers} calls were answered, the last after {:.1?}", told.elapsed());
    assert_eq!((answers, arrivals.lock().unwrap().len()), (calls, decisions));
    assert!(child.wait().unwrap().success());
    store.close().await;
    fs::remove_dir_all(&folder).unwrap();
}

/// From the decision on its way to the approved call at the crew.
async fn decide(console: SocketAddr, dora: &str, approval: &Approval, arrivals: &Arrivals) -> Duration {
    let topic = topic(&approval.asked.outgoing.body);
    let yes = json!({ "verdict": "approve", "digest": approval.asked.digest.to_string() }).to_string();
    let path = format!("/api/approvals/{}/decision", approval.id());
    let sent = Instant::now();
    let (status, answer) = answered(console, &request("POST", &path, dora, &yes)).await;
    assert_eq!(status, 200, "{answer}");
    loop {
        if let Some(at) = arrivals.lock().unwrap().get(&topic) {
            return at.saturating_duration_since(sent);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn topic(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body.pointer("/inputs/topic").unwrap().as_str().unwrap().to_owned()
}

async fn crew(arrivals: Arrivals) -> SocketAddr {
    let kickoff = async |State(arrivals): State<Arrivals>, body: String| {
        arrivals.lock().unwrap().insert(topic(body.as_bytes()), Instant::now());
        let number = arrivals.lock().unwrap().len();
        format!("{{\"kickoff_id\":\"3f1a2b4c-0000-4000-8000-{number:012}\"}}")
    };
    let inputs = async || "{\"inputs\":[\"topic\"]}";
    let router = Router::new()
        .route("/kickoff", post(kickoff))
        .route("/inputs", axum::routing::get(inputs))
        .layer(axum::middleware::map_response(async |mut response: axum::response::Response| {
            let json = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, json);
            response
        }))
        .with_state(arrivals);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn configure(folder: &Path, idp: &str, crew: SocketAddr, held: usize) -> PathBuf {
    fs::create_dir_all(folder.join("policy")).unwrap();
    fs::write(folder.join("crew.key"), "org-5b1c0d9e7f3a").unwrap();
    let rules = "@id(\"all\") permit (principal in Role::\"analysts\", action, resource);\n\
                 @id(\"asks\") @approval(\"owners\") forbid (principal, action == Action::\"kickoff\", resource);\n";
    fs::write(folder.join("policy/all.cedar"), rules).unwrap();
    let room = held + 1000;
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nmax_connections = {room}\nmax_calls = {room}\n\
         per_address = \"1000000/s\"\nrequest_timeout = \"30min\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
         [[issuer]]\nname = \"dev\"\nurl = \"{idp}\"\naudience = [\"crewgate\"]\n\
         [[crew]]\nname = \"support\"\nurl = \"http://{crew}\"\ncredential = {{ file = \"crew.key\" }}\n\
         inputs.topic = {{ type = \"string\" }}\nhold = \"20min\"\n\
         [[role]]\nname = \"analysts\"\ngroups = [\"dev:analysts\"]\n[[role]]\nname = \"owners\"\ngroups = [\"dev:owners\"]\n\
         [[approvers]]\nname = \"owners\"\nroles = [\"owners\"]\n[approval]\nheld = {held}\nheld_each = {held}\nwaiting_each = {held}\n\
         [policy]\npath = \"policy\"\n[store]\nurl = \"sqlite:crewgate.db\"\n"
    );
    let file = folder.join("crewgate.toml");
    fs::write(&file, text).unwrap();
    file
}

fn spawn(config: &Path) -> (Child, SocketAddr, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let (data, console) = line.split_once(' ').unwrap();
    (child, data.parse().unwrap(), console.parse().unwrap())
}

/// Bytes of memory a process holds.
fn resident(child: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

async fn waiting(store: &Store, most: usize) -> Vec<Approval> {
    let filter = Filter { limit: NonZeroUsize::new(most).unwrap(), ..Filter::at(SystemClock.now()) };
    store.list(filter.phase(Phase::Pending)).await.unwrap()
}

fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let body = if body.is_empty() {
        String::new()
    } else {
        format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let end = if body.is_empty() { "\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{body}{end}")
        .into_bytes()
}

async fn answered(address: SocketAddr, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap_or("0").parse().unwrap(), answer)
}
