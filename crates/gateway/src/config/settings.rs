use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use crewgate_core::{Clock, SystemClock, Timestamp};
use crewgate_policy::Nesting;
use http::Uri;

use super::{
    check::Checker,
    crew::CrewSettings,
    diagnostic::{ConfigError, Diagnostic},
    exchange::{EventSettings, ExchangeSettings},
    login::LoginSettings,
    mask::MaskSettings,
    notify::NotifySettings,
    raw, read,
    units::Secret,
};

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file it was read from.
    pub file: PathBuf,
    /// Its text: what of it has changed, and what not, is seen by comparing.
    pub text: String,
    /// The data plane.
    pub gateway: GatewaySettings,
    /// The console and control API; absent: not served.
    pub console: Option<ListenSettings>,
    /// How people log in at the console; absent: it takes tokens only.
    pub login: Option<LoginSettings>,
    /// Health and metrics; absent: not served.
    pub ops: Option<SocketAddr>,
    /// Who may issue tokens.
    pub issuers: Vec<IssuerSettings>,
    /// Registered crews.
    pub crews: Vec<CrewSettings>,
    /// Who holds which role until when.
    pub roles: Vec<RoleSettings>,
    /// Which role includes which, with the dates of the tables that say so.
    pub nesting: Nesting,
    /// Who may approve.
    pub approvers: Vec<ApproverSettings>,
    /// Who need not wait for approvers; `None`: nobody.
    pub break_glass: Option<BreakGlassSettings>,
    /// How long approvals wait and last.
    pub approval: ApprovalSettings,
    /// Identities of one person.
    pub persons: Vec<PersonSettings>,
    /// Folder of `*.cedar` files.
    pub policy: PathBuf,
    /// Whether rules that fail a test beside them do not load (default: tests run when asked for).
    pub policy_tests: bool,
    /// The time zone in which rules read the hour and the day of the week.
    pub policy_zone: crewgate_cedar::Zone,
    /// Folder of a second rule set that decides beside the first and only reports.
    pub shadow: Option<PathBuf>,
    /// Where the store is.
    pub store: crewgate_store::Location,
    /// Roles that may read everybody's records.
    pub record_readers: BTreeSet<String>,
    /// Roles that may give up what the record holds.
    pub record_erasers: BTreeSet<String>,
    /// For how long the record holds it.
    pub retention: RetentionSettings,
    /// Tokens of ours for those of others; absent: none are issued.
    pub exchange: Option<ExchangeSettings>,
    /// Who tells events about whose tokens; empty: none are taken.
    pub events: Vec<EventSettings>,
    /// Roles that may revoke tokens.
    pub revokers: BTreeSet<String>,
    /// What signs and seals the record; `None`: what lies beside the store.
    pub record_keys: Option<crewgate_store::Keys>,
    /// Where the record is handed on to.
    pub exports: Vec<ExportSettings>,
    /// Who else is asked to sign what the record says of itself.
    pub witnesses: Vec<WitnessSettings>,
    /// Who is told of approvals.
    pub notify: Vec<NotifySettings>,
    /// Logs, traces, metrics.
    pub telemetry: TelemetrySettings,
    /// What is masked, and with what.
    pub masks: MaskSettings,
}

impl GatewaySettings {
    /// The address callers know the gateway by, without a slash at its end: `public_url`, or what it is bound to.
    #[must_use]
    pub fn public_address(&self, bound: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.to_string().trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.listen.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{bound}")
            }
        }
    }
}

/// For how long the record holds what it holds; what is not named, for ever.
#[derive(Debug, Clone, Default)]
pub struct RetentionSettings {
    /// What lies beside leaves, by class.
    pub content: BTreeMap<crewgate_audit::Class, Duration>,
    /// The leaves.
    pub leaves: Option<Duration>,
}

/// Somebody the record is handed on to.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The name under which it is kept how far it has come.
    pub name: String,
    /// Whom, and how.
    pub to: ExportTo,
}

/// How the record is handed on.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "each has a sink of its own")]
pub enum ExportTo {
    /// Tiles and Parquet files in an object store.
    Objects(ObjectsSink),
    /// OCSF API Activity as lines of JSON.
    Ocsf(HttpSink),
    /// OTLP logs.
    Otlp(HttpSink),
    /// Syslog.
    Syslog(SyslogSink),
}

/// A collector that takes batches by POST.
#[derive(Debug, Clone)]
pub struct HttpSink {
    /// Where.
    pub url: Uri,
    /// What it knows us by.
    pub bearer: Option<Secret>,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
}

/// A place in an object store.
#[derive(Debug, Clone)]
pub struct ObjectsSink {
    /// Whose store.
    pub place: ObjectPlace,
    /// What names of objects begin with.
    pub prefix: String,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
}

/// Whose object store, and what it knows us by; without a key, what the machine is given by its cloud.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "each has a client of its own")]
pub enum ObjectPlace {
    /// Azure Blob Storage.
    Azure {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
        /// The account's key.
        key: Option<Secret>,
        /// Another address than the account's.
        endpoint: Option<Uri>,
    },
    /// Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
        /// The service account's key, JSON.
        key: Option<Secret>,
    },
    /// A folder of this machine.
    Local(PathBuf),
    /// S3, or what speaks it.
    S3 {
        /// The bucket.
        bucket: String,
        /// The region.
        region: String,
        /// Another address than Amazon's; buckets are named in its paths.
        endpoint: Option<Uri>,
        /// Id and secret of the access key.
        key: Option<(String, Secret)>,
    },
}

/// A log server.
#[derive(Debug, Clone)]
pub struct SyslogSink {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it is spoken to over TLS; else it is on this machine.
    pub tls: bool,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
}

/// A witness of the record.
#[derive(Debug, Clone)]
pub struct WitnessSettings {
    /// Where it takes checkpoints, without a slash at its end.
    pub url: String,
    /// Its public key.
    pub key: crewgate_audit::tlog::VerifierKey,
}

/// The data plane.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Address and TLS.
    pub listen: ListenSettings,
    /// The gateway's own address as CrewAI reaches it; needed where a crew asks people for input.
    pub public_url: Option<Uri>,
    /// Bounds.
    pub limits: LimitSettings,
    /// Whether DPoP proofs must contain a nonce of ours.
    pub demand_dpop_nonce: bool,
    /// Whether it starts by a clock that is far behind the record.
    pub turn_time_back: bool,
}

/// Bounds of the data plane, each with its default.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Largest request body in bytes (default 1 MiB: the largest recorded kickoff was far below 100 KiB).
    pub max_body_bytes: usize,
    /// Connections at once (default 1024).
    pub max_connections: usize,
    /// Calls in progress at once, waiting ones included (default 512).
    pub max_calls: usize,
    /// Calls of one address in a time; above it the answer is 429 and not on the record (default 500/s).
    pub per_address: (u32, Duration),
    /// Time for a request's head to arrive (default 10 s).
    pub header_timeout: Duration,
    /// Time for the answer to begin (default 120 s: longer than the longest hold and CrewAI's start together).
    pub request_timeout: Duration,
    /// How long a caller's `Idempotency-Key` stands for its call (default 24 h).
    pub idempotency: Duration,
    /// Time that calls in progress get when the gateway is told to stop (default 30 s).
    pub drain_timeout: Duration,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// Address.
    pub address: SocketAddr,
    /// Certificate and key; `None`: plain HTTP, on this machine or by `dangerously_plain_http`.
    pub tls: Option<TlsSettings>,
}

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Whether clients are asked for a certificate that their tokens may be bound to.
    pub client_certificates: bool,
}

/// One token issuer.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Short name: the prefix of its groups and subjects.
    pub name: String,
    /// Exact `iss`.
    pub url: String,
    /// Everything else, checked.
    pub config: crewgate_oidc::IssuerConfig,
    /// How it is reached.
    pub reach: Reach,
}

/// How an issuer's documents are reached.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
    /// Whether its names may lead into a private network.
    pub private_network: bool,
}

/// One table of a role: some of its holders, what it includes, and when all of that stands.
#[derive(Debug, Clone)]
pub struct RoleSettings {
    /// The role.
    pub name: String,
    /// `issuer:group`.
    pub groups: Vec<String>,
    /// `issuer:subject`.
    pub subjects: Vec<String>,
    /// Roles whose rights its holders have too.
    pub includes: Vec<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not at or after.
    pub until: Option<Timestamp>,
    /// How it can be asked for, for a while; `None`: not by this table.
    pub request: Option<RoleRequestSettings>,
}

/// How a role can be asked for, for a while.
#[derive(Debug, Clone)]
pub struct RoleRequestSettings {
    /// The sets that must all agree; at least one.
    pub approvers: BTreeSet<String>,
    /// The longest it is given (default 8 h).
    pub longest: Duration,
}

/// Who may approve.
#[derive(Debug, Clone)]
pub struct ApproverSettings {
    /// The set's name.
    pub name: String,
    /// Roles whose holders belong to it.
    pub roles: BTreeSet<String>,
    /// How many different people must say yes.
    pub need: NonZeroU32,
    /// Whom a request goes to while they do not decide.
    pub escalation: Option<EscalationSettings>,
}

/// Whom a request goes to while nobody of a set decides.
#[derive(Debug, Clone)]
pub struct EscalationSettings {
    /// The set.
    pub to: String,
    /// After how long it has waited for the set it comes from.
    pub after: Duration,
}

/// Who need not wait for approvers, and who looks at it afterwards.
#[derive(Debug, Clone)]
pub struct BreakGlassSettings {
    /// Roles whose holders may break the glass for what they asked for.
    pub roles: BTreeSet<String>,
    /// The sets they need not wait for.
    pub instead_of: BTreeSet<String>,
    /// The sets whose people may review it.
    pub reviewers: BTreeSet<String>,
    /// How soon somebody must have (default 24 h).
    pub within: Duration,
    /// How recently they must have proved who they are (default 10 min).
    pub fresh: Duration,
    /// How, in their issuer's words; empty: however.
    pub acr: BTreeSet<String>,
}

/// How long approvals wait and last.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalSettings {
    /// How long a request waits for approvers (default 4 h).
    pub expires: Duration,
    /// How long an approval may be used once it is given (default 1 h).
    pub usable: Duration,
    /// The longest a caller may ask to be held with `Prefer: wait` (default 55 s).
    pub longest_wait: Duration,
    /// Requests held open at once; each keeps its body in memory (default 64).
    pub held: NonZeroUsize,
    /// How many of them may be of one identity (default half of them).
    pub held_each: Option<NonZeroUsize>,
    /// Requests of one identity that may wait for a decision (default 200).
    pub waiting_each: NonZeroUsize,
}

/// One person's identities.
#[derive(Debug, Clone)]
pub struct PersonSettings {
    /// A name for the person.
    pub name: String,
    /// `issuer:subject`.
    pub identities: Vec<String>,
}

/// Logs, traces, metrics.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// How log lines look.
    pub format: LogFormat,
    /// Filter, as `tracing_subscriber::EnvFilter` reads it.
    pub level: String,
    /// OTLP/HTTP collector, e.g. `http://127.0.0.1:4318`.
    pub otlp: Option<Uri>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "for people or for machines")]
pub enum LogFormat {
    /// One line for people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong, each with its place.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = text_of(file)?;
        Self::parse(file, &text, SystemClock.now())
    }

    /// As [`Settings::load`], for tools that call nobody: secrets are not read, and need not be there.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`], except for secrets.
    pub fn load_without_secrets(file: &Path) -> Result<Self, ConfigError> {
        let text = text_of(file)?;
        check(file, &text, SystemClock.now(), false)
    }

    /// Checks the text of a file; relative paths in it start at `file`'s folder.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`].
    pub fn parse(file: &Path, text: &str, now: Timestamp) -> Result<Self, ConfigError> {
        check(file, text, now, true)
    }
}

pub(super) fn text_of(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file)
        .map_err(|error| ConfigError(vec![Diagnostic::whole(file, format!("cannot be read: {error}"))]))
}

/// The text as TOML of this shape, or where it is not.
pub(super) fn toml_of<T: serde::de::DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        ConfigError(vec![match error.span() {
            Some(span) => Diagnostic::at(file, text, span, message),
            None => Diagnostic::whole(file, message),
        }])
    })
}

fn check(file: &Path, text: &str, now: Timestamp, secrets: bool) -> Result<Settings, ConfigError> {
    let raw: raw::File = toml_of(file, text)?;
    let mut check = Checker::new(file, text, secrets);
    let settings = read::settings(&mut check, &raw, now);
    let mut found = check.found;
    match settings {
        Some(settings) if found.is_empty() => Ok(settings),
        _ => {
            if found.is_empty() {
                found.push(Diagnostic::whole(file, "the file is incomplete"));
            }
            Err(ConfigError(found))
        }
    }
}
