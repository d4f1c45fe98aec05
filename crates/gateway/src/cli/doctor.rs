use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Serialize;
use serde_json::Value;

use super::{
    caller::{Caller, clock, warnings},
    control::text,
    output::{Failure, Output},
};
use crate::{
    client::{self, Client, chain},
    config::{ClientSettings, Source, name},
    tokens::{self, Token},
    upstream::join,
    well_known::PROTECTED_RESOURCE,
};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A crew to ask for its inputs; without it the gateway is asked for one that is not there.
    crew: Option<String>,
    #[command(flatten)]
    caller: Caller,
}

/// Difference of two clocks that tokens survive by default.
const SKEW: Duration = Duration::from_secs(30);

/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
}

/// Checks one after the other, and stops where the next would say the same.
pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    warnings();
    let settings = arguments.caller.settings()?;
    let crew = match &arguments.crew {
        Some(crew) => name(crew).map_err(Failure::usage)?,
        None => "no-such-crew".to_owned(),
    };
    let mut findings = Vec::new();
    let sound = examine(&settings, &crew, &mut findings).await.is_ok();
    output.print(&findings, |findings| {
        let line = |finding: &Finding| {
            format!("{}  {:<8} {}", if finding.ok { "ok " } else { "NO " }, finding.check, finding.detail)
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    if sound { Ok(()) } else { Err(Failure::no("calls of this machine would not be accepted")) }
}

/// The end of an examination that has found what is wrong.
struct Wrong;

async fn examine(settings: &ClientSettings, crew: &str, findings: &mut Vec<Finding>) -> Result<(), Wrong> {
    let mut note = |check, found: Result<String, String>| {
        let ok = found.is_ok();
        let detail = found.unwrap_or_else(|wrong| wrong);
        findings.push(Finding { check, ok, detail });
        if ok { Ok(()) } else { Err(Wrong) }
    };
    let gateway = settings.gateway.as_ref();
    let missing = || "`gateway` is missing: in `client.toml`, or `--gateway`".to_owned();
    let source: &str = match settings.source() {
        Source::ClientCredentials => "a client's credentials",
        Source::Github => "a GitHub Actions job",
        Source::Gitlab => "a GitLab job",
        Source::Kubernetes => "a token file of Kubernetes",
        Source::Login => "a login",
    };
    let found =
        gateway.map(|gateway| format!("profile {}, {gateway}, tokens from {source}", settings.profile));
    note("settings", found.ok_or_else(missing))?;
    let Some(gateway) = gateway else { return Err(Wrong) };

    let ca = tokens::authorities(settings.ca.as_deref()).map_err(|error| error.to_string());
    let client: Client = match ca.and_then(|ca| client::build(ca.as_deref())) {
        Ok(client) => client,
        Err(error) => return note("gateway", Err(error)),
    };
    let metadata = ask(&client, gateway, PROTECTED_RESOURCE, None).await;
    let metadata = match metadata {
        Ok(answer) if answer.status() == StatusCode::OK => {
            note("gateway", Ok("it can be reached".to_owned()))?;
            answer
        }
        Ok(answer) => return note("gateway", Err(format!("it answered {}: is it one?", answer.status()))),
        Err(error) => return note("gateway", Err(error)),
    };
    // A wrong clock is told and the examination goes on: the next finding says whether it matters.
    let _ = note("clock", skew(&metadata));

    let token = match tokens::source(settings, &clock()) {
        Ok(source) => source.token().await,
        Err(error) => Err(error),
    };
    let token: Token = match token {
        Ok(token) => {
            note("token", Ok(format!("it ends {}", token.ends())))?;
            token
        }
        Err(error) => return note("token", Err(error.to_string())),
    };
    let answer = match ask(&client, gateway, &format!("/{crew}/inputs"), Some(&token)).await {
        Ok(answer) => answer,
        Err(error) => return note("accepted", Err(error)),
    };
    let status = answer.status();
    let problem = || format!("{status} {}: {}", text(answer.body(), "code"), text(answer.body(), "detail"));
    if status == StatusCode::UNAUTHORIZED || status.is_server_error() {
        let issuers = metadata.body().get("authorization_servers").unwrap_or(&Value::Null);
        let help = format!("{}; it accepts tokens of {issuers}", problem());
        return note("accepted", Err(help));
    }
    note("accepted", Ok("the gateway knows who calls".to_owned()))?;
    if crew == "no-such-crew" {
        return Ok(());
    }
    note("crew", if status == StatusCode::OK { Ok(format!("{crew} can be called")) } else { Err(problem()) })
}

fn skew(answer: &Response<Value>) -> Result<String, String> {
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return Ok("the gateway does not say what time it is".to_owned());
    };
    let here = SystemTime::now();
    let apart = here.duration_since(there).unwrap_or_else(|error| error.duration());
    // The gateway tells whole seconds.
    let seconds = apart.as_secs();
    if apart <= SKEW {
        Ok(format!("{seconds} s from the gateway's"))
    } else {
        Err(format!("{seconds} s from the gateway's: tokens would look ended or not begun"))
    }
}

async fn ask(
    client: &Client,
    gateway: &Uri,
    path: &str,
    token: Option<&Token>,
) -> Result<Response<Value>, String> {
    let path = path.parse().map_err(|_| format!("`{path}` is no path"))?;
    let uri = join(gateway, &path).ok_or("address and path do not make a URL")?;
    let mut request = Request::get(uri);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let request = request.body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
    let answer = async {
        let (head, body) = client.request(request).await.map_err(|error| chain(&error))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(head, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
    };
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer in {} s", ANSWER.as_secs())),
    }
}
