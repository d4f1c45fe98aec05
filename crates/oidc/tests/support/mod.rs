//! What the tests share: a provider without a socket, counted fetches, a clock that stands still.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use crewgate_core::Principal;
use crewgate_oidc::{
    Bearer, FetchError, IssuerConfig, Reason, Rejection, Verifier, VerifierBuilder, VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock};

pub(crate) const URL: &str = "https://idp.test";

/// One issuer named `dev`, its clock, and a verifier that fetches from its memory.
pub(crate) struct Bench {
    pub(crate) idp: DevIdp,
    pub(crate) clock: ManualClock,
    pub(crate) verifier: Verifier,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|config| config)
    }

    pub(crate) fn with(change: impl FnOnce(IssuerConfig) -> IssuerConfig) -> Self {
        let clock = ManualClock::new();
        let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
        let config = change(IssuerConfig::new("dev", URL, ["crewgate"]).unwrap());
        let verifier = builder(&idp, &clock).issuer(config).build().unwrap();
        Self { idp, clock, verifier }
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Principal, Rejection> {
        self.verifier.verify(Bearer::new(token)).await
    }

    pub(crate) async fn reason(&self, token: &str) -> Reason {
        self.verify(token).await.unwrap_err().reason()
    }
}

/// A verifier in the making whose documents come from this provider's memory.
pub(crate) fn builder(idp: &DevIdp, clock: &ManualClock) -> VerifierBuilder {
    let idp = idp.clone();
    let fetch = move |uri: http::Uri| {
        let answer = idp.document(&uri.to_string()).map(Bytes::from).ok_or_else(|| FetchError::new("down"));
        async move { answer }
    };
    Verifier::builder().clock(clock.clone()).fetch(fetch)
}

/// A counter that clones share.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    pub(crate) fn up(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A file of the reference vectors beside the project; says loudly when it is not there.
pub(crate) fn vectors(path: &str) -> Option<serde_json::Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(path);
    let Ok(bytes) = std::fs::read(&file) else {
        assert!(std::env::var("CREWGATE_REQUIRE_ALL").is_err(), "{} is required and absent", file.display());
        eprintln!("NOT TESTED: {} is absent", file.display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}
