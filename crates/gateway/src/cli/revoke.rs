use crewgate_core::{PrincipalKey, RevokedTokens};
use http::Method;
use serde_json::{Value, json};

use super::{
    control::{Api, Console, rows, text},
    output::{Failure, Output},
};

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    console: Console,
    #[command(flatten)]
    which: Which,
    /// Take the revocation back instead.
    #[arg(long, conflicts_with = "list")]
    lift: bool,
    /// Why; it stands on the record for good.
    #[arg(long, conflicts_with = "list")]
    reason: Option<String>,
}

/// Which tokens.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// All of a principal, as `issuer:subject`.
    #[arg(long, value_parser = pair)]
    subject: Option<(String, String)>,
    /// All that were issued to an OAuth client, as `issuer:client`.
    #[arg(long, value_parser = pair)]
    client: Option<(String, String)>,
    /// All of an issuer, by its name.
    #[arg(long, value_name = "ISSUER")]
    issuer_epoch: Option<String>,
    /// One token, as `issuer:jti`.
    #[arg(long, value_parser = pair)]
    token_id: Option<(String, String)>,
    /// Show what is revoked and has not ended.
    #[arg(long)]
    list: bool,
}

impl Which {
    /// `None`: the list is asked for.
    fn tokens(self) -> Option<RevokedTokens> {
        let subject = self.subject.map(|(issuer, subject)| {
            let principal = PrincipalKey::new(issuer, subject);
            RevokedTokens::Subject { principal }
        });
        subject
            .or(self.client.map(|(issuer, client)| RevokedTokens::Client { issuer, client }))
            .or(self.issuer_epoch.map(|issuer| RevokedTokens::Issuer { issuer }))
            .or(self.token_id.map(|(issuer, id)| RevokedTokens::Token { issuer, id }))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((issuer, rest)) if !issuer.is_empty() && !rest.is_empty() => {
            Ok((issuer.to_owned(), rest.to_owned()))
        }
        _ => Err(format!("`{text}` is not the name of an issuer, a colon and a name")),
    }
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let api = Api::new(&arguments.console).await?;
    let Some(tokens) = arguments.which.tokens() else {
        let list = api.call(Method::GET, "/api/revocations", None).await?;
        return output.print(&list, listing);
    };
    let (path, what) = if arguments.lift {
        ("/api/revocations/lift", format!("no longer revoked: {tokens}"))
    } else {
        ("/api/revocations", format!("revoked: {tokens}"))
    };
    let body = json!({ "tokens": tokens, "reason": arguments.reason });
    let answer = api.call(Method::POST, path, Some(body)).await?;
    output.print(&answer, |answer| match answer.get("before") {
        Some(_) => format!("{what}, issued until {}; ends {}", text(answer, "before"), text(answer, "until")),
        None => what,
    })
}

fn listing(list: &Value) -> String {
    let rows = rows(list, "revocations");
    if rows.is_empty() {
        return "nothing is revoked".to_owned();
    }
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(row: &Value) -> String {
    let tokens = row.get("tokens").cloned().unwrap_or_default();
    let which = serde_json::from_value::<RevokedTokens>(tokens.clone());
    let which = which.map_or_else(|_| tokens.to_string(), |tokens| tokens.to_string());
    format!(
        "{which:<40} issued until {}  ends {}  by {}  {}",
        text(row, "before"),
        text(row, "until"),
        text(row, "by"),
        text(row, "reason"),
    )
}
