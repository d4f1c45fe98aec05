//! Who hangs up: a call that has left runs to its end, caller or no caller.
//!
//! Every call runs in a task of its own. When the caller goes away before the barrier, the task is stopped and nothing
//! has happened. When a call that changes something has passed the barrier, the task goes on: ids are registered and
//! the outcome is recorded. [`Departure`] decides which of the two came first.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use crewgate_core::{Departure, Layer as By, Refusal};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::answers::read_to_end;

/// Runs each call in a task, of which at most a number exist at once.
#[derive(Debug, Clone)]
pub struct RunToEndLayer {
    seats: Arc<Semaphore>,
    calls: usize,
}

impl RunToEndLayer {
    /// At most `calls` in progress, those included whose caller is gone.
    #[must_use]
    pub fn new(calls: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(calls)), calls }
    }

    /// Resolves when no call is in progress; from then on every call is turned away.
    pub async fn idle(&self) {
        let all = u32::try_from(self.calls).unwrap_or(u32::MAX);
        // Kept for ever: whoever waits for this is about to end.
        if let Ok(seats) = self.seats.acquire_many(all).await {
            seats.forget();
        }
    }
}

impl<S> Layer<S> for RunToEndLayer {
    type Service = RunToEnd<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RunToEnd { inner, seats: Arc::clone(&self.seats) }
    }
}

/// See [`RunToEndLayer`].
#[derive(Debug, Clone)]
pub struct RunToEnd<S> {
    inner: S,
    seats: Arc<Semaphore>,
}

impl<S> Service<Request<Body>> for RunToEnd<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    /// # Cancel safety
    ///
    /// Dropping the future stops the call if it has not departed, and lets it run otherwise.
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let refusal = Refusal::new(
                By::Gateway,
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many calls in progress",
            )
            .with_retry_after(Duration::from_secs(1));
            return Box::pin(async move { Ok(crate::problem::answer(refusal)) });
        };
        let departure = Departure::new();
        request.extensions_mut().insert(departure.clone());
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let (tell, told) = oneshot::channel();
        // The service is called inside the task: whatever it does before its first await is done there too.
        // In the caller's span: a task of its own would otherwise lose the trace before it reaches CrewAI.
        let call = async move {
            let response = ready.call(request).await;
            if let Err(Ok(unheard)) = tell.send(response) {
                read_to_end(unheard).await;
            }
            // Behind the answer: where nobody waits, it is read, and so recorded, before the seat is free.
            drop(seat);
        };
        let task = tokio::spawn(call.in_current_span());
        let mut caller = Caller { task, told, departure };
        Box::pin(async move {
            match (&mut caller.told).await {
                Ok(answer) => answer,
                Err(_) => {
                    let text = "the gateway failed while handling this call";
                    Ok(crate::problem::answer(Refusal::new(
                        By::Gateway,
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal",
                        text,
                    )))
                }
            }
        })
    }
}

/// The caller's hold on the task.
struct Caller {
    task: JoinHandle<()>,
    told: oneshot::Receiver<Result<Response<Body>, Infallible>>,
    departure: Departure,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if !self.task.is_finished() && self.departure.withdraw() {
            self.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// Starts a call that departs or not, drops it in the middle, and tells whether it ran to its end.
    async fn finishes_after_hang_up(departs: bool) -> bool {
        let (started, go_on, finished) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let inner = {
            let (started, go_on, finished) =
                (Arc::clone(&started), Arc::clone(&go_on), Arc::clone(&finished));
            service_fn(move |request: Request<Body>| {
                let (started, go_on, finished) =
                    (Arc::clone(&started), Arc::clone(&go_on), Arc::clone(&finished));
                async move {
                    if departs {
                        assert!(request.extensions().get::<Departure>().unwrap().depart());
                    }
                    started.notify_one();
                    go_on.notified().await;
                    finished.store(true, Ordering::SeqCst);
                    Ok::<_, Infallible>(Response::new(Body::empty()))
                }
            })
        };
        let service = RunToEndLayer::new(1).layer(inner);
        let call = tokio::spawn(service.oneshot(Request::new(Body::empty())));
        started.notified().await;
        call.abort();
        let _ = call.await;
        go_on.notify_one();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        finished.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_caller_who_hangs_up_before_the_barrier_stops_the_call() {
        assert!(!finishes_after_hang_up(false).await);
    }

    #[tokio::test]
    async fn a_call_that_has_left_runs_to_its_end() {
        assert!(finishes_after_hang_up(true).await);
    }

    #[tokio::test]
    async fn one_call_too_many_is_told_to_come_back() {
        let never =
            service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let service = RunToEndLayer::new(1).layer(never);
        let held = tokio::spawn(service.clone().oneshot(Request::new(Body::empty())));
        tokio::task::yield_now().await;
        let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        held.abort();
    }
}
