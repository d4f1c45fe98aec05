use std::io::{self, IsTerminal, Write};

use http::Method;
use serde_json::{Value, json};

use super::{
    control::{Api, Console, part, rows, text},
    output::{Failure, Output},
};

/// Arguments of `approvals`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say yes to one request, after reading what will run.
    Approve(Decision),
    /// Take back your own request, before it is started.
    Cancel {
        /// The approval's id.
        id: String,
    },
    /// Let your own request go without those who are asked, where you may. Somebody else must review it.
    BreakGlass(Glass),
    /// Say no to one request.
    Deny(Decision),
    /// List what waits for you, or was asked by you.
    List,
    /// See the masked inputs that rules decide on, before saying yes. That you did is put on the record.
    Reveal(Reveal),
    /// Look at a request that was let go by break-glass, after the fact.
    Review(Review),
    /// Say what became of a request that was sent and whose answer was lost.
    Settle(Settlement),
    /// Show one request: exactly what will run, for whom, and who must agree.
    Show {
        /// The approval's id.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Decision {
    /// The approval's id.
    id: String,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// The digest you read; without it the request is shown and a `yes` is asked for.
    #[arg(long)]
    digest: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Glass {
    /// The approval's id.
    id: String,
    /// Why nobody can be waited for: a sentence, of 20 characters at least.
    #[arg(long)]
    reason: String,
    /// The digest you read; without it the request is shown and a `yes` is asked for.
    #[arg(long)]
    digest: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Reveal {
    /// The approval's id.
    id: String,
    /// The digest you read; without it the request is shown and a `yes` is asked for.
    #[arg(long)]
    digest: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Review {
    /// The approval's id.
    id: String,
    /// It was right.
    #[arg(long, required_unless_present = "wrong", conflicts_with = "wrong")]
    right: bool,
    /// It was wrong.
    #[arg(long)]
    wrong: bool,
    /// What you found.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
struct Settlement {
    /// The approval's id.
    id: String,
    /// It ran.
    #[arg(long, required_unless_present = "did_not_run", conflicts_with = "did_not_run")]
    ran: bool,
    /// CrewAI's own id of the run you found: the caller's ticket stands for it from then on.
    #[arg(long, value_name = "ID", requires = "ran")]
    run: Option<String>,
    /// It did not run. It is not sent again: who still wants it asks anew.
    #[arg(long)]
    did_not_run: bool,
    /// How you know.
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console).await?;
    match arguments.command {
        Command::Approve(decision) => decide(&api, &decision, "approve", output).await,
        Command::BreakGlass(glass) => break_glass(&api, &glass, output).await,
        Command::Deny(decision) => decide(&api, &decision, "deny", output).await,
        Command::List => {
            let list = api.call(Method::GET, "/api/approvals", None).await?;
            output.print(&list, listing)
        }
        Command::Cancel { id } => {
            let path = format!("/api/approvals/{}/cancel", checked(&id)?);
            let answer = api.call(Method::POST, &path, None).await?;
            output.print(&answer, |answer| format!("{id}: {}", state(answer)))
        }
        Command::Reveal(Reveal { id, digest: read }) => {
            let path = format!("/api/approvals/{}", checked(&id)?);
            let digest = digest(&api, &path, read.as_deref(), "reveal").await?;
            let sent = json!({ "digest": digest });
            let revealed = api.call(Method::POST, &format!("{path}/reveal"), Some(sent)).await?;
            output.print(&revealed, |revealed| sheet(revealed.get("inputs").unwrap_or(revealed)))
        }
        Command::Review(review) => look(&api, &review, output).await,
        Command::Settle(settlement) => settle(&api, &settlement, output).await,
        Command::Show { id } => {
            let approval = api.call(Method::GET, &format!("/api/approvals/{}", checked(&id)?), None).await?;
            output.print(&approval, sheet)
        }
    }
}

async fn decide(api: &Api, decision: &Decision, verdict: &str, output: Output) -> Result<(), Failure> {
    let path = format!("/api/approvals/{}", checked(&decision.id)?);
    let digest = digest(api, &path, decision.digest.as_deref(), verdict).await?;
    let mut body = json!({ "verdict": verdict, "digest": digest });
    if let (Some(reason), Some(fields)) = (&decision.reason, body.as_object_mut()) {
        fields.insert("reason".to_owned(), json!(reason));
    }
    let answer = api.call(Method::POST, &format!("{path}/decision"), Some(body)).await?;
    output.print(&answer, |answer| format!("{}: {}", decision.id, state(answer)))
}

async fn break_glass(api: &Api, glass: &Glass, output: Output) -> Result<(), Failure> {
    let path = format!("/api/approvals/{}", checked(&glass.id)?);
    let digest = digest(api, &path, glass.digest.as_deref(), "break the glass for").await?;
    let body = json!({ "digest": digest, "reason": glass.reason });
    let answer = api.call(Method::POST, &format!("{path}/break-glass"), Some(body)).await?;
    output.print(&answer, |answer| {
        format!("{}: {}, to be reviewed until {}", glass.id, state(answer), text(answer, "review_due"))
    })
}

async fn look(api: &Api, review: &Review, output: Output) -> Result<(), Failure> {
    let path = format!("/api/approvals/{}/review", checked(&review.id)?);
    let verdict = if review.right { "approve" } else { "deny" };
    let body = json!({ "verdict": verdict, "reason": review.reason });
    let answer = api.call(Method::POST, &path, Some(body)).await?;
    output.print(&answer, |_| format!("{}: reviewed", review.id))
}

/// The digest that was read, or that of what is shown and said `yes` to.
async fn digest(api: &Api, path: &str, read: Option<&str>, what: &str) -> Result<String, Failure> {
    if let Some(digest) = read {
        return Ok(digest.to_owned());
    }
    let approval = api.call(Method::GET, path, None).await?;
    confirm(&sheet(&approval), what)?;
    Ok(approval.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned())
}

async fn settle(api: &Api, settlement: &Settlement, output: Output) -> Result<(), Failure> {
    let path = format!("/api/approvals/{}/settlement", checked(&settlement.id)?);
    let found = if settlement.ran { "ran" } else { "did_not_run" };
    let body = json!({ "found": found, "run": settlement.run, "reason": settlement.reason });
    let answer = api.call(Method::POST, &path, Some(body)).await?;
    output.print(&answer, |answer| format!("{}: {}", settlement.id, state(answer)))
}

/// Shows the request and asks for a `yes`; without a terminal the digest is asked for instead, so that nothing is
/// decided unread.
fn confirm(sheet: &str, verdict: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("not on a terminal: give `--digest` as `approvals show` prints it"));
    }
    let mut err = io::stderr();
    let _ = write!(err, "{sheet}\n\n{verdict} this request? Type yes: ");
    let _ = err.flush();
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| Failure::unavailable(error.to_string()))?;
    if line.trim() == "yes" { Ok(()) } else { Err(Failure::no("nothing was decided")) }
}

fn checked(id: &str) -> Result<crewgate_core::ApprovalId, Failure> {
    id.parse().map_err(|_| Failure::usage(format!("`{id}` is not an approval id")))
}

fn state(value: &Value) -> &str {
    match value.get("state") {
        Some(Value::String(state)) => state,
        Some(state) => text(state, "name"),
        None => "-",
    }
}

fn listing(list: &Value) -> String {
    let [waiting, lost, review, own] = ["waiting", "lost", "review", "own"].map(|part| rows(list, part));
    if [waiting, lost, review, own].iter().all(|part| part.is_empty()) {
        return "nothing waits".to_owned();
    }
    let line = |row: &Value| {
        format!(
            "{}  {:<10} {:<28} {}/{}  until {}",
            text(row, "id"),
            state(row),
            text(row, "requester"),
            text(row, "resource"),
            text(row, "action"),
            text(row, "expires"),
        )
    };
    let parts = [
        part("waits for you", waiting, line),
        part("sent, answer lost: look at the crew, then `approvals settle`", lost, line),
        part("let go by break-glass: look at it, then `approvals review`", review, line),
        part("asked by you", own, line),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn sheet(approval: &Value) -> String {
    // The control API already laid it out; members in their order, one a line, nested ones as JSON.
    let Some(fields) = approval.as_object() else { return approval.to_string() };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name:<width$}  {text}"),
        other => format!("{name:<width$}  {other}"),
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}
