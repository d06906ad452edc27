//! When cron expressions come, found out minute by minute.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc, Weekday};

/// An expression, and which wall-clock times it names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cron {
    pub(crate) text: &'static str,
    every_minutes: u32,
    hour: Option<u32>,
    every_hours: u32,
    minute: Option<u32>,
    days: fn(Weekday) -> bool,
}

const fn cron(text: &'static str) -> Cron {
    Cron {
        text,
        every_minutes: 1,
        hour: None,
        every_hours: 1,
        minute: None,
        days: |_| true,
    }
}

pub(crate) const CRONS: [Cron; 4] = [
    Cron {
        every_minutes: 7,
        ..cron("*/7 * * * *")
    },
    Cron {
        minute: Some(5),
        every_hours: 2,
        ..cron("5 */2 * * *")
    },
    Cron {
        minute: Some(30),
        hour: Some(2),
        ..cron("30 2 * * *")
    },
    Cron {
        minute: Some(0),
        hour: Some(9),
        days: |day| !matches!(day, Weekday::Sat | Weekday::Sun),
        ..cron("0 9 * * 1-5")
    },
];

/// Where wall clocks hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clocks {
    /// An hour ahead of UTC, and two from the last Sunday of March to that of October.
    Berlin,
    /// Five hours and a half ahead.
    Kolkata,
    Utc,
}

pub(crate) const CLOCKS: [Clocks; 3] = [Clocks::Utc, Clocks::Berlin, Clocks::Kolkata];

impl Clocks {
    pub(crate) fn zone(self) -> &'static str {
        match self {
            Self::Berlin => "Europe/Berlin",
            Self::Kolkata => "Asia/Kolkata",
            Self::Utc => "UTC",
        }
    }

    fn show(self, at: DateTime<Utc>) -> NaiveDateTime {
        let ahead = match self {
            Self::Berlin if is_summer(at) => 120,
            Self::Berlin => 60,
            Self::Kolkata => 330,
            Self::Utc => 0,
        };
        at.naive_utc() + TimeDelta::minutes(ahead)
    }
}

/// Whether clocks of the European Union show summer time.
fn is_summer(at: DateTime<Utc>) -> bool {
    let switch = |month| {
        let days = (1..=31).rev();
        let mut dates = days.filter_map(|day| NaiveDate::from_ymd_opt(at.year(), month, day));
        let sunday = dates.find(|date| date.weekday() == Weekday::Sun);
        sunday.and_then(|sunday| sunday.and_hms_opt(1, 0, 0))
    };
    switch(3).is_some_and(|begins| begins <= at.naive_utc())
        && switch(10).is_some_and(|ends| at.naive_utc() < ends)
}

impl Cron {
    fn names(&self, local: NaiveDateTime) -> bool {
        self.minute.is_none_or(|minute| minute == local.minute())
            && local.minute().is_multiple_of(self.every_minutes)
            && self.hour.is_none_or(|hour| hour == local.hour())
            && local.hour().is_multiple_of(self.every_hours)
            && (self.days)(local.weekday())
    }

    /// The first time after `after` at which it comes: what the clocks skip comes when they have skipped it, and what they show twice
    /// comes the first time.
    pub(crate) fn next(&self, clocks: Clocks, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        /// More than any of the expressions takes.
        const MINUTES: RangeInclusive<i64> = 1..=6 * 24 * 60;
        let begun = after - TimeDelta::seconds(i64::from(after.second()));
        let minute = TimeDelta::minutes(1);
        MINUTES
            .map(|minutes| begun + minute * i32::try_from(minutes).unwrap_or(i32::MAX))
            .find(|at| {
                let shown = clocks.show(*at);
                // Clocks are put back by an hour at most.
                let is_again = (1..=60).any(|ago| clocks.show(*at - minute * ago) >= shown);
                let before = clocks.show(*at - minute);
                let skipped = (1..).map(|minutes| before + minute * minutes);
                let mut passed = skipped.take_while(|local| *local <= shown);
                !is_again && passed.any(|local| self.names(local))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn clocks_that_change_skip_nothing_and_repeat_nothing() {
        let night = CRONS[2];
        let next = |after: &str| night.next(Clocks::Berlin, at(after)).expect("it comes");
        assert_eq!(next("2026-03-28T00:00:00Z"), at("2026-03-28T01:30:00Z"));
        // There is no half past two: the clocks go from two to three.
        assert_eq!(next("2026-03-28T12:00:00Z"), at("2026-03-29T01:00:00Z"));
        assert_eq!(next("2026-03-29T01:00:00Z"), at("2026-03-30T00:30:00Z"));
        // It is half past two twice.
        assert_eq!(next("2026-10-24T12:00:00Z"), at("2026-10-25T00:30:00Z"));
        assert_eq!(next("2026-10-25T00:30:00Z"), at("2026-10-26T01:30:00Z"));
    }
}
