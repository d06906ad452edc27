//! Occurrences, compared with somebody who looks at the wall clock every minute.

use chrono::{Datelike, TimeDelta, Timelike};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 10] = [
    "Africa/Casablanca",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
];

/// An expression that knows what it means. `None` is `*`.
#[derive(Clone, Debug)]
struct Fields {
    minutes: Option<Vec<u32>>,
    hours: Option<Vec<u32>>,
    days: Option<Vec<u32>>,
    months: Option<Vec<u32>>,
    weekdays: Option<Vec<u32>>,
}

impl Fields {
    fn text(&self) -> String {
        let field = |values: &Option<Vec<u32>>| match values {
            None => "*".to_owned(),
            Some(values) => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        };
        [
            &self.minutes,
            &self.hours,
            &self.days,
            &self.months,
            &self.weekdays,
        ]
        .map(field)
        .join(" ")
    }

    /// As cron has it: where both the day and the weekday are given, either is enough.
    fn names(&self, local: NaiveDateTime) -> bool {
        let has = |values: &Option<Vec<u32>>, value: u32| {
            values.as_ref().is_none_or(|values| values.contains(&value))
        };
        let day = has(&self.days, local.day());
        let weekday = has(&self.weekdays, local.weekday().num_days_from_sunday());
        has(&self.minutes, local.minute())
            && has(&self.hours, local.hour())
            && has(&self.months, local.month())
            && if self.days.is_some() && self.weekdays.is_some() {
                day || weekday
            } else {
                day && weekday
            }
    }
}

/// Looks at the wall clock every minute, and notes when it shows a time for the first time that is named, or has skipped one.
fn watch(fields: &Fields, zone: Zone, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    let show = |now: DateTime<Utc>| zone.0.from_utc_datetime(&now.naive_utc()).naive_local();
    // Long enough before that no clock is put back across it.
    let mut now = from - TimeDelta::days(2);
    let mut latest = show(now);
    let mut seen = Vec::new();
    while now < until {
        now += minute;
        let shown = show(now);
        let mut named = false;
        while latest < shown {
            latest += minute;
            named |= fields.names(latest);
        }
        if named && now > from {
            seen.push(now);
        }
    }
    seen
}

fn occurrences(fields: &Fields, zone: Zone, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let expression = CronExpression::new(&fields.text()).unwrap();
    let mut at = from;
    let mut found = Vec::new();
    while let Some(next) = expression.next(zone, at).filter(|next| *next <= until) {
        assert!(next > at);
        found.push(next);
        at = next;
    }
    found
}

fn civil(year: i32) -> NaiveDateTime {
    chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap().into()
}

fn utc(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}

fn values(range: std::ops::Range<u32>, most: usize) -> BoxedStrategy<Option<Vec<u32>>> {
    let some = proptest::collection::btree_set(range, 1..=most)
        .prop_map(|values| Some(values.into_iter().collect()));
    prop_oneof![Just(None), some].boxed()
}

fn fields() -> BoxedStrategy<Fields> {
    let minutes = prop_oneof![
        4 => values(0..60, 3),
        1 => Just(Some(vec![0, 15, 30, 45])),
    ];
    // Clocks change at night.
    let hours = prop_oneof![values(0..24, 4), values(0..4, 3)];
    let days = prop_oneof![3 => Just(None), 1 => values(1..29, 4)];
    let weekdays = prop_oneof![3 => Just(None), 1 => values(0..7, 3)];
    (minutes, hours, days, weekdays)
        .prop_map(|(minutes, hours, days, weekdays)| Fields {
            minutes,
            hours,
            days,
            months: None,
            weekdays,
        })
        .boxed()
}

/// A moment near a change of the clocks, where the zone has one within some years.
fn near_a_change() -> BoxedStrategy<(Zone, DateTime<Utc>)> {
    (0..ZONES.len(), 1990..2030_i32, 0..365_i64, -2000..2000_i64)
        .prop_map(|(zone, year, day, off)| {
            let zone = Zone::new(ZONES[zone]).unwrap();
            let offset = |at: DateTime<Utc>| zone.0.offset_from_utc_datetime(&at.naive_utc()).fix();
            let mut at = civil(year).and_utc() + TimeDelta::days(day);
            for _ in 0..400 {
                let next = at + TimeDelta::days(1);
                if offset(next) != offset(at) {
                    break;
                }
                at = next;
            }
            (zone, at + TimeDelta::minutes(off))
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_change_of_clocks_loses_or_doubles_an_occurrence(fields in fields(), (zone, from) in near_a_change()) {
        let until = from + TimeDelta::days(3);
        prop_assert_eq!(
            occurrences(&fields, zone, from, until),
            watch(&fields, zone, from, until),
            "{} in {} from {}", fields.text(), zone, from
        );
    }

    /// Also without a change of clocks, over weeks, with months.
    #[test]
    fn ordinary_days(fields in fields(), months in values(1..13, 3), zone in 0..ZONES.len(), minutes in 0..15_000_000_i64) {
        let fields = Fields { months, ..fields };
        let from = civil(2001).and_utc() + TimeDelta::minutes(minutes);
        let until = from + TimeDelta::days(20);
        let zone = Zone::new(ZONES[zone]).unwrap();
        prop_assert_eq!(occurrences(&fields, zone, from, until), watch(&fields, zone, from, until));
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(text in r"[0-9*/,\-#LW?@+ a-zA-Z\t]{0,40}|\PC{0,60}|.{0,200}") {
        match CronExpression::new(&text) {
            Ok(expression) => {
                let from = civil(2024).and_utc();
                let next = expression.next(Zone::new("Europe/Berlin").unwrap(), from);
                prop_assert!(next.is_some_and(|next| next > from));
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    #[test]
    fn five_fields_of_pieces_never_panic(fields in proptest::collection::vec("[*?]|[0-9]{1,3}|[0-9]{1,2}-[0-9]{1,2}(/[0-9]{1,2})?|[*]/[0-9]{1,3}|L|[0-9]{1,2}[LW]|[0-9]#[0-9]|\\+[0-9]|(MON|JAN)-(SUN|DEC)|[0-9]{1,2},[0-9]{1,2}", 4..7)) {
        if let Ok(expression) = CronExpression::new(&fields.join(" ")) {
            let from = civil(2024).and_utc();
            prop_assert!(expression.next(Zone::new("Pacific/Apia").unwrap(), from).is_some());
            let json = serde_json::to_string(&expression).unwrap();
            prop_assert_eq!(serde_json::from_str::<CronExpression>(&json).unwrap(), expression);
        }
    }
}

/// The policy, case by case: expression, zone, from, and the occurrences after it.
#[test]
fn where_clocks_change() {
    let cases: [(&str, &str, &str, &[&str]); 9] = [
        // Skipped: once, as soon as it is skipped.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            &["2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        (
            "0,15,30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00",
            &["2026-03-29T01:00", "2026-03-30T00:00"],
        ),
        // Skipped, together with the time to which the clocks skip: once.
        (
            "30 2,3 * * *",
            "America/New_York",
            "2026-03-08T05:00",
            &["2026-03-08T07:00", "2026-03-08T07:30"],
        ),
        (
            "0 2,3 * * *",
            "America/New_York",
            "2026-03-08T05:00",
            &["2026-03-08T07:00", "2026-03-09T06:00"],
        ),
        // Twice: the first time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            &["2026-10-25T00:30", "2026-10-26T01:30"],
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00",
            &["2026-10-25T02:00", "2026-10-25T03:00"],
        ),
        // From within the second pass.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T01:10",
            &["2026-10-26T01:30"],
        ),
        // Half an hour.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00",
            &["2026-04-04T14:45", "2026-04-05T15:15"],
        ),
        // A whole day that was never there.
        (
            "0 12 30 12 *",
            "Pacific/Apia",
            "2011-12-29T00:00",
            &["2011-12-30T10:00", "2012-12-29T22:00"],
        ),
    ];
    for (expression, zone, from, want) in cases {
        let parsed = CronExpression::new(expression).unwrap();
        let zone = Zone::new(zone).unwrap();
        let mut at = utc(from);
        for want in want {
            at = parsed.next(zone, at).unwrap();
            assert_eq!(at, utc(want), "{expression} in {zone} after {from}");
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (text, want) in [
        ("", "it is empty"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("61 * * * *", "out of bounds"),
        ("*/0 * * * *", "zero"),
        ("* * * * ß", "the character 'ß'"),
        ("0 0 30 2 *", "never happens"),
        ("0 0 31 4,6,9,11 *", "never happens"),
        (&"1,".repeat(100), "longer than 128 bytes"),
    ] {
        let error = CronExpression::new(text).unwrap_err().to_string();
        assert!(error.contains(want), "{text:?}: {error}");
    }
    for name in ["", "Mars/Olympus", "europe/berlin\n", "../../etc/passwd"] {
        assert!(
            matches!(Zone::new(name), Err(InvalidSchedule::Zone(_))),
            "{name:?}"
        );
    }
}

#[test]
fn leap_days_come() {
    let expression = CronExpression::new("0 0 29 2 *").unwrap();
    let utc_zone = Zone::new("UTC").unwrap();
    assert_eq!(
        expression.next(utc_zone, utc("2097-01-01T00:00")),
        Some(utc("2104-02-29T00:00"))
    );
}
