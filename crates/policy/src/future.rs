use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use crewgate_core::Refusal;
use http::Response;
use pin_project_lite::pin_project;

pin_project! {
    /// The inner service's answer, or a refusal that is ready at once.
    #[derive(Debug)]
    pub struct AnswerFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum Kind<F, B> {
        Pass { #[pin] inner: F },
        Refuse { response: Option<Response<B>> },
    }
}

impl<F, B> AnswerFuture<F, B> {
    pub(crate) fn pass(inner: F) -> Self {
        Self { kind: Kind::Pass { inner } }
    }

    pub(crate) fn refuse(refusal: Refusal) -> Self
    where
        B: Default,
    {
        Self { kind: Kind::Refuse { response: Some(refusal.into_response()) } }
    }
}

impl<F, B, E> Future for AnswerFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            Projected::Pass { inner } => Poll::Ready(ready!(inner.poll(cx))),
            // Polled again after it was ready: pending for ever, as the contract of `Future` allows.
            Projected::Refuse { response } => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        }
    }
}
