//! How often the store waits for the disk.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{ActorState, Clock};
use usersync::engine::{Engine, Job, Options, RunRequest};
use usersync::memory::{
    ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryTarget,
};
use usersync::model::{Container, ContainerKind, GroupKind, Principal, PrincipalKind};
use usersync::reconcile::Mode;
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync_tests::{Folder, all, container, every_capability, free_policy, group, job, tenant, user};

/// What a run commits beside its batches: its lease, its beginning and its end.
const BESIDE: u64 = 12;

/// How many notifications are marked as delivered with one commit, after the run.
const DELIVERED: usize = 128;

/// The transactions in a write-ahead log: the frames that say how large the database is after them
/// (<https://www.sqlite.org/fileformat2.html>, section 4.1). The log is not begun anew while it is shorter than the store lets it become.
fn transactions(database: &Path) -> u64 {
    let log = fs::read(format!("{}-wal", database.display())).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page, salt) = (number(8) as usize, number(16));
    assert!(
        log.len() / page < 8000,
        "the log is so long that it may have begun anew"
    );
    let frames = (32..log.len()).step_by(24 + page);
    let frames = frames.take_while(|at| at + 24 + page <= log.len() && number(at + 8) == salt);
    frames.filter(|at| number(at + 4) > 0).count() as u64
}

/// Runs a job that has `operations` to do, in a file of its own with the durability of the default.
fn commits(operations: usize, batch: usize) -> u64 {
    let folder = Folder::default();
    let clock = Arc::new(ManualClock::default());
    let time = Arc::clone(&clock);
    let store = SqliteStore::open(
        folder.database(),
        SqliteOptions::default().with_clock(move || time.now()),
    )
    .unwrap();
    let directory = MemoryDirectory::new(group("staff").system);
    let kind = PrincipalKind::Group(GroupKind::UserGroup);
    directory.put(Principal::new(group("staff").object, kind, "staff"));
    for number in 0..operations {
        let name = user(&format!("u{number}"));
        directory.put(Principal::new(
            name.object.clone(),
            PrincipalKind::User,
            "somebody",
        ));
        directory.add_member(&group("staff").object, &name);
    }
    let catalog = MemoryCatalog::default();
    catalog.put(Container::new(
        container("team"),
        ContainerKind::Team,
        "team",
        all("staff"),
    ));
    let target = MemoryTarget::new(container("team").system, every_capability());
    target.create_container(container("team").object);
    let actors = MemoryActors::new();
    actors.set(&tenant(), user("boss"), ActorState::Active);
    let mut options = Options::default();
    options.batch = NonZeroUsize::new(batch).unwrap();
    let engine = Engine::builder(
        Arc::new(store),
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::new(catalog),
        Arc::new(actors),
        Arc::new(MemoryNotifier::new()),
    )
    .directory(Arc::new(directory))
    .target(Arc::new(target))
    .options(options)
    .build();
    let (from, to) = (group("staff").system, container("team").system);
    let job_ = Job::new(tenant(), job("sync"), "sync", [from], to, user("boss"));
    block_on(engine.save_job(&job_.with_policy(free_policy(Mode::Managed)))).unwrap();
    let before = transactions(&folder.database());
    let report = block_on(engine.run(&tenant(), &job("sync"), RunRequest::everything())).unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.operations.len(), operations);
    transactions(&folder.database()) - before
}

#[test]
fn a_batch_costs_one_commit_however_many_operations_it_has() {
    for (operations, batch) in [
        (0, 10),
        (1, 10),
        (100, 1),
        (100, 10),
        (100, 33),
        (1000, 10),
        (1000, 256),
        (1000, 5000),
    ] {
        let commits = commits(operations, batch);
        let batches = operations.div_ceil(batch) as u64;
        println!("{operations} operations in batches of {batch}: {commits} commits");
        let beside = BESIDE + operations.div_ceil(DELIVERED) as u64;
        // Each begins with the outcomes of the one before.
        assert!(
            (batches..=batches + beside).contains(&commits),
            "{operations} operations in batches of {batch}: {commits} commits"
        );
    }
}
