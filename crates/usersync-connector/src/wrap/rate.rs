//! How often calls may be made.

use std::num::NonZeroU32;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::sync::Mutex;
use crate::clock::Clock;

/// How often calls may be made: a token bucket that refills evenly.
///
/// One call takes one token, however many operations it holds; so does every retry, and every read. The pages
/// of a read are the connector's own business. In any span of time `t` there are at most `burst + t × calls /
/// per` calls. Calls that have to wait are let through in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    calls: NonZeroU32,
    per: Duration,
    burst: NonZeroU32,
}

impl RateLimit {
    /// At most `calls` in each `per`, evenly spread.
    #[must_use]
    pub fn new(calls: NonZeroU32, per: Duration) -> Self {
        Self {
            calls,
            per,
            burst: NonZeroU32::MIN,
        }
    }

    /// The same rate, with up to `burst` calls at once after a time of rest.
    #[must_use]
    pub fn with_burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = burst;
        self
    }
}

/// The state of one rate limit, shared by all calls under it.
///
/// It keeps one instant, that at which the bucket is full again; a call moves it by one interval. Times are
/// nanoseconds since `origin`.
#[derive(Debug)]
pub(super) struct RateBucket {
    origin: DateTime<Utc>,
    /// Rounded up, so that rounding never makes the rate higher.
    interval: u128,
    depth: u128,
    full_at: Mutex<u128>,
}

impl RateBucket {
    pub(super) fn new(limit: RateLimit, origin: DateTime<Utc>) -> Self {
        let interval = limit.per.as_nanos().div_ceil(u128::from(limit.calls.get()));
        Self {
            origin,
            interval,
            depth: interval * u128::from(limit.burst.get() - 1),
            full_at: Mutex::new(0),
        }
    }

    /// Waits for a token. One that is not used because the future is dropped is lost.
    pub(super) async fn acquire(&self, clock: &dyn Clock) {
        let wait = self.reserve(clock.now());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
    }

    fn reserve(&self, now: DateTime<Utc>) -> Duration {
        let now = (now - self.origin).to_std().unwrap_or_default().as_nanos();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(*full_at);
        *full_at = start + self.interval;
        let wait = start.saturating_sub(self.depth).saturating_sub(now);
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use futures::stream::FuturesUnordered;
    use proptest::prelude::*;

    use super::*;
    use crate::test_clock::TestClock;

    #[test]
    fn a_burst_then_evenly() {
        let clock = TestClock::new();
        let limit = RateLimit::new(NonZeroU32::new(4).unwrap(), Duration::from_secs(1))
            .with_burst(NonZeroU32::new(3).unwrap());
        let bucket = RateBucket::new(limit, clock.now());
        let mut passed = Vec::new();
        clock.run(async {
            for _ in 0..6 {
                bucket.acquire(&*clock).await;
                passed.push(clock.elapsed().as_millis());
            }
            clock.sleep(Duration::from_secs(10)).await;
            for _ in 0..4 {
                bucket.acquire(&*clock).await;
                passed.push(clock.elapsed().as_millis());
            }
        });
        assert_eq!(passed, [0, 0, 0, 250, 500, 750, 10_750, 10_750, 10_750, 11_000]);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_burst_and_rate(
            calls in 1_u32..20,
            per_ms in 1_u64..2000,
            burst in 1_u32..6,
            arrivals in prop::collection::vec(0_u64..3000, 1..40),
        ) {
            let clock = TestClock::new();
            let limit = RateLimit::new(NonZeroU32::new(calls).unwrap(), Duration::from_millis(per_ms))
                .with_burst(NonZeroU32::new(burst).unwrap());
            let bucket = RateBucket::new(limit, clock.now());
            let mut passed: Vec<u128> = clock.run(
                arrivals
                    .iter()
                    .map(|&at| {
                        let (clock, bucket) = (&clock, &bucket);
                        async move {
                            clock.sleep(Duration::from_millis(at)).await;
                            bucket.acquire(&**clock).await;
                            clock.elapsed().as_nanos()
                        }
                    })
                    .collect::<FuturesUnordered<_>>()
                    .collect(),
            );
            passed.sort_unstable();
            prop_assert_eq!(passed.len(), arrivals.len());
            for (i, from) in passed.iter().enumerate() {
                for (j, to) in passed.iter().enumerate().skip(i) {
                    let allowed = u128::from(burst)
                        + (to - from) * u128::from(calls) / (u128::from(per_ms) * 1_000_000);
                    prop_assert!((j - i + 1) as u128 <= allowed);
                }
            }
        }
    }
}
