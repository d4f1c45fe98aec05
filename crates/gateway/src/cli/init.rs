use std::{fs, io::Write, path::PathBuf};

use serde_json::json;

use super::output::{Failure, Output};

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder; made when it is not there.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

const CONFIG: &str = include_str!("init/crewgate.toml");
const PERMITS: &str = include_str!("init/permits.cedar");
const GUARDS: &str = include_str!("init/guards.cedar");

pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let files =
        [("crewgate.toml", CONFIG), ("policy/permits.cedar", PERMITS), ("policy/guards.cedar", GUARDS)];
    let failed =
        |path: &PathBuf, error: std::io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let policy = arguments.folder.join("policy");
    fs::create_dir_all(&policy).map_err(|error| failed(&policy, error))?;
    let mut written = Vec::new();
    for (name, text) in files {
        let path = arguments.folder.join(name);
        // Never over an existing file: it may be somebody's policy.
        let mut file = fs::File::create_new(&path).map_err(|error| failed(&path, error))?;
        file.write_all(text.as_bytes()).map_err(|error| failed(&path, error))?;
        written.push(path.display().to_string());
    }
    output.print(&json!({ "written": written }), |_| {
        format!(
            "written: {}\nnext: name your issuer and crew in crewgate.toml, then `crewgate check`",
            written.join(", ")
        )
    })
}
