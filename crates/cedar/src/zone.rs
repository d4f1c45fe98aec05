use std::fmt;

use crewgate_core::Timestamp;
use jiff::tz::TimeZone;

/// The time zone in which rules read hours and days; UTC unless another is named.
#[derive(Clone)]
pub struct Zone {
    name: Box<str>,
    rules: TimeZone,
}

impl Zone {
    /// The zone with this IANA name, e.g. `Europe/Berlin`; `None` when there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // Looked up in the data of the build alone: the same rules decide the same on every machine.
        let rules = jiff::tz::TimeZoneDatabase::bundled().get(name).ok()?;
        let name = rules.iana_name()?.into();
        Some(Self { name, rules })
    }

    /// Its IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hour (0–23) and the day of the week (1 is Monday) at an instant.
    pub(crate) fn clock(&self, now: Timestamp) -> (i64, i64) {
        let at = jiff::Timestamp::from_second(now.as_secs()).unwrap_or(jiff::Timestamp::MAX);
        let local = self.rules.to_datetime(at);
        (i64::from(local.hour()), i64::from(local.weekday().to_monday_one_offset()))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_weekdays_are_those_of_the_zone() {
        let utc = Zone::default();
        assert_eq!(utc.clock(Timestamp::from_secs(0)), (0, 4));
        assert_eq!(utc.clock(Timestamp::from_secs(-1)), (23, 3));
        // 2026-11-22T21:05:44Z, a Sunday; three hours later, Monday.
        assert_eq!(utc.clock(Timestamp::from_secs(1_795_381_544)), (21, 7));
        assert_eq!(utc.clock(Timestamp::from_secs(1_795_392_344)), (0, 1));
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.name(), "Europe/Berlin");
        assert_eq!(berlin.clock(Timestamp::from_secs(1_795_381_544)), (22, 7));
        // 2026-06-15T12:00:00Z, in summer.
        assert_eq!(berlin.clock(Timestamp::from_secs(1_781_524_800)), (14, 1));
        assert!(Zone::named("Europe/Atlantis").is_none());
    }
}
