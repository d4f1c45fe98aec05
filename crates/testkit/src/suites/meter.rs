//! What every [`Meter`] must do, whatever it counts in.
//!
//! Call [`conforms`] with a closure that makes an empty meter, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use crewgate_core::{PrincipalKey, Rate, RateDuty, RuleId, Timestamp};
use crewgate_policy::{Meter, TakeError};

/// The instant at which counting begins: 2026-06-15T12:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_781_524_800);
const HOUR: Duration = Duration::from_secs(3600);

/// A rate of this rule: so many calls in so long.
///
/// # Panics
///
/// When `calls` is 0, which is no rate.
#[must_use]
pub fn duty(rule: &str, calls: u32, period: Duration) -> RateDuty {
    RateDuty { rule: RuleId::new(rule), rate: Rate { calls: NonZeroU32::new(calls).unwrap(), period } }
}

/// Runs the whole suite on fresh meters.
///
/// # Panics
///
/// When the meter breaks the contract, saying which part.
pub async fn conforms<M: Meter + ?Sized>(make: impl Fn() -> Arc<M>) {
    a_rate_gives_what_it_says_and_no_more(&*make()).await;
    an_unlimited_call_is_not_counted(&*make()).await;
    principals_and_rules_count_apart(&*make()).await;
    all_rates_are_taken_from_or_none(&*make()).await;
    the_longest_wait_is_told(&*make()).await;
    no_window_ever_holds_more_than_the_rate(&*make()).await;
    a_clock_that_goes_back_gives_nothing_away(&*make()).await;
    exactly_as_many_of_many_racing_calls_pass(make()).await;
}

fn alice() -> PrincipalKey {
    PrincipalKey::new("okta", "alice")
}

async fn take<M: Meter + ?Sized>(meter: &M, duties: &[&RateDuty], now: Timestamp) -> Result<(), TakeError> {
    let duties: BTreeSet<RateDuty> = duties.iter().map(|duty| (*duty).clone()).collect();
    meter.take(&alice(), &duties, now).await
}

async fn a_rate_gives_what_it_says_and_no_more<M: Meter + ?Sized>(meter: &M) {
    let hourly = duty("hourly", 3, HOUR);
    for call in 0..3 {
        assert_eq!(take(meter, &[&hourly], START).await, Ok(()), "call {call} of 3");
    }
    let Err(TakeError::Exhausted { rule, retry_after }) = take(meter, &[&hourly], START).await else {
        panic!("a fourth call of three passed");
    };
    assert_eq!(rule, hourly.rule);
    assert!(retry_after > Duration::ZERO && retry_after <= HOUR + HOUR / 32, "{retry_after:?}");
    let later = START.saturating_add(retry_after);
    assert_eq!(take(meter, &[&hourly], later).await, Ok(()), "after the wait it told");
}

async fn an_unlimited_call_is_not_counted<M: Meter + ?Sized>(meter: &M) {
    for _ in 0..100 {
        assert_eq!(take(meter, &[], START).await, Ok(()));
    }
}

async fn principals_and_rules_count_apart<M: Meter + ?Sized>(meter: &M) {
    let (one, two) = (duty("one", 1, HOUR), duty("two", 1, HOUR));
    assert_eq!(take(meter, &[&one], START).await, Ok(()));
    assert!(take(meter, &[&one], START).await.is_err());
    assert_eq!(take(meter, &[&two], START).await, Ok(()), "another rule");
    for other in [PrincipalKey::new("okta", "bob"), PrincipalKey::new("entra", "alice")] {
        assert_eq!(meter.take(&other, &[one.clone()].into(), START).await, Ok(()), "{other}");
    }
}

async fn all_rates_are_taken_from_or_none<M: Meter + ?Sized>(meter: &M) {
    let (wide, narrow) = (duty("a-wide", 2, HOUR), duty("z-narrow", 1, HOUR));
    assert_eq!(take(meter, &[&wide, &narrow], START).await, Ok(()));
    for _ in 0..5 {
        let refused = take(meter, &[&wide, &narrow], START).await;
        assert!(matches!(refused, Err(TakeError::Exhausted { rule, .. }) if rule == narrow.rule));
    }
    assert_eq!(
        take(meter, &[&wide], START).await,
        Ok(()),
        "the refused calls took nothing from the wide rate"
    );
    assert!(take(meter, &[&wide], START).await.is_err(), "and the one that passed took one");
}

async fn the_longest_wait_is_told<M: Meter + ?Sized>(meter: &M) {
    let (minute, day) = (duty("a-minute", 1, Duration::from_secs(60)), duty("z-day", 1, 24 * HOUR));
    assert_eq!(take(meter, &[&minute, &day], START).await, Ok(()));
    let refused = take(meter, &[&minute, &day], START).await;
    let Err(TakeError::Exhausted { rule, retry_after }) = refused else { panic!("{refused:?}") };
    assert_eq!(rule, day.rule);
    assert!(retry_after > 23 * HOUR, "{retry_after:?}");
}

async fn no_window_ever_holds_more_than_the_rate<M: Meter + ?Sized>(meter: &M) {
    for (rule, calls) in [("few", 5_u32), ("many", 200)] {
        let rate = duty(rule, calls, HOUR);
        let mut passed = Vec::<Timestamp>::new();
        let mut now = START;
        // Steps of 0 to 16 s from a fixed generator: more demand than either rate has room for, the same in every run.
        let mut state = 0x2545_F491_u32;
        for _ in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            now = now.saturating_add(Duration::from_millis(u64::from(state >> 18)));
            if take(meter, &[&rate], now).await.is_ok() {
                passed.push(now);
            }
        }
        let width = usize::try_from(calls).unwrap();
        for (first, next) in passed.iter().zip(passed.iter().skip(width)) {
            assert!(next.since(*first) >= HOUR, "{} calls of {calls} within an hour", width + 1);
        }
        // And it is no tighter than it must be: of the whole hours nine tenths at least are used.
        let hours = usize::try_from(now.since(START).as_secs() / 3600).unwrap();
        assert!(
            hours >= 3 && passed.len() >= hours * width * 9 / 10,
            "{} calls in {hours} hours",
            passed.len()
        );
    }
}

async fn a_clock_that_goes_back_gives_nothing_away<M: Meter + ?Sized>(meter: &M) {
    let hourly = duty("hourly", 1, HOUR);
    assert_eq!(take(meter, &[&hourly], START).await, Ok(()));
    assert!(take(meter, &[&hourly], START.saturating_sub(2 * HOUR)).await.is_err());
    assert!(take(meter, &[&hourly], START.saturating_add(HOUR / 2)).await.is_err());
}

async fn exactly_as_many_of_many_racing_calls_pass<M: Meter + ?Sized>(meter: Arc<M>) {
    let duties = Arc::new(BTreeSet::from([duty("a", 20, HOUR), duty("b", 10, HOUR)]));
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let (meter, duties) = (Arc::clone(&meter), Arc::clone(&duties));
            tokio::spawn(async move { meter.take(&alice(), &duties, START).await.is_ok() })
        })
        .collect();
    let mut passed = 0;
    for call in calls {
        passed += u32::from(call.await.unwrap());
    }
    assert_eq!(passed, 10);
    let wide: BTreeSet<_> = duties.iter().filter(|duty| duty.rule.as_str() == "a").cloned().collect();
    for _ in 0..10 {
        assert_eq!(meter.take(&alice(), &wide, START).await, Ok(()), "refused racers took nothing");
    }
    assert!(meter.take(&alice(), &wide, START).await.is_err());
}
