//! Notifications that outlive the process which wrote them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{Clock, ErrorKind, Retry};
use usersync::engine::{DeadLetter, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::Mode;
use usersync::store::Log;
use usersync_tests::{
    Crash, DurableStore, LEASE, World, WorldBuilder, WorldStore, crash, free_policy, job, user,
};

const HOUR: u64 = 3600;

fn builder() -> WorldBuilder {
    World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
}

fn world() -> World<DurableStore> {
    builder().build_over(DurableStore::in_file)
}

fn refuse(kind: ErrorKind, retry: Retry) -> FaultRule {
    FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Notify)
}

fn next<S: WorldStore>(world: &World<S>) -> Option<i64> {
    let next = block_on(world.engine().next_delivery(&world.tenant)).expect("the outbox can be read");
    next.map(|next| (next - world.clock.now()).num_seconds())
}

fn letters<S: WorldStore>(world: &World<S>) -> Vec<DeadLetter> {
    block_on(world.engine().dead_letters(&world.tenant)).expect("the store works")
}

/// The notifier is out of order for days in which people come and go and the process is started anew: everybody is told everything in
/// the end, in order.
#[test]
fn what_was_not_delivered_is_delivered_by_the_next_process() {
    let mut world = world();
    world.faults.inject(refuse(ErrorKind::Unavailable, Retry::Later));
    assert_eq!(
        world.run("sync").end,
        RunEnd::Changed,
        "a failing notifier fails no run"
    );
    let mut waiting = 6;
    for who in ["bob", "ada"] {
        world.restart();
        world.leave("staff", who);
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        world.advance(7 * HOUR);
        world.restart();
        world.join("staff", who);
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        waiting += 4;
        assert_eq!(world.log_len(Log::Outbox), waiting);
    }
    world.faults.heal();
    world.advance(5 * HOUR);
    world.restart();
    assert_eq!(world.deliver(), 14);
    // Within one run, containers come in the order of their ids.
    for who in ["ada", "bob"] {
        assert_eq!(world.told(who), "+album +team -album -team +album +team", "{who}");
    }
    assert_eq!(world.told("cleo"), "+album +team");
    let keys: BTreeSet<_> = world.notifier.delivered().iter().map(|told| told.key).collect();
    assert_eq!(keys.len(), 14);
    world.restart();
    assert_eq!((world.deliver(), world.log_len(Log::Outbox)), (0, 0));
    world.store.assert_sound();
}

/// Killed at any call of a delivery, the next process goes on: what was delivered just before comes again under the same key, and
/// nothing is out of order.
#[test]
fn a_delivery_that_was_killed_goes_on() {
    let base = world();
    base.faults.inject(refuse(ErrorKind::Unavailable, Retry::Later));
    let _ = base.run("sync");
    base.faults.heal();
    base.advance(HOUR);
    let calls = {
        let world = base.fork();
        assert_eq!(world.deliver(), 6);
        world.faults.calls()
    };
    assert!(calls > 10, "{calls}");
    for call in 1..=calls {
        for moment in [Moment::Before, Moment::After] {
            let world = base.fork();
            world
                .faults
                .inject(FaultRule::new(Fault::Hang(moment)).at_call(call));
            let killed = crash(world.engine().deliver(&world.tenant));
            let peeked = world.calls.all()[0].kind == CallKind::Log && call == 1;
            assert!(
                peeked || matches!(killed, Crash::Stopped),
                "{moment:?} call {call}"
            );
            let mut world = world.fork();
            world.advance(2 * LEASE.as_secs());
            world.calls.clear();
            let _ = world.deliver();
            world.restart();
            assert_eq!((world.deliver(), world.log_len(Log::Outbox)), (0, 0));
            for who in ["ada", "bob", "cleo"] {
                assert_eq!(
                    world.told(who),
                    "+album +team",
                    "{who}, killed {moment:?} call {call}"
                );
            }
        }
    }
}

/// The pauses of a notifier that refuses one person grow as they would without restarts; the dead letters and what became of them
/// are there for the next process.
#[test]
fn back_off_and_dead_letters_stay() {
    let bad = || refuse(ErrorKind::InvalidData, Retry::Never).principal(user("ada"));
    let mut world = world();
    let steady = builder().build();
    world.faults.inject(bad());
    steady.faults.inject(bad());
    let _ = (world.run("sync"), steady.run("sync"));
    let mut pauses = 0;
    while steady.log_len(Log::Outbox) == 2 {
        world.restart();
        let pause = next(&steady).expect("something waits").unsigned_abs();
        assert_eq!(
            next(&world).map(i64::unsigned_abs),
            Some(pause),
            "after {pauses} pauses"
        );
        world.advance(pause / 2);
        world.restart();
        assert_eq!(world.deliver(), 0);
        world.advance(pause - pause / 2);
        steady.advance(pause);
        assert_eq!((world.deliver(), steady.deliver()), (0, 0));
        pauses += 1;
    }
    assert_eq!(pauses, 11);
    world.restart();
    assert_eq!((world.log_len(Log::Outbox), letters(&world).len()), (1, 1));
    assert_eq!(letters(&world), letters(&steady));
    assert_eq!(letters(&world)[0].failures, 12);

    world.faults.heal();
    world.advance(5 * HOUR);
    world.restart();
    assert_eq!(world.deliver(), 1);
    let key = letters(&world)[0].notification.key;
    let requeue = |world: &World<DurableStore>| {
        block_on(world.engine().requeue(&world.tenant, &key)).expect("the store works")
    };
    assert!(requeue(&world));
    world.restart();
    assert!(!requeue(&world));
    assert_eq!((letters(&world).len(), world.log_len(Log::Outbox)), (0, 1));
    assert_eq!(world.deliver(), 1);
    assert_eq!(world.told("ada"), "+team +album");
    world.restart();
    assert_eq!((world.deliver(), next(&world)), (0, None));
}

#[test]
fn a_notifier_says_when_to_come_back_and_the_next_process_knows() {
    let mut world = world();
    let after = Duration::from_secs(7 * HOUR);
    world
        .faults
        .inject(refuse(ErrorKind::RateLimited, Retry::After(after)));
    let _ = world.run("sync");
    world.faults.heal();
    world.advance(7 * HOUR - 1);
    world.restart();
    assert_eq!(world.deliver(), 0);
    world.advance(1);
    assert_eq!(world.deliver(), 6);
}

/// A notifier that never answers: the run is over before it is asked, its process dies waiting, and the next process runs the job and
/// delivers.
#[test]
fn a_notifier_that_hangs_holds_up_no_run() {
    let mut world = world();
    world.clock.set_auto(true);
    let hang = || FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Notify);
    world.faults.inject(hang());
    let before = world.clock.now();
    let report = world.run("sync");
    assert_eq!((report.end, report.finished), (RunEnd::Changed, before));
    world.clock.set_auto(false);

    world.join("staff", "dan");
    let run = crash(
        world
            .engine()
            .run(&world.tenant, &job("sync"), RunRequest::everything()),
    );
    assert!(matches!(run, Crash::Stopped));
    assert_eq!(world.members("team"), "ada bob cleo dan");
    world.restart();
    // Nobody waits for the lease of the dead one: it was given back before anybody was told.
    world.join("staff", "eve");
    let run = crash(
        world
            .engine()
            .run(&world.tenant, &job("sync"), RunRequest::everything()),
    );
    assert!(
        matches!(run, Crash::Ended(Ok(report)) if report.end == RunEnd::Changed),
        "the outbox is the dead one's for a while, and the job is not"
    );
    assert_eq!(world.members("team"), "ada bob cleo dan eve");
    world.faults.heal();
    world.advance(HOUR);
    world.restart();
    assert_eq!(world.deliver(), 10);
    assert_eq!(world.told("eve"), "+album +team");
}
