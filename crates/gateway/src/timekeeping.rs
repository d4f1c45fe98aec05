//! A machine's clock that somebody sets changes what the record's times mean, and what has ended: it is told, and time
//! never goes back.

use std::{sync::Arc, time::Duration};

use crewgate_audit::{AuditStore, Entry, Lane, Query};
use crewgate_core::{Clock, RequestId, SystemClock};

use crate::ops::Health;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is no accident of reading two clocks one after the other, in microseconds.
const NOTABLE: i64 = 1_000_000;

/// How far the record may be ahead of the clock: machines that share it differ by less, and one that starts again has
/// gone on by its own.
const AHEAD: Duration = Duration::from_secs(60);

/// Lets time go on from what the record says it was: requests, roles given for a while and voices that have ended by the
/// clock would come back otherwise.
///
/// # Errors
///
/// When the clock is further behind than clocks differ, unless `back` says that it shall be believed.
pub(crate) async fn begin(audit: &dyn AuditStore, clock: &dyn Clock, back: bool) -> Result<(), String> {
    let newest =
        audit.leaves(Query::default().newest_first().limit(1)).await.map_err(|error| error.to_string())?;
    let Some(newest) = newest.first().and_then(|leaf| leaf.entry().ok()).map(|entry| entry.time) else {
        return Ok(());
    };
    let now = clock.now();
    match newest.since(now) {
        behind if behind <= AHEAD => clock.not_before(newest),
        behind if back => {
            tracing::warn!(
                behind = behind.as_secs(),
                "time goes back: what has ended by the clock may count again"
            );
        }
        behind => {
            return Err(format!(
                "it is {now} by the machine's clock and the record's last entry is of {newest}, {} s later: what ended \
                 in between would count again. Set the clock right, or wait; if it was wrong when that was written, \
                 start with `gateway.dangerously_turn_time_back = true`",
                behind.as_secs()
            ));
        }
    }
    Ok(())
}

/// Puts on the record when the machine's clock was set, until it is dropped.
pub(crate) async fn watch(audit: Arc<dyn AuditStore>) {
    let mut told = 0;
    loop {
        let set_by = SystemClock.set_by();
        if let Some(what) = step(told, set_by) {
            tracing::warn!(what, "the machine's clock was set");
            let entry = Entry::told(what, None, RequestId::random(), SystemClock.now());
            match audit.append(Lane::Outcome, entry).await {
                Ok(_) => told = set_by,
                // Told again at the next look.
                Err(error) => tracing::warn!(%error, "that the clock was set is not on the record"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is told of a clock that was set by so much when it was `before`.
fn step(before: i64, now: i64) -> Option<String> {
    let by = now.saturating_sub(before);
    (by.abs() > NOTABLE).then(|| format!("config.clock {:+} s", by / 1_000_000))
}

/// Whether times are the machine's own.
pub(crate) fn health() -> Health {
    of(SystemClock.set_by())
}

fn of(set_by: i64) -> Health {
    if set_by >= -NOTABLE {
        return Health::Green;
    }
    let seconds = set_by.unsigned_abs() / 1_000_000;
    Health::Amber {
        reason: format!(
            "the machine's clock was set back by {seconds} s: the gateway goes on by its own, and does not start again before it is right"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_once_in_each_direction() {
        assert_eq!(step(0, 900_000), None);
        assert_eq!(step(0, -3_600_000_000).as_deref(), Some("config.clock -3600 s"));
        assert_eq!(step(-3_600_000_000, -3_600_000_400), None);
        assert_eq!(step(-3_600_000_000, 0).as_deref(), Some("config.clock +3600 s"));
    }

    #[test]
    fn a_clock_that_is_behind_is_seen_and_one_that_is_ahead_is_followed() {
        assert!(matches!(of(0), Health::Green) && matches!(of(7_200_000_000), Health::Green));
        let Health::Amber { reason } = of(-90_000_000) else { panic!("not seen") };
        assert!(reason.contains("set back by 90 s"), "{reason}");
    }
}
