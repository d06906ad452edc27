//! Workers polled against each other in every order of few preemptions, over one store: what holds of the protocol's model holds of
//! the engine itself.
//!
//! A worker is preempted between any two polls, and waits before and after every call to the store, the target and the
//! directory. `USERSYNC_ORDERS` sets how many more orders, of more preemptions and by chance, each scene is played in, and
//! `USERSYNC_ORDERS_SEED` where chance begins. An order that fails is named, poll by poll.

#![allow(clippy::print_stdout, reason = "how much was explored is to be read")]

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::engine::{
    Engine, EngineError, RunControl, RunReport, RunRequest, Scope, SeatRegister, Taken, Trigger,
};
use usersync::license::{Entitlement, Refusal, ResourcePlacement, SeatHolder};
use usersync::memory::{ManualClock, MemoryCatalog, MemoryEntitlement, MemoryStore};
use usersync::model::TenantId;
use usersync::reconcile::Mode;
use usersync_tests::interleave::{Schedule, explore, wander};
use usersync_tests::yielding::{Workers, YieldingDirectory, YieldingStore, YieldingTarget};
use usersync_tests::{End, LEASE, World, all, container, free_policy, job, tenant, user};

/// Plays a scene in every order of at most so many preemptions, and in as many others as were asked for.
fn play(name: &str, preemptions: usize, mut scene: impl FnMut(&mut Schedule)) {
    let explored = explore(preemptions, &mut scene);
    println!("{name}: {explored}, all there are of at most {preemptions} preemptions");
    let rounds = variable("USERSYNC_ORDERS").unwrap_or(0);
    let seed = variable("USERSYNC_ORDERS_SEED").unwrap_or(1);
    for more in [preemptions + 1, preemptions + 4, preemptions + 16] {
        if rounds > 0 {
            let explored = wander(seed, rounds, more, &mut scene);
            println!("{name}: {explored}, by chance from seed {seed}, of {more} preemptions");
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// An engine of its own that waits at every call.
fn engine(world: &World, catalog: &MemoryCatalog, worker: &str) -> Engine {
    let store = YieldingStore(world.store.clone());
    let target = world.target.clone().with_calls(&world.calls);
    Engine::builder(
        Arc::new(store),
        Arc::new(world.clock.clone()),
        Arc::new(catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(YieldingDirectory::new(world.directory.clone(), 1)))
    .target(Arc::new(YieldingTarget(target)))
    .worker(worker)
    .build()
}

async fn run(engine: Engine, tenant: TenantId, name: &str) -> Option<Result<RunReport, EngineError>> {
    Some(engine.run(&tenant, &job(name), RunRequest::everything()).await)
}

/// Whether a run ended in a way that leaves nothing to see to.
fn is_well(report: &Option<Result<RunReport, EngineError>>) -> bool {
    matches!(
        report,
        None | Some(Ok(_) | Err(EngineError::Busy(_) | EngineError::LeaseLost(_)))
    )
}

/// Two workers at one job, and a lease that runs out at any moment, also while both are at it: each effect takes place once and is told
/// once, and what a run leaves undone, because it lost its lease, the next one does.
#[test]
fn promise_17_two_workers_at_one_job_in_every_order() {
    let world = World::builder()
        .batch(1)
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "ada");
    world.join("staff", "cleo");
    let undisturbed = world.fork();
    let _ = undisturbed.settle("sync");
    let end = undisturbed.end();
    let mut ends = BTreeMap::new();
    play("two workers at one job", 2, |schedule| {
        let world = world.fork();
        let mut workers = Workers::default();
        for name in ["one", "two"] {
            workers.add(run(
                engine(&world, &world.catalog, name),
                world.tenant.clone(),
                "sync",
            ));
        }
        let clock = world.clock.clone();
        workers.add(async move {
            clock.advance(LEASE);
            None
        });
        let reports = schedule.drive(workers);
        assert!(reports.iter().all(is_well), "{schedule}: {reports:?}");
        let show = |report: &Option<Result<RunReport, EngineError>>| match report {
            Some(Ok(report)) => report.end.code(),
            Some(Err(EngineError::Busy(_))) => "busy",
            Some(Err(_)) => "lost",
            None => "",
        };
        let shown: Vec<_> = reports.iter().map(show).collect();
        *ends.entry(shown.join(" ")).or_insert(0) += 1;
        // Who was killed by a lost lease may have left the lease of deliveries behind.
        world.clock.advance(LEASE);
        let _ = world.settle("sync");
        let _ = world.deliver();
        assert_eq!(world.end(), end, "{schedule}: {shown:?}");
        assert_eq!(world.calls.effects(), 2, "{schedule}: {shown:?}");
        assert_eq!(
            (&*world.told("ada"), &*world.told("cleo")),
            ("+team -team", "+team"),
            "{schedule}: {shown:?}"
        );
    });
    println!("how the two ended, and how often: {ends:?}");
    assert!(ends.keys().any(|ends| ends.contains("lost")), "{ends:?}");
}

/// Two jobs with claims on the same members, each of which adds and removes: they end as one after the other, in one order or
/// the other.
#[test]
fn promise_17_two_jobs_on_the_same_members_in_every_order() {
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "ada bob")
        .job("first", free_policy(Mode::Managed))
        .job("second", free_policy(Mode::Managed))
        .build();
    let catalogs = |world: &World| [world.catalog.fork(), world.catalog.fork()];
    let select = |catalogs: &[MemoryCatalog; 2], picks: [&str; 2]| {
        for (catalog, picks) in catalogs.iter().zip(picks) {
            assert!(catalog.select(&container("team"), all(picks)));
        }
    };
    let settle = |world: &World, catalogs: &[MemoryCatalog; 2]| -> End {
        for _ in 0..6 {
            let before = world.end();
            for (catalog, name) in catalogs.iter().zip(["first", "second"]) {
                let report = block_on(run(engine(world, catalog, name), world.tenant.clone(), name));
                assert!(is_well(&report));
            }
            if world.end() == before {
                return before;
            }
        }
        unreachable!("the two jobs undo each other's work for ever")
    };
    let both = catalogs(&world);
    let _ = settle(&world, &both);
    select(&both, ["bob", "ada cleo"]);
    let serial = [["first", "second"], ["second", "first"]].map(|order| {
        let world = world.fork();
        for name in order {
            let catalog = &both[usize::from(name == "second")];
            let report = block_on(run(engine(&world, catalog, name), world.tenant.clone(), name));
            assert!(is_well(&report));
        }
        settle(&world, &both)
    });
    play("two jobs on the same members", 2, |schedule| {
        let world = world.fork();
        let mut workers = Workers::default();
        for (catalog, name) in both.iter().zip(["first", "second"]) {
            workers.add(run(engine(&world, catalog, name), world.tenant.clone(), name));
        }
        let reports = schedule.drive(workers);
        assert!(reports.iter().all(is_well), "{schedule}: {reports:?}");
        let end = settle(&world, &both);
        assert!(
            serial.contains(&end),
            "{schedule}: {end:#?}\nneither {:#?}\nnor {:#?}",
            serial[0],
            serial[1]
        );
        assert_eq!(end.intents.len(), 0, "{schedule}");
    });
}

/// Two people each change the directory and ask for a run, at any moment of the other's run: what both did is carried out in the end, at
/// the latest by what is due then, and nothing is run for ever.
#[test]
fn no_trigger_is_lost_in_any_order() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    let _ = world.run_due();
    let mut left_over = 0;
    play("two triggers", 2, |schedule| {
        let world = world.fork();
        let mut workers = Workers::default();
        for name in ["bob", "cleo"] {
            let (engine, world) = (engine(&world, &world.catalog, name), &world);
            workers.add(async move {
                world.join("staff", name);
                let (sync, control) = (job("sync"), RunControl::new());
                engine
                    .trigger(&world.tenant, &sync, Trigger::Manual, Scope::Everything, &control)
                    .await
                    .map(drop)
            });
        }
        let ends = schedule.drive(workers);
        assert!(ends.iter().all(Result::is_ok), "{schedule}: {ends:?}");
        left_over += usize::from(world.members("team") != "ada bob cleo");
        let _ = world.run_due();
        assert_eq!(world.members("team"), "ada bob cleo", "{schedule}");
        assert_eq!(world.run_due(), "", "{schedule}");
    });
    println!("left to what is due: {left_over}");
}

/// Takers of the last seats, one who gives a seat back, and a host that reduces the entitlement meanwhile: nobody gets a seat beyond
/// what was in force when the take was tried, and the counters say what the seats say.
#[test]
fn promise_22_takers_of_the_last_seats_in_every_order() {
    let tenant = tenant();
    play("takers of seats", 2, |schedule| {
        let store = MemoryStore::new(Arc::new(ManualClock::default()));
        let told = MemoryEntitlement::new();
        told.set(&tenant, Some(Entitlement::new(2)));
        let register = |store| SeatRegister::new(store, Arc::new(told.clone()), ResourcePlacement::default());
        let person = |name: &str| SeatHolder::user(user(name));
        let plain = register(Arc::new(store.clone()));
        let taken = block_on(plain.take(&tenant, &person("ada"))).expect("the store works");
        assert_eq!(taken, Ok(Taken::Now));
        let mut workers = Workers::default();
        for name in ["bob", "cleo"] {
            let register = register(Arc::new(YieldingStore(store.clone())));
            let (tenant, holder) = (tenant.clone(), person(name));
            workers.add(async move { Some(register.take(&tenant, &holder).await.expect("the store works")) });
        }
        let giver = register(Arc::new(YieldingStore(store.clone())));
        let (of, ada) = (tenant.clone(), user("ada"));
        workers.add(async move {
            assert!(giver.release(&of, &ada).await.expect("the store works"));
            None
        });
        let (host, of) = (told.clone(), tenant.clone());
        workers.add(async move {
            host.set(&of, Some(Entitlement::new(1)));
            None
        });
        let answers: Vec<Option<Result<Taken, Refusal>>> = schedule.drive(workers);
        let got = answers.iter().flatten().filter(|answer| answer.is_ok()).count();
        let occupancy = block_on(plain.occupancy(&tenant)).expect("the seats can be read");
        let seated = occupancy.seats.counts();
        let counters: u64 = store.snapshot(&tenant).counters.values().sum();
        assert_eq!((seated.total(), counters), (got as u64, got as u64), "{schedule}");
        assert!(got <= 2, "{schedule}");
    });
}
