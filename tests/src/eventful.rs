//! A world in which everything happens at once.

use usersync::connector::TargetCapabilities;
use usersync::model::{Container, ContainerKind, Role};
use usersync::reconcile::{ConflictPolicy, FirstSight, Mode, Policy};

use crate::names::{all, container, free_policy, user};
use crate::world::World;

/// A run of `sync` has something of everything before it: additions, removals, restored and claimed members, a claim to
/// forget, one to release, roles to change.
#[must_use]
pub fn eventful(capabilities: TargetCapabilities) -> World {
    let policy = Policy {
        conflict: ConflictPolicy::SourceWins,
        first_sight: FirstSight::Import,
        ..free_policy(Mode::Managed)
    };
    let managers = Container::new(container("lead"), ContainerKind::Team, "lead", all("heads"));
    let world = World::builder()
        .capabilities(capabilities)
        .batch(2)
        .group("staff", "ada bob cleo dan eve")
        .group("heads", "ada bob")
        .owned("team", "ada", "staff")
        .add_container(managers.with_owner(user("bob")))
        .container("album", "heads dan")
        .job("sync", policy.clone())
        .job("other", policy)
        .build();
    let _ = world.settle("sync");
    world.catalog.remove(&container("lead"));
    world.catalog.remove(&container("team"));
    let _ = world.settle("other");
    world.catalog.put(
        Container::new(container("team"), ContainerKind::Team, "team", all("staff")).with_owner(user("ada")),
    );
    world.catalog.put(
        Container::new(container("lead"), ContainerKind::Team, "lead", all("heads"))
            .with_owner(user("bob"))
            .with_role(if capabilities.updates {
                Role::Manager
            } else {
                Role::Member
            }),
    );
    world.add_by_hand("team", "fay");
    world.add_by_hand("team", "gus");
    world.remove_by_hand("team", "cleo");
    world.remove_by_hand("team", "dan");
    world.join("staff", "fay");
    world.join("staff", "hal");
    world.leave("staff", "dan");
    world.leave("staff", "eve");
    world.leave("heads", "bob");
    world.join("heads", "hal");
    world
}
