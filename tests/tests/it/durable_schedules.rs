//! When jobs run, after the process was started anew from the store's file.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{Clock, ErrorKind, News, Retry};
use usersync::engine::{
    CronExpression, Interval, RunControl, RunRequest, Schedule, Scope, Trigger, Triggered, Waiting, Zone,
};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::Mode;
use usersync_tests::edit::cases;
use usersync_tests::{
    Crash, DurableStore, LEASE, World, WorldBuilder, WorldStore, container, crash, free_policy, job, user,
};

const HOUR: u64 = 3600;

fn builder() -> WorldBuilder {
    World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
}

fn save<S: WorldStore>(world: &World<S>, schedule: Schedule) {
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(schedule));
}

fn world_with(schedule: Schedule) -> World<DurableStore> {
    let world = builder().build_over(DurableStore::in_file);
    save(&world, schedule);
    world
}

fn every(seconds: u64) -> Schedule {
    Schedule::every(Interval::new(Duration::from_secs(seconds)).expect("an interval"))
}

fn at(expression: &str, zone: &str) -> Schedule {
    let expression = CronExpression::new(expression).expect("an expression");
    Schedule::cron(expression, Zone::new(zone).expect("a zone"))
}

fn trigger(world: &World<DurableStore>, trigger: Trigger, scope: Scope) -> Triggered {
    let (id, control) = (job("sync"), RunControl::new());
    let triggered = world
        .engine()
        .trigger(&world.tenant, &id, trigger, scope, &control);
    block_on(triggered).expect("the store works")
}

fn waiting<S: WorldStore>(world: &World<S>) -> Option<Waiting> {
    block_on(world.engine().agenda(&world.tenant))
        .expect("the jobs are listed")
        .remove(0)
        .waiting
}

fn outage<S: WorldStore>(world: &World<S>) {
    let (kind, retry) = (ErrorKind::Unavailable, Retry::Later);
    let rule = FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Members);
    world.faults.inject(rule);
}

/// A process dies, and the machine comes back with a clock that is three days behind: the lease of the dead one ends all the same, and
/// not sooner than it would have.
#[test]
fn a_lease_of_the_dead_ends_although_the_clock_was_set_back() {
    let mut world = world_with(every(HOUR));
    world
        .faults
        .inject(FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Members));
    assert!(matches!(
        crash(world.engine().run_due(&world.tenant)),
        Crash::Stopped
    ));
    world.faults.heal();
    world.set_back(Duration::from_secs(72 * HOUR));
    assert_eq!(world.run_due(), "");
    world.advance(LEASE.as_secs() - 1);
    assert_eq!(world.run_due(), "");
    world.advance(1);
    assert_eq!(world.run_due(), "sync schedule changed");
    assert_eq!(world.next_due(), Some(3600));
}

#[test]
fn due_times_stay_and_what_was_missed_is_one_run() {
    let mut world = world_with(Schedule::default());
    world.restart();
    assert_eq!(world.next_due(), Some(0));
    assert_eq!(world.run_due(), "sync schedule changed");
    world.restart();
    assert_eq!(world.next_due(), Some(4 * 3600));
    world.advance(4 * HOUR - 1);
    world.restart();
    assert_eq!(world.run_due(), "");
    world.advance(1);
    assert_eq!(world.run_due(), "sync schedule in_sync");
    // Down for more than two days.
    world.advance(57 * HOUR);
    world.restart();
    assert_eq!(world.run_due(), "sync schedule in_sync");
    world.restart();
    assert_eq!(world.run_due(), "");
    // The beat stays: it is 61 hours after the first run, and the next is 64 hours after it.
    assert_eq!(world.next_due(), Some(3 * 3600));
    world.store.assert_sound();
}

proptest! {
    #![proptest_config(cases(16))]

    /// However rarely a process runs, there is one run for all occurrences since the last look, and none without one.
    #[test]
    fn what_was_missed_while_down_is_one_run(
        kind in 0..4_usize,
        pauses in proptest::collection::vec(prop_oneof![60..4000_u64, 3600..200_000_u64], 1..12),
    ) {
        let (schedule, occurs): (Schedule, fn(DateTime<Utc>) -> bool) = match kind {
            0 => (every(4 * HOUR), |at| at.timestamp() % (4 * 3600) == 0),
            1 => (every(HOUR / 2), |at| at.timestamp() % 1800 == 0),
            // India has no summer time: 22:30 UTC the day before.
            2 => (at("0 4 * * *", "Asia/Kolkata"), |at| at.timestamp() % 86_400 == 22 * 3600 + 1800),
            _ => (at("*/15 * * * *", "UTC"), |at| at.timestamp() % 900 == 0),
        };
        let mut world = world_with(schedule);
        let mut looked = world.clock.now();
        let _ = world.run_due();
        for pause in pauses {
            world.advance(pause);
            world.restart();
            let now = world.clock.now();
            let expected = (1..=(now - looked).num_seconds()).any(|second| occurs(looked + TimeDelta::seconds(second)));
            prop_assert_eq!(!world.run_due().is_empty(), expected, "between {} and {}", looked, now);
            world.restart();
            prop_assert_eq!(world.run_due(), "");
            prop_assert!(world.next_due().is_some_and(|next| next > 0));
            looked = now;
        }
    }
}

/// Clocks in Berlin go forward on 29 March 2026 at 01:00 UTC and back on 25 October at the same time. A time that is skipped is made up
/// for when the gap ends, and one that comes twice counts once, whoever was there to see it.
#[test]
fn clocks_change_while_the_process_is_down() {
    let moment = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    // When it was saved; then when a process is there, whether the job is due, and when it is due next.
    let table = [
        (
            "2026-03-28T12:00:00Z",
            vec![
                ("2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z"),
                ("2026-03-29T01:00:00Z", true, "2026-03-30T00:30:00Z"),
                ("2026-03-29T02:00:00Z", false, "2026-03-30T00:30:00Z"),
            ],
        ),
        (
            "2026-03-28T12:00:00Z",
            vec![("2026-03-30T12:00:00Z", true, "2026-03-31T00:30:00Z")],
        ),
        (
            "2026-10-24T12:00:00Z",
            vec![
                ("2026-10-25T00:29:59Z", false, "2026-10-25T00:30:00Z"),
                ("2026-10-25T00:45:00Z", true, "2026-10-26T01:30:00Z"),
                ("2026-10-25T01:45:00Z", false, "2026-10-26T01:30:00Z"),
            ],
        ),
        (
            "2026-10-24T12:00:00Z",
            vec![("2026-10-25T01:45:00Z", true, "2026-10-26T01:30:00Z")],
        ),
        (
            "2026-03-01T12:00:00Z",
            vec![
                ("2026-10-25T12:00:00Z", true, "2026-10-26T01:30:00Z"),
                ("2026-10-26T01:30:00Z", true, "2026-10-27T01:30:00Z"),
            ],
        ),
    ];
    for (saved, looks) in table {
        let mut world = builder().build_over(DurableStore::in_file);
        world.clock.set(moment(saved));
        save(&world, at("30 2 * * *", "Europe/Berlin"));
        for (look, is_due, next) in looks {
            world.clock.set(moment(look));
            world.restart();
            assert_eq!(!world.run_due().is_empty(), is_due, "saved {saved}, at {look}");
            world.restart();
            assert_eq!(
                world.next_due(),
                Some((moment(next) - moment(look)).num_seconds()),
                "saved {saved}, after {look}"
            );
        }
    }
}

#[test]
fn a_paused_job_stays_paused() {
    let mut world = world_with(every(HOUR));
    let _ = world.run_due();
    let id = job("sync");
    assert!(
        block_on(
            world
                .engine()
                .pause_job(&world.tenant, &id, user("eve"), "moving")
        )
        .expect("a job")
    );
    world.join("staff", "cleo");
    for _ in 0..3 {
        world.advance(30 * HOUR);
        world.restart();
        assert_eq!((world.run_due(), world.next_due()), (String::new(), None));
        assert!(
            matches!(waiting(&world), Some(Waiting::Paused(pause)) if pause.by == user("eve") && pause.why == "moving")
        );
    }
    // What is asked for meanwhile is noted, once for all.
    let scope = || Scope::container(container("team"));
    for _ in 0..2 {
        assert!(matches!(
            trigger(&world, Trigger::Save, scope()),
            Triggered::Waits(Waiting::Paused(_))
        ));
        world.restart();
    }
    assert_eq!(world.members("team"), "ada bob");
    let resumed = world
        .engine()
        .resume_job(&world.tenant, &id, user("eve"), "moved");
    assert!(block_on(resumed).expect("a job"));
    world.restart();
    assert_eq!(world.run_due(), "sync save changed");
    assert_eq!(world.members("team"), "ada bob cleo");
    world.restart();
    assert_eq!((world.run_due(), world.next_due()), (String::new(), Some(3600)));
    let audit = block_on(world.engine().job_audit(&world.tenant)).expect("the log can be read");
    let actions: Vec<_> = audit.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["paused", "resumed"]);
}

/// Each pause is as long as it would have been without restarts, in its middle and at its end; people are told once.
#[test]
fn quarantine_goes_on_where_it_was() {
    let quarantines = |told: Vec<usersync::connector::Notification>| {
        let reasons = told.into_iter().filter_map(|told| match told.news {
            News::JobQuarantined { reason, .. } => Some(reason),
            _ => None,
        });
        reasons.collect::<Vec<_>>()
    };
    let mut world = world_with(every(HOUR));
    let steady = builder().build();
    save(&steady, every(HOUR));
    outage(&world);
    outage(&steady);
    assert_eq!(world.run_due(), steady.run_due());
    for n in 1..12_u32 {
        world.restart();
        let pause = steady.next_due().expect("it is tried again").unsigned_abs();
        assert_eq!(world.next_due().map(i64::unsigned_abs), Some(pause), "pause {n}");
        assert_eq!(waiting(&world), waiting(&steady), "pause {n}");
        world.advance(pause / 2);
        world.restart();
        world.advance(pause - pause / 2 - 1);
        assert_eq!(world.run_due(), "", "pause {n}");
        world.advance(1);
        steady.advance(pause);
        world.restart();
        let ran = world.run_due();
        assert!(!ran.is_empty(), "pause {n}");
        assert_eq!(ran, steady.run_due(), "pause {n}");
    }
    assert!(matches!(
        waiting(&world),
        Some(Waiting::Quarantined { failures: 12, .. })
    ));
    assert_eq!(quarantines(world.notifier.delivered()), ["target_unavailable"]);
    world.faults.heal();
    assert!(matches!(
        trigger(&world, Trigger::Save, Scope::container(container("team"))),
        Triggered::Waits(Waiting::Quarantined { .. })
    ));
    world.restart();
    let pause = world.next_due().expect("it is tried again").unsigned_abs();
    world.join("staff", "cleo");
    world.advance(pause);
    assert_eq!(world.run_due(), "sync save changed");
    world.restart();
    assert_eq!(waiting(&world), None);
    assert!(world.next_due().is_some_and(|next| 0 < next && next <= 3600));
}

#[test]
fn a_system_that_asked_to_be_left_alone_is_left_alone_by_the_next_process() {
    let mut world = world_with(every(HOUR));
    let after = Duration::from_secs(9 * HOUR);
    world
        .faults
        .inject(FaultRule::new(Fault::RateLimited { after }).on(CallKind::Members));
    assert!(!world.run_due().is_empty());
    world.faults.heal();
    world.join("staff", "cleo");
    world.restart();
    assert_eq!(world.next_due(), Some(9 * 3600));
    world.advance(9 * HOUR - 1);
    world.restart();
    assert!(matches!(
        trigger(&world, Trigger::Manual, Scope::Everything),
        Triggered::Waits(Waiting::RetryAfter { .. })
    ));
    assert_eq!(world.run_due(), "");
    world.advance(1);
    world.restart();
    assert_eq!(world.run_due(), "sync manual changed");
}

/// A container is saved while the job is being run, and the process dies before it comes to that: at any of its calls.
#[test]
fn a_save_during_a_run_that_was_killed_is_run_after_the_restart() {
    let base = world_with(Schedule::default());
    let calls = {
        let world = base.fork();
        let _ = world.run_due();
        world.calls.all()
    };
    let begun = calls.iter().position(|call| call.kind == CallKind::Directory);
    let begun = calls[begun.expect("the run reads")].number;
    let last = calls
        .iter()
        .rposition(|call| call.kind.is_effect())
        .expect("the run adds");
    for call in begun..=calls[last].number {
        let world = base.fork();
        let saver = world.new_engine("saver");
        let (tenant, faults) = (world.tenant.clone(), world.faults.clone());
        let queued: Arc<Mutex<bool>> = Arc::default();
        let seen = Arc::clone(&queued);
        let save = move || {
            let (id, control) = (job("sync"), RunControl::new());
            let scope = Scope::container(container("team"));
            let asked = crash(saver.trigger(&tenant, &id, Trigger::Save, scope, &control));
            *seen.lock().expect("nobody panics") = matches!(asked, Crash::Ended(Ok(Triggered::Coalesced)));
            // The run's next call never ends.
            faults.inject(FaultRule::new(Fault::Hang(Moment::After)));
        };
        world
            .faults
            .inject(FaultRule::meanwhile(save).at_call(call).once());
        let run = crash(world.engine().run_due(&world.tenant));
        assert!(matches!(run, Crash::Stopped), "call {call}");
        assert!(*queued.lock().expect("nobody panics"), "call {call}");
        let mut world = world.fork();
        world.join("staff", "cleo");
        world.advance(2 * LEASE.as_secs());
        assert_eq!(world.run_due(), "sync save changed", "call {call}");
        assert_eq!(world.members("team"), "ada bob cleo", "call {call}");
        world.restart();
        assert_eq!(world.run_due(), "", "call {call}");
    }
}

/// Killed at any call of a run that was due, it is due again for the process that opens the file next.
#[test]
fn a_run_that_was_killed_is_due_again() {
    let base = world_with(Schedule::manual());
    let control = RunControl::new();
    let ask = |world: &World<DurableStore>| {
        let (id, engine) = (job("sync"), world.engine().clone());
        let (tenant, control) = (world.tenant.clone(), control.clone());
        crash(async move {
            let asked = engine.trigger(&tenant, &id, Trigger::Manual, Scope::Everything, &control);
            asked.await.is_ok()
        })
    };
    let calls = {
        let world = base.fork();
        assert!(matches!(ask(&world), Crash::Ended(true)));
        world.faults.calls()
    };
    let mut noted = 0;
    for call in 1..=calls {
        let world = base.fork();
        world
            .faults
            .inject(FaultRule::new(Fault::Hang(Moment::After)).at_call(call));
        if matches!(ask(&world), Crash::Ended(_)) {
            continue;
        }
        let world = world.fork();
        world.advance(2 * LEASE.as_secs());
        let owed = world.run_due();
        if world.members("team") == "ada bob" {
            noted += 1;
        } else {
            // Killed before anything was noted: whoever asked got no answer.
            assert_eq!((owed.as_str(), call <= 4), ("", true), "killed at call {call}");
        }
        assert_eq!(world.run_due(), "", "killed at call {call}");
    }
    assert!(noted > 20, "{noted} of {calls}");
    let world = base.fork();
    assert!(world.try_run("sync", RunRequest::everything()).is_ok());
}
