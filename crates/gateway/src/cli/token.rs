use std::{io::Read, path::PathBuf, time::Duration};

use crewgate_oidc::Bearer;
use http::Method;
use serde_json::{Value, json};

use super::{
    ConfigFile,
    caller::{Caller, clock, warnings},
    control::{Api, Console, rows, text},
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
    /// List whose tokens are in use, how they are signed and how long they live, with your own token.
    Inventory {
        #[command(flatten)]
        console: Console,
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
        Command::Inventory { console } => inventory(&console, output).await,
    }
}

async fn explain(config: &ConfigFile, token: &TokenSource, output: Output) -> Result<(), Failure> {
    let settings = config.load()?;
    let gatekeeper = Gatekeeper::offline(&settings).map_err(Failure::usage)?;
    let explanation = gatekeeper.verifier().explain(&Bearer::new(token.read()?)).await;
    output.print(&explanation, ToString::to_string)?;
    if explanation.is_accepted() { Ok(()) } else { Err(Failure::no("the token is not accepted")) }
}

async fn print(caller: Caller, output: Output) -> Result<(), Failure> {
    warnings();
    let token = tokens::source(&caller.settings()?, &clock())?.token().await?;
    let report = json!({ "token": token.expose(), "expires": token.ends().to_string() });
    output.print(&report, |_| token.expose().to_owned())
}

async fn inventory(console: &Console, output: Output) -> Result<(), Failure> {
    let api = Api::new(console).await?;
    let (mut seen, mut offset) = (Vec::new(), Some(0));
    while let Some(at) = offset {
        let page = api.call(Method::GET, &format!("/api/tokens?offset={at}"), None).await?;
        seen.extend(rows(&page, "tokens").iter().cloned());
        offset = page.get("next").and_then(Value::as_u64);
    }
    output.print(&json!({ "tokens": seen }), listing)
}

fn listing(list: &Value) -> String {
    let seen = rows(list, "tokens");
    if seen.is_empty() {
        return "no token was seen".to_owned();
    }
    let whole = |row: &&Value| row.get("sender_constrained").and_then(Value::as_bool) != Some(true);
    let bearer = seen.iter().filter(whole).count();
    let lines = seen.iter().map(line).collect::<Vec<_>>().join("\n");
    format!("{lines}\n{} identities, {bearer} with tokens that whoever bears them can use", seen.len())
}

fn line(row: &Value) -> String {
    let lifetime = match row.get("lifetime").and_then(Value::as_u64) {
        Some(secs) => humantime::format_duration(Duration::from_secs(secs)).to_string(),
        None => "-".to_owned(),
    };
    let bound = row.get("sender_constrained").and_then(Value::as_bool) == Some(true);
    let roles: Vec<&str> = rows(row, "roles").iter().filter_map(Value::as_str).collect();
    format!(
        "{:<40} client {:<20} {:<7} {:<7} {lifetime:<8} {:<6} last {}  {}",
        format!("{}:{}", text(row, "issuer"), text(row, "subject")),
        text(row, "client"),
        text(row, "kind"),
        text(row, "algorithm"),
        if bound { "bound" } else { "bearer" },
        text(row, "last"),
        if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") },
    )
}
