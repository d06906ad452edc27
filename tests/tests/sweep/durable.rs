//! Over SQLite, where a process that dies leaves a file behind.

use std::num::NonZeroUsize;
use std::sync::Arc;

use usersync::engine::{Engine, Options};
use usersync::reconcile::Mode as JobMode;
use usersync_sim::sweep::{Host, Lines, Points, Sweep};
use usersync_tests::{DurableStore, LEASE, World, WorldStore, free_policy, job, tenant};

/// Two to add and one to remove.
fn sweep() -> Sweep<Host<World<DurableStore>>> {
    let base = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(JobMode::Managed))
        .build_over(DurableStore::in_file);
    let _ = base.settle("sync");
    base.leave("staff", "ada");
    base.join("staff", "cleo");
    base.join("staff", "dan");
    let build = move |points: &Points| {
        let mut world = base.fork();
        world.store = base.store.forked(&points.time());
        Host::new(points, tenant(), world, start, content)
    };
    Sweep::new("sqlite", build).with_lease(LEASE).step("run", |host| {
        Box::pin(async move { host.run(&job("sync")).await })
    })
}

/// Each process opens the file anew.
fn start(points: &Points, world: &World<DurableStore>) -> Engine {
    let mut options = Options::default();
    options.batch = NonZeroUsize::new(2).expect("2 is not zero");
    options.lease = LEASE;
    Engine::builder(
        points.store(Arc::new(world.store.open_again())),
        points.clock(),
        points.catalog(Arc::new(world.catalog.clone())),
        points.actors(Arc::new(world.actors.clone())),
        points.notifier(Arc::new(world.notifier.clone())),
    )
    .directory(points.directory(Arc::new(world.directory.clone())))
    .target(points.target(Arc::new(world.target.clone())))
    .options(options)
    .build()
}

fn content(world: &World<DurableStore>) -> Lines {
    let mut lines = Lines::default();
    for (container, members) in world.target.snapshot() {
        for (principal, facets) in members {
            lines.put(format!("{container} {principal}"), format!("{facets:?}"));
        }
    }
    lines
}

#[test]
fn promise_14_whatever_call_breaks_over_a_file() {
    sweep().check();
}
