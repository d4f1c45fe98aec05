//! The in-memory meter passes the suite every meter passes, and stays within its bound.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crewgate_core::{Clock, PrincipalKey, RateDuty};
use crewgate_policy::{MemoryMeter, Meter, TakeError};
use crewgate_testkit::{
    ManualClock,
    suites::meter::{conforms, duty},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_meter_is_a_meter() {
    conforms(|| Arc::new(MemoryMeter::new())).await;
    conforms(|| Arc::new(MemoryMeter::new()) as Arc<dyn Meter>).await;
}

#[tokio::test]
async fn a_full_meter_refuses_newcomers_and_forgets_nobody_who_counts() {
    let meter = MemoryMeter::with_keys(NonZeroUsize::new(2).unwrap());
    let clock = ManualClock::new();
    let (short, long) =
        (duty("short", 1, Duration::from_secs(10)), duty("long", 1, Duration::from_secs(100)));
    let take = async |name: &str, duties: &[&RateDuty]| {
        meter
            .take(&PrincipalKey::new("okta", name), &duties.iter().copied().cloned().collect(), clock.now())
            .await
    };
    assert_eq!(take("a", &[&short]).await, Ok(()));
    assert_eq!(take("b", &[&long]).await, Ok(()));
    assert!(matches!(take("c", &[&short]).await, Err(TakeError::Unavailable { .. })));
    // Those who are counted are still told that their rate is used up, not that the meter is full.
    assert!(matches!(take("a", &[&short]).await, Err(TakeError::Exhausted { .. })));

    // The short one has ended and gives its place away; the long one still counts.
    clock.advance(Duration::from_secs(10));
    assert_eq!(take("c", &[&short]).await, Ok(()));
    assert!(matches!(take("b", &[&long]).await, Err(TakeError::Exhausted { .. })));
    assert!(matches!(take("d", &[&short, &long]).await, Err(TakeError::Unavailable { .. })));

    // A call over several rates finds room for all of them or takes none.
    clock.advance(Duration::from_secs(90));
    assert_eq!(take("d", &[&short, &long]).await, Ok(()));
}

#[tokio::test]
async fn a_rate_of_few_calls_is_exact() {
    let meter = MemoryMeter::new();
    let (clock, alice) = (ManualClock::new(), PrincipalKey::new("okta", "alice"));
    let duties = [duty("hourly", 2, Duration::from_secs(3600))].into();
    for _ in 0..2 {
        assert_eq!(meter.take(&alice, &duties, clock.now()).await, Ok(()));
        clock.advance(Duration::from_secs(1));
    }
    let refused = meter.take(&alice, &duties, clock.now()).await;
    assert!(
        matches!(refused, Err(TakeError::Exhausted { retry_after, .. }) if retry_after.as_secs() == 3598),
        "{refused:?}"
    );
    clock.advance(Duration::from_secs(3598));
    assert_eq!(meter.take(&alice, &duties, clock.now()).await, Ok(()));
    assert!(meter.take(&alice, &duties, clock.now()).await.is_err(), "only the first of the two has ended");
}
