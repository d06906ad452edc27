//! How runs go: saving one container, all jobs in their order, leases, cursors, records.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use usersync::connector::{
    CallContext, Clock, Cursor, Directory, DirectoryCapabilities, ErrorKind, ReadStream, Retry,
};
use usersync::engine::{Engine, EngineError, RunControl, RunEnd, RunEvent, RunRequest, Saved, Trigger};
use usersync::memory::{CallKind, Fault, FaultRule, ManualClock, MemoryDirectory, Moment};
use usersync::model::{DirectoryChange, SystemId};
use usersync::reconcile::{Guards, Mode, Policy};
use usersync::store::{Key, LeaseName, StateStore, StoreErrorKind, Table};
use usersync_tests::edit::{cases, edits, mode, world};
use usersync_tests::{LEASE, World, container, crash, free_policy, job};

/// Saving a container answers within the deadline if it can, and else goes on for whoever drives it.
#[test]
fn saving_a_container_answers_in_time_or_goes_on() {
    let build = || {
        World::builder()
            .group("staff", "ada bob cleo")
            .container("team", "staff")
            .container("album", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build()
    };
    let world = build();
    let saved = block_on(world.engine().save_container(
        &world.tenant,
        &job("sync"),
        container("team"),
        Duration::from_secs(5),
    ));
    let Saved::Done(report) = saved.expect("a run") else {
        unreachable!("nothing takes any time")
    };
    assert_eq!((report.end, report.trigger), (RunEnd::Changed, Trigger::Save));
    assert_eq!(
        (&*world.members("team"), &*world.members("album")),
        ("ada bob cleo", "")
    );

    // The directory is slower than the deadline.
    let world = build();
    let slow = SlowDirectory {
        inner: world.directory.clone(),
        clock: world.clock.clone(),
    };
    let engine = engine(&world, Arc::new(slow));
    world.clock.set_auto(true);
    let id = job("sync");
    let save = engine.save_container(&world.tenant, &id, container("team"), Duration::from_secs(5));
    let Saved::Continues(rest) = block_on(save).expect("a run") else {
        unreachable!("the directory takes ten seconds")
    };
    assert_eq!(world.members("team"), "");
    // What goes on has the job: nobody else runs it meanwhile.
    let busy = world
        .try_run("sync", RunRequest::everything())
        .expect_err("the job is being run");
    assert!(matches!(busy, EngineError::Busy(_)));
    let report = block_on(rest).expect("a run").expect("it has begun");
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(
        (&*world.members("team"), &*world.members("album")),
        ("ada bob cleo", "")
    );
    assert!(world.run("sync").is_ok());
}

/// An engine over the backends of `world` with another directory.
fn engine(world: &World, directory: Arc<dyn Directory>) -> Engine {
    Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(directory)
    .target(Arc::new(world.target.clone()))
    .build()
}

/// A directory that takes ten seconds to begin.
#[derive(Debug)]
struct SlowDirectory {
    inner: MemoryDirectory,
    clock: ManualClock,
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
        self.clock
            .sleep(Duration::from_secs(10))
            .map(|()| read)
            .flatten_stream()
            .boxed()
    }
}

/// Confirmed in the same dialogue: the digest of what waits comes back with the report.
#[test]
fn saving_an_emptied_container_asks_first() {
    let policy = Policy {
        guards: Guards {
            emptied: true,
            ..free_policy(Mode::Managed).guards
        },
        ..Policy::default()
    };
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world.select("team", "");
    let save = || {
        let id = job("sync");
        let save =
            world
                .engine()
                .save_container(&world.tenant, &id, container("team"), Duration::from_secs(5));
        match block_on(save).expect("a run") {
            Saved::Done(report) => report,
            Saved::Continues(_) | Saved::Queued(_) => unreachable!("nothing takes any time"),
        }
    };
    let report = save();
    assert_eq!(report.end, RunEnd::Held);
    world.approve(
        "sync",
        report
            .plan
            .and_then(|plan| plan.held_digest())
            .expect("something waits"),
    );
    assert_eq!(save().end, RunEnd::Changed);
    assert_eq!(world.members("team"), "");
}

/// Jobs that fill what others read go first, whatever their names.
#[test]
fn all_jobs_run_in_the_order_of_what_they_read() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .build();
    let mut reads = World::new_job("a", free_policy(Mode::Managed));
    // It reads what the others fill; that there is no such directory is its own affair.
    reads.sources.insert(SystemId::new("share").expect("an id"));
    let writes = World::new_job("b", free_policy(Mode::Managed));
    let more = World::new_job("c", free_policy(Mode::Managed));
    let share = MemoryDirectory::new(SystemId::new("share").expect("an id"));
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
    for job in [&reads, &writes, &more] {
        block_on(engine.save_job(job)).expect("jobs can be saved");
    }
    let ran = block_on(engine.run_all(&world.tenant, Trigger::Schedule)).expect("the jobs are listed");
    let order: Vec<_> = ran.iter().map(|(id, _)| id.to_string()).collect();
    // All three fill `share`, so the only one that reads it goes last.
    assert_eq!(order, ["b", "c", "a"]);
    for (id, report) in ran {
        let report = report.expect("a run");
        assert_eq!(report.trigger, Trigger::Schedule, "{id}");
    }
}

/// One job's failure is no other job's.
#[test]
fn all_jobs_run_even_if_one_is_busy() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("a", free_policy(Mode::Managed))
        .job("b", free_policy(Mode::Managed))
        .build();
    let name = LeaseName {
        tenant: world.tenant.clone(),
        key: Key::of(&["job", "a"]),
    };
    let lease = block_on(world.store.acquire(&name, "somebody", LEASE)).expect("the lease is free");
    let ran = block_on(world.engine().run_all(&world.tenant, Trigger::Manual)).expect("the jobs are listed");
    assert!(matches!(ran[0].1, Err(EngineError::Busy(_))));
    assert!(matches!(&ran[1].1, Ok(report) if report.end == RunEnd::Changed));
    block_on(world.store.release(&lease)).expect("a lease can be released");
    assert!(world.run("a").is_ok());
}

/// A lease that was held by a process that died is free once it is over.
#[test]
fn a_held_lease_is_busy_until_it_is_over() {
    let mut world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world
        .faults
        .inject(FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Directory));
    let _ = crash(
        world
            .engine()
            .run(&world.tenant, &job("sync"), RunRequest::everything()),
    );
    world.faults.heal();
    world.restart();
    let before = world.snapshot();
    let busy = world
        .try_run("sync", RunRequest::everything())
        .expect_err("the lease is held");
    assert!(matches!(busy, EngineError::Busy(_)));
    assert_eq!(world.snapshot(), before);
    world.clock.advance(LEASE - Duration::from_secs(1));
    assert!(world.try_run("sync", RunRequest::everything()).is_err());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
}

/// A run whose cursor is too old reads everything, and nobody goes while that read is not complete.
#[test]
fn an_expired_cursor_leads_to_a_full_read() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "bob");
    world.join("staff", "dan");
    world.directory.expire_cursors();
    let fork = world.fork();
    world.faults.inject(
        FaultRule::new(Fault::Truncated { shown: 6 })
            .on(CallKind::Directory)
            .after(1)
            .once(),
    );
    let _ = world.run("sync");
    assert!(
        world.members("team").contains("bob"),
        "the full read was not complete"
    );
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada cleo dan");
    // A new process has no graph to continue.
    let _ = fork.settle("sync");
    assert_eq!(fork.members("team"), "ada cleo dan");
}

/// A cursor is stored only once what it covers had its effects, and previews never move it.
#[test]
fn a_cursor_moves_with_the_effects_of_what_it_covers() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let cursor = |world: &World| world.snapshot().store.values.get(&Table::Cursor).cloned();
    let _ = world.settle("sync");
    let first = cursor(&world).expect("a cursor");
    world.join("staff", "bob");
    let refuse = Fault::Failed {
        kind: ErrorKind::PermissionDenied,
        retry: Retry::Never,
    };
    world
        .faults
        .inject(FaultRule::new(refuse).on(CallKind::Add).once());
    assert_eq!(world.run("sync").end, RunEnd::Failed);
    assert_eq!(cursor(&world).as_ref(), Some(&first));
    let _ = world.plan("sync");
    assert_eq!(cursor(&world).as_ref(), Some(&first));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_ne!(cursor(&world), Some(first));
    assert_eq!(world.members("team"), "ada bob");
}

proptest! {
    #![proptest_config(cases(256))]

    /// Whatever changes, and whichever runs fail, a run that follows the change feed plans what a run plans that reads everything.
    #[test]
    fn reading_changes_equals_reading_everything(
        mode in mode(),
        stages in proptest::collection::vec((edits(8), 0..6_u8), 1..7),
    ) {
        let mut world = world().with_changes().job("sync", free_policy(mode)).build();
        for (stage, trouble) in stages {
            world.edit(&stage);
            match trouble {
                0 => world.restart(),
                1 => world.directory.expire_cursors(),
                _ => {}
            }
            let fresh = world.plan("sync");
            let refuse = Fault::Failed { kind: ErrorKind::PermissionDenied, retry: Retry::Never };
            match trouble {
                2 => world.faults.inject(FaultRule::new(refuse).on(CallKind::Add).once()),
                3 => world.faults.inject(FaultRule::new(Fault::Truncated { shown: 1 }).on(CallKind::Directory).once()),
                _ => {}
            }
            let report = world.run("sync");
            if trouble != 3 {
                prop_assert_eq!(report.plan.expect("a plan").to_json(), fresh.to_json());
            }
            world.faults.heal();
        }
    }
}

/// The second run of a process reads only what changed; the first of the next one reads everything.
#[test]
fn only_changes_are_read_where_the_directory_offers_them() {
    let mut world = World::builder()
        .with_changes()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let read = |world: &World| {
        let (control, mut events) = RunControl::with_events();
        world
            .try_run("sync", RunRequest::everything().controlled_by(control))
            .expect("a run");
        let mut read = 0;
        while let Ok(event) = events.try_recv() {
            if let RunEvent::ReadDirectory { entries, .. } = event {
                read = entries;
            }
        }
        read
    };
    let everything = read(&world);
    assert!(everything > 5, "{everything} entries");
    assert_eq!(read(&world), 0);
    world.leave("staff", "ada");
    assert_eq!(read(&world), 1);
    world.restart();
    assert!(read(&world) >= 5);
}

/// Who follows a run learns of its end, whatever that is.
#[test]
fn the_end_of_a_run_is_told_however_it_ends() {
    for fails in [false, true] {
        let world = World::builder()
            .group("staff", "ada")
            .container("team", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        if fails {
            let failed = Fault::StoreFailed(StoreErrorKind::Full);
            world.faults.inject(FaultRule::new(failed).on(CallKind::Commit));
        }
        let (control, mut events) = RunControl::with_events();
        let request = RunRequest::everything().controlled_by(control.clone());
        assert_eq!(world.try_run("sync", request).is_err(), fails);
        let mut last = None;
        while let Ok(event) = events.try_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(RunEvent::Finished), "the run failed: {fails}");
    }
}

/// What a run leaves on record says when, by whom and why.
#[test]
fn the_audit_tells_who_did_what_and_why() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.run("sync");
    world.clock.advance(Duration::from_secs(60));
    world.depart("ada");
    let report = world.run("sync");
    let audit = world.audit();
    let lines: Vec<_> = audit
        .iter()
        .map(|r| format!("{} {} {}", r.action, r.reason, r.outcome))
        .collect();
    assert_eq!(lines, ["add selected applied", "remove departed applied"]);
    assert_eq!(audit[1].at - audit[0].at, TimeDelta::seconds(60));
    assert_eq!(Some(audit[1].plan), report.plan.map(|plan| plan.digest()));
}

/// A run that is over stays over, even if nobody knows whether its lease was given back.
#[test]
fn a_lease_that_cannot_be_given_back_takes_no_report_away() {
    for moment in [Moment::Before, Moment::After] {
        let world = World::builder()
            .group("staff", "ada")
            .container("team", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        world.faults.inject(
            FaultRule::new(Fault::Timeout(moment))
                .on(CallKind::Release)
                .once(),
        );
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        assert_eq!(world.notifier.delivered().len(), 1);
        world.clock.advance(LEASE);
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    }
}
