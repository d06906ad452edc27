//! Complaints 12 and 13: limits of the other side, and work that never comes to an end.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use usersync::engine::{Engine, RunControl, RunEnd, RunRequest, Scope, Trigger, Triggered};
use usersync::memory::{CallKind, Fault, FaultRule, Moment, Recording};
use usersync::model::Origin;
use usersync::reconcile::Mode;
use usersync_tests::yielding::{Workers, YieldingDirectory, YieldingStore};
use usersync_tests::{
    Crash, DurableStore, LEASE, World, WorldStore, container, crash, free_policy, job, tenant,
};

use crate::failures::scene::everybody;
use crate::failures::telling::outcomes;

fn arrived<S: WorldStore>(world: &World<S>) -> usize {
    world.members("team").split_whitespace().count()
}

/// awslabs/ssosync: 429 at two hundred users, swallowed; in the next run they are "already there", or missing.
#[test]
fn complaint_12_whoever_was_refused_by_a_429_comes_with_the_next_run_and_nobody_twice() {
    let world = World::builder()
        .batch(50)
        .group("staff", &everybody(200))
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let fifth = NonZeroU64::new(5).expect("it is not zero");
    let busy = || Fault::RateLimited {
        after: Duration::from_secs(60),
    };
    world
        .faults
        .inject(FaultRule::new(busy()).on(CallKind::Add).one_in(fifth, 1));
    // The answer to one of them is lost, though she arrived: made again, that would be a 409.
    let lost = FaultRule::new(Fault::Timeout(Moment::After))
        .on(CallKind::Add)
        .after(17)
        .once();
    world.faults.inject(lost);

    let report = world.run("sync");
    let refused = report.count(|outcome| !outcome.is_ok());
    assert!((10..100).contains(&refused), "{refused}");
    assert_eq!((report.end, arrived(&world)), (RunEnd::Failed, 200 - refused));
    // By hand: the error is logged, and the user is noted as done.
    assert_eq!(200 - arrived(&world), refused, "missing for ever");

    world.faults.heal();
    let report = world.run("sync");
    assert_eq!(
        (outcomes(&report), report.end),
        (format!("{refused} add applied"), RunEnd::Changed)
    );
    assert_eq!(
        (arrived(&world), world.calls.count(CallKind::Add)),
        (200, 200 + refused as u64)
    );
    assert!(world.end().ledger.values().all(|row| row.origin == Origin::Ours));
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// goauthentik/authentik: two hundred thousand users, killed at two hours after one hundred thousand, from the beginning.
/// keycloak/keycloak: all in one transaction, which was given up after five minutes. Here, killed after every three hundred.
#[test]
fn complaint_13_a_run_that_is_killed_again_and_again_comes_to_its_end() {
    let (all, at_once) = (2000, 300);
    // By hand: from the beginning, or nothing at all.
    assert_eq!((0..100).map(|_| (0..all).take(at_once).count()).max(), Some(300));

    let mut world = World::builder()
        .batch(100)
        .group("staff", &everybody(all))
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build_over(DurableStore::in_file);
    world.calls.set_recording(Recording::Off);
    let mut killed = 0;
    loop {
        let hang = FaultRule::new(Fault::Hang(Moment::After)).on(CallKind::Add);
        world.faults.inject(hang.after(at_once as u64 - 1));
        let (id, before) = (job("sync"), arrived(&world));
        let run = crash(world.engine().run(&world.tenant, &id, RunRequest::everything()));
        world.faults.heal();
        world.clock.advance(LEASE * 2);
        if matches!(run, Crash::Ended(_)) {
            break;
        }
        assert!(
            arrived(&world) >= before + 200,
            "each run comes further: {before}, {}",
            arrived(&world)
        );
        killed += 1;
        world.restart();
    }
    assert!((5..=10).contains(&killed), "killed {killed} times");
    assert_eq!(arrived(&world), all);
    // What was under way when it was killed is found, and not done again.
    assert_eq!(world.calls.count(CallKind::Add), all as u64);
    assert!(world.end().ledger.values().all(|row| row.origin == Origin::Ours));
    assert_eq!(
        (world.run("sync").end, world.end().intents.len()),
        (RunEnd::InSync, 0)
    );
}

/// goauthentik/authentik: 1,460 binds for 730 users. What is asked once is not asked for each of them.
#[test]
fn complaint_13_what_is_read_for_730_users_is_no_more_than_for_one() {
    let asked = |count| {
        let world = World::builder()
            .batch(1000)
            .group("staff", &everybody(count))
            .container("team", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let count_of = |kinds: &[CallKind]| kinds.iter().map(|kind| world.calls.count(*kind)).sum::<u64>();
        let _ = world.run("sync");
        world.calls.clear();
        assert_eq!(world.run("sync").end, RunEnd::InSync);
        let reads = [
            CallKind::Directory,
            CallKind::Containers,
            CallKind::Members,
            CallKind::Member,
            CallKind::State,
        ];
        let own = [
            CallKind::Value,
            CallKind::Values,
            CallKind::Ledger,
            CallKind::LedgerRow,
            CallKind::Commit,
        ];
        (count_of(&reads), count_of(&own))
    };
    assert_eq!(asked(730), asked(1));
}

async fn trigger(engine: Engine) -> bool {
    let (id, control) = (job("sync"), RunControl::new());
    let scope = Scope::container(container("team"));
    let triggered = engine
        .trigger(&tenant(), &id, Trigger::Save, scope, &control)
        .await;
    matches!(triggered.expect("the store works"), Triggered::Ran { .. })
}

/// goauthentik/authentik: every save was a task, until the database had no memory left.
#[test]
fn complaint_13_a_hundred_saves_during_a_run_are_one_more_run() {
    // By hand: one task each.
    assert_eq!(vec!["task"; 100].len(), 100);

    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let directory = YieldingDirectory::new(world.directory.clone(), 10);
    let engine = |worker: &str| {
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
    };
    let mut workers = Workers::default();
    let first = workers.add(trigger(engine("first")));
    while directory.reads().begun.is_empty() {
        assert!(!workers.step(first));
    }
    world.join("staff", "cleo");
    for n in 0..100 {
        let save = workers.add(trigger(engine(&format!("save-{n}"))));
        while !workers.step(save) {}
    }
    let ran = workers.finish(&[]).into_iter().filter(|ran| *ran).count();
    assert_eq!(
        (ran, directory.reads().begun[&job("sync")], directory.reads().most),
        (1, 2, 1)
    );
    assert_eq!(world.members("team"), "ada bob cleo");
}
