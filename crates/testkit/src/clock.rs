//! A clock that stands still until it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crewgate_core::{Clock, Timestamp};

/// A [`Clock`] that moves only by [`set`](Self::set) and [`advance`](Self::advance). Clones share the hand.
///
/// ```
/// use std::time::Duration;
/// use crewgate_core::Clock;
/// use crewgate_testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.clone().advance(Duration::from_secs(90));
/// assert_eq!(clock.now().since(before), Duration::from_secs(90));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

/// Where a new clock stands: 2026-06-15T12:00:00Z, a Monday at noon, far from any day, month or year boundary.
const START_SECS: i64 = 1_781_524_800;

impl ManualClock {
    /// A clock at 2026-06-15T12:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::from_secs(START_SECS))
    }

    /// A clock at this instant.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.as_micros())))
    }

    /// Puts the hand on this instant, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves the hand forward.
    pub fn advance(&self, by: Duration) {
        // Two threads that advance at once must both count, so: read and write in one step.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            Some(Timestamp::from_micros(now).saturating_add(by).as_micros())
        });
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_clock_stands_at_noon() {
        assert_eq!(ManualClock::new().now().to_string(), "2026-06-15T12:00:00.000000Z");
    }

    #[test]
    fn a_clock_goes_back_when_it_is_set_back() {
        let clock = ManualClock::new();
        clock.set(Timestamp::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_secs(5));
    }
}
