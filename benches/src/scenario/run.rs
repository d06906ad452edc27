//! Scenario 6, `apply`, and what whole runs cost when nothing or one thing changed: the engine on the reference
//! implementation in memory, beside the bare calls that it cannot do without.

use std::cell::Cell;
use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use tokio::runtime::{Builder, Runtime};
use usersync_connector::wrap::{RateLimit, Wrap};
use usersync_connector::{
    MemberChange, MemberOperation, MembershipRead, MembershipTarget, Precondition, Reader,
};
use usersync_engine::{Options, RunEnd, RunRequest};
use usersync_memory::MemoryTarget;
use usersync_model::{Digest, MemberFacets, ObjectId, OperationId, PrincipalRef};
use usersync_tokio::SystemClock;

use super::{Aim, Scenario, Target};
use crate::slow::Slow;
use crate::watched::{Watch, Watched};
use crate::way::{Part, Way, measured};
use crate::world::World;

/// How many calls run at once, in the engine and beside it.
const CONCURRENCY: usize = 16;
const LATENCY: Duration = Duration::from_millis(5);
const RATE: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

const BARE: &str = "the bare calls";
/// A whole run: it reads the directory, the catalog and the target, plans, applies, records, and delivers what it has to tell.
const ENGINE: &str = "the engine: plan, journal, ledger, audit, outbox";
/// What a run reads and plans, and nothing else: what is left of the run beside it is applying, recording and delivering.
const PREVIEW: &str = "a preview: the same reads and plan";
/// What a run does from its first call with operations to the last answer of one: calls, intents, ledger, audit, outbox. The reads, the
/// plan and the first 256 intents come before that, and what the last operations came to (256 or a few more), the report and the
/// deliveries after it.
const APPLYING: &str = "the engine, from the first call to the last answer";
const PACE: &str = "what the rate allows";

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, item, sizes, targets, prepare| Scenario {
        name,
        item,
        sizes,
        counted: None,
        targets,
        prepare,
    };
    vec![
        Scenario {
            counted: Some([500, 5000]),
            ..scenario(
                "apply/target and store in memory",
                "operation",
                [1000, 10_000, 100_000],
                &[],
                at_once,
            )
        },
        scenario(
            "apply/target and store in memory, calls alone",
            "operation",
            [1000, 10_000, 100_000],
            &[Target {
                way: APPLYING,
                aim: Aim::AtMost(2.5, BARE),
            }],
            calls_at_once,
        ),
        scenario(
            "apply/5 ms a call, 64 at once",
            "operation",
            [1000, 10_000, 100_000],
            &[Target {
                way: APPLYING,
                aim: Aim::AtMost(1.03, BARE),
            }],
            slowly,
        ),
        scenario(
            "apply/20,000 calls a second",
            "operation",
            [1000, 10_000, 100_000],
            &[Target {
                way: APPLYING,
                aim: Aim::AtMost(1.03, PACE),
            }],
            paced,
        ),
        scenario(
            "run/little to do",
            "membership",
            [10_000, 100_000, 1_000_000],
            &[],
            little,
        ),
    ]
}

fn at_once(operations: u64) -> Vec<Way> {
    let world = Rc::new(World::new(operations));
    let calls = Rc::new(calls(&world));
    let forks = |world: &Rc<World>| {
        let world = Rc::clone(world);
        move || world.fork()
    };
    vec![
        Way::each(Part::Limit, BARE, forks(&world), move |world| {
            let target: Arc<dyn MembershipTarget> = Arc::new(world.target.clone());
            block_on(bare(&target, &world, &calls, CONCURRENCY));
            world
        }),
        Way::each(Part::Usersync, ENGINE, forks(&world), move |world| {
            block_on(applied(&world, operations));
            world
        }),
        Way::each(Part::Usersync, PREVIEW, forks(&world), |world| {
            let previewed = block_on(world.preview());
            (world, previewed)
        }),
    ]
}

fn calls_at_once(operations: u64) -> Vec<Way> {
    let world = Rc::new(World::new(operations));
    let (calls, runtime) = (calls(&world), Rc::new(runtime()));
    let (limit, time) = (Rc::clone(&world), Rc::clone(&runtime));
    vec![
        Way::timed(Part::Limit, BARE, move || {
            let world = limit.fork();
            let watch = Watch::of(operations);
            let target: Arc<dyn MembershipTarget> =
                Arc::new(Watched::new(Arc::new(world.target.clone()), &watch));
            time.block_on(bare(&target, &world, &calls, CONCURRENCY));
            watch.spent()
        }),
        applying(operations, world, runtime, Options::default(), |_| {
            |target| Arc::new(target) as _
        }),
    ]
}

fn slowly(operations: u64) -> Vec<Way> {
    const AT_ONCE: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
    let world = Rc::new(World::new(operations));
    let (calls, runtime) = (calls(&world), Rc::new(runtime()));
    let mut options = Options::default();
    options.concurrency = AT_ONCE;
    let slow = |_: &Arc<SystemClock>| |target| Arc::new(Slow::new(target, LATENCY)) as _;
    let (limit, time) = (Rc::clone(&world), Rc::clone(&runtime));
    vec![
        Way::timed(Part::Limit, BARE, move || {
            let world = limit.fork();
            let target: Arc<dyn MembershipTarget> = Arc::new(Slow::new(world.target.clone(), LATENCY));
            measured(|| time.block_on(bare(&target, &world, &calls, AT_ONCE.get()))).1
        }),
        whole_run(operations, Rc::clone(&world), Rc::clone(&runtime), options, slow),
        applying(operations, world, runtime, options, slow),
    ]
}

fn paced(operations: u64) -> Vec<Way> {
    let (world, runtime) = (Rc::new(World::new(operations)), Rc::new(runtime()));
    let limited = |clock: &Arc<SystemClock>| {
        // What a read and the first moments leave unused is allowed later.
        let limit = RateLimit::new(RATE, Duration::from_secs(1)).with_burst(BURST);
        let wrap = Wrap::new(Arc::clone(clock) as _).rate_limit(limit);
        move |target| {
            let target: Arc<dyn MembershipTarget> = Arc::new(target);
            Arc::new(wrap.wrap(target)) as _
        }
    };
    vec![
        Way::timed(Part::Limit, PACE, move || {
            // The burst is allowed at once.
            let paced = (operations as u32).saturating_sub(BURST.get());
            Duration::from_secs(1) * paced / RATE.get()
        }),
        whole_run(
            operations,
            Rc::clone(&world),
            Rc::clone(&runtime),
            Options::default(),
            limited,
        ),
        applying(operations, world, runtime, Options::default(), limited),
    ]
}

/// [`ENGINE`] by the system's clock, with what `between` makes around the target.
fn whole_run<B>(
    operations: u64,
    world: Rc<World>,
    runtime: Rc<Runtime>,
    options: Options,
    between: impl Fn(&Arc<SystemClock>) -> B + 'static,
) -> Way
where
    B: FnOnce(MemoryTarget) -> Arc<dyn MembershipTarget>,
{
    Way::timed(Part::Usersync, ENGINE, move || {
        runtime.block_on(async {
            let clock = Arc::new(SystemClock::new());
            let between = between(&clock);
            let world = world.by_clock(clock, options, between);
            timed(&world, operations).await
        })
    })
}

/// [`APPLYING`] by the system's clock, with what `between` makes around the target.
fn applying<B>(
    operations: u64,
    world: Rc<World>,
    runtime: Rc<Runtime>,
    options: Options,
    between: impl Fn(&Arc<SystemClock>) -> B + 'static,
) -> Way
where
    B: FnOnce(MemoryTarget) -> Arc<dyn MembershipTarget>,
{
    Way::timed(Part::Usersync, APPLYING, move || {
        runtime.block_on(async {
            let clock = Arc::new(SystemClock::new());
            let (between, watch) = (between(&clock), Watch::of(operations));
            let watched = |target| Arc::new(Watched::new(between(target), &watch)) as _;
            let world = world.by_clock(clock, options, watched);
            applied(&world, operations).await;
            watch.spent()
        })
    })
}

const BURST: NonZeroU32 = NonZeroU32::new(200).expect("not zero");

fn little(memberships: u64) -> Vec<Way> {
    let world = Rc::new(World::new(memberships));
    assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::Changed);
    assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync);
    let joined = Rc::new(Cell::new(false));
    let way = |name, work: fn(&World)| {
        let world = Rc::clone(&world);
        Way::new(Part::Usersync, name, move || work(&world))
    };
    let changed = |name, request: fn(&World) -> RunRequest| {
        let (world, joined) = (Rc::clone(&world), Rc::clone(&joined));
        Way::timed(Part::Usersync, name, move || {
            joined.set(!joined.get());
            world.toggle(joined.get());
            let (report, spent) = measured(|| block_on(world.run(request(&world))));
            assert_eq!(report.end, RunEnd::Changed);
            spent
        })
    };
    let limit = Rc::clone(&world);
    vec![
        Way::new(Part::Limit, "reading the target", move || block_on(read(&limit))),
        way("nothing changed", |world| {
            assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync);
        }),
        changed("one membership changed", |_| RunRequest::everything()),
        changed("one membership changed, one container saved", |world| {
            RunRequest::container(world.first())
        }),
    ]
}

fn runtime() -> Runtime {
    let built = Builder::new_current_thread().enable_time().build();
    built.expect("a runtime for timers")
}

async fn timed(world: &World, operations: u64) -> Duration {
    let begun = tokio::time::Instant::now();
    applied(world, operations).await;
    begun.elapsed()
}

async fn applied(world: &World, operations: u64) {
    let report = world.run(RunRequest::everything()).await;
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(report.operations.len() as u64, operations);
}

/// The calls that make every membership.
fn calls(world: &World) -> Vec<(ObjectId, MemberOperation)> {
    let operation = |container: &ObjectId, principal: PrincipalRef| MemberOperation {
        id: OperationId::from_digest(&Digest::of(
            "bench",
            format!("{container}/{principal}").as_bytes(),
        )),
        principal,
        change: MemberChange::Add(MemberFacets::default()),
        precondition: Precondition::Absent,
    };
    world
        .memberships()
        .into_iter()
        .map(|(container, principal)| {
            let operation = operation(&container, principal);
            (container, operation)
        })
        .collect()
}

async fn bare(
    target: &Arc<dyn MembershipTarget>,
    world: &World,
    calls: &[(ObjectId, MemberOperation)],
    at_once: usize,
) {
    let context = world.context();
    let results = stream::iter(calls)
        .map(|(container, operation)| target.apply(container, std::slice::from_ref(operation), &context))
        .buffer_unordered(at_once)
        .collect::<Vec<_>>()
        .await;
    assert!(results.iter().flatten().all(Result::is_ok));
}

async fn read(world: &World) {
    let mut reader = Reader::new(world.target.members(world.containers(), &world.context()));
    while let Some(chunk) = reader.next_chunk().await {
        black_box(chunk);
    }
    assert!(reader.finish().verdict.is_complete());
}
