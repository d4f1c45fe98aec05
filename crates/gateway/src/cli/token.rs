use std::{io::Read, sync::Arc};

use crewgate_core::SystemClock;
use crewgate_oidc::Bearer;

use super::{
    ConfigFile,
    output::{Failure, Output},
};
use crate::identity::Gatekeeper;

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
        /// Environment variable that holds the token; without it the token is read from standard input.
        #[arg(long)]
        token_env: Option<String>,
    },
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Command::Explain { config, token_env } = arguments.command;
    let settings = config.load()?;
    let token = match token_env {
        Some(name) => std::env::var(&name).map_err(|_| Failure::usage(format!("`{name}` is not set")))?,
        None => {
            let mut text = String::new();
            std::io::stdin()
                .take(1 << 20)
                .read_to_string(&mut text)
                .map_err(|error| Failure::usage(error.to_string()))?;
            text
        }
    };
    let gatekeeper = Gatekeeper::new(&settings, Arc::new(SystemClock)).map_err(Failure::usage)?;
    let token = token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let explanation = gatekeeper.verifier().explain(&Bearer::new(token)).await;
    output.print(&explanation, ToString::to_string)?;
    if explanation.is_accepted() { Ok(()) } else { Err(Failure::no("the token is not accepted")) }
}
