//! One worker at a time has a job, for as long as its run takes.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use usersync::connector::{CallContext, Clock, Cursor, Directory, DirectoryCapabilities, ReadStream};
use usersync::engine::{Engine, EngineError, Options, RunEnd, RunReport, RunRequest};
use usersync::memory::{CallKind, Calls, Fault, FaultRule, ManualClock, MemoryDirectory};
use usersync::model::{DirectoryChange, SystemId, TenantId};
use usersync::reconcile::Mode;
use usersync::store::StoreErrorKind;
use usersync_tests::yielding::{Workers, YieldingDirectory, YieldingStore, YieldingTarget};
use usersync_tests::{LEASE, World, free_policy, job};

/// A directory whose reads take some time before they begin.
#[derive(Debug)]
struct SlowDirectory {
    inner: MemoryDirectory,
    clock: ManualClock,
    time: Duration,
}

impl Directory for SlowDirectory {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.inner.capabilities()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let read = self.inner.read(since, context);
        let sleep = self.clock.sleep(self.time);
        sleep.map(|()| read).flatten_stream().boxed()
    }
}

/// A run of `sync` adds one and removes one, in two containers.
fn world() -> World {
    let world = World::builder()
        .batch(1)
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "ada");
    world.join("staff", "cleo");
    world.calls.clear();
    world
}

fn engine(world: &World, store: YieldingStore, directory: Arc<dyn Directory>) -> Engine {
    Engine::builder(
        Arc::new(store),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone().with_calls(&world.calls)),
    )
    .directory(directory)
    .target(Arc::new(world.target.clone().with_calls(&world.calls)))
    .worker("slow")
    .build()
}

fn slow_engine(world: &World, time: Duration) -> Engine {
    let directory = SlowDirectory {
        inner: world.directory.clone(),
        clock: world.clock.clone(),
        time,
    };
    engine(world, YieldingStore(world.tapped_store()), Arc::new(directory))
}

async fn run(engine: Engine, tenant: TenantId) -> Result<RunReport, EngineError> {
    engine.run(&tenant, &job("sync"), RunRequest::everything()).await
}

/// A read of five lease times is one run: whoever looks meanwhile finds the job taken. It does not matter if a renewal fails in
/// between.
#[test]
fn a_run_keeps_its_lease_for_as_long_as_it_takes() {
    for failures in [0, 1, 2] {
        let world = world();
        let (slow, other) = (slow_engine(&world, LEASE * 5), world.new_engine("two"));
        let mut workers = Workers::default();
        let running = workers.add(run(slow, world.tenant.clone()));
        world.faults.inject(
            FaultRule::new(Fault::StoreFailed(StoreErrorKind::Unavailable))
                .on(CallKind::Renew)
                .after(4)
                .times(failures),
        );
        for _ in 0..60 {
            for _ in 0..20 {
                assert!(!workers.step(running), "the read takes longer");
            }
            let overtaken = block_on(run(other.clone(), world.tenant.clone()));
            assert!(matches!(overtaken, Err(EngineError::Busy(_))), "{overtaken:?}");
            world.clock.advance(LEASE / 12);
        }
        let reports = workers.finish(&[]);
        assert!(
            matches!(&reports[..], [Ok(report)] if report.end == RunEnd::Changed),
            "{reports:?}"
        );
        assert_eq!(world.members("team"), "bob cleo");
    }
}

/// A worker that is held up within one call, for as long as its lease lasts, makes no further one once somebody else has the job.
#[test]
fn promise_17_a_worker_that_was_held_up_within_a_call_makes_no_other() {
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let own = Calls::default();
    let target = world.target.clone().with_faults(&world.faults).with_calls(&own);
    let mut options = Options::default();
    (options.batch, options.lease) = (NonZeroUsize::MIN, LEASE);
    let slow = Engine::builder(
        Arc::new(YieldingStore(world.store.clone())),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(YieldingDirectory::new(world.directory.clone(), 1)))
    .target(Arc::new(YieldingTarget(target)))
    .options(options)
    .worker("slow")
    .build();
    let (clock, tenant) = (world.clock.clone(), world.tenant.clone());
    let (other, seen) = (world.new_engine("two"), own.clone());
    let held_up = move || {
        clock.advance(LEASE);
        let report = block_on(run(other.clone(), tenant.clone())).expect("the job is free");
        assert_eq!(report.end, RunEnd::Changed);
        // The call that holds it up is counted after this.
        seen.clear();
    };
    world
        .faults
        .inject(FaultRule::meanwhile(held_up).on(CallKind::Add).once());
    let mut workers = Workers::default();
    workers.add(run(slow, world.tenant.clone()));
    let results = workers.finish(&[]);
    assert!(results[0].is_err(), "{results:?}");
    assert_eq!(own.effects(), 1, "somebody else has the job");
    assert_eq!(world.members("team"), "ada bob cleo dan");
}

/// Nobody else has the job then, and whoever asked for it is told what the store said.
#[test]
fn a_store_that_gives_no_lease_is_no_other_worker() {
    let world = world();
    world.faults.inject(
        FaultRule::new(Fault::StoreFailed(StoreErrorKind::Unavailable))
            .on(CallKind::Acquire)
            .times(1),
    );
    let ask = || block_on(run(world.new_engine("one"), world.tenant.clone()));
    let refused = ask();
    assert!(
        matches!(&refused, Err(EngineError::Store(error)) if error.kind() == StoreErrorKind::Unavailable),
        "{refused:?}"
    );
    assert!(ask().is_ok());
}

/// A lease that cannot be renewed until it is over ends the run, with what the store said, and nothing is written.
#[test]
fn a_run_ends_when_its_lease_runs_out() {
    let world = world();
    let before = world.snapshot();
    let mut workers = Workers::default();
    let running = workers.add(run(slow_engine(&world, LEASE * 5), world.tenant.clone()));
    world
        .faults
        .inject(FaultRule::new(Fault::StoreFailed(StoreErrorKind::Unavailable)).on(CallKind::Renew));
    let mut waited = Duration::ZERO;
    while (0..20).all(|_| !workers.step(running)) {
        world.clock.advance(LEASE / 12);
        waited += LEASE / 12;
    }
    assert_eq!(waited, LEASE);
    let reports = workers.finish(&[]);
    assert!(
        matches!(&reports[..], [Err(EngineError::Store(error))] if error.kind() == StoreErrorKind::Unavailable),
        "{reports:?}"
    );
    assert_eq!(world.snapshot(), before);
    assert_eq!(world.calls.effects(), 0);
}

/// Paused anywhere until its lease is over and somebody else has done the work, a worker does nothing more, neither in the
/// store nor at the target, and does not wait for what it was reading.
#[test]
fn promise_17_a_worker_that_was_paused_beyond_its_lease_does_nothing_more() {
    let (mut lost, mut amid) = (0, 0);
    for steps in 0.. {
        let world = world();
        let directory = YieldingDirectory::new(world.directory.clone(), 5);
        let slow = engine(&world, YieldingStore(world.store.clone()), Arc::new(directory));
        let other = world.new_engine("two");
        let mut workers = Workers::default();
        let paused = workers.add(run(slow, world.tenant.clone()));
        if (0..steps).any(|_| workers.step(paused)) {
            break;
        }
        let begun = world.calls.effects();
        amid += usize::from(begun > 0);
        let has_it = matches!(
            block_on(run(other.clone(), world.tenant.clone())),
            Err(EngineError::Busy(_))
        );
        world.clock.advance(LEASE);
        let taken = block_on(run(other, world.tenant.clone()));
        assert!(taken.is_ok(), "after {steps} steps: {taken:?}");
        assert_eq!(world.members("team"), "bob cleo");
        let before = world.snapshot();
        world.calls.clear();
        let mut reports = workers.finish(&[]);
        let report = reports.pop().expect("one worker");
        if has_it {
            assert_eq!(world.snapshot(), before, "after {steps} steps");
            // A report is one of a run that had ended.
            lost += usize::from(matches!(report, Err(EngineError::LeaseLost(_))));
            assert!(
                matches!(report, Ok(_) | Err(EngineError::LeaseLost(_))),
                "{report:?}"
            );
        }
        assert_eq!(world.calls.effects(), 0, "after {steps} steps");
    }
    assert!(lost > 15 && amid > 10, "{lost} pauses, {amid} amid effects");
}

/// Who finds its lease lost does not wait for what it was reading.
#[test]
fn a_lost_lease_ends_a_read() {
    let world = world();
    let mut workers = Workers::default();
    let paused = workers.add(run(slow_engine(&world, LEASE * 50), world.tenant.clone()));
    assert!((0..20).all(|_| !workers.step(paused)));
    world.clock.advance(LEASE);
    let other = world.new_engine("two");
    assert!(block_on(run(other, world.tenant.clone())).is_ok());
    assert!((0..20).any(|_| workers.step(paused)), "the read goes on");
    let reports = workers.finish(&[]);
    assert!(
        matches!(&reports[..], [Err(EngineError::LeaseLost(_))]),
        "{reports:?}"
    );
}

/// A lease lasts from when it was asked for: one that is answered when it may be over is renewed before anything is read under it. Who
/// comes at the very moment at which it ends gets the job.
#[test]
fn promise_17_a_lease_that_comes_too_late_is_renewed_first() {
    for late in [LEASE, LEASE + Duration::from_secs(1)] {
        let world = world();
        let clock = world.clock.clone();
        let rule = FaultRule::meanwhile(move || clock.advance(late)).on(CallKind::Acquire);
        world.faults.inject(rule.once());
        assert!(block_on(run(world.new_engine("one"), world.tenant.clone())).is_ok());
        let calls = world.calls.all();
        let first = |kind| {
            let first = calls.iter().position(|call| call.kind == kind);
            first.expect("there is such a call")
        };
        assert!(first(CallKind::Renew) < first(CallKind::Directory), "{calls:?}");
        assert_eq!(world.members("team"), "bob cleo");
    }
}
