//! A PostgreSQL of the tests' own, started by the first test that asks for one and stopped with the process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot start its database has failed"
)]

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Where the programs of a PostgreSQL server are: `initdb`, `postgres`, `createdb`. Debian's are found without it.
pub const REAL_POSTGRES: &str = "CREWGATE_REAL_POSTGRES";

/// Where Debian puts them, under the version's number.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user that may run a server when we are root, which may not.
const USER: &str = "postgres";

/// The address of a new, empty database in a server of this process's own: on loopback, kept on the disk as a real one
/// is. `None` where no PostgreSQL is installed; that is said on stderr, and is a failure where
/// `CREWGATE_REQUIRE_ALL=1`.
///
/// # Panics
///
/// When the server cannot be started, or is required and not there.
#[must_use]
pub fn database() -> Option<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = server()?;
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let done = server.command("createdb").args(["-E", "UTF8", "-T", "template0", &name]).status().unwrap();
    assert!(done.success(), "createdb: {done}");
    Some(format!("postgres://{USER}@127.0.0.1:{}/{name}?sslmode=disable", server.port))
}

/// The certificate by which that server is known as `localhost` to whoever connects with TLS, in PEM. `None` where there
/// is no server.
#[must_use]
pub fn certificate() -> Option<PathBuf> {
    server().map(|server| server.folder.join("server.crt"))
}

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

/// Ends every connection to this database, as a server that is restarted does.
///
/// # Panics
///
/// When that cannot be done.
pub fn hang_up(database: &str) {
    let programs = programs().expect("it was found before");
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let done = Command::new(programs.join("psql")).args(["-q", "-d", database, "-c", sql]).output().unwrap();
    assert!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
}

struct Server {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                env::var_os("CREWGATE_REQUIRE_ALL").is_none_or(|value| value != "1"),
                "CREWGATE_REQUIRE_ALL=1, but PostgreSQL is not installed and {REAL_POSTGRES} is not set"
            );
            eprintln!("\n!!! NOT TESTED: no PostgreSQL under {DEBIAN}, and {REAL_POSTGRES} is not set.\n");
            return None;
        };
        let folder = env::temp_dir().join(format!("crewgate-postgres-{}", std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&folder).unwrap();
        let root = is_root();
        if root {
            let owned = Command::new("chown").arg(USER).arg(&folder).status().unwrap();
            assert!(owned.success(), "chown {USER}: {owned}");
        }
        let made = as_user(root, &programs.join("initdb"))
            .args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D"])
            .arg(&data)
            .current_dir(&folder)
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let certified = as_user(root, Path::new("openssl"))
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "server.key", "-out", "server.crt"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(certified.status.success(), "openssl: {}", String::from_utf8_lossy(&certified.stderr));
        // Free a moment ago; nobody else on this machine is looking for that very one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = as_user(root, &programs.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k"]).arg(&folder);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=400", "-c", "ssl=on"]);
        for (setting, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
            server.args(["-c", &format!("{setting}={}", folder.join(file).display())]);
        }
        server.current_dir(&folder).stdin(Stdio::null());
        server.stdout(Stdio::null()).stderr(fs::File::create(folder.join("log")).unwrap());
        keep(server, folder.clone());
        let server = Self { programs, folder, port };
        for _ in 0..300 {
            if server.command("pg_isready").stdout(Stdio::null()).status().unwrap().success() {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("PostgreSQL did not start on port {port}");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
        command
    }
}

fn programs() -> Option<PathBuf> {
    let complete = |path: &Path| path.join("initdb").exists() && path.join("postgres").exists();
    if let Some(given) = env::var_os(REAL_POSTGRES) {
        return Some(PathBuf::from(given)).filter(|path| complete(path));
    }
    let mut found: Vec<PathBuf> = fs::read_dir(DEBIAN)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| complete(path))
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    let me = Command::new("id").arg("-u").output().unwrap();
    me.stdout.trim_ascii() == b"0"
}

/// A program that ends when the thread that started it does, so that no server outlives its tests.
fn as_user(root: bool, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if root {
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    }
    command.args(["--pdeathsig", "SIGINT"]).arg(program);
    command
}

/// Starts a server from a thread that lives as long as this process, and removes its files when it has ended.
fn keep(mut server: Command, folder: PathBuf) {
    let (started, is_started) = mpsc::channel();
    thread::spawn(move || {
        let mut child = server.spawn().unwrap();
        started.send(()).unwrap();
        let _ = child.wait();
    });
    is_started.recv().unwrap();
    // Whoever waits for this process's end is no part of it.
    let watch = format!(
        "while kill -0 {} 2>/dev/null; do sleep 1; done; sleep 2; rm -rf '{}'",
        std::process::id(),
        folder.display()
    );
    let mut watcher = Command::new("setsid");
    watcher.args(["-f", "sh", "-c", &watch]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = watcher.status();
}
