//! Whose run: looking an id up before a call, and swapping ids in its answer.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use crewgate_core::{Operation, Refusal};
use crewgate_runs::{
    AnswerIds, FoundId, MemoryLedger, OwnIds, Place, RegisterLayer, ResolveLayer, RunLedger, Whole,
};
use crewgate_testkit::suites::runs::{asking_about, person, run};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, response::Parts};
use tower::{Layer, ServiceExt};

/// An answer that is one id.
#[derive(Clone, Copy)]
struct BareId;

impl AnswerIds for BareId {
    type Answer = String;

    fn read(&self, _: &Operation, _: &Parts, body: &Bytes) -> Result<String, Refusal> {
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    fn ids(&self, answer: &String) -> Vec<FoundId> {
        vec![FoundId { upstream: answer.clone(), place: Place::Named }]
    }

    fn write(&self, answer: String, own: &OwnIds) -> Result<Bytes, Refusal> {
        Ok(own.own(&answer, true).map(|id| id.to_string()).unwrap_or_default().into())
    }
}

fn runs(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ledger = Arc::new(MemoryLedger::new());
    let id = runtime.block_on(async {
        for n in 0..10_000 {
            ledger.start(run("support", "bob", n), format!("other-{n}")).await.unwrap();
        }
        ledger.start(run("support", "ana", 0), "their-id".into()).await.unwrap()
    });
    let upstream = tower::service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Whole::from(Bytes::from_static(b"their-id"))))
    });
    let request = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(person("ana"));
        request.extensions_mut().insert(asking_about("support", id.own));
        request
    };
    let bare =
        tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Whole::default())) });
    let resolve = ResolveLayer::new(ledger.clone()).layer(bare);
    c.bench_function("runs/resolve", |b| {
        b.to_async(&runtime).iter(|| async { resolve.clone().oneshot(request()).await.unwrap() });
    });
    let register = RegisterLayer::new(ledger.clone(), BareId).layer(upstream);
    c.bench_function("runs/register_known", |b| {
        b.to_async(&runtime).iter(|| async { register.clone().oneshot(request()).await.unwrap() });
    });
}

criterion_group!(benches, runs);
criterion_main!(benches);
