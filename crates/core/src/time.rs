use std::{
    fmt,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// An instant of wall-clock time in microseconds since 1970-01-01T00:00:00Z.
///
/// Ends of rights are stored as instants and evaluated at use; no sweeper has to run for a right to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch (the unit of JWT claims); saturates at the ends.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant plus a duration; saturates at the end of time.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant minus a duration; saturates at the start of time.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Time gone by since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m)),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        match u64::try_from(time.0) {
            Ok(after) => UNIX_EPOCH + Duration::from_micros(after),
            Err(_) => UNIX_EPOCH,
        }
    }
}

/// RFC 3339 in UTC with microseconds, e.g. `2026-11-22T21:05:44.123456Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime formats years up to 9999 and errors beyond; such an instant means "never".
        const YEAR_10000: i64 = 253_402_300_800_000_000;
        if self.0 >= YEAR_10000 {
            return f.write_str("never");
        }
        humantime::format_rfc3339_micros(SystemTime::from(*self)).fmt(f)
    }
}

/// RFC 3339; a date alone is its first instant, in UTC.
impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = text.len() == "2026-11-22".len();
        let whole = if day { format!("{text}T00:00:00Z") } else { text.to_owned() };
        humantime::parse_rfc3339(&whole).map(Self::from)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where "now" comes from. Layers take a clock so that expiry can be tested without waiting.
pub trait Clock: Send + Sync + 'static {
    /// The current instant.
    fn now(&self) -> Timestamp;

    /// From here on it is this instant at least: what was written down then has been. A clock that is set by hand, as in
    /// tests, may leave it.
    fn not_before(&self, instant: Timestamp) {
        let _ = instant;
    }
}

/// The machine's clock, which never goes back: what has ended does not begin again because somebody set it. Where it was
/// set back, time goes on from when the process first asked, by the clock that nobody sets, until a restart; where it
/// was set ahead it is followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// When the process first asked.
static FIRST: LazyLock<(Timestamp, Instant)> =
    LazyLock::new(|| (Timestamp::from(SystemTime::now()), Instant::now()));

/// By how many microseconds it was later than the machine said, then.
static LATER: AtomicI64 = AtomicI64::new(0);

impl SystemClock {
    /// By how much the machine's clock was set since the process first asked, in microseconds, negative when it was set
    /// back. A machine that slept has set it ahead. A clock that is only kept right (slewed) is not set.
    #[must_use]
    pub fn set_by(&self) -> i64 {
        let (first, at) = *FIRST;
        let steady = first.saturating_add(at.elapsed());
        Timestamp::from(SystemTime::now()).as_micros().saturating_sub(steady.as_micros())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let (first, at) = *FIRST;
        let first = Timestamp(first.0.saturating_add(LATER.load(Ordering::Relaxed)));
        later(SystemTime::now(), first, at.elapsed())
    }

    fn not_before(&self, instant: Timestamp) {
        let (first, at) = *FIRST;
        let steady = first.saturating_add(at.elapsed());
        LATER.fetch_max(instant.0.saturating_sub(steady.0), Ordering::Relaxed);
    }
}

/// The later of what the machine says and of the time since it was first asked.
fn later(machine: SystemTime, first: Timestamp, elapsed: Duration) -> Timestamp {
    Timestamp::from(machine).max(first.saturating_add(elapsed))
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn not_before(&self, instant: Timestamp) {
        (**self).not_before(instant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_as_rfc_3339() {
        assert_eq!(Timestamp::from_secs(1_795_374_808).to_string(), "2026-11-22T19:13:28.000000Z");
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "never");
    }

    #[test]
    fn an_instant_is_read_as_it_is_written_and_a_date_is_its_first_instant() {
        let instant = Timestamp::from_secs(1_795_374_808);
        assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        assert_eq!("2026-11-22".parse::<Timestamp>().unwrap().to_string(), "2026-11-22T00:00:00.000000Z");
        assert!("22.11.2026".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_anything_young_again() {
        let (noon, hour) =
            (SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_374_808), Duration::from_secs(3600));
        let first = Timestamp::from(noon);
        assert_eq!(later(noon + hour, first, hour), first.saturating_add(hour), "nobody set it");
        assert_eq!(later(noon, first, hour), first.saturating_add(hour), "an hour back");
        assert_eq!(later(noon + 3 * hour, first, hour), first.saturating_add(3 * hour), "two hours ahead");
        assert_eq!(
            later(noon + 2 * hour, first, 2 * hour),
            first.saturating_add(2 * hour),
            "and right again"
        );
    }

    #[test]
    fn the_clock_of_this_machine_is_not_set_while_it_is_looked_at() {
        assert!(SystemClock.now() <= SystemClock.now());
        assert!(SystemClock.set_by().abs() < 1_000_000, "{}", SystemClock.set_by());
    }

    #[test]
    fn time_goes_on_from_what_was_written_down_last() {
        // A little, for all tests of this process share the clock.
        let (before, ahead) = (SystemClock.now(), Duration::from_millis(200));
        SystemClock.not_before(before.saturating_add(ahead));
        assert!(SystemClock.now() >= before.saturating_add(ahead));
        SystemClock.not_before(before);
        assert!(SystemClock.now() >= before.saturating_add(ahead), "and not back");
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.saturating_add(Duration::from_secs(1)), end);
        assert_eq!(Timestamp::from_secs(1).since(Timestamp::from_secs(5)), Duration::ZERO);
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(1)), Duration::from_secs(4));
    }
}
