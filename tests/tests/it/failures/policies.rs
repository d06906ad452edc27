//! Settings that were changed, and what they would have removed.

use std::time::Duration;

use usersync::connector::{CallContext, Cursor, Directory, DirectoryCapabilities, ReadStream};
use usersync::engine::RunEnd;
use usersync::memory::MemoryDirectory;
use usersync::model::{Digest, DirectoryChange, SystemId};
use usersync::reconcile::{Mode, Policy};
use usersync_tests::{World, container};

use crate::failures::{findings, held, naive, run_reading, warnings};

/// A hundred people, all in one team.
fn hundred(policy: Policy) -> World {
    let everyone: Vec<String> = (0..100).map(|n| format!("p{n:02}")).collect();
    let world = World::builder()
        .group("staff", &everyone.join(" "))
        .container("team", "staff")
        .batch(50)
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    assert_eq!(size(&world), 100);
    world
}

fn size(world: &World) -> usize {
    world.presence()["team"].len()
}

/// What a narrower filter of the directory does: some people are not shown any more, and the read is complete.
fn hide(world: &World, numbers: std::ops::Range<u32>) {
    numbers.for_each(|n| world.depart(&format!("p{n:02}")));
}

fn show(world: &World, numbers: std::ops::Range<u32>) {
    numbers.for_each(|n| world.join("staff", &format!("p{n:02}")));
}

/// A directory that tells by which filter it is read.
#[derive(Debug)]
struct Filtered {
    inner: MemoryDirectory,
    filter: &'static str,
}

impl Directory for Filtered {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.inner.capabilities()
    }

    fn filter(&self) -> Option<Digest> {
        Some(Digest::of("filter", self.filter.as_bytes()))
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        self.inner.read(since, context)
    }
}

/// The filter is changed, and hides three people, of whom no guard would think anything. Nobody goes before somebody has looked.
#[test]
fn f06_another_filter_removes_nobody_before_a_person_has_seen_whom() {
    let world = hundred(Policy::default());
    let naive = world.fork();
    hide(&naive, 0..3);
    assert_eq!(naive::sync(&naive).removed, 3);

    let run = |filter| {
        let inner = world.directory.clone();
        run_reading(&world, Filtered { inner, filter })
    };
    // That it begins to tell is a change as any other; nothing waits.
    assert_eq!(run("everybody").end, RunEnd::InSync);
    hide(&world, 0..3);
    let report = run("narrower");
    assert_eq!((report.end, size(&world)), (RunEnd::Held, 100));
    assert_eq!(held(&report), ["policy_changed"].into());

    // It was a mistake.
    let before = size(&world);
    show(&world, 0..3);
    assert_eq!((run("everybody").end, size(&world)), (RunEnd::InSync, before));

    // Under a filter that stays, three who leave go.
    hide(&world, 0..3);
    assert_eq!((run("everybody").end, size(&world)), (RunEnd::Changed, 97));
}

/// A filter that hides 25 people at once is more than a run may take out; one that hides them by and by is more than a day may.
#[test]
fn f06_a_changed_filter_that_nobody_tells_of_removes_no_more_than_the_guards_allow() {
    let world = hundred(Policy::default());
    let naive = world.fork();
    hide(&naive, 0..25);
    assert_eq!(naive::sync(&naive).removed, 25);

    let at_once = world.fork();
    hide(&at_once, 0..25);
    let report = at_once.run("sync");
    assert_eq!((report.end, size(&at_once)), (RunEnd::Held, 100));
    assert_eq!(held(&report), ["run_limit"].into());
    show(&at_once, 0..25);
    assert_eq!((at_once.run("sync").end, size(&at_once)), (RunEnd::InSync, 100));

    let by_and_by = world.fork();
    let mut causes = Vec::new();
    for step in 0..4 {
        by_and_by.clock.advance(Duration::from_secs(4 * 3600));
        hide(&by_and_by, step * 8..step * 8 + 8);
        causes.push(held(&by_and_by.run("sync")).into_iter().collect::<Vec<_>>());
    }
    assert_eq!(
        causes,
        [vec![], vec![], vec!["window_limit"], vec!["window_limit"]]
    );
    assert_eq!(size(&by_and_by), 84, "the first two times were below every limit");
    show(&by_and_by, 0..32);
    assert_eq!(
        (by_and_by.run("sync").end, size(&by_and_by)),
        (RunEnd::Changed, 100)
    );
}

/// Where leavers have a grace period, people whom a filter hides keep what they have until it is over.
#[test]
fn f06_whom_a_changed_filter_hides_keeps_everything_for_the_grace_period() {
    let world = hundred(Policy {
        grace_hours: Some(72),
        ..Policy::default()
    });
    let before = world.end();
    hide(&world, 0..25);
    for _ in 0..2 {
        let report = world.run("sync");
        assert!(report.operations.is_empty());
        assert_eq!(findings(&report), ["in_grace"].into());
        world.clock.advance(Duration::from_secs(24 * 3600));
    }
    show(&world, 0..25);
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    assert_eq!(world.end(), before, "as if nothing had happened");
}

/// Somebody sets the job to remove whoever is not in the directory. The guests who are there by hand are a few, so that no guard
/// minds, but nobody meant them: the first plan under another policy removes nobody.
#[test]
fn f07_another_policy_removes_nobody_before_a_person_has_seen_whom() {
    let world = hundred(Policy::new(Mode::Managed));
    for guest in ["guest1", "guest2"] {
        world.add_by_hand("team", guest);
    }
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    let naive = world.fork();
    assert_eq!(naive::sync(&naive).removed, 2);

    world.save(&World::new_job("sync", Policy::new(Mode::Mirror)));
    let report = world.run("sync");
    assert_eq!((report.end, size(&world)), (RunEnd::Held, 102));
    assert_eq!(held(&report), ["policy_changed"].into());
    let seen = report
        .plan
        .and_then(|plan| plan.held_digest())
        .expect("something waits");

    // It was a mistake: what was seen cannot be approved any more, and nothing has happened.
    let regretted = world.fork();
    regretted.save(&World::new_job("sync", Policy::new(Mode::Managed)));
    regretted.approve("sync", seen);
    assert_eq!(
        (regretted.run("sync").end, size(&regretted)),
        (RunEnd::InSync, 102)
    );

    // It was meant.
    world.approve("sync", seen);
    assert_eq!((world.run("sync").end, size(&world)), (RunEnd::Changed, 100));
}

/// Somebody empties the selection of a team, or picks a group that has not been filled yet.
#[test]
fn f07_a_selection_that_stands_for_nobody_empties_nothing_unasked() {
    for picks in ["", "new"] {
        let world = hundred(Policy::default());
        world.put_group("new");
        world.select("team", picks);
        let naive = world.fork();
        assert_eq!(naive::sync(&naive).removed, 100, "{picks:?}");

        let report = world.run("sync");
        assert_eq!((report.end, size(&world)), (RunEnd::Held, 100), "{picks:?}");
        assert_eq!(held(&report), ["container_emptied"].into(), "{picks:?}");
        world.select("team", "staff");
        assert_eq!((world.run("sync").end, size(&world)), (RunEnd::InSync, 100));
    }
}

/// A team that is not configured any more is not a team without members.
#[test]
fn f07_a_container_that_is_listed_no_more_is_left_as_it_is() {
    let world = hundred(Policy::default());
    world.catalog.remove(&container("team"));
    let naive = world.fork();
    assert_eq!(naive::sync(&naive).removed, 100);

    let report = world.run("sync");
    assert_eq!(warnings(&report), ["unlisted_container"].into());
    assert_eq!((report.operations.len(), size(&world)), (0, 100));
}
