//! What an approval let go, after a crash.

use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::{Guards, Mode, Policy};
use usersync_tests::{Crash, LEASE, World, crash, free_policy, job};

/// Removals that were approved are carried out even if the process dies on the way: the approval was used for them.
#[test]
fn promise_14_an_approved_removal_survives_a_crash() {
    let policy = Policy {
        guards: Guards {
            emptied: true,
            ..free_policy(Mode::Managed).guards
        },
        ..Policy::default()
    };
    let world = World::builder()
        .batch(2)
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world.select("team", "");
    let report = world.run("sync");
    world.approve(
        "sync",
        report
            .plan
            .and_then(|plan| plan.held_digest())
            .expect("something waits"),
    );
    let calls = {
        let fork = world.fork();
        assert_eq!(fork.run("sync").end, RunEnd::Changed);
        fork.faults.calls()
    };
    let mut stuck = Vec::new();
    for call in 1..=calls {
        let mut world = world.fork();
        world
            .faults
            .inject(FaultRule::new(Fault::Hang(Moment::After)).at_call(call));
        let run = crash(
            world
                .engine()
                .run(&world.tenant, &job("sync"), RunRequest::everything()),
        );
        // Whoever only looks whether the outbox is empty does not wait for the end of the stream.
        let peeked = world.calls.all()[call as usize - 1].kind == CallKind::Log;
        assert!(
            peeked || matches!(run, Crash::Stopped),
            "call {call} of {calls} hangs"
        );
        world.faults.heal();
        world.clock.advance(LEASE * 2);
        world.restart();
        let _ = world.settle("sync");
        if !world.members("team").is_empty() {
            stuck.push((call, world.members("team")));
        }
    }
    assert_eq!(stuck, vec![], "of {calls} calls");
}
