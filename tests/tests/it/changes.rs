//! Reads of changes that end early.

use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::reconcile::Mode;
use usersync_tests::{World, free_policy};

#[test]
fn promise_09_no_addition_rests_on_the_missing_part_of_a_read_of_changes() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .container("team", "")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.depart("bob");
    world.select("team", "staff");
    world
        .faults
        .inject(FaultRule::new(Fault::Truncated { shown: 0 }).on(CallKind::Directory));
    let _ = world.run("sync");
    assert_eq!(world.members("team"), "", "bob left before this run");
}
