//! Every call of whole scenarios, broken in every way.
//!
//! `USERSYNC_SWEEP_WIDE=1` kills a process at every point and not at a sample of them; `USERSYNC_SWEEP_POINT=31:die_after` plays one point
//! of a scenario alone, as failures name it:
//!
//! ```sh
//! USERSYNC_SWEEP_POINT=31:die_after cargo test -p usersync-tests --test sweep promise_14_another_policy
//! ```

#![allow(
    clippy::panic,
    reason = "a failing helper fails its test, which says what it was at"
)]

mod doubles;
mod durable;
mod items;
mod kill;
mod linking;
mod members;
mod records;

#[allow(dead_code, reason = "some of it is the worker's")]
#[path = "../../src/bin/worker/host.rs"]
mod host;
#[allow(dead_code, reason = "most of it is the worker's")]
#[path = "../../src/bin/worker/tap.rs"]
mod tap;

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::future::BoxFuture;
use usersync::connector::{Clock, MembershipTarget};
use usersync::engine::{Engine, Options};
use usersync::store::StateStore;
use usersync_sim::sweep::{Host, Lines, Outcome, Points, Sweep};
use usersync_tests::{LEASE, World, job, tenant};

type Members = Host<World>;

/// Worlds of memberships, all as `base` is.
fn of_members(name: &str, base: World) -> Sweep<Members> {
    let build = move |points: &Points| {
        let mut world = base.fork();
        world.store = world.store.fork_with_clock(Arc::new(points.time()));
        Host::new(points, tenant(), world, start, content)
    };
    Sweep::new(name, build).with_lease(LEASE)
}

/// A process with an engine.
fn start(points: &Points, world: &World) -> Engine {
    let store: Arc<dyn StateStore> = Arc::new(world.store.clone());
    let target: Arc<dyn MembershipTarget> = Arc::new(world.target.clone());
    start_over(points, world, store, target)
}

fn start_over(
    points: &Points,
    world: &World,
    store: Arc<dyn StateStore>,
    target: Arc<dyn MembershipTarget>,
) -> Engine {
    assemble(points, world, store, points.target(target))
}

/// A process whose target has its points already.
fn assemble(
    points: &Points,
    world: &World,
    store: Arc<dyn StateStore>,
    target: Arc<dyn MembershipTarget>,
) -> Engine {
    let clock: Arc<dyn Clock> = points.clock();
    let mut options = Options::default();
    options.batch = NonZeroUsize::new(3).expect("3 is not zero");
    options.lease = LEASE;
    let mut builder = Engine::builder(
        points.store(store),
        clock,
        points.catalog(Arc::new(world.catalog.clone())),
        points.actors(Arc::new(world.actors.clone())),
        points.notifier(Arc::new(world.notifier.clone())),
    )
    .directory(points.directory(Arc::new(world.directory.clone())))
    .target(target)
    .options(options);
    if let Some(administrator) = &world.administrator {
        builder = builder.administrator(administrator.clone());
    }
    builder.build()
}

fn content(world: &World) -> Lines {
    let mut lines = Lines::default();
    for (container, members) in world.target.snapshot() {
        for (principal, facets) in members {
            lines.put(
                format!("{container} {principal}"),
                format!("{} {}", facets.role, facets.state),
            );
        }
    }
    lines
}

/// A run of the job of this name.
fn run(name: &'static str) -> impl for<'a> Fn(&'a Members) -> BoxFuture<'a, Outcome> + Send + Sync {
    move |host| Box::pin(async move { host.run(&job(name)).await })
}
