use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    caller::{Caller, clock, warnings},
    output::Failure,
};
use crate::{
    config::Secret,
    connect::{Connect, ConnectError, ConnectSettings},
    tokens,
};

/// Arguments of `connect`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The crew.
    crew: String,
    /// Where to listen, on this machine.
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// File with the local secret that clients must show; made when it is not there. Without it a new secret is
    /// printed.
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret_file: Option<PathBuf>,
    /// Environment variable with the local secret.
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
    /// Listen where other machines can reach it: whoever knows the local secret then calls as you.
    #[arg(long)]
    dangerously_listen_anywhere: bool,
    #[command(flatten)]
    caller: Caller,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    warnings();
    let settings = arguments.caller.settings()?;
    let gateway = settings.gateway.clone().ok_or_else(|| {
        Failure::usage("`gateway` is missing: give its address in `client.toml`, or `--gateway`")
    })?;
    let tokens = tokens::source(&settings, &clock())?;
    // What is wrong with the token is told now, not to the first client.
    tokens.token().await?;
    let (secret, told) = match (&arguments.secret_file, &arguments.secret_env) {
        (Some(path), _) => (from_file(path)?, json!({ "secret_file": path })),
        (None, Some(name)) => {
            let secret = std::env::var(name).map_err(|_| Failure::usage(format!("`{name}` is not set")))?;
            (secret, json!({ "secret_env": name }))
        }
        (None, None) => {
            let secret = new_secret()?;
            let told = json!({ "secret": secret });
            (secret, told)
        }
    };
    let connect = Connect::start(
        ConnectSettings {
            gateway,
            crew: arguments.crew,
            listen: arguments.listen,
            secret: Secret::new(secret),
            ca: tokens::authorities(settings.ca.as_deref())?,
            dangerously_listen_anywhere: arguments.dangerously_listen_anywhere,
        },
        tokens,
    );
    let connect = connect.await.map_err(|error| match error {
        ConnectError::Settings(text) => Failure::usage(text),
        ConnectError::Listen(_) => Failure::unavailable(error.to_string()),
    })?;
    let failed = |error: std::io::Error| Failure::unavailable(format!("signals cannot be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut ready = told;
    if let Some(fields) = ready.as_object_mut() {
        fields.insert("url".to_owned(), json!(format!("http://{}", connect.address())));
    }
    // For whoever started us: where clients go, and what they show there.
    let _ = writeln!(std::io::stdout(), "crewgate ready {ready}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    connect.stop().await;
    Ok(())
}

fn new_secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::unavailable("there is no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn from_file(path: &Path) -> Result<String, Failure> {
    let fresh = new_secret()?;
    tokens::create_or_read(path, || fresh)
        .map(|text| text.trim().to_owned())
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
