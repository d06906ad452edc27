//! Promises about what is never taken away.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use usersync::connector::{Clock, ErrorKind, Retry, TargetCapabilities};
use usersync::engine::{RunEnd, RunReport, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Container, ContainerKind, ObjectId, PartialKind, UnknownMembers};
use usersync::reconcile::{
    Action, Drift, Guards, HoldCause, LedgerStep, Mode, OnExceeded, Plan, Policy, Share, Window,
};
use usersync_tests::edit::{cases, drift, edits, mode, world};
use usersync_tests::{
    LEASE, Model, World, all, container, crash, every_capability, free_policy, job, least_capability, user,
};

/// Everything that a plan would do, to the target or to the ledger.
///
/// A container that selects another one follows what the plan leaves there, and so whom a hold keeps there: what is added for
/// that reason, where the other is included, is no deed of its own, and nothing is, where the other is excluded.
fn deeds(plan: &Plan, nesting: u8) -> BTreeSet<String> {
    let mut deeds = BTreeSet::new();
    for section in plan.sections() {
        let follows = match (nesting, section.container.object.as_str()) {
            (1 | 3, "c1") | (3, "c2") => 1,
            (2, "c1") | (4.., _) => 2,
            _ => 0,
        };
        for operation in &section.operations {
            if follows == 0 || (follows == 1 && operation.action == Action::Remove) {
                deeds.insert(format!(
                    "{} {} {:?}",
                    section.container, operation.subject, operation.action
                ));
            }
        }
        for change in &section.ledger {
            if follows == 0 || (follows == 1 && !matches!(change.step, LedgerStep::Claim(_))) {
                deeds.insert(format!(
                    "{} {} {:?}",
                    section.container, change.subject, change.step
                ));
            }
        }
    }
    deeds
}

/// Every way in which a read of at most `size` entries can stop early.
fn truncations(size: usize) -> impl Iterator<Item = Fault> {
    (0..=size).flat_map(|shown| {
        [
            Fault::Truncated { shown },
            Fault::FailedAfter {
                shown,
                kind: ErrorKind::Unavailable,
                retry: Retry::Later,
            },
            Fault::Partial {
                shown,
                kind: PartialKind::Limit,
            },
        ]
    })
}

/// Every way in which one group or container can be shown in part.
fn short_groups(objects: &[ObjectId], members: usize) -> impl Iterator<Item = Fault> {
    objects.iter().flat_map(move |object| {
        (0..members).map(|shown| Fault::PartialOf {
            object: object.clone(),
            shown,
            kind: PartialKind::Unreadable,
        })
    })
}

/// What is planned from a part of what there is, is planned from all of it, too: so it rests on nothing that is missing.
fn check_every_truncation(world: &World, scope: &Scope, nesting: u8) -> Result<(), TestCaseError> {
    let complete = deeds(world.planned("sync", scope).plan(), nesting);
    let groups: Vec<_> = world
        .directory
        .principals()
        .into_iter()
        .map(|principal| principal.id)
        .collect();
    let containers: Vec<_> = world.target.snapshot().into_keys().collect();
    let entries = groups.len()
        + groups
            .iter()
            .map(|id| world.directory.members_of(id).len())
            .sum::<usize>();
    let present = containers.len()
        + world
            .target
            .snapshot()
            .values()
            .map(|members| members.len())
            .sum::<usize>();
    let faults = truncations(entries)
        .chain(short_groups(&groups, 3))
        .map(|fault| (CallKind::Directory, fault))
        .chain(truncations(containers.len()).map(|fault| (CallKind::Containers, fault)))
        .chain(
            truncations(present)
                .chain(short_groups(&containers, 4))
                .map(|fault| (CallKind::Members, fault)),
        );
    for (kind, fault) in faults {
        world.faults.heal();
        world.faults.inject(FaultRule::new(fault.clone()).on(kind));
        let partial = world.planned("sync", scope).plan().clone();
        let hasty: Vec<_> = deeds(&partial, nesting).difference(&complete).cloned().collect();
        prop_assert_eq!(&hasty, &Vec::<String>::new(), "{} with {:?}", kind, fault);
    }
    world.faults.heal();
    Ok(())
}

/// A job that takes members whom nobody knows for stale names, or for something that was not shown.
fn save_job(world: &World, policy: Policy, ignores_unknown: bool) {
    let mut job = World::new_job("sync", policy);
    if ignores_unknown {
        job.resolve.unknown_members = UnknownMembers::Ignore;
    }
    world.save(&job);
}

/// Where the selections of the three containers lead to each other, and around in a circle.
fn nest(world: &World, nesting: u8) {
    let pick = |from: &str, picks: &str| {
        let at = container(from);
        let mut selection = world.catalog.container(&at).expect("a container").selection;
        let more = all(picks);
        selection.include.extend(more.include);
        selection.exclude.extend(more.exclude);
        world.catalog.select(&at, selection);
    };
    match nesting {
        0 => {}
        1 => pick("c1", "@c0"),
        2 => pick("c1", "-@c0"),
        3 => {
            pick("c1", "@c0");
            pick("c2", "@c1");
        }
        4 => {
            pick("c0", "@c1");
            pick("c1", "@c0");
            pick("c2", "-@c1");
        }
        _ => {
            pick("c0", "@c1");
            pick("c1", "-@c0");
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn promise_09_nothing_rests_on_the_missing_part_of_a_read(
        mode in mode(),
        drift in drift(),
        before in edits(16),
        after in edits(10),
        nesting in 0..6_u8,
        point_read in any::<bool>(),
        only in proptest::option::of(0..3_u8),
        ignores_unknown in any::<bool>(),
    ) {
        let capabilities = TargetCapabilities { point_read, ..every_capability() };
        let world = world().capabilities(capabilities).build();
        save_job(&world, Policy { drift, ..free_policy(mode) }, ignores_unknown);
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        nest(&world, nesting);
        let scope = match only {
            None => Scope::Everything,
            Some(n) => Scope::container(container(&format!("c{n}"))),
        };
        check_every_truncation(&world, &scope, nesting)?;
    }

    /// The same where a run follows the change feed, beside additions, which may rest on what the read before it showed; and the
    /// run after it, which sees everything, ends as if nothing had been missing.
    #[test]
    fn promise_09_nothing_rests_on_the_missing_part_of_a_read_of_changes(
        mode in mode(),
        before in edits(16),
        after in edits(8),
        nesting in 0..6_u8,
        ignores_unknown in any::<bool>(),
    ) {
        let base = world().with_changes().build();
        save_job(&base, free_policy(mode), ignores_unknown);
        base.edit(&before);
        let begin = || {
            let world = base.fork();
            let _ = world.settle("sync");
            world.edit(&after);
            nest(&world, nesting);
            world
        };
        let sample = begin();
        let complete = deeds(&sample.plan("sync"), nesting);
        let _ = sample.settle("sync");
        for fault in truncations(2 * after.len()) {
            let world = begin();
            world.faults.inject(FaultRule::new(fault.clone()).on(CallKind::Directory));
            let report = world.run("sync");
            let partial = deeds(&report.plan.expect("a plan"), nesting);
            let is_addition = |deed: &&String| deed.contains(" Add(") || deed.contains(" Claim(");
            let hasty: Vec<_> = partial.difference(&complete).filter(|deed| !is_addition(deed)).cloned().collect();
            prop_assert_eq!(&hasty, &Vec::<String>::new(), "with {:?}", fault);
            world.faults.heal();
            let _ = world.settle("sync");
            if nesting < 4 && (nesting == 0 || ignores_unknown) {
                prop_assert_eq!(world.end(), sample.end(), "after {:?}", fault);
            }
        }
    }

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

    /// However removals are spread over runs, hours and processes, with answers lost in between: no more go than a run and a
    /// window allow, since nobody approves anything.
    #[test]
    fn promise_10_no_more_is_removed_than_a_run_and_a_window_allow(
        before in edits(16),
        stages in proptest::collection::vec((edits(6), 0..9_u64, any::<u64>()), 1..8),
        run in 0..3_u32,
        window in 0..4_u32,
    ) {
        let share = |floor| Share { percent: 25, floor };
        let guards = Guards {
            run: Some(share(run)),
            window: Some(Window { hours: 6, share: share(window) }),
            ..free_policy(Mode::Managed).guards
        };
        let policy = Policy { guards, ..Policy::default() };
        let mut world = world().job("sync", policy).build();
        world.edit(&before);
        let mut removed: Vec<(DateTime<Utc>, u64)> = Vec::new();
        for (stage, hours, seed) in stages {
            world.edit(&stage);
            world.clock.advance(Duration::from_secs(hours * 3600 + 600));
            let model = Model::of(&world, "sync", Mode::Managed, Drift::Restore);
            let there = model.base.iter().filter(|(id, who)| model.present[id].contains(who)).count() as u64;
            let n = 5.try_into().expect("5 is not zero");
            for moment in [Moment::Before, Moment::After] {
                let rule = FaultRule::new(Fault::Timeout(moment)).on(CallKind::Remove);
                world.faults.inject(rule.one_in(n, seed ^ moment as u64));
            }
            let present = world.present();
            let _ = world.run("sync");
            world.faults.heal();
            let gone: usize = present.iter().map(|(id, members)| members.difference(&world.present()[id]).count()).sum();
            let now = world.clock.now();
            removed.push((now, gone as u64));
            let allowed = |share: Share| u64::from(share.floor).max(there * u64::from(share.percent) / 100);
            prop_assert!(gone as u64 <= allowed(share(run)), "{} of {} in one run", gone, there);
            // Whole hours, back from this one.
            let hour = |at: DateTime<Utc>| at.timestamp() / 3600;
            let lately = removed.iter().filter(|(at, _)| hour(*at) > hour(now) - 6);
            let lately: u64 = lately.map(|(_, gone)| gone).sum();
            prop_assert!(gone == 0 || lately <= allowed(share(window)), "{} of {} within the window", lately, there);
            if seed.is_multiple_of(2) {
                world.restart();
            }
        }
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

/// Where one container alone is planned, those that it selects are looked at, too; what of them is not shown, is not taken for
/// empty.
#[test]
fn promise_09_a_selected_container_that_is_not_shown_is_not_empty() {
    let hidden = |kind| Fault::PartialOf {
        object: container("team").object,
        shown: 0,
        kind,
    };
    for fault in [hidden(PartialKind::Unreadable), Fault::Truncated { shown: 0 }] {
        let world = World::builder()
            .group("staff", "ada bob")
            .container("team", "staff")
            .container("rest", "ada bob cleo -@team")
            .container("same", "@team")
            .group("everyone", "ada bob cleo")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let _ = world.settle("sync");
        assert_eq!(
            (&*world.members("rest"), &*world.members("same")),
            ("cleo", "ada bob")
        );
        // The first read is that of the container itself, the second that of those that it selects.
        for name in ["rest", "same"] {
            let fork = world.fork();
            fork.faults
                .inject(FaultRule::new(fault.clone()).on(CallKind::Members).after(1));
            let report = fork
                .try_run("sync", RunRequest::container(container(name)))
                .expect("a run");
            assert!(
                report.operations.is_empty(),
                "{name} with {fault:?}: {:?}",
                report.operations
            );
        }
    }
}

/// A container that the target lost is not filled, and does not make anything else go.
#[test]
fn a_missing_container_is_reported_and_left() {
    let world = guarded(none());
    world.catalog.put(Container::new(
        container("lost"),
        ContainerKind::Team,
        "lost",
        all("staff"),
    ));
    let report = world.run("sync");
    assert!(report.operations.is_empty());
    let plan = report.plan.expect("a plan");
    let warnings = &plan.header().warnings;
    assert!(
        matches!(&warnings[..], [usersync::reconcile::Warning::MissingContainer(id)] if *id == container("lost"))
    );
}
