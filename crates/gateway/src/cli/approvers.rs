use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::{
    control::{Api, Console, rows, text},
    output::{Failure, Output},
};

/// Arguments of `approvers`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show for every set of approvers who could answer now; 1 when fewer people could than one needs.
    Drill {
        /// People who were not seen for so long do not count.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        seen: u32,
    },
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console).await?;
    let Command::Drill { seen } = arguments.command;
    let found = api.call(Method::GET, &format!("/api/approvers?days={seen}"), None).await?;
    output
        .print(&found, |found| rows(found, "approvers").iter().map(sheet).collect::<Vec<_>>().join("\n"))?;
    let short = rows(&found, "approvers").iter().filter(|set| set.get("enough") != Some(&Value::Bool(true)));
    let short: Vec<&str> = short.map(|set| text(set, "set")).collect();
    match short.is_empty() {
        true => Ok(()),
        false => Err(Failure::no(format!("too few people could answer for {}", short.join(", ")))),
    }
}

fn sheet(set: &Value) -> String {
    let words = |name: &str| {
        let words = rows(set, name).iter().filter_map(Value::as_str).collect::<Vec<_>>();
        if words.is_empty() { "nobody".to_owned() } else { words.join(", ") }
    };
    let need = set.get("need").and_then(Value::as_u64).unwrap_or_default();
    let enough = if set.get("enough") == Some(&Value::Bool(true)) { "enough" } else { "TOO FEW" };
    let seen = rows(set, "seen");
    let mut lines = vec![format!("{}  {} of {need} needed: {enough}", text(set, "set"), seen.len())];
    lines.push(format!("  named    {}", words("bound")));
    lines.extend(seen.iter().map(|who| format!("  seen     {} at {}", text(who, "who"), text(who, "last"))));
    lines.extend(rows(set, "lent").iter().filter_map(Value::as_str).map(|lent| format!("  lent     {lent}")));
    lines.push(format!("  told by  {}", words("told")));
    for tier in rows(set, "then") {
        let after = Duration::from_secs(tier.get("after").and_then(Value::as_u64).unwrap_or_default());
        lines.push(format!("  goes to  {} after {}", text(tier, "set"), humantime::format_duration(after)));
    }
    lines.join("\n")
}
