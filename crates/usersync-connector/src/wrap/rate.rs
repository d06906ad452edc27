//! How often calls may be made.

use std::collections::BTreeSet;
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
/// per` calls. Calls that have to wait are let through in the order in which they came. One that gives up before gives its token
/// back, unless somebody behind it waits: nobody is let through sooner than was said.
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
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    full_at: u128,
    /// The ends of the intervals of those who gave up while others waited behind them.
    given_up: BTreeSet<u128>,
}

/// The place of a call that waits. Dropped, it is given up.
struct Place<'a> {
    bucket: &'a RateBucket,
    /// Where its interval ends.
    end: u128,
}

impl RateBucket {
    pub(super) fn new(limit: RateLimit, origin: DateTime<Utc>) -> Self {
        let interval = limit.per.as_nanos().div_ceil(u128::from(limit.calls.get()));
        Self {
            origin,
            interval,
            depth: interval * u128::from(limit.burst.get() - 1),
            taken: Mutex::default(),
        }
    }

    /// Waits for a token.
    pub(super) async fn acquire(&self, clock: &dyn Clock) {
        let (wait, place) = self.reserve(clock.now());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        // The token is used.
        std::mem::forget(place);
    }

    fn reserve(&self, now: DateTime<Utc>) -> (Duration, Place<'_>) {
        let now = (now - self.origin).to_std().unwrap_or_default().as_nanos();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.given_up.first().is_some_and(|end| *end <= now) {
            taken.given_up.pop_first();
        }
        let start = now.max(taken.full_at);
        let end = start + self.interval;
        taken.full_at = end;
        let wait = start.saturating_sub(self.depth).saturating_sub(now);
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        (wait, Place { bucket: self, end })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.bucket.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.given_up.insert(self.end);
        // The intervals of those who wait follow each other without gaps.
        let mut end = taken.full_at;
        while taken.given_up.remove(&end) {
            end -= self.bucket.interval;
        }
        taken.full_at = end;
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{Either, FutureExt, select};
    use futures::stream::{FuturesUnordered, StreamExt};
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

    fn one_a_second(clock: &TestClock) -> RateBucket {
        RateBucket::new(
            RateLimit::new(NonZeroU32::MIN, Duration::from_secs(1)),
            clock.now(),
        )
    }

    /// Three wait behind the first call; those of them named give up, in this order. Then one more comes: when, in seconds, it and
    /// those who stayed are let through.
    fn without(givers: &[usize]) -> Vec<u64> {
        let clock = TestClock::new();
        let bucket = one_a_second(&clock);
        clock.run(async {
            bucket.acquire(&*clock).await;
            let mut waiting: Vec<_> = (0..3).map(|_| Some(Box::pin(bucket.acquire(&*clock)))).collect();
            for place in waiting.iter_mut().flatten() {
                assert!(place.as_mut().now_or_never().is_none());
            }
            for giver in givers {
                waiting[*giver] = None;
            }
            waiting.push(Some(Box::pin(bucket.acquire(&*clock))));
            let mut passed = Vec::new();
            for place in waiting.into_iter().flatten() {
                place.await;
                passed.push(clock.elapsed().as_secs());
            }
            passed
        })
    }

    #[test]
    fn who_gives_up_gives_back_what_nobody_behind_counts_on() {
        assert_eq!(without(&[]), [1, 2, 3, 4]);
        assert_eq!(without(&[2]), [1, 2, 3]);
        for all in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            assert_eq!(without(&all), [1]);
        }
        assert_eq!(without(&[1, 2]), [1, 2]);
        // Who stays keeps the place, and nobody comes before whoever waited before.
        assert_eq!(without(&[0]), [2, 3, 4]);
        assert_eq!(without(&[0, 1]), [3, 4]);
    }

    /// Somebody asks a thousand times a second, and waits for a moment only.
    #[test]
    fn those_who_gave_up_keep_nobody_waiting() {
        let clock = TestClock::new();
        let bucket = one_a_second(&clock);
        clock.run(async {
            bucket.acquire(&*clock).await;
            for _ in 0..3600 {
                let patience = clock.sleep(Duration::from_millis(1));
                let place = std::pin::pin!(bucket.acquire(&*clock));
                if let Either::Right(_) = select(place, patience).await {
                    continue;
                }
                clock.sleep(Duration::from_secs(1)).await;
            }
            let before = clock.elapsed();
            bucket.acquire(&*clock).await;
            assert!(clock.elapsed() - before <= Duration::from_secs(1));
        });
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_burst_and_rate(
            calls in 1_u32..20,
            per_ms in 1_u64..2000,
            burst in 1_u32..6,
            arrivals in prop::collection::vec((0_u64..3000, prop::option::of(0_u64..3000)), 1..40),
        ) {
            let clock = TestClock::new();
            let limit = RateLimit::new(NonZeroU32::new(calls).unwrap(), Duration::from_millis(per_ms))
                .with_burst(NonZeroU32::new(burst).unwrap());
            let bucket = RateBucket::new(limit, clock.now());
            let mut passed: Vec<u128> = clock.run(
                arrivals
                    .iter()
                    .map(|&(at, patience)| {
                        let (clock, bucket) = (&clock, &bucket);
                        async move {
                            clock.sleep(Duration::from_millis(at)).await;
                            let patience = patience.map_or(Duration::MAX / 2, Duration::from_millis);
                            let place = std::pin::pin!(bucket.acquire(&**clock));
                            match select(place, clock.sleep(patience)).await {
                                Either::Left(_) => Some(clock.elapsed().as_nanos()),
                                Either::Right(_) => None,
                            }
                        }
                    })
                    .collect::<FuturesUnordered<_>>()
                    .filter_map(std::future::ready)
                    .collect(),
            );
            passed.sort_unstable();
            let patient = arrivals.iter().filter(|(_, patience)| patience.is_none()).count();
            prop_assert!(passed.len() >= patient);
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
