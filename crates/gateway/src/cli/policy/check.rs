//! `policy test`.

use std::path::PathBuf;

use crewgate_cedar::tools::Failed;
use serde_json::json;

use super::{Failure, Output, Room, wrong};
use crate::cases;

pub(super) fn run(room: &Room, files: &[PathBuf], output: Output) -> Result<(), Failure> {
    let policy = room.load(None)?;
    let cases = if files.is_empty() { cases::beside(&room.settings.policy) } else { cases::read(files) };
    let cases = cases.map_err(wrong)?;
    if cases.is_empty() {
        let folder = room.settings.policy.join("tests");
        return Err(Failure::usage(format!("no case: put *.toml files into {}", folder.display())));
    }
    let count = cases.len();
    let failed = cases::failing(cases, &policy, &room.vocabulary, &room.settings);
    let report = json!({ "cases": count, "failed": failed, "policy": policy.hash() });
    output.print(&report, |_| {
        let told = failed.iter().map(Failed::to_string);
        let end = format!("{count} cases, {} failed", failed.len());
        told.chain([end]).collect::<Vec<_>>().join("\n\n")
    })?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::no("the rules decide otherwise than their tests")) }
}
