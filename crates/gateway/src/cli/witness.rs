use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use crewgate_audit::tlog::{
    AddCheckpoint, Hash, Head, KeyKind, Signer, VerifierKey, WitnessAnswer, WitnessState,
};
use crewgate_core::{Clock, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::output::Failure;

/// Largest request: a checkpoint with many signatures and 63 hashes is far smaller.
const MAX_BODY: usize = 64 * 1024;

/// Arguments of `witness`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen; in front of it stands whatever ends TLS.
    #[arg(long, default_value = "127.0.0.1:8446")]
    listen: SocketAddr,
    /// File with the witness's key, as `crewgate audit new-key --witness` prints it.
    #[arg(long)]
    key: PathBuf,
    /// File in which it remembers what it has cosigned. Losing it makes the witness forgetful, not wrong.
    #[arg(long)]
    state: PathBuf,
    /// Public key of a record to watch; may be given more than once, also for two keys of one record.
    #[arg(long, required = true)]
    log: Vec<VerifierKey>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let unusable =
        |path: &Path, error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let key = fs::read_to_string(&arguments.key).map_err(|error| unusable(&arguments.key, &error))?;
    let key = key.lines().next().unwrap_or_default();
    let signer: Signer = key.parse().map_err(|error| unusable(&arguments.key, &error))?;
    if signer.verifier().kind() != KeyKind::Witness {
        return Err(unusable(&arguments.key, &"it is a record's key, not a witness's"));
    }
    let memory = Memory::open(&arguments.state).map_err(|error| unusable(&arguments.state, &error))?;
    let listener = tokio::net::TcpListener::bind(arguments.listen).await;
    let listener =
        listener.map_err(|error| Failure::unavailable(format!("{}: {error}", arguments.listen)))?;
    let address = listener.local_addr().map_err(|error| Failure::unavailable(error.to_string()))?;
    let ready = json!({ "witness": address, "key": signer.verifier().to_string() });
    // For whoever started us: the address that was really bound, and the key to give to the gateway.
    let _ = writeln!(io::stdout(), "crewgate ready {ready}");
    let witness = Arc::new(Witness { signer, logs: arguments.log, memory: Mutex::new(memory) });
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(witness);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
    served.map_err(|error| Failure::unavailable(error.to_string()))
}

struct Witness {
    signer: Signer,
    logs: Vec<VerifierKey>,
    /// Held while one request is decided and remembered: two at once could take a log back.
    memory: Mutex<Memory>,
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: String) -> Response {
    let Ok(request) = body.parse::<AddCheckpoint>() else { return StatusCode::BAD_REQUEST.into_response() };
    // It waits for the disk.
    let answer = tokio::task::spawn_blocking(move || witness.answer(&request)).await;
    let Ok(Ok(answer)) = answer else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer {
        WitnessAnswer::Cosigned { line, .. } => (status, line).into_response(),
        WitnessAnswer::Conflict(size) => {
            (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response()
        }
        _ => status.into_response(),
    }
}

impl Witness {
    /// Decides, and remembers durably before anybody hears of it.
    fn answer(&self, request: &AddCheckpoint) -> io::Result<WitnessAnswer> {
        let origin = &request.checkpoint.claimed().origin;
        let time = u64::try_from(SystemClock.now().as_secs()).unwrap_or_default();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = memory.of(origin).answer(request, &self.logs, &self.signer, time);
        if let WitnessAnswer::Cosigned { state, .. } = &answer {
            memory.remember(origin, *state)?;
        }
        Ok(answer)
    }
}

/// What was cosigned last, by origin.
struct Memory {
    path: PathBuf,
    logs: BTreeMap<String, Remembered>,
    /// Held, and so locked, while the witness lives.
    _lock: File,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    size: u64,
    root: String,
}

impl Memory {
    fn open(path: &Path) -> io::Result<Self> {
        let lock = OpenOptions::new().create(true).append(true).open(path.with_extension("lock"))?;
        lock.try_lock().map_err(|_| io::Error::other("another witness uses it"))?;
        let logs: BTreeMap<String, Remembered> = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        if logs.values().any(|known| Hash::from_base64(&known.root).is_none()) {
            return Err(io::Error::other("it holds no roots"));
        }
        Ok(Self { path: path.to_owned(), logs, _lock: lock })
    }

    fn of(&self, origin: &str) -> WitnessState {
        let known = self.logs.get(origin);
        let head =
            known.and_then(|known| Some(Head { size: known.size, root: Hash::from_base64(&known.root)? }));
        WitnessState(head.unwrap_or_default())
    }

    fn remember(&mut self, origin: &str, WitnessState(head): WitnessState) -> io::Result<()> {
        let mut logs = self.logs.clone();
        logs.insert(origin.to_owned(), Remembered { size: head.size, root: head.root.to_base64() });
        let next = self.path.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec_pretty(&logs)?)?;
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.logs = logs;
        Ok(())
    }
}
