//! Promises about what is never taken away, or only with an approval.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{RunEnd, RunReport, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Activity, Inactive, PartialKind, ResolvePolicy};
use usersync::reconcile::{Drift, Guards, HoldCause, Mode, OnExceeded, Policy, Share, Window};
use usersync_tests::edit::{cases, edits, world};
use usersync_tests::{LEASE, World, crash, every_capability, free_policy, job, least_capability, user};

proptest! {
    #![proptest_config(cases(128))]

    /// Whatever goes wrong, who is in a container stays there.
    #[test]
    fn promise_11_an_add_only_job_never_takes_anything_away(
        before in edits(12),
        stages in proptest::collection::vec((edits(6), any::<u64>()), 1..5),
        least in any::<bool>(),
    ) {
        let capabilities = if least { least_capability() } else { every_capability() };
        let mut world = world().capabilities(capabilities).job("sync", free_policy(Mode::AddOnly)).build();
        world.edit(&before);
        for (stage, seed) in stages {
            world.edit(&stage);
            let present = world.present();
            let n = 9.try_into().expect("9 is not zero");
            let faults = [
                Fault::Conflict,
                Fault::Failed { kind: ErrorKind::Unavailable, retry: Retry::Later },
                Fault::Hang(Moment::Before),
                Fault::Hang(Moment::After),
                Fault::Partial { shown: (seed % 7) as usize, kind: PartialKind::Limit },
                Fault::StoreFailed(usersync::store::StoreErrorKind::Unavailable),
                Fault::Timeout(Moment::Before),
                Fault::Timeout(Moment::After),
                Fault::Truncated { shown: (seed % 5) as usize },
            ];
            for (salt, fault) in faults.into_iter().enumerate() {
                world.faults.inject(FaultRule::new(fault).one_in(n, seed ^ (salt as u64) << 32));
            }
            let _ = crash(world.engine().run(&world.tenant, &job("sync"), RunRequest::everything()));
            world.faults.heal();
            for (id, members) in present {
                prop_assert!(members.is_subset(&world.present()[&id]), "{}", id);
            }
            world.clock.advance(LEASE * 2);
            world.restart();
        }
        let calls = world.calls.count(CallKind::Remove);
        prop_assert_eq!(calls, 0);
    }
}

/// Twelve people in one team, and one guard.
fn guarded(guards: Guards) -> World {
    let world = World::builder()
        .group("staff", "p01 p02 p03 p04 p05 p06 p07 p08 p09 p10 p11 p12")
        .container("team", "staff")
        .container("album", "")
        .job(
            "sync",
            Policy {
                guards,
                ..Policy::default()
            },
        )
        .build();
    let _ = world.settle("sync");
    world
}

fn held(report: &RunReport) -> BTreeSet<&'static str> {
    let plan = report.plan.as_ref().expect("a plan");
    plan.sections()
        .iter()
        .flat_map(|section| &section.holds)
        .map(|hold| hold.cause.code())
        .collect()
}

fn none() -> Guards {
    free_policy(Mode::Managed).guards
}

/// One guard at a time: nobody goes, who comes comes, and exactly the approval of this held set lets go, once.
#[test]
fn promise_10_beyond_a_guard_nobody_goes_without_an_approval_of_that_held_set() {
    let share = |percent, floor| Some(Share { percent, floor });
    let window = |percent, floor| {
        Some(Window {
            hours: 24,
            share: Share { percent, floor },
        })
    };
    let cases: Vec<(&str, Guards, &str)> = vec![
        (
            "container_shrinks",
            Guards {
                container: share(50, 10),
                ..none()
            },
            "-7",
        ),
        (
            "container_emptied",
            Guards {
                emptied: true,
                ..none()
            },
            "-12",
        ),
        (
            "run_limit",
            Guards {
                run: share(20, 2),
                ..none()
            },
            "-3",
        ),
        (
            "window_limit",
            Guards {
                window: window(20, 2),
                ..none()
            },
            "-3",
        ),
        (
            "protected_by_name",
            Guards {
                protected: [user("p01")].into(),
                ..none()
            },
            "-1",
        ),
        (
            "sentinel_missing",
            Guards {
                sentinels: [user("p12")].into(),
                ..none()
            },
            "!p12",
        ),
    ];
    for (code, guards, what) in cases {
        let world = guarded(guards);
        let remove = |world: &World| match what.strip_prefix('!') {
            Some(who) => world.depart(who),
            None => {
                let count: u32 = what[1..].parse().expect("a number");
                for n in 1..=count {
                    world.leave("staff", &format!("p{n:02}"));
                }
            }
        };
        let before = world.members("team");
        remove(&world);
        world.put_user("newcomer");
        world.select("album", "newcomer");
        let report = world.run("sync");
        assert_eq!(held(&report), BTreeSet::from([code]));
        assert_eq!(report.end, RunEnd::Held, "{code}");
        assert_eq!(world.members("team"), before, "{code}");
        assert_eq!(world.members("album"), "newcomer", "{code}: additions go on");
        let digest = report
            .plan
            .and_then(|plan| plan.held_digest())
            .expect("something waits");

        // Not the approval of something else.
        let other = usersync::model::Digest::of("test", b"something else");
        world.approve("sync", other);
        assert_eq!(world.run("sync").end, RunEnd::Held, "{code}");
        assert_eq!(world.members("team"), before, "{code}");

        // Not one that expired.
        let late = world.fork();
        late.approve("sync", digest);
        late.clock.advance(Duration::from_secs(3600));
        assert_eq!(late.run("sync").end, RunEnd::Held, "{code}");
        assert_eq!(late.members("team"), before, "{code}: the approval expired");

        // Not one that was given under another policy.
        let changed = world.fork();
        changed.approve("sync", digest);
        let policy = Policy {
            drift: Drift::Respect,
            guards: none(),
            ..Policy::default()
        };
        changed.save(&World::new_job("sync", policy));
        let report = changed.run("sync");
        assert_eq!(held(&report), BTreeSet::from(["policy_changed"]), "{code}");
        assert_eq!(changed.members("team"), before, "{code}");

        // Not for a larger held set.
        let more = world.fork();
        more.approve("sync", digest);
        more.leave("staff", "p11");
        if code != "protected_by_name" && code != "container_emptied" {
            let _ = more.run("sync");
            assert_eq!(
                more.members("team"),
                before,
                "{code}: more waits than was approved"
            );
        }

        // This one, also in a later process, and once.
        let mut world = world.fork();
        world.approve("sync", digest);
        world.restart();
        let report = world.run("sync");
        assert_eq!(report.end, RunEnd::Changed, "{code}");
        assert_ne!(world.members("team"), before, "{code}");
        let audit = world.audit();
        assert!(
            audit
                .iter()
                .filter(|record| record.action == "remove")
                .all(|record| record.approved),
            "{code}"
        );
        if code == "protected_by_name" {
            world.join("staff", "p01");
            let _ = world.settle("sync");
            remove(&world);
            assert_eq!(
                world.run("sync").end,
                RunEnd::Held,
                "{code}: an approval is for one use"
            );
        }
    }
}

/// What a window allows is counted across runs and processes; what was approved does not count.
#[test]
fn promise_10_the_window_reaches_across_runs_and_restarts() {
    let window = Window {
        hours: 24,
        share: Share { percent: 0, floor: 3 },
    };
    let mut world = guarded(Guards {
        window: Some(window),
        ..none()
    });
    for n in 1..=3 {
        world.leave("staff", &format!("p{n:02}"));
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        world.restart();
        world.clock.advance(Duration::from_secs(3600));
    }
    world.leave("staff", "p04");
    let report = world.run("sync");
    assert_eq!(held(&report), BTreeSet::from(["window_limit"]));
    world.approve(
        "sync",
        report
            .plan
            .and_then(|plan| plan.held_digest())
            .expect("something waits"),
    );
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    // The first of them leaves the window, and makes room for one, not for two: the approved one is not counted.
    world.clock.advance(Duration::from_secs(21 * 3600));
    world.leave("staff", "p05");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    world.leave("staff", "p06");
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["window_limit"]));
}

/// A reading that is not complete is never overruled.
#[test]
fn promise_10_an_approval_never_lifts_what_is_not_known() {
    let world = guarded(none());
    world.leave("staff", "p01");
    let rule = FaultRule::new(Fault::Partial {
        shown: 20,
        kind: PartialKind::Limit,
    })
    .on(CallKind::Directory);
    world.faults.inject(rule);
    let report = world.run("sync");
    assert_eq!(held(&report), BTreeSet::from(["incomplete_source"]));
    assert_eq!(report.plan.and_then(|plan| plan.held_digest()), None);
    let before = world.members("team");
    // Nor beside something else that is approved.
    world.select("album", "p02");
    let _ = world.run("sync");
    world.faults.heal();
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), before.replace("p01 ", ""));
}

/// A host may want everything to stop where a guard stops something.
#[test]
fn promise_10_everything_stops_where_the_host_says_so() {
    let guards = Guards {
        run: Some(Share {
            percent: 20,
            floor: 2,
        }),
        on_exceeded: OnExceeded::StopEverything,
        ..none()
    };
    let world = guarded(guards);
    for who in ["p01", "p02", "p03"] {
        world.leave("staff", who);
    }
    world.select("album", "p12");
    let before = world.snapshot().target;
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Held);
    assert_eq!(world.snapshot().target, before);
}

/// The owner, an administrator and the last owner at the target are held, each by its cause.
#[test]
fn promise_10_privileged_members_are_held() {
    let world = World::builder()
        .group("staff", "ada bob root")
        .owned("team", "ada", "staff")
        .job(
            "sync",
            Policy {
                guards: Guards {
                    privileged: true,
                    ..none()
                },
                ..Policy::default()
            },
        )
        .build();
    let root = world.directory.principal(&user("root").object).expect("a user");
    world.directory.put(root.with_privileged(true));
    let _ = world.settle("sync");
    world.select("team", "bob");
    let report = world.run("sync");
    assert_eq!(
        held(&report),
        BTreeSet::from(["protected_administrator", "protected_owner"])
    );
    assert_eq!(world.members("team"), "ada bob root");
}

/// A changed policy holds all removals of the first plan after it, also where that plan is for one container.
#[test]
fn promise_10_a_changed_policy_holds_the_removals_of_the_first_plan() {
    let world = guarded(none());
    world.leave("staff", "p01");
    let mut job = World::new_job(
        "sync",
        Policy {
            drift: Drift::Respect,
            guards: none(),
            ..Policy::default()
        },
    );
    job.resolve = usersync::model::ResolvePolicy::default();
    world.save(&job);
    let report = world.run("sync");
    assert_eq!(held(&report), BTreeSet::from(["policy_changed"]));
    assert!(matches!(report.end, RunEnd::Held));
    let is_policy = |cause: &HoldCause| *cause == HoldCause::PolicyChanged;
    let plan = report.plan.expect("a plan");
    assert!(
        plan.sections()
            .iter()
            .flat_map(|section| &section.holds)
            .all(|hold| is_policy(&hold.cause))
    );
}

/// What somebody approved of one container shows nothing of what another policy removes elsewhere; nor does a read in part of one.
#[test]
fn promise_10_a_changed_policy_holds_what_nobody_was_shown() {
    let settled = || {
        let world = World::builder()
            .group("staff", "ada bob")
            .container("team", "staff")
            .container("band", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let _ = world.settle("sync");
        for name in ["team", "band"] {
            world.put_user("eve");
            world.add_by_hand(name, "eve");
        }
        world.save(&World::new_job("sync", free_policy(Mode::Mirror)));
        world
    };
    let world = settled();
    let of_one = || RunRequest::container(usersync_tests::container("team"));
    let report = world.try_run("sync", of_one()).expect("a run");
    let digest = report.plan.and_then(|plan| plan.held_digest());
    world.approve("sync", digest.expect("something waits"));
    assert_eq!(
        world.try_run("sync", of_one()).expect("a run").end,
        RunEnd::Changed
    );
    assert_eq!(world.members("team"), "ada bob");
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
    assert_eq!(world.members("band"), "ada bob eve");

    let world = settled();
    for name in ["team", "band"] {
        let hidden = Fault::PartialOf {
            object: usersync_tests::container(name).object,
            shown: 0,
            kind: PartialKind::Limit,
        };
        world.faults.inject(FaultRule::new(hidden).on(CallKind::Members));
    }
    let _ = world.run("sync");
    world.faults.heal();
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
}

/// Who counts as a member is policy, and so is where people come from: a process that has read by the policy before reads anew.
#[test]
fn promise_10_another_way_to_resolve_is_another_policy_in_a_warm_process_too() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let bob = world
        .directory
        .principal(&user("bob").object)
        .expect("Bob is there");
    world.directory.put(bob.with_activity(Activity::Inactive));
    let job = |inactive| {
        let mut job = World::new_job("sync", free_policy(Mode::Managed));
        job.resolve = ResolvePolicy {
            inactive,
            ..ResolvePolicy::default()
        };
        job
    };
    world.save(&job(Inactive::Keep));
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada bob");
    world.save(&job(Inactive::Drop));
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada");
}

/// Whatever was done by another policy: what a run of one container did by it is part of that, the first one of a job, too.
#[test]
fn promise_10_a_policy_is_remembered_by_what_one_container_got_by_it() {
    let of = |drift| {
        let policy = free_policy(Mode::Managed);
        World::new_job("sync", Policy { drift, ..policy })
    };
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let save = || {
        let scoped = RunRequest::container(usersync_tests::container("team"));
        world.try_run("sync", scoped).expect("a run").end
    };
    assert_eq!(save(), RunEnd::Changed);
    world.leave("staff", "bob");
    world.save(&of(Drift::Respect));
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    // Another one for one container, and back.
    world.put_user("cleo");
    world.join("staff", "cleo");
    world.save(&of(Drift::Restore));
    assert_eq!(save(), RunEnd::Changed);
    world.leave("staff", "cleo");
    world.save(&of(Drift::Respect));
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
    assert_eq!(world.members("team"), "ada cleo");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada");
}

/// A run that does not see everything is not the one that holds the removals of a changed policy for all to see.
#[test]
fn promise_10_a_changed_policy_waits_for_a_plan_that_shows_what_it_removes() {
    let change = |world: &World| {
        world.leave("staff", "p01");
        world.save(&World::new_job(
            "sync",
            Policy {
                drift: Drift::Respect,
                guards: none(),
                ..Policy::default()
            },
        ));
    };
    // One container was saved meanwhile.
    let world = guarded(none());
    change(&world);
    let scoped = RunRequest::container(usersync_tests::container("album"));
    assert_eq!(world.try_run("sync", scoped).expect("a run").end, RunEnd::InSync);
    assert_eq!(held(&world.run("sync")), BTreeSet::from(["policy_changed"]));
    assert_eq!(
        world.run("sync").end,
        RunEnd::Changed,
        "the first plan held them, the next decides"
    );

    // Or nothing was shown.
    let world = guarded(none());
    change(&world);
    for kind in [CallKind::Directory, CallKind::Containers, CallKind::Members] {
        world
            .faults
            .inject(FaultRule::new(Fault::Truncated { shown: 0 }).on(kind).once());
        let _ = world.run("sync");
        assert!(world.members("team").contains("p01"), "{kind}");
    }
    let report = world.run("sync");
    assert_eq!(held(&report), BTreeSet::from(["policy_changed"]));
    world.approve(
        "sync",
        report
            .plan
            .and_then(|plan| plan.held_digest())
            .expect("something waits"),
    );
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert!(!world.members("team").contains("p01"));
}
