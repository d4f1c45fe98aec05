//! `policy explain`, `policy who-can`, `policy what-can`.

use std::{collections::BTreeSet, path::PathBuf};

use crewgate_cedar::tools::{self, Access, Question, Reading, Story, Who};
use crewgate_core::{InputValue, RequestId};
use serde_json::{Value, json};

use super::{Asker, Failure, Output, Room, input, wrong};
use crate::{cases, cli::record::Reads, config::RoleSettings};

/// Arguments of `policy explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A case: `file.toml`, or `file.toml:line` for the one at that line.
    #[arg(long, value_name = "FILE[:LINE]", conflicts_with_all = ["request", "action"])]
    case: Option<String>,
    /// A recorded call, by its request id.
    #[arg(long, value_name = "ID", conflicts_with = "action")]
    request: Option<RequestId>,
    /// Who asks, `issuer:subject`.
    #[arg(long, default_value = "test:somebody")]
    principal: String,
    #[command(flatten)]
    asker: Asker,
    /// Signed in with more than one factor.
    #[arg(long)]
    mfa: bool,
    /// Age of the token in seconds.
    #[arg(long, default_value_t = 60)]
    token_age: u64,
    /// A declared input, `name=value`; may be repeated.
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, InputValue)>,
    /// What they do.
    #[arg(required_unless_present_any = ["case", "request"], requires = "crew")]
    action: Option<String>,
    /// On which crew.
    crew: Option<String>,
}

impl Explain {
    pub(super) fn reads(&self) -> Option<Reads> {
        self.request.map(Reads::Request)
    }
}

/// Arguments of `policy who-can`.
#[derive(Debug, clap::Args)]
pub(super) struct WhoCan {
    /// What is done.
    action: String,
    /// On which crew.
    crew: String,
    /// A declared input, `name=value`; with one, conditions on inputs are evaluated, and what is not given is not sent.
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, InputValue)>,
}

/// Arguments of `policy what-can`.
#[derive(Debug, clap::Args)]
pub(super) struct WhatCan {
    /// Who, `issuer:subject`.
    principal: String,
    #[command(flatten)]
    asker: Asker,
}

pub(super) async fn explain(room: &Room, arguments: &Explain, output: Output) -> Result<(), Failure> {
    let policy = room.load(None)?;
    let question = match (&arguments.case, &arguments.request) {
        (Some(case), _) => case_at(case)?,
        (None, Some(id)) => super::compare::recorded(room, *id).await?,
        (None, None) => Question {
            action: arguments.action.clone().unwrap_or_default(),
            crew: arguments.crew.clone().unwrap_or_default(),
            input: arguments.inputs.iter().cloned().collect(),
            mfa: arguments.mfa,
            token_age: arguments.token_age,
            ..arguments.asker.question(&arguments.principal)
        },
    };
    let question = cases::with_datasets(question, &room.settings);
    let story = room
        .with_roles(|roles| tools::explain(&policy, &room.vocabulary, &question, Some(roles)))
        .map_err(Failure::usage)?;
    output.print(&story, told)
}

/// The case at this place.
fn case_at(place: &str) -> Result<Question, Failure> {
    let (file, line) = match place.rsplit_once(':').map(|(file, line)| (file, line.parse::<usize>())) {
        Some((file, Ok(line))) => (file, Some(line)),
        _ => (place, None),
    };
    let cases = cases::read(&[PathBuf::from(file)]).map_err(wrong)?;
    // Any line of a case stands for it.
    let found = match line {
        Some(line) => cases.into_iter().rfind(|case| case.line <= line),
        None => cases.into_iter().next(),
    };
    found.map(|case| case.question).ok_or_else(|| Failure::no(format!("no case at {place}")))
}

fn told(story: &Story) -> String {
    let mut lines = vec![story.answer.to_string()];
    lines.extend(story.reason.iter().map(|reason| format!("the caller is told: {reason}")));
    if story.matched.is_empty() {
        lines.push("no permit matches".to_owned());
    } else {
        lines.push("\nrules that match:".to_owned());
        lines.extend(story.matched.iter().map(reading));
    }
    lines.extend(story.broken.iter().map(|(rule, why)| format!("  {rule} could not be evaluated: {why}")));
    lines.push("\nfacts:".to_owned());
    lines.extend(story.facts.iter().map(|(name, value)| format!("  {name} = {value}")));
    if !story.alternatives.is_empty() {
        lines.push("\nwhat would change it:".to_owned());
        let one = |a: &tools::Alternative| format!("  {} → {}", a.with.join(" and "), a.answer);
        lines.extend(story.alternatives.iter().map(one));
    }
    lines.join("\n")
}

fn reading(reading: &Reading) -> String {
    let facts: Vec<_> = reading.facts.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let read = if facts.is_empty() { String::new() } else { format!(" read {}", facts.join(", ")) };
    format!("  {} {}{read}", reading.effect, reading.rule)
}

pub(super) fn who_can(room: &Room, arguments: &WhoCan, output: Output) -> Result<(), Failure> {
    let policy = room.load(None)?;
    let question = Question {
        action: arguments.action.clone(),
        crew: arguments.crew.clone(),
        input: arguments.inputs.iter().cloned().collect(),
        ..Question::default()
    };
    let question = cases::with_datasets(question, &room.settings);
    let found = tools::who_can(&policy, &room.vocabulary, &question).map_err(Failure::usage)?;
    let rows: Vec<(Value, String)> = found.iter().map(|access| with_holders(room, access)).collect();
    let report = json!({ "access": rows.iter().map(|row| &row.0).collect::<Vec<_>>() });
    output.print(&report, |_| match rows.as_slice() {
        [] => "nobody".to_owned(),
        rows => rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>().join("\n\n"),
    })
}

/// A role's row with who holds it by the configuration, directly or through a role that includes it.
fn with_holders(room: &Room, access: &Access) -> (Value, String) {
    let mut row = serde_json::to_value(access).unwrap_or_default();
    let mut text = access.to_string();
    if let Who::Role { role } = &access.who {
        let holders = holders(room, role.as_str());
        let held = if holders.is_empty() { "nobody".to_owned() } else { holders.join(", ") };
        text.push_str(&format!("\n  held by {held}"));
        if let Some(row) = row.as_object_mut() {
            row.insert("holders".to_owned(), json!(holders));
        }
    }
    (row, text)
}

fn holders(room: &Room, role: &str) -> Vec<String> {
    let tables = &room.settings.roles;
    let mut leading = BTreeSet::from([role]);
    // Roles that lead to it, until there are no more; circles do not load.
    loop {
        let more =
            tables.iter().filter(|table| table.includes.iter().any(|one| leading.contains(one.as_str())));
        let more: Vec<&str> =
            more.map(|table| table.name.as_str()).filter(|name| !leading.contains(name)).collect();
        if more.is_empty() {
            break;
        }
        leading.extend(more);
    }
    let of = |table: &RoleSettings| {
        let through = if table.name == role { String::new() } else { format!(" through {}", table.name) };
        let from = table.from.map(|from| format!(" from {from}")).unwrap_or_default();
        let until = table.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let groups = table.groups.iter().map(|group| format!("group {group}"));
        let all = groups.chain(table.subjects.iter().map(|subject| format!("subject {subject}")));
        all.map(|holder| format!("{holder}{through}{from}{until}")).collect::<Vec<_>>()
    };
    tables.iter().filter(|table| leading.contains(table.name.as_str())).flat_map(of).collect()
}

pub(super) fn what_can(room: &Room, arguments: &WhatCan, output: Output) -> Result<(), Failure> {
    let policy = room.load(None)?;
    let question = arguments.asker.question(&arguments.principal);
    let found = room
        .with_roles(|roles| tools::what_can(&policy, &room.vocabulary, &question, Some(roles)))
        .map_err(Failure::usage)?;
    output.print(&json!({ "access": found }), |_| match found.as_slice() {
        [] => "nothing".to_owned(),
        found => found.iter().map(Access::to_string).collect::<Vec<_>>().join("\n\n"),
    })
}
