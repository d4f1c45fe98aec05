use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crewgate_core::{PrincipalKey, Rate, RateDuty, RuleId, Timestamp};

use crate::BoxFuture;

/// Why a call was not counted. Nothing was taken from any rate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a meter has room, has none, or cannot say")]
pub enum TakeError {
    /// A rate has no room.
    Exhausted {
        /// The rule that asks for it; of several, the one that takes longest.
        rule: RuleId,
        /// When there will be room again, if nobody else takes it.
        retry_after: Duration,
    },
    /// The meter cannot count. The call is refused (503): what cannot be counted does not pass.
    Unavailable {
        /// What failed, for the operator's log; the caller is not told.
        reason: String,
    },
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { rule, retry_after } => {
                write!(f, "the rate of {rule} has no room for {} s", retry_after.as_secs())
            }
            Self::Unavailable { reason } => write!(f, "the meter is not available: {reason}"),
        }
    }
}

impl std::error::Error for TakeError {}

/// Counts calls per principal and rule.
///
/// The law: within any span of [`Rate::period`] at most [`Rate::calls`] takes of one principal for one rule succeed.
pub trait Meter: Send + Sync + 'static {
    /// Takes one call from every rate in `duties`, or from none.
    ///
    /// # Errors
    ///
    /// [`TakeError`] when one rate has no room or the meter cannot count; then no rate was taken from.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, either all rates were taken from or none.
    fn take<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        duties: &'a BTreeSet<RateDuty>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), TakeError>>;
}

/// Principal-and-rule pairs a [`MemoryMeter`] counts at once by default: about 30 MB when all are in use.
pub const DEFAULT_KEYS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Marks one key keeps at most. Rates of up to this many calls are exact; of larger ones, calls that are closer
/// together than a 64th of the period count until the last of them ends, so the meter errs to the strict side.
const MARKS: u32 = 64;

/// A sliding window per principal and rule, in memory: for one process, and lost with it.
///
/// It is bounded: when all keys are in use by calls that still count, a new one is refused as
/// [`TakeError::Unavailable`], never let through.
#[derive(Debug)]
pub struct MemoryMeter {
    keys: NonZeroUsize,
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    // The rate is part of the key: a rule whose rate is changed starts to count anew.
    live: HashMap<(PrincipalKey, RateDuty), Window>,
    // No key is free to be dropped before this; saves walking all of them for each refused call.
    next_free: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Window {
    marks: VecDeque<Mark>,
    total: u64,
}

/// Calls that end to count together.
#[derive(Debug)]
struct Mark {
    first: Timestamp,
    last: Timestamp,
    calls: u64,
}

impl MemoryMeter {
    /// An empty meter for [`DEFAULT_KEYS`] keys.
    #[must_use]
    pub fn new() -> Self {
        Self::with_keys(DEFAULT_KEYS)
    }

    /// An empty meter for this many principal-and-rule pairs.
    #[must_use]
    pub fn with_keys(keys: NonZeroUsize) -> Self {
        Self { keys, windows: Mutex::default() }
    }

    fn take_now(
        &self,
        principal: &PrincipalKey,
        duties: &BTreeSet<RateDuty>,
        now: Timestamp,
    ) -> Result<(), TakeError> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<_> = duties.iter().map(|duty| (principal.clone(), duty.clone())).collect();
        let mut longest: Option<(Duration, RuleId)> = None;
        let mut new = 0_usize;
        for key in &keys {
            let Some(window) = windows.live.get_mut(key) else {
                new = new.saturating_add(1);
                continue;
            };
            let wait = window.wait(key.1.rate, now);
            if wait > Duration::ZERO && longest.as_ref().is_none_or(|(most, _)| wait > *most) {
                longest = Some((wait, key.1.rule.clone()));
            }
        }
        if let Some((retry_after, rule)) = longest {
            return Err(TakeError::Exhausted { rule, retry_after });
        }
        if windows.live.len().saturating_add(new) > self.keys.get() {
            let mine: BTreeSet<_> = keys.iter().collect();
            windows.free(now, &mine);
            if windows.live.len().saturating_add(new) > self.keys.get() {
                return Err(TakeError::Unavailable { reason: format!("all {} keys are in use", self.keys) });
            }
        }
        for key in keys {
            let rate = key.1.rate;
            let end = now.saturating_add(rate.period);
            windows.next_free = Some(windows.next_free.map_or(end, |free| free.min(end)));
            windows.live.entry(key).or_default().mark(rate, now);
        }
        Ok(())
    }
}

impl Default for MemoryMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl Windows {
    /// Drops keys of which no call counts any more, but for the ones just asked for.
    fn free(&mut self, now: Timestamp, keep: &BTreeSet<&(PrincipalKey, RateDuty)>) {
        if self.next_free.is_some_and(|free| now < free) {
            return;
        }
        let mut next = None::<Timestamp>;
        self.live.retain(|key, window| {
            let end = window.end(key.1.rate);
            let counts = end.is_some_and(|end| now < end);
            if let (true, Some(end)) = (counts, end) {
                next = Some(next.map_or(end, |next| next.min(end)));
            }
            counts || keep.contains(key)
        });
        self.next_free = next;
    }
}

impl Window {
    /// How long until one more call has room; zero when it has.
    fn wait(&mut self, rate: Rate, now: Timestamp) -> Duration {
        while let Some(oldest) = self.marks.front() {
            if oldest.last.saturating_add(rate.period) > now {
                break;
            }
            self.total = self.total.saturating_sub(oldest.calls);
            self.marks.pop_front();
        }
        if self.total < u64::from(rate.calls.get()) {
            return Duration::ZERO;
        }
        self.marks.front().map_or(Duration::ZERO, |oldest| oldest.last.saturating_add(rate.period).since(now))
    }

    fn mark(&mut self, rate: Rate, now: Timestamp) {
        self.total = self.total.saturating_add(1);
        if rate.calls.get() > MARKS {
            let width = rate.period / MARKS;
            if let Some(newest) = self.marks.back_mut()
                && now.since(newest.first) < width
            {
                newest.last = newest.last.max(now);
                newest.calls = newest.calls.saturating_add(1);
                return;
            }
        }
        // A clock that was set back must not let a later mark end before an earlier one.
        let now = self.marks.back().map_or(now, |newest| newest.last.max(now));
        self.marks.push_back(Mark { first: now, last: now, calls: 1 });
    }

    /// When its last call ends to count.
    fn end(&self, rate: Rate) -> Option<Timestamp> {
        self.marks.back().map(|newest| newest.last.saturating_add(rate.period))
    }
}

impl Meter for MemoryMeter {
    fn take<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        duties: &'a BTreeSet<RateDuty>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), TakeError>> {
        let taken = self.take_now(principal, duties, now);
        Box::pin(std::future::ready(taken))
    }
}
