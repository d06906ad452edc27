//! The real clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use usersync_connector::Clock;

use crate::sync::{AtomicI64, Ordering};

/// The longest sleep without a look at the system's time, which goes on while a machine is suspended.
const NAP: Duration = Duration::from_secs(60);

/// The system's time. Clones are the same clock, which never goes back: where the system's time is set back, it goes on at the
/// pace of the monotonic clock, and stays ahead until the process ends. It follows the system's time forward, also after the
/// machine was suspended.
#[derive(Clone, Debug)]
pub struct SystemClock(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// By how many microseconds the time is ahead of the monotonic one since `began`; it only grows.
    ahead: AtomicI64,
}

impl SystemClock {
    /// A clock that shows the system's time.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(State {
            began: Instant::now(),
            ahead: AtomicI64::new(DateTime::<Utc>::from(SystemTime::now()).timestamp_micros()),
        }))
    }

    fn shown(&self, system: DateTime<Utc>) -> DateTime<Utc> {
        let elapsed = i64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        let ahead = system.timestamp_micros().saturating_sub(elapsed);
        let ahead = self.0.ahead.fetch_max(ahead, Ordering::Relaxed).max(ahead);
        DateTime::from_timestamp_micros(ahead.saturating_add(elapsed)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        self.shown(SystemTime::now().into())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let end = TimeDelta::from_std(duration)
            .ok()
            .and_then(|duration| self.now().checked_add_signed(duration))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        async move {
            loop {
                match end.signed_duration_since(clock.now()).to_std() {
                    Ok(left) if !left.is_zero() => tokio::time::sleep(left.min(NAP)).await,
                    _ => break,
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_lasts_as_long_as_the_clock_says() {
        let clock = SystemClock::new();
        let before = clock.now();
        clock.sleep(Duration::from_secs(3600)).await;
        let slept = clock.now() - before;
        assert!(slept >= TimeDelta::seconds(3600), "{slept}");
        assert!(slept < TimeDelta::seconds(3660), "{slept}");
        clock.sleep(Duration::ZERO).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_follows_the_system_forward_and_never_back() {
        let clock = SystemClock::new();
        let now = clock.now();
        let hour = TimeDelta::hours(1);
        assert!(clock.shown(now - hour) >= now);
        let later = clock.shown(now + hour);
        assert!(later >= now + hour);
        assert!(clock.now() >= later);
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(clock.now() - before >= TimeDelta::seconds(10));
    }

    /// While somebody sleeps, the system's time leaps by two hours.
    #[tokio::test(start_paused = true)]
    async fn a_leap_ends_sleeps() {
        let clock = SystemClock::new();
        let began = Instant::now();
        let leap = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = clock.shown(clock.now() + TimeDelta::hours(2));
        };
        futures::join!(clock.sleep(Duration::from_secs(3600)), leap);
        assert!(began.elapsed() <= NAP + Duration::from_secs(1));
    }
}
