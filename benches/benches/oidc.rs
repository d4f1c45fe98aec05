//! What a token costs: remembered, checked in full with each kind of signature beside that signature alone, and refused;
//! and what remembering a hundred thousand takes.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::{
    fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use crewgate_core::SystemClock;
use crewgate_oidc::{Bearer, FetchError, IssuerConfig, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, KeyKind};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::runtime::Runtime;

const URL: &str = "https://idp.bench";
const KINDS: [KeyKind; 3] = [KeyKind::Rs256, KeyKind::Es256, KeyKind::EdDsa];
const HOUR: Duration = Duration::from_secs(3600);
const REMEMBERED: usize = 100_000;

fn verifier(idp: &DevIdp, cached_tokens: usize) -> Verifier {
    let idp = idp.clone();
    let fetch = move |uri: http::Uri| {
        let document = idp.document(&uri.to_string()).map(Bytes::from);
        async move { document.ok_or_else(|| FetchError::new("down")) }
    };
    Verifier::builder()
        .fetch(fetch)
        .cached_tokens(cached_tokens)
        .issuer(IssuerConfig::new("bench", URL, ["crewgate"]).unwrap())
        .build()
        .unwrap()
}

fn groups(number: usize) -> impl Iterator<Item = String> {
    (0..number).map(|n| format!("group-{n}"))
}

/// The newest published key and one kind of signature, as the library itself checks it.
struct Alone(ParsedPublicKey);

impl Alone {
    fn new(idp: &DevIdp, kind: KeyKind) -> Self {
        let set: Value = serde_json::from_str(&idp.document(&format!("{URL}/jwks")).unwrap()).unwrap();
        let jwk = set.get("keys").and_then(Value::as_array).and_then(|keys| keys.last()).unwrap();
        let bytes =
            |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name).and_then(Value::as_str).unwrap()).unwrap();
        Self(match kind {
            KeyKind::Rs256 => RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .unwrap(),
            KeyKind::Es256 => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &bytes("x"), &bytes("y")].concat())
                    .unwrap()
            }
            _ => ParsedPublicKey::new(&ED25519, bytes("x")).unwrap(),
        })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

fn tokens(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let idp = DevIdp::offline(URL, Arc::new(SystemClock));
    let mut group = c.benchmark_group("oidc");

    let token = idp.token().groups(groups(20)).lifetime(HOUR).sign();
    let cached = verifier(&idp, 10_000);
    assert!(runtime.block_on(cached.verify(Bearer::new(token.as_str()))).is_ok());
    group.bench_function("cached", |b| {
        b.to_async(&runtime)
            .iter(|| async { cached.verify(Bearer::new(black_box(token.as_str()))).await.is_ok() });
    });

    let mut ratios = Vec::new();
    for (kind, number) in KINDS.into_iter().flat_map(|kind| [(kind, 5), (kind, 20)]) {
        let kid = idp.add_key(kind);
        let token = idp.token().key(&kid).groups(groups(number)).lifetime(HOUR).sign();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (uncached, alone) = (verifier(&idp, 0), Alone::new(&idp, kind));
        // The keys are there after the first time: nothing is waited for.
        assert!(runtime.block_on(uncached.verify(Bearer::new(token.as_str()))).is_ok());
        let whole = || {
            let verified = uncached.verify(Bearer::new(black_box(token.as_str()))).now_or_never();
            verified.is_some_and(|verified| verified.is_ok())
        };
        let part = || alone.verify(black_box(message.as_bytes()), black_box(&signature));
        assert!(whole() && part());
        group.bench_function(format!("uncached/{}/{number} groups", kind.alg()), |b| b.iter(whole));
        group.bench_function(format!("signature alone/{}/{number} groups", kind.alg()), |b| b.iter(part));
        ratios.push((kind.alg(), number, ratio(whole, part)));
    }

    let expired = idp.token().expired().sign();
    group.bench_function("refused/expired", |b| {
        b.to_async(&runtime)
            .iter(|| async { cached.verify(Bearer::new(black_box(expired.as_str()))).await.is_err() });
    });
    group.finish();
    for (alg, number, ratio) in ratios {
        println!("a new token of {number} groups by {alg} costs {ratio:.2} times its signature alone");
    }
    remember(&runtime, &idp);
}

/// How many times as long the whole takes as the part: in turns, so that what else the machine does falls on both.
fn ratio(whole: impl Fn() -> bool, part: impl Fn() -> bool) -> f64 {
    let time = |work: &dyn Fn() -> bool| {
        let start = Instant::now();
        for _ in 0..10 {
            assert!(work());
        }
        start.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..400).map(|_| time(&whole) / time(&part)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap()
}

/// What the process grows by when it remembers tokens; it keeps no token for longer than it takes to check it.
fn remember(runtime: &Runtime, idp: &DevIdp) {
    let idp = idp.clone();
    let _ = idp.add_key(KeyKind::EdDsa);
    let verifier = verifier(&idp, REMEMBERED);
    let Some(before) = resident() else { return };
    let grown = || resident().unwrap_or(before).saturating_sub(before);
    let mut peak = 0;
    for n in 0..REMEMBERED {
        let token = idp.token().subject(&format!("user-{n}")).groups(groups(20)).lifetime(HOUR).sign();
        assert!(runtime.block_on(verifier.verify(Bearer::new(token))).is_ok());
        if n % 1000 == 0 {
            peak = peak.max(grown());
        }
    }
    let (kept, grown) = (verifier.cached_tokens(), grown());
    println!(
        "{kept} remembered tokens of 20 groups take {} bytes each, {} MiB at most",
        grown / kept,
        peak >> 20
    );
}

/// Bytes of memory the process has; none where the system does not say.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib * 1024)
}

criterion_group!(benches, tokens);
criterion_main!(benches);
