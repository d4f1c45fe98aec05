//! Searching the record through the control API: there reading has its role, and stands on the record.

use form_urlencoded::Serializer;
use http::Method;
use serde_json::Value;

use crate::cli::{
    control::{Api, Console, rows, text},
    output::{Failure, Output},
};

/// Arguments of `audit search`: all that is given must hold.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Who, `issuer:subject`.
    #[arg(long)]
    principal: Option<String>,
    /// A role that decided.
    #[arg(long)]
    role: Option<String>,
    /// The crew.
    #[arg(long)]
    crew: Option<String>,
    /// What was asked for, such as `kickoff`.
    #[arg(long)]
    action: Option<String>,
    /// What policy decided: `allow`, `ask` or `refuse`.
    #[arg(long)]
    decision: Option<String>,
    /// A rule that decided.
    #[arg(long)]
    rule: Option<String>,
    /// The approval's id.
    #[arg(long)]
    approval: Option<String>,
    /// An entity that was masked, such as `EMAIL`.
    #[arg(long)]
    entity: Option<String>,
    /// What happened, such as `intent` or `approval.voted`.
    #[arg(long)]
    kind: Option<String>,
    /// The request's id.
    #[arg(long)]
    request: Option<String>,
    /// The run's id.
    #[arg(long)]
    run: Option<String>,
    /// From this instant on, RFC 3339 or a date.
    #[arg(long)]
    since: Option<String>,
    /// Before this instant, RFC 3339 or a date.
    #[arg(long)]
    until: Option<String>,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// At most this many.
    #[arg(long)]
    limit: Option<u32>,
    /// Go on after this leaf, as the last page said.
    #[arg(long)]
    after: Option<u64>,
}

pub(super) async fn run(arguments: Arguments, console: &Console, output: Output) -> Result<(), Failure> {
    let api = Api::new(console).await?;
    let page = api.call(Method::GET, &format!("/api/record?{}", asked(&arguments)), None).await?;
    output.print(&page, listing)
}

fn asked(arguments: &Arguments) -> String {
    let texts = [
        ("principal", &arguments.principal),
        ("role", &arguments.role),
        ("crew", &arguments.crew),
        ("action", &arguments.action),
        ("decision", &arguments.decision),
        ("rule", &arguments.rule),
        ("approval", &arguments.approval),
        ("entity", &arguments.entity),
        ("kind", &arguments.kind),
        ("request", &arguments.request),
        ("run", &arguments.run),
        ("since", &arguments.since),
        ("until", &arguments.until),
        ("limit", &arguments.limit.map(|limit| limit.to_string())),
        ("after", &arguments.after.map(|after| after.to_string())),
    ];
    let mut query = Serializer::new(String::new());
    query.append_pair("oldest_first", &arguments.oldest_first.to_string());
    query.extend_pairs(texts.iter().filter_map(|(name, text)| Some((name, text.as_deref()?))));
    query.finish()
}

fn listing(page: &Value) -> String {
    let leaves = rows(page, "leaves");
    let mut lines: Vec<String> = leaves.iter().map(line).collect();
    if let Some(next) = page.get("next_after").and_then(Value::as_u64) {
        lines.push(format!("there is more: --after {next}"));
    }
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

fn line(leaf: &Value) -> String {
    let record = leaf.get("record").unwrap_or(&Value::Null);
    let kind = if record.get("kind").is_some() { "kind" } else { "phase" };
    format!(
        "{:>8}  {}  {:<20} {:<24} {:<10} {:<20} {}",
        leaf.get("leaf").unwrap_or(&Value::Null).to_string(),
        text(leaf, "time"),
        text(record, kind),
        text(leaf, "principal"),
        text(record, "action"),
        text(record, "resource"),
        text(record, "decision"),
    )
}
