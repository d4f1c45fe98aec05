mod again;
mod diff;
mod export;
mod page;
mod replay;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use crewgate_audit::{
    AuditStore as _, Held, Leaf, Log as _, Phase, Query, Timeline, run_leaves, tlog::VerifierKey,
};
use crewgate_core::{RequestId, RunId};
use crewgate_runs::{OwnedId, RunFilter, RunLedger};
use crewgate_store::Store;
use serde_json::{Value, json};

use super::{
    ConfigFile,
    control::Console,
    output::{Failure, Output},
    record::{Reads, note, open, unavailable},
};

/// Arguments of `runs`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List runs, newest first.
    List {
        /// Only of this crew.
        #[arg(long)]
        crew: Option<String>,
        /// Only of this owner, `issuer:subject`.
        #[arg(long)]
        owner: Option<String>,
        /// At most this many.
        #[arg(long, default_value = "50")]
        limit: NonZeroUsize,
    },
    /// Put the recorded calls of a run, with the facts and roles of then, to other rules.
    DecideAgain {
        /// The run's id, or the `request-id` of a call that belongs to none.
        id: String,
        /// Folder of the other rules.
        #[arg(long, value_name = "FOLDER")]
        policy: PathBuf,
    },
    /// Compare two runs: what was told, not when, nor under which ids.
    Diff {
        /// The first run's id.
        first: String,
        /// The second run's id.
        second: String,
    },
    /// Write a run into one signed file that a browser plays, and that proves what it shows.
    Export {
        /// The run's id, or the `request-id` of a call that belongs to none.
        id: String,
        /// The file, which must not be there yet; `<id>.html` without.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Play a run again as its caller saw it, with its timing.
    Replay {
        /// The run's id, or the `request-id` of a call that belongs to none.
        id: String,
        #[command(flatten)]
        how: replay::How,
    },
    /// Show everything that is recorded of a run.
    Show {
        /// The run's id, or the `request-id` of a call that belongs to none.
        id: String,
    },
    /// Check an exported run: its signature, and that its leaves are on the record.
    Verify {
        /// The file.
        file: PathBuf,
        /// A public key of the record to believe, instead of those of the configuration; may be given more than once.
        #[arg(long)]
        key: Vec<VerifierKey>,
        /// Print the receipt of this leaf, for `audit verify-receipt`.
        #[arg(long, value_name = "LEAF")]
        receipt: Option<u64>,
    },
}

/// Leaves of one run that are read at most; a run polled every second for a day has fewer.
const MAX_LEAVES: u32 = 100_000;

/// A run, or a single call, as the record holds it.
struct Recorded {
    id: String,
    leaves: Vec<Leaf>,
    timeline: Timeline,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { config, console, command } = arguments;
    let store = async || open(&config.load()?).await;
    let recorded = async |id: &str| recorded(&store().await?, &config, &console, id).await;
    match command {
        Command::List { crew, owner, limit } => {
            let owner = match owner.as_deref().map(|owner| owner.split_once(':')) {
                Some(Some((issuer, subject))) => Some(crewgate_core::PrincipalKey::new(issuer, subject)),
                Some(None) => return Err(Failure::usage("an owner is `issuer:subject`")),
                None => None,
            };
            let filter = RunFilter { crew, owner, before: None, limit };
            let store = store().await?;
            note(&config, &console, Reads::Runs).await?;
            let runs = store.list(filter).await.map_err(|error| Failure::unavailable(error.to_string()))?;
            let rows: Vec<Value> = runs.iter().map(row).collect();
            output.print(&json!({ "runs": rows }), |_| listing(&runs))
        }
        Command::DecideAgain { id, policy } => {
            let recorded = recorded(&id).await?;
            again::run(config.load_without_secrets()?, &recorded.leaves, &policy, output)
        }
        Command::Diff { first, second } => {
            let (first, second) = (recorded(&first).await?, recorded(&second).await?);
            diff::run(&first.untouched()?, &second.untouched()?, output)
        }
        Command::Export { id, to } => {
            let recorded = recorded(&id).await?;
            export::export(&config.load()?, &store().await?, &recorded, to, output).await
        }
        Command::Replay { id, how } => replay::replay(&recorded(&id).await?.timeline, &how, output).await,
        Command::Show { id } => {
            let Recorded { leaves, timeline, .. } = recorded(&id).await?;
            let records: Vec<Value> = leaves.iter().map(record).collect();
            output.print(&json!({ "run": id, "leaves": records }), |_| {
                timeline.lines().iter().map(|line| stamp(line.at, &line.text)).collect::<Vec<_>>().join("\n")
            })
        }
        Command::Verify { file, key, receipt } => {
            let keys = if key.is_empty() { store().await?.keys() } else { key };
            export::verify(&file, &keys, receipt, output)
        }
    }
}

/// What is recorded under an id: of a run, or of one request, as declared operations belong to no run. That it is read
/// is on the record first.
async fn recorded(
    store: &Store,
    config: &ConfigFile,
    console: &Console,
    id: &str,
) -> Result<Recorded, Failure> {
    let wrong = |_| Failure::usage(format!("`{id}` is the id neither of a run nor of a request"));
    let (run, request): (RunId, RequestId) = (id.parse().map_err(wrong)?, id.parse().map_err(wrong)?);
    let of_run = run_leaves(store, run, MAX_LEAVES).await.map_err(unavailable)?;
    let (reads, leaves) = if of_run.is_empty() {
        let of_request = store.leaves(Query::request(request).limit(MAX_LEAVES)).await;
        (Reads::Request(request), of_request.map_err(unavailable)?)
    } else {
        (Reads::Run(run), of_run)
    };
    if leaves.is_empty() {
        return Err(Failure::no(format!("nothing is recorded of {id}")));
    }
    note(config, console, reads).await?;
    let timeline = Timeline::of(&leaves).map_err(|error| Failure::no(error.to_string()))?;
    Ok(Recorded { id: run.to_string(), leaves, timeline })
}

impl Recorded {
    /// Its story without those who have read it since.
    fn untouched(&self) -> Result<Timeline, Failure> {
        let reading = |leaf: &&Leaf| leaf.entry().is_ok_and(|entry| entry.phase == Phase::Access);
        let leaves: Vec<Leaf> = self.leaves.iter().filter(|leaf| !reading(leaf)).cloned().collect();
        Timeline::of(&leaves).map_err(|error| Failure::no(error.to_string()))
    }
}

fn stamp(at: Duration, text: &str) -> String {
    format!("+{:>9.3}s  {text}", at.as_secs_f64())
}

fn row(run: &OwnedId) -> Value {
    json!({ "run": run.run, "crew": run.crew, "owner": run.owner.to_string(), "at": run.at.to_string(),
            "started": run.upstream.is_some() })
}

fn listing(runs: &[OwnedId]) -> String {
    if runs.is_empty() {
        return "no runs".to_owned();
    }
    let line = |run: &OwnedId| {
        let state = if run.upstream.is_some() { "started" } else { "waits or ended unstarted" };
        format!("{}  {:<16} {:<32} {}  {state}", run.run, run.crew, run.owner, run.at)
    };
    runs.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A leaf as it is: the record is JSON already.
fn record(leaf: &Leaf) -> Value {
    let record: Value =
        serde_json::from_str(&leaf.record).unwrap_or_else(|_| Value::String(leaf.record.clone()));
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let content = match &leaf.held {
        Held::Open(content) => Some(content),
        _ => None,
    };
    let facts = content.map(|content| serde_json::from_slice::<Value>(&content.facts).unwrap_or_default());
    let body = content.and_then(|content| content.request_body.as_ref()).map(text);
    json!({ "leaf": leaf.index, "hash": leaf.hash().to_string(), "record": record, "facts": facts, "body": body })
}
