//! Promises about single operations: what has an effect, what survives, and how each ends.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry, TargetCapabilities};
use usersync::engine::{EngineError, NotStarted, Outcome, RunControl, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Container, ContainerKind, Member, MembershipState, Origin, Role, TenantId};
use usersync::reconcile::{ConflictPolicy, FirstSight, Guards, Mode, Plan, Policy};
use usersync_tests::edit::{cases, edits, mode, world};
use usersync_tests::{LEASE, World, all, container, crash, every_capability, facets, free_policy, job, user};

fn staff() -> World {
    World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .container("album", "ada")
        .job("sync", free_policy(Mode::Managed))
        .job("other", free_policy(Mode::Managed))
        .build()
}

/// Nothing changes but the lease and what is remembered of runs, and the error is the one expected.
fn refused(world: &World, plan: &Plan, is_expected: impl Fn(&EngineError) -> bool, why: &str) {
    let before = world.snapshot();
    world.calls.clear();
    let error = world
        .try_run("sync", RunRequest::everything().exactly(plan.clone()))
        .expect_err(why);
    assert!(is_expected(&error), "{why}: {error}");
    assert_eq!(world.snapshot(), before, "{why}");
    assert_eq!(world.calls.effects(), 0, "{why}");
    assert!(world.calls.count(CallKind::Commit) <= 1, "{why}");
}

#[test]
fn promise_12_stale_foreign_expired_and_used_plans_have_no_effect() {
    let stale = |error: &EngineError| matches!(error, EngineError::Stale(_));
    let foreign = |error: &EngineError| matches!(error, EngineError::Foreign);
    let drifted = |error: &EngineError| matches!(error, EngineError::Drifted { .. });

    let world = staff();
    let plan = world.plan("sync");
    refused(&world, &world.plan("other"), foreign, "made for another job");

    let world = staff();
    world.clock.advance(Duration::from_secs(24 * 3600));
    refused(&world, &plan, stale, "expired");
    world.clock.advance(Duration::from_secs(1));
    refused(&world, &plan, stale, "long expired");

    let world = staff();
    let report = world
        .try_run("sync", RunRequest::everything().exactly(plan.clone()))
        .expect("the plan is current");
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(report.plan.as_ref().map(Plan::digest), Some(plan.digest()));
    refused(&world, &plan, stale, "used");

    let world = staff();
    let _ = world.settle("other");
    refused(&world, &plan, drifted, "another job was there meanwhile");

    let world = staff();
    world.add_by_hand("team", "ada");
    refused(&world, &plan, drifted, "somebody was there meanwhile");

    let world = staff();
    world.join("staff", "eve");
    refused(&world, &plan, drifted, "the directory changed");

    // The same job made anew, in the same tenant and with the same content.
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .container("album", "ada")
        .build();
    world.clock.advance(Duration::from_secs(1));
    world.save(&World::new_job("sync", free_policy(Mode::Managed)));
    refused(&world, &plan, foreign, "of another lineage");

    // Another tenant with the same ids.
    let mut other = World::new_job("sync", free_policy(Mode::Managed));
    other.tenant = TenantId::new("umbrella").expect("an id");
    let mut world = staff();
    world.save(&other);
    world.actors.set(
        &other.tenant,
        user("boss"),
        usersync::connector::ActorState::Active,
    );
    world.tenant = other.tenant.clone();
    refused(&world, &plan, foreign, "of another tenant");
}

/// After a restart the serial goes on, so that an old plan stays used.
#[test]
fn promise_12_a_plan_stays_used_in_a_later_process() {
    let mut world = staff();
    let plan = world.plan("sync");
    let _ = world
        .try_run("sync", RunRequest::everything().exactly(plan.clone()))
        .expect("the plan is current");
    // The world goes back to what the plan was made from.
    for (name, members) in [("team", "ada bob cleo dan"), ("album", "ada")] {
        for who in members.split(' ') {
            world.remove_by_hand(name, who);
        }
    }
    world.restart();
    refused(
        &world,
        &plan,
        |error| matches!(error, EngineError::Stale(_)),
        "used by an earlier process",
    );
}

/// One that has an effect on nobody, and puts on record what is there, is used, too.
#[test]
fn promise_12_a_plan_that_changes_the_ledger_only_is_used_once() {
    let world = staff();
    let _ = world.settle("sync");
    world.join("staff", "eve");
    let _ = world.settle("other");
    let plan = world.plan("sync");
    let summary = plan.summary();
    assert_eq!((summary.operations(), summary.ledger), (0, 1));
    let _ = world
        .try_run("sync", RunRequest::everything().exactly(plan.clone()))
        .expect("the plan is current");
    let is_stale = |error: &EngineError| matches!(error, EngineError::Stale(_));
    refused(&world, &plan, is_stale, "used");

    // So is one of a job that leaves what it claims to the other.
    let narrow = World::new_job("sync", free_policy(Mode::Managed)).covering([ContainerKind::Group]);
    world.save(&narrow);
    let plan = world.plan("sync");
    let _ = world
        .try_run("sync", RunRequest::everything().exactly(plan.clone()))
        .expect("the plan is current");
    let row = world.row("team", "ada").expect("the other claims it");
    assert!(!row.is_claimed_by(&job("sync")) && row.is_claimed_by(&job("other")));
    refused(&world, &plan, is_stale, "used");
}

fn versioned() -> [TargetCapabilities; 2] {
    let every = every_capability();
    [
        every,
        TargetCapabilities {
            idempotency_key: false,
            point_read: false,
            ..every
        },
    ]
}

/// What a person does between the plan and its effect stays, and is reported.
#[test]
fn promise_13_what_a_person_changes_meanwhile_survives_and_is_reported() {
    let lead =
        |role| Container::new(container("team"), ContainerKind::Team, "team", all("staff")).with_role(role);
    for capabilities in versioned() {
        let world = World::builder()
            .capabilities(capabilities)
            .group("staff", "ada bob")
            .container("team", "staff")
            .job(
                "sync",
                Policy {
                    conflict: ConflictPolicy::SourceWins,
                    ..free_policy(Mode::Managed)
                },
            )
            .build();
        let _ = world.settle("sync");

        // A removal meets a new role.
        let fork = world.fork();
        fork.leave("staff", "ada");
        let target = fork.target.clone();
        let promote = move || {
            let member = Member {
                principal: user("ada"),
                facets: facets(Role::Owner, MembershipState::Active),
            };
            target.set_by_hand(&container("team").object, member);
        };
        fork.faults
            .inject(FaultRule::meanwhile(promote).on(CallKind::Remove).once());
        let report = fork.run("sync");
        assert_eq!(
            report.count(|outcome| *outcome == Outcome::Conflict),
            1,
            "{capabilities:?}"
        );
        assert_eq!(report.end, RunEnd::Failed);
        assert_eq!(fork.members("team"), "ada:owner bob", "{capabilities:?}");

        // An update meets another one.
        let fork = world.fork();
        fork.catalog.put(lead(Role::Manager));
        let target = fork.target.clone();
        let decline = move || {
            let member = Member {
                principal: user("bob"),
                facets: facets(Role::Member, MembershipState::Pending),
            };
            target.set_by_hand(&container("team").object, member);
        };
        fork.faults.inject(
            FaultRule::meanwhile(decline)
                .on(CallKind::Update)
                .principal(user("bob"))
                .once(),
        );
        let report = fork.run("sync");
        assert_eq!(
            report.count(|outcome| *outcome == Outcome::Conflict),
            1,
            "{capabilities:?}"
        );
        assert_eq!(
            fork.members("team"),
            "ada:manager bob:pending",
            "{capabilities:?}"
        );
        // The next run merges: the role is the source's, the state the person's.
        let _ = fork.settle("sync");
        assert_eq!(
            fork.members("team"),
            "ada:manager bob:manager:pending",
            "{capabilities:?}"
        );

        // An addition meets somebody who added the same person with another role.
        let fork = world.fork();
        fork.join("staff", "cleo");
        let target = fork.target.clone();
        let invite = move || {
            let member = Member {
                principal: user("cleo"),
                facets: facets(Role::Manager, MembershipState::Pending),
            };
            target.set_by_hand(&container("team").object, member);
        };
        fork.faults
            .inject(FaultRule::meanwhile(invite).on(CallKind::Add).once());
        let _ = fork.run("sync");
        assert_eq!(
            fork.members("team"),
            "ada bob cleo:manager:pending",
            "{capabilities:?}"
        );
        let _ = fork.settle("sync");
        assert_eq!(
            fork.members("team"),
            "ada bob cleo:manager:pending",
            "{capabilities:?}"
        );
        assert_eq!(
            fork.row("team", "cleo").map(|row| row.origin),
            Some(Origin::Foreign),
            "{capabilities:?}"
        );

        // A removal meets a removal by hand and a new membership: another one, which is not ours.
        let fork = world.fork();
        fork.leave("staff", "ada");
        let target = fork.target.clone();
        let again = move || {
            target.remove_by_hand(&container("team").object, &user("ada"));
            target.add_by_hand(&container("team").object, user("ada"));
        };
        fork.faults
            .inject(FaultRule::meanwhile(again).on(CallKind::Remove).once());
        let report = fork.run("sync");
        assert_eq!(
            report.count(|outcome| *outcome == Outcome::Conflict),
            1,
            "{capabilities:?}"
        );
        assert_eq!(fork.members("team"), "ada bob", "{capabilities:?}");
    }
}

/// What a person did before the plan is no matter of luck: roles and states are merged three ways.
#[test]
fn promise_13_a_declined_invitation_stays_declined() {
    let policy = Policy {
        initial_state: MembershipState::Active,
        first_sight: FirstSight::Leave,
        ..free_policy(Mode::Managed)
    };
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    let member = Member {
        principal: user("bob"),
        facets: facets(Role::Member, MembershipState::Pending),
    };
    world.target.set_by_hand(&container("team").object, member);
    for _ in 0..3 {
        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "ada bob:pending");
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// Every operation of the plan ends in exactly one outcome, and those that nothing went wrong with are done.
    #[test]
    fn promise_18_every_operation_has_one_outcome_and_failures_stay_alone(
        mode in mode(),
        before in edits(16),
        after in edits(12),
        seed in any::<u64>(),
    ) {
        let world = world().job("sync", free_policy(mode)).build();
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let n = 3.try_into().expect("3 is not zero");
        let faults = [
            Fault::Failed { kind: ErrorKind::PermissionDenied, retry: Retry::Never },
            Fault::RateLimited { after: Duration::from_secs(9) },
            Fault::Timeout(Moment::Before),
        ];
        for (salt, fault) in faults.into_iter().enumerate() {
            for kind in [CallKind::Add, CallKind::Remove] {
                let salt = seed ^ ((salt as u64) << 8) ^ kind as u64;
                world.faults.inject(FaultRule::new(fault.clone()).on(kind).one_in(n, salt));
            }
        }
        let plan = world.plan("sync");
        let before = world.faults.fired_in_all();
        let report = world.run("sync");
        let broken = (world.faults.fired_in_all() - before) as usize;
        let key = |container: &str, subject: &str, action: &str| format!("{container} {subject} {action}");
        let planned: Vec<_> = plan
            .sections()
            .iter()
            .flat_map(|section| section.operations.iter().map(move |operation| (section, operation)))
            .map(|(section, o)| key(&section.container.to_string(), &o.subject.to_string(), o.action.code()))
            .collect();
        let mut reported: Vec<_> = report
            .operations
            .iter()
            .map(|o| key(&o.container.to_string(), &o.subject.to_string(), o.action))
            .collect();
        reported.sort();
        let mut expected = planned.clone();
        expected.sort();
        prop_assert_eq!(&reported, &expected);
        prop_assert_eq!(planned.iter().collect::<BTreeSet<_>>().len(), planned.len(), "a key has two operations");
        prop_assert_eq!(report.count(|outcome| !outcome.is_ok()), broken);
        prop_assert_eq!(report.end == RunEnd::Failed, broken > 0);
        for operation in &report.operations {
            let who = operation.subject.principal().expect("a membership");
            let there = world.present()[&operation.container].contains(who);
            if operation.outcome.is_ok() {
                prop_assert_eq!(there, operation.action == "add");
            } else {
                prop_assert_eq!(there, operation.action == "remove");
            }
        }
        world.faults.heal();
        let _ = world.settle("sync");
        prop_assert_eq!(world.end().intents.len(), 0);
    }
}

/// Told to end, a run begins nothing more; what it began is recorded, and the next run does the rest.
#[test]
fn a_cancelled_run_leaves_the_rest_to_the_next() {
    let world = World::builder()
        .batch(2)
        .group("staff", "u1 u2 u3 u4 u5 u6 u7")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let calls = {
        let fork = world.fork();
        let _ = fork.run("sync");
        assert_eq!(fork.members("team"), "u1 u2 u3 u4 u5 u6 u7");
        fork.faults.calls()
    };
    let mut partly = 0;
    for call in 1..=calls {
        let world = world.fork();
        let control = RunControl::new();
        let cancel = control.clone();
        world
            .faults
            .inject(FaultRule::meanwhile(move || cancel.cancel()).at_call(call).once());
        let report = world
            .try_run("sync", RunRequest::everything().controlled_by(control))
            .expect("a report");
        let done = report.count(Outcome::is_ok);
        // Told once everything was over, it is not cancelled any more.
        let is_over = report.end == RunEnd::Changed && done == 7;
        assert!(
            report.end == RunEnd::Cancelled || is_over,
            "call {call}: {:?}",
            report.end
        );
        let not_begun = report.count(|outcome| *outcome == Outcome::NotStarted(NotStarted::Cancelled));
        assert_eq!(done + not_begun, report.operations.len(), "call {call}");
        assert_eq!(
            world.members("team").split_whitespace().count(),
            done,
            "call {call}"
        );
        assert_eq!(world.end().intents.len(), 0, "call {call}");
        assert_eq!(world.end().ledger.len(), done, "call {call}");
        partly += usize::from(done > 0 && not_begun > 0);
        world.faults.heal();
        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "u1 u2 u3 u4 u5 u6 u7", "call {call}");
    }
    assert!(
        partly > 3,
        "{partly} runs of {calls} were cancelled between two batches"
    );
}

/// A run that somebody ends before it read everything says so, and not that things have changed since its plan was reviewed.
#[test]
fn a_cancelled_run_of_a_reviewed_plan_is_no_drift() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let plan = world.plan("sync");
    let control = RunControl::new();
    let cancel = control.clone();
    let cancelled = FaultRule::meanwhile(move || cancel.cancel()).on(CallKind::Directory);
    world.faults.inject(cancelled.once());
    let request = RunRequest::everything()
        .exactly(plan.clone())
        .controlled_by(control);
    let report = world.try_run("sync", request).expect("a report");
    assert_eq!(report.end, RunEnd::Cancelled);
    assert_eq!(world.members("team"), "");
}

/// A window that has room for all removals has room for them after a crash, too.
#[test]
fn promise_14_a_crash_does_not_use_up_the_window_twice() {
    let window = usersync::reconcile::Window {
        hours: 24,
        share: usersync::reconcile::Share { percent: 0, floor: 3 },
    };
    let policy = Policy {
        guards: Guards {
            window: Some(window),
            ..free_policy(Mode::Managed).guards
        },
        ..Policy::default()
    };
    let world = World::builder()
        .batch(2)
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    for who in ["ada", "bob", "cleo"] {
        world.leave("staff", who);
    }
    let calls = {
        let fork = world.fork();
        assert_eq!(fork.run("sync").end, RunEnd::Changed);
        fork.faults.calls()
    };
    let mut stuck = Vec::new();
    for call in 1..=calls {
        for fault in [
            Fault::Hang(Moment::Before),
            Fault::Hang(Moment::After),
            Fault::Timeout(Moment::Before),
        ] {
            let mut world = world.fork();
            world.faults.inject(FaultRule::new(fault.clone()).at_call(call));
            let _ = crash(
                world
                    .engine()
                    .run(&world.tenant, &job("sync"), RunRequest::everything()),
            );
            world.faults.heal();
            world.clock.advance(LEASE * 2);
            world.restart();
            let _ = world.settle("sync");
            if world.members("team") != "dan" {
                stuck.push((call, fault, world.members("team")));
            }
        }
    }
    assert_eq!(stuck, vec![], "of {calls} calls");
}
