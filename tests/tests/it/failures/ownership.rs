//! Memberships that somebody else put there, wants, or took away.

use std::sync::Arc;

use futures::executor::block_on;
use usersync::engine::{RunEnd, RunReport, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Faults, MemoryDirectory};
use usersync::model::{GroupKind, ObjectId, Origin, Principal, PrincipalKind, PrincipalRef, Selection};
use usersync::reconcile::{Drift, Mode, Policy, Reason};
use usersync_tests::{World, all, container, free_policy, job};

use crate::failures::{engine_reading, findings, held, naive, run_on, system};

fn team(policy: Policy) -> World {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada bob");
    world
}

/// A guest was added by hand, and somebody was a member before she was selected: neither is ours to remove.
#[test]
fn f08_members_whom_somebody_else_added_stay() {
    let world = team(free_policy(Mode::Managed));
    for who in ["guest", "cleo"] {
        world.add_by_hand("team", who);
    }
    let naive = world.fork();
    assert_eq!(naive::sync(&naive).removed, 2);

    assert_eq!(world.run("sync").end, RunEnd::InSync);
    assert_eq!(world.members("team"), "ada bob cleo guest");
    // Cleo is selected for a while. She was there before.
    world.join("staff", "cleo");
    let _ = world.settle("sync");
    assert_eq!(
        world.row("team", "cleo").map(|row| row.origin),
        Some(Origin::Foreign)
    );
    world.leave("staff", "cleo");
    world.leave("staff", "bob");
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada cleo guest", "who was ours is gone");
}

/// The members of a container whose store was lost are nobody's: they are not taken for ours, nor for strangers to clear away.
#[test]
fn f08_without_its_memory_a_job_removes_nobody() {
    let world = team(free_policy(Mode::Managed));
    world.add_by_hand("team", "guest");
    let anew = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    for member in world
        .target
        .members_of(&container("team").object)
        .expect("a team")
    {
        anew.target.set_by_hand(&container("team").object, member);
    }
    let naive = anew.fork();
    assert_eq!(naive::sync(&naive).removed, 2);

    let report = anew.settle("sync");
    assert_eq!(report.end, RunEnd::InSync);
    assert_eq!(anew.members("team"), "ada bob guest");
}

/// Each job keeps whom it wants, whichever runs last; who is in both stays until both are done with her.
#[test]
fn f09_with_two_jobs_the_last_one_does_not_win() {
    let world = World::builder()
        .group("staff", "ada bob")
        .group("lab", "ada cleo")
        .container("team", "")
        .job("staff", free_policy(Mode::Managed))
        .job("lab", free_policy(Mode::Managed))
        .build();
    let catalogs = ["staff", "lab"].map(|group| {
        let catalog = world.catalog.fork();
        catalog.select(&container("team"), all(group));
        catalog
    });
    let engines = catalogs
        .each_ref()
        .map(|catalog| world.engine_over(catalog, "one"));
    let run = |n: usize| -> RunReport {
        let id = job(["staff", "lab"][n]);
        block_on(engines[n].run(&world.tenant, &id, RunRequest::everything())).expect("a run")
    };

    // The naive synchronizer has the team of whichever list came last, at every turn.
    let naive = world.fork();
    for (group, left) in [("staff", "ada bob"), ("lab", "ada cleo"), ("staff", "ada bob")] {
        naive.select("team", group);
        naive::sync(&naive);
        assert_eq!(naive.members("team"), left);
    }

    for n in [0, 1, 0, 1] {
        let _ = run(n);
    }
    assert_eq!(world.members("team"), "ada bob cleo");
    for n in [0, 1] {
        assert_eq!(run(n).end, RunEnd::InSync, "there is no end of it otherwise");
    }
    world.leave("staff", "ada");
    let _ = run(0);
    assert_eq!(world.members("team"), "ada bob cleo", "the lab wants her");
    world.leave("lab", "ada");
    let _ = run(1);
    assert_eq!(world.members("team"), "bob cleo");
}

fn refer(system: &str, who: &str) -> PrincipalRef {
    PrincipalRef::parse(system, who).expect("an id")
}

fn crew(system: &str) -> PrincipalRef {
    refer(system, "crew")
}

/// One job reads two directories, and one of them is down: what the other one says is not all there is.
#[test]
fn f09_a_directory_that_is_down_does_not_leave_the_team_to_the_other() {
    let world = World::builder().container("team", "").build();
    let mut job = World::new_job("sync", free_policy(Mode::Managed));
    job.sources = [system("hr"), system("lab")].into();
    let [hr, lab] = [("hr", ["ada", "bob"]), ("lab", ["cleo", "dan"])].map(|(name, people)| {
        let directory = MemoryDirectory::new(system(name));
        let put = |id: &str, kind| directory.put(Principal::new(ObjectId::new(id).expect("an id"), kind, id));
        put("crew", PrincipalKind::Group(GroupKind::UserGroup));
        for who in people {
            put(who, PrincipalKind::User);
            directory.add_member(&crew(name).object, &refer(name, who));
        }
        directory
    });
    let both = Selection::of([crew("hr"), crew("lab")]);
    world.catalog.select(&container("team"), both);
    let run = |lab: MemoryDirectory| {
        let engine = engine_reading(&world, [Arc::new(hr.clone()) as _, Arc::new(lab) as _]);
        block_on(engine.save_job(&job)).expect("jobs can be saved");
        run_on(&engine, &world)
    };
    assert_eq!(run(lab.clone()).operations.len(), 4);

    hr.remove_member(&crew("hr").object, &refer("hr", "bob"));
    let faults = Faults::default();
    faults.inject(FaultRule::new(Fault::Truncated { shown: 0 }).on(CallKind::Directory));
    let report = run(lab.clone().with_faults(&faults));
    assert_eq!(held(&report), ["incomplete_source"].into());
    assert_eq!(world.presence()["team"].len(), 4);
    assert_eq!(run(lab).operations.len(), 1);
    assert_eq!(world.presence()["team"].len(), 3);
}

/// A person takes Bob out of the team, whom the directory still has in the group.
#[test]
fn f10_whom_somebody_removed_at_the_target_comes_back_and_that_is_told() {
    let world = team(free_policy(Mode::Managed));
    // A synchronizer that compares the directory with what it did last time sees no difference, for ever.
    let done = naive::groups(&world.directory);
    world.remove_by_hand("team", "bob");
    assert_eq!(naive::groups(&world.directory), done);

    let plan = world.plan("sync");
    let reasons: Vec<_> = plan.sections()[0]
        .operations
        .iter()
        .map(|operation| &operation.reason)
        .collect();
    assert_eq!(reasons, [&Reason::Restored]);
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada bob");
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// The same where the host respects what people do: he stays away, and whoever asks is told why.
#[test]
fn f10_where_removals_by_hand_are_respected_they_are_told_at_every_run() {
    let world = team(Policy {
        drift: Drift::Respect,
        ..free_policy(Mode::Managed)
    });
    world.remove_by_hand("team", "bob");
    for _ in 0..3 {
        let report = world.run("sync");
        assert_eq!(world.members("team"), "ada");
        assert_eq!(findings(&report), ["removed_by_hand"].into());
    }
}
