//! Stores, targets and directories that break their contracts in one way each.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use usersync_connector::{
    Applied, CallContext, Clock, Cursor, Directory, DirectoryCapabilities, MemberChange, MemberOperation,
    MembersEntry, MembershipRead, MembershipTarget, PresentMember, ReadEvent, ReadStream, TargetCapabilities,
};
use usersync_memory::{ManualClock, MemoryDirectory, MemoryStore, MemoryTarget};
use usersync_model::{ContainerRef, DirectoryChange, Member, ObjectId, PrincipalRef, SystemId, TenantId};
use usersync_sim::{TargetSpec, TargetUnderTest};
use usersync_store::{
    Check, Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead,
    StateStore, Stored, Table, Transaction, Write,
};

/// What a faulty store does wrong.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    /// Nothing; but renewals and commits of intents are answered only once this is set.
    AnswersLate(Arc<AtomicBool>),
    /// Intents are not durable.
    ForgetsIntents,
    /// Everybody gets the lease.
    GivesLeasesTwice,
    /// Limits on counters, and so on seats, are not looked at.
    IgnoresLimits,
    /// Ledger rows may have changed meanwhile.
    IgnoresRows,
    /// Tokens are not looked at.
    IgnoresTokens,
    /// Leases last for ever.
    NeverExpires,
    /// Notifications are written outside of the transaction, or not.
    LosesNotifications,
    /// Of every transaction of several writes, the last is lost.
    Tears,
}

/// A store that does one thing wrong.
#[derive(Clone, Debug)]
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    wrong: Wrong,
}

impl FaultyStore {
    /// Waits until answers are given.
    async fn answer(&self) {
        if let Wrong::AnswersLate(now) = &self.wrong {
            poll_fn(|_| match now.load(Ordering::Relaxed) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
    }

    pub(crate) fn over(inner: &MemoryStore, wrong: Wrong) -> Self {
        let inner = inner.clone();
        Self { inner, wrong }
    }

    pub(crate) fn new(clock: &ManualClock, wrong: Wrong) -> Self {
        Self {
            inner: MemoryStore::new(Arc::new(clock.clone())),
            wrong,
        }
    }
}

#[async_trait]
impl StateRead for FaultyStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        self.inner.value(tenant, table, key).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
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
impl StateStore for FaultyStore {
    async fn commit(&self, mut transaction: Transaction) -> Result<()> {
        match &self.wrong {
            Wrong::ForgetsIntents => transaction.writes.retain(|write| {
                !matches!(
                    write,
                    Write::Put {
                        table: Table::Intent,
                        ..
                    }
                )
            }),
            Wrong::IgnoresLimits => transaction
                .checks
                .retain(|check| !matches!(check, Check::AtMost { .. })),
            Wrong::IgnoresRows => transaction
                .checks
                .retain(|check| !matches!(check, Check::Ledger { .. })),
            Wrong::IgnoresTokens => transaction.fence = None,
            Wrong::LosesNotifications => transaction
                .writes
                .retain(|write| !matches!(write, Write::Append { log: Log::Outbox, .. })),
            Wrong::Tears if transaction.writes.len() > 1 => {
                transaction.writes.pop();
            }
            _ => {}
        }
        let begins = transaction.writes.iter().any(|write| {
            matches!(
                write,
                Write::Put {
                    table: Table::Intent,
                    ..
                }
            )
        });
        let answer = self.inner.commit(transaction).await;
        if begins {
            self.answer().await;
        }
        answer
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        match &self.wrong {
            Wrong::GivesLeasesTwice => match self.inner.acquire(name, holder, ttl).await {
                Ok(lease) => {
                    self.inner.release(&lease).await?;
                    Ok(lease)
                }
                Err(error) => Err(error),
            },
            Wrong::NeverExpires => {
                let years = Duration::from_secs(50 * 365 * 24 * 3600);
                let lease = self.inner.acquire(name, holder, years).await?;
                Ok(lease)
            }
            _ => self.inner.acquire(name, holder, ttl).await,
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        match &self.wrong {
            Wrong::NeverExpires => Ok(lease.clone()),
            _ => {
                let answer = self.inner.renew(lease, ttl).await;
                self.answer().await;
                answer
            }
        }
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.inner.release(lease).await
    }
}

/// What a faulty target does wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answers {
    /// It shows one member less of each container that has two or more, and says that these are all.
    Hides,
    /// It answers long after it did what it was asked for.
    Late,
    /// It leaves roles and states as they are, and says that it changed them.
    Keeps,
    /// Whatever it is asked for, it does it, and says that there was nothing to do.
    Unchanged,
    /// It does nothing and says that it did.
    Without,
}

/// A target that tells the wrong thing.
#[derive(Clone, Debug)]
pub(crate) struct FaultyTarget {
    inner: MemoryTarget,
    answers: Answers,
    clock: ManualClock,
}

impl FaultyTarget {
    pub(crate) fn new(spec: &TargetSpec, answers: Answers) -> Self {
        let capabilities = TargetCapabilities {
            idempotency_key: false,
            ..spec.capabilities
        };
        Self {
            inner: MemoryTarget::new(spec.system.clone(), capabilities),
            answers,
            clock: spec.clock.clone(),
        }
    }
}

#[async_trait]
impl MembershipRead for FaultyTarget {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.inner.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let read = self.inner.members(containers, context);
        let Answers::Hides = self.answers else {
            return read;
        };
        let hide = |event| match event {
            Ok(ReadEvent::Chunk(mut chunk)) => {
                for entry in &mut chunk {
                    if let MembersEntry::Members { members, .. } = entry
                        && members.len() > 1
                    {
                        members.pop();
                    }
                }
                Ok(ReadEvent::Chunk(chunk))
            }
            event => event,
        };
        read.map(hide).boxed()
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> usersync_connector::Result<Option<PresentMember>> {
        self.inner.member(container, principal, context).await
    }
}

#[async_trait]
impl MembershipTarget for FaultyTarget {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync_connector::Result<Applied>> {
        match self.answers {
            Answers::Unchanged => {
                let first = self.inner.apply(container, operations, context).await;
                let unchanged =
                    |answer: usersync_connector::Result<Applied>| answer.map(|_| Applied::unchanged());
                first.into_iter().map(unchanged).collect()
            }
            Answers::Late => {
                let answers = self.inner.apply(container, operations, context).await;
                self.clock.sleep(Duration::from_secs(20)).await;
                answers
            }
            Answers::Hides => self.inner.apply(container, operations, context).await,
            Answers::Keeps => {
                let is_kept =
                    |operation: &&MemberOperation| matches!(operation.change, MemberChange::Update(_));
                let rest: Vec<_> = operations
                    .iter()
                    .filter(|operation| !is_kept(operation))
                    .cloned()
                    .collect();
                let mut rest = self.inner.apply(container, &rest, context).await.into_iter();
                let answer = |operation: &MemberOperation| match is_kept(&operation) {
                    true => Some(Ok(Applied::changed())),
                    false => rest.next(),
                };
                operations.iter().filter_map(answer).collect()
            }
            Answers::Without => operations.iter().map(|_| Ok(Applied::changed())).collect(),
        }
    }
}

impl TargetUnderTest for FaultyTarget {
    fn create_container(&self, container: ObjectId) {
        self.inner.create_container(container);
    }

    fn put_by_hand(&self, container: &ObjectId, member: Member) {
        self.inner.set_by_hand(container, member);
    }

    fn remove_by_hand(&self, container: &ObjectId, principal: &PrincipalRef) {
        self.inner.remove_by_hand(container, principal);
    }

    fn members_now(&self, container: &ObjectId) -> Option<Vec<Member>> {
        self.inner.members_of(container)
    }
}

/// A directory that leaves out members of groups and says that it does not.
#[derive(Clone, Debug)]
pub(crate) struct Shortened(pub(crate) MemoryDirectory);

impl Directory for Shortened {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.0.capabilities()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let read = self.0.read(since, context);
        let shorten = |event| match event {
            Ok(ReadEvent::Chunk(mut chunk)) => {
                for change in &mut chunk {
                    if let DirectoryChange::Members { members, .. } = change {
                        members.pop();
                    }
                }
                Ok(ReadEvent::Chunk(chunk))
            }
            event => event,
        };
        read.map(shorten).boxed()
    }
}

/// A directory whose connector panics in each read of changes, or in each read where it offers none.
#[derive(Clone, Debug)]
pub(crate) struct Panics(pub(crate) MemoryDirectory);

impl Directory for Panics {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.0.capabilities()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        assert!(
            since.is_none() && self.capabilities().changes,
            "nobody thought of that"
        );
        self.0.read(since, context)
    }
}
