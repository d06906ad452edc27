//! Workers that are killed.

use usersync::model::{ContainerRef, MemberFacets, Origin, PrincipalRef};
use usersync_testkit::generate::SplitMix64;

use crate::base::Base;
use crate::inspect::{Late, Lines, difference, inspect, member_line, open_host};
use crate::process::{Folder, Worker};
use crate::scene::{Scene, WEEKS, job, source};
use crate::{first_seed, rounds};

/// How many rounds share their undisturbed weeks.
const SHARED: u64 = 10;

/// What members have whom people add.
const PLAIN: &str = r#"{"role":"member","state":"active"}"#;

/// Kills a worker once it waits at `stop`; whether it ever came there. Leases are over after that.
fn kill_at(base: &Base, folder: &Folder, weeks: usize, stop: &str) -> bool {
    let mut worker = Worker::start(folder, base.seed, weeks, "settle", Some(stop));
    let was_killed = worker.waits() && worker.kill();
    folder.let_leases_expire();
    was_killed
}

/// Kills a worker while it works, soon after it passed so many points. Leases are over after that.
fn kill_after(base: &Base, folder: &Folder, weeks: usize, points: u64) -> bool {
    let mut worker = Worker::start(folder, base.seed, weeks, "settle", None);
    worker.says(points as usize);
    let was_killed = worker.kill();
    folder.let_leases_expire();
    was_killed
}

/// A person adds somebody whom nobody selects, to a container that nothing else depends on.
fn add_stranger(base: &Base, folder: &Folder, week: usize, rng: &mut SplitMix64) -> Lines {
    let scene = Scene::new(base.seed);
    scene.set_week(week);
    let containers: Vec<_> = scene.unread_containers().into_iter().collect();
    let container = rng
        .pick(&containers)
        .expect("not all depend on each other")
        .clone();
    let guest = PrincipalRef::new(source(), format!("guest-{}", rng.below(1000)).parse().unwrap());
    let mut strangers = scene.everybody();
    strangers.retain(|who| {
        let key = (container.object.to_string(), who.object.to_string());
        !base.touched.contains(&key)
    });
    let who = match rng.chance(500) {
        true => rng.pick(&strangers).unwrap_or(&guest),
        false => &guest,
    };
    add_by_hand(folder, &container, who)
}

/// What it looks like afterwards.
fn add_by_hand(folder: &Folder, container: &ContainerRef, who: &PrincipalRef) -> Lines {
    let host = open_host(folder);
    host.change_by_hand(&container.object, who, Some(&MemberFacets::default()))
        .unwrap();
    let (system, object) = (who.system.as_str(), who.object.as_str());
    Lines::from([member_line(container.object.as_str(), system, object, PLAIN)])
}

/// Killed the first time, the last time and some time between at everything that has a name.
#[test]
fn promise_14_killed_at_a_named_point() {
    for (seed, week) in [(first_seed(), 0), (first_seed() + 1, 2)] {
        let base = Base::new(seed);
        let mut rng = SplitMix64::keyed(seed, 14);
        for name in base.names(week) {
            let times = base.times(week, name);
            let mut which = vec![1, times, 1 + rng.index(times)];
            which.sort_unstable();
            which.dedup();
            for nth in which {
                let stop = format!("{name}:{nth}");
                println!("seed {seed}, week {week}, killed at {stop} of {times}");
                let folder = base.before(week);
                assert!(kill_at(&base, &folder, week + 1, &stop));
                base.resume(&folder, week + 1);
                base.check(&folder, week + 1, Late::Nobody, &Lines::new());
            }
        }
    }
}

/// Killed anywhere, standing or running, once or again and again, with people at work meanwhile.
#[test]
fn promise_14_killed_anywhere_and_again() {
    let (mut kills, rounds) = (0, rounds(24));
    let mut base = None;
    for round in 0..rounds {
        if round % SHARED == 0 {
            base = Some(Base::new(first_seed() + round / SHARED));
        }
        let base = base.as_ref().unwrap();
        let mut rng = SplitMix64::keyed(base.seed, round % SHARED);
        let week = rng.index(WEEKS);
        let folder = base.before(week);
        let mut by_hand = Lines::new();
        let told = format!("seed {}, round {}", base.seed, round % SHARED);
        println!("{told}, week {week}");
        loop {
            let points = base.passed(week).len() as u64;
            let point = 1 + rng.below(points);
            let stands = rng.chance(500);
            let was_killed = match stands {
                true => kill_at(base, &folder, week + 1, &point.to_string()),
                false => kill_after(base, &folder, week + 1, point),
            };
            kills += u64::from(was_killed);
            println!("  killed at {point} of {points}, standing: {stands}, in time: {was_killed}");
            if rng.chance(300) {
                by_hand.extend(add_stranger(base, &folder, week, &mut rng));
            }
            if rng.chance(600) {
                break;
            }
        }
        base.resume(&folder, week + 1);
        base.check(&folder, week + 1, Late::Nobody, &by_hand);
    }
    assert!(kills >= rounds / 2, "{kills} kills in {rounds} rounds");
    println!("{kills} kills in {rounds} rounds");
}

/// What is of a week that has passed when somebody comes to go on with it: what was begun and is not wanted any more is let go of.
#[test]
fn promise_14_killed_and_the_world_moved_on() {
    let compared = |lines: &Lines| -> Lines {
        let kinds = ["member", "ledger", "seat", "cursor", "departure"];
        let is_compared = |line: &&String| kinds.iter().any(|kind| line.starts_with(kind));
        lines.iter().filter(is_compared).cloned().collect()
    };
    let mut base = None;
    for round in 0..rounds(6) {
        if round % SHARED == 0 {
            base = Some(Base::new(first_seed() + round / SHARED));
        }
        let base = base.as_ref().unwrap();
        let seed = base.seed;
        let mut rng = SplitMix64::keyed(seed, 1400 + round % SHARED);
        let week = rng.index(WEEKS);
        let begun = base.times(week, "intents.after");
        let stop = format!("intents.after:{}", 1 + rng.index(begun));
        println!("seed {seed}, round {round}, week {week}, killed at {stop} of {begun}");
        let folder = base.before(week);
        assert!(kill_at(base, &folder, week + 1, &stop));
        open_host(&folder).end_week(week as u32).unwrap();
        base.resume(&folder, week + 2);
        let found = inspect(&folder, seed, Late::Nobody);
        let difference = difference(&compared(base.end(week + 2)), &compared(&found));
        assert!(difference.is_empty(), "{difference}");
    }
}

/// Killed with the answer lost, again before the answer was asked for again, and again: what was begun keeps its name, has its effect
/// once, and nothing is added twice.
#[test]
fn promise_15_an_addition_has_its_effect_once_whoever_dies() {
    let seed = first_seed();
    let base = Base::new(seed);
    let mut rng = SplitMix64::keyed(seed, 15);
    for round in 0..rounds(4) {
        let nth = 1 + rng.index(base.times(0, "effect.after"));
        println!("seed {seed}, round {round}, killed at effect {nth}");
        let folder = base.before(0);
        assert!(kill_at(&base, &folder, 1, &format!("effect.after:{nth}")));
        for stop in [
            "confirmation.before:1",
            "intents.after:1",
            "effect.before:2",
            "effect.after:2",
        ] {
            // The last ones may have nothing left to do.
            let _ = kill_at(&base, &folder, 1, stop);
        }
        base.resume(&folder, 1);
        base.check(&folder, 1, Late::Nobody, &Lines::new());
    }
}

/// Whom the dead worker added is ours, and goes once nobody is selected; whom a person added before the next run stays for ever.
#[test]
fn promise_16_what_the_dead_worker_added_is_ours_and_what_a_person_added_is_not() {
    let all = WEEKS + 1;
    for round in 0..rounds(3) {
        let seed = first_seed() + round;
        let base = Base::new(seed);
        let mut rng = SplitMix64::keyed(seed, 16);
        let folder = base.before(0);
        let nth = 1 + rng.index(base.times(0, "effect.after"));
        println!("seed {seed}, killed at effect {nth}");
        assert!(kill_at(&base, &folder, 1, &format!("effect.after:{nth}")));
        let by_hand = add_stranger(&base, &folder, 0, &mut rng);
        base.resume(&folder, 1);
        base.check(&folder, 1, Late::Nobody, &by_hand);
        base.resume(&folder, all);
        base.check(&folder, all, Late::Nobody, &by_hand);
        assert!(!base.end(all).iter().any(|line| line.starts_with("member")));
    }
}

/// Whom a person adds before the worker does is the person's, although selected: whether the worker is dead by then, or at it.
#[test]
fn promise_16_what_a_person_was_first_to_add_is_not_ours() {
    for (seed, dies) in [(first_seed(), true), (first_seed() + 1, false)] {
        let base = Base::new(seed);
        let mut rng = SplitMix64::keyed(seed, 17);
        let scene = Scene::new(seed);
        let unread = scene.unread_containers();
        let everybody = scene.everybody();
        let wanted: Vec<_> = unread
            .iter()
            .flat_map(|container| everybody.iter().map(move |who| (container, who)))
            .filter(|(container, who)| {
                let line = member_line(container.object.as_str(), "directory", who.object.as_str(), PLAIN);
                base.end(1).contains(&line)
            })
            .collect();
        let (container, who) = rng.pick(&wanted).copied().expect("somebody is selected");
        println!("seed {seed}, {who} in {container}, dies: {dies}");
        let folder = base.before(0);
        let mut worker = Worker::start(&folder, seed, 1, "settle", Some("intents.before:1"));
        assert!(worker.waits());
        add_by_hand(&folder, container, who);
        if dies {
            assert!(worker.kill());
        } else {
            worker.go_on();
            assert_eq!(worker.end().1, "end: done");
        }
        base.resume(&folder, 1);
        let found = inspect(&folder, seed, Late::Nobody);
        let row = format!(
            "ledger {container} {who}: LedgerRow {{ origin: {:?}",
            Origin::Foreign
        );
        let is_foreign = |line: &&String| line.starts_with(&row) && line.contains(job().as_str());
        assert_eq!(found.iter().filter(is_foreign).count(), 1, "{row}");
        base.resume(&folder, WEEKS + 1);
        let found = inspect(&folder, seed, Late::Nobody);
        let left: Vec<_> = found.iter().filter(|line| line.starts_with("member")).collect();
        let place = format!("member {} {who}", container.object);
        assert!(left.len() == 1 && left[0].starts_with(&place), "{left:?}");
    }
}
