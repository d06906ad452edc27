//! F30: the days on which clocks are changed.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

use usersync::connector::Clock;
use usersync::engine::{CronExpression, Interval, Schedule, Zone};
use usersync::reconcile::Mode;
use usersync_tests::{World, free_policy};

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn at(expression: &str, zone: &str) -> Schedule {
    let expression = CronExpression::new(expression).expect("an expression");
    Schedule::cron(expression, Zone::new(zone).expect("a zone"))
}

/// The minutes in which a job with this schedule ran, of so many from `start` on, as seconds since then.
fn ran(schedule: Schedule, start: &str, minutes: u64) -> Vec<i64> {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .build();
    let start = utc(start);
    world.clock.set(start);
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(schedule));
    // A schedule by intervals begins at once.
    let _ = world.run_due();
    let mut ran = Vec::new();
    for _ in 0..minutes {
        world.clock.advance(Duration::from_secs(60));
        if !world.run_due().is_empty() {
            ran.push((world.clock.now() - start).num_minutes());
        }
    }
    ran
}

/// By hand: every minute, whether the wall shows the time. `change` is when its distance from UTC becomes another one, in hours.
fn by_the_wall(
    hour: i64,
    minute: i64,
    start: &str,
    minutes: u64,
    (change, before, after): (&str, i64, i64),
) -> usize {
    let minutes = i64::try_from(minutes).expect("few");
    let shows = |n: &i64| {
        let now = utc(start) + TimeDelta::minutes(*n);
        let ahead = if now < utc(change) { before } else { after };
        let wall = (now.timestamp() + ahead * 3600).rem_euclid(86_400);
        wall / 60 == hour * 60 + minute
    };
    (1..=minutes).filter(shows).count()
}

/// kelektiv/node-cron, rundeck, kestra, cron-plus: never in spring, twice in autumn.
#[test]
fn f30_a_time_of_the_night_fires_once_on_the_days_on_which_clocks_change() {
    for (what, zone, start, change, naive, ours) in [
        (
            "Berlin loses 02:30",
            "Europe/Berlin",
            "2026-03-28T23:00:00Z",
            ("2026-03-29T01:00:00Z", 1, 2),
            0,
            120,
        ),
        (
            "Berlin has 02:30 twice",
            "Europe/Berlin",
            "2026-10-24T22:00:00Z",
            ("2026-10-25T01:00:00Z", 2, 1),
            2,
            150,
        ),
        (
            "New York loses 02:30",
            "America/New_York",
            "2026-03-08T05:00:00Z",
            ("2026-03-08T07:00:00Z", -5, -4),
            0,
            120,
        ),
        (
            "an ordinary day",
            "Europe/Berlin",
            "2026-01-10T23:00:00Z",
            ("2026-03-29T01:00:00Z", 1, 2),
            1,
            150,
        ),
    ] {
        let minutes = 8 * 60;
        assert_eq!(
            by_the_wall(2, 30, start, minutes, change),
            naive,
            "{what}, by hand"
        );
        assert_eq!(ran(at("30 2 * * *", zone), start, minutes), [ours], "{what}");
    }
}

/// vatesfr/xen-orchestra: at one and at three for once, since the hour between was another one.
#[test]
fn f30_every_four_hours_is_four_hours_also_while_clocks_change() {
    let every = || Schedule::every(Interval::new(Duration::from_secs(4 * 3600)).expect("an interval"));
    for start in ["2026-03-28T23:00:00Z", "2026-10-24T22:00:00Z"] {
        assert_eq!(ran(every(), start, 17 * 60), [240, 480, 720, 960], "{start}");
    }
}
