//! In whose name records are written.

use futures::executor::block_on;
use usersync::connector::{ActorState, Authority};
use usersync::engine::RunEnd;
use usersync::memory::{CallKind, FaultRule};
use usersync_tests::records::RecordWorld;
use usersync_tests::user;

/// One contact for six people, three to a batch.
fn world() -> RecordWorld {
    let world = RecordWorld::builder()
        .staff("u1 u2 u3 u4 u5 u6")
        .batch(3)
        .job(RecordWorld::distribution("copy", "staff"))
        .build();
    world.put_contact("c1", "general:name=Ada");
    world.actors.set(&world.tenant, user("root"), ActorState::Active);
    world
}

#[test]
fn promise_23_the_owners_removal_changes_the_actor_of_records_from_the_next_batch_on() {
    for state in [ActorState::Inactive, ActorState::Missing] {
        let world = world();
        let (actors, tenant) = (world.actors.clone(), world.tenant.clone());
        let vanish = move || actors.set(&tenant, user("boss"), state);
        // While the second copy of the first batch is made.
        world
            .faults
            .inject(FaultRule::meanwhile(vanish).on(CallKind::Create).after(1).once());
        let report = world.run("copy");
        assert_eq!((report.end, report.operations.len()), (RunEnd::Changed, 6));
        let audit = block_on(world.engine().audit(&world.tenant)).expect("a log");
        let acted: Vec<_> = audit
            .iter()
            .map(|record| (record.actor.principal.clone(), record.actor.authority))
            .collect();
        let boss = (user("boss"), Authority::JobOwner);
        let root = (user("root"), Authority::Administrator);
        let expected = [&boss, &boss, &boss, &root, &root, &root].map(Clone::clone);
        assert_eq!(acted, expected);
        // It is told to the target.
        let calls = world.calls.all();
        let created = calls.iter().filter(|call| call.kind == CallKind::Create);
        let told: Vec<_> = created.filter_map(|call| call.actor.clone()).collect();
        let recorded: Vec<_> = audit.iter().map(|record| record.actor.clone()).collect();
        assert_eq!(told, recorded);
    }
}

#[test]
fn promise_23_without_anybody_who_may_act_no_copy_is_begun() {
    let world = world();
    world.actors.set(&world.tenant, user("root"), ActorState::Missing);
    let (actors, tenant) = (world.actors.clone(), world.tenant.clone());
    let vanish = move || actors.set(&tenant, user("boss"), ActorState::Missing);
    world
        .faults
        .inject(FaultRule::meanwhile(vanish).on(CallKind::Create).once());
    let report = world.run("copy");
    assert_eq!(report.end, RunEnd::Failed);
    let begun = report.count(usersync::engine::Outcome::is_ok);
    assert_eq!((begun, report.operations.len()), (3, 6), "one batch of two");
    world.actors.set(&world.tenant, user("boss"), ActorState::Active);
    let report = world.run("copy");
    assert_eq!((report.end, report.operations.len()), (RunEnd::Changed, 3));
}
