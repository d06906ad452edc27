//! When jobs run: schedules, triggers that meet, failures in a row, pauses.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ErrorKind, News, Retry};
use usersync::engine::{
    CronExpression, Engine, EngineError, Interval, Job, RunControl, RunEnd, RunReport, RunRequest, Saved,
    Schedule, Scope, Trigger, Triggered, Waiting, Zone,
};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::Mode;
use usersync::store::Table;
use usersync_tests::edit::cases;
use usersync_tests::yielding::{Workers, YieldingDirectory, YieldingStore};
use usersync_tests::{Crash, LEASE, World, container, crash, free_policy, job, tenant, user};

const HOUR: u64 = 3600;

fn world_with(schedule: Schedule) -> World {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
        .build();
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(schedule));
    world
}

fn every(seconds: u64) -> Schedule {
    Schedule::every(Interval::new(Duration::from_secs(seconds)).expect("an interval"))
}

fn at(expression: &str, zone: &str) -> Schedule {
    let expression = CronExpression::new(expression).expect("an expression");
    Schedule::cron(expression, Zone::new(zone).expect("a zone"))
}

fn advance(world: &World, seconds: u64) {
    world.clock.advance(Duration::from_secs(seconds));
}

/// The runs that were due, as `job trigger end`.
fn due(world: &World) -> String {
    let ran = block_on(world.engine().run_due(&world.tenant)).expect("the jobs are listed");
    let show = |(id, report): &(_, Result<RunReport, EngineError>)| match report {
        Ok(report) => format!("{id} {} {}", report.trigger, report.end.code()),
        Err(error) => format!("{id} {error}"),
    };
    ran.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn next(world: &World) -> Option<i64> {
    let next = block_on(world.engine().next_due(&world.tenant)).expect("the jobs are listed");
    next.map(|next| (next - usersync::connector::Clock::now(&world.clock)).num_seconds())
}

fn trigger(world: &World, trigger: Trigger, scope: Scope) -> Triggered {
    let (id, control) = (job("sync"), RunControl::new());
    let triggered = world
        .engine()
        .trigger(&world.tenant, &id, trigger, scope, &control);
    block_on(triggered).expect("the store works")
}

fn waiting(world: &World) -> Option<Waiting> {
    block_on(world.engine().agenda(&world.tenant))
        .expect("the jobs are listed")
        .remove(0)
        .waiting
}

#[test]
fn a_new_job_runs_at_once_and_what_was_missed_is_one_run() {
    let mut world = world_with(Schedule::default());
    assert_eq!(next(&world), Some(0));
    assert_eq!(due(&world), "sync schedule changed");
    assert_eq!(next(&world), Some(4 * 3600));
    advance(&world, 4 * HOUR - 1);
    assert_eq!(due(&world), "");
    advance(&world, 1);
    assert_eq!(due(&world), "sync schedule in_sync");
    // Down for more than two days.
    advance(&world, 57 * HOUR);
    world.restart();
    assert_eq!(due(&world), "sync schedule in_sync");
    assert_eq!(due(&world), "");
    // The beat stays: it is 61 hours after the first run, and the next is 64 hours after it.
    assert_eq!(next(&world), Some(3 * 3600));
}

#[test]
fn manual_jobs_run_when_asked_to() {
    let world = world_with(Schedule::manual());
    assert_eq!((next(&world), due(&world)), (None, String::new()));
    advance(&world, 1000 * HOUR);
    assert_eq!((next(&world), due(&world)), (None, String::new()));
    let ran = trigger(&world, Trigger::Manual, Scope::Everything);
    assert!(
        matches!(&ran, Triggered::Ran { report, followed } if report.end == RunEnd::Changed && followed.is_empty())
    );
}

/// A wall-clock schedule counts from when its job was saved, whoever looks when.
#[test]
fn a_wall_clock_time_missed_before_the_first_look_is_made_up_for() {
    // Worlds begin on 1 January, 00:00 UTC.
    let world = world_with(at("0 4 * * *", "Europe/Berlin"));
    assert_eq!((next(&world), due(&world)), (Some(3 * 3600), String::new()));
    advance(&world, 50 * HOUR);
    assert_eq!(due(&world), "sync schedule changed");
    assert_eq!(next(&world), Some(3600));
}

#[test]
fn another_schedule_counts_from_the_last_run() {
    let world = world_with(every(24 * HOUR));
    let _ = due(&world);
    advance(&world, 5 * HOUR);
    let schedule =
        |schedule| world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(schedule));
    schedule(every(6 * HOUR));
    assert_eq!(next(&world), Some(3600));
    schedule(every(4 * HOUR));
    assert_eq!(next(&world), Some(-3600));
    schedule(at("0 12 * * *", "UTC"));
    assert_eq!(next(&world), Some(7 * 3600));
    schedule(Schedule::manual());
    assert_eq!(next(&world), None);
}

#[test]
fn jobs_stored_before_there_were_schedules_run_every_four_hours() {
    let saved = World::new_job("sync", free_policy(Mode::Managed)).with_schedule(Schedule::manual());
    let mut stored = serde_json::to_value(&saved).expect("a job has a JSON form");
    stored.as_object_mut().expect("an object").remove("schedule");
    let read: Job = serde_json::from_value(stored).expect("a job");
    assert_eq!(read, saved.with_schedule(Schedule::default()));
}

proptest! {
    #![proptest_config(cases(64))]

    /// However rarely somebody looks, there is one run for all occurrences since the last look, and none without one.
    #[test]
    fn what_was_missed_is_one_run(
        kind in 0..4_usize,
        pauses in proptest::collection::vec(prop_oneof![60..4000_u64, 3600..200_000_u64], 1..25),
        restarts in any::<u32>(),
    ) {
        let (schedule, occurs): (Schedule, fn(DateTime<Utc>) -> bool) = match kind {
            0 => (every(4 * HOUR), |at| at.timestamp() % (4 * 3600) == 0),
            1 => (every(HOUR / 2), |at| at.timestamp() % 1800 == 0),
            // India has no summer time: 22:30 UTC the day before.
            2 => (at("0 4 * * *", "Asia/Kolkata"), |at| at.timestamp() % 86_400 == 22 * 3600 + 1800),
            _ => (at("*/15 * * * *", "UTC"), |at| at.timestamp() % 900 == 0),
        };
        let mut world = world_with(schedule);
        let mut looked = usersync::connector::Clock::now(&world.clock);
        let _ = due(&world);
        for (n, pause) in pauses.into_iter().enumerate() {
            if restarts >> (n % 32) & 1 == 1 {
                world.restart();
            }
            advance(&world, pause);
            let now = usersync::connector::Clock::now(&world.clock);
            let minutes = (now - looked).num_seconds();
            let expected = (1..=minutes).any(|second| occurs(looked + TimeDelta::seconds(second)));
            prop_assert_eq!(!due(&world).is_empty(), expected, "between {} and {}", looked, now);
            prop_assert_eq!(due(&world), "");
            prop_assert!(next(&world).is_some_and(|next| next > 0));
            looked = now;
        }
    }
}

/// What an engine over a store and a directory whose calls wait is asked to do.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Due,
    Everything,
    Album,
    Team,
}

async fn ask(engine: Engine, ask: Ask) -> usize {
    let (tenant, id, control) = (tenant(), job("sync"), RunControl::new());
    let scope = match ask {
        Ask::Due => {
            let ran = engine.run_due(&tenant).await.expect("the jobs are listed");
            assert!(ran.iter().all(|(_, report)| report.is_ok()));
            return ran.len();
        }
        Ask::Everything => Scope::Everything,
        Ask::Album => Scope::container(container("album")),
        Ask::Team => Scope::container(container("team")),
    };
    match engine
        .trigger(&tenant, &id, Trigger::Save, scope, &control)
        .await
        .expect("a store that works")
    {
        Triggered::Ran { followed, .. } => {
            assert!(followed.iter().all(Result::is_ok));
            1 + followed.len()
        }
        Triggered::Coalesced => 0,
        Triggered::Waits(why) => unreachable!("nothing keeps it waiting: {why:?}"),
    }
}

fn slow_engine(world: &World, directory: &YieldingDirectory, worker: &str) -> Engine {
    Engine::builder(
        Arc::new(YieldingStore(world.store.clone())),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(directory.clone()))
    .target(Arc::new(world.target.clone()))
    .worker(worker)
    .build()
}

/// Three triggers come while a full run is under way: one run follows, and covers them all.
#[test]
fn triggers_during_a_run_are_one_more_run() {
    let world = world_with(Schedule::default());
    let directory = YieldingDirectory::new(world.directory.clone(), 10);
    let mut workers = Workers::default();
    let running = workers.add(ask(slow_engine(&world, &directory, "one"), Ask::Due));
    while directory.reads().begun.is_empty() {
        assert!(!workers.step(running));
    }
    for _ in 0..5 {
        assert!(!workers.step(running));
    }
    // This comes too late for the run under way.
    world.join("staff", "cleo");
    for (n, asked) in [Ask::Team, Ask::Album, Ask::Team].into_iter().enumerate() {
        let other = workers.add(ask(slow_engine(&world, &directory, &format!("other-{n}")), asked));
        while !workers.step(other) {}
    }
    assert_eq!(workers.finish(&[]), [2, 0, 0, 0]);
    assert_eq!(directory.reads().most, 1);
    assert_eq!(directory.reads().begun[&job("sync")], 2);
    assert_eq!(
        (&*world.members("team"), &*world.members("album")),
        ("ada bob cleo", "ada bob cleo")
    );
    assert_eq!(next(&world), Some(4 * 3600));
}

/// Noted just before the run under way ends, a trigger is answered by the run that follows, and makes none of its own.
#[test]
fn a_trigger_that_was_answered_meanwhile_makes_no_run() {
    let world = world_with(Schedule::default());
    let directory = YieldingDirectory::new(world.directory.clone(), 10);
    let mut workers = Workers::default();
    let running = workers.add(ask(slow_engine(&world, &directory, "one"), Ask::Due));
    while directory.reads().begun.is_empty() {
        assert!(!workers.step(running));
    }
    let is_noted = || {
        let mut stored = world.store.snapshot(&world.tenant).values;
        let schedules = stored.remove(&Table::Schedule).unwrap_or_default();
        schedules
            .values()
            .any(|bytes| String::from_utf8_lossy(bytes).contains("\"wanted\":{"))
    };
    let other = workers.add(ask(slow_engine(&world, &directory, "two"), Ask::Team));
    while !is_noted() {
        assert!(!workers.step(other));
    }
    while !workers.step(running) {}
    assert!(!is_noted());
    assert_eq!(workers.finish(&[]), [2, 0]);
    assert_eq!(directory.reads().begun[&job("sync")], 2);
}

proptest! {
    #![proptest_config(cases(256))]

    /// However workers and triggers meet, there is never more than one run at once, everybody who asked gets a run that began
    /// after that, there are no more runs than that takes, and nothing is left owed.
    #[test]
    fn workers_that_meet_run_a_job_one_at_a_time(
        asks in proptest::collection::vec(prop_oneof![Just(Ask::Due), Just(Ask::Everything), Just(Ask::Album), Just(Ask::Team)], 2..6),
        choices in proptest::collection::vec(0..6_usize, 0..400),
    ) {
        let world = world_with(Schedule::default());
        let directory = YieldingDirectory::new(world.directory.clone(), 10);
        let mut workers = Workers::default();
        for (n, asked) in asks.iter().enumerate() {
            workers.add(ask(slow_engine(&world, &directory, &format!("worker-{n}")), *asked));
        }
        let runs: usize = workers.finish(&choices).into_iter().sum();
        let reads = directory.reads();
        prop_assert_eq!(reads.most, 1);
        prop_assert_eq!(reads.begun.get(&job("sync")).copied().unwrap_or(0), runs);
        prop_assert!(runs >= 1 && runs <= asks.len());
        // The job was due from the start. Who looked for what is due left it to a run under way, though that was for one container;
        // and what others ask for again and again meanwhile, to the next look.
        let rest = due(&world);
        let is_asked = |one: fn(&Ask) -> bool| asks.iter().any(one);
        let is_done = is_asked(|ask| matches!(ask, Ask::Everything)) && !is_asked(|ask| matches!(ask, Ask::Due));
        prop_assert!(rest.is_empty() || !is_done, "{}", rest);
        prop_assert_eq!(world.members("team"), "ada bob");
        prop_assert_eq!(world.members("album"), "ada bob");
        prop_assert_eq!(next(&world), Some(4 * 3600));
    }
}

/// Killed at any call, the run that was due is due again, by another worker, once the lease of the dead one is over.
#[test]
fn a_run_that_was_killed_is_due_again() {
    let undisturbed = world_with(Schedule::manual());
    let before = undisturbed.faults.calls();
    assert!(matches!(
        trigger(&undisturbed, Trigger::Manual, Scope::Everything),
        Triggered::Ran { .. }
    ));
    let calls = undisturbed.faults.calls() - before;
    for call in before + 1..=before + calls {
        let mut world = world_with(Schedule::manual());
        world
            .faults
            .inject(FaultRule::new(Fault::Hang(Moment::After)).at_call(call));
        let (id, control) = (job("sync"), RunControl::new());
        let run =
            crash(
                world
                    .engine()
                    .trigger(&world.tenant, &id, Trigger::Manual, Scope::Everything, &control),
            );
        if matches!(run, Crash::Ended(_)) {
            continue;
        }
        world.faults.heal();
        advance(&world, 2 * LEASE.as_secs());
        world.restart();
        let owed = due(&world);
        if world.members("team") != "ada bob" {
            // Killed before anything was noted: whoever asked got no answer.
            assert_eq!(owed, "", "killed at call {call}");
            assert!(call <= before + 4, "killed at call {call}");
        }
        assert_eq!(due(&world), "");
    }
}

#[test]
fn a_run_that_was_told_to_end_is_due_again() {
    let world = world_with(Schedule::default());
    let control = RunControl::new();
    control.cancel();
    let ran = block_on(world.engine().run_if_due(&world.tenant, &job("sync"), &control));
    assert!(matches!(&ran[..], [Ok(report)] if report.end == RunEnd::Cancelled));
    assert_eq!(world.members("team"), "");
    assert_eq!(next(&world), Some(0));
    assert_eq!(due(&world), "sync schedule changed");
    assert_eq!(next(&world), Some(4 * 3600));
}

/// The process goes down while the target asks to be left alone: it stays so in the next process.
#[test]
fn a_run_that_was_told_to_end_comes_back_when_the_system_said() {
    let mut world = world_with(Schedule::default());
    let after = Duration::from_secs(2 * HOUR);
    let limited = FaultRule::new(Fault::RateLimited { after }).on(CallKind::Add);
    let control = RunControl::new();
    let cancel = control.clone();
    let cancelled = FaultRule::meanwhile(move || cancel.cancel()).on(CallKind::Add);
    world.faults.inject(limited);
    world.faults.inject(cancelled.after(1).once());
    let ran = block_on(world.engine().run_if_due(&world.tenant, &job("sync"), &control));
    assert!(matches!(&ran[..], [Ok(report)] if report.end == RunEnd::Cancelled));
    world.faults.heal();
    world.restart();
    assert!(matches!(waiting(&world), Some(Waiting::RetryAfter { .. })));
    assert_eq!((next(&world), due(&world)), (Some(2 * 3600), String::new()));
    // Nobody calls before, also where a run is told to end that heard of nothing.
    advance(&world, 2 * HOUR - 1);
    assert_eq!(due(&world), "");
    advance(&world, 1);
    assert_eq!(due(&world), "sync schedule changed");
}

/// A save does what it is for, and leaves the rest to others.
#[test]
fn a_save_is_only_about_its_container() {
    let world = world_with(Schedule::default());
    let (id, deadline) = (job("sync"), Duration::from_secs(5));
    let saved = block_on(
        world
            .engine()
            .save_container(&world.tenant, &id, container("team"), deadline),
    );
    assert!(matches!(saved, Ok(Saved::Done(report)) if report.trigger == Trigger::Save));
    assert_eq!(
        (&*world.members("team"), &*world.members("album")),
        ("ada bob", "")
    );
    assert_eq!(due(&world), "sync schedule changed");
    assert_eq!(world.members("album"), "ada bob");
}

#[test]
fn a_save_during_a_run_is_queued() {
    let world = world_with(Schedule::default());
    let directory = YieldingDirectory::new(world.directory.clone(), 10);
    let mut workers = Workers::default();
    let running = workers.add(ask(slow_engine(&world, &directory, "one"), Ask::Due));
    while directory.reads().begun.is_empty() {
        assert!(!workers.step(running));
    }
    let (id, deadline) = (job("sync"), Duration::from_secs(5));
    let saved = block_on(
        world
            .engine()
            .save_container(&world.tenant, &id, container("team"), deadline),
    );
    assert!(matches!(saved, Ok(Saved::Queued(None))));
    assert_eq!(workers.finish(&[]), [2]);
}

fn outage(world: &World, kind: ErrorKind, on: CallKind, retry: Retry) {
    world.faults.heal();
    world
        .faults
        .inject(FaultRule::new(Fault::Failed { kind, retry }).on(on));
}

fn quarantines(world: &World) -> Vec<String> {
    let told = world.notifier.delivered().into_iter();
    told.filter_map(|told| match told.news {
        News::JobQuarantined { reason, .. } => Some(reason),
        _ => None,
    })
    .collect()
}

/// The target is out of order for two days: the job comes back at longer and longer intervals, its people are told once for
/// every reason, and once it goes well all is as before.
#[test]
fn a_job_whose_target_fails_waits_longer_and_longer() {
    let mut world = world_with(every(HOUR));
    outage(&world, ErrorKind::Unavailable, CallKind::Members, Retry::Later);
    assert!(due(&world).starts_with("sync schedule"));
    let mut pauses = Vec::new();
    for n in 1..12 {
        let pause = next(&world).expect("it is tried again");
        advance(&world, pause.unsigned_abs() - 1);
        assert_eq!(due(&world), "");
        advance(&world, 1);
        if n == 6 {
            outage(
                &world,
                ErrorKind::Unauthenticated,
                CallKind::Members,
                Retry::Never,
            );
        }
        world.restart();
        assert!(!due(&world).is_empty());
        pauses.push(pause);
        assert!(matches!(waiting(&world), Some(Waiting::Quarantined { failures, .. }) if failures == n + 1));
    }
    let day = 24 * 3600;
    assert!(
        pauses
            .windows(2)
            .all(|two| two[0] < two[1] || two[1] > day * 7 / 8),
        "{pauses:?}"
    );
    assert!(pauses.iter().all(|pause| *pause <= day), "{pauses:?}");
    assert!(pauses[0] <= 300 && pauses[10] > day * 7 / 8, "{pauses:?}");
    assert_eq!(
        quarantines(&world),
        ["target_unavailable", "target_unauthenticated"]
    );
    // The pauses are the same whenever it is asked.
    assert_eq!(next(&world), next(&world.fork()));

    // A save waits; a person does not.
    world.faults.heal();
    assert!(matches!(
        trigger(&world, Trigger::Save, Scope::container(container("team"))),
        Triggered::Waits(Waiting::Quarantined { .. })
    ));
    assert!(
        matches!(trigger(&world, Trigger::Manual, Scope::Everything), Triggered::Ran { report, .. } if report.is_ok())
    );
    assert_eq!(waiting(&world), None);
    assert!(next(&world).is_some_and(|next| 0 < next && next <= 3600));
}

#[test]
fn one_failing_source_of_one_is_trouble_and_one_failing_member_is_not() {
    let world = world_with(every(HOUR));
    outage(&world, ErrorKind::TimedOut, CallKind::Directory, Retry::Later);
    let _ = due(&world);
    assert!(
        matches!(waiting(&world), Some(Waiting::Quarantined { reason, .. }) if reason == "source_timed_out")
    );
    assert_eq!(quarantines(&world), [""; 0]);

    let world = world_with(every(HOUR));
    let refuse = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world
        .faults
        .inject(FaultRule::new(refuse).on(CallKind::Add).principal(user("ada")));
    assert_eq!(due(&world), "sync schedule failed");
    assert_eq!(waiting(&world), None);
    // Nothing but that one is left to do, and nothing can be done: that is not told from an outage.
    advance(&world, HOUR);
    assert_eq!(due(&world), "sync schedule failed");
    assert!(matches!(waiting(&world), Some(Waiting::Quarantined { .. })));

    let world = world_with(every(HOUR));
    let refuse = Fault::Failed {
        kind: ErrorKind::PermissionDenied,
        retry: Retry::Never,
    };
    world.faults.inject(FaultRule::new(refuse).on(CallKind::Add));
    assert_eq!(due(&world), "sync schedule failed");
    assert_eq!(waiting(&world), None);
}

/// Where nobody knows of any operation whether it happened, the target is no better than one that fails.
#[test]
fn a_target_whose_answers_are_all_lost_is_trouble() {
    let world = world_with(every(HOUR));
    for moment in [Moment::Before, Moment::After] {
        let lost = Fault::Timeout(moment);
        world.faults.inject(FaultRule::new(lost).on(CallKind::Add));
    }
    let silent = Fault::Timeout(Moment::Before);
    world.faults.inject(FaultRule::new(silent).on(CallKind::Member));
    let _ = due(&world);
    assert!(
        matches!(waiting(&world), Some(Waiting::Quarantined { reason, .. }) if reason == "target_timed_out")
    );
}

/// `Retry-After` counts for everybody.
#[test]
fn nobody_comes_back_before_the_system_said() {
    for on in [
        CallKind::Containers,
        CallKind::Directory,
        CallKind::Members,
        CallKind::Add,
    ] {
        let world = world_with(every(HOUR));
        world.faults.inject(
            FaultRule::new(Fault::RateLimited {
                after: Duration::from_secs(9 * HOUR),
            })
            .on(on),
        );
        assert!(!due(&world).is_empty());
        world.faults.heal();
        assert!(
            matches!(waiting(&world), Some(Waiting::RetryAfter { .. })),
            "{on:?}"
        );
        assert_eq!(next(&world), Some(9 * 3600), "{on:?}");
        advance(&world, 9 * HOUR - 1);
        assert!(matches!(
            trigger(&world, Trigger::Manual, Scope::Everything),
            Triggered::Waits(Waiting::RetryAfter { .. })
        ));
        assert_eq!(due(&world), "");
        advance(&world, 1);
        assert!(due(&world).starts_with("sync manual"), "{on:?}");
        assert_eq!(waiting(&world), None);
    }
}

/// Nor does anybody who asks for years get them.
#[test]
fn a_system_cannot_put_off_for_years() {
    for on in [CallKind::Directory, CallKind::Members, CallKind::Add] {
        let world = world_with(every(HOUR));
        let after = Duration::from_secs(u64::MAX);
        world
            .faults
            .inject(FaultRule::new(Fault::RateLimited { after }).on(on));
        assert!(!due(&world).is_empty());
        world.faults.heal();
        assert_eq!(next(&world), Some(24 * 3600), "{on:?}");
        advance(&world, 24 * HOUR);
        assert!(due(&world).starts_with("sync schedule"), "{on:?}");
        assert_eq!(waiting(&world), None);
    }
}

/// The machine comes back with a clock that is three days behind: nothing waits for the three days.
#[test]
fn a_clock_that_was_set_back_puts_nothing_off() {
    let days = Duration::from_secs(72 * HOUR);
    for schedule in [
        every(HOUR),
        every(HOUR).with_jitter(1800),
        at("0 4 * * *", "Europe/Berlin"),
    ] {
        let mut world = world_with(schedule);
        advance(&world, 40 * HOUR);
        assert_eq!(due(&world), "sync schedule changed");
        world.set_back(days);
        assert_eq!(due(&world), "sync schedule in_sync");
        assert_eq!(due(&world), "");
        assert!(next(&world).is_some_and(|next| 0 < next && next <= 24 * 3600));
    }
    // What asked to be left alone, and what failed.
    let faults = [
        FaultRule::new(Fault::RateLimited {
            after: Duration::from_secs(9 * HOUR),
        })
        .on(CallKind::Members),
        FaultRule::new(Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry: Retry::Later,
        })
        .on(CallKind::Members),
    ];
    for fault in faults {
        let mut world = world_with(every(HOUR));
        world.faults.inject(fault);
        assert!(due(&world).starts_with("sync schedule"));
        world.faults.heal();
        assert!(waiting(&world).is_some());
        world.set_back(days);
        assert!(due(&world).starts_with("sync schedule"));
        assert_eq!((waiting(&world), next(&world)), (None, Some(3600)));
    }
}

/// Clocks of two workers are never quite the same: that makes nothing due.
#[test]
fn a_clock_that_is_a_little_behind_makes_nothing_due() {
    for schedule in [every(60), every(4 * HOUR), at("*/5 * * * *", "UTC")] {
        let mut world = world_with(schedule);
        advance(&world, 300);
        assert_eq!(due(&world), "sync schedule changed");
        let next = next(&world).expect("it runs again");
        world.set_back(Duration::from_secs(HOUR / 2));
        assert_eq!(due(&world), "");
        advance(&world, HOUR / 2 + next.unsigned_abs() - 1);
        assert_eq!(due(&world), "");
        advance(&world, 1);
        assert_eq!(due(&world), "sync schedule in_sync");
    }
}

#[test]
fn a_run_that_comes_to_no_report_is_tried_again_after_a_pause() {
    let world = world_with(Schedule::manual());
    outage(&world, ErrorKind::Unavailable, CallKind::State, Retry::Later);
    let (id, control) = (job("sync"), RunControl::new());
    let failed =
        block_on(
            world
                .engine()
                .trigger(&world.tenant, &id, Trigger::Manual, Scope::Everything, &control),
        );
    assert!(matches!(failed, Err(EngineError::Connector(_))));
    assert!(
        matches!(waiting(&world), Some(Waiting::Quarantined { failures: 1, reason, .. }) if reason == "host_unavailable")
    );
    world.faults.heal();
    advance(&world, 300);
    assert_eq!(due(&world), "sync manual changed");
    assert_eq!(next(&world), None);
}

#[test]
fn a_paused_job_waits_for_whoever_resumes_it() {
    let world = world_with(every(HOUR));
    let _ = due(&world);
    let id = job("sync");
    let pause = |who: &str, why: &str| {
        block_on(world.engine().pause_job(&world.tenant, &id, user(who), why)).expect("the job is there")
    };
    assert!(pause("eve", "moving house"));
    assert!(!pause("mallory", "me too"));
    assert!(
        matches!(waiting(&world), Some(Waiting::Paused(pause)) if pause.by == user("eve") && pause.why == "moving house")
    );
    world.join("staff", "cleo");
    advance(&world, 30 * HOUR);
    assert_eq!((due(&world), next(&world)), (String::new(), None));
    for asked in [Trigger::Save, Trigger::Manual] {
        assert!(matches!(
            trigger(&world, asked, Scope::container(container("team"))),
            Triggered::Waits(Waiting::Paused(_))
        ));
    }
    assert_eq!(world.members("team"), "ada bob");
    let resume = || {
        block_on(
            world
                .engine()
                .resume_job(&world.tenant, &id, user("eve"), "moved"),
        )
        .expect("the job is there")
    };
    assert!(resume());
    assert!(!resume());
    assert_eq!(due(&world), "sync manual changed");
    assert_eq!((due(&world), next(&world)), (String::new(), Some(3600)));
    assert_eq!(world.members("team"), "ada bob cleo");
    let audit = block_on(world.engine().job_audit(&world.tenant)).expect("the log can be read");
    let lines: Vec<_> = audit
        .iter()
        .map(|record| {
            format!(
                "{} {} by {}: {}",
                record.job, record.action, record.by, record.why
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "sync paused by hr:eve: moving house",
            "sync resumed by hr:eve: moved"
        ]
    );
    assert!(world.audit().iter().all(|record| record.job == id));
    let unknown = block_on(
        world
            .engine()
            .pause_job(&world.tenant, &job("nobody"), user("eve"), "?"),
    );
    assert!(matches!(unknown, Err(EngineError::UnknownJob(_))));
}

/// A run by itself knows nothing of schedules.
#[test]
fn plain_runs_leave_the_schedule_alone() {
    let world = world_with(every(HOUR));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(next(&world), Some(0));
    assert!(world.try_run("sync", RunRequest::everything()).is_ok());
}
