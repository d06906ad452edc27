//! Workers polled against each other in every order of few preemptions, over one store: what holds of the protocol's model holds of
//! the engine itself.
//!
//! A worker is preempted between any two polls, and waits before and after every call to the store, the target and the
//! directory. `USERSYNC_ORDERS` sets how many more orders, of more preemptions and by chance, each scene is played in, and
//! `USERSYNC_ORDERS_SEED` where chance begins. An order that fails is named, poll by poll.

#![allow(clippy::print_stdout, reason = "how much was explored is to be read")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::executor::block_on;
use usersync::engine::{
    Engine, EngineError, RunControl, RunReport, RunRequest, Scope, SeatRegister, Taken, Trigger,
};
use usersync::license::{Entitlement, Refusal, ResourcePlacement, SeatHolder};
use usersync::memory::{ManualClock, MemoryCatalog, MemoryEntitlement, MemoryStore};
use usersync::model::{ContainerRef, TenantId};
use usersync::reconcile::Mode;
use usersync::store::{
    self, Check, Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, StateRead, StateStore,
    Stored, Table, Transaction,
};
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
    engine_on(
        Arc::new(YieldingStore(world.store.clone())),
        world,
        catalog,
        worker,
    )
}

fn engine_on(store: Arc<dyn StateStore>, world: &World, catalog: &MemoryCatalog, worker: &str) -> Engine {
    let target = world.target.clone().with_calls(&world.calls);
    Engine::builder(
        store,
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

/// A store of the world's, as workers see it.
type Store = fn(&World) -> Arc<dyn StateStore>;

fn sound(world: &World) -> Arc<dyn StateStore> {
    Arc::new(YieldingStore(world.store.clone()))
}

/// How the first and the second of two workers ended.
type Ends = BTreeMap<String, usize>;

/// Two workers at one job, and a lease that runs out at any moment, also while both are at it.
fn two_workers(
    base: &World,
    end: &End,
    store: Store,
    schedule: &mut Schedule,
    ends: &mut Ends,
) -> Result<(), String> {
    let world = base.fork();
    let mut workers = Workers::default();
    for name in ["one", "two"] {
        let engine = engine_on(store(&world), &world, &world.catalog, name);
        workers.add(run(engine, world.tenant.clone(), "sync"));
    }
    let clock = world.clock.clone();
    workers.add(async move {
        clock.advance(LEASE);
        None
    });
    let reports = schedule.drive(workers);
    let show = |report: &Option<Result<RunReport, EngineError>>| match report {
        Some(Ok(report)) => report.end.code(),
        Some(Err(EngineError::Busy(_))) => "busy",
        Some(Err(_)) => "lost",
        None => "",
    };
    let shown = reports.iter().map(show).collect::<Vec<_>>().join(" ");
    *ends.entry(shown.clone()).or_insert(0) += 1;
    // Who lost the lease on the job may have left that of deliveries behind.
    world.clock.advance(LEASE);
    let _ = world.settle("sync");
    let _ = world.deliver();
    let told = [world.told("ada"), world.told("cleo")];
    let faults = [
        (reports.iter().all(is_well), "a run did not come to a report"),
        (world.end() == *end, "it is not the end of one undisturbed run"),
        (world.calls.effects() == 2, "an effect was not begun once"),
        (told == ["+team -team", "+team"], "somebody was not told once"),
    ];
    match faults.iter().find(|(holds, _)| !holds) {
        Some((_, fault)) => Err(format!("{schedule}: {fault}: {shown}; {told:?}")),
        None => Ok(()),
    }
}

/// Somebody is to be added and somebody to be removed.
fn two_changes() -> (World, End) {
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
    (world, end)
}

/// Each effect takes place once and is told once, and what a run leaves undone, because it lost its lease, the next one does.
#[test]
fn promise_17_two_workers_at_one_job_in_every_order() {
    let (world, end) = two_changes();
    let mut ends = Ends::new();
    play("two workers at one job", 2, |schedule| {
        let right = two_workers(&world, &end, sound, schedule, &mut ends);
        assert_eq!(right, Ok(()));
    });
    println!("how the two ended, and how often: {ends:?}");
    assert!(ends.keys().any(|ends| ends.contains("lost")), "{ends:?}");
}

/// Two jobs on the same members: both let go of one, one lets go of another, and both want a third.
struct Jobs {
    world: World,
    catalogs: [MemoryCatalog; 2],
}

const JOBS: [&str; 2] = ["first", "second"];

impl Jobs {
    fn new() -> Self {
        let world = World::builder()
            .group("staff", "ada bob cleo")
            .container("team", "ada bob")
            .job(JOBS[0], free_policy(Mode::Managed))
            .job(JOBS[1], free_policy(Mode::Managed))
            .build();
        let catalogs = [world.catalog.fork(), world.catalog.fork()];
        let jobs = Self { world, catalogs };
        let _ = jobs.settle(&jobs.world);
        for (catalog, picks) in jobs.catalogs.iter().zip(["cleo", "ada cleo"]) {
            assert!(catalog.select(&container("team"), all(picks)));
        }
        jobs
    }

    fn run(&self, world: &World, name: &str) {
        let catalog = &self.catalogs[usize::from(name == JOBS[1])];
        let report = block_on(run(engine(world, catalog, name), world.tenant.clone(), name));
        assert!(is_well(&report), "{report:?}");
    }

    fn settle(&self, world: &World) -> End {
        for _ in 0..6 {
            let before = world.end();
            JOBS.iter().for_each(|name| self.run(world, name));
            if world.end() == before {
                return before;
            }
        }
        unreachable!("the two jobs undo each other's work for ever")
    }

    /// Where one after the other comes to, in either order.
    fn serial(&self) -> [End; 2] {
        [[JOBS[0], JOBS[1]], [JOBS[1], JOBS[0]]].map(|order| {
            let world = self.world.fork();
            order.iter().for_each(|name| self.run(&world, name));
            self.settle(&world)
        })
    }

    fn at_once(&self, store: Store, serial: &[End; 2], schedule: &mut Schedule) -> Result<(), String> {
        let world = self.world.fork();
        let mut workers = Workers::default();
        for (catalog, name) in self.catalogs.iter().zip(JOBS) {
            let engine = engine_on(store(&world), &world, catalog, name);
            workers.add(run(engine, world.tenant.clone(), name));
        }
        let reports = schedule.drive(workers);
        assert!(reports.iter().all(is_well), "{schedule}: {reports:?}");
        let end = self.settle(&world);
        if serial.contains(&end) && end.intents.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{schedule}: {end:#?}\nis neither {:#?}\nnor {:#?}",
            serial[0], serial[1]
        ))
    }
}

/// They end as one after the other, in one order or the other.
#[test]
fn promise_17_two_jobs_on_the_same_members_in_every_order() {
    let jobs = Jobs::new();
    let serial = jobs.serial();
    play("two jobs on the same members", 2, |schedule| {
        let right = jobs.at_once(sound, &serial, schedule);
        assert!(right.is_ok(), "{}", right.unwrap_err());
    });
}

/// A store that leaves something out, so that the scenes are known to be able to fail.
#[derive(Clone, Debug)]
struct Careless {
    inner: YieldingStore,
    leaves_out: LeftOut,
    leases: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    /// Everybody gets every lease, and nobody is fenced off.
    Leases,
    Limits,
    Rows,
}

impl Careless {
    fn shared(world: &World, leaves_out: LeftOut) -> Arc<dyn StateStore> {
        Self::over(&world.store, leaves_out)
    }

    fn over(store: &MemoryStore, leaves_out: LeftOut) -> Arc<dyn StateStore> {
        static LEASES: AtomicU64 = AtomicU64::new(0);
        let inner = YieldingStore(store.clone());
        let leases = Arc::new(AtomicU64::new(LEASES.fetch_add(1_000_000, Ordering::Relaxed)));
        Arc::new(Self {
            inner,
            leaves_out,
            leases,
        })
    }
}

#[async_trait]
impl StateRead for Careless {
    async fn now(&self) -> store::Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> store::Result<Option<Stored>> {
        self.inner.value(tenant, table, key).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        self.inner.values(tenant, table, prefix)
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> store::Result<Option<LedgerEntry>> {
        self.inner.ledger_row(tenant, key).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        self.inner.ledger(tenant, containers)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> store::Result<u64> {
        self.inner.counter(tenant, counter).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        self.inner.log(tenant, log, after)
    }
}

#[async_trait]
impl StateStore for Careless {
    async fn commit(&self, mut transaction: Transaction) -> store::Result<()> {
        match self.leaves_out {
            LeftOut::Leases => transaction.fence = None,
            LeftOut::Limits => transaction
                .checks
                .retain(|check| !matches!(check, Check::AtMost { .. })),
            LeftOut::Rows => transaction
                .checks
                .retain(|check| !matches!(check, Check::Ledger { .. })),
        }
        self.inner.commit(transaction).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> store::Result<Lease> {
        let mut name = name.clone();
        if self.leaves_out == LeftOut::Leases {
            let number = self.leases.fetch_add(1, Ordering::Relaxed);
            name.key = Key::of(&[&number.to_string()]);
        }
        self.inner.acquire(&name, holder, ttl).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> store::Result<Lease> {
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, lease: &Lease) -> store::Result<()> {
        self.inner.release(lease).await
    }
}

/// In how many orders a scene fails.
fn failures(preemptions: usize, mut scene: impl FnMut(&mut Schedule) -> Result<(), String>) -> usize {
    let (mut failed, mut first) = (0, None);
    let explored = explore(preemptions, |schedule| {
        if let Err(fault) = scene(schedule) {
            failed += 1;
            first.get_or_insert(fault);
        }
    });
    println!("{failed} of {explored}, as {first:?}");
    failed
}

#[test]
fn a_store_without_leases_is_found() {
    let (world, end) = two_changes();
    let store = |world: &World| Careless::shared(world, LeftOut::Leases);
    let mut ends = Ends::new();
    let failed = failures(1, |schedule| {
        two_workers(&world, &end, store, schedule, &mut ends)
    });
    assert!(failed > 0);
}

#[test]
fn a_store_that_does_not_check_rows_is_found() {
    let jobs = Jobs::new();
    let serial = jobs.serial();
    let store = |world: &World| Careless::shared(world, LeftOut::Rows);
    assert!(failures(1, |schedule| jobs.at_once(store, &serial, schedule)) > 0);
}

#[test]
fn a_store_that_does_not_check_limits_is_found() {
    let store = |store: &MemoryStore| Careless::over(store, LeftOut::Limits);
    assert!(failures(1, |schedule| takers(store, schedule)) > 0);
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

/// Takers of the last seats, one who gives a seat back, and a host that reduces the entitlement meanwhile.
fn takers(over: fn(&MemoryStore) -> Arc<dyn StateStore>, schedule: &mut Schedule) -> Result<(), String> {
    let tenant = tenant();
    let store = MemoryStore::new(Arc::new(ManualClock::default()));
    let told = MemoryEntitlement::new();
    told.set(&tenant, Some(Entitlement::new(2)));
    let register = |store| SeatRegister::new(store, Arc::new(told.clone()), ResourcePlacement::default());
    let person = |name: &str| SeatHolder::user(user(name));
    let plain = register(Arc::new(store.clone()));
    let taken = block_on(plain.take(&tenant, &person("ada"))).expect("the store works");
    assert_eq!(taken, Ok(Taken::Now));
    let mut workers = Workers::default();
    for name in ["bob", "cleo", "dan"] {
        let register = register(over(&store));
        let (tenant, holder) = (tenant.clone(), person(name));
        workers.add(async move { Some(register.take(&tenant, &holder).await.expect("the store works")) });
    }
    let giver = register(over(&store));
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
    let got = answers.iter().flatten().filter(|answer| answer.is_ok()).count() as u64;
    let occupancy = block_on(plain.occupancy(&tenant)).expect("the seats can be read");
    let seated = occupancy.seats.counts().total();
    let counters: u64 = store.snapshot(&tenant).counters.values().sum();
    if got <= 2 && [seated, counters] == [got, got] {
        return Ok(());
    }
    Err(format!(
        "{schedule}: {got} were given a seat, {seated} have one, {counters} are counted"
    ))
}

/// Nobody gets a seat beyond what was in force when the take was tried, and the counters say what the seats say.
#[test]
fn promise_22_takers_of_the_last_seats_in_every_order() {
    let sound = |store: &MemoryStore| -> Arc<dyn StateStore> { Arc::new(YieldingStore(store.clone())) };
    play("takers of seats", 1, |schedule| {
        assert_eq!(takers(sound, schedule), Ok(()));
    });
}
