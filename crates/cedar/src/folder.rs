//! A folder of rules, read whole or not at all, and never more of it than there is room for.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::LoadError;

/// Largest `*.cedar` file in bytes: ten thousand rules are about three million.
pub const MAX_FILE: u64 = 16 << 20;

/// Bytes of all `*.cedar` files of a folder together.
pub const MAX_FOLDER: u64 = 64 << 20;

/// The `*.cedar` files of a folder as path and text, sorted by path. Files whose names begin with a dot are not policy.
///
/// # Errors
///
/// As [`CedarPolicy::load_dir`](crate::CedarPolicy::load_dir), except for what is wrong inside the files.
pub fn sources(path: impl AsRef<Path>) -> Result<Vec<(String, String)>, Vec<LoadError>> {
    let path = path.as_ref();
    let (mut files, mut errors, mut room) = (Vec::new(), Vec::new(), MAX_FOLDER);
    for entry in list(path).map_err(|error| vec![unreadable(path, &error)])? {
        let name = entry.display().to_string();
        if is(&entry, "cedarschema") {
            let help = "the schema is derived from the configuration: remove this file";
            errors.push(LoadError::of_file(name, "a schema file", help));
        } else if entry.is_dir() {
            match list(&entry) {
                // What must be true of the rules is not a rule.
                Ok(_) if entry.file_name().is_some_and(|name| name == "invariants") => {}
                Ok(below) if below.iter().any(|path| is(path, "cedar")) => {
                    let text = "rules in a folder below the policy folder are not read";
                    errors.push(LoadError::of_file(name, text, "move its *.cedar files up"));
                }
                Ok(_) => {}
                Err(error) => errors.push(unreadable(&entry, &error)),
            }
        } else if is(&entry, "cedar") {
            match text(&entry, &mut room) {
                Ok(text) => files.push((name, text)),
                Err(error) => errors.push(error),
            }
        }
    }
    if files.is_empty() && errors.is_empty() {
        let help = "a folder without rules permits nothing; put *.cedar files there or correct the path";
        errors.push(LoadError::of_file(path.display().to_string(), "no *.cedar file", help));
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.retain(|p| !p.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    paths.sort();
    Ok(paths)
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn unreadable(path: &Path, error: &io::Error) -> LoadError {
    LoadError::of_file(
        path.display().to_string(),
        format!("cannot be read: {error}"),
        "check path and permissions",
    )
}

/// The text of one file; takes what it is long from the room there is.
fn text(path: &Path, room: &mut u64) -> Result<String, LoadError> {
    let wrong = |message: String, help: &str| LoadError::of_file(path.display().to_string(), message, help);
    // Asked before it is opened: opening a pipe would wait for whoever writes to it.
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !found.is_file() {
        return Err(wrong("not a file".to_owned(), "a rule is text in a plain file: remove this entry"));
    }
    let limit = MAX_FILE.min(*room);
    let mut bytes = Vec::new();
    // It may grow while it is read.
    let read = File::open(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error))?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).max(found.len());
    if length > MAX_FILE {
        let message = format!("{length} bytes: a policy file has at most {MAX_FILE}");
        return Err(wrong(message, "is this policy? split it, or remove it"));
    }
    let Some(left) = room.checked_sub(length) else {
        let message = format!("the folder holds more than {MAX_FOLDER} bytes of policy with this file");
        return Err(wrong(message, "is all of this policy? remove what is not"));
    };
    *room = left;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let start = error.as_bytes().get(..good).unwrap_or_default();
        let line = start.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        wrong(format!("not UTF-8 text: byte {good}, on line {line}"), "save the file as UTF-8")
    })
}
