//! Departures are on record for as long as something depends on them.

use std::time::Duration;

use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::PartialKind;
use usersync::reconcile::{HoldCause, Mode, Policy};
use usersync::store::Table;
use usersync_tests::{Snapshot, World, container, free_policy};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn policy(mode: Mode, grace_hours: Option<u32>) -> Policy {
    Policy {
        grace_hours,
        ..free_policy(mode)
    }
}

/// Bob and Cleo have left, and two days of grace go on.
fn departed(mode: Mode) -> World {
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .group("few", "bob")
        .container("album", "few")
        .container("team", "staff")
        .job("sync", policy(mode, Some(48)))
        .build();
    let _ = world.settle("sync");
    world.depart("bob");
    world.depart("cleo");
    let _ = world.settle("sync");
    assert_eq!(recorded(&world), "bob cleo");
    world
}

/// Whose departures are on record.
fn recorded(world: &World) -> String {
    let departures = world.end().departures;
    let names = departures.keys().filter_map(|key| key.parts().last());
    names.collect::<Vec<_>>().join(" ")
}

/// Everything, but how the last run went.
fn but_reports(world: &World) -> Snapshot {
    let mut snapshot = world.snapshot();
    snapshot.store.values.remove(&Table::Run);
    snapshot
}

/// The run that takes out the last membership forgets the departure, and the next one has nothing to write.
#[test]
fn who_was_taken_out_everywhere_is_forgotten_by_the_same_run() {
    let world = departed(Mode::Managed);
    world.clock.advance(DAY);
    let _ = world.settle("sync");
    assert_eq!(recorded(&world), "bob cleo");
    world.clock.advance(DAY);
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!((&*world.members("team"), &*world.members("album")), ("ada", ""));
    assert_eq!(recorded(&world), "");
    let before = but_reports(&world);
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    assert!(but_reports(&world) == before);
}

/// Where people were faster, the run has nothing but claims to give up.
#[test]
fn who_was_taken_out_by_people_is_forgotten() {
    let world = departed(Mode::Managed);
    world.clock.advance(DAY * 2);
    for (name, who) in [("team", "bob"), ("album", "bob"), ("team", "cleo")] {
        world.remove_by_hand(name, who);
    }
    assert!(world.run("sync").operations.is_empty());
    assert_eq!(recorded(&world), "");
}

#[test]
fn who_is_back_is_forgotten_alone() {
    let world = departed(Mode::Managed);
    world.join("staff", "bob");
    let _ = world.settle("sync");
    assert_eq!(recorded(&world), "cleo");
}

/// What a run did not look at, or could not do, may depend on it.
#[test]
fn a_run_that_does_not_know_forgets_nobody() {
    type Disturb = fn(&World);
    let table: [(&str, Disturb, RunRequest, &str); 5] = [
        (
            "one container only",
            |_| {},
            RunRequest::container(container("team")),
            "bob cleo",
        ),
        (
            "a partial list of containers",
            |w| {
                let (shown, kind) = (1, PartialKind::Limit);
                w.faults
                    .inject(FaultRule::new(Fault::Partial { shown, kind }).on(CallKind::Containers));
            },
            RunRequest::everything(),
            "bob cleo",
        ),
        (
            "a removal that fails",
            |w| {
                w.faults
                    .inject(FaultRule::new(Fault::Conflict).on(CallKind::Remove).once());
            },
            RunRequest::everything(),
            "bob cleo",
        ),
        (
            "a container that is not listed",
            |w| assert!(w.catalog.remove(&container("album")).is_some()),
            RunRequest::everything(),
            "bob",
        ),
        ("all is well", |_| {}, RunRequest::everything(), ""),
    ];
    for (what, disturb, request, expected) in table {
        let world = departed(Mode::Managed);
        world.clock.advance(DAY * 2);
        disturb(&world);
        let _ = world.try_run("sync", request).expect("the run comes to a report");
        assert_eq!(recorded(&world), expected, "with {what}");
        world.faults.heal();
        let album = usersync::model::Container::new(
            container("album"),
            usersync::model::ContainerKind::Team,
            "album",
            usersync_tests::all("few"),
        );
        world.catalog.put(album);
        let _ = world.settle("sync");
        assert_eq!(
            (&*recorded(&world), &*world.members("album")),
            ("", ""),
            "after {what}"
        );
    }
}

/// The clock was a year ahead when Bob was missed, and was set right since.
#[test]
fn a_clock_that_was_ahead_makes_no_grace_longer() {
    let year = DAY * 365;
    for days in [1, 2] {
        let mut world = World::builder()
            .group("staff", "ada bob cleo")
            .container("team", "staff")
            .job("sync", policy(Mode::Managed, Some(48)))
            .build();
        let right = world.clock.fork();
        let _ = world.settle("sync");
        world.clock.advance(year);
        world.depart("bob");
        let _ = world.settle("sync");
        assert_eq!(recorded(&world), "bob");
        world.clock = right;
        world.restart();
        let _ = world.settle("sync");
        assert_eq!(
            (&*world.members("team"), &*recorded(&world)),
            ("ada bob cleo", "bob")
        );
        // What is on record is the time by the clock that is right.
        world.restart();
        world.clock.advance(DAY * days);
        let _ = world.settle("sync");
        let expected = if days == 1 {
            ("ada bob cleo", "bob")
        } else {
            ("ada cleo", "")
        };
        assert_eq!(
            (&*world.members("team"), &*recorded(&world)),
            expected,
            "after {days} days"
        );
    }
}

/// Where nothing is taken away, the membership stays, and so does what is known of the departure.
#[test]
fn who_stays_a_member_stays_on_record() {
    let world = departed(Mode::AddOnly);
    world.clock.advance(DAY * 3);
    let _ = world.settle("sync");
    assert_eq!(
        (&*recorded(&world), &*world.members("album")),
        ("bob cleo", "bob")
    );
}

/// Without a grace nothing depends on departures; should there be one again, it begins anew.
#[test]
fn a_grace_that_was_abolished_leaves_nothing() {
    let world = departed(Mode::AddOnly);
    world.save(&World::new_job("sync", policy(Mode::AddOnly, None)));
    let _ = world.settle("sync");
    assert_eq!(recorded(&world), "");
    let before = but_reports(&world);
    let _ = world.settle("sync");
    assert!(but_reports(&world) == before);
}

/// Bob left, and his grace goes on; then nobody selects the album any more, and the directory cannot be read. That he is gone was seen
/// before, and no failed read takes it back.
#[test]
fn promise_09_a_failed_read_ends_no_grace() {
    let world = departed(Mode::Managed);
    world.select("album", "");
    world.hide_directory_once();
    let _ = world.run("sync");
    assert_eq!(world.members("album"), "bob", "the directory was not read");
    assert_eq!(recorded(&world), "bob cleo");
    let _ = world.run("sync");
    assert_eq!(world.members("album"), "bob", "the directory was read");
    world.clock.advance(DAY * 2);
    let _ = world.settle("sync");
    assert_eq!((&*world.members("album"), recorded(&world)), ("", String::new()));
}

/// What else the simulator found by the same seed: nobody has seen yet that Bob left when the directory cannot be read. A read that shows
/// that he left begins his grace, and one that shows him lets him go, so nobody knows until there is one.
#[test]
fn promise_09_a_failed_read_takes_nobody_out_who_may_be_in_grace() {
    for has_left in [true, false] {
        let world = World::builder()
            .group("staff", "ada bob")
            .container("album", "staff")
            .container("team", "staff")
            .job("sync", policy(Mode::Managed, Some(48)))
            .build();
        let _ = world.settle("sync");
        if has_left {
            world.depart("bob");
        }
        world.select("album", "");
        world.hide_directory_once();
        let report = world.run("sync");
        assert_eq!(world.members("album"), "ada bob", "the directory was not read");
        let plan = report.plan.expect("a plan");
        let mut holds = plan.sections().iter().flat_map(|section| &section.holds);
        assert!(holds.all(|hold| matches!(hold.cause, HoldCause::IncompleteSource(_))));
        assert_eq!(recorded(&world), "");
        let _ = world.run("sync");
        let (album, departed) = if has_left { ("bob", "bob") } else { ("", "") };
        assert_eq!((&*world.members("album"), &*recorded(&world)), (album, departed));
        world.clock.advance(DAY * 2);
        let _ = world.settle("sync");
        assert_eq!(world.members("album"), "", "with the end of the grace");
    }
}
