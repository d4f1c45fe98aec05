//! What approvals cost: the pass of what needs none, the digest, a vote, and a ticket.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "benches")]

use std::{convert::Infallible, hint::black_box, sync::Arc};

use crewgate_approval::{AwaitApprovalLayer, MemoryStore, digest, machine};
use crewgate_core::{Basis, Decision, Duties};
use crewgate_testkit::suites::approval::{asked, operation, outgoing, person, set, yes};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

/// A request with everything the layers above put on it.
fn request(decision: Decision) -> Request<()> {
    let mut request = Request::new(());
    let extensions = request.extensions_mut();
    extensions.insert(person("ana"));
    extensions.insert(operation());
    extensions.insert(outgoing());
    extensions.insert(decision);
    request
}

fn ask() -> Decision {
    let duties = Duties { approvals: [set("owners")].into(), ..Duties::default() };
    Decision::Ask { approvals: duties.approvals.clone(), duties, basis: Basis::default() }
}

fn layer(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Each with an empty store: what is measured is the layer.
    let fresh = || {
        AwaitApprovalLayer::new(Arc::new(MemoryStore::new()))
            .wait_for(|_, _| crewgate_approval::Wait::Ticket)
            .layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) }))
    };
    let service = fresh();
    let mut group = c.benchmark_group("approval");
    group.bench_function("pass", |b| {
        b.to_async(&runtime).iter_batched(
            || (service.clone(), request(Decision::allow())),
            |(service, request)| async move { service.oneshot(request).await.unwrap().status() },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("ask", |b| {
        b.to_async(&runtime).iter_batched(
            || (fresh(), request(ask())),
            |(service, request)| async move {
                assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::ACCEPTED);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn pure(c: &mut Criterion) {
    let mut group = c.benchmark_group("approval");
    let new = asked(&person("ana"), &[("owners", 2), ("legal", 1)]);
    let row = machine::open(new.clone()).unwrap().approval;
    let vote = yes(&new, &person("bob"), &["owners", "legal"]);
    group.bench_function("vote", |b| b.iter(|| machine::vote(black_box(&row), black_box(&vote)).unwrap()));
    let mut large = outgoing();
    large.body = vec![b'x'; 64 * 1024].into();
    let (ana, operation) = (person("ana"), operation());
    group.throughput(Throughput::Bytes(64 * 1024));
    group
        .bench_function("digest_64k", |b| b.iter(|| digest(black_box(&large), &ana, &operation, "upstream")));
    group.finish();
}

criterion_group!(benches, layer, pure);
criterion_main!(benches);
