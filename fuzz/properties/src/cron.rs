//! Schedules by cron expressions in time zones.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use usersync::engine::{Cadence, CronExpression, Schedule, Zone};

use crate::{is_fit_to_show, parts};

/// How far ahead somebody looks at the wall clock.
const WATCHED: TimeDelta = TimeDelta::hours(30);

/// The beginnings of 1973 and of 2100, in seconds since 1970.
const FIRST: i64 = 94_694_400;
const LAST: i64 = 4_102_444_800;

/// An expression, a zone, and a moment in seconds since 1970.
pub fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let [expression, zone, seconds] =
        parts(text.as_bytes()).map(|part| std::str::from_utf8(part).expect("split at ASCII"));
    let zone = match zone.parse::<Zone>() {
        Ok(zone) => zone,
        Err(error) => {
            is_fit_to_show(&error);
            Zone::new("UTC").expect("UTC is a zone")
        }
    };
    assert_eq!(Zone::new(zone.as_str()).ok(), Some(zone));
    let found = match expression.parse::<CronExpression>() {
        Ok(found) => found,
        Err(error) => {
            is_fit_to_show(&error);
            return;
        }
    };
    assert_eq!(found.as_str(), expression.trim());
    let schedule = Schedule::cron(found, zone);
    let json = serde_json::to_string(&schedule).expect("a schedule has a JSON form");
    assert_eq!(
        serde_json::from_str::<Schedule>(&json).ok().as_ref(),
        Some(&schedule)
    );
    is_fit_to_show(&schedule);
    // From 1973 to 2100: earlier, some zones are seconds away from whole minutes.
    let seconds = seconds.trim().parse::<i64>().unwrap_or_default();
    let seconds = FIRST + seconds.rem_euclid(LAST - FIRST);
    let after = DateTime::<Utc>::from_timestamp(seconds, 0).expect("a moment within both");
    let next = schedule
        .next(after, after)
        .expect("every expression comes again within 40 years");
    assert!(next > after);
    // Nothing between comes first, as far as anybody looks.
    if let Cadence::Cron { expression, .. } = &schedule.cadence
        && let Some(fields) = Fields::read(expression.as_str())
    {
        let zone: Tz = zone.as_str().parse().expect("a zone is one of the database");
        assert_eq!(
            (next <= after + WATCHED).then_some(next),
            watch(&fields, zone, after),
            "{schedule} after {after}"
        );
    }
}

/// An expression of numbers, names, ranges and steps.
struct Fields {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

struct Field {
    is_any: bool,
    values: Vec<u32>,
}

impl Fields {
    /// None for an expression that says more.
    fn read(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return None;
        };
        Some(Self {
            minutes: Field::read(minutes, 0..=59)?,
            hours: Field::read(hours, 0..=23)?,
            days: Field::read(days, 1..=31)?,
            months: Field::read(months, 1..=12)?,
            weekdays: Field::read(weekdays, 0..=7)?,
        })
    }

    /// As cron has it: where both the day and the weekday are given, either is enough.
    fn names(&self, local: NaiveDateTime) -> bool {
        let weekday = local.weekday().num_days_from_sunday();
        let day = self.days.has(local.day());
        let weekday = self.weekdays.has(weekday) || (weekday == 0 && self.weekdays.has(7));
        self.minutes.has(local.minute())
            && self.hours.has(local.hour())
            && self.months.has(local.month())
            && if self.days.is_any || self.weekdays.is_any {
                day && weekday
            } else {
                day || weekday
            }
    }
}

impl Field {
    fn read(text: &str, range: RangeInclusive<u32>) -> Option<Self> {
        let mut values = Vec::new();
        for part in text.split(',') {
            let (span, step) = match part.split_once('/') {
                Some((span, step)) => (span, number(step).filter(|&step| step > 0)?),
                None => (part, 1),
            };
            let span = match span.split_once('-') {
                _ if span == "*" => range.clone(),
                Some((low, high)) => number(low)?..=number(high)?,
                // A step after a single number is told differently by different programs.
                None if part != span => return None,
                None => number(span)?..=number(span)?,
            };
            if !range.contains(span.start()) || !range.contains(span.end()) || span.is_empty() {
                return None;
            }
            values.extend(span.step_by(usize::try_from(step).ok()?));
        }
        Some(Self {
            is_any: text == "*",
            values,
        })
    }

    fn has(&self, value: u32) -> bool {
        self.values.contains(&value)
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Looks at the wall clock every minute: the first time after `from` at which it shows a time for the first time that is named, or has
/// skipped one.
fn watch(fields: &Fields, zone: Tz, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    let show = |now: DateTime<Utc>| zone.from_utc_datetime(&now.naive_utc()).naive_local();
    // Long enough before that no clock is put back across it.
    let begin = from - TimeDelta::hours(26);
    let mut now = begin - TimeDelta::seconds(begin.timestamp().rem_euclid(60));
    let mut latest = show(now);
    while now <= from + WATCHED {
        now += minute;
        let shown = show(now);
        let mut named = false;
        while latest < shown {
            latest += minute;
            named |= fields.names(latest);
        }
        if named && now > from {
            return (now <= from + WATCHED).then_some(now);
        }
    }
    None
}
