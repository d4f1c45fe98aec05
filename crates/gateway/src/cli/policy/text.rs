//! Rules as text: export, formatting, lints.

use std::{collections::BTreeSet, fs};

use crewgate_cedar::{sources, tools};
use crewgate_core::RoleName;
use serde_json::json;

use super::{Failure, Output, Room, wrong};
use crate::cases;

pub(super) fn export(room: &Room, schema: bool, output: Output) -> Result<(), Failure> {
    let policy = room.load(None)?;
    let report = json!({ "policy": policy.hash(), "rules": policy.export(), "schema": policy.schema() });
    output.print(&report, |_| {
        let text = if schema { policy.schema().to_owned() } else { policy.export() };
        text.trim_end().to_owned()
    })
}

fn files(room: &Room) -> Result<Vec<(String, String)>, Failure> {
    let folder = &room.settings.policy;
    sources(folder).map_err(|errors| wrong(cases::told(folder, errors)))
}

pub(super) fn fmt(room: &Room, check: bool, output: Output) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for (file, text) in files(room)? {
        let formatted = tools::format(&file, &text)
            .map_err(|error| wrong(cases::told(&room.settings.policy, vec![error])))?;
        if formatted == text {
            continue;
        }
        if !check {
            fs::write(&file, formatted).map_err(|error| Failure::unavailable(format!("{file}: {error}")))?;
        }
        changed.push(file);
    }
    output.print(&json!({ "changed": changed }), |_| match (changed.is_empty(), check) {
        (true, _) => "nothing to change".to_owned(),
        (false, true) => format!("not formatted: {}", changed.join(", ")),
        (false, false) => format!("formatted: {}", changed.join(", ")),
    })?;
    if check && !changed.is_empty() { Err(Failure::no("run `crewgate policy fmt`")) } else { Ok(()) }
}

pub(super) fn lint(room: &Room, output: Output) -> Result<(), Failure> {
    let settings = &room.settings;
    let approvers = settings.approvers.iter().flat_map(|set| &set.roles);
    // A role that includes others is used by them.
    let including = settings.roles.iter().filter(|role| !role.includes.is_empty()).map(|role| &role.name);
    let elsewhere: BTreeSet<RoleName> = approvers
        .chain(&settings.record_readers)
        .chain(&settings.record_erasers)
        .chain(including)
        .map(RoleName::new)
        .collect();
    let found = tools::lint(&files(room)?, &room.vocabulary, &elsewhere);
    let one = |finding: &tools::Finding| {
        json!({
            "lint": finding.lint,
            "fatal": finding.fatal,
            "file": finding.at.file,
            "line": finding.at.line,
            "column": finding.at.column,
            "message": finding.at.message,
            "help": finding.at.help,
        })
    };
    let report = json!({ "findings": found.iter().map(one).collect::<Vec<_>>() });
    output.print(&report, |_| match found.as_slice() {
        [] => "nothing found".to_owned(),
        found => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"),
    })?;
    if found.is_empty() { Ok(()) } else { Err(Failure::no(format!("{} findings", found.len()))) }
}
