use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use crewgate_audit::{Extract, Log, tlog::VerifierKey};
use serde_json::json;

use super::{Failure, Output, Recorded, page};
use crate::config::Settings;

/// Writes a run into a file of its own.
pub(super) async fn export(
    settings: &Settings,
    store: &dyn Log,
    recorded: &Recorded,
    to: Option<PathBuf>,
    output: Output,
) -> Result<(), Failure> {
    let keys = match &settings.record_keys {
        Some(keys) => Some(keys.clone()),
        None => settings.store.keys().map_err(|error| Failure::unavailable(error.to_string()))?,
    };
    let keys = keys.ok_or_else(|| Failure::unavailable("there is no key of the record to sign it with"))?;
    let extract = Extract::of(store, &recorded.leaves).await;
    let extract = extract.map_err(|error| Failure::unavailable(error.to_string()))?;
    let file = page::signed(&recorded.id, &recorded.timeline, &extract, &keys);
    let file = file.ok_or_else(|| Failure::no("the run cannot be written as a file"))?;
    let to = to.unwrap_or_else(|| PathBuf::from(format!("{}.html", recorded.id)));
    let failed = |error: std::io::Error| Failure::unavailable(format!("{}: {error}", to.display()));
    let mut out = OpenOptions::new().write(true).create_new(true).open(&to).map_err(failed)?;
    out.write_all(file.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    let leaves = recorded.leaves.len();
    let report = json!({ "file": to, "leaves": leaves, "bytes": file.len() });
    output.print(&report, |_| format!("{leaves} leaves are in {}", to.display()))
}

/// Checks such a file, or prints a receipt from it.
pub(super) fn verify(
    file: &Path,
    keys: &[VerifierKey],
    receipt: Option<u64>,
    output: Output,
) -> Result<(), Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let (extract, checkpoint) = page::verify(&text, keys)
        .map_err(|why| Failure::no(format!("{} proves nothing: {why}", file.display())))?;
    if let Some(leaf) = receipt {
        let receipt =
            extract.receipt(leaf).ok_or_else(|| Failure::no(format!("leaf {leaf} is not in it")))?;
        let receipt = receipt.to_string();
        return output.print(&json!({ "receipt": receipt }), |_| receipt.trim_end().to_owned());
    }
    let (leaves, of) = (extract.leaves().len(), checkpoint.head.size);
    let report = json!({ "ok": true, "leaves": leaves, "of": of, "origin": checkpoint.origin });
    output.print(&report, |_| format!("ok: {leaves} leaves of {of} on the record of {}", checkpoint.origin))
}
