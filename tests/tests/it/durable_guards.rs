//! What guards hold, what approvals let go and what a window counts, for the process that opens the file next.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::engine::{RunEnd, RunReport, RunRequest, RunState};
use usersync::memory::{Fault, FaultRule, Moment};
use usersync::model::Digest;
use usersync::reconcile::{Drift, Guards, Mode, Policy, Share, Window};
use usersync_tests::{Crash, DurableStore, LEASE, World, WorldStore, crash, free_policy, group, job, user};

const HOUR: u64 = 3600;

/// Twelve people in one team, and these guards.
fn guarded(guards: Guards) -> World<DurableStore> {
    let policy = Policy {
        guards,
        ..Policy::default()
    };
    let world = World::builder()
        .batch(2)
        .group("staff", "p01 p02 p03 p04 p05 p06 p07 p08 p09 p10 p11 p12")
        .container("team", "staff")
        .container("album", "")
        .job("sync", policy)
        .build_over(DurableStore::in_file);
    let _ = world.settle("sync");
    world
}

fn none() -> Guards {
    free_policy(Mode::Managed).guards
}

fn share(percent: u8, floor: u32) -> Share {
    Share { percent, floor }
}

fn window(floor: u32) -> Guards {
    let window = Window {
        hours: 24,
        share: share(0, floor),
    };
    Guards {
        window: Some(window),
        ..none()
    }
}

fn leave(world: &World<DurableStore>, from: u32, to: u32) {
    for n in from..=to {
        world.leave("staff", &format!("p{n:02}"));
    }
}

fn gone(world: &World<DurableStore>) -> usize {
    let there = world.members("team");
    (1..=12).filter(|n| !there.contains(&format!("p{n:02}"))).count()
}

fn held(report: &RunReport) -> BTreeSet<&'static str> {
    let plan = report.plan.as_ref().expect("a plan");
    plan.sections()
        .iter()
        .flat_map(|section| &section.holds)
        .map(|hold| hold.cause.code())
        .collect()
}

fn digest(report: &RunReport) -> Digest {
    let plan = report.plan.as_ref().expect("a plan");
    plan.held_digest().expect("something waits")
}

fn kill(world: &World<DurableStore>, call: u64, moment: Moment) -> bool {
    world
        .faults
        .inject(FaultRule::new(Fault::Hang(moment)).at_call(call));
    let run = crash(
        world
            .engine()
            .run(&world.tenant, &job("sync"), RunRequest::everything()),
    );
    matches!(run, Crash::Stopped)
}

/// What the next process finds, once the lease of the dead one is over.
fn next_process(world: &World<DurableStore>) -> World<DurableStore> {
    let world = world.fork();
    world.clock.advance(LEASE * 2);
    world
}

/// How many runs came to a report.
fn reports(world: &World<DurableStore>) -> usize {
    let runs = block_on(world.engine().history(&world.tenant, &job("sync"), None, 1000));
    let runs = runs.expect("it can be read").into_iter();
    runs.filter(|run| matches!(run.state, RunState::Ended(_))).count()
}

/// The first plan by another policy holds all removals for somebody to see. A run that was killed before it came to a report showed
/// nothing, whatever it had done by then.
#[test]
fn promise_10_a_killed_run_leaves_the_hold_of_another_policy_to_the_next_one() {
    let base = guarded(none());
    leave(&base, 1, 2);
    base.join("staff", "p13");
    base.save(&World::new_job(
        "sync",
        Policy {
            drift: Drift::Respect,
            guards: none(),
            ..Policy::default()
        },
    ));
    let before = reports(&base);
    let calls = {
        let world = base.fork();
        assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
        world.faults.calls()
    };
    let mut ended = 0;
    for call in 1..=calls {
        for moment in [Moment::Before, Moment::After] {
            let world = base.fork();
            let _ = kill(&world, call, moment);
            let world = next_process(&world);
            if reports(&world) > before {
                ended += 1;
            } else {
                let report = world.run("sync");
                let at = format!("killed {moment:?} call {call}");
                assert_eq!(held(&report), BTreeSet::from(["policy_changed"]), "{at}");
                assert_eq!((gone(&world), report.end), (0, RunEnd::Held), "{at}");
            }
            let _ = world.run("sync");
            assert_eq!(gone(&world), 2, "the run after that decides by the policy alone");
        }
    }
    assert!(ended > 0 && ended < calls, "{ended} of {calls}");
}

/// What a window allows is counted across runs and processes, and opens by time; what was approved does not count.
#[test]
fn promise_10_the_window_reaches_across_restarts() {
    let mut world = guarded(window(3));
    for n in 1..=3 {
        leave(&world, n, n);
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        world.restart();
        world.advance(HOUR);
    }
    leave(&world, 4, 4);
    let report = world.run("sync");
    assert_eq!(held(&report), BTreeSet::from(["window_limit"]));
    world.restart();
    world.approve("sync", digest(&report));
    world.restart();
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    // The first of them leaves the window, and makes room for one, not for two: the approved one is not counted.
    world.advance(21 * HOUR);
    world.restart();
    leave(&world, 5, 5);
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    world.restart();
    leave(&world, 6, 6);
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["window_limit"]));
    // By time alone.
    for _ in 0..24 {
        world.advance(HOUR);
        world.restart();
        let _ = world.run("sync");
    }
    assert_eq!(gone(&world), 6);
    world.store.assert_sound();
}

/// Killed between the reservation and the removal, or at any other call: the next process removes with the place that was reserved,
/// and takes no second one. So two of four places are left, and not more.
#[test]
fn promise_10_a_crash_takes_no_place_of_the_window_twice() {
    let base = guarded(window(4));
    leave(&base, 1, 2);
    let calls = {
        let world = base.fork();
        let _ = world.run("sync");
        assert_eq!(gone(&world), 2);
        world.faults.calls()
    };
    for call in 1..=calls {
        for moment in [Moment::Before, Moment::After] {
            let world = base.fork();
            let _ = kill(&world, call, moment);
            let mut world = next_process(&world);
            // And once more, at the same call of the next process.
            let _ = kill(&world, call, moment);
            world = next_process(&world);
            let _ = world.settle("sync");
            assert_eq!(gone(&world), 2, "killed {moment:?} call {call}");
            world.restart();
            leave(&world, 3, 4);
            let _ = world.run("sync");
            assert_eq!(gone(&world), 4, "killed {moment:?} call {call}");
            world.restart();
            leave(&world, 5, 5);
            let report = world.run("sync");
            assert_eq!(
                held(&report),
                BTreeSet::from(["window_limit"]),
                "killed {moment:?} call {call}"
            );
            assert_eq!(gone(&world), 4, "killed {moment:?} call {call}");
        }
    }
}

/// Given before a restart, an approval is used after it, by exactly that held set, once.
#[test]
fn promise_10_an_approval_outlives_its_process_and_is_used_once() {
    let protected = || Guards {
        protected: [user("p01")].into(),
        ..none()
    };
    let table = [
        (
            "container_shrinks",
            Guards {
                container: Some(share(50, 10)),
                ..none()
            },
            7,
        ),
        (
            "container_emptied",
            Guards {
                emptied: true,
                ..none()
            },
            12,
        ),
        (
            "run_limit",
            Guards {
                run: Some(share(20, 2)),
                ..none()
            },
            3,
        ),
        ("window_limit", window(2), 3),
        ("protected_by_name", protected(), 1),
    ];
    for (code, guards, count) in table {
        let mut world = guarded(guards);
        leave(&world, 1, count);
        let report = world.run("sync");
        assert_eq!(held(&report), BTreeSet::from([code]));
        let digest = digest(&report);

        // It expires, also where nobody looks.
        let late = world.fork();
        late.approve("sync", digest);
        late.advance(HOUR);
        let late = next_process(&late);
        assert_eq!(late.run("sync").end, RunEnd::Held, "{code}");
        assert_eq!(gone(&late), 0, "{code}: the approval expired");

        world.restart();
        assert_eq!(world.run("sync").end, RunEnd::Held, "{code}");
        world.approve("sync", digest);
        world.restart();
        assert_eq!(world.run("sync").end, RunEnd::Changed, "{code}");
        assert_eq!(gone(&world), count as usize, "{code}");
        let audit = world.audit();
        let mut removed = audit.iter().filter(|record| record.action == "remove");
        assert!(removed.all(|record| record.approved), "{code}");
        if count < 12 {
            for n in 1..=count {
                world.join("staff", &format!("p{n:02}"));
            }
            let _ = world.settle("sync");
            assert_eq!(gone(&world), 0, "{code}");
            world.restart();
            leave(&world, 1, count);
            assert_eq!(
                world.run("sync").end,
                RunEnd::Held,
                "{code}: an approval is for one use"
            );
            assert_eq!(gone(&world), 0, "{code}");
        }
    }
}

/// Removals that were approved are carried out by the next process if the one that used the approval is killed, at any call.
#[test]
fn promise_14_an_approved_removal_survives_a_crash_over_a_file() {
    let base = guarded(Guards {
        run: Some(share(20, 2)),
        ..none()
    });
    leave(&base, 1, 5);
    let report = base.run("sync");
    base.approve("sync", digest(&report));
    let calls = {
        let world = base.fork();
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        world.faults.calls()
    };
    for call in 1..=calls {
        for moment in [Moment::Before, Moment::After] {
            let world = base.fork();
            let _ = kill(&world, call, moment);
            let mut world = next_process(&world);
            let _ = world.settle("sync");
            assert_eq!(gone(&world), 5, "killed {moment:?} call {call} of {calls}");
            // And it was used for them alone.
            world.restart();
            leave(&world, 6, 10);
            let _ = world.run("sync");
            assert_eq!(gone(&world), 5, "killed {moment:?} call {call} of {calls}");
        }
    }
}

/// What a guard held stays held in every later process, however many come and make room.
#[test]
fn promise_10_standing_holds_stay() {
    for (code, guards) in [
        (
            "container_shrinks",
            Guards {
                container: Some(share(50, 10)),
                ..none()
            },
        ),
        (
            "run_limit",
            Guards {
                run: Some(share(20, 2)),
                ..none()
            },
        ),
    ] {
        let mut world = guarded(guards);
        leave(&world, 1, 10);
        for round in 0..4 {
            world.restart();
            let report = world.run("sync");
            assert_eq!(report.end, RunEnd::Held, "{code}, round {round}");
            assert_eq!(held(&report), BTreeSet::from([code]));
            for n in 0..10 {
                let name = format!("r{round}{n}");
                world.put_user(&name);
                world.join("staff", &name);
            }
            world.advance(30 * HOUR);
        }
        world.restart();
        let report = world.run("sync");
        assert_eq!((gone(&world), held(&report)), (0, BTreeSet::from([code])));
        world.approve("sync", digest(&report));
        world.restart();
        assert_eq!(world.run("sync").end, RunEnd::Changed, "{code}");
        assert_eq!(gone(&world), 10, "{code}");
        world.restart();
        leave(&world, 11, 11);
        assert_eq!(
            world.run("sync").end,
            RunEnd::Changed,
            "{code}: nothing stays shut"
        );
    }
}

/// While one process removes, another with a handle of its own takes the job over and removes one more, at any call: each removal takes
/// one place of the window, so that all of them go and the next one does not.
#[test]
fn promise_10_two_processes_share_one_window() {
    let base = guarded(window(3));
    leave(&base, 1, 2);
    let calls = {
        let world = base.fork();
        let _ = world.run("sync");
        world.faults.calls()
    };
    for call in 1..=calls {
        let world = base.fork();
        let mut store = world.store.clone();
        store.reopen();
        let directory = world.directory.clone();
        let other = world.plain_engine(Arc::new(store), Arc::new(directory.clone()), "two");
        let (tenant, clock) = (world.tenant.clone(), world.clock.clone());
        let meanwhile = move || {
            clock.advance(LEASE * 2);
            directory.remove_member(&group("staff").object, &user("p03"));
            let run = crash(other.run(&tenant, &job("sync"), RunRequest::everything()));
            assert!(matches!(run, Crash::Ended(Ok(_))), "{run:?}");
        };
        world
            .faults
            .inject(FaultRule::meanwhile(meanwhile).at_call(call).once());
        let _ = world.try_run("sync", RunRequest::everything());
        world.faults.heal();
        let world = next_process(&world);
        let _ = world.settle("sync");
        assert_eq!(gone(&world), 3, "the other at call {call}");
        leave(&world, 4, 4);
        let report = world.run("sync");
        assert_eq!(
            held(&report),
            BTreeSet::from(["window_limit"]),
            "the other at call {call}"
        );
        assert_eq!(gone(&world), 3, "the other at call {call}");
        world.advance(24 * HOUR);
        let _ = world.settle("sync");
        assert_eq!(gone(&world), 4, "the other at call {call}");
    }
}
