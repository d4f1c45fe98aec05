use std::{io::Read, path::PathBuf, sync::Arc};

use crewgate_core::SystemClock;
use crewgate_oidc::Bearer;

use super::{
    ConfigFile,
    caller::{Caller, clock, warnings},
    output::{Failure, Output},
};
use crate::{identity::Gatekeeper, tokens};

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says step by step whether this gateway would accept a token, and if not, what to change.
    Explain {
        #[command(flatten)]
        config: ConfigFile,
        /// Without either, the token is read from standard input.
        #[command(flatten)]
        token: TokenSource,
    },
    /// Prints a token of your own that counts, and nothing else: for scripts.
    Print {
        #[command(flatten)]
        caller: Box<Caller>,
    },
}

/// Where a token is; on the command line it would be seen by other users.
#[derive(Debug, clap::Args)]
pub(super) struct TokenSource {
    /// Environment variable that holds the token.
    #[arg(long)]
    token_env: Option<String>,
    /// File that holds the token.
    #[arg(long, conflicts_with = "token_env")]
    token_file: Option<PathBuf>,
}

/// Bytes of a token that are read.
const MAX_TOKEN: u64 = 1 << 20;

impl TokenSource {
    /// Whether a place is named.
    pub(super) fn is_given(&self) -> bool {
        self.token_env.is_some() || self.token_file.is_some()
    }

    /// The token there, or on standard input when no place is named; without `Bearer` and white space around it.
    pub(super) fn read(&self) -> Result<String, Failure> {
        let read = |from: &mut dyn Read| {
            let mut text = String::new();
            from.take(MAX_TOKEN).read_to_string(&mut text).map(|_| text)
        };
        let text = match (&self.token_env, &self.token_file) {
            (Some(name), _) => {
                std::env::var(name).map_err(|_| Failure::usage(format!("`{name}` is not set")))?
            }
            (None, Some(path)) => std::fs::File::open(path)
                .and_then(|mut file| read(&mut file))
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            (None, None) => read(&mut std::io::stdin()).map_err(|error| Failure::usage(error.to_string()))?,
        };
        let token = text.trim();
        Ok(token.strip_prefix("Bearer ").unwrap_or(token).to_owned())
    }
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.command {
        Command::Explain { config, token } => explain(&config, &token, output).await,
        Command::Print { caller } => print(*caller, output).await,
    }
}

async fn explain(config: &ConfigFile, token: &TokenSource, output: Output) -> Result<(), Failure> {
    let settings = config.load()?;
    let gatekeeper = Gatekeeper::new(&settings, Arc::new(SystemClock), None).map_err(Failure::usage)?;
    let explanation = gatekeeper.verifier().explain(&Bearer::new(token.read()?)).await;
    output.print(&explanation, ToString::to_string)?;
    if explanation.is_accepted() { Ok(()) } else { Err(Failure::no("the token is not accepted")) }
}

async fn print(caller: Caller, output: Output) -> Result<(), Failure> {
    warnings();
    let token = tokens::source(&caller.settings()?, &clock())?.token().await?;
    let report = serde_json::json!({ "token": token.expose(), "expires": token.ends().to_string() });
    output.print(&report, |_| token.expose().to_owned())
}
