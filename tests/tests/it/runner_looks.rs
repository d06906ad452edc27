//! What a runner looks at: what other processes do meanwhile, stores and clocks that panic, and a shutdown during a look.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use usersync::connector::Clock;
use usersync::engine::{Engine, EngineBuilder, RunControl};
use usersync::memory::{CallKind, Fault, FaultRule, ManualClock, MemoryDirectory};
use usersync::model::SystemId;
use usersync::reconcile::Mode;
use usersync::store::StateStore;
use usersync::tokio::{JobName, Runner, RunnerHandle};
use usersync_tests::{Crash, LEASE, World, crash, free_policy, job};

use super::runner::{noting, settle, shown, stop, world};

fn builder(world: &World, store: Arc<dyn StateStore>, clock: Arc<dyn Clock>) -> EngineBuilder {
    let share = MemoryDirectory::new(SystemId::new("share").expect("an id"));
    let directory = world.directory.clone();
    Engine::builder(
        store,
        clock,
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(
        directory.with_faults(&world.faults).with_calls(&world.calls),
    ))
    .directory(Arc::new(share))
    .target(Arc::new(world.target.clone()))
}

fn engine_on(world: &World, store: Arc<dyn StateStore>) -> Engine {
    builder(world, store, Arc::new(world.clock.clone())).build()
}

/// What another process fills is waited for until that one ends, or the lease of a process that died.
#[tokio::test]
async fn what_is_filled_elsewhere_is_waited_for() {
    let world = world(&["b", "c"]);
    let mut reads = World::new_job("a", free_policy(Mode::Managed));
    reads.sources.insert(SystemId::new("share").expect("an id"));
    let engine = engine_on(&world, Arc::new(world.store.clone()));
    engine.save_job(&reads).await.expect("jobs can be saved");
    let stalled = FaultRule::new(Fault::Stalled { shown: 1 }).on(CallKind::Directory);
    world.faults.inject(stalled.once());
    let (elsewhere, control) = (world.new_engine("elsewhere"), RunControl::new());
    let dead = crash(elsewhere.run_if_due(&world.tenant, &job("b"), &control));
    assert!(matches!(dead, Crash::Stopped));

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
    let order = move || order.lock().expect("nobody panics").join(" ");
    settle().await;
    assert_eq!(order(), "c");
    runner.nudge();
    settle().await;
    assert_eq!(order(), "c");
    world.clock.advance(LEASE);
    settle().await;
    assert_eq!(order(), "c b a");
    stop(runner).await;
}

/// A job that fails is nobody's to wait for.
#[tokio::test]
async fn what_failed_is_not_waited_for() {
    let world = world(&["b"]);
    let mut reads = World::new_job("a", free_policy(Mode::Managed));
    reads.sources = [SystemId::new("share").expect("an id")].into();
    let engine = engine_on(&world, Arc::new(world.store.clone()));
    engine.save_job(&reads).await.expect("jobs can be saved");
    let failing = FaultRule::meanwhile(|| resume_unwind(Box::new("a host's bug")));
    world.faults.inject(failing.on(CallKind::Directory).once());
    let (runner, ran) = noting(engine, &world);
    let runner = runner.spawn();
    settle().await;
    assert_eq!(shown(&ran), "a 1, b:error 1");
    stop(runner).await;
}

/// A store that panics while the runner looks fails that look only.
#[tokio::test]
async fn a_panic_of_the_store_is_one_looks_matter() {
    for at in [CallKind::Values, CallKind::Log] {
        let world = world(&["a"]);
        world.calls.clear();
        let panicking = FaultRule::meanwhile(|| resume_unwind(Box::new("a host's bug")));
        world.faults.inject(panicking.on(at).once());
        let (runner, ran) = noting(world.new_engine("runner"), &world);
        let runner = runner.spawn();
        settle().await;
        world.clock.advance(Duration::from_secs(30));
        settle().await;
        assert_eq!(shown(&ran), "a 1", "{at:?}");
        stop(runner).await;
    }
}

/// A clock that panics once it is told to.
#[derive(Debug)]
struct FrailClock {
    clock: ManualClock,
    broken: Arc<AtomicBool>,
}

impl Clock for FrailClock {
    fn now(&self) -> DateTime<Utc> {
        if self.broken.load(Ordering::Relaxed) {
            resume_unwind(Box::new("a host's bug"));
        }
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}

/// Without a clock there is no runner; the runs that ended with it are named.
#[tokio::test]
async fn a_shutdown_after_a_panic_of_the_clock_names_what_was_dropped() {
    let world = world(&["a"]);
    let stalled = FaultRule::new(Fault::Stalled { shown: 1 }).on(CallKind::Directory);
    world.faults.inject(stalled);
    let broken = Arc::new(AtomicBool::new(false));
    let clock = FrailClock {
        clock: world.clock.clone(),
        broken: Arc::clone(&broken),
    };
    let engine = builder(&world, Arc::new(world.store.clone()), Arc::new(clock)).build();
    let (runner, ran) = noting(engine, &world);
    let runner = runner.spawn();
    settle().await;
    broken.store(true, Ordering::Relaxed);
    runner.nudge();
    settle().await;
    let left = runner.shutdown(Duration::from_secs(10)).await;
    assert_eq!(
        left.iter().map(|name| name.job.to_string()).collect::<Vec<_>>(),
        ["a"]
    );
    assert_eq!(shown(&ran), "");
}

/// A shutdown during a look: what that look finds is not begun.
#[tokio::test]
async fn a_look_under_way_begins_nothing_after_a_shutdown() {
    for at in [CallKind::Values, CallKind::Log] {
        let world = world(&["a"]);
        let handle: Arc<Mutex<Option<RunnerHandle>>> = Arc::default();
        let stopping: Arc<Mutex<Option<BoxFuture<'_, Vec<JobName>>>>> = Arc::default();
        let (told, begun) = (Arc::clone(&handle), Arc::clone(&stopping));
        let tell = move || {
            let told = told
                .lock()
                .expect("nobody panics")
                .take()
                .expect("it is told once");
            let mut shutdown = told.shutdown(Duration::from_secs(60)).boxed();
            assert_eq!((&mut shutdown).now_or_never(), None);
            *begun.lock().expect("nobody panics") = Some(shutdown);
        };
        world.faults.inject(FaultRule::meanwhile(tell).on(at).once());
        world.calls.clear();
        let (runner, ran) = noting(world.new_engine("runner"), &world);
        *handle.lock().expect("nobody panics") = Some(runner.spawn());
        settle().await;
        let shutdown = stopping.lock().expect("nobody panics").take();
        assert_eq!(shutdown.expect("it was told").await, []);
        assert_eq!(shown(&ran), "", "{at:?}");
        assert_eq!(world.calls.count(CallKind::Acquire), 0, "{at:?}");
    }
}
