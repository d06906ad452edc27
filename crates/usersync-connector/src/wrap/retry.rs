//! When a failed call is tried again, and after which pause.

use std::num::NonZeroU32;
use std::time::Duration;

use super::sync::{AtomicU64, Ordering};
use crate::error::{Error, Retry};

/// When a failed call is tried again.
///
/// A call is tried again only if its error allows it ([`Retry::Later`], [`Retry::After`]), attempts and
/// budget are left, and, for anything that has an effect, the outcome is known ([`Error::new`] tells which
/// errors leave it open). The pause before the n-th retry is drawn evenly between nothing and
/// `base_pause` × 2ⁿ⁻¹, at most `max_pause`. A system that said when is believed: the pause is then exactly
/// that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often one call is attempted, the first time included. Default: 4.
    pub attempts: NonZeroU32,
    /// The longest pause before the first retry. Default: 200 ms.
    pub base_pause: Duration,
    /// The longest pause that is drawn before any retry. Default: 20 s.
    pub max_pause: Duration,
    /// The longest pause asked for by a system that is waited for; beyond it, the call fails with the system's
    /// wish in its error, for the caller to come back then. Default: 60 s.
    pub max_retry_after: Duration,
    /// How many retries there may be per hundred calls. What calls earn is saved up to the floor, and up to one retry at least.
    /// Default: 20.
    pub budget_percent: u32,
    /// How many retries there may be on top of that. It refills as calls are made. Default: 10.
    pub budget_floor: u32,
    /// Where the pauses are drawn from. Default: `None`, the time at which the wrapper is built.
    pub seed: Option<u64>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(4).expect("four is not zero"),
            base_pause: Duration::from_millis(200),
            max_pause: Duration::from_secs(20),
            max_retry_after: Duration::from_secs(60),
            budget_percent: 20,
            budget_floor: 10,
            seed: None,
        }
    }
}

/// Whether a call leaves something behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It does not, so it may be repeated whatever became of it.
    Read,
    /// It does, so it may be repeated only if it is known to have had none.
    Write,
}

/// The state of one retry policy, shared by all calls under it.
#[derive(Debug)]
pub(super) struct Retries {
    policy: RetryPolicy,
    /// Hundredths of a retry.
    budget: AtomicU64,
    random: AtomicU64,
}

impl Retries {
    pub(super) fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            policy,
            budget: AtomicU64::new(u64::from(policy.budget_floor) * 100),
            random: AtomicU64::new(policy.seed.unwrap_or(seed)),
        }
    }

    /// Counts a call, which earns its share of a retry.
    pub(super) fn deposit(&self) {
        let depth = Self::depth(&self.policy);
        let earned = u64::from(self.policy.budget_percent);
        // The closure always answers, so there is no failure to handle.
        let _ = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |budget| {
                Some((budget + earned).min(depth))
            });
    }

    /// Takes one retry out of the budget.
    pub(super) fn withdraw(&self) -> bool {
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |budget| {
                budget.checked_sub(100)
            })
            .is_ok()
    }

    /// The pause before another attempt, after `attempts` of them; `None` if there must not be another.
    pub(super) fn pause(&self, error: &Error, effect: Effect, attempts: u32) -> Option<Duration> {
        if attempts >= self.policy.attempts.get() || (effect == Effect::Write && error.outcome_unknown()) {
            return None;
        }
        match error.retry() {
            Retry::After(pause) => (pause <= self.policy.max_retry_after).then_some(pause),
            Retry::Later => Some(self.draw(attempts)),
            Retry::Never => None,
        }
    }

    fn draw(&self, attempts: u32) -> Duration {
        let growth = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
        let ceiling = self
            .policy
            .base_pause
            .saturating_mul(growth)
            .min(self.policy.max_pause);
        let ceiling = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product is even over 0..=ceiling.
        let drawn = (u128::from(self.next_random()) * (u128::from(ceiling) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(drawn).expect("the high half of a product fits 64 bits"))
    }

    /// The next number of splitmix64.
    fn next_random(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .random
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A bucket no deeper than the floor: in any stretch of calls there are at most that many retries beyond
    /// the percentage, however long all went well before. There is always room for one retry, or none could be earned.
    fn depth(policy: &RetryPolicy) -> u64 {
        let room = if policy.budget_percent > 0 { 100 } else { 0 };
        (u64::from(policy.budget_floor) * 100).max(room)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn retries(policy: RetryPolicy) -> Retries {
        Retries::new(policy, 7)
    }

    #[test]
    fn splitmix64_gives_its_published_numbers() {
        let retries = Retries::new(RetryPolicy::default(), 1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| retries.next_random()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn drawn_pauses_fill_the_range_and_stay_in_it() {
        let policy = RetryPolicy {
            base_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(1),
            ..RetryPolicy::default()
        };
        for (attempts, ceiling) in [
            (1, 100),
            (2, 200),
            (4, 800),
            (5, 1000),
            (40, 1000),
            (u32::MAX, 1000),
        ] {
            let retries = retries(policy);
            let drawn: Vec<Duration> = (0..1000).map(|_| retries.draw(attempts)).collect();
            let ceiling = Duration::from_millis(ceiling);
            let (min, max) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
            assert!(
                *max <= ceiling && *max > ceiling * 9 / 10,
                "{attempts}: up to {max:?}"
            );
            assert!(*min < ceiling / 10, "{attempts}: from {min:?}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_pauses() {
        let policy = RetryPolicy {
            seed: Some(3),
            ..RetryPolicy::default()
        };
        let (a, b) = (Retries::new(policy, 1), Retries::new(policy, 2));
        for attempts in 1..20 {
            assert_eq!(a.draw(attempts), b.draw(attempts));
        }
    }

    #[test]
    fn a_pause_longer_than_patience_is_left_to_the_caller() {
        let retries = retries(RetryPolicy::default());
        for (seconds, want) in [(60, Some(Duration::from_secs(60))), (61, None)] {
            let error =
                Error::new(ErrorKind::RateLimited, "").with_retry(Retry::After(Duration::from_secs(seconds)));
            assert_eq!(retries.pause(&error, Effect::Read, 1), want);
        }
    }

    proptest! {
        /// Of calls that all fail, those are tried again that the percentage pays for, and as many as the floor says.
        #[test]
        fn the_percentage_is_there_to_be_used(calls in 1_u32..200, floor in 0_u32..4, percent in 0_u32..=100) {
            let retries = retries(RetryPolicy {
                budget_floor: floor,
                budget_percent: percent,
                ..RetryPolicy::default()
            });
            let mut granted = 0;
            for _ in 0..floor {
                granted += u32::from(retries.withdraw());
            }
            for _ in 0..calls {
                retries.deposit();
                granted += u32::from(retries.withdraw());
            }
            let earned = if percent > 0 { calls / 100_u32.div_ceil(percent) } else { 0 };
            prop_assert!(granted >= floor + earned, "{granted}");
            prop_assert!(granted <= floor + calls * percent / 100, "{granted}");
        }

        /// In any stretch of calls: retries ≤ floor, or one that was saved up, + percent × calls.
        #[test]
        fn the_budget_is_never_overdrawn(
            floor in 0_u32..5,
            percent in 0_u32..150,
            script in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let retries = retries(RetryPolicy {
                budget_floor: floor,
                budget_percent: percent,
                ..RetryPolicy::default()
            });
            let granted: Vec<Option<bool>> = script
                .iter()
                .map(|&call| if call { retries.deposit(); None } else { Some(retries.withdraw()) })
                .collect();
            for start in 0..granted.len() {
                let (mut calls, mut taken) = (0_u32, 0_u32);
                for step in &granted[start..] {
                    match step {
                        None => calls += 1,
                        Some(granted) => taken += u32::from(*granted),
                    }
                    let saved = floor.max(u32::from(percent > 0));
                    prop_assert!(taken * 100 <= saved * 100 + percent * calls);
                }
            }
        }
    }
}
