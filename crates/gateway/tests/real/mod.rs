//! The parts of the tests that are not ours: a real CrewAI server, a real OpenID provider, CrewAI's own client, a real
//! browser.
//!
//! They are found by environment variables, which `.ci/run` sets after installing them. Where one is missing the
//! test says so loudly and passes; with `CREWGATE_REQUIRE_ALL=1` it fails.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this module")]

mod browser;
mod crews;
mod desk;
mod gateway;
mod house;
mod http;
mod idp;
mod tap;

use std::{
    env,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) use self::{
    browser::Browser,
    crews::{CREW_KEY, CrewServer, ORIGINAL},
    desk::{Desk, Login},
    gateway::{Folder, Gateway},
    house::{Caller, Dialect, House, churn, is, text},
    http::{Answer, Http},
    idp::Idp,
    tap::Tap,
};

/// Python with the requirements of `app.py`.
pub(crate) const CREWAI: &str = "CREWGATE_REAL_CREWAI";
/// The CrewAI server `app.py`.
pub(crate) const APP: &str = "CREWGATE_REAL_APP";
/// A folder with `node_modules/oidc-provider`.
pub(crate) const IDP: &str = "CREWGATE_REAL_IDP";
/// The program `chromium`.
pub(crate) const CHROMIUM: &str = "CREWGATE_REAL_CHROMIUM";
/// Python with `crewai_tools`.
pub(crate) const TOOLS: &str = "CREWGATE_REAL_TOOLS";

/// Where each part is, or `None` after saying which is missing.
pub(crate) fn parts<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let missing: Vec<&str> = names.into_iter().filter(|name| env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return Some(names.map(|name| env::var_os(name).map(PathBuf::from).unwrap()));
    }
    let missing = missing.join(", ");
    assert!(
        env::var_os("CREWGATE_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "CREWGATE_REQUIRE_ALL=1, but {missing} is not set"
    );
    // Past the test harness's capture: a skipped test must be seen.
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "!!! NOT TESTED: {name}: {missing} is not set (see .ci/run)");
    None
}

/// Asks again until there is an answer, at most `limit`.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The approvals that wait for whoever asked for this list.
pub(crate) fn waiting(list: &Value) -> Vec<Value> {
    list.get("waiting").and_then(Value::as_array).unwrap().clone()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
