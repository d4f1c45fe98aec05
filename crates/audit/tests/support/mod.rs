//! A stack of audit layer and barrier, and bodies that behave as they are told.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use crewgate_audit::{AuditLayer, BarrierLayer, Entry, MemoryStore};
use crewgate_core::{
    Action, Effect, Ending, Fact, Message, Operation, PrincipalKey, PrincipalKind, Resource, Timestamp, Trail,
};
use crewgate_testkit::ReadyProbe;
use http::{Method, Request, Response};
use http_body::{Body, SizeHint};
use tower::{Layer, Service};

/// A body that gives its pieces after pauses, and then ends, or fails, or never does either.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: VecDeque<Step>,
    pub(crate) sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    pub(crate) exact: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Wait(u64),
    Give(&'static str),
    Fail,
    Hang,
}

impl Script {
    pub(crate) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
            }
            match self.steps.pop_front() {
                Some(Step::Wait(millis)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(Duration::from_millis(millis))));
                }
                Some(Step::Give(text)) => return Poll::Ready(Some(Ok(http_body::Frame::data(text.into())))),
                Some(Step::Fail) => return Poll::Ready(Some(Err("broken"))),
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map(SizeHint::with_exact).unwrap_or_default()
    }
}

pub(crate) fn operation(effect: Effect) -> Operation {
    Operation {
        action: Action::of("kickoff"),
        resource: Resource { kind: "Crew".into(), name: "support".to_owned(), parents: Vec::new() },
        effect,
        inputs: Vec::new(),
        datasets: Vec::new(),
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 0,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

pub(crate) fn authenticated() -> Fact {
    Fact::Authenticated {
        principal: PrincipalKey::new("okta", "anna"),
        kind: PrincipalKind::User,
        client: None,
        expires: Timestamp::from_secs(0),
        token: "0".repeat(16),
    }
}

pub(crate) fn ended(entry: &Entry) -> (Ending, u16, u64) {
    let Some(Fact::Ended { how, status, bytes, .. }) = entry.facts.last() else {
        panic!("{entry:?} has not ended")
    };
    (*how, *status, *bytes)
}

pub(crate) fn trail<B>(request: &Request<B>) -> &Trail {
    request.extensions().get().unwrap()
}

pub(crate) fn layer(store: &MemoryStore) -> AuditLayer {
    AuditLayer::new(Arc::new(store.clone()))
}

/// Audit and barrier around a probe that answers with this body.
pub(crate) fn stack<B: Body<Data = Bytes> + Default + Send + 'static>(
    store: &MemoryStore,
    answer: impl Fn() -> B + Send + Sync + 'static,
) -> impl Service<Request<()>, Response = Response<crewgate_audit::AuditBody<B>>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let probe = ReadyProbe::new(move |request: Request<()>| {
        trail(&request).note(Fact::Answered { status: 200 });
        Response::new(answer())
    });
    layer(store).layer(BarrierLayer::new(Arc::new(store.clone())).layer(probe))
}

pub(crate) fn call(effect: Effect) -> Request<()> {
    let mut request =
        Request::post("/support/kickoff?secret=1").header("user-agent", "curl/8").body(()).unwrap();
    request.extensions_mut().insert(operation(effect));
    request
}
