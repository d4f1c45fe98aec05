//! The control API, as the commands that people use with their own token see it.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;

use super::{
    caller::{Who, clock, warnings},
    output::Failure,
};
use crate::{client, tokens};

/// Largest answer of the control API that is read.
const MAX_ANSWER: usize = 8 << 20;

/// Where a console is when nothing is said.
const HERE: &str = "http://127.0.0.1:8444";

/// The control API and the caller's own token.
#[derive(Debug, clap::Args)]
pub(super) struct Console {
    /// Address of the console; by default `console` of `client.toml`, or this machine's.
    #[arg(long, global = true, env = "CREWGATE_CONSOLE")]
    console: Option<Uri>,
    /// Environment variable that holds your token; by default `CREWGATE_TOKEN`, and where that is not set, what
    /// `crewgate token print` would print.
    #[arg(long, global = true)]
    token_env: Option<String>,
    #[command(flatten)]
    who: Who,
    /// Certificate authority of the console, PEM.
    #[arg(long, global = true)]
    ca: Option<std::path::PathBuf>,
}

pub(super) struct Api {
    client: client::Client,
    base: String,
    token: String,
}

impl Api {
    pub(super) async fn new(console: &Console) -> Result<Self, Failure> {
        let settings = console.who.settings()?;
        let named = console.token_env.as_deref();
        let token = match (std::env::var(named.unwrap_or("CREWGATE_TOKEN")), named) {
            (Ok(token), _) => token,
            (Err(_), Some(name)) => return Err(Failure::usage(format!("`{name}` is not set"))),
            (Err(_), None) => {
                warnings();
                tokens::source(&settings, &clock())?.token().await?.expose().to_owned()
            }
        };
        let ca = tokens::authorities(console.ca.as_deref().or(settings.ca.as_deref()))?;
        let client = client::build(ca.as_deref()).map_err(Failure::unavailable)?;
        let base = console.console.clone().or(settings.console);
        let base = base.map_or_else(|| HERE.to_owned(), |base| base.to_string());
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), token })
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
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

/// A member of an answer, for people.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// The rows of a list in an answer.
pub(super) fn rows<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A part of a listing under its title; nothing when it has no rows.
pub(super) fn part(title: &str, rows: &[Value], line: impl Fn(&Value) -> String) -> Option<String> {
    (!rows.is_empty()).then(|| format!("{title}\n{}", rows.iter().map(line).collect::<Vec<_>>().join("\n")))
}
