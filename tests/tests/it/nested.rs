//! Containers that are reached through a group of a directory, which names them.

use usersync::engine::{RunEnd, RunRequest};
use usersync::model::UnknownMembers;
use usersync::reconcile::{Mode, Warning};
use usersync_tests::{World, container, free_policy, group};

/// Everybody of the council, who are those of the zone, who are the staff.
fn world() -> World {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .group("council", "")
        .container("all", "council")
        .container("zone", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    name_in(&world, "council", "zone");
    let _ = world.settle("sync");
    assert_eq!(world.members("all"), "ada");
    world
}

fn name_in(world: &World, of: &str, name: &str) {
    let named = container(name).as_principal();
    world.directory.add_member(&group(of).object, &named);
}

fn save_all(world: &World) -> RunEnd {
    let request = RunRequest::container(container("all"));
    world.try_run("sync", request).expect("a run").end
}

/// Whether a process knows the container from earlier makes no difference.
#[test]
fn a_container_that_is_listed_no_more_counts_as_it_is_for_those_that_reach_it_through_a_group() {
    let world = world();
    world.catalog.remove(&container("zone"));
    world.add_by_hand("zone", "guest");
    let cold = world.plan("sync").digest();
    let fork = world.fork();
    let report = world.run("sync");
    assert_eq!(report.plan.expect("a plan").digest(), cold);
    for world in [&world, &fork] {
        assert!(world.run("sync").is_ok());
        assert_eq!(world.members("all"), "ada guest");
        world.remove_by_hand("zone", "ada");
        assert!(world.run("sync").is_ok());
        assert_eq!(world.members("all"), "guest");
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    }
}

/// Whom a group names whom neither a directory nor the target has may be anything.
#[test]
fn a_container_that_is_gone_holds_those_who_were_there_for_what_reaches_it_through_a_group() {
    let world = world();
    world.catalog.remove(&container("zone"));
    world.target.remove_container(&container("zone").object);
    let cold = world.plan("sync").digest();
    let fork = world.fork();
    let report = world.run("sync");
    assert_eq!(report.plan.expect("a plan").digest(), cold);
    for world in [&world, &fork] {
        assert_eq!(world.run("sync").end, RunEnd::Held);
        assert_eq!(world.members("all"), "ada");
        let _ = save_all(world);
        assert_eq!(world.members("all"), "ada");
    }
}

#[test]
fn a_container_that_is_gone_is_missed_by_who_selects_it_in_every_process() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .container("all", "@zone")
        .container("zone", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.catalog.remove(&container("zone"));
    world.target.remove_container(&container("zone").object);
    let missed = Warning::MissingPick {
        container: container("all"),
        principal: container("zone").as_principal(),
    };
    let cold = world.plan("sync");
    assert!(cold.header().warnings.contains(&missed));
    for _ in 0..2 {
        let report = world.run("sync");
        let plan = report.plan.expect("a plan");
        assert!(plan.header().warnings.contains(&missed), "{:?}", plan.header());
    }
    assert_eq!(world.members("all"), "");
}

/// A run of one container looks at those below it as they are now, guests included, and not as the last plan left them.
#[test]
fn a_run_of_one_container_takes_those_that_groups_name_as_they_are() {
    for unknown_members in [UnknownMembers::Partial, UnknownMembers::Ignore] {
        let world = world();
        let mut job = World::new_job("sync", free_policy(Mode::Managed));
        job.resolve.unknown_members = unknown_members;
        world.save(&job);
        world.add_by_hand("zone", "guest");
        let _ = world.settle("sync");
        assert_eq!(world.members("all"), "ada guest");
        let fork = world.fork();
        for (which, world) in [("warm", &world), ("cold", &fork)] {
            let told = format!("{which}, {unknown_members:?}");
            assert_eq!(save_all(world), RunEnd::InSync, "{told}");
            assert_eq!(world.members("all"), "ada guest", "{told}");
            world.add_by_hand("zone", "other");
            world.remove_by_hand("zone", "guest");
            assert_eq!(save_all(world), RunEnd::Changed, "{told}");
            assert_eq!(world.members("all"), "ada other", "{told}");
            assert_eq!(save_all(world), RunEnd::InSync, "{told}");
            assert_eq!(world.run("sync").end, RunEnd::InSync, "{told}");
        }
    }
}

/// One container selects a group of the target that nobody lists, another one reaches it through a group of the directory.
#[test]
fn the_guests_of_a_container_are_those_of_whatever_reaches_it() {
    let world = World::builder()
        .with_changes()
        .group("circle", "ada")
        .container("one", "@club")
        .container("two", "circle")
        .container("rest", "@club -circle")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world.put_user("dan");
    world.target.create_container(container("club").object);
    name_in(&world, "circle", "club");
    for who in ["dan", "guest"] {
        world.add_by_hand("club", who);
    }
    let fork = world.fork();
    for world in [&world, &fork] {
        for _ in 0..2 {
            assert!(world.run("sync").is_ok());
            assert_eq!(
                (
                    &*world.members("one"),
                    &*world.members("two"),
                    &*world.members("rest")
                ),
                ("dan guest", "ada dan guest", "")
            );
        }
    }
    world.catalog.edit(&container("two"), |two| {
        two.selection.exclude.insert(container("club").as_principal());
    });
    assert!(world.run("sync").is_ok());
    assert_eq!(world.members("two"), "ada");
}
