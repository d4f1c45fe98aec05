//! The strictest inner service: it insists on the tower contract.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready as poll_ok},
};

use http::{Request, Response};
use tower_service::Service;

/// An inner service that panics when it is called without having been found ready *on that same instance*.
///
/// A clone starts unready, and every call uses the readiness up. A layer that clones its inner service and calls the
/// clone works with a plain closure and breaks under `ConcurrencyLimit` or `Buffer`; with this it breaks in its tests.
///
/// ```
/// use crewgate_testkit::ReadyProbe;
/// use http::{Request, Response};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let probe = ReadyProbe::new(|_: Request<String>| Response::new("done".to_owned()));
/// let answer = probe.clone().oneshot(Request::new(String::new())).await.unwrap();
/// assert_eq!((answer.body().as_str(), probe.calls()), ("done", 1));
/// # }
/// ```
#[derive(Debug)]
pub struct ReadyProbe<S> {
    inner: S,
    ready: bool,
    calls: Arc<AtomicU64>,
}

impl<F> ReadyProbe<Answer<F>> {
    /// A probe that answers with this closure: `Fn(Request<ReqB>) -> Response<ResB>`.
    #[must_use]
    pub fn new(answer: F) -> Self {
        Self::around(Answer(Arc::new(answer)))
    }
}

impl<S> ReadyProbe<S> {
    /// A probe in front of this service, for answers that must be awaited (`tower::service_fn`).
    #[must_use]
    pub fn around(inner: S) -> Self {
        Self { inner, ready: false, calls: Arc::default() }
    }

    /// Calls so far, those of all clones together.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<S: Clone> Clone for ReadyProbe<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl<S, Req> Service<Req> for ReadyProbe<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        poll_ok!(self.inner.poll_ready(cx))?;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// When no `poll_ready` of this instance came before.
    fn call(&mut self, request: Req) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without poll_ready: the ready instance is another one (clone + mem::replace)"
        );
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.call(request)
    }
}

/// A service that is a closure from request to response.
pub struct Answer<F>(Arc<F>);

impl<F> Clone for Answer<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for Answer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(..)")
    }
}

impl<F, ReqB, ResB> Service<Request<ReqB>> for Answer<F>
where
    F: Fn(Request<ReqB>) -> Response<ResB>,
{
    type Response = Response<ResB>;
    type Error = Infallible;
    type Future = Ready<Result<Response<ResB>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        ready(Ok((self.0)(request)))
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    fn probe() -> ReadyProbe<Answer<impl Fn(Request<()>) -> Response<()>>> {
        ReadyProbe::new(|_: Request<()>| Response::new(()))
    }

    #[tokio::test]
    #[should_panic(expected = "called without poll_ready")]
    async fn a_clone_of_a_ready_probe_is_not_ready() {
        let mut original = probe();
        original.ready().await.unwrap();
        let _ = original.clone().call(Request::new(())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "called without poll_ready")]
    async fn readiness_is_used_up_by_one_call() {
        let mut probe = probe();
        probe.ready().await.unwrap().call(Request::new(())).await.unwrap();
        let _ = probe.call(Request::new(())).await;
    }
}
