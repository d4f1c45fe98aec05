use crewgate_core::DelegationId;
use http::Method;
use serde_json::{Value, json};

use super::{
    control::{Api, Console, rows, text},
    output::{Failure, Output},
};

/// Arguments of `delegations`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// End one, as whoever lent it or whoever it was lent to. It counts for no vote from then on.
    End {
        /// The delegation's id.
        id: DelegationId,
    },
    /// Let somebody speak in your place for a while. Your voice counts once, and not for what you ask for yourself.
    Lend(Lending),
    /// List voices you lend or were lent, the one that ends first first.
    List {
        /// Everybody's, for readers of the record.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Lending {
    /// Who speaks for you, like `okta:00u1`.
    #[arg(long, value_name = "IDENTITY")]
    to: String,
    /// For this set of approvers; may be given several times. Without it for all of yours.
    #[arg(long = "set", value_name = "NAME")]
    sets: Vec<String>,
    /// For how long, like `7d`.
    #[arg(long = "for", value_name = "DURATION")]
    lasts: humantime::Duration,
    /// Begin in this time, like `2d`; by default now.
    #[arg(long = "in", value_name = "DURATION")]
    starts_in: Option<humantime::Duration>,
    /// Why.
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console).await?;
    match arguments.command {
        Command::End { id } => {
            let ended = api.call(Method::POST, &format!("/api/delegations/{id}/end"), None).await?;
            output.print(&ended, |_| format!("{id}: ended"))
        }
        Command::Lend(lending) => {
            let body = json!({
                "to": lending.to,
                "sets": lending.sets,
                "seconds": lending.lasts.as_secs(),
                "starts_in": lending.starts_in.map(|starts| starts.as_secs()).unwrap_or_default(),
                "reason": lending.reason,
            });
            let lent = api.call(Method::POST, "/api/delegations", Some(body)).await?;
            output.print(&lent, line)
        }
        Command::List { all } => {
            let list = api.call(Method::GET, &format!("/api/delegations?all={all}"), None).await?;
            output.print(&list, |list| match rows(list, "delegations") {
                [] => "no voices are lent".to_owned(),
                rows => rows.iter().map(line).collect::<Vec<_>>().join("\n"),
            })
        }
    }
}

fn line(lent: &Value) -> String {
    let sets = rows(lent, "sets").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "{}  {} to {}  for {sets}  from {} until {}",
        text(lent, "id"),
        text(lent, "by"),
        text(lent, "to"),
        text(lent, "from"),
        text(lent, "until"),
    )
}
