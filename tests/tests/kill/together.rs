//! Two workers at once.

use usersync_testkit::generate::SplitMix64;

use crate::base::Base;
use crate::inspect::{Late, Lines, difference, dump};
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
