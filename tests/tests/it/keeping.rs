//! What a job keeps, gives back, takes over and merges.

use std::time::Duration;

use futures::executor::block_on;
use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Container, ContainerKind, Member, MembershipState, Origin, Role};
use usersync::reconcile::{Drift, FirstSight, Mode, Policy, What};
use usersync_tests::{World, all, container, facets, free_policy, job, user};

fn findings(world: &World) -> Vec<(String, What)> {
    let plan = world.plan("sync");
    let sections = plan.sections().iter();
    let all = sections.flat_map(|section| &section.findings);
    all.map(|finding| (finding.subject.to_string(), finding.what))
        .collect()
}

/// Who leaves the directory keeps what they have until their grace is over, and keeps it all if they are back in time; who merely leaves
/// a group goes at once.
#[test]
fn grace_lets_people_come_back() {
    let policy = Policy {
        grace_hours: Some(48),
        ..free_policy(Mode::Managed)
    };
    let mut world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .container("album", "bob")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world.depart("bob");
    world.leave("staff", "cleo");
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(
        (&*world.members("team"), &*world.members("album")),
        ("ada bob dan", "bob")
    );
    assert_eq!(
        findings(&world),
        [
            ("hr:bob".to_owned(), What::InGrace),
            ("hr:bob".to_owned(), What::InGrace)
        ]
    );

    let back = world.fork();
    back.clock.advance(Duration::from_secs(47 * 3600));
    assert_eq!(back.run("sync").end, RunEnd::InSync);
    back.join("staff", "bob");
    let _ = back.settle("sync");
    assert_eq!(
        (&*back.members("team"), &*back.members("album")),
        ("ada bob dan", "bob")
    );
    assert_eq!(back.end().departures.len(), 0);
    // Leaving once more begins a grace of its own.
    back.depart("bob");
    let _ = back.settle("sync");
    back.clock.advance(Duration::from_secs(47 * 3600));
    let _ = back.settle("sync");
    assert_eq!(back.members("team"), "ada bob dan");

    // A read in part tells nothing about who is back or gone.
    let partial = world.fork();
    partial.clock.advance(Duration::from_secs(49 * 3600));
    partial
        .faults
        .inject(FaultRule::new(Fault::Truncated { shown: 3 }).on(CallKind::Directory));
    let _ = partial.run("sync");
    assert_eq!(
        (&*partial.members("team"), &*partial.members("album")),
        ("ada bob dan", "bob")
    );

    world.restart();
    world.clock.advance(Duration::from_secs(48 * 3600));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(
        (&*world.members("team"), &*world.members("album")),
        ("ada dan", "")
    );
}

/// What is both there and desired becomes ours once a person says so, and only then is it taken away one day.
#[test]
fn adopting_takes_an_approval() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    for who in ["ada", "bob", "guest"] {
        world.add_by_hand("team", who);
    }
    let _ = world.settle("sync");
    assert_eq!(
        world.row("team", "ada").map(|row| row.origin),
        Some(Origin::Foreign)
    );

    let report = world
        .try_run("sync", RunRequest::everything().adopting())
        .expect("a run");
    assert_eq!(report.end, RunEnd::Held);
    let plan = report.plan.expect("a plan");
    assert_eq!(plan.summary().held, 2);
    world.approve("sync", plan.held_digest().expect("something waits"));
    let report = world
        .try_run("sync", RunRequest::everything().adopting())
        .expect("a run");
    assert_eq!((report.end, report.operations.len()), (RunEnd::Changed, 2));
    assert_eq!(world.calls.effects(), 0);
    for who in ["ada", "bob"] {
        assert_eq!(world.row("team", who).map(|row| row.origin), Some(Origin::Ours));
    }
    assert_eq!(world.row("team", "guest"), None);
    world.select("team", "ada");
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada guest");
}

#[test]
fn what_somebody_removed_is_restored_or_respected() {
    for (mode, drift, members) in [
        (Mode::Managed, Drift::Restore, "ada bob"),
        (Mode::Managed, Drift::Respect, "bob"),
        (Mode::Mirror, Drift::Respect, "ada bob"),
        (Mode::AddOnly, Drift::Respect, "ada bob"),
    ] {
        let policy = Policy {
            drift,
            ..free_policy(mode)
        };
        let world = World::builder()
            .group("staff", "ada bob")
            .container("team", "staff")
            .job("sync", policy)
            .build();
        let _ = world.settle("sync");
        world.remove_by_hand("team", "ada");
        for _ in 0..2 {
            let _ = world.settle("sync");
            assert_eq!(world.members("team"), members, "{mode:?} {drift:?}");
        }
        let found = findings(&world);
        assert_eq!(
            found.iter().any(|(_, what)| *what == What::RemovedByHand),
            members == "bob",
            "{mode:?} {drift:?}"
        );
        // Who is respected and no longer desired is forgotten, and comes back when desired anew.
        world.select("team", "bob");
        let _ = world.settle("sync");
        world.select("team", "staff");
        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "ada bob", "{mode:?} {drift:?}");
    }
}

/// A mirror keeps what another job claims, and reports it.
#[test]
fn a_mirror_keeps_what_another_job_claims() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Mirror))
        .job("other", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("other");
    let catalog = world.catalog.fork();
    catalog.select(&container("team"), all("ada"));
    world.add_by_hand("team", "guest");
    let engine = world.engine_over(&catalog, "one");
    let sync = job("sync");
    let report = block_on(engine.run(&world.tenant, &sync, RunRequest::everything())).expect("a run");
    assert_eq!(world.members("team"), "ada bob");
    let plan = report.plan.expect("a plan");
    let kept: Vec<_> = plan
        .sections()
        .iter()
        .flat_map(|section| &section.findings)
        .map(|f| f.what)
        .collect();
    assert_eq!(kept, [What::ClaimedElsewhere]);
    // Once the other lets go, the mirror removes.
    world.select("team", "ada");
    let _ = world.settle("other");
    block_on(engine.run(&world.tenant, &sync, RunRequest::everything())).expect("a run");
    assert_eq!(world.members("team"), "ada");
}

/// Role and state of what is there are merged: imported or left at first sight, and later three ways.
#[test]
fn roles_and_states_are_merged() {
    let lead =
        |role| Container::new(container("team"), ContainerKind::Team, "team", all("staff")).with_role(role);
    for (first_sight, imported) in [
        (FirstSight::Leave, "ada:owner:pending bob:manager"),
        (FirstSight::Import, "ada:manager bob:manager"),
    ] {
        let policy = Policy {
            first_sight,
            ..free_policy(Mode::Managed)
        };
        let world = World::builder()
            .group("staff", "ada bob")
            .container("team", "staff")
            .job("sync", policy)
            .build();
        world.catalog.put(lead(Role::Manager));
        let member = Member {
            principal: user("ada"),
            facets: facets(Role::Owner, MembershipState::Pending),
        };
        world.target.set_by_hand(&container("team").object, member);
        for _ in 0..2 {
            let _ = world.settle("sync");
            assert_eq!(world.members("team"), imported, "{first_sight:?}");
        }
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    }
}

/// Two jobs keep a container: which of them comes first to a role that changed makes no difference to who gets it.
#[test]
fn promise_02_a_role_that_changed_arrives_whichever_job_comes_first() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .job("more", free_policy(Mode::Managed))
        .build();
    assert!(world.run("sync").is_ok());
    let team =
        |role| Container::new(container("team"), ContainerKind::Team, "team", all("staff")).with_role(role);
    world.catalog.put(team(Role::Manager));
    for jobs in [["sync", "more"], ["more", "sync"]] {
        let fork = world.fork();
        for job in jobs {
            assert!(fork.run(job).is_ok());
        }
        let members = fork.target.members_of(&container("team").object).expect("a team");
        let roles: Vec<_> = members.into_iter().map(|member| member.facets.role).collect();
        assert_eq!(roles, [Role::Manager], "{jobs:?}");
        for job in jobs {
            assert_eq!(fork.run(job).end, RunEnd::InSync, "{jobs:?}");
        }
    }
}
