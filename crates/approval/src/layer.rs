use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use crewgate_core::{ApprovalId, ApproverSet, Clock, Operation, SystemClock};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response};
use tower_layer::Layer;

use crate::{
    Approval, ApprovalStore, AwaitApproval, ReleaseMode, ReleasePath, Tickets, Tier, Wait, WaitingRoom,
    seats::Seats,
};

/// How long a caller is held where nothing else is said: five seconds under the 30 seconds after which the clients
/// of CrewAI give up.
pub const DEFAULT_HOLD: Duration = Duration::from_secs(25);

/// The longest a caller may ask to be held (`Prefer: wait`): under the minute after which proxies cut what is silent.
pub const DEFAULT_LONGEST_WAIT: Duration = Duration::from_secs(55);

/// Requests held at once. Each costs a task, a look at the store per second, and a connection that waits.
pub const DEFAULT_HOLD_LIMIT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Requests of one identity that wait for a decision: more than people would read of anybody.
pub const DEFAULT_WAITING_EACH: NonZeroUsize = NonZeroUsize::new(200).unwrap();

/// How long people have to decide: half a working day, so that a request nobody reads today is not approved
/// tomorrow out of context.
pub const DEFAULT_UNDECIDED_FOR: Duration = Duration::from_secs(4 * 3600);

/// How long an approved request may be started.
pub const DEFAULT_USABLE_FOR: Duration = Duration::from_secs(3600);

type Of<T, R> = Arc<dyn Fn(&T) -> R + Send + Sync>;
type Outcome<B> = Arc<dyn Fn(Approval) -> BoxFuture<'static, Option<Response<B>>> + Send + Sync>;
type Shown = Arc<dyn Fn(&Operation, String) -> String + Send + Sync>;
type WaitFor = Arc<dyn Fn(&Operation, &HeaderMap) -> Wait + Send + Sync>;

pub(crate) struct Config<B> {
    pub(crate) store: Arc<dyn ApprovalStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) need: Of<ApproverSet, NonZeroU32>,
    pub(crate) escalation: Of<ApproverSet, Vec<Tier>>,
    pub(crate) upstream: Of<Operation, String>,
    pub(crate) release_mode: Of<Operation, ReleaseMode>,
    pub(crate) location: Of<ApprovalId, String>,
    pub(crate) wait_for: WaitFor,
    pub(crate) longest_wait: Of<Operation, Duration>,
    pub(crate) outcome: Option<Outcome<B>>,
    pub(crate) shown: Shown,
    pub(crate) tickets: Option<Arc<dyn Tickets<B>>>,
    pub(crate) path: ReleasePath<B>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) waiting_each: NonZeroUsize,
    pub(crate) undecided_for: Duration,
    pub(crate) usable_for: Duration,
    pub(crate) settles_itself: bool,
}

/// How often held requests look at their rows when no hint comes, all of them together: soon enough that another
/// process's decision is felt at once where few wait, and no load where many do.
const LOOKS_PER_SECOND: usize = 64;

impl<B> Config<B> {
    /// How long a held request leaves its row alone when no hint comes.
    pub(crate) fn pause(&self) -> Duration {
        let held = self.seats.count();
        Duration::from_secs(1).saturating_mul(u32::try_from(1 + held / LOOKS_PER_SECOND).unwrap_or(u32::MAX))
    }
}

impl<B> Clone for Config<B> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            need: Arc::clone(&self.need),
            escalation: Arc::clone(&self.escalation),
            upstream: Arc::clone(&self.upstream),
            release_mode: Arc::clone(&self.release_mode),
            location: Arc::clone(&self.location),
            wait_for: Arc::clone(&self.wait_for),
            longest_wait: Arc::clone(&self.longest_wait),
            outcome: self.outcome.clone(),
            shown: Arc::clone(&self.shown),
            tickets: self.tickets.clone(),
            path: self.path.clone(),
            seats: Arc::clone(&self.seats),
            ..*self
        }
    }
}

/// Makes [`AwaitApproval`] services. `B` is the body of the answers.
pub struct AwaitApprovalLayer<B> {
    config: Config<B>,
    body: PhantomData<fn() -> B>,
}

impl<B> AwaitApprovalLayer<B> {
    /// Keeps requests in this store: each set needs one person, callers are held for [`DEFAULT_HOLD`], there are no
    /// tickets, and what is approved is started by its owner.
    pub fn new(store: Arc<dyn ApprovalStore>) -> Self {
        let config = Config {
            store,
            clock: Arc::new(SystemClock),
            need: Arc::new(|_| NonZeroU32::MIN),
            escalation: Arc::new(|_| Vec::new()),
            upstream: Arc::new(|operation| operation.resource.name.clone()),
            release_mode: Arc::new(|_| ReleaseMode::Claim),
            location: Arc::new(|id| format!("/approvals/{id}")),
            wait_for: Arc::new(|_, _| Wait::Hold(DEFAULT_HOLD)),
            longest_wait: Arc::new(|_| DEFAULT_LONGEST_WAIT),
            outcome: None,
            shown: Arc::new(|_, words| words),
            tickets: None,
            path: ReleasePath::closed(),
            seats: seats(DEFAULT_HOLD_LIMIT, None),
            waiting_each: DEFAULT_WAITING_EACH,
            undecided_for: DEFAULT_UNDECIDED_FOR,
            usable_for: DEFAULT_USABLE_FOR,
            settles_itself: false,
        };
        Self { config, body: PhantomData }
    }

    /// Another clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.config.clock = Arc::new(clock);
        self
    }

    /// How many people of a set must say yes. Default one.
    #[must_use]
    pub fn need(mut self, need: impl Fn(&ApproverSet) -> NonZeroU32 + Send + Sync + 'static) -> Self {
        self.config.need = Arc::new(need);
        self
    }

    /// Whom a request goes to while nobody of a set decides. Default nobody else.
    #[must_use]
    pub fn escalation(mut self, tiers: impl Fn(&ApproverSet) -> Vec<Tier> + Send + Sync + 'static) -> Self {
        self.config.escalation = Arc::new(tiers);
        self
    }

    /// Where an operation is sent: part of the digest, so that a request approved for one address is never sent to
    /// another. Default the resource's name.
    #[must_use]
    pub fn upstream(mut self, upstream: impl Fn(&Operation) -> String + Send + Sync + 'static) -> Self {
        self.config.upstream = Arc::new(upstream);
        self
    }

    /// Who starts an approved operation. Default its owner; without a ticket it is always the owner.
    #[must_use]
    pub fn release_mode(mut self, mode: impl Fn(&Operation) -> ReleaseMode + Send + Sync + 'static) -> Self {
        self.config.release_mode = Arc::new(mode);
        self
    }

    /// Where a caller without a ticket can look. Default `/approvals/{id}`.
    #[must_use]
    pub fn location(mut self, location: impl Fn(&ApprovalId) -> String + Send + Sync + 'static) -> Self {
        self.config.location = Arc::new(location);
        self
    }

    /// How a caller waits. Default: held for [`DEFAULT_HOLD`].
    #[must_use]
    pub fn wait_for(mut self, wait: impl Fn(&Operation, &HeaderMap) -> Wait + Send + Sync + 'static) -> Self {
        self.config.wait_for = Arc::new(wait);
        self
    }

    /// What callers get who do not wait.
    #[must_use]
    pub fn tickets(mut self, tickets: Arc<dyn Tickets<B>>) -> Self {
        self.config.tickets = Some(tickets);
        self
    }

    /// The longest a caller of an operation may ask to be held by `Prefer: wait`. Default [`DEFAULT_LONGEST_WAIT`].
    #[must_use]
    pub fn longest_wait(mut self, longest: impl Fn(&Operation) -> Duration + Send + Sync + 'static) -> Self {
        self.config.longest_wait = Arc::new(longest);
        self
    }

    /// The answer of an approved request that has run, for its requester who comes back; `None` where it is not kept.
    /// By default it is told only to who waits when it comes.
    #[must_use]
    pub fn outcome<F, Fut>(mut self, outcome: F) -> Self
    where
        F: Fn(Approval) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Response<B>>> + Send + 'static,
    {
        self.config.outcome = Some(Arc::new(move |approval| Box::pin(outcome(approval))));
        self
    }

    /// How words of people, such as the reason of a no, are shown to the caller of an operation. Default as they are.
    #[must_use]
    pub fn shown(mut self, shown: impl Fn(&Operation, String) -> String + Send + Sync + 'static) -> Self {
        self.config.shown = Arc::new(shown);
        self
    }

    /// Where callers who were let go come back to. It shares the seats of those who are held, so it is made when the
    /// layer is wholly configured.
    #[must_use]
    pub fn waiting_room(&self) -> WaitingRoom<B> {
        WaitingRoom::new(Arc::new(self.config.clone()))
    }

    /// How a held request is released once it is approved.
    #[must_use]
    pub fn release_through(mut self, path: ReleasePath<B>) -> Self {
        self.config.path = path;
        self
    }

    /// Requests held at once, and how many of them may be of one identity; more get a ticket or, where there is none,
    /// `503` before anybody is asked. Default [`DEFAULT_HOLD_LIMIT`], and half of it.
    #[must_use]
    pub fn hold_limit(mut self, limit: NonZeroUsize, of_one: Option<NonZeroUsize>) -> Self {
        self.config.seats = seats(limit, of_one);
        self
    }

    /// How many requests of one identity may wait for a decision, held or not; more get `429` before anybody is asked.
    /// Calls that come at the same instant may go beyond it by as many. Default [`DEFAULT_WAITING_EACH`].
    #[must_use]
    pub fn waiting_each(mut self, limit: NonZeroUsize) -> Self {
        self.config.waiting_each = limit;
        self
    }

    /// How long people have to decide. Default [`DEFAULT_UNDECIDED_FOR`].
    #[must_use]
    pub fn undecided_for(mut self, time: Duration) -> Self {
        self.config.undecided_for = time;
        self
    }

    /// How long after the last yes it may be started. Default [`DEFAULT_USABLE_FOR`].
    #[must_use]
    pub fn usable_for(mut self, time: Duration) -> Self {
        self.config.usable_for = time;
        self
    }

    /// Marks and settles attempts right here, around the inner service. For services without a durable record; in
    /// the gateway the record's own transactions do it, at the instant the intent becomes durable.
    #[must_use]
    pub fn settles_itself(mut self) -> Self {
        self.config.settles_itself = true;
        self
    }
}

fn seats(limit: NonZeroUsize, of_one: Option<NonZeroUsize>) -> Arc<Seats> {
    Seats::new(limit.get(), of_one.map_or(limit.get().div_ceil(2), NonZeroUsize::get))
}

impl<B> Clone for AwaitApprovalLayer<B> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), body: PhantomData }
    }
}

impl<B> fmt::Debug for AwaitApprovalLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitApprovalLayer")
            .field("undecided_for", &self.config.undecided_for)
            .field("usable_for", &self.config.usable_for)
            .field("settles_itself", &self.config.settles_itself)
            .finish_non_exhaustive()
    }
}

impl<S, B> Layer<S> for AwaitApprovalLayer<B> {
    type Service = AwaitApproval<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        AwaitApproval::new(inner, Arc::new(self.config.clone()))
    }
}
