//! Promises about runs that are killed, time out, or meet each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use usersync::connector::{News, TargetCapabilities};
use usersync::engine::{EngineError, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment, StoreSnapshot};
use usersync::model::Origin;
use usersync::reconcile::{Mode, Policy};
use usersync_tests::edit::{cases, drift, edits, mode};
use usersync_tests::{
    End, LEASE, World, container, crash, eventful, every_capability, free_policy, job, least_capability, user,
};

/// What people were told and what was put on record, without the ids of operations: each with how often.
type Told = BTreeMap<String, usize>;

/// What one was told more often than the other.
fn difference(left: &Told, right: &Told) -> String {
    let lines = left
        .keys()
        .chain(right.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let count = |told: &Told, line: &str| told.get(line).copied().unwrap_or(0);
    let differ = lines
        .into_iter()
        .filter(|line| count(left, line) != count(right, line));
    differ
        .map(|line| format!("{line}: {} and {}\n", count(left, line), count(right, line)))
        .collect()
}

fn told(world: &World) -> Told {
    let mut told = Told::new();
    for notification in world.notifier.delivered() {
        if !matches!(
            notification.news,
            News::OperationsHeld { .. } | News::JobPaused { .. }
        ) {
            let line = format!("{:?} {:?}", notification.recipient, notification.news);
            *told.entry(line).or_default() += 1;
        }
    }
    for record in world.audit() {
        if record.outcome == "applied" {
            let line = format!("{} {} {}", record.action, record.container, record.subject);
            *told.entry(line).or_default() += 1;
        }
    }
    told
}

/// Where `world` ends when nothing goes wrong.
fn undisturbed(world: &World) -> (End, Told, u64) {
    let world = world.fork();
    let _ = world.run("sync");
    let calls = world.faults.calls();
    let _ = world.settle("sync");
    (world.end(), told(&world), calls)
}

/// A new process takes over once the lease of the old one is over, and brings the work to its end.
fn take_over(world: &mut World) {
    world.faults.heal();
    world.clock.advance(LEASE * 2);
    world.restart();
    let _ = world.settle("sync");
}

fn every_kind_of_target() -> [TargetCapabilities; 5] {
    let every = every_capability();
    [
        every,
        TargetCapabilities {
            conditional_write: false,
            ..every
        },
        TargetCapabilities {
            idempotency_key: false,
            ..every
        },
        least_capability(),
        TargetCapabilities::default(),
    ]
}

#[test]
fn the_eventful_run_has_something_of_everything() {
    let world = eventful(every_capability());
    let summary = world.plan("sync").summary();
    assert!(
        summary.additions >= 3 && summary.removals >= 2 && summary.updates >= 1 && summary.ledger >= 3,
        "{summary:?}"
    );
}

proptest! {
    #![proptest_config(cases(24))]

    /// Any history, any mode: a crash at every call.
    #[test]
    fn promise_14_whatever_went_before(
        mode in mode(),
        drift in drift(),
        before in edits(14),
        after in edits(10),
    ) {
        let policy = Policy { drift, ..free_policy(mode) };
        let world = usersync_tests::edit::world().job("sync", policy).build();
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let (end, news, calls) = undisturbed(&world);
        for call in 1..=calls {
            for fault in [
                Fault::Hang(Moment::Before),
                Fault::Hang(Moment::After),
                Fault::Timeout(Moment::Before),
                Fault::Timeout(Moment::After),
            ] {
                let mut world = world.fork();
                world.faults.inject(FaultRule::new(fault.clone()).at_call(call));
                let _ = crash(world.engine().run(&world.tenant, &job("sync"), RunRequest::everything()));
                take_over(&mut world);
                prop_assert_eq!(&world.end(), &end, "{:?} at call {}", fault, call);
                prop_assert_eq!(difference(&told(&world), &news), "", "{:?} at call {}", fault, call);
            }
        }
    }
}

/// What we added stays ours although the answer was lost; what a person added does not become ours.
#[test]
fn promise_16_what_we_added_is_ours_and_what_a_person_added_is_not() {
    for capabilities in every_kind_of_target() {
        let build = || {
            World::builder()
                .capabilities(capabilities)
                .group("staff", "ada bob")
                .container("team", "staff")
                .job("sync", free_policy(Mode::Managed))
                .build()
        };
        let mut lost = build();
        lost.faults.inject(
            FaultRule::new(Fault::Timeout(Moment::After))
                .principal(user("ada"))
                .times(2),
        );
        let _ = lost.run("sync");
        take_over(&mut lost);
        for who in ["ada", "bob"] {
            assert_eq!(
                lost.row("team", who).map(|row| row.origin),
                Some(Origin::Ours),
                "{who}, {capabilities:?}"
            );
        }

        let between = build();
        let target = between.target.clone();
        let add = move || {
            target.add_by_hand(&container("team").object, user("ada"));
        };
        between.faults.inject(
            FaultRule::meanwhile(add)
                .on(CallKind::Add)
                .principal(user("ada"))
                .once(),
        );
        let _ = between.settle("sync");
        let row = between.row("team", "ada").expect("a row");
        assert_eq!(row.origin, Origin::Foreign, "{capabilities:?}");
        assert_eq!(
            between.row("team", "bob").map(|row| row.origin),
            Some(Origin::Ours)
        );
        between.select("team", "");
        let _ = between.settle("sync");
        assert_eq!(between.members("team"), "ada");
    }
}

/// A worker whose lease was taken over while it worked writes nothing more, and what it began is brought to its end.
#[test]
fn promise_17_a_worker_that_lost_its_lease_writes_nothing_more() {
    for capabilities in every_kind_of_target() {
        let world = eventful(capabilities);
        let (end, _, calls) = undisturbed(&world);
        let mut lost = 0;
        for call in 1..=calls {
            let world = world.fork();
            // At this call the first worker stalls for so long that another takes the job over and ends it.
            let other = world.new_engine("two");
            let (clock, tenant, store) = (world.clock.clone(), world.tenant.clone(), world.store.clone());
            let left: Arc<Mutex<Option<StoreSnapshot>>> = Arc::default();
            let seen = Arc::clone(&left);
            let stall = move || {
                clock.advance(LEASE * 2);
                let _ = crash(other.run(&tenant, &job("sync"), RunRequest::everything()));
                *seen.lock().expect("nobody panics") = Some(store.snapshot(&tenant));
            };
            world
                .faults
                .inject(FaultRule::meanwhile(stall).at_call(call).once());
            let run = world.try_run("sync", RunRequest::everything());
            if let Err(EngineError::LeaseLost(_)) = run {
                lost += 1;
                let left = left.lock().expect("nobody panics").take();
                assert_eq!(
                    Some(world.store.snapshot(&world.tenant)),
                    left,
                    "stalled at call {call}"
                );
            }
            let _ = world.settle("sync");
            assert_eq!(world.end(), end, "stalled at call {call} with {capabilities:?}");
        }
        assert!(lost > 30, "the lease was lost at {lost} of {calls} calls only");
    }
}
