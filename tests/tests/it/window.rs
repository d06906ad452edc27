//! What is under way at once: operations that are called for, that were answered, and that are durable already.

use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::Mode;
use usersync_tests::{LEASE, World, crash, free_policy, job};

const PEOPLE: usize = 12;

fn people() -> String {
    let people: Vec<String> = (1..=PEOPLE).map(|n| format!("u{n:02}")).collect();
    people.join(" ")
}

/// Twelve people to add.
fn world(batch: usize) -> World {
    World::builder()
        .batch(batch)
        .group("staff", &people())
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

/// A call that is never answered holds up none of the others, of its batch and of those behind it, and what became of them is
/// recorded.
#[test]
fn promise_18_a_call_without_an_answer_holds_up_no_other() {
    for after in 0..PEOPLE as u64 {
        for moment in [Moment::Before, Moment::After] {
            let mut world = world(3);
            let rule = FaultRule::new(Fault::Hang(moment)).on(CallKind::Add);
            world.faults.inject(rule.after(after).once());
            let _ = crash(
                world
                    .engine()
                    .run(&world.tenant, &job("sync"), RunRequest::everything()),
            );
            let there = world.members("team").split_whitespace().count();
            // Two go in one call.
            assert!(there >= PEOPLE - 2, "call {after}, {moment:?}: {there}");
            let end = world.end();
            assert_eq!(
                end.ledger.len() + end.intents.len(),
                PEOPLE,
                "call {after}, {moment:?}"
            );
            // Those of that call, and others that were answered since the last transaction.
            assert!(
                end.intents.len() <= 4,
                "call {after}, {moment:?}: {:?}",
                end.intents
            );
            world.faults.heal();
            world.clock.advance(LEASE * 2);
            world.restart();
            let _ = world.settle("sync");
            assert_eq!(world.members("team"), people(), "call {after}, {moment:?}");
            assert_eq!(world.end().ledger.len(), PEOPLE, "call {after}, {moment:?}");
            assert_eq!(world.end().intents.len(), 0, "call {after}, {moment:?}");
        }
    }
}

/// What became of a batch is recorded together with the intents of the next one.
#[test]
fn a_batch_takes_one_transaction() {
    let commits = |batch: usize| {
        let world = world(batch);
        world.calls.clear();
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        world.calls.count(CallKind::Commit)
    };
    // One before the first effect, and one behind the last one.
    assert_eq!(commits(3) - commits(PEOPLE), 3);
    assert_eq!(commits(1) - commits(PEOPLE), PEOPLE as u64 - 1);
}
