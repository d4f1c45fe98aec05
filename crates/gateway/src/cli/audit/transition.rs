//! The report on the way over.

use std::collections::{BTreeMap, BTreeSet};

use crewgate_audit::{AuditStore, Entry, Query};
use crewgate_core::{Fact, Timestamp};
use crewgate_store::Store;
use serde::Serialize;

use super::PAGE;
use crate::cli::{output::Failure, record::unreadable};

/// What is left of the old ways, by crew.
#[derive(Debug, Default, Serialize)]
pub(super) struct Transition {
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
    let store = Store::open_read_only(database).await;
    Ok(report(&store.map_err(|error| unreadable(&database.display(), &error))?).await?.to_string())
}

pub(super) async fn report(store: &dyn AuditStore) -> Result<Transition, Failure> {
    let (mut report, mut after) = (Transition::default(), None);
    let mut refused = Refusals::new();
    let mut counted = BTreeSet::new();
    loop {
        let query = Query { after, limit: PAGE, ..Query::default() };
        let leaves = store.leaves(query).await.map_err(|error| Failure::unavailable(error.to_string()))?;
        let Some(last) = leaves.last() else { break };
        after = Some(last.index);
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
