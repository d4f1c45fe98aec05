use std::{io::Write, sync::Arc};

use crewgate_core::{Clock, SystemClock};
use serde_json::json;

use super::{
    ConfigFile,
    output::{Failure, Output},
};
use crate::{Gateway, Signals, crews::Crews, identity::Gatekeeper, policies, roles, telemetry::Telemetry};

pub(super) async fn run(config: &ConfigFile) -> Result<(), Failure> {
    let settings = config.load()?;
    let telemetry = Telemetry::start(&settings.telemetry).map_err(Failure::usage)?;
    let signals = Signals::listen()
        .map_err(|error| Failure::unavailable(format!("signals cannot be received: {error}")))?;
    let started = Gateway::start_with(settings, telemetry.registry(), Arc::new(SystemClock)).await;
    let running = started.map_err(|error| Failure::unavailable(error.to_string()))?;
    let ready = json!({ "data": running.data(), "console": running.console(), "ops": running.ops() });
    // For whoever started us: the addresses that were really bound.
    let _ = writeln!(std::io::stdout(), "crewgate ready {ready}");
    tracing::info!(data = %running.data(), "ready");
    let healthy = running.until_told(signals).await;
    let _ = tokio::task::spawn_blocking(move || telemetry.finish()).await;
    if healthy { Ok(()) } else { Err(Failure::unavailable("the store can no longer be trusted")) }
}

pub(super) async fn check(config: &ConfigFile, output: Output) -> Result<(), Failure> {
    let settings = config.load()?;
    Gatekeeper::offline(&settings).map_err(Failure::usage)?;
    Crews::new(&settings.crews).map_err(Failure::usage)?;
    tracing_subscriber::EnvFilter::try_new(&settings.telemetry.level)
        .map_err(|error| Failure::usage(format!("telemetry.level: {error}")))?;
    let policy = policies::load(&settings).map_err(|error| Failure::usage(error.to_string()))?;
    let shadow = match &settings.shadow {
        Some(folder) => {
            let loaded = policies::load_folder(folder, &settings);
            Some(loaded.map_err(|error| Failure::usage(error.to_string()))?.hash().clone())
        }
        None => None,
    };
    let ending = roles::ending(&settings, SystemClock.now());
    let report = json!({
        "ok": true,
        "crews": settings.crews.len(),
        "issuers": settings.issuers.len(),
        "roles": settings.roles.len(),
        "rules": policy.rules(),
        "policy": policy.hash(),
        "shadow": shadow,
        "ending": ending.iter().map(|(what, when)| json!({ "what": what, "when": when })).collect::<Vec<_>>(),
    });
    output.print(&report, |_| {
        let ok = format!(
            "ok: {} crews, {} issuers, {} roles, {} rules (policy {})",
            settings.crews.len(),
            settings.issuers.len(),
            settings.roles.len(),
            policy.rules(),
            policy.hash().as_str().get(..12).unwrap_or_default(),
        );
        ending.iter().fold(ok, |text, (what, when)| format!("{text}\nnote: {what} {when}"))
    })
}
