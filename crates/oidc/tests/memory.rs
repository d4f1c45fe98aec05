//! What remembering costs: the bound that the documentation states.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::sync::Arc;

use crewgate_oidc::{Bearer, IssuerConfig, VerifyToken};
use crewgate_testkit::{DevIdp, KeyKind, ManualClock};
use support::{URL, builder};

/// For a token of twenty groups.
const BYTES_PER_TOKEN: usize = 1400;

const TOKENS: usize = 4000;

/// Bytes of memory the process has; none where the system does not say.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    if status.is_none() {
        eprintln!("NOT TESTED: what a process needs is not told here");
    }
    let line = status?.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.to_owned();
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib * 1024)
}

#[tokio::test]
async fn a_remembered_token_takes_what_is_said_of_it_and_one_forgotten_nothing() {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let _ = idp.add_key(KeyKind::EdDsa);
    let issuer = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
    let verifier = builder(&idp, &clock).cached_tokens(TOKENS).issuer(issuer).build().unwrap();
    let show = async |from: usize| {
        for n in from..from + TOKENS - 1 {
            let groups = (0..20).map(|n| format!("group-{n}"));
            let token = idp.token().subject(&format!("user-{n}")).groups(groups).sign();
            verifier.verify(Bearer::new(token)).await.unwrap();
        }
    };
    // What is needed to check any token is there before the first look.
    verifier.verify(Bearer::new(idp.token().sign())).await.unwrap();
    let Some(before) = resident() else { return };
    show(0).await;
    let after = resident().unwrap();
    assert!(verifier.cached_tokens() > TOKENS - TOKENS / 4);
    let each = after.saturating_sub(before) / verifier.cached_tokens();
    eprintln!("{each} bytes per remembered token");
    assert!(each <= BYTES_PER_TOKEN, "{each} bytes per remembered token");
    // As many again: they take the room of the first.
    show(TOKENS).await;
    let grown = resident().unwrap().saturating_sub(after) / TOKENS;
    assert!(grown <= BYTES_PER_TOKEN / 4, "{grown} bytes more per forgotten token");
}
