//! Calls of one address in a time: the only limit that stands before the record, so that a flood costs nothing but
//! its answers.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Addresses remembered at once; above it the fullest-again ones are forgotten first, which forgives nothing.
const MAX_ADDRESSES: usize = 65_536;

/// A token bucket per address. IPv6 callers count by their /64, which one subscriber holds whole.
#[derive(Debug)]
pub struct AddressLimit {
    calls: f64,
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    room: f64,
    at: Instant,
}

impl AddressLimit {
    /// At most `calls` in `period`, as a burst or spread.
    #[must_use]
    pub fn new(calls: u32, period: Duration) -> Self {
        let calls = f64::from(calls);
        Self { calls, per_second: calls / period.as_secs_f64().max(0.001), buckets: Mutex::default() }
    }

    /// Takes a token; otherwise how long until there is one.
    ///
    /// # Errors
    ///
    /// The time to wait.
    pub fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = prefix(address);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&key) {
            let full = |bucket: &mut Bucket| self.room(bucket, now) < self.calls;
            buckets.retain(|_, bucket| full(bucket));
            if buckets.len() >= MAX_ADDRESSES {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { room: self.calls, at: now });
        bucket.room = self.room(bucket, now);
        bucket.at = now;
        if bucket.room >= 1.0 {
            bucket.room -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.room) / self.per_second))
        }
    }

    fn room(&self, bucket: &Bucket, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        (bucket.room + gained).min(self.calls)
    }
}

fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_gets_its_calls_back_with_time() {
        let limit = AddressLimit::new(2, Duration::from_secs(1));
        let (one, two): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!(limit.take(one).is_ok() && limit.take(one).is_ok());
        assert_eq!(limit.take(one), Err(Duration::from_millis(500)));
        assert!(limit.take(two).is_ok());
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(limit.take(one).is_ok() && limit.take(one).is_err());
    }

    #[test]
    fn one_subscriber_is_one_address() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        assert_eq!(prefix(a), prefix(b));
        assert_eq!(prefix("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
