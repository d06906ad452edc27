//! What an approval let go and a crash, a cancellation or a failure kept from being done takes no second approval, and no more.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{RunControl, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Digest, PartialKind};
use usersync::reconcile::{Drift, Guards, Mode, Policy, Share};
use usersync_tests::{LEASE, World, container, crash, free_policy, job, user};

/// No more than one in four may go, but for a single one.
fn policy(mode: Mode) -> Policy {
    let share = Share {
        percent: 25,
        floor: 1,
    };
    Policy {
        guards: Guards {
            container: Some(share),
            ..free_policy(mode).guards
        },
        ..Policy::new(mode)
    }
}

/// Three of four have left the staff, and wait to leave the team; the band is as it should be.
fn waiting(mode: Mode) -> (World, Digest) {
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .group("crew", "eve")
        .container("band", "crew")
        .container("team", "staff")
        .job("sync", policy(mode))
        .build();
    let _ = world.settle("sync");
    for who in ["ada", "bob", "cleo"] {
        world.leave("staff", who);
    }
    assert_eq!(world.run("sync").end, RunEnd::Held);
    let held = world.plan("sync").held_digest().expect("something waits");
    (world, held)
}

/// Approved for an hour; and then nothing can be removed.
fn approved_in_vain(mode: Mode) -> World {
    let (world, held) = waiting(mode);
    world.approve("sync", held);
    let fault = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(FaultRule::new(fault).on(CallKind::Remove));
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    assert_eq!(world.members("team"), "ada bob cleo dan");
    world.faults.heal();
    world
}

#[test]
fn promise_10_what_fails_takes_no_second_approval() {
    let mut world = approved_in_vain(Mode::Managed);
    world.restart();
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!((&*world.members("team"), &*world.members("band")), ("dan", "eve"));
    let audit = world.audit();
    let mut removals = audit.iter().filter(|record| record.action == "remove");
    assert!(removals.all(|record| record.approved));
}

/// One of three comes first; the other two are let go by the same approval.
#[test]
fn promise_10_what_fails_in_part_takes_no_second_approval() {
    let (world, held) = waiting(Mode::Managed);
    world.approve("sync", held);
    world
        .faults
        .inject(FaultRule::new(Fault::Conflict).on(CallKind::Remove).times(2));
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    assert_eq!(world.members("team").split(' ').count(), 3);
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "dan");
}

#[test]
fn promise_10_an_approval_lasts_as_long_as_it_was_given_for() {
    for seconds in [3600, 3601] {
        let world = approved_in_vain(Mode::Managed);
        world.clock.advance(Duration::from_secs(seconds));
        assert_eq!(world.run("sync").end, RunEnd::Held, "after {seconds} s");
        assert_eq!(world.members("team"), "ada bob cleo dan", "after {seconds} s");
    }
}

#[test]
fn promise_10_an_approval_is_not_one_by_another_policy() {
    let world = approved_in_vain(Mode::Managed);
    let other = Policy {
        drift: Drift::Respect,
        ..policy(Mode::Managed)
    };
    world.save(&World::new_job("sync", other));
    for _ in 0..2 {
        assert_eq!(world.run("sync").end, RunEnd::Held);
        assert_eq!(world.members("team"), "ada bob cleo dan");
    }
}

/// What an approval let go it does not let go once more: whoever is added again waits again.
#[test]
fn promise_10_an_approval_lets_nobody_go_twice() {
    let world = approved_in_vain(Mode::Mirror);
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "dan");
    for who in ["ada", "bob", "cleo"] {
        world.add_by_hand("team", who);
    }
    assert_eq!(world.run("sync").end, RunEnd::Held);
    assert_eq!(world.members("team"), "ada bob cleo dan");
}

/// What was approved stays approved while others are looked at, or nobody can see whether it is right.
#[test]
fn promise_10_a_run_that_does_not_come_to_it_takes_no_second_approval() {
    let world = approved_in_vain(Mode::Managed);
    let of_another = RunRequest::container(container("band"));
    assert_eq!(
        world.try_run("sync", of_another).expect("a run").end,
        RunEnd::InSync
    );
    let hidden = Fault::PartialOf {
        object: user("staff").object,
        shown: 0,
        kind: PartialKind::Limit,
    };
    world
        .faults
        .inject(FaultRule::new(hidden).on(CallKind::Directory));
    assert_eq!(world.run("sync").end, RunEnd::Held);
    world.faults.heal();
    assert_eq!(world.members("team"), "ada bob cleo dan");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "dan");
}

/// What was approved is done, and something else fails beside it: the approval is used up all the same.
#[test]
fn promise_10_an_approval_ends_with_what_it_let_go() {
    let (world, held) = waiting(Mode::Mirror);
    world.approve("sync", held);
    world.put_user("fay");
    world.join("crew", "fay");
    let fault = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(FaultRule::new(fault).on(CallKind::Add));
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    assert_eq!((&*world.members("team"), &*world.members("band")), ("dan", "eve"));
    for who in ["ada", "bob", "cleo"] {
        world.add_by_hand("team", who);
    }
    let _ = world.run("sync");
    assert_eq!(world.members("team"), "ada bob cleo dan");
}

/// Killed or told to end at any call of the run that takes the approval: the runs after it do what it let go, and tell the administrators
/// of nothing that waits.
#[test]
fn promise_10_a_run_that_is_cut_short_takes_no_second_approval() {
    let (world, held) = waiting(Mode::Managed);
    world.approve("sync", held);
    let calls = {
        let fork = world.fork();
        assert_eq!(fork.run("sync").end, RunEnd::Changed);
        fork.faults.calls()
    };
    for call in 1..=calls {
        let mut killed = world.fork();
        let hang = FaultRule::new(Fault::Hang(Moment::Before)).at_call(call);
        killed.faults.inject(hang);
        let everything = RunRequest::everything();
        let _ = crash(killed.engine().run(&killed.tenant, &job("sync"), everything));
        killed.faults.heal();
        killed.clock.advance(LEASE * 2);
        killed.restart();

        let cancelled = world.fork();
        let control = RunControl::new();
        let cancel = control.clone();
        let rule = FaultRule::meanwhile(move || cancel.cancel()).at_call(call);
        cancelled.faults.inject(rule.once());
        let until_then = RunRequest::everything().controlled_by(control);
        let _ = cancelled.try_run("sync", until_then).expect("a report");

        for (how, world) in [("killed", killed), ("cancelled", cancelled)] {
            let end = world.settle("sync").end;
            assert_eq!(end, RunEnd::InSync, "{how} at call {call}");
            assert_eq!(world.members("team"), "dan", "{how} at call {call}");
        }
    }
}

/// Who agreed that people who are there already count as ours did not agree that they go: wherever the run that adopts them is killed, all of
/// them leaving at once waits for an approval of its own.
#[test]
fn promise_10_an_approval_to_adopt_lets_nobody_go() {
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job("sync", policy(Mode::Managed))
        .build();
    for who in ["ada", "bob", "cleo", "dan"] {
        world.add_by_hand("team", who);
    }
    let adopting = || RunRequest::everything().adopting();
    let report = world.try_run("sync", adopting()).expect("a run");
    let held = report.plan.expect("a plan").held_digest();
    world.approve("sync", held.expect("something waits"));
    let calls = {
        let fork = world.fork();
        let report = fork.try_run("sync", adopting()).expect("a run");
        assert!(
            report
                .operations
                .iter()
                .all(|operation| operation.outcome.is_ok())
        );
        fork.faults.calls()
    };
    for call in 1..=calls {
        let mut killed = world.fork();
        let hang = FaultRule::new(Fault::Hang(Moment::Before)).at_call(call);
        killed.faults.inject(hang);
        let _ = crash(killed.engine().run(&killed.tenant, &job("sync"), adopting()));
        killed.faults.heal();
        killed.clock.advance(LEASE * 2);
        killed.restart();
        for who in ["ada", "bob", "cleo"] {
            killed.leave("staff", who);
        }
        let _ = killed.run("sync");
        assert_eq!(
            killed.members("team"),
            "ada bob cleo dan",
            "killed at call {call}"
        );
    }
}

/// What was let go for an hour is not let go for a month because something else is.
#[test]
fn promise_10_one_approval_does_not_prolong_another() {
    let (world, held) = waiting(Mode::Managed);
    for who in ["fay", "gus", "hal"] {
        world.join("crew", who);
    }
    let _ = world.run("sync");
    assert_eq!(world.members("band"), "eve fay gus hal");
    world.approve("sync", held);
    let fault = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(FaultRule::new(fault).on(CallKind::Remove));
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    for who in ["fay", "gus", "hal"] {
        world.leave("crew", who);
    }
    assert_eq!(
        world.run("sync").end,
        RunEnd::Failed,
        "the team fails, the band waits"
    );
    let held = world.plan("sync").held_digest().expect("the band waits");
    let (boss, month) = (user("boss"), Duration::from_secs(30 * 24 * 3600));
    let sync = job("sync");
    let approval = world.engine().approve(&world.tenant, &sync, held, boss, month);
    block_on(approval).expect("an approval can be given");
    for _ in 0..2 {
        assert_eq!(world.run("sync").end, RunEnd::Failed);
    }
    world.clock.advance(Duration::from_secs(3600));
    world.faults.heal();
    assert_eq!(world.run("sync").end, RunEnd::Held);
    assert_eq!(
        (&*world.members("team"), &*world.members("band")),
        ("ada bob cleo dan", "eve")
    );
}

/// What one approval let go, and another one lets go as well, is let go until the later one ends.
#[test]
fn promise_10_what_is_approved_twice_lasts_as_the_later_approval() {
    let (world, held) = waiting(Mode::Managed);
    world.approve("sync", held);
    let fault = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(FaultRule::new(fault).on(CallKind::Remove));
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.run("sync").end, RunEnd::Held);
    let held = world.plan("sync").held_digest().expect("the team waits again");
    world.approve("sync", held);
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    world.clock.advance(Duration::from_secs(3599));
    world.faults.heal();
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "dan");
}
