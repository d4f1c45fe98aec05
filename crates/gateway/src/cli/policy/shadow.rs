//! `policy shadow`: what the second rule set would have decided otherwise, from the record.

use std::collections::BTreeMap;

use crewgate_audit::{Phase, Query};
use crewgate_core::{Divergence, Fact, PolicyHash, Shadowed, Timestamp};
use serde::Serialize;

use super::{Failure, Output, Room, compare::each_entry};
use crate::cli::record::open;

/// Arguments of `policy shadow`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only what was decided from this instant on, RFC 3339.
    #[arg(long, value_name = "INSTANT")]
    since: Option<humantime::Timestamp>,
    /// Of every second rule set there was, instead of the last one.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    /// The second rule set reported on; none when it never decided otherwise.
    shadow: Option<PolicyHash>,
    differences: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    shadow: Option<PolicyHash>,
    divergence: Divergence,
    crew: String,
    action: String,
    principal: String,
    decided: String,
    /// Rules by which it was, and by which it would have been.
    rules: Vec<String>,
    shadow_rules: Vec<String>,
    shadow_reason: Option<String>,
    calls: u64,
    last: String,
}

/// How much of a difference must be equal to be counted as one.
type Key = (Option<PolicyHash>, Divergence, String, String, String, String, Vec<String>, Vec<String>);

pub(super) async fn run(room: &Room, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let since = arguments.since.map(|since| Timestamp::from(std::time::SystemTime::from(since)));
    let store = open(&room.settings).await?;
    let mut found: BTreeMap<Key, (u64, Timestamp, Option<String>)> = BTreeMap::new();
    let mut last = None;
    each_entry(&store, Query::default().phase(Phase::Policy), |entry| {
        for fact in &entry.facts {
            if let Fact::Shadowed(how) = fact
                && since.is_none_or(|since| since <= entry.time)
            {
                last = Some(how.shadow_basis.policy.clone());
                let count = found.entry(key(how)).or_insert((0, entry.time, None));
                count.0 += 1;
                count.1 = count.1.max(entry.time);
                count.2.clone_from(&how.shadow_reason);
            }
        }
    })
    .await?;
    let rows = found.into_iter().filter(|(key, _)| arguments.all || last.as_ref() == Some(&key.0));
    let differences = rows.map(|(key, (calls, at, shadow_reason))| {
        let (shadow, divergence, crew, action, principal, decided, rules, shadow_rules) = key;
        let last = at.to_string();
        Row {
            shadow,
            divergence,
            crew,
            action,
            principal,
            decided,
            rules,
            shadow_rules,
            shadow_reason,
            calls,
            last,
        }
    });
    let report = Report { differences: differences.collect(), shadow: last.flatten() };
    output.print(&report, ToString::to_string)
}

fn key(how: &Shadowed) -> Key {
    let rules = |basis: &crewgate_core::Basis| basis.rules.iter().map(ToString::to_string).collect();
    (
        how.shadow_basis.policy.clone(),
        how.divergence,
        how.resource.clone(),
        how.action.to_string(),
        how.principal.to_string(),
        how.decided.clone(),
        rules(&how.basis),
        rules(&how.shadow_basis),
    )
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.differences.is_empty() {
            return f.write_str("the shadow policy would have decided nothing otherwise");
        }
        let mut shadow = None;
        for (index, row) in self.differences.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if shadow != Some(&row.shadow) {
                let hash = row.shadow.as_ref().map_or("without a hash", PolicyHash::as_str);
                writeln!(f, "shadow policy {}:", hash.get(..12).unwrap_or(hash))?;
                shadow = Some(&row.shadow);
            }
            let by = |rules: &[String]| match rules {
                [] => "no rule".to_owned(),
                rules => rules.join(", "),
            };
            let reason = row.shadow_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            write!(
                f,
                "  {} × {} {} by {}: {} ({}) would be {} ({}){reason}, last {}",
                row.calls,
                row.crew,
                row.action,
                row.principal,
                row.decided,
                by(&row.rules),
                row.divergence.as_str().replace('_', " "),
                by(&row.shadow_rules),
                row.last,
            )?;
        }
        Ok(())
    }
}
