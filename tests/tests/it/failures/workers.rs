//! F25: two workers at once.

use std::sync::Arc;

use futures::executor::block_on;
use usersync::engine::{Engine, EngineError, RunEnd, RunReport, RunRequest};
use usersync::memory::CallKind;
use usersync::model::TenantId;
use usersync::reconcile::Mode;
use usersync_tests::records::RecordWorld;
use usersync_tests::yielding::{Workers, YieldingDirectory, YieldingStore};
use usersync_tests::{LEASE, World, free_policy, job};

async fn run(engine: Engine, tenant: TenantId, name: &str) -> Result<RunReport, EngineError> {
    engine.run(&tenant, &job(name), RunRequest::everything()).await
}

/// goauthentik/authentik, openproject, casdoor: two workers, and two users for one id of the directory.
#[test]
fn f25_two_workers_at_once_make_each_object_once() {
    // By hand: both look, then both write.
    let mut table: Vec<&str> = Vec::new();
    let is_missing = [!table.contains(&"c1"), !table.contains(&"c1")];
    table.extend(is_missing.into_iter().filter(|missing| *missing).map(|_| "c1"));
    assert_eq!(table, ["c1", "c1"]);

    for first in 0..40 {
        let world = RecordWorld::builder()
            .staff("ada bob")
            .job(RecordWorld::distribution("share", "staff"))
            .build();
        world.put_contact("c1", "general:name=One");
        world.put_contact("c2", "general:name=Two");
        let mut workers = Workers::default();
        for worker in ["one", "two"] {
            let store = Arc::new(YieldingStore(world.tapped_store()));
            workers.add(run(world.engine_on(store, worker), world.tenant.clone(), "share"));
        }
        // The first goes ahead by some steps, and then they take turns.
        let choices: Vec<usize> = (0..first)
            .map(|_| 0)
            .chain([1, 0].into_iter().cycle().take(400))
            .collect();
        let reports = workers.finish(&choices);
        let ran = reports.iter().filter(|report| report.is_ok()).count();
        let busy = |report: &&Result<RunReport, EngineError>| matches!(report, Err(EngineError::Busy(_)));
        assert!(
            ran >= 1 && ran + reports.iter().filter(busy).count() == 2,
            "{reports:?}"
        );
        assert_eq!(world.calls.count(CallKind::Create), 4, "ahead by {first}");
        for who in ["ada", "bob"] {
            assert_eq!(world.names(who), "c1=One c2=Two", "ahead by {first}");
        }
    }
}

fn engine(world: &World, directory: &YieldingDirectory, worker: &str) -> Engine {
    Engine::builder(
        Arc::new(YieldingStore(world.tapped_store())),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(directory.clone()))
    .target(Arc::new(world.target.clone().with_calls(&world.calls)))
    .worker(worker)
    .build()
}

/// liferay: who came too late released the lock in its `finally`, whoever had it by then; and whoever had the same name
/// was let in.
#[test]
fn f25_whoever_lost_its_lease_does_not_release_that_of_another() {
    // By hand: one is late, two takes the lock over, one ends and unlocks.
    let mut lock = Some("one");
    lock.replace("two");
    lock.take();
    assert_eq!(lock, None, "three is let in beside two");

    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let directory = YieldingDirectory::new(world.directory.clone(), 20);
    let begun = || directory.reads().begun.values().sum::<usize>();
    let mut workers = Workers::default();
    let one = workers.add(run(
        engine(&world, &directory, "one"),
        world.tenant.clone(),
        "sync",
    ));
    while begun() < 1 {
        assert!(!workers.step(one));
    }
    world.clock.advance(LEASE);
    let two = workers.add(run(
        engine(&world, &directory, "two"),
        world.tenant.clone(),
        "sync",
    ));
    while begun() < 2 {
        assert!(!workers.step(two));
    }
    // One wakes up, finds that it is too late, and ends.
    while !workers.step(one) {}
    for other in ["three", "two", "one"] {
        let run = run(world.new_engine(other), world.tenant.clone(), "sync");
        assert!(
            matches!(block_on(run), Err(EngineError::Busy(_))),
            "{other} is let in"
        );
    }
    let reports = workers.finish(&[]);
    assert!(
        matches!(reports[0], Err(EngineError::LeaseLost(_))),
        "{reports:?}"
    );
    assert!(
        reports[1]
            .as_ref()
            .is_ok_and(|report| report.end == RunEnd::Changed),
        "{reports:?}"
    );
    assert_eq!(
        (world.members("team"), world.calls.count(CallKind::Add)),
        ("ada bob".to_owned(), 2)
    );
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}
