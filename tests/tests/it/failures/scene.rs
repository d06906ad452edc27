//! What many scenarios begin with.

use std::collections::BTreeSet;

use usersync::model::PrincipalRef;
use usersync::reconcile::Mode;
use usersync_tests::{World, free_policy, user};

/// People by their names, separated by blanks.
pub(crate) fn people(names: &str) -> BTreeSet<PrincipalRef> {
    names.split_whitespace().map(user).collect()
}

/// The names of so many people, `u000` and so on, separated by blanks.
pub(crate) fn everybody(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|n| format!("u{n:03}")).collect();
    names.join(" ")
}

/// These people are the staff, and the team has all of them, by the job `sync`, which no guard holds.
pub(crate) fn team(staff: &str) -> World {
    let world = World::builder()
        .group("staff", staff)
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.calls.clear();
    world
}
