//! `policy diff`: what becomes of recorded calls, or of cases, under other rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crewgate_audit::{AuditStore, Entry, Query};
use crewgate_cedar::{
    CedarPolicy,
    tools::{Difference, NotAsked, Question, RoleLookup, compare},
};
use crewgate_core::{RequestId, Timestamp};
use serde::Serialize;

use super::{Failure, Output, Room, wrong};
use crate::{
    cases,
    cli::{
        audit::PAGE,
        record::{Reads, open},
    },
};

/// Arguments of `policy diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder of the rules as they were.
    old: PathBuf,
    /// Folder of the rules as they will be.
    new: PathBuf,
    /// Ask the cases of these files instead of the recorded calls.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    cases: Vec<PathBuf>,
    /// Only calls recorded from this instant on, RFC 3339.
    #[arg(long, value_name = "INSTANT")]
    since: Option<humantime::Timestamp>,
}

impl Arguments {
    pub(super) fn reads(&self) -> Option<Reads> {
        self.cases.is_empty().then_some(Reads::Record)
    }
}

/// One call or case that ends otherwise.
#[derive(Debug, Serialize)]
struct Row {
    /// Request id, or the case's place.
    of: String,
    principal: String,
    action: String,
    crew: String,
    #[serde(flatten)]
    difference: Difference,
}

/// The old rules and the new.
type Sets = (CedarPolicy, CedarPolicy);

#[derive(Debug, Default, Serialize)]
struct Report {
    decided: u64,
    differ: Vec<Row>,
    /// Calls that cannot be decided again, by why.
    undecidable: BTreeMap<String, u64>,
}

pub(super) async fn run(room: &Room, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let sets = (room.load(Some(&arguments.old))?, room.load(Some(&arguments.new))?);
    let mut report = Report::default();
    if arguments.cases.is_empty() {
        let since = arguments.since.map(|since| Timestamp::from(std::time::SystemTime::from(since)));
        let mut seen = BTreeSet::new();
        let store = open(&room.settings).await?;
        each_entry(&store, Query::default(), |entry| {
            if since.is_some_and(|since| entry.started < since) || seen.contains(&entry.request) {
                return;
            }
            match Question::recorded(&entry.facts) {
                // Strangers, steps of approvals, and what never was a call to a crew.
                Err(NotAsked::Never) => return,
                Err(why) => report.undecidable(why.to_string()),
                Ok(question) => report.add(room, &sets, entry.request.to_string(), &question, false),
            }
            // An outcome repeats its intent: each request counts once.
            seen.insert(entry.request);
        })
        .await?;
    } else {
        for case in cases::read(&arguments.cases).map_err(wrong)? {
            let question = cases::with_datasets(case.question, &room.settings);
            report.add(room, &sets, format!("{}:{}", case.file, case.line), &question, true);
        }
    }
    output.print(&report, ToString::to_string)?;
    if report.differ.is_empty() { Ok(()) } else { Err(Failure::no("the rules decide otherwise")) }
}

impl Report {
    /// `bound`: the configuration gives roles besides those of the question. A recorded call's are all it had.
    fn add(&mut self, room: &Room, (old, new): &Sets, of: String, question: &Question, bound: bool) {
        let compared = |lookup: Option<RoleLookup<'_>>| compare(old, new, question, &room.vocabulary, lookup);
        match if bound { room.with_roles(|roles| compared(Some(roles))) } else { compared(None) } {
            Ok(difference) => {
                self.decided += 1;
                self.differ.extend(difference.map(|difference| Row {
                    of,
                    principal: question.principal.clone(),
                    action: question.action.clone(),
                    crew: question.crew.clone(),
                    difference,
                }));
            }
            Err(why) => self.undecidable(why),
        }
    }

    fn undecidable(&mut self, why: String) {
        *self.undecidable.entry(why).or_insert(0) += 1;
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut by = BTreeMap::<_, Vec<&Row>>::new();
        for row in &self.differ {
            by.entry(row.difference.change).or_default().push(row);
        }
        for (change, rows) in by {
            writeln!(f, "{}: {}", change.as_str().replace('_', " "), rows.len())?;
            for row in rows {
                let Difference { before, after, .. } = &row.difference;
                writeln!(
                    f,
                    "  {} {} by {}: {before} → {after} ({})",
                    row.action, row.crew, row.principal, row.of
                )?;
            }
        }
        for (why, calls) in &self.undecidable {
            writeln!(f, "cannot be decided again: {calls} ({why})")?;
        }
        write!(f, "{} decided again, {} differ", self.decided, self.differ.len())
    }
}

/// The question of a recorded call.
pub(super) async fn recorded(room: &Room, request: RequestId) -> Result<Question, Failure> {
    let store = open(&room.settings).await?;
    let mut found = None;
    let query = Query { request: Some(request), ..Query::default() };
    each_entry(&store, query, |entry| {
        if !matches!(found, Some(Ok(_))) {
            found = Some(Question::recorded(&entry.facts));
        }
    })
    .await?;
    match found {
        Some(Ok(question)) => Ok(question),
        Some(Err(why)) => Err(Failure::no(format!("request {request} cannot be decided again: {why}"))),
        None => Err(Failure::no(format!("request {request} is not on the record"))),
    }
}

/// Every entry of the record that `query` asks for, oldest first.
pub(super) async fn each_entry(
    store: &dyn AuditStore,
    query: Query,
    mut each: impl FnMut(&Entry),
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = Query { after, limit: PAGE, ..query.clone() };
        let leaves = store.leaves(page).await.map_err(|error| Failure::unavailable(error.to_string()))?;
        let Some(last) = leaves.last() else { return Ok(()) };
        after = Some(last.index);
        for leaf in &leaves {
            each(&leaf.entry().map_err(|error| Failure::no(error.to_string()))?);
        }
    }
}
