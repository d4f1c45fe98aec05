use std::collections::BTreeMap;

use crewgate_core::{GrantId, InputValue};
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
    /// Ask for a role for a while. Whoever is asked decides with `approvals approve`; then it counts at once.
    Request(Request),
    /// Take a grant away, or give your own back. It counts for no call from then on.
    Revoke {
        /// The grant's id.
        id: GrantId,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Request {
    /// The role, one whose table says `request`.
    #[arg(long)]
    role: String,
    /// For how long from the last yes on, like `2h`.
    #[arg(long = "for", value_name = "DURATION")]
    lasts: humantime::Duration,
    /// What it is for.
    #[arg(long)]
    reason: String,
    /// Only on this crew; may be given several times.
    #[arg(long = "crew", value_name = "NAME")]
    crews: Vec<String>,
    /// Only for calls with this declared input; may be given several times. `true`, `false`, whole numbers and lists in
    /// JSON are read as such, anything else as a text.
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, InputValue)>,
    /// Only for so many calls that change something.
    #[arg(long, value_name = "N")]
    uses: Option<std::num::NonZeroU32>,
}

fn input(text: &str) -> Result<(String, InputValue), String> {
    let (name, value) = text.split_once('=').ok_or("it is not like `topic=churn`")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| InputValue::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

async fn request(api: &Api, wanted: Request, output: Output) -> Result<(), Failure> {
    let mut inputs = BTreeMap::new();
    for (name, value) in wanted.inputs {
        if inputs.insert(name.clone(), value).is_some() {
            return Err(Failure::usage(format!("`--input {name}` is given twice")));
        }
    }
    let mut narrowed = json!({ "resources": wanted.crews, "inputs": inputs });
    if let (Some(uses), Some(narrowed)) = (wanted.uses, narrowed.as_object_mut()) {
        narrowed.insert("uses".to_owned(), json!(uses));
    }
    let body = json!({
        "role": wanted.role,
        "seconds": wanted.lasts.as_secs(),
        "reason": wanted.reason,
        "narrowed": narrowed,
    });
    let asked = api.call(Method::POST, "/api/grants", Some(body)).await?;
    output.print(&asked, |asked| {
        format!("{}: waits for approval until {}", text(asked, "approval"), text(asked, "expires"))
    })
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console).await?;
    match arguments.command {
        Command::List { all, over } => {
            let list = api.call(Method::GET, &format!("/api/grants?all={all}&over={over}"), None).await?;
            output.print(&list, listing)
        }
        Command::Request(wanted) => request(&api, wanted, output).await,
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
