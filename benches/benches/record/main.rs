//! What it costs to put a call on the record: in memory, and with `-- group` durably, beside the least that can cost.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod group;

use std::hint::black_box;

use bytes::Bytes;
use crewgate_audit::{AuditStore, Entry, Lane, MemoryStore, Phase, Prepared, verify};
use crewgate_core::{Fact, PrincipalKey, PrincipalKind, RequestId, RunId, Timestamp};
use crewgate_store::{Options, Store};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

/// An intent as a kickoff leaves it: who, what, 500 bytes of masked body.
fn intent() -> Entry {
    let mut entry = Entry::new(Phase::Intent, RequestId::random(), Timestamp::from_secs(1_781_524_800))
        .with_fact(Fact::Received {
            method: "POST".to_owned(),
            path: "/support/kickoff".to_owned(),
            remote: Some("10.0.0.1:40000".to_owned()),
            user_agent: Some("crewai/1.0".to_owned()),
        })
        .with_fact(Fact::Authenticated {
            principal: PrincipalKey::new("okta", "00u1a2b3c4"),
            kind: PrincipalKind::User,
            client: Some("cli".to_owned()),
            expires: Timestamp::from_secs(1_781_528_400),
            token: "0123456789abcdef".to_owned(),
        })
        .with_fact(Fact::Sealed { sha256: "0".repeat(64), bytes: 500 })
        .with_run(Some(RunId::random()));
    entry.request_body = Some(Bytes::from(vec![b'x'; 500]));
    entry
}

fn record(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    c.bench_function("record/prepare", |b| b.iter(|| black_box(Prepared::new(intent()).unwrap())));

    c.bench_function("record/memory", |b| {
        // A store of its own each time: one that only grew would measure the allocator.
        b.to_async(&runtime).iter_batched(
            || (MemoryStore::new(), intent()),
            |(store, entry)| async move {
                store.append(Lane::Intent, entry).await.unwrap();
                store
            },
            BatchSize::SmallInput,
        );
    });

    let path = std::env::temp_dir().join(format!("crewgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    // Reading everything back, as `audit verify` does.
    let store = runtime.block_on(async {
        let store = Store::open(path.join("verify.db"), Options::default()).await.unwrap();
        for _ in 0..40 {
            for place in join_all((0..256).map(|_| store.append(Lane::Intent, intent()))).await {
                place.unwrap();
            }
        }
        store
    });
    let mut group = c.benchmark_group("record/verify");
    group.sample_size(10).throughput(Throughput::Elements(40 * 256));
    group.bench_function("sqlite", |b| {
        b.to_async(&runtime).iter(|| async { verify(&store, None, |_, _| ()).await.unwrap().unwrap() });
    });
    group.finish();
    runtime.block_on(store.close());
    std::fs::remove_dir_all(path).unwrap();
}

criterion_group!(benches, record);

fn main() {
    if std::env::args().any(|argument| argument == "group") {
        return group::compare_stores();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
