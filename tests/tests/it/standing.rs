//! What a guard holds stays held: the additions of one run make no room for the removals of the next.

use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{RunEnd, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Digest, PartialKind};
use usersync::reconcile::{Drift, Guards, Mode, Policy, Share};
use usersync_tests::{World, container, free_policy};

/// Twelve people in one team, a second team with twenty, and these guards.
fn world(guards: Guards) -> World {
    let people = |from: u32, to: u32| {
        (from..=to)
            .map(|n| format!("p{n:02}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let world = World::builder()
        .group("staff", &people(1, 12))
        .group("crew", &people(21, 40))
        .container("team", "staff")
        .container("band", "crew")
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

fn guards(container: Option<Share>, run: Option<Share>) -> Guards {
    Guards {
        container,
        run,
        ..free_policy(Mode::Managed).guards
    }
}

fn exchange(world: &World, count: u32) {
    for n in 1..=count {
        world.leave("staff", &format!("p{n:02}"));
        world.put_user(&format!("q{n:02}"));
        world.join("staff", &format!("q{n:02}"));
    }
}

fn held(world: &World) -> (Vec<&'static str>, Option<Digest>) {
    let plan = world.plan("sync");
    let mut codes: Vec<_> = plan
        .sections()
        .iter()
        .flat_map(|section| &section.holds)
        .map(|hold| hold.cause.code())
        .collect();
    codes.dedup();
    (codes, plan.held_digest())
}

#[test]
fn promise_10_additions_make_no_room_for_what_a_guard_holds() {
    let shares = [
        (
            "container_shrinks",
            guards(
                Some(Share {
                    percent: 50,
                    floor: 10,
                }),
                None,
            ),
        ),
        (
            "run_limit",
            guards(
                None,
                Some(Share {
                    percent: 20,
                    floor: 2,
                }),
            ),
        ),
    ];
    for (code, guards) in shares {
        let mut world = world(guards);
        exchange(&world, 10);
        for round in 0..4 {
            assert_eq!(world.run("sync").end, RunEnd::Held, "{code}, round {round}");
            // Ever more people come, so that those who wait to go are an ever smaller share.
            for n in 0..10 {
                let name = format!("r{round}{n}");
                world.put_user(&name);
                world.join("staff", &name);
            }
            world.restart();
        }
        let (codes, digest) = held(&world);
        assert_eq!(codes, [code]);
        assert!(world.members("team").contains("p01"), "{code}");
        let _ = world.run("sync");
        world.approve("sync", digest.expect("something waits"));
        assert_eq!(world.run("sync").end, RunEnd::Changed, "{code}");
        assert!(
            !world.members("team").contains("p01"),
            "{code}: the approval lets them go"
        );
        assert_eq!(held(&world), (Vec::new(), None), "{code}: and nothing stays shut");
        world.leave("staff", "p11");
        assert_eq!(
            world.run("sync").end,
            RunEnd::Changed,
            "{code}: one more may go as ever"
        );
    }
}

#[test]
fn what_is_wanted_again_waits_no_more() {
    let world = world(guards(
        Some(Share {
            percent: 50,
            floor: 10,
        }),
        None,
    ));
    for n in 1..=10 {
        world.leave("staff", &format!("p{n:02}"));
    }
    assert_eq!(world.run("sync").end, RunEnd::Held);
    for n in 1..=10 {
        world.join("staff", &format!("p{n:02}"));
    }
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    world.leave("staff", "p01");
    assert_eq!(world.run("sync").end, RunEnd::Changed, "the guard is open again");
}

#[test]
fn another_container_is_not_held_and_a_run_of_one_container_keeps_what_stands() {
    let world = world(guards(
        Some(Share {
            percent: 50,
            floor: 10,
        }),
        None,
    ));
    for n in 1..=10 {
        world.leave("staff", &format!("p{n:02}"));
    }
    assert_eq!(world.run("sync").end, RunEnd::Held);
    world.leave("crew", "p21");
    let only = RunRequest::container(container("band"));
    assert_eq!(
        world.try_run("sync", only).map(|report| report.end).ok(),
        Some(RunEnd::Changed)
    );
    for n in 0..20 {
        let name = format!("s{n:02}");
        world.put_user(&name);
        world.join("staff", &name);
    }
    let only = RunRequest::container(container("team"));
    let report = world.try_run("sync", only).ok();
    assert_eq!(
        report.map(|report| report.end),
        Some(RunEnd::Held),
        "the first additions"
    );
    let previewed = world.planned("sync", &Scope::container(container("team")));
    assert_eq!(previewed.plan().summary().removals, 0);
    assert_eq!(previewed.plan().summary().held, 10);
}

#[test]
fn promise_10_an_outage_of_the_target_opens_no_guard() {
    let (percent, floor) = (50, 10);
    let of_container = guards(Some(Share { percent, floor }), None);
    let (percent, floor) = (20, 2);
    let of_run = guards(None, Some(Share { percent, floor }));
    for guards in [of_container, of_run] {
        let world = world(guards);
        exchange(&world, 10);
        for n in 0..60 {
            let name = format!("r{n:02}");
            world.put_user(&name);
            world.join("staff", &name);
        }
        assert_eq!(world.run("sync").end, RunEnd::Held);
        let (kind, retry) = (ErrorKind::Unavailable, Retry::Later);
        let of_one = Fault::PartialOf {
            object: container("team").object,
            shown: 0,
            kind: PartialKind::Limit,
        };
        for outage in [Fault::Failed { kind, retry }, of_one] {
            world
                .faults
                .inject(FaultRule::new(outage.clone()).on(CallKind::Members));
            let _ = world.run("sync");
            world.faults.heal();
            assert_eq!(world.run("sync").end, RunEnd::Held, "{outage:?}");
            assert!(world.members("team").contains("p01"), "{outage:?}");
        }
    }
}

/// Another policy, which shows nobody what it removes, and the one before it again: what a guard held is held.
#[test]
fn promise_10_a_policy_that_comes_and_goes_opens_no_guard() {
    let (percent, floor) = (50, 10);
    let guards = guards(Some(Share { percent, floor }), None);
    let world = world(guards.clone());
    let by = |drift| {
        let guards = guards.clone();
        World::new_job(
            "sync",
            Policy {
                drift,
                guards,
                ..Policy::default()
            },
        )
    };
    exchange(&world, 11);
    for n in 0..60 {
        let name = format!("r{n:02}");
        world.put_user(&name);
        world.join("staff", &name);
    }
    assert_eq!(world.run("sync").end, RunEnd::Held);
    world.save(&by(Drift::Respect));
    let of_one = RunRequest::container(container("band"));
    assert_eq!(world.try_run("sync", of_one).expect("a run").end, RunEnd::InSync);
    world.save(&by(Policy::default().drift));
    assert_eq!(world.run("sync").end, RunEnd::Held);
    assert!(world.members("team").contains("p01"));
}

/// Whatever could not be read meanwhile: what was held is gone with an approval, and one more may go as ever.
#[test]
fn an_approval_opens_the_guard_of_a_run_while_something_else_is_read_in_part() {
    let (percent, floor) = (20, 2);
    let world = world(guards(None, Some(Share { percent, floor })));
    exchange(&world, 10);
    assert_eq!(world.run("sync").end, RunEnd::Held);
    // Both containers are shown, and perhaps there are more.
    let (shown, kind) = (2, PartialKind::Limit);
    let partial = FaultRule::new(Fault::Partial { shown, kind });
    world.faults.inject(partial.on(CallKind::Containers));
    let (codes, digest) = held(&world);
    assert_eq!(codes, ["run_limit"]);
    world.approve("sync", digest.expect("something waits"));
    let _ = world.run("sync");
    assert!(
        !world.members("team").contains("p01"),
        "the approval lets them go"
    );
    world.faults.heal();
    world.leave("staff", "p11");
    assert_eq!(world.run("sync").end, RunEnd::Changed, "nothing stays shut");
    assert!(!world.members("team").contains("p11"));
}
