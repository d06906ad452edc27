//! Operations whose answer was lost, and that a later run goes on with, while the world does not stand still.

use futures::FutureExt;
use futures::executor::block_on;
use usersync::connector::TargetCapabilities;
use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryCatalog, Moment};
use usersync::model::{Container, ContainerKind, Origin, PartialKind, Role};
use usersync::reconcile::Mode;
use usersync_tests::records::{RecordWorld, contact};
use usersync_tests::{
    LEASE, World, all, container, crash, every_capability, free_policy, job, least_capability, user,
};

fn team(picks: &str) -> Container {
    Container::new(container("team"), ContainerKind::Team, "team", all(picks))
}

/// A team of Ada and Bob, who are in `staff`, settled.
fn settled(capabilities: TargetCapabilities) -> World {
    let world = World::builder()
        .capabilities(capabilities)
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world
}

/// The worker stops while it waits for the answer to a call of this kind, which comes to its effect; another one takes over.
fn die_after(world: &mut World, kind: CallKind) {
    world
        .faults
        .inject(FaultRule::new(Fault::Hang(Moment::After)).on(kind));
    let name = job("sync");
    let _ = crash(world.engine().run(&world.tenant, &name, RunRequest::everything()));
    world.faults.heal();
    world.clock.advance(LEASE * 2);
    world.restart();
}

/// Whom a read in part does not show, and a point read says to be absent, is added by the operation that was begun, and not by
/// another one beside it.
#[test]
fn promise_25_what_a_read_in_part_leaves_open_is_not_begun_twice() {
    let world = settled(every_capability());
    world.join("staff", "cleo");
    let lost = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Add);
    world.faults.inject(lost.once());
    let first = world.run("sync");
    let begun = first.operations[0].operation;
    let cut = Fault::Partial {
        shown: 0,
        kind: PartialKind::Limit,
    };
    world.faults.inject(FaultRule::new(cut).on(CallKind::Members));
    let second = world.run("sync");
    world.faults.heal();
    assert_eq!(world.members("team"), "ada bob cleo");
    let ids: Vec<_> = second
        .operations
        .iter()
        .map(|operation| operation.operation)
        .collect();
    assert_eq!(ids, [begun], "{second}");
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    let about = |text: &String| text.contains("cleo");
    let told = world
        .notifier
        .delivered()
        .iter()
        .map(|told| format!("{told:?}"))
        .filter(about)
        .count();
    assert_eq!(told, 1);
}

/// An addition is on its way when nobody can tell whether it is wanted. It comes, and it was wanted all the time.
#[test]
fn promise_16_an_addition_that_is_held_while_it_is_on_its_way_is_ours() {
    for hidden in ["banned", "staff"] {
        let group = Fault::PartialOf {
            object: user(hidden).object,
            shown: 0,
            kind: PartialKind::Limit,
        };
        on_its_way_while(group);
    }
    let whole = Fault::Partial {
        shown: 0,
        kind: PartialKind::Limit,
    };
    on_its_way_while(whole);
}

fn on_its_way_while(hidden: Fault) {
    let world = World::builder()
        .capabilities(least_capability())
        .group("staff", "ada")
        .group("banned", "eve")
        .container("team", "staff -banned")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world
        .faults
        .inject(FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Add));
    let _ = world.run("sync");
    world.faults.heal();
    world
        .faults
        .inject(FaultRule::new(hidden.clone()).on(CallKind::Directory));
    let held = world.run("sync");
    world.faults.heal();
    assert_eq!(held.operations.len(), 0, "{held}");
    world.add_by_hand("team", "ada");
    let _ = world.settle("sync");
    let origin = world.row("team", "ada").map(|row| row.origin);
    assert_eq!(origin, Some(Origin::Ours), "{hidden:?}");
    assert_eq!(world.end().intents.len(), 0, "{hidden:?}");
}

/// A role is given, and taken back by a person, before the answer to it is made up for; and the source wants another one by then.
/// That is another operation: what a target remembers of the first one says nothing of it.
#[test]
fn another_role_than_the_one_that_was_begun_is_another_operation() {
    let mut world = settled(every_capability());
    world.catalog.put(team("staff").with_role(Role::Owner));
    die_after(&mut world, CallKind::Update);
    for who in ["ada", "bob"] {
        world.remove_by_hand("team", who);
        world.add_by_hand("team", who);
    }
    world.catalog.put(team("staff").with_role(Role::Manager));
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada:manager bob:manager");
    assert_eq!(world.end().intents.len(), 0);
}

/// The same for records.
#[test]
fn another_content_than_the_one_that_was_begun_is_another_operation() {
    let mut world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("sync", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    let _ = world.settle("sync");
    world.put_contact("c1", "general:name=Two");
    world
        .faults
        .inject(FaultRule::new(Fault::Hang(Moment::After)).on(CallKind::Update));
    let name = job("sync");
    let _ = crash(world.engine().run(&world.tenant, &name, RunRequest::everything()));
    world.faults.heal();
    world.clock.advance(LEASE * 2);
    world.restart();
    world.put_by_hand("ada", contact("c1", "general:name=One"));
    world.put_contact("c1", "general:name=Three");
    let _ = world.run("sync");
    assert_eq!(world.names("ada"), "c1=Three");
}

/// An addition whose answer was lost comes when the container has got another role, and another attempt at it is lost as well: what
/// is there is what was begun first, and the new role is still to be given.
#[test]
fn what_an_addition_was_to_say_at_first_is_what_it_is_compared_with() {
    for capabilities in [least_capability(), every_capability()] {
        let world = settled(capabilities);
        world.join("staff", "cleo");
        let lost = || FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Add);
        world.faults.inject(lost());
        let _ = world.run("sync");
        world.catalog.put(team("staff").with_role(Role::Manager));
        let _ = world.run("sync");
        world.faults.heal();
        world.add_by_hand("team", "cleo");
        let _ = world.settle("sync");
        assert_eq!(
            world.members("team"),
            "ada:manager bob:manager cleo:manager",
            "{capabilities:?}"
        );
        assert_eq!(
            world.row("team", "cleo").map(|row| row.origin),
            Some(Origin::Ours)
        );
    }
}

/// A removal took Ada out, and its answer was lost. Another job adds her, and gives her up again. She is there by an addition of ours that
/// the removal knows nothing of: a target that remembers it would take nobody out.
#[test]
fn promise_08_a_removal_is_not_gone_on_with_for_another_membership() {
    let mut world = settled(every_capability());
    world.leave("staff", "ada");
    die_after(&mut world, CallKind::Remove);
    assert_eq!(world.members("team"), "bob");
    let catalog = MemoryCatalog::new([]);
    world.save(&World::new_job("other", free_policy(Mode::Managed)));
    let engine = world.engine_over(&catalog, "another");
    let others = || block_on(engine.run(&world.tenant, &job("other"), RunRequest::everything()));
    catalog.put(team("ada"));
    let _ = others().expect("it runs");
    assert_eq!(world.members("team"), "ada bob");
    catalog.put(team(""));
    let _ = others().expect("it runs");
    assert_eq!(
        world.members("team"),
        "ada bob",
        "the first job's claim is still there"
    );
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "bob");
    assert_eq!((world.row("team", "ada"), world.end().intents.len()), (None, 0));
}

/// An addition of Cleo as a manager was begun and never came; another job adds her as a member before anybody looks. What is there is
/// what the other job made, and the role that both want is still to be given.
#[test]
fn what_another_job_made_meanwhile_is_what_an_addition_is_compared_with() {
    let managers = || team("staff").with_role(Role::Manager);
    for capabilities in [least_capability(), every_capability()] {
        for is_narrowed in [false, true] {
            let world = settled(capabilities);
            world.save(&World::new_job("other", free_policy(Mode::Managed)));
            world.join("staff", "cleo");
            world.catalog.put(managers());
            let lost = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Add);
            world.faults.inject(lost);
            let _ = world.run("sync");
            world.faults.heal();
            world.catalog.put(team("staff"));
            let _ = world.run("other");
            assert_eq!(world.members("team"), "ada bob cleo");
            world.catalog.put(managers());
            if is_narrowed {
                let narrow = World::new_job("sync", free_policy(Mode::Managed));
                world.save(&narrow.covering([ContainerKind::Group]));
                assert_eq!(world.run("sync").recovered.len(), 1);
                let _ = world.settle("other");
            } else {
                let _ = world.settle("sync");
            }
            let members = world.members("team");
            assert_eq!(
                members, "ada:manager bob:manager cleo:manager",
                "{capabilities:?}"
            );
        }
    }
}

/// The same where the other job adds her just before the addition comes, and its answer is lost or not.
#[test]
fn what_another_job_made_just_before_is_what_an_addition_is_compared_with() {
    let without_memory = TargetCapabilities {
        idempotency_key: false,
        ..every_capability()
    };
    for capabilities in [least_capability(), without_memory, every_capability()] {
        for answer in [None, Some(Moment::Before), Some(Moment::After)] {
            let world = settled(capabilities);
            world.catalog.put(team("staff").with_role(Role::Manager));
            let _ = world.settle("sync");
            world.join("staff", "cleo");
            world.save(&World::new_job("other", free_policy(Mode::Managed)));
            let other = world.engine_over(&MemoryCatalog::new([team("cleo")]), "another");
            let tenant = world.tenant.clone();
            let adds = move || {
                let name = job("other");
                let run = other.run(&tenant, &name, RunRequest::everything());
                let report = run.now_or_never().expect("nothing waits");
                assert_eq!(report.expect("it runs").end, RunEnd::Changed);
            };
            world
                .faults
                .inject(FaultRule::meanwhile(adds).on(CallKind::Add).once());
            if let Some(moment) = answer {
                // The other job's addition comes within the call that this is about, and is answered.
                let lost = FaultRule::new(Fault::Timeout(moment)).on(CallKind::Add);
                world.faults.inject(lost.once());
            }
            let _ = world.run("sync");
            let _ = world.settle("sync");
            let members = world.members("team");
            let expected = "ada:manager bob:manager cleo:manager";
            assert_eq!(members, expected, "{answer:?} {capabilities:?}");
        }
    }
}
