//! Threads and tasks in thousands of orders: the locks of the backends in memory, what wrapped calls share, and the runner.
//!
//! ```sh
//! RUSTFLAGS='--cfg shuttle' cargo test -p usersync-tokio --test shuttle
//! ```
//!
//! Half of the orders are drawn evenly, half with few preemptions at places that matter. A failure prints its order as a text, which
//! `shuttle::replay` takes.
#![cfg(shuttle)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::channel::oneshot;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::thread;
use usersync_connector::wrap::{RateLimit, Wrap};
use usersync_connector::{Actor, Authority, CallContext, Clock, MembershipTarget, TargetCapabilities};
use usersync_connector::{ActorState, adapt::StaticContainers};
use usersync_engine::{Engine, EngineError, Job, RunEnd, RunRequest};
use usersync_memory::{
    Calls, ManualClock, MemoryActors, MemoryDirectory, MemoryNotifier, MemoryStore, MemoryTarget,
};
use usersync_model::{
    Container, ContainerKind, ContainerRef, GroupKind, JobId, Principal, PrincipalKind, PrincipalRef,
    Selection, SystemId, TenantId,
};
use usersync_store::{
    Check, Key, LeaseName, StateRead, StateStore, StoreErrorKind, Table, Transaction, Write,
};
use usersync_tokio::Runner;

const SEED: u64 = 20_261_121;
const TTL: Duration = Duration::from_secs(60);

/// Does it once in each of `orders` orders.
fn in_orders(orders: usize, work: impl Fn() + Send + Sync + 'static) {
    let work = Arc::new(work);
    let again = Arc::clone(&work);
    let even = RandomScheduler::new_from_seed(SEED, orders / 2);
    shuttle::Runner::new(even, config()).run(move || work());
    let few = PctScheduler::new_from_seed(SEED, 3, orders / 2);
    shuttle::Runner::new(few, config()).run(move || again());
}

fn config() -> shuttle::Config {
    let mut config = shuttle::Config::new();
    // A whole run of the engine is polled on the stack of one of its threads.
    config.stack_size = 1 << 20;
    config
}

/// What as many threads answer as there are tasks.
fn threads<T: Send + 'static>(tasks: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let started: Vec<_> = tasks.into_iter().map(thread::spawn).collect();
    started
        .into_iter()
        .map(|thread| thread.join().expect("no thread panics"))
        .collect()
}

/// The same in `count` threads.
fn alike<T: Send + 'static>(count: usize, task: impl Fn() -> T + Clone + Send + 'static) -> Vec<T> {
    let one = |_| -> Box<dyn FnOnce() -> T + Send> {
        let task = task.clone();
        Box::new(move || task())
    };
    threads((0..count).map(one).collect())
}

#[test]
fn time_that_two_move_adds_up() {
    in_orders(10_000, || {
        let clock = ManualClock::default();
        let begun = clock.now();
        let moved = clock.clone();
        alike(2, move || moved.advance(Duration::from_secs(1)));
        assert_eq!(clock.now() - begun, TimeDelta::seconds(2));
    });
}

/// Were a sleep forgotten, nobody would wake it, and the scheduler says that nothing can go on.
#[test]
fn no_sleep_is_forgotten() {
    in_orders(10_000, || {
        let clock = ManualClock::default();
        let (mover, sleeper) = (clock.clone(), clock.clone());
        let sleep = sleeper.sleep(Duration::from_secs(2));
        let asleep = thread::spawn(move || block_on(sleep));
        alike(2, move || mover.advance(Duration::from_secs(1)));
        asleep.join().expect("no thread panics");
        assert_eq!(clock.sleeping(), 0);
    });
}

#[test]
fn calls_of_all_threads_keep_one_rate() {
    in_orders(5000, || {
        let clock = ManualClock::auto(ManualClock::default().now());
        let begun = clock.now();
        let target = MemoryTarget::new(
            system("calendar"),
            TargetCapabilities {
                point_read: true,
                ..TargetCapabilities::default()
            },
        );
        target.create_container(party().object);
        let second = RateLimit::new(NonZeroU32::MIN, Duration::from_secs(1));
        let wrap = Wrap::new(Arc::new(clock.clone())).rate_limit(second);
        let target: Arc<dyn MembershipTarget> =
            Arc::new(wrap.wrap(Arc::new(target) as Arc<dyn MembershipTarget>));
        alike(3, move || {
            let (context, party, ada) = (context(), party(), user("ada"));
            let read = target.member(&party.object, &ada, &context);
            assert_eq!(block_on(read).expect("memory does not fail"), None);
        });
        assert!(clock.now() - begun >= TimeDelta::seconds(2));
    });
}

#[test]
fn one_of_many_gets_a_lease() {
    in_orders(10_000, || {
        let store = store();
        let name = LeaseName {
            tenant: tenant(),
            key: Key::of(&["a"]),
        };
        let asked = store.clone();
        let answers = alike(3, move || block_on(asked.acquire(&name, "worker", TTL)));
        let (got, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(got.len(), 1);
        for error in refused.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), StoreErrorKind::Held);
        }
    });
}

/// Everybody reads a value, adds one to it, and writes it if nobody else did meanwhile.
#[test]
fn nothing_is_written_over() {
    in_orders(10_000, || {
        let store = store();
        let key = Key::of(&["count"]);
        let (adding, at) = (store.clone(), key.clone());
        alike(3, move || {
            loop {
                let before =
                    block_on(adding.value(&tenant(), Table::Cursor, &at)).expect("memory does not fail");
                let count = before.as_ref().map_or(0, |stored| stored.bytes[0]);
                let mut transaction = Transaction::new(tenant());
                transaction.check(Check::Value {
                    table: Table::Cursor,
                    key: at.clone(),
                    revision: before.map(|stored| stored.revision),
                });
                transaction.write(Write::Put {
                    table: Table::Cursor,
                    key: at.clone(),
                    bytes: vec![count + 1],
                });
                match block_on(adding.commit(transaction)) {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict),
                }
            }
        });
        let counted = block_on(store.value(&tenant(), Table::Cursor, &key)).expect("memory does not fail");
        assert_eq!(counted.expect("it was written").bytes, [3]);
    });
}

#[test]
fn a_limit_holds_for_all() {
    in_orders(10_000, || {
        let store = store();
        let seats = Key::of(&["seats"]);
        let (taking, counter) = (store.clone(), seats.clone());
        let answers = alike(3, move || {
            let mut transaction = Transaction::new(tenant());
            transaction.check(Check::AtMost {
                counters: vec![counter.clone()],
                limit: 2,
            });
            transaction.write(Write::Add {
                counter: counter.clone(),
                delta: 1,
            });
            block_on(taking.commit(transaction))
        });
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
        assert_eq!(
            block_on(store.counter(&tenant(), &seats)).expect("memory does not fail"),
            2
        );
    });
}

/// Whoever comes second waits its turn or is told so; both together do what one does, once.
#[test]
fn workers_of_one_job_do_it_once() {
    in_orders(2000, || {
        let office = Office::new();
        let job = office.job("attendees");
        block_on(office.engine.save_job(&job)).expect("memory does not fail");
        office.calls.clear();
        let engine = office.engine.clone();
        let ends = alike(2, move || {
            match block_on(engine.run(&tenant(), &job.id, RunRequest::everything())) {
                Ok(report) => report.end,
                Err(EngineError::Busy(_)) => RunEnd::InSync,
                Err(error) => panic!("{error}"),
            }
        });
        assert!(ends.contains(&RunEnd::Changed), "{ends:?}");
        assert_eq!(office.members(), [user("ada"), user("bob")]);
        assert_eq!(office.calls.effects(), 2);
    });
}

/// What is noted before a nudge is run, whatever the runner does just then: no time passes here, so that nothing else wakes it.
#[test]
fn no_nudge_is_lost() {
    in_orders(2000, || {
        let office = Office::new();
        let (engine, jobs) = (
            office.engine.clone(),
            ["first", "second"].map(|name| office.job(name)),
        );
        let (ended, end): (BTreeMap<_, _>, Vec<_>) = jobs
            .iter()
            .map(|job| {
                let (ended, end) = oneshot::channel();
                ((job.id.clone(), ended), end)
            })
            .unzip();
        let ended = Mutex::new(ended);
        let runner = Runner::new(office.engine.clone())
            .tenant(tenant())
            .on_end(move |run| {
                let ended = ended.lock().expect("no thread panics").remove(&run.name.job);
                if let Some(ended) = ended {
                    let _ = ended.send(run.result.is_ok());
                }
            });
        let left = block_on(async move {
            let runner = runner.spawn();
            for job in &jobs {
                engine.save_job(job).await.expect("memory does not fail");
                runner.nudge();
            }
            for end in end {
                assert_eq!(end.await, Ok(true));
            }
            runner.shutdown(TTL).await
        });
        assert_eq!(left, []);
        assert_eq!(office.members(), [user("ada"), user("bob")]);
    });
}

/// Whatever it is about when it is told to stop, it ends, leaves no lease behind, and what it left is done by whoever comes next.
#[test]
fn a_shutdown_leaves_nothing_half_done() {
    in_orders(2000, || {
        let office = Office::new();
        let job = office.job("attendees");
        block_on(office.engine.save_job(&job)).expect("memory does not fail");
        let runner = Runner::new(office.engine.clone()).tenant(tenant());
        let left = block_on(async move { runner.spawn().shutdown(TTL).await });
        assert_eq!(left, []);
        let report = block_on(office.engine.run(&tenant(), &job.id, RunRequest::everything()));
        assert!(report.expect("nobody holds the lease").is_ok());
        assert_eq!(office.members(), [user("ada"), user("bob")]);
        assert_eq!(office.calls.effects(), 2);
    });
}

/// An event that follows a group of two.
struct Office {
    engine: Engine,
    target: MemoryTarget,
    calls: Calls,
}

impl Office {
    fn new() -> Self {
        let clock = ManualClock::default();
        let directory = MemoryDirectory::new(system("directory"));
        let crew = PrincipalRef::new(system("directory"), user("crew").object);
        directory.put(Principal::new(
            crew.object.clone(),
            PrincipalKind::Group(GroupKind::UserGroup),
            "Crew",
        ));
        for name in ["ada", "bob"] {
            directory.put(Principal::new(user(name).object, PrincipalKind::User, name));
            directory.add_member(&crew.object, &user(name));
        }
        let calls = Calls::default();
        let target = MemoryTarget::new(system("calendar"), TargetCapabilities::default());
        target.create_container(party().object);
        let event = Container::new(party(), ContainerKind::Event, "Party", Selection::of([crew]));
        let actors = MemoryActors::new();
        actors.set(&tenant(), user("boss"), ActorState::Active);
        let engine = Engine::builder(
            Arc::new(MemoryStore::new(Arc::new(clock.clone()))),
            Arc::new(clock),
            Arc::new(StaticContainers::new([event])),
            Arc::new(actors),
            Arc::new(MemoryNotifier::new()),
        )
        .directory(Arc::new(directory))
        .target(Arc::new(target.clone().with_calls(&calls)))
        .build();
        Self {
            engine,
            target,
            calls,
        }
    }

    fn job(&self, name: &str) -> Job {
        let id = JobId::new(name).expect("the text is an id");
        Job::new(
            tenant(),
            id,
            name,
            [system("directory")],
            system("calendar"),
            user("boss"),
        )
    }

    fn members(&self) -> Vec<PrincipalRef> {
        let members = self.target.members_of(&party().object).expect("it is there");
        members.into_iter().map(|member| member.principal).collect()
    }
}

fn store() -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::default()))
}

fn context() -> CallContext {
    CallContext {
        tenant: tenant(),
        job: JobId::new("calls").expect("the text is an id"),
        actor: Actor {
            principal: user("boss"),
            authority: Authority::JobOwner,
        },
    }
}

fn tenant() -> TenantId {
    TenantId::new("sample").expect("the text is an id")
}

fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("the text is an id")
}

fn user(name: &str) -> PrincipalRef {
    PrincipalRef::parse("directory", name).expect("the texts are ids")
}

fn party() -> ContainerRef {
    ContainerRef::parse("calendar", "party").expect("the texts are ids")
}
