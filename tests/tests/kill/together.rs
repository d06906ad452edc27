//! Two workers at once.

use usersync_testkit::generate::SplitMix64;

use crate::base::Base;
use crate::inspect::{Late, Lines, difference, dump, inspect, open_host};
use crate::process::Worker;
use crate::scene::WEEKS;
use crate::tap::BUSY;
use crate::{first_seed, rounds};

/// How many rounds share their undisturbed weeks.
const SHARED: u64 = 8;

/// What a worker comes to while it has a lease.
const LEASED: [&str; 16] = [
    "confirmation.after",
    "confirmation.before",
    "cursor.after",
    "cursor.before",
    "delivery.before",
    "effect.after",
    "effect.before",
    "intents.after",
    "intents.before",
    "lease.after",
    "notice.after",
    "notice.before",
    "opening.after",
    "opening.before",
    "renewal.after",
    "report.before",
];

/// Stopped for so long that another one takes the work over and ends it, a worker that goes on writes nothing more.
#[test]
fn promise_17_a_worker_stopped_past_its_lease_writes_nothing_more() {
    for (seed, week) in [(first_seed(), 0), (first_seed() + 1, 2)] {
        let base = Base::new(seed);
        let mut rng = SplitMix64::keyed(seed, 17);
        for name in LEASED {
            let first_run = base
                .passed(week)
                .iter()
                .take_while(|point| *point != "week.before");
            let first_run =
                first_run.take_while(|point| *point != "release.before" || !name.starts_with("lease"));
            let times = first_run
                .filter(|point| *point == name)
                .count()
                .min(base.times(week, name));
            if times == 0 {
                assert_ne!(week, 0, "{name} is never passed");
                continue;
            }
            // A second run in the week has nothing to do, and a worker that does one only does not come to it.
            let nth = match name {
                "report.before" | "lease.after" => 1,
                _ => 1 + rng.index(times),
            };
            let stop = format!("{name}:{nth}");
            println!("seed {seed}, week {week}, stopped at {stop} of {times}");
            let folder = base.before(week);
            let mut stopped = Worker::start(&folder, seed, week + 1, "once", Some(&stop));
            assert!(stopped.waits());
            stopped.stop();
            let mut other = Worker::start(&folder, seed, week + 1, "retry", None);
            assert!(other.comes_to(BUSY), "the other one does not wait for the lease");
            folder.let_leases_expire();
            let (_, end) = other.end();
            assert_eq!(end, "end: done");
            let left = dump(&folder, seed);
            stopped.go_on();
            let (_, end) = stopped.end();
            // The run was over, and only telling people of it was not.
            let is_over = name.starts_with("delivery") || name.starts_with("notice");
            assert_eq!(end, if is_over { "end: done" } else { "end: lost" });
            let written = difference(&left, &dump(&folder, seed));
            assert!(written.is_empty(), "it wrote to the store:\n{written}");
            base.check(&folder, week + 1, Late::Stopped, &Lines::new());
        }
    }
}

/// A worker goes on past its lease after another one took the work over and before that one has its effects: whoever is first, each
/// effect takes place once, and is known to be ours.
#[test]
fn promise_17_late_effects_come_in_between() {
    for (seed, week) in [(first_seed(), 2), (first_seed() + 1, 0)] {
        let base = Base::new(seed);
        let mut rng = SplitMix64::keyed(seed, 1717);
        for take_over in [
            "intents.after:1",
            "effect.before:1",
            "effect.after:1",
            "confirmation.before:1",
        ] {
            let times = base.times(week, "effect.before");
            let stop = format!("effect.before:{}", 1 + rng.index(times));
            println!("seed {seed}, week {week}, stopped at {stop} of {times}, goes on at {take_over}");
            let folder = base.before(week);
            let mut stopped = Worker::start(&folder, seed, week + 1, "once", Some(&stop));
            assert!(stopped.waits());
            stopped.stop();
            folder.let_leases_expire();
            let mut other = Worker::start(&folder, seed, week + 1, "retry", Some(take_over));
            assert!(other.waits());
            stopped.go_on();
            assert_eq!(stopped.end().1, "end: lost");
            other.go_on();
            assert_eq!(other.end().1, "end: done");
            base.check(&folder, week + 1, Late::Between, &Lines::new());
        }
    }
}

/// Weeks later, when the other worker has taken back what the stopped one was about to do, it still comes to nothing: the target
/// remembers the operations, which the other one did under the same names.
#[test]
fn promise_17_late_effects_come_to_nothing_weeks_later() {
    let base = Base::new(2 + 4 * first_seed());
    assert_eq!(late_effects(&base, 0, WEEKS + 1, Arrives::Nothing), 0);
}

/// Where the target does not remember operations, what a stopped worker adds weeks later stays: "absent" holds again once somebody was
/// added and removed. It is nobody's, as if a person had added it, and nothing else changes.
#[test]
fn late_additions_to_a_forgetful_target_stay_and_are_nobodys() {
    let base = Base::new(4 * first_seed());
    let left = late_effects(&base, 0, WEEKS + 1, Arrives::Stays);
    assert!(left > 0, "nothing came late");
}

/// The other worker finds another week, lets go of what was begun and is not wanted any more, and so cannot know it when it arrives.
#[test]
fn late_additions_that_nobody_wants_any_more_stay_and_are_nobodys() {
    let base = Base::new(2 + 4 * first_seed());
    let left = late_effects(&base, 1, WEEKS + 1, Arrives::Stays);
    assert!(left > 0, "nothing came late");
}

/// What may be left of late effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrives {
    /// Nothing at all.
    Nothing,
    /// Members whom no row knows.
    Stays,
}

/// A worker is stopped before some of the effects of the first week. Another one goes on, `skipped` weeks later, and does the rest of all
/// `weeks`. The stopped one goes on, and changes nothing but what it may. Answers how many members it left.
fn late_effects(base: &Base, skipped: u32, weeks: usize, arrives: Arrives) -> usize {
    let seed = base.seed;
    let mut left_over = 0;
    let times = base.times(0, "effect.before");
    for nth in (1..=times).step_by(times.div_ceil(6)) {
        let stop = format!("effect.before:{nth}");
        println!("seed {seed}, stopped at {stop} of {times}");
        let folder = base.before(0);
        let mut stopped = Worker::start(&folder, seed, weeks, "once", Some(&stop));
        assert!(stopped.waits());
        stopped.stop();
        folder.let_leases_expire();
        for week in 0..skipped {
            open_host(&folder).end_week(week).unwrap();
        }
        let other = Worker::start(&folder, seed, weeks, "retry", None);
        assert_eq!(other.end().1, "end: done");
        // What was let go of may be wanted again later, and goes under another name then, while the first attempt is still begun.
        let watched = match arrives {
            Arrives::Nothing => Late::Nobody,
            Arrives::Stays => Late::Between,
        };
        let left = inspect(&folder, seed, watched);
        stopped.go_on();
        assert_eq!(stopped.end().1, "end: lost");
        let late = difference(&left, &inspect(&folder, seed, Late::Between));
        let may_stay = |line: &&str| {
            let (how, what) = line.split_once(": ").unwrap();
            arrives == Arrives::Stays
                && (what.starts_with("effects ") || (how == "surplus" && what.starts_with("member ")))
        };
        let wrong: Vec<&str> = late.lines().filter(|line| !may_stay(line)).collect();
        assert!(wrong.is_empty(), "late:\n{late}");
        left_over += late
            .lines()
            .filter(|line| line.starts_with("surplus: member "))
            .count();
        if skipped == 0 && arrives == Arrives::Nothing {
            base.check(&folder, weeks, Late::Stopped, &Lines::new());
        }
    }
    left_over
}

/// Two workers that start at the same time take turns, also when one of them is killed.
#[test]
fn promise_17_two_workers_take_turns() {
    let mut base = None;
    for round in 0..rounds(12) {
        if round % SHARED == 0 {
            base = Some(Base::new(first_seed() + round / SHARED));
        }
        let base = base.as_ref().unwrap();
        let mut rng = SplitMix64::keyed(base.seed, 1700 + round % SHARED);
        let week = rng.index(WEEKS);
        let folder = base.before(week);
        let points = base.passed(week).len();
        let dies = rng.chance(500);
        let nth = rng.index(points);
        println!(
            "seed {}, round {}, week {week}, dies: {dies} at {nth}",
            base.seed,
            round % SHARED
        );
        let mut one = Worker::start(&folder, base.seed, week + 1, "retry", None);
        let two = Worker::start(&folder, base.seed, week + 1, "retry", None);
        if dies {
            one.says(nth);
            let _ = one.kill();
            folder.let_leases_expire();
        } else {
            assert_eq!(one.end().1, "end: done");
        }
        assert_eq!(two.end().1, "end: done");
        base.check(&folder, week + 1, Late::Nobody, &Lines::new());
    }
}
