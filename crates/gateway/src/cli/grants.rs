use crewgate_core::GrantId;
use http::Method;
use serde_json::{Value, json};

use super::{
    control::{Api, Console, part, rows, text},
    output::{Failure, Output},
};

/// Arguments of `grants`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List your temporary grants and those you may take away, the one that ends first first.
    List {
        /// Everybody's too, for readers of the record.
        #[arg(long)]
        all: bool,
        /// Those that are over too.
        #[arg(long)]
        over: bool,
    },
    /// Take a grant away, or give your own back. It counts for no call from then on.
    Revoke {
        /// The grant's id.
        id: GrantId,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console).await?;
    match arguments.command {
        Command::List { all, over } => {
            let list = api.call(Method::GET, &format!("/api/grants?all={all}&over={over}"), None).await?;
            output.print(&list, listing)
        }
        Command::Revoke { id, reason } => {
            let body = json!({ "reason": reason });
            let grant = api.call(Method::POST, &format!("/api/grants/{id}/revoke"), Some(body)).await?;
            output.print(&grant, |grant| format!("{id}: {}", text(grant, "state")))
        }
    }
}

fn listing(list: &Value) -> String {
    let parts = [
        part("yours", rows(list, "own"), line),
        part("yours to take away", rows(list, "revocable"), line),
        part("everybody's", rows(list, "all"), line),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "no temporary grants".to_owned() } else { parts.join("\n") }
}

fn line(grant: &Value) -> String {
    let mut line = format!(
        "{}  {:<8} {:<24} {:<28} until {}",
        text(grant, "id"),
        text(grant, "state"),
        text(grant, "role"),
        text(grant, "principal"),
        text(grant, "until"),
    );
    let narrowed = grant.get("narrowed").and_then(Value::as_object).filter(|narrowed| !narrowed.is_empty());
    if let Some(narrowed) = narrowed {
        line.push_str(&format!(
            "  only {}, used {}",
            json!(narrowed),
            grant.get("used").unwrap_or(&Value::Null)
        ));
    }
    line
}
