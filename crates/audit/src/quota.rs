use std::collections::BTreeMap;

use crewgate_core::{Fact, RequestId, Timestamp};

use crate::{Entry, Phase};

/// Refusals of strangers that get an entry of their own per minute. 600 is ten a second: more than a person can read,
/// and at 2 KiB each 1.7 GiB a day at most.
pub const DEFAULT_REFUSALS_PER_MINUTE: u32 = 600;

/// Sources told apart in one counts entry; a trail of facts is no longer than this anyway.
const MAX_SOURCES: usize = 100;

/// Lets so many refusals of strangers through per minute and counts the rest per source: a flood costs one entry a
/// minute. For implementations of [`AuditStore`](crate::AuditStore).
#[derive(Debug)]
pub struct RefusalQuota {
    per_minute: u32,
    minute: i64,
    admitted: u32,
    since: Timestamp,
    folded: BTreeMap<Option<String>, u64>,
}

impl RefusalQuota {
    /// So many per minute of the wall clock.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            minute: i64::MIN,
            admitted: 0,
            since: Timestamp::from_micros(0),
            folded: BTreeMap::new(),
        }
    }

    /// Whether this entry may have a leaf of its own.
    pub fn admit(&mut self, entry: &Entry) -> bool {
        let minute = entry.time.as_secs().div_euclid(60);
        if minute != self.minute {
            (self.minute, self.admitted) = (minute, 0);
        }
        if self.admitted < self.per_minute {
            self.admitted += 1;
            return true;
        }
        self.fold(entry);
        false
    }

    /// Counts an entry that cannot have a leaf of its own.
    pub fn fold(&mut self, entry: &Entry) {
        if self.folded.is_empty() {
            self.since = entry.time;
        }
        let source = entry.facts.iter().find_map(|fact| match fact {
            Fact::Received { remote, .. } => remote.clone(),
            _ => None,
        });
        // With the port every connection would be a source of its own.
        let source = source.map(|address| match address.parse::<std::net::SocketAddr>() {
            Ok(socket) => socket.ip().to_string(),
            Err(_) => address,
        });
        let source =
            if self.folded.len() < MAX_SOURCES || self.folded.contains_key(&source) { source } else { None };
        let count = self.folded.entry(source).or_default();
        *count = count.saturating_add(1);
    }

    /// The entry that tells the counts, once the minute in which counting began is over.
    pub fn due(&mut self, now: Timestamp) -> Option<Entry> {
        let over = now.as_secs().div_euclid(60) != self.since.as_secs().div_euclid(60);
        if over { self.drain(now) } else { None }
    }

    /// The entry that tells the counts now; `None` when there are none.
    pub fn drain(&mut self, now: Timestamp) -> Option<Entry> {
        if self.folded.is_empty() {
            return None;
        }
        let mut entry = Entry::new(Phase::Refused, RequestId::random(), now);
        entry.started = self.since;
        entry.facts = std::mem::take(&mut self.folded)
            .into_iter()
            .map(|(remote, count)| Fact::Folded { remote, count })
            .collect();
        Some(entry)
    }
}

impl Default for RefusalQuota {
    fn default() -> Self {
        Self::new(DEFAULT_REFUSALS_PER_MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(second: i64, remote: &str) -> Entry {
        Entry::new(Phase::Refused, RequestId::random(), Timestamp::from_secs(second)).with_fact(
            Fact::Received {
                method: "POST".to_owned(),
                path: "/a".to_owned(),
                remote: Some(remote.to_owned()),
                user_agent: None,
            },
        )
    }

    #[test]
    fn beyond_the_quota_refusals_are_counted_per_source_and_told_when_the_minute_is_over() {
        let mut quota = RefusalQuota::new(2);
        assert!(quota.admit(&refusal(60, "10.0.0.1:4000")));
        assert!(quota.admit(&refusal(61, "10.0.0.1:4001")));
        for port in 0..5 {
            assert!(!quota.admit(&refusal(62, &format!("10.0.0.1:{port}"))));
        }
        assert!(!quota.admit(&refusal(63, "[::1]:80")));
        assert_eq!(quota.due(Timestamp::from_secs(119)), None);
        let entry = quota.due(Timestamp::from_secs(120)).unwrap();
        assert_eq!(
            entry.facts,
            [
                Fact::Folded { remote: Some("10.0.0.1".to_owned()), count: 5 },
                Fact::Folded { remote: Some("::1".to_owned()), count: 1 },
            ]
        );
        assert_eq!(entry.started, Timestamp::from_secs(62));
        assert_eq!(quota.drain(Timestamp::from_secs(120)), None);
        assert!(quota.admit(&refusal(120, "10.0.0.1:1")), "a new minute has room again");
    }

    #[test]
    fn sources_are_bounded() {
        let mut quota = RefusalQuota::new(0);
        for n in 0..1000 {
            quota.admit(&refusal(1, &format!("10.0.{}.{}", n / 256, n % 256)));
        }
        let entry = quota.drain(Timestamp::from_secs(1)).unwrap();
        assert_eq!(entry.facts.len(), MAX_SOURCES + 1);
        let total: u64 =
            entry.facts.iter().map(|f| if let Fact::Folded { count, .. } = f { *count } else { 0 }).sum();
        assert_eq!(total, 1000);
    }
}
