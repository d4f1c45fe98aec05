//! Who may stand in line for the writer, and how many.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crewgate_audit::{Entry, RefusalQuota, SealKey};
use crewgate_core::Clock;
use futures_util::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::{
    command::Task,
    fault::{Fault, FromFault},
    options::Options,
    tx::Tx,
    writer::Message,
};

/// One queue in order of arrival, and seats per lane: no lane can take another's.
///
/// The channel itself is unbounded because a message without a seat cannot be sent: together the seats bound it.
pub(crate) struct Lanes {
    line: mpsc::UnboundedSender<Message>,
    pub(crate) intent: Arc<Semaphore>,
    pub(crate) outcome: Arc<Semaphore>,
    pub(crate) refusal: Arc<Semaphore>,
    control: Arc<Semaphore>,
    wait: Duration,
    /// Those who stand in line seal what they bring: it is their time, not the writer's.
    pub(crate) seal: SealKey,
}

impl Lanes {
    pub(crate) fn new(options: &Options, seal: SealKey) -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (line, inbox) = mpsc::unbounded_channel();
        let seats = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let lanes = Self {
            line,
            intent: seats(options.intent_seats),
            outcome: seats(options.outcome_seats),
            refusal: seats(options.refusal_seats),
            control: seats(options.control_seats),
            wait: options.seat_wait,
            seal,
        };
        (lanes, inbox)
    }

    /// A seat, as soon as there is one. `None` when none came free in time.
    pub(crate) async fn seat(&self, lane: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        timeout(self.wait, Arc::clone(lane).acquire_owned()).await.ok()?.ok()
    }

    /// Puts work in line, now; `plain` when all it does is to hand in a leaf. The receiver hears when it is durable; an
    /// error on it means that the writer is gone.
    pub(crate) fn send<F, T, E>(
        &self,
        seat: OwnedSemaphorePermit,
        plain: bool,
        work: F,
    ) -> oneshot::Receiver<Result<T, E>>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: FromFault,
    {
        let (command, answer) = Task::queued(seat, plain, work);
        if let Err(mpsc::error::SendError(Message::Command(command))) =
            self.line.send(Message::Command(command))
        {
            command.answer(Err(Fault::closed()));
        }
        answer
    }

    /// Does work of the control lane and waits until it is durable.
    pub(crate) async fn change<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: FromFault,
    {
        let Some(seat) = self.seat(&self.control).await else {
            return Err(E::from_fault(Fault::Unavailable("too many changes are waiting".to_owned())));
        };
        heard(self.send(seat, false, work)).await
    }

    pub(crate) fn close(&self) {
        // An error: it has ended already.
        let _ = self.line.send(Message::Close);
    }
}

/// The writer's answer. It answers everything it takes; only a writer that was torn down with its runtime does not.
pub(crate) async fn heard<T, E: FromFault>(answer: oneshot::Receiver<Result<T, E>>) -> Result<T, E> {
    answer.await.unwrap_or_else(|_| Err(E::from_fault(Fault::Unknown("the writer ended".to_owned()))))
}

/// The quota of strangers, shared by those who append and the writer, who tells the counts.
pub(crate) struct Refusals(Mutex<RefusalQuota>);

impl Refusals {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self(Mutex::new(RefusalQuota::new(per_minute)))
    }

    pub(crate) fn quota(&self) -> MutexGuard<'_, RefusalQuota> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn due(&self, clock: &dyn Clock, closing: bool) -> Option<Entry> {
        let now = clock.now();
        if closing { self.quota().drain(now) } else { self.quota().due(now) }
    }
}
