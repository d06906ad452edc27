//! The runner: what is due is run, several at once, until it is told to stop. Time is moved by hand.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use usersync::connector::Clock;
use usersync::engine::{
    Engine, Interval, RunControl, RunEnd, RunEvent, RunReport, Schedule, Scope, Trigger, Triggered,
};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::SystemId;
use usersync::reconcile::Mode;
use usersync::tokio::{Runner, RunnerHandle};
use usersync_tests::yielding::{YieldingDirectory, YieldingStore};
use usersync_tests::{LEASE, World, container, free_policy, job, user};

const HOUR: u64 = 3600;

pub(crate) fn world(jobs: &[&str]) -> World {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build();
    for name in jobs {
        world.save(&World::new_job(name, free_policy(Mode::Managed)));
    }
    world
}

/// Lets every task go as far as it can without time passing.
pub(crate) async fn settle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

/// How often each job ran well, and to which other ends.
pub(crate) type Ran = Arc<Mutex<BTreeMap<String, usize>>>;

pub(crate) fn noting(engine: Engine, world: &World) -> (Runner, Ran) {
    let ran = Ran::default();
    let note = Arc::clone(&ran);
    let runner = Runner::new(engine)
        .tenant(world.tenant.clone())
        .on_end(move |ended| {
            let mut line = ended.name.job.to_string();
            if !ended.result.as_ref().is_ok_and(RunReport::is_ok) {
                line += ":";
                line += ended.result.as_ref().map_or("error", |report| report.end.code());
            }
            *note.lock().expect("nobody panics").entry(line).or_default() += 1;
        });
    (runner, ran)
}

pub(crate) fn shown(ran: &Ran) -> String {
    let ran = ran.lock().expect("nobody panics");
    ran.iter()
        .map(|(line, count)| format!("{line} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) async fn stop(runner: RunnerHandle) {
    assert_eq!(runner.shutdown(Duration::from_secs(60)).await, []);
}

#[tokio::test]
async fn jobs_run_when_they_are_due() {
    let world = world(&["a", "b"]);
    let (runner, ran) = noting(world.new_engine("runner"), &world);
    let runner = runner.spawn();
    settle().await;
    assert_eq!(shown(&ran), "a 1, b 1");
    for _ in 0..8 * 60 {
        world.clock.advance(Duration::from_secs(60));
        settle().await;
    }
    assert_eq!(shown(&ran), "a 3, b 3");
    assert!(runner.running().is_empty());
    stop(runner).await;
}

/// It sleeps until the next job is due, and not longer.
#[tokio::test]
async fn it_wakes_in_time() {
    let world = world(&["a"]);
    let (runner, ran) = noting(world.new_engine("runner"), &world);
    let runner = runner.look_every(Duration::from_secs(100 * HOUR)).spawn();
    settle().await;
    let begun = world.clock.now();
    while shown(&ran) == "a 1" {
        world.clock.set(world.clock.next_deadline().expect("it sleeps"));
        settle().await;
    }
    assert_eq!(world.clock.now() - begun, chrono::TimeDelta::hours(4));
    assert_eq!(shown(&ran), "a 2");
    stop(runner).await;
}

#[tokio::test]
async fn a_nudge_makes_it_look() {
    let world = world(&[]);
    let (runner, ran) = noting(world.new_engine("runner"), &world);
    let runner = runner.spawn();
    settle().await;
    world.save(&World::new_job("a", free_policy(Mode::Managed)));
    settle().await;
    assert_eq!(shown(&ran), "");
    runner.nudge();
    settle().await;
    assert_eq!(shown(&ran), "a 1");
    // Without one, what others noted is seen at the next look.
    world.save(&World::new_job("b", free_policy(Mode::Managed)));
    world.clock.advance(Duration::from_secs(30));
    settle().await;
    assert_eq!(shown(&ran), "a 1, b 1");
    stop(runner).await;
}

/// Jobs of a system that does not answer take the places there are, and no more; who looks sees them.
#[tokio::test]
async fn no_more_run_at_once_than_allowed() {
    let world = world(&["a", "b", "c", "d"]);
    world
        .faults
        .inject(FaultRule::new(Fault::Stalled { shown: 1 }).on(CallKind::Directory));
    let (runner, ran) = noting(world.new_engine("runner"), &world);
    let runner = runner
        .parallel(NonZeroUsize::new(3).expect("3 is not zero"))
        .spawn();
    settle().await;
    let running: Vec<_> = runner
        .running()
        .iter()
        .map(|run| run.name.job.to_string())
        .collect();
    assert_eq!(running, ["a", "b", "c"]);
    assert!(
        runner
            .running()
            .iter()
            .all(|run| matches!(run.latest, Some(RunEvent::ReadDirectory { .. })))
    );
    assert!(
        runner
            .running()
            .iter()
            .all(|run| run.name.tenant == world.tenant && run.since == world.clock.now())
    );
    // They hang: cancelled, they cannot end, and are given up after the limit.
    let shutdown = tokio::spawn(runner.shutdown(Duration::from_secs(10)));
    settle().await;
    assert!(!shutdown.is_finished());
    world.clock.advance(Duration::from_secs(10));
    let left = shutdown.await.expect("it does not panic");
    assert_eq!(
        left.iter().map(|name| name.job.to_string()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(shown(&ran), "");

    // Another process does what was begun, once the leases are over, and what was not begun at once.
    world.faults.heal();
    let (runner, ran) = noting(world.new_engine("another"), &world);
    let runner = runner.spawn();
    settle().await;
    assert_eq!(shown(&ran), "d 1");
    world.clock.advance(LEASE);
    settle().await;
    assert_eq!(shown(&ran), "a 1, b 1, c 1, d 1");
    stop(runner).await;
}

/// A shutdown ends runs before their next effect; what they did not do stays due.
#[tokio::test]
async fn a_shutdown_is_graceful() {
    let world = world(&["a"]);
    let directory = YieldingDirectory::new(world.directory.clone(), 1000);
    let engine = Engine::builder(
        Arc::new(YieldingStore(world.store.clone())),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(directory.clone()))
    .target(Arc::new(world.target.clone()))
    .build();
    let (runner, ran) = noting(engine, &world);
    let runner = runner.spawn();
    while directory.reads().begun.is_empty() {
        tokio::task::yield_now().await;
    }
    stop(runner).await;
    assert_eq!(shown(&ran), "a:cancelled 1");
    assert_eq!(world.members("team"), "");
    let ran = world
        .engine()
        .run_due(&world.tenant)
        .await
        .expect("the jobs are listed");
    assert!(matches!(&ran[..], [(_, Ok(report))] if report.end == RunEnd::Changed));
}

/// What a host's own code triggers while the runner runs the job follows in the runner.
#[tokio::test]
async fn a_trigger_during_a_run_follows_in_the_runner() {
    let world = world(&["a"]);
    let (other, tenant) = (world.new_engine("other"), world.tenant.clone());
    let answer = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&answer);
    world.faults.inject(
        FaultRule::meanwhile(move || {
            let (id, scope) = (job("a"), Scope::container(container("team")));
            let control = RunControl::new();
            let trigger = other.trigger(&tenant, &id, Trigger::Save, scope, &control);
            *noted.lock().expect("nobody panics") = Some(futures::executor::block_on(trigger));
        })
        .on(CallKind::Members)
        .once(),
    );
    let (runner, ran) = noting(world.new_engine("runner"), &world);
    let runner = runner.spawn();
    settle().await;
    assert!(matches!(
        answer.lock().expect("nobody panics").take(),
        Some(Ok(Triggered::Coalesced))
    ));
    assert_eq!(shown(&ran), "a 2");
    stop(runner).await;
}

/// Jobs that read what others fill come after those, and a job that panics is left alone for a while.
#[tokio::test]
async fn a_panic_in_a_connector_is_one_jobs_matter() {
    let world = world(&["a", "b"]);
    world.faults.inject(
        FaultRule::meanwhile(|| std::panic::resume_unwind(Box::new("a host's bug")))
            .on(CallKind::Directory)
            .once(),
    );
    let (runner, ran) = noting(world.new_engine("runner"), &world);
    let runner = runner.parallel(NonZeroUsize::MIN).spawn();
    settle().await;
    assert_eq!(shown(&ran), "a:error 1, b 1");
    for _ in 0..10 {
        world.clock.advance(LEASE);
        settle().await;
    }
    assert_eq!(shown(&ran), "a 1, a:error 1, b 1");
    stop(runner).await;
}

#[tokio::test]
async fn what_reads_comes_after_what_fills() {
    let world = world(&["b", "c"]);
    let mut reads = World::new_job("a", free_policy(Mode::Managed));
    reads.sources.insert(SystemId::new("share").expect("an id"));
    let share = usersync::memory::MemoryDirectory::new(SystemId::new("share").expect("an id"));
    let engine = Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .directory(Arc::new(share))
    .target(Arc::new(world.target.clone()))
    .build();
    engine.save_job(&reads).await.expect("jobs can be saved");
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = Arc::clone(&order);
    let runner = Runner::new(engine)
        .tenant(world.tenant.clone())
        .on_end(move |ended| {
            note.lock()
                .expect("nobody panics")
                .push(ended.name.job.to_string())
        })
        .spawn();
    settle().await;
    let order = order.lock().expect("nobody panics").clone();
    assert_eq!(order.len(), 3);
    assert_eq!(order[2], "a", "{order:?}");
    stop(runner).await;
}

/// A feed has the jobs that fill a system run again and again, two of them at once: what reads that system has its turn all the same,
/// after those that filled it first.
#[tokio::test]
async fn what_fills_again_and_again_lets_its_readers_come() {
    for fillers in [&["b"][..], &["b", "c"]] {
        let world = world(fillers);
        let share = SystemId::new("share").expect("an id");
        let mut reads = World::new_job("reader", free_policy(Mode::Managed));
        reads.sources = [share.clone()].into();
        let directory = YieldingDirectory::new(
            world
                .directory
                .clone()
                .with_faults(&world.faults)
                .with_calls(&world.calls),
            7,
        );
        let engine = Engine::builder(
            Arc::new(YieldingStore(world.store.clone())),
            Arc::new(world.clock.clone()),
            Arc::new(world.catalog.clone()),
            Arc::new(world.actors.clone()),
            Arc::new(world.notifier.clone()),
        )
        .directory(Arc::new(directory))
        .directory(Arc::new(usersync::memory::MemoryDirectory::new(share)))
        .target(Arc::new(world.target.clone()))
        .build();
        engine.save_job(&reads).await.expect("jobs can be saved");
        let (feed, tenant) = (world.new_engine("feed"), world.tenant.clone());
        let hr = SystemId::new("hr").expect("an id");
        let change =
            move || drop(futures::executor::block_on(feed.changed(&tenant, &hr)).expect("it is noted"));
        let restless = FaultRule::meanwhile(change).on(CallKind::Directory);
        world.faults.inject(restless.times(40));
        let (runner, _) = noting(engine.clone(), &world);
        let order: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = Arc::clone(&order);
        let runner = runner
            .on_end(move |ended| {
                note.lock()
                    .expect("nobody panics")
                    .push(ended.name.job.to_string())
            })
            .spawn();
        for _ in 0..20 {
            settle().await;
            world.clock.advance(Duration::from_secs(30));
        }
        let order = order.lock().expect("nobody panics").clone();
        let turn = order
            .iter()
            .position(|name| name == "reader")
            .expect("it has its turn");
        assert!(
            fillers
                .iter()
                .all(|filler| order[..turn].iter().any(|name| name == filler)),
            "{order:?}"
        );
        assert!(turn <= 8 && order.len() > 30, "{order:?}");
        stop(runner).await;
    }
}

/// Notifications that were refused come again when their time comes, without any job being due.
#[tokio::test]
async fn refused_notifications_come_again() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build();
    let day = Schedule::every(Interval::new(Duration::from_secs(24 * HOUR)).expect("an interval"));
    world.save(&World::new_job("a", free_policy(Mode::Managed)).with_schedule(day));
    world.faults.inject(
        FaultRule::new(Fault::Timeout(Moment::Before))
            .on(CallKind::Notify)
            .principal(user("ada"))
            .times(2),
    );
    let (runner, _) = noting(world.new_engine("runner"), &world);
    let runner = runner.spawn();
    settle().await;
    assert_eq!(world.notifier.delivered().len(), 1);
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(120));
        settle().await;
    }
    assert_eq!(world.notifier.delivered().len(), 2);
    stop(runner).await;
}
