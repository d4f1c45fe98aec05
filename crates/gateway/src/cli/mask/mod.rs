//! `crewgate mask`: what would be masked, without a gateway; and masks turned back, by one.

mod spans;
mod tried;

use std::{io::Write, path::PathBuf};

use crewgate_core::{MaskProfile, RunId};
use crewgate_masking::{Entity, Masker, Profiles};
use http::Method;
use serde_json::json;

use super::{
    control::{Api, Console, text},
    output::{Failure, Output},
};
use crate::config::Settings;

/// Arguments of `mask`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the entities that a profile can name.
    Entities,
    /// Turn back what masks wrote in a run, with your own token, where policy and the profile entitle you to it.
    Restore {
        /// The run's id.
        run: RunId,
        /// Text or JSON (`.json`) with tokens of the run; `-` is standard input, as text.
        file: PathBuf,
        #[command(flatten)]
        console: Console,
    },
    /// Read `{"id", "text", …}` a line and write `{"id", …, "spans": [{"start", "end", "label"}]}`, in byte offsets.
    Spans {
        #[command(flatten)]
        choice: Choice,
    },
    /// Show what would be masked in a file, and why.
    Try {
        /// Text, JSON (`.json`) or server-sent events (`.sse`); `-` is standard input, as text.
        file: PathBuf,
        #[command(flatten)]
        choice: Choice,
    },
}

/// Which profiles.
#[derive(Debug, clap::Args)]
struct Choice {
    /// A mask profile, built in or of the configuration file; given several times, all of them apply.
    #[arg(long, required = true)]
    profile: Vec<String>,
    /// The configuration file, for profiles that are not built in.
    #[arg(long, short, env = "CREWGATE_CONFIG")]
    config: Option<PathBuf>,
}

impl Choice {
    /// Without a configuration file when the profiles are built in: a scorer starts this a thousand times.
    fn masker(&self) -> Result<Masker, Failure> {
        let names = self.profile.iter().map(MaskProfile::new).collect();
        if let (None, Some(masker)) = (&self.config, Profiles::builtin().masker(&names)) {
            return Ok(masker);
        }
        let file = self.config.clone().unwrap_or_else(|| PathBuf::from("crewgate.toml"));
        let settings = Settings::load(&file).map_err(|error| Failure::usage(error.to_string()))?;
        let profiles = settings.masks.profiles;
        profiles.masker(&names).ok_or_else(|| {
            let known: Vec<_> = profiles.names().map(MaskProfile::as_str).collect();
            Failure::usage(format!("there is no such mask profile; there are {}", known.join(", ")))
        })
    }
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    match &arguments.command {
        Command::Entities => {
            let names: Vec<_> = Entity::ALL.iter().map(Entity::name).collect();
            output.print(&json!({ "entities": names }), |_| names.join("\n"))
        }
        Command::Restore { run, file, console } => {
            let masked = tried::read(file)?;
            let json = file.extension().is_some_and(|extension| extension == "json");
            let body = json!({ "text": masked, "json": json });
            let path = format!("/api/runs/{run}/restore");
            let answer = Api::new(console).await?.call(Method::POST, &path, Some(body)).await?;
            output.print(&answer, |answer| text(answer, "text").trim_end_matches('\n').to_owned())
        }
        Command::Spans { choice } => {
            let (input, mut written) =
                (std::io::stdin().lock(), std::io::BufWriter::new(std::io::stdout().lock()));
            spans::run(&choice.masker()?, input, &mut written)?;
            written.flush().or_else(closed_pipe)
        }
        Command::Try { file, choice } => tried::run(&choice.masker()?, file, output),
    }
}

/// A reader that closes the pipe early (`| head`) has what it wanted.
fn closed_pipe(error: std::io::Error) -> Result<(), Failure> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::unavailable(error.to_string())),
    }
}
