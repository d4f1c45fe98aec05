use std::io::{self, IsTerminal, Write};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};

use super::output::{Failure, Output};
use crate::client;

/// Arguments of `approvals`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

/// The control API and the caller's own token.
#[derive(Debug, clap::Args)]
struct Console {
    /// Address of the console.
    #[arg(long, global = true, env = "CREWGATE_CONSOLE", default_value = "http://127.0.0.1:8444")]
    console: Uri,
    /// Environment variable that holds your token; a token on the command line would be seen by other users.
    #[arg(long, global = true, default_value = "CREWGATE_TOKEN")]
    token_env: String,
    /// Certificate authority of the console, PEM.
    #[arg(long, global = true)]
    ca: Option<std::path::PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say yes to one request, after reading what will run.
    Approve(Decision),
    /// Say no to one request.
    Deny(Decision),
    /// List what waits for you, or was asked by you.
    List,
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

/// Largest answer of the control API that is read.
const MAX_ANSWER: usize = 8 << 20;

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console)?;
    match arguments.command {
        Command::Approve(decision) => decide(&api, &decision, "approve", output).await,
        Command::Deny(decision) => decide(&api, &decision, "deny", output).await,
        Command::List => {
            let list = api.call(Method::GET, "/api/approvals", None).await?;
            output.print(&list, listing)
        }
        Command::Show { id } => {
            let approval = api.call(Method::GET, &format!("/api/approvals/{}", checked(&id)?), None).await?;
            output.print(&approval, sheet)
        }
    }
}

async fn decide(api: &Api, decision: &Decision, verdict: &str, output: Output) -> Result<(), Failure> {
    let path = format!("/api/approvals/{}", checked(&decision.id)?);
    let digest = match &decision.digest {
        Some(digest) => digest.clone(),
        None => {
            let approval = api.call(Method::GET, &path, None).await?;
            confirm(&sheet(&approval), verdict)?;
            approval.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
    };
    let mut body = json!({ "verdict": verdict, "digest": digest });
    if let (Some(reason), Some(fields)) = (&decision.reason, body.as_object_mut()) {
        fields.insert("reason".to_owned(), json!(reason));
    }
    let answer = api.call(Method::POST, &format!("{path}/decision"), Some(body)).await?;
    output.print(&answer, |answer| format!("{}: {}", decision.id, state(answer)))
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

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

fn state(value: &Value) -> &str {
    match value.get("state") {
        Some(Value::String(state)) => state,
        Some(state) => text(state, "name"),
        None => "-",
    }
}

fn listing(list: &Value) -> String {
    let rows = |name: &str| list.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (waiting, own) = (rows("waiting"), rows("own"));
    if waiting.is_empty() && own.is_empty() {
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
    let part = |title: &str, rows: &[Value]| match rows {
        [] => None,
        rows => Some(format!("{title}\n{}", rows.iter().map(line).collect::<Vec<_>>().join("\n"))),
    };
    let parts = [part("waits for you", &waiting), part("asked by you", &own)];
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

struct Api {
    client: client::Client,
    base: String,
    token: String,
}

impl Api {
    fn new(console: &Console) -> Result<Self, Failure> {
        let token = std::env::var(&console.token_env).map_err(|_| {
            Failure::usage(format!("put your token into the environment variable `{}`", console.token_env))
        })?;
        let ca = match &console.ca {
            Some(path) => Some(
                std::fs::read(path)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            ),
            None => None,
        };
        let client = client::build(ca.as_deref()).map_err(Failure::unavailable)?;
        Ok(Self { client, base: console.console.to_string().trim_end_matches('/').to_owned(), token })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.map(|body| body.to_string()).unwrap_or_default())))
            .map_err(|error| Failure::usage(error.to_string()))?;
        let unreachable = |error: String| {
            Failure::unavailable(format!("the console at {} cannot be reached: {error}", self.base))
        };
        let response = self.client.request(request).await.map_err(|error| unreachable(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| unreachable(error.to_string()))?.to_bytes();
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|_| Failure::unavailable(format!("{} did not answer JSON ({status})", self.base)))?;
        if status.is_success() {
            return Ok(answer);
        }
        let message = format!("{} ({}): {}", text(&answer, "code"), status.as_u16(), text(&answer, "detail"));
        Err(if status == StatusCode::SERVICE_UNAVAILABLE {
            Failure::unavailable(message)
        } else {
            Failure::no(message)
        })
    }
}
