//! What removals take of a window, whatever becomes of them: a place each, and those without an effect give it back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use usersync::connector::{Clock, ErrorKind, Retry, TargetCapabilities};
use usersync::engine::{NotStarted, Outcome, RunEnd};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Container, ContainerKind, ContainerRef, OperationId, PrincipalRef, Role, Subject};
use usersync::reconcile::{Drift, Guards, Mode, Policy, Share, Window};
use usersync::store::{StateStore, Transaction, Write};
use usersync_tests::edit::{self, CONTAINERS, Edit, Pick, USERS, cases, edits};
use usersync_tests::{Model, World, all, container, crash, every_capability, free_policy, least_capability};

/// Ada and others in one team, from which so many may go within a day.
fn world(capabilities: TargetCapabilities, share: Share) -> World {
    let policy = Policy {
        guards: Guards {
            window: Some(Window { hours: 24, share }),
            ..free_policy(Mode::Managed).guards
        },
        ..Policy::default()
    };
    let world = World::builder()
        .capabilities(capabilities)
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world
}

fn floor(floor: u32) -> Share {
    Share { percent: 0, floor }
}

/// One place is free when Ada leaves, and this goes wrong with her removals in the first run.
fn removed_in_vain(capabilities: TargetCapabilities, fault: Fault) -> World {
    let world = world(capabilities, floor(1));
    world.leave("staff", "ada");
    world.faults.inject(FaultRule::new(fault).on(CallKind::Remove));
    let _ = world.run("sync");
    world.faults.heal();
    world
}

/// Ada is gone, and has the only place: the next one waits.
fn the_place_is_taken(world: &World, what: &str) {
    assert_eq!(world.members("team"), "bob cleo dan", "{what}");
    world.leave("staff", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Held, "{what}");
    assert_eq!(world.members("team"), "bob cleo dan", "{what}");
}

#[test]
fn promise_10_a_removal_that_is_tried_again_takes_one_place() {
    let failed = || Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    for capabilities in [every_capability(), least_capability()] {
        for fault in [
            failed(),
            Fault::Timeout(Moment::Before),
            Fault::Timeout(Moment::After),
        ] {
            let what = format!("{fault:?}, {capabilities:?}");
            let world = removed_in_vain(capabilities, fault);
            let _ = world.settle("sync");
            the_place_is_taken(&world, &what);
        }
    }
}

/// An answer that got lost may be that of a removal that is still on its way. That another attempt fails for sure says nothing of the
/// first one.
#[test]
fn promise_10_a_removal_of_which_nobody_knows_keeps_its_place() {
    let world = removed_in_vain(least_capability(), Fault::Timeout(Moment::Before));
    for fault in [
        Fault::Conflict,
        Fault::Failed {
            kind: ErrorKind::PermissionDenied,
            retry: Retry::Never,
        },
        Fault::Timeout(Moment::Before),
    ] {
        world.faults.inject(FaultRule::new(fault).on(CallKind::Remove));
        assert_eq!(world.run("sync").end, RunEnd::Failed);
        world.faults.heal();
        assert_eq!(world.end().intents.len(), 1);
        let fork = world.fork();
        fork.leave("staff", "bob");
        assert_eq!(fork.run("sync").end, RunEnd::Held, "there is no place for Bob");
    }
    let _ = world.settle("sync");
    the_place_is_taken(&world, "done in the end");
}

#[test]
fn a_removal_without_an_effect_gives_its_place_back() {
    // Refused, and then Ada is wanted again.
    let world = removed_in_vain(every_capability(), Fault::Conflict);
    world.join("staff", "ada");
    world.leave("staff", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada cleo dan");

    // A person was faster.
    let world = self::world(least_capability(), floor(1));
    world.leave("staff", "ada");
    let target = world.target.clone();
    let by_hand = move || {
        target.remove_by_hand(&container("team").object, &usersync_tests::user("ada"));
    };
    world
        .faults
        .inject(FaultRule::meanwhile(by_hand).on(CallKind::Remove).once());
    let report = world.run("sync");
    assert_eq!(report.count(|outcome| *outcome == Outcome::AlreadySo), 1);
    world.leave("staff", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "cleo dan");
}

/// The removal of which nobody knows comes just before it is tried again: it had its effect, and keeps its place.
#[test]
fn promise_10_a_removal_that_comes_late_keeps_its_place() {
    let world = removed_in_vain(least_capability(), Fault::Timeout(Moment::Before));
    let target = world.target.clone();
    let comes = move || {
        target.remove_by_hand(&container("team").object, &usersync_tests::user("ada"));
    };
    world
        .faults
        .inject(FaultRule::meanwhile(comes).on(CallKind::Remove).once());
    let report = world.run("sync");
    assert_eq!(
        report.count(|outcome| *outcome == Outcome::Applied),
        1,
        "{report}"
    );
    the_place_is_taken(&world, "it came");
}

/// Nobody knows whether Ada was removed when she is wanted again, with another role: what was begun is given up, with its place.
#[test]
fn a_removal_in_whose_place_there_is_an_update_is_given_up() {
    let world = removed_in_vain(least_capability(), Fault::Timeout(Moment::Before));
    world.join("staff", "ada");
    let team = Container::new(container("team"), ContainerKind::Team, "team", all("staff"));
    world.catalog.put(team.with_role(Role::Manager));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.end().intents.len(), 0, "nothing is open");
    world.leave("staff", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada:manager cleo:manager dan:manager");
}

/// Half of four may go, and then there are two, of whom one might: the window is over full, and who comes comes.
#[test]
fn promise_10_a_window_that_is_over_full_holds_no_addition() {
    let share = Share {
        percent: 50,
        floor: 0,
    };
    let world = world(every_capability(), share);
    for who in ["ada", "bob"] {
        world.leave("staff", who);
    }
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    world.join("staff", "eve");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "cleo dan eve");
    world.leave("staff", "cleo");
    assert_eq!(world.run("sync").end, RunEnd::Held);
}

/// Another worker took the last place behind the plan: the removal is not begun, and who comes comes.
#[test]
fn promise_10_a_place_that_was_taken_since_the_plan_is_not_taken_again() {
    let world = world(every_capability(), floor(2));
    world.leave("staff", "ada");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    let counters = world.snapshot().store.counters;
    let counter = counters.keys().next().expect("what the window counts").clone();
    world.leave("staff", "bob");
    world.join("staff", "eve");
    let (store, tenant) = (world.store.clone(), world.tenant.clone());
    let take = move || {
        let mut taken = Transaction::new(tenant.clone());
        taken.write(Write::Add {
            counter: counter.clone(),
            delta: 1,
        });
        let _ = crash(store.commit(taken));
    };
    world
        .faults
        .inject(FaultRule::meanwhile(take).on(CallKind::Commit).once());
    let report = world.run("sync");
    let full = Outcome::NotStarted(NotStarted::WindowLimit);
    let ended = |what: &str| {
        let mut of = report.operations.iter().filter(|ended| ended.action == what);
        of.next().map(|ended| &ended.outcome)
    };
    assert_eq!(ended("remove"), Some(&full), "{report}");
    assert_eq!(ended("add"), Some(&Outcome::Applied), "{report}");
    assert_eq!(world.members("team"), "bob cleo dan eve");
    assert_eq!(world.end().intents.len(), 0);
    assert_eq!(world.run("sync").end, RunEnd::Held);
}

proptest! {
    #![proptest_config(cases(128))]

    /// However removals are spread over runs, hours and processes, with answers lost in between: no more go than a run and a
    /// window allow, since nobody approves anything. A removal has its place in the window from when it was first attempted.
    #[test]
    fn promise_10_no_more_is_removed_than_a_run_and_a_window_allow(
        before in prop_oneof![1 => edits(16), 3 => edits(4).prop_map(everybody_everywhere)],
        stages in proptest::collection::vec((prop_oneof![edits(6), some_leave()], 0..9_u64, any::<u64>()), 1..8),
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
        let mut world = edit::world().job("sync", policy).build();
        world.edit(&before);
        let mut attempted: BTreeMap<OperationId, DateTime<Utc>> = BTreeMap::new();
        let mut removed: BTreeSet<OperationId> = BTreeSet::new();
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
            world.calls.clear();
            let now = world.clock.now();
            let _ = world.run("sync");
            world.faults.heal();
            let after = world.present();
            let mut begun = false;
            let mut gone = 0;
            for (id, place, who) in removals(&world) {
                begun |= !attempted.contains_key(&id);
                attempted.entry(id).or_insert(now);
                let is_gone = present[&place].contains(&who) && !after[&place].contains(&who);
                gone += u64::from(is_gone && removed.insert(id));
            }
            let all: usize = present.iter().map(|(id, members)| members.difference(&after[id]).count()).sum();
            prop_assert_eq!(gone, all as u64, "one operation for each who is gone");
            let allowed = |share: Share| u64::from(share.floor).max(there * u64::from(share.percent) / 100);
            prop_assert!(gone <= allowed(share(run)), "{} of {} in one run", gone, there);
            // Whole hours, back from this one.
            let hour = |at: DateTime<Utc>| at.timestamp() / 3600;
            let lately = removed.iter().filter(|&id| hour(attempted[id]) > hour(now) - 6).count() as u64;
            prop_assert!(!begun || lately <= allowed(share(window)), "{} of {} within the window", lately, there);
            if seed.is_multiple_of(2) {
                world.restart();
            }
        }
    }
}

/// The removals that were attempted: from which container, and of whom.
fn removals(world: &World) -> Vec<(OperationId, ContainerRef, PrincipalRef)> {
    let calls = world.calls.all().into_iter();
    let removals = calls.filter(|call| call.kind == CallKind::Remove);
    let attempts = removals.map(
        |call| match (call.operation, call.subject, &call.containers[..]) {
            (Some(id), Some(Subject::Principal(who)), [place]) => (id, container(place.as_str()), who),
            _ => unreachable!("a removal is of somebody, from a container"),
        },
    );
    attempts.collect()
}

/// Everybody is in every container, and then `edits` come.
fn everybody_everywhere(edits: Vec<Edit>) -> Vec<Edit> {
    let containers = 0..CONTAINERS;
    let all = containers.flat_map(|n| {
        let join = (0..USERS).map(move |user| Edit::Join(n, Pick::User(user)));
        join.chain([Edit::Select(n, vec![Pick::Group(n)], vec![])])
    });
    all.chain(edits).collect()
}

/// One or two leave a group: fewer than a run may take away, and soon more than a window may.
fn some_leave() -> impl Strategy<Value = Vec<Edit>> {
    let leave = (0..CONTAINERS, 0..USERS);
    proptest::collection::vec(leave, 1..=2).prop_map(|all| {
        all.into_iter()
            .map(|(group, user)| Edit::Leave(group, Pick::User(user)))
            .collect()
    })
}
