//! What the writer carries out.

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    fault::{Fault, FromFault},
    tx::Tx,
};

/// Something to do in a transaction, answered when the transaction has ended.
pub(crate) trait Command: Send {
    /// Does it; `false` takes back what it did.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;

    /// Whether it hands in a leaf and does nothing else.
    fn is_plain(&self) -> bool;

    /// Answers whoever waits: as it went when the transaction is durable, with the fault otherwise.
    fn answer(self: Box<Self>, fate: Result<(), Fault>);
}

/// A [`Command`] made of a closure.
pub(crate) struct Task<F, T, E> {
    work: Option<F>,
    plain: bool,
    done: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
    // Held until the answer is given: a seat is free when its entry is durable, not when it is read from the queue.
    _seat: OwnedSemaphorePermit,
}

impl<F, T, E> Task<F, T, E>
where
    F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: FromFault,
{
    pub(crate) fn queued(
        seat: OwnedSemaphorePermit,
        plain: bool,
        work: F,
    ) -> (Box<dyn Command>, oneshot::Receiver<Result<T, E>>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Self { work: Some(work), plain, done: None, reply, _seat: seat }), answer)
    }
}

impl<F, T, E> Command for Task<F, T, E>
where
    F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: FromFault,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let done = work(tx).await;
            let keep = done.is_ok();
            self.done = Some(done);
            keep
        })
    }

    fn is_plain(&self) -> bool {
        self.plain
    }

    fn answer(self: Box<Self>, fate: Result<(), Fault>) {
        let answer = match (self.done, fate) {
            // A "no" of the command itself changed nothing, whatever became of the others.
            (Some(Err(error)), _) => Err(error),
            (Some(done), Ok(())) => done,
            (_, Err(fault)) => Err(E::from_fault(fault)),
            (None, Ok(())) => Err(E::from_fault(Fault::closed())),
        };
        // Nobody waits any more: the command was carried out all the same.
        let _ = self.reply.send(answer);
    }
}
