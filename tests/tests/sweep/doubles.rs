//! Doubles that break what a sweep is there to find.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync::connector::{
    Applied, CallContext, Error, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, TargetCapabilities,
};
use usersync::engine::Engine;
use usersync::memory::{MemoryStore, MemoryTarget};
use usersync::model::{ContainerRef, ObjectId, PrincipalRef, SystemId, TenantId};
use usersync::reconcile::Mode as JobMode;
use usersync::store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction, Write,
};
use usersync_sim::sweep::{Host, Mode, Points, Report, Sweep};
use usersync_tests::{LEASE, World, every_capability, free_policy, least_capability, tenant};

use crate::{assemble, content, run, start_over};

/// Two to add and one to remove, with a process of which `start` makes one part worse than it was.
fn worse(
    capabilities: TargetCapabilities,
    start: impl Fn(&Points, &World) -> Engine + Copy + Send + Sync + 'static,
) -> Sweep<Host<World>> {
    let base = World::builder()
        .capabilities(capabilities)
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(JobMode::Managed))
        .build();
    let _ = base.settle("sync");
    base.leave("staff", "ada");
    base.join("staff", "cleo");
    base.join("staff", "dan");
    let build = move |points: &Points| {
        let mut world = base.fork();
        world.store = world.store.fork_with_clock(Arc::new(points.time()));
        Host::new(points, tenant(), world, start, content)
    };
    Sweep::new("a double", build)
        .with_lease(LEASE)
        .step("run", run("sync"))
}

/// The rules that were broken.
fn broken(report: &Report) -> Vec<&'static str> {
    let mut rules: Vec<_> = report.failures.iter().map(|failure| failure.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// What a store does with transactions that it should not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It forgets the notifications.
    Notifications,
    /// It says that it wrote intents, and has them in memory only: whoever opens it again finds them gone.
    IntentsOnRestart,
    /// It says that it wrote intents, and did not.
    Intents,
}

#[derive(Debug)]
struct Lossy {
    inner: MemoryStore,
    loss: Loss,
    /// Intents that are in memory only.
    intents: Mutex<Vec<(Key, Stored)>>,
}

impl Lossy {
    fn over(world: &World, loss: Loss) -> Arc<dyn StateStore> {
        Arc::new(Self {
            inner: world.store.clone(),
            loss,
            intents: Mutex::default(),
        })
    }
}

fn is_intent(write: &Write) -> bool {
    matches!(
        write,
        Write::Put {
            table: Table::Intent,
            ..
        }
    )
}

#[async_trait]
impl StateRead for Lossy {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        self.inner.value(tenant, table, key).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let kept = self.intents.lock().expect("nobody panics").clone();
        if table == Table::Intent && !kept.is_empty() {
            return Box::pin(futures::stream::iter([Ok(kept)]));
        }
        self.inner.values(tenant, table, prefix)
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        self.inner.ledger_row(tenant, key).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        self.inner.ledger(tenant, containers)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        self.inner.counter(tenant, counter).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        self.inner.log(tenant, log, after)
    }
}

#[async_trait]
impl StateStore for Lossy {
    async fn commit(&self, mut transaction: Transaction) -> Result<()> {
        match self.loss {
            Loss::Notifications => transaction
                .writes
                .retain(|write| !matches!(write, Write::Append { log: Log::Outbox, .. })),
            Loss::Intents => transaction.writes.retain(|write| !is_intent(write)),
            Loss::IntentsOnRestart => {
                let mut kept = self.intents.lock().expect("nobody panics");
                for write in &transaction.writes {
                    match write {
                        Write::Put {
                            table: Table::Intent,
                            key,
                            bytes,
                        } => {
                            let (bytes, revision) = (bytes.clone(), 1);
                            kept.push((key.clone(), Stored { bytes, revision }));
                        }
                        Write::Delete {
                            table: Table::Intent,
                            key,
                        } => kept.retain(|(of, _)| of != key),
                        _ => {}
                    }
                }
                drop(kept);
                transaction.writes.retain(|write| !is_intent(write));
                let of_intents = |check: &usersync::store::Check| {
                    matches!(
                        check,
                        usersync::store::Check::Value {
                            table: Table::Intent,
                            ..
                        }
                    )
                };
                transaction.checks.retain(|check| !of_intents(check));
            }
        }
        self.inner.commit(transaction).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        self.inner.acquire(name, holder, ttl).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.inner.release(lease).await
    }
}

#[test]
fn a_store_that_writes_no_intents_is_found_at_once() {
    let sweep = worse(every_capability(), |points, world| {
        start_over(
            points,
            world,
            Lossy::over(world, Loss::Intents),
            Arc::new(world.target.clone()),
        )
    });
    assert_eq!(broken(&sweep.run()), ["effect_without_intent"]);
}

#[test]
fn a_store_that_forgets_notifications_is_found_at_once() {
    let sweep = worse(every_capability(), |points, world| {
        let store = Lossy::over(world, Loss::Notifications);
        start_over(points, world, store, Arc::new(world.target.clone()))
    });
    assert_eq!(broken(&sweep.run()), ["told_not_once"]);
}

/// Whoever was added by the process that died counts as added by a person.
#[test]
fn a_store_that_is_not_durable_is_found_where_a_process_dies() {
    let sweep = worse(every_capability(), |points, world| {
        let store = Lossy::over(world, Loss::IntentsOnRestart);
        start_over(points, world, store, Arc::new(world.target.clone()))
    });
    let report = sweep.run_points(|point| point.mode == Mode::DieAfter);
    assert!(broken(&report).contains(&"another_end"), "{report}");
    let shown = report.to_string();
    assert!(
        shown.contains("USERSYNC_SWEEP_POINT=") && shown.contains("Foreign"),
        "{shown}"
    );
}

/// What a target, or whoever calls it, does with operations that it should not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// It answers before it did anything, and does it with what comes next.
    AnswersFirst,
    /// It panics where it gets no answer.
    Panics,
    /// It makes a call again whose answer it did not get.
    RetriesBlindly,
}

#[derive(Debug)]
struct Bad {
    inner: Arc<dyn MembershipTarget>,
    habit: Habit,
    later: Mutex<Vec<(ObjectId, Vec<MemberOperation>, CallContext)>>,
}

impl Bad {
    fn over(inner: Arc<dyn MembershipTarget>, habit: Habit) -> Arc<dyn MembershipTarget> {
        Arc::new(Self {
            inner,
            habit,
            later: Mutex::default(),
        })
    }

    fn catch_up(&self) {
        let later = std::mem::take(&mut *self.later.lock().expect("nobody panics"));
        for (container, operations, context) in later {
            futures::FutureExt::now_or_never(self.inner.apply(&container, &operations, &context));
        }
    }
}

#[async_trait]
impl MembershipRead for Bad {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.inner.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        self.catch_up();
        self.inner.members(containers, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        self.catch_up();
        self.inner.member(container, principal, context).await
    }
}

#[async_trait]
impl MembershipTarget for Bad {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        if self.habit == Habit::AnswersFirst {
            self.catch_up();
            let batch = (container.clone(), operations.to_vec(), context.clone());
            self.later.lock().expect("nobody panics").push(batch);
            return operations.iter().map(|_| Ok(Applied::changed())).collect();
        }
        let answers = self.inner.apply(container, operations, context).await;
        if answers.iter().flatten().count() == answers.len() {
            return answers;
        }
        let is_unknown = |answer: &usersync::connector::Result<Applied>| {
            answer.as_ref().is_err_and(Error::outcome_unknown)
        };
        let is_unanswered = answers.iter().any(is_unknown);
        assert!(!is_unanswered || self.habit != Habit::Panics, "no answer");
        match is_unanswered {
            true => self.inner.apply(container, operations, context).await,
            false => answers,
        }
    }
}

/// The ledger has what the target lost.
#[test]
fn a_target_that_answers_before_it_acts_is_found() {
    let sweep = worse(every_capability(), |points, world| {
        let target: Arc<MemoryTarget> = Arc::new(world.target.clone());
        let target = Bad::over(target, Habit::AnswersFirst);
        start_over(points, world, Arc::new(world.store.clone()), target)
    });
    let report = sweep.run();
    assert!(!report.is_ok(), "{report}");
}

/// What the first attempt added is there when the second comes, and so counts as a person's.
#[test]
fn a_caller_that_retries_blindly_is_found() {
    let sweep = worse(least_capability(), |points, world| {
        let target = points.target(Arc::new(world.target.clone()));
        let target = Bad::over(target, Habit::RetriesBlindly);
        assemble(points, world, Arc::new(world.store.clone()), target)
    });
    let report = sweep.run_points(|point| point.mode == Mode::FailOnceAnswer);
    assert_eq!(broken(&report), ["another_end"], "{report}");
    assert!(report.to_string().contains("Foreign"), "{report}");
}

#[test]
fn a_panic_is_found_wherever_it_ends() {
    let sweep = worse(every_capability(), |points, world| {
        let target = points.target(Arc::new(world.target.clone()));
        let target = Bad::over(target, Habit::Panics);
        assemble(points, world, Arc::new(world.store.clone()), target)
    });
    let report = sweep.run_points(|point| point.mode == Mode::FailOnceAnswer);
    assert_eq!(broken(&report), ["engine_panicked"], "{report}");
}
