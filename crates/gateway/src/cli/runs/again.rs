//! What other rules would have said to the calls of a run.

use std::{collections::BTreeSet, fmt, path::Path};

use crewgate_audit::{AuditError, Leaf, Phase};
use crewgate_cedar::tools::{Answer, NotAsked, Question, decided};
use crewgate_core::Divergence;
use crewgate_policy::{Policy as _, divergence};
use serde::Serialize;

use super::{Failure, Output};
use crate::{cli::policy::Room, config::Settings};

/// One call, decided then and now.
#[derive(Debug, Serialize)]
struct Row {
    request: String,
    action: String,
    principal: String,
    recorded: Answer,
    again: Answer,
    change: Option<Divergence>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    calls: Vec<Row>,
    /// Requests that cannot be decided again, and why.
    undecidable: Vec<(String, String)>,
}

pub(super) fn run(settings: Settings, leaves: &[Leaf], policy: &Path, output: Output) -> Result<(), Failure> {
    let room = Room::new(settings);
    let rules = room.load(Some(policy))?;
    let mut report = Report::default();
    let mut seen = BTreeSet::new();
    for leaf in leaves {
        let entry = leaf.entry().map_err(|error: AuditError| Failure::no(error.to_string()))?;
        // An outcome repeats its intent: each request counts once.
        if !matches!(entry.phase, Phase::Intent | Phase::Outcome | Phase::Refused)
            || seen.contains(&entry.request)
        {
            continue;
        }
        let (question, recorded) = match (Question::recorded(&entry.facts), decided(&entry.facts)) {
            (Err(NotAsked::Never), _) | (_, None) => continue,
            (Ok(question), Some(recorded)) => (question, recorded),
            (Err(why), Some(_)) => {
                seen.insert(entry.request);
                report.undecidable.push((entry.request.to_string(), why.to_string()));
                continue;
            }
        };
        seen.insert(entry.request);
        match question.asked(&rules, &room.vocabulary, None) {
            Ok(asked) => {
                let again = rules.decide(&asked.query());
                report.calls.push(Row {
                    request: entry.request.to_string(),
                    action: question.action.clone(),
                    principal: question.principal.clone(),
                    recorded: Answer::from(&recorded),
                    again: Answer::from(&again),
                    change: divergence(&recorded, &again),
                });
            }
            Err(why) => report.undecidable.push((entry.request.to_string(), why)),
        }
    }
    output.print(&report, ToString::to_string)?;
    if !report.undecidable.is_empty() {
        return Err(Failure::no("not every call can be decided again"));
    }
    if report.calls.iter().any(|row| row.change.is_some()) {
        return Err(Failure::no("the rules decide otherwise"));
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { request, action, principal, recorded, again, change } in &self.calls {
            write!(f, "{action} by {principal} ({request}): {recorded}")?;
            match change {
                Some(change) => writeln!(f, " → {again}, {}", change.as_str().replace('_', " "))?,
                None => writeln!(f, ", and again")?,
            }
        }
        for (request, why) in &self.undecidable {
            writeln!(f, "{request} cannot be decided again: {why}")?;
        }
        let differ = self.calls.iter().filter(|row| row.change.is_some()).count();
        write!(f, "{} decided again, {differ} differ", self.calls.len())
    }
}
