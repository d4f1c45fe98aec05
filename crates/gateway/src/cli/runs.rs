use std::{
    io::{self, Write},
    num::NonZeroUsize,
    time::Duration,
};

use crewgate_audit::{Held, Leaf, StepKind, Timeline, run_leaves};
use crewgate_core::RunId;
use crewgate_runs::{OwnedId, RunFilter, RunLedger};
use crewgate_store::{OpenError, SqliteStore};
use serde_json::{Value, json};

use super::{
    ConfigFile,
    output::{Failure, Output},
};
use crate::config::Settings;

/// Arguments of `runs`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
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
    /// Play a run again as its caller saw it, with its timing.
    Replay {
        /// The run's id.
        id: String,
        /// How many times faster; 0 prints everything at once.
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
    },
    /// Show everything that is recorded of a run.
    Show {
        /// The run's id.
        id: String,
    },
}

/// Leaves of one run that are read at most; a run polled every second for a day has fewer.
const MAX_LEAVES: u32 = 100_000;

/// The longest pause a replay keeps: nobody watches a night go by.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let settings = arguments.config.load()?;
    let store = open(&settings).await?;
    match arguments.command {
        Command::List { crew, owner, limit } => {
            let owner = match owner.as_deref().map(|owner| owner.split_once(':')) {
                Some(Some((issuer, subject))) => Some(crewgate_core::PrincipalKey::new(issuer, subject)),
                Some(None) => return Err(Failure::usage("an owner is `issuer:subject`")),
                None => None,
            };
            let filter = RunFilter { crew, owner, before: None, limit };
            let runs = store.list(filter).await.map_err(|error| Failure::unavailable(error.to_string()))?;
            let rows: Vec<Value> = runs.iter().map(row).collect();
            output.print(&json!({ "runs": rows }), |_| listing(&runs))
        }
        Command::Replay { id, speed } => {
            if !(speed >= 0.0 && speed.is_finite()) {
                return Err(Failure::usage("`--speed` is a number from 0 on"));
            }
            replay(&timeline(&store, &id).await?.1, speed, output).await
        }
        Command::Show { id } => {
            let (leaves, timeline) = timeline(&store, &id).await?;
            let records: Vec<Value> = leaves.iter().map(record).collect();
            output.print(&json!({ "run": id, "leaves": records }), |_| {
                timeline.lines().iter().map(|line| stamp(line.at, &line.text)).collect::<Vec<_>>().join("\n")
            })
        }
    }
}

/// The store of the configuration, for reading beside a running gateway or without one.
pub(super) async fn open(settings: &Settings) -> Result<SqliteStore, Failure> {
    let store = match &settings.record_keys {
        Some(keys) => SqliteStore::open_read_only_with(&settings.store, Some(keys)).await,
        None => SqliteStore::open_read_only(&settings.store).await,
    };
    store.map_err(|error| unreadable(&settings.store, &error))
}

pub(super) fn unreadable(path: &std::path::Path, error: &OpenError) -> Failure {
    Failure::unavailable(format!("{} cannot be read: {error}", path.display()))
}

async fn timeline(store: &SqliteStore, id: &str) -> Result<(Vec<Leaf>, Timeline), Failure> {
    let run: RunId = id.parse().map_err(|_| Failure::usage(format!("`{id}` is not a run id")))?;
    let leaves = run_leaves(store, run, MAX_LEAVES).await;
    let leaves = leaves.map_err(|error| Failure::unavailable(error.to_string()))?;
    if leaves.is_empty() {
        return Err(Failure::no(format!("nothing is recorded of run {run}")));
    }
    let timeline = Timeline::of(&leaves).map_err(|error| Failure::no(error.to_string()))?;
    Ok((leaves, timeline))
}

async fn replay(timeline: &Timeline, speed: f64, output: Output) -> Result<(), Failure> {
    if output.json {
        let steps: Vec<Value> = timeline
            .steps
            .iter()
            .zip(timeline.lines())
            .map(|(step, line)| {
                let answer = match &step.kind {
                    StepKind::Answer(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                    _ => None,
                };
                json!({ "at_micros": step.at.as_micros().to_string(), "time": step.time.to_string(),
                        "leaf": step.leaf, "request": step.request, "text": line.text, "answer": answer })
            })
            .collect();
        return output.print(&json!({ "steps": steps }), |_| String::new());
    }
    let mut shown = Duration::ZERO;
    for line in timeline.lines() {
        let pause = line.at.saturating_sub(shown);
        if speed > 0.0 {
            tokio::time::sleep(pause.div_f64(speed).min(LONGEST_PAUSE)).await;
        }
        shown = line.at;
        let mut out = io::stdout();
        if writeln!(out, "{}", stamp(line.at, &line.text)).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
    Ok(())
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
