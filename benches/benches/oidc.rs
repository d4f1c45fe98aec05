//! What a token costs: remembered, checked in full with each kind of signature, and refused.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use crewgate_core::SystemClock;
use crewgate_oidc::{Bearer, FetchError, IssuerConfig, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, KeyKind};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const URL: &str = "https://idp.bench";

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

fn tokens(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let idp = DevIdp::offline(URL, Arc::new(SystemClock));
    let groups = || (0..20).map(|n| format!("group-{n}"));
    let lifetime = std::time::Duration::from_secs(3600);
    let mut group = c.benchmark_group("oidc");

    let token = idp.token().groups(groups()).lifetime(lifetime).sign();
    let cached = verifier(&idp, 10_000);
    assert!(runtime.block_on(cached.verify(Bearer::new(token.as_str()))).is_ok());
    group.bench_function("cached", |b| {
        b.to_async(&runtime)
            .iter(|| async { cached.verify(Bearer::new(black_box(token.as_str()))).await.is_ok() });
    });

    for kind in [KeyKind::Es256, KeyKind::EdDsa, KeyKind::Rs256] {
        let kid = idp.add_key(kind);
        let token = idp.token().key(&kid).groups(groups()).lifetime(lifetime).sign();
        let uncached = verifier(&idp, 0);
        assert!(runtime.block_on(uncached.verify(Bearer::new(token.as_str()))).is_ok());
        group.bench_function(format!("uncached/{}", kind.alg()), |b| {
            b.to_async(&runtime)
                .iter(|| async { uncached.verify(Bearer::new(black_box(token.as_str()))).await.is_ok() });
        });
    }

    let expired = idp.token().expired().sign();
    group.bench_function("refused/expired", |b| {
        b.to_async(&runtime)
            .iter(|| async { cached.verify(Bearer::new(black_box(expired.as_str()))).await.is_err() });
    });
    group.finish();
}

criterion_group!(benches, tokens);
criterion_main!(benches);
