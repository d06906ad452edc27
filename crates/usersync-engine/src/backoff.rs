//! Pauses that grow.

use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, Utc};
use usersync_connector::Retry;
use usersync_model::Digest;

use crate::planning::later;
use crate::schedule::{SKEW, spread};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long to wait after failures in a row: the first pause, doubled with every further failure, up to a longest one. Up to an
/// eighth of each is taken off, depending on what waits, so that not all come back at once; the same waits equally long whenever
/// it is asked. Pauses of more than a second are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause. Who asks to be left alone for longer (`Retry-After`) is left alone for a day at most, or for this pause if
    /// that is more.
    pub most: Duration,
    /// After how many failures in a row patience is over: a job counts as quarantined, a notification is given up.
    pub patience: NonZeroU32,
}

impl Backoff {
    /// Until when to wait after the latest of `failures` in a row, which happened `now` to what `who` identifies; not before
    /// the system said, if it did.
    pub(crate) fn until(
        &self,
        now: DateTime<Utc>,
        failures: u32,
        retry: Retry,
        who: &Digest,
    ) -> DateTime<Utc> {
        let until = later(now, self.pause(failures, who));
        until.max(self.not_before(now, retry).unwrap_or(until))
    }

    /// The moment that the system named, if it did; of a later one than anybody means, the latest that is waited for.
    pub(crate) fn not_before(&self, now: DateTime<Utc>, retry: Retry) -> Option<DateTime<Utc>> {
        match retry {
            Retry::After(pause) => Some(later(now, pause.min(self.longest()))),
            Retry::Later | Retry::Never => None,
        }
    }

    /// Whether to wait until then can have been noted by a clock that shows `now`, or a little more. Else a clock that was ahead
    /// noted it, and it would be waited for as long as that was.
    pub(crate) fn is_sane(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        until <= later(later(now, SKEW), self.longest())
    }

    fn longest(&self) -> Duration {
        self.most.max(DAY)
    }

    /// Whether patience is over.
    pub(crate) fn is_over(&self, failures: u32) -> bool {
        failures >= self.patience.get()
    }

    fn pause(&self, failures: u32, who: &Digest) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.most);
        let eighths = u32::try_from(spread(who, 1 << 16)).unwrap_or(0);
        let pause = pause - (pause / 8 / (1 << 16)) * eighths;
        match pause.as_secs() {
            0 => pause,
            seconds => Duration::from_secs(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backoff(first: u64, most: u64) -> Backoff {
        Backoff {
            first: Duration::from_secs(first),
            most: Duration::from_secs(most),
            patience: NonZeroU32::MIN,
        }
    }

    proptest! {
        #[test]
        fn pauses_grow_up_to_the_longest(first in 1..1000_u64, most in 1..100_000_u64, who in any::<u64>(), failures in 1..100_u32) {
            let backoff = backoff(first, most.max(first));
            let who = Digest::of("test", &who.to_be_bytes());
            let (pause, next) = (backoff.pause(failures, &who), backoff.pause(failures + 1, &who));
            prop_assert!(pause > Duration::ZERO);
            prop_assert!(next <= backoff.most);
            prop_assert!(next > pause || pause + Duration::from_secs(1) >= backoff.most * 7 / 8);
            prop_assert!((pause + Duration::from_secs(1)) * 8 >= backoff.first.saturating_mul(1 << (failures - 1).min(31)).min(backoff.most) * 7);
        }

        #[test]
        fn what_the_system_says_counts_up_to_the_longest(failures in 1..40_u32, after in any::<u64>(), shift in 0..64_u32, most in 60..1_000_000_u64) {
            let (now, after) = (DateTime::UNIX_EPOCH, after >> shift);
            let backoff = backoff(60, most);
            let who = Digest::of("test", b"x");
            let plain = backoff.until(now, failures, Retry::Later, &who);
            let told = backoff.until(now, failures, Retry::After(Duration::from_secs(after)), &who);
            let longest = most.max(24 * 3600);
            prop_assert_eq!(told, plain.max(later(now, Duration::from_secs(after.min(longest)))));
            prop_assert!(backoff.is_sane(told, now));
            prop_assert!(!backoff.is_sane(later(later(now, Duration::from_secs(longest + 1)), SKEW), now));
        }
    }
}
