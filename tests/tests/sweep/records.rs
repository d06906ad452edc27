//! Records: distributed to destinations, and imported.

use std::num::NonZeroUsize;
use std::sync::Arc;

use usersync::connector::TargetCapabilities;
use usersync::engine::{Engine, Options};
use usersync_sim::sweep::{Host, Lines, Points, Sweep};
use usersync_tests::records::{RecordWorld, contact, eventful};
use usersync_tests::{LEASE, container, every_capability, job, least_capability, tenant};

/// Worlds of records, all as `base` is, in which the job of this name runs.
fn of_records(name: &str, base: RecordWorld, runs: &'static str) -> Sweep<Host<RecordWorld>> {
    let build = move |points: &Points| {
        let mut world = base.fork();
        world.store = world.store.fork_with_clock(Arc::new(points.time()));
        Host::new(points, tenant(), world, start, content)
    };
    Sweep::new(name, build)
        .with_lease(LEASE)
        .step("run", move |host| {
            Box::pin(async move { host.run(&job(runs)).await })
        })
}

fn start(points: &Points, world: &RecordWorld) -> Engine {
    let mut options = Options::default();
    options.batch = NonZeroUsize::new(3).expect("3 is not zero");
    options.lease = LEASE;
    Engine::builder(
        points.store(Arc::new(world.store.clone())),
        points.clock(),
        points.catalog(Arc::new(usersync::memory::MemoryCatalog::new([]))),
        points.actors(Arc::new(world.actors.clone())),
        points.notifier(Arc::new(world.notifier.clone())),
    )
    .directory(points.directory(Arc::new(world.directory.clone())))
    .record_source(points.record_source(Arc::new(world.source.clone())))
    .record_target(points.record_target(Arc::new(world.target.clone())))
    .options(options)
    .build()
}

fn content(world: &RecordWorld) -> Lines {
    let mut lines = Lines::default();
    for (collection, records) in world.target.snapshot() {
        let place = collection.map(|id| id.to_string()).unwrap_or_default();
        for (id, record) in records {
            lines.put(format!("{place} {id}"), format!("{:?}", record.facets));
        }
    }
    lines
}

fn of_everything(name: &str, capabilities: TargetCapabilities, changes: bool) -> Sweep<Host<RecordWorld>> {
    of_records(name, eventful(capabilities, changes), "share").step("other", |host| {
        Box::pin(async move { host.run(&job("other")).await })
    })
}

#[test]
fn promises_14_15_and_25_with_every_capability() {
    of_everything("records", every_capability(), true).check();
}

#[test]
fn promises_14_15_and_25_without_changes_and_versions() {
    let capabilities = TargetCapabilities {
        idempotency_key: false,
        conditional_write: false,
        ..every_capability()
    };
    of_everything("records without versions", capabilities, false).check();
}

#[test]
fn promises_14_15_and_25_with_the_least_capability() {
    of_everything("records of the least", least_capability(), true).check();
}

/// Two organisations: new mailboxes and lists, one that changed, and one that people changed.
#[test]
fn promise_11_and_14_of_an_import() {
    let world = RecordWorld::builder()
        .staff("")
        .job(RecordWorld::import("import", "north>n south>s"))
        .build();
    for organisation in ["n", "s"] {
        world.target.create_collection(container(organisation).object);
    }
    let backend = |organisation: &str, name: &str, facets: &str| {
        world
            .source
            .put_by_hand(Some(&container(organisation).object), contact(name, facets));
    };
    backend("north", "m1", "general:name=Ada;addresses:mail={ada@example.com}");
    backend("south", "m2", "general:name=Bob;flow:limit=9");
    let _ = world.settle("import");
    backend(
        "north",
        "m1",
        "general:name=Ada;addresses:mail={ada@example.com a@example.com}",
    );
    backend("north", "l1", "general:name=All;members:who={ada bob}");
    backend("south", "m3", "general:name=Cleo");
    backend("south", "m2", "general:name=Bobby;flow:limit=8");
    of_records("import", world, "import").check();
}
