//! When jobs run by themselves: pure, the time is an argument.

#[cfg(feature = "cron")]
mod cron;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{Digest, DigestBuilder, JobId, TenantId};

#[cfg(feature = "cron")]
pub use self::cron::{CronExpression, Zone};
use crate::planning::later;

/// By how much the clocks of two workers may differ, with room to spare.
pub(crate) const SKEW: Duration = Duration::from_secs(3600);

/// When a job runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How its occurrences follow each other.
    pub cadence: Cadence,
    /// By how many seconds at most a run begins after its occurrence, so that jobs of one cadence do not all begin at once.
    /// How many it is follows from the tenant, the job and the occurrence, and never reaches the next occurrence.
    #[serde(default)]
    pub jitter_seconds: u32,
    /// Whether the first run of an interval waits for it, and does not begin as soon as the job is saved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_first: bool,
}

/// How the occurrences of a schedule follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cadence {
    /// At wall-clock times of a zone. Every time that the expression names on the zone's calendar is one occurrence, also where
    /// clocks change: a time that the clocks skip happens when they have skipped it, several such times together once; a time
    /// that comes twice happens the first time. (Who wants elapsed time takes [`Every`](Self::Every).)
    ///
    /// A stored job with such a schedule is only read where the feature `cron` is on.
    #[cfg(feature = "cron")]
    Cron {
        /// Which times.
        expression: CronExpression,
        /// Of which zone.
        zone: Zone,
    },
    /// Whenever so much time has elapsed, whatever wall clocks say; for the first time at once, unless
    /// [`waits_first`](Schedule::waits_first).
    Every(Interval),
    /// Only when asked to.
    Manual,
}

/// Time that elapses: whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Interval(NonZeroU32);

/// Why something is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// A cron expression that is none.
    #[error(
        "{expression:?} is no cron expression: {problem}; write five fields: minute, hour, day, month, weekday"
    )]
    Cron {
        /// What was given, cut short where it is long.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An interval of no time, of broken seconds, or of more than 136 years.
    #[error("an interval of {0:?} cannot be kept; give whole seconds, at least one")]
    Interval(Duration),
    /// A cron expression for days that never come.
    #[error("{0:?} never happens: no month has such a day; name a day that comes")]
    Never(String),
    /// A time zone that is not known.
    #[error("{0:?} is no time zone; name one as the IANA does, such as Europe/Berlin")]
    Zone(String),
}

impl Schedule {
    /// A schedule of this cadence, without jitter.
    #[must_use]
    pub fn new(cadence: Cadence) -> Self {
        Self {
            cadence,
            jitter_seconds: 0,
            waits_first: false,
        }
    }

    /// Runs whenever `interval` has elapsed.
    #[must_use]
    pub fn every(interval: Interval) -> Self {
        Self::new(Cadence::Every(interval))
    }

    /// Runs at the times that `expression` names in `zone`.
    #[cfg(feature = "cron")]
    #[must_use]
    pub fn cron(expression: CronExpression, zone: Zone) -> Self {
        Self::new(Cadence::Cron { expression, zone })
    }

    /// Runs only when asked to.
    #[must_use]
    pub fn manual() -> Self {
        Self::new(Cadence::Manual)
    }

    /// The same schedule with a jitter of at most so many seconds.
    #[must_use]
    pub fn with_jitter(mut self, seconds: u32) -> Self {
        self.jitter_seconds = seconds;
        self
    }

    /// The same schedule, whose first run waits for its interval.
    #[must_use]
    pub fn waiting_first(mut self) -> Self {
        self.waits_first = true;
        self
    }

    /// The occurrence that a job waits for which last began at `last`, or never: of an interval, `last` and the interval, or at
    /// once; of a cron expression, the first one after `now`. `None`: never by itself.
    #[must_use]
    pub fn first(&self, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.cadence {
            #[cfg(feature = "cron")]
            Cadence::Cron { expression, zone } => expression.next(*zone, now),
            Cadence::Every(interval) => match last {
                Some(last) => last.checked_add_signed(interval.delta()),
                None if self.waits_first => now.checked_add_signed(interval.delta()),
                None => Some(now),
            },
            Cadence::Manual => None,
        }
    }

    /// The first occurrence after both `occurrence` and `now`: what was missed in between is not made up for. Intervals are
    /// counted from `occurrence`, so that they do not drift.
    #[must_use]
    pub fn next(&self, occurrence: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.cadence {
            #[cfg(feature = "cron")]
            Cadence::Cron { expression, zone } => expression.next(*zone, occurrence.max(now)),
            Cadence::Every(interval) => {
                let every = i64::from(interval.0.get());
                let missed = now.signed_duration_since(occurrence).max(TimeDelta::zero());
                let steps = missed.num_seconds() / every + 1;
                let step = TimeDelta::try_seconds(steps.checked_mul(every)?)?;
                occurrence.checked_add_signed(step)
            }
            Cadence::Manual => None,
        }
    }

    /// The occurrence to wait for at `now`, of one that is stored. One that is further away than any that follows from a time like
    /// `now` was stored by a clock that was ahead and was set back: it is due at once.
    pub(crate) fn awaited(&self, occurrence: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let ahead = later(now, SKEW);
        match self.next(ahead, ahead) {
            Some(latest) if latest < occurrence => now
                .checked_sub_signed(TimeDelta::seconds(self.jitter_seconds.into()))
                .unwrap_or(now),
            _ => occurrence,
        }
    }

    /// When the run of an occurrence begins: never before it, and always before the next one.
    #[must_use]
    pub fn due(&self, tenant: &TenantId, job: &JobId, occurrence: DateTime<Utc>) -> DateTime<Utc> {
        if self.jitter_seconds == 0 {
            return occurrence;
        }
        let room = self
            .next(occurrence, occurrence)
            .map_or(i64::MAX, |next| {
                next.signed_duration_since(occurrence).num_seconds() - 1
            })
            .clamp(0, i64::from(self.jitter_seconds));
        let digest = DigestBuilder::new("usersync.jitter/1")
            .part(tenant.as_str().as_bytes())
            .part(job.as_str().as_bytes())
            .part(&occurrence.timestamp().to_be_bytes())
            .finish();
        let jitter = i64::try_from(spread(&digest, room.unsigned_abs() + 1)).unwrap_or(0);
        occurrence
            .checked_add_signed(TimeDelta::seconds(jitter))
            .unwrap_or(occurrence)
    }
}

impl Default for Cadence {
    /// Every four hours.
    fn default() -> Self {
        Self::Every(Interval::default())
    }
}

impl Interval {
    /// A day.
    pub const DAY: Self = Self(NonZeroU32::new(24 * 3600).expect("a day is not zero"));

    /// An interval of whole seconds, at least one.
    ///
    /// # Errors
    /// [`InvalidSchedule::Interval`] for anything else, and for more than 136 years.
    pub fn new(duration: Duration) -> Result<Self, InvalidSchedule> {
        u32::try_from(duration.as_secs())
            .ok()
            .filter(|_| duration.subsec_nanos() == 0)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(InvalidSchedule::Interval(duration))
    }

    /// The interval as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0.get()))
    }

    fn delta(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.0.get()))
    }
}

impl Default for Interval {
    /// Four hours.
    fn default() -> Self {
        Self(NonZeroU32::new(4 * 3600).expect("four hours are not zero"))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cadence {
            #[cfg(feature = "cron")]
            Cadence::Cron { expression, zone } => write!(f, "at {expression} in {zone}"),
            Cadence::Every(interval) => match interval.0.get() {
                seconds if seconds.is_multiple_of(3600) => write!(f, "every {} h", seconds / 3600),
                seconds if seconds.is_multiple_of(60) => write!(f, "every {} min", seconds / 60),
                seconds => write!(f, "every {seconds} s"),
            },
            Cadence::Manual => f.write_str("when asked to"),
        }
    }
}

/// A number below `below` that follows from `digest`; 0 if there is none below.
pub(crate) fn spread(digest: &Digest, below: u64) -> u64 {
    let bytes = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(bytes).checked_rem(below).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn every(seconds: u64) -> Schedule {
        Schedule::every(Interval::new(Duration::from_secs(seconds)).unwrap())
    }

    #[test]
    fn the_default_is_every_four_hours() {
        assert_eq!(Schedule::default(), every(4 * 3600));
        assert_eq!(Schedule::default().to_string(), "every 4 h");
        assert_eq!(every(90).to_string(), "every 90 s");
        assert_eq!(every(120).to_string(), "every 2 min");
        assert_eq!(Schedule::manual().to_string(), "when asked to");
    }

    #[test]
    fn a_schedule_keeps_its_stored_form() {
        let schedule = every(60).with_jitter(5);
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(text, r#"{"cadence":{"every":60},"jitter_seconds":5}"#);
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        assert!(serde_json::from_str::<Schedule>(r#"{"cadence":{"every":0}}"#).is_err());
    }

    #[test]
    fn intervals_are_whole_seconds() {
        for duration in [
            Duration::ZERO,
            Duration::from_millis(1500),
            Duration::from_secs(1 << 32),
        ] {
            assert_eq!(Interval::new(duration), Err(InvalidSchedule::Interval(duration)));
        }
    }

    #[test]
    fn the_end_of_time_has_no_next_occurrence() {
        let end = DateTime::<Utc>::MAX_UTC;
        assert_eq!(every(60).next(end, end), None);
        assert_eq!(every(60).first(Some(end), end), None);
    }

    proptest! {
        /// Compared with stepping from one occurrence to the next.
        #[test]
        fn missed_intervals_are_one(interval in 1..5000_u64, from in -10_000..10_000_i64, later in -2000..50_000_i64) {
            let schedule = every(interval);
            let (occurrence, now) = (at(from), at(from + later));
            let mut stepped = occurrence;
            loop {
                stepped += TimeDelta::seconds(interval.try_into().unwrap());
                if stepped > now { break; }
            }
            prop_assert_eq!(schedule.next(occurrence, now), Some(stepped));
        }

        #[test]
        fn jitter_is_bounded_and_follows_from_the_job(interval in 1..100_000_u64, jitter in any::<u32>(), from in 0..1_000_000_000_i64, name in "[a-z]{1,8}") {
            let schedule = every(interval).with_jitter(jitter);
            let (tenant, job) = (TenantId::new("acme").unwrap(), JobId::new(name).unwrap());
            let occurrence = at(from);
            let due = schedule.due(&tenant, &job, occurrence);
            prop_assert_eq!(due, schedule.due(&tenant, &job, occurrence));
            prop_assert!(due >= occurrence);
            prop_assert!((due - occurrence).num_seconds() <= i64::from(jitter));
            prop_assert!(due < schedule.next(occurrence, occurrence).unwrap());
        }
    }

    #[test]
    fn jitter_spreads_jobs() {
        let schedule = every(3600).with_jitter(600);
        let tenant = TenantId::new("acme").unwrap();
        let dues: std::collections::BTreeSet<_> = (0..100)
            .map(|n| schedule.due(&tenant, &JobId::new(format!("job-{n}")).unwrap(), at(0)))
            .collect();
        assert!(dues.len() > 50, "only {} different times", dues.len());
    }
}
