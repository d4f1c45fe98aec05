use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal, Write},
};

use crewgate_audit::{AuditStore, Entry, Query, verify_log};
use crewgate_core::{Fact, Timestamp};
use serde::Serialize;
use serde_json::json;

use super::{
    ConfigFile,
    output::{Failure, Output},
    runs::open,
};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Report on the way over: who still uses a shared key, and what observe mode would have refused.
    Transition,
    /// Check the whole record: every leaf, their order, and that none is missing.
    Verify,
}

/// Leaves read at once.
pub(super) const PAGE: u32 = 1000;

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let settings = arguments.config.load()?;
    let store = open(&settings.store).await?;
    match arguments.command {
        Command::Transition => {
            let report = report(&store).await?;
            output.print(&report, ToString::to_string)
        }
        Command::Verify => {
            let mut bar = Bar::default();
            let verified = verify_log(&store, |done, all| bar.show(done, all)).await;
            bar.clear();
            let verified = verified.map_err(|error| Failure::unavailable(error.to_string()))?;
            let report = match &verified {
                Ok(head) => json!({ "ok": true, "leaves": head.count, "head": head.hash.to_string() }),
                Err(fault) => {
                    json!({ "ok": false, "fault": { "seq": fault.seq, "what": fault.to_string() } })
                }
            };
            output.print(&report, |_| match &verified {
                Ok(head) => format!("ok: {} leaves, head {}", head.count, head.hash),
                Err(fault) => format!("TAMPERED: {fault}"),
            })?;
            verified.map(|_| ()).map_err(|fault| Failure::no(format!("the record was changed: {fault}")))
        }
    }
}

/// Progress on a terminal; nothing elsewhere.
#[derive(Default)]
struct Bar {
    shown: bool,
}

impl Bar {
    fn show(&mut self, done: u64, all: u64) {
        let mut err = io::stderr();
        if err.is_terminal() {
            self.shown = true;
            let _ = write!(err, "\rverified {done} of {all} leaves");
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}

/// What is left of the old ways, by crew.
#[derive(Debug, Default, Serialize)]
struct Transition {
    shared_keys: BTreeMap<String, KeyUse>,
    would_have_been_refused: Vec<Refused>,
}

#[derive(Debug, Default, Serialize)]
struct KeyUse {
    calls: u64,
    last: String,
    until: String,
    addresses: BTreeSet<String>,
    user_agents: BTreeSet<String>,
    inputs: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    crew: String,
    action: String,
    principal: String,
    rule: Option<String>,
    reason: String,
    calls: u64,
    last: String,
}

/// The report of `audit transition` as text.
///
/// # Errors
///
/// When the record cannot be read.
pub async fn transition(database: &std::path::Path) -> Result<String, Failure> {
    Ok(report(&open(database).await?).await?.to_string())
}

async fn report(store: &dyn AuditStore) -> Result<Transition, Failure> {
    let (mut report, mut after) = (Transition::default(), 0);
    let mut refused = Refusals::new();
    let mut counted = BTreeSet::new();
    loop {
        let query = Query { after, limit: PAGE, ..Query::default() };
        let leaves = store.leaves(query).await.map_err(|error| Failure::unavailable(error.to_string()))?;
        let Some(last) = leaves.last() else { break };
        after = last.seq;
        for leaf in &leaves {
            let entry = leaf.entry().map_err(|error| Failure::no(error.to_string()))?;
            // An outcome repeats its intent: each request counts once.
            if counted.insert(entry.request) {
                key_use(&mut report, &entry);
                observed(&mut refused, &entry);
            }
        }
    }
    report.would_have_been_refused = refused
        .into_iter()
        .map(|((crew, action, principal, rule, reason), (calls, last))| Refused {
            crew,
            action,
            principal,
            rule,
            reason,
            calls,
            last: last.to_string(),
        })
        .collect();
    Ok(report)
}

fn key_use(report: &mut Transition, entry: &Entry) {
    let Some((crew, until)) = entry.facts.iter().find_map(|fact| match fact {
        Fact::SharedKey { crew, until } => Some((crew, until)),
        _ => None,
    }) else {
        return;
    };
    let seen = report.shared_keys.entry(crew.clone()).or_default();
    seen.calls += 1;
    seen.last = entry.time.to_string();
    seen.until = until.to_string();
    for fact in &entry.facts {
        match fact {
            Fact::Received { remote, user_agent, .. } => {
                seen.addresses.extend(remote.clone());
                seen.user_agents.extend(user_agent.clone());
            }
            Fact::Described { inputs, .. } => seen.inputs.extend(inputs.iter().cloned()),
            _ => {}
        }
    }
}

/// Crew, action, principal, rule and reason; how often, and when last.
type Refusals = BTreeMap<(String, String, String, Option<String>, String), (u64, Timestamp)>;

fn observed(refused: &mut Refusals, entry: &Entry) {
    let described = entry.facts.iter().find_map(|fact| match fact {
        Fact::Described { action, resource, .. } => Some((resource.clone(), action.as_str().to_owned())),
        _ => None,
    });
    let (crew, action) = described.unwrap_or_default();
    let principal = entry.principal().map(ToString::to_string).unwrap_or_default();
    for fact in &entry.facts {
        if let Fact::Observed { reason, rule } = fact {
            let rule = rule.as_ref().map(ToString::to_string);
            let key = (crew.clone(), action.clone(), principal.clone(), rule, reason.clone());
            let (calls, last) = refused.entry(key).or_insert((0, entry.time));
            *calls += 1;
            *last = (*last).max(entry.time);
        }
    }
}

impl std::fmt::Display for Transition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.shared_keys.is_empty() {
            writeln!(f, "nobody has used a shared key")?;
        }
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        for (crew, seen) in &self.shared_keys {
            writeln!(
                f,
                "shared key of crew {crew}: {} calls, last {}, works until {}",
                seen.calls, seen.last, seen.until
            )?;
            writeln!(f, "  from {}", list(&seen.addresses))?;
            writeln!(f, "  by {}", list(&seen.user_agents))?;
            writeln!(f, "  inputs used: {}", list(&seen.inputs))?;
        }
        if self.would_have_been_refused.is_empty() {
            return f.write_str("observe mode would have refused nothing");
        }
        f.write_str("observe mode would have refused or held:")?;
        for refused in &self.would_have_been_refused {
            let rule = refused.rule.as_deref().unwrap_or("no permit");
            write!(
                f,
                "\n  {} × {} {} by {}: {} ({rule}), last {}",
                refused.calls, refused.crew, refused.action, refused.principal, refused.reason, refused.last
            )?;
        }
        Ok(())
    }
}
