//! Whole histories over SQLite: with crashes and lost answers at any call, with processes started anew from the file, with a second
//! worker at any call. They have to go as they go in memory, call by call, where other tests compare them with naive models.

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ErrorKind, Notification, Retry, TargetCapabilities};
use usersync::engine::{AuditRecord, EngineError, RunReport, RunRequest};
use usersync::memory::{Call, CallKind, Fault, FaultRule, ManualClock, Moment};
use usersync::reconcile::{Guards, Mode, Policy, Share, Window};
use usersync::store::StoreErrorKind;
use usersync_tests::edit::{Edit, cases, drift, edits, mode};
use usersync_tests::yielding::{Workers, YieldingStore};
use usersync_tests::{
    Crash, DurableStore, End, LEASE, World, WorldStore, crash, every_capability, free_policy, job,
    least_capability,
};

/// What goes wrong while a job runs.
#[derive(Clone, Debug)]
enum Trouble {
    Nothing,
    /// The process dies at this call, before or after its effect.
    Killed(u64, Moment),
    /// The answer to this call and the next ones is lost.
    Lost(u64, Moment, u64),
    /// The store fails from this call on, for a while.
    StoreFails(u64, u64),
    /// At this call another worker begins, while the lease of the first is over.
    TakenOver(u64),
    /// At this call another worker begins, and finds the job being run.
    Meets(u64),
    /// The notifier refuses one in so many notifications.
    Refused(u64),
}

/// A part of a history: changes, hours that pass, and a run.
#[derive(Clone, Debug)]
struct Step {
    edits: Vec<Edit>,
    hours: u64,
    trouble: Trouble,
    restarts: bool,
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![Just(Moment::Before), Just(Moment::After)]
}

fn step() -> impl Strategy<Value = Step> {
    let call = 1..90_u64;
    let trouble = prop_oneof![
        2 => Just(Trouble::Nothing),
        4 => (call.clone(), moment()).prop_map(|(call, moment)| Trouble::Killed(call, moment)),
        3 => (call.clone(), moment(), 1..4_u64).prop_map(|(call, moment, times)| Trouble::Lost(call, moment, times)),
        1 => (call.clone(), 1..6_u64).prop_map(|(call, times)| Trouble::StoreFails(call, times)),
        2 => call.clone().prop_map(Trouble::TakenOver),
        1 => call.prop_map(Trouble::Meets),
        2 => any::<u64>().prop_map(Trouble::Refused),
    ];
    (edits(6), 0..9_u64, trouble, any::<bool>()).prop_map(|(edits, hours, trouble, restarts)| Step {
        edits,
        hours,
        trouble,
        restarts,
    })
}

/// All that can be seen of a history.
#[derive(Debug, PartialEq)]
struct Trace {
    ends: Vec<(Vec<Call>, String, End)>,
    audit: Vec<AuditRecord>,
    delivered: Vec<Notification>,
}

fn show(run: &Crash<Result<RunReport, EngineError>>) -> String {
    match run {
        Crash::Ended(Ok(report)) => format!(
            "{} {:?} {:?}",
            report.end.code(),
            report.plan.as_ref().map(|plan| plan.digest()),
            report.operations
        ),
        Crash::Ended(Err(error)) => error.to_string(),
        Crash::Stopped => "stopped".to_owned(),
    }
}

fn play<S: WorldStore>(mut world: World<S>, steps: &[Step]) -> (World<S>, Trace) {
    let mut ends = Vec::new();
    for step in steps {
        world.edit(&step.edits);
        world
            .clock
            .advance(std::time::Duration::from_secs(step.hours * 3600));
        let at = |call: u64| world.faults.calls() + call;
        match &step.trouble {
            Trouble::Nothing => {}
            Trouble::Killed(call, moment) => {
                let rule = FaultRule::new(Fault::Hang(*moment)).at_call(at(*call));
                world.faults.inject(rule);
            }
            Trouble::Lost(call, moment, times) => {
                let rule = FaultRule::new(Fault::Timeout(*moment)).from_call(at(*call));
                world.faults.inject(rule.times(*times));
            }
            Trouble::StoreFails(call, times) => {
                let fault = Fault::StoreFailed(StoreErrorKind::Unavailable);
                let rule = FaultRule::new(fault).from_call(at(*call)).times(*times);
                world.faults.inject(rule);
            }
            Trouble::Refused(seed) => {
                let (kind, retry) = (ErrorKind::Unavailable, Retry::Later);
                let rule = FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Notify);
                let n = 2.try_into().expect("2 is not zero");
                world.faults.inject(rule.one_in(n, *seed));
            }
            Trouble::TakenOver(call) | Trouble::Meets(call) => {
                let is_over = matches!(step.trouble, Trouble::TakenOver(_));
                let (other, clock) = (world.new_engine("two"), world.clock.clone());
                let tenant = world.tenant.clone();
                let meanwhile = move || {
                    if is_over {
                        clock.advance(LEASE * 2);
                    }
                    let _ = crash(other.run(&tenant, &job("sync"), RunRequest::everything()));
                };
                let rule = FaultRule::meanwhile(meanwhile).at_call(at(*call)).once();
                world.faults.inject(rule);
            }
        }
        let run = crash(
            world
                .engine()
                .run(&world.tenant, &job("sync"), RunRequest::everything()),
        );
        world.faults.heal();
        if step.restarts || matches!(run, Crash::Stopped) {
            world.clock.advance(LEASE * 2);
            world.restart();
        }
        ends.push((world.calls.all(), show(&run), world.end()));
        world.calls.clear();
    }
    world.clock.advance(LEASE * 2);
    world.restart();
    let last = world.settle("sync");
    ends.push((world.calls.all(), format!("{:?}", last.operations), world.end()));
    let trace = Trace {
        ends,
        audit: world.audit(),
        delivered: world.notifier.delivered(),
    };
    (world, trace)
}

fn capabilities() -> impl Strategy<Value = TargetCapabilities> {
    prop_oneof![
        Just(every_capability()),
        Just(least_capability()),
        Just(TargetCapabilities {
            conditional_write: false,
            ..every_capability()
        }),
    ]
}

fn compare(
    builder: impl Fn() -> usersync_tests::WorldBuilder,
    make: fn(&ManualClock) -> DurableStore,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let (_, expected) = play(builder().build(), steps);
    let (world, found) = play(builder().build_over(make), steps);
    for (n, (expected, found)) in expected.ends.iter().zip(&found.ends).enumerate() {
        prop_assert_eq!(expected, found, "after step {}", n);
    }
    prop_assert_eq!(expected, found);
    world.store.assert_sound();
    Ok(())
}

proptest! {
    #![proptest_config(cases(24))]

    /// Without guards, in every mode.
    #[test]
    fn promise_14_histories_over_a_file_go_as_in_memory(
        mode in mode(),
        drift in drift(),
        capabilities in capabilities(),
        changes in any::<bool>(),
        grace in proptest::option::of(1..48_u32),
        steps in proptest::collection::vec(step(), 1..8),
    ) {
        let policy = Policy { drift, grace_hours: grace, ..free_policy(mode) };
        let builder = || {
            let builder = usersync_tests::edit::world().capabilities(capabilities).job("sync", policy.clone());
            if changes { builder.with_changes() } else { builder }
        };
        compare(builder, DurableStore::in_file, &steps)?;
    }

    /// With guards that hold much, and a window.
    #[test]
    fn promise_10_guards_over_a_file_hold_as_in_memory(
        run in 0..3_u32,
        window in 0..4_u32,
        steps in proptest::collection::vec(step(), 1..8),
    ) {
        let share = |floor| Share { percent: 25, floor };
        let guards = Guards {
            run: Some(share(run)),
            window: Some(Window { hours: 6, share: share(window) }),
            ..free_policy(Mode::Managed).guards
        };
        let policy = Policy { guards, ..Policy::default() };
        let builder = || usersync_tests::edit::world().job("sync", policy.clone());
        compare(builder, DurableStore::in_file, &steps)?;
    }

    /// In tables beside those of a host.
    #[test]
    fn promise_14_histories_in_a_hosts_database_go_as_in_memory(
        drift in drift(),
        steps in proptest::collection::vec(step(), 1..6),
    ) {
        let policy = Policy { drift, ..free_policy(Mode::Managed) };
        let builder = || usersync_tests::edit::world().job("sync", policy.clone());
        compare(builder, DurableStore::in_host_database, &steps)?;
    }
}

proptest! {
    #![proptest_config(cases(6))]

    /// Killed at every single call of a run, a process that opens the file anew brings it to the end it would have had.
    #[test]
    fn promise_14_a_crash_at_any_call_over_a_file_changes_nothing_about_the_end(
        mode in mode(),
        before in edits(10),
        after in edits(8),
    ) {
        let world = usersync_tests::edit::world()
            .job("sync", free_policy(mode))
            .build_over(DurableStore::in_file);
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let (end, calls) = {
            let world = world.fork();
            let _ = world.run("sync");
            let calls = world.faults.calls();
            let _ = world.settle("sync");
            (world.end(), calls)
        };
        for call in 1..=calls {
            for fault in [Fault::Hang(Moment::Before), Fault::Hang(Moment::After), Fault::Timeout(Moment::After)] {
                let mut world = world.fork();
                world.faults.inject(FaultRule::new(fault.clone()).at_call(call));
                let _ = crash(world.engine().run(&world.tenant, &job("sync"), RunRequest::everything()));
                // The next process finds the file as the dead one left it.
                world = world.fork();
                world.clock.advance(LEASE * 2);
                let _ = world.settle("sync");
                prop_assert_eq!(&world.end(), &end, "{:?} at call {}", fault, call);
            }
        }
    }

    /// Three workers over handles of their own, polled against each other: nobody's work is undone, and one more run finds nothing
    /// to do.
    #[test]
    fn promise_17_workers_on_one_file_do_not_disturb_each_other(
        before in edits(10),
        after in edits(8),
        choices in proptest::collection::vec(0..3_usize, 0..300),
    ) {
        let world = usersync_tests::edit::world()
            .job("sync", free_policy(Mode::Managed))
            .build_over(DurableStore::in_file);
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let alone = world.fork();
        let _ = alone.settle("sync");
        let mut workers = Workers::default();
        for name in ["one", "two", "three"] {
            let mut store = world.store.clone();
            store.reopen();
            let directory = Arc::new(world.directory.clone());
            let engine = world.plain_engine(Arc::new(YieldingStore(store)), directory, name);
            let tenant = world.tenant.clone();
            workers.add(async move { engine.run(&tenant, &job("sync"), RunRequest::everything()).await });
        }
        let ran = workers.finish(&choices);
        prop_assert!(ran.iter().any(Result::is_ok));
        prop_assert!(ran.iter().all(|run| matches!(run, Ok(_) | Err(EngineError::Busy(_)))), "{:?}", ran);
        let _ = world.settle("sync");
        prop_assert_eq!(world.end(), alone.end());
        world.store.assert_sound();
    }
}

/// The faults of a store in memory come to the file: what is broken before its effect has none, what is broken after it has.
#[test]
fn faults_reach_the_file() {
    for (moment, expected) in [(Moment::Before, ""), (Moment::After, "sync")] {
        for fault in [Fault::Timeout(moment), Fault::Hang(moment)] {
            let world = usersync_tests::edit::world().build_over(DurableStore::in_file);
            let rule = FaultRule::new(fault).on(CallKind::Commit).once();
            world.faults.inject(rule);
            let new = World::new_job("sync", free_policy(Mode::Managed));
            let engine = world.new_engine("setup");
            let saved = crash(engine.save_job(&new));
            assert!(!matches!(saved, Crash::Ended(Ok(()))));
            let jobs = block_on(world.engine().jobs(&world.tenant)).expect("the file can be read");
            let names: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{moment:?}");
        }
    }
}
