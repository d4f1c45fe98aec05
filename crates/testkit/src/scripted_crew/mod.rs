//! A CrewAI deployment that follows a script, on a loopback socket.

mod run;
mod script;
mod server;
mod webhook;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub use self::script::{Script, StatusWords, Takes, Trouble};
use self::{run::Runs, script::MAX_LOG};

/// A scripted CrewAI deployment: `/inputs`, `/kickoff`, both forms of the status and `/resume`, with CrewAI's shapes,
/// its shared key and its lack of any notion of who calls. Clones are the same deployment; it ends with the last of
/// them.
///
/// All personal data in its results is made up.
///
/// ```
/// use crewgate_testkit::{Script, ScriptedCrew};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let crew = ScriptedCrew::start_with(Script::new().result("Report on {topic}")).await?;
/// assert!(crew.url().starts_with("http://127.0.0.1:"));
/// assert!(crew.received().is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ScriptedCrew {
    shared: Arc<Shared>,
    // Ends the server when the last clone goes.
    server: Arc<Server>,
}

/// A call as it arrived, whatever became of it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method.
    pub method: Method,
    /// Path, with the query if there was one.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// How often each route was called, refused calls included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// `GET /inputs`
    pub inputs: u64,
    /// `POST /kickoff`
    pub kickoff: u64,
    /// `GET /status/{id}` and `GET /{id}/status`
    pub status: u64,
    /// `POST /resume`
    pub resume: u64,
    /// Anything else.
    pub other: u64,
}

impl Calls {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.inputs + self.kickoff + self.status + self.resume + self.other
    }
}

impl ScriptedCrew {
    /// A deployment on an ephemeral loopback port that follows the default [`Script`].
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Script::new()).await
    }

    /// A deployment on an ephemeral loopback port that follows this script.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn start_with(script: Script) -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script).await
    }

    /// A deployment at this address.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub async fn start_at(listen: SocketAddr, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            url: format!("http://{address}"),
            script,
            trouble: Mutex::new(Trouble::None),
            delay_millis: AtomicU64::new(0),
            received: Mutex::default(),
            runs: Mutex::default(),
        });
        let server = Server { address, stop: Mutex::new(server::serve(listener, Arc::clone(&shared))) };
        Ok(Self { shared, server: Arc::new(server) })
    }

    /// Its base address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The key it asks for as bearer token.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.shared.script.key
    }

    /// What arrived so far, oldest first; the last 10,000 calls.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.log().calls.iter().cloned().collect()
    }

    /// The kickoffs among [`received`](Self::received).
    #[must_use]
    pub fn kickoffs(&self) -> Vec<Received> {
        self.received()
            .into_iter()
            .filter(|call| call.method == Method::POST && call.path == "/kickoff")
            .collect()
    }

    /// How often each route was called so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.shared.log().count
    }

    /// Its own ids of the runs it has started, oldest first: what no caller of a gateway may ever see.
    #[must_use]
    pub fn run_ids(&self) -> Vec<String> {
        self.shared.runs().ids()
    }

    /// Misbehaves like this from now on.
    pub fn set_trouble(&self, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Waits this long before every answer. The call is on the log before the wait.
    pub fn set_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_millis.store(millis, Ordering::SeqCst);
    }

    /// Stops listening: connections are refused when this returns, idle ones are closed. Runs are kept.
    pub async fn go_down(&self) {
        self.server.stop();
        // The accepting task ends on its own time; a hundred tries are half a second.
        for _ in 0..100 {
            if TcpStream::connect(self.server.address).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Listens at the same address again.
    ///
    /// # Errors
    ///
    /// When somebody else has taken it.
    pub async fn come_up(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.server.address).await?;
        let stop = server::serve(listener, Arc::clone(&self.shared));
        *self.server.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
        Ok(())
    }
}

/// The accepting task, ended by dropping the sender.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    stop: Mutex<watch::Sender<bool>>,
}

impl Server {
    fn stop(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).send_replace(true);
    }
}

/// What the server and the clones share.
struct Shared {
    url: String,
    script: Script,
    trouble: Mutex<Trouble>,
    delay_millis: AtomicU64,
    received: Mutex<Log>,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Log {
    calls: std::collections::VecDeque<Received>,
    count: Calls,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("url", &self.url)
            .field("calls", &self.log().count)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: Received) {
        let mut log = self.log();
        let count = &mut log.count;
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/inputs") => count.inputs += 1,
            ("POST", "/kickoff") => count.kickoff += 1,
            ("POST", "/resume") => count.resume += 1,
            ("GET", path) if path.starts_with("/status/") || path.ends_with("/status") => count.status += 1,
            _ => count.other += 1,
        }
        if log.calls.len() >= MAX_LOG {
            log.calls.pop_front();
        }
        log.calls.push_back(call);
    }
}
