//! A store and a directory whose calls wait, so that a test can poll workers against each other step by step.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::task::noop_waker;
use futures::{FutureExt, StreamExt};
use usersync::connector::{
    Applied, CallContext, Cursor, Directory, DirectoryCapabilities, MemberOperation, MembersEntry,
    MembershipRead, MembershipTarget, PresentMember, ReadStream, TargetCapabilities,
};
use usersync::memory::{MemoryDirectory, MemoryStore, MemoryTarget};
use usersync::model::{
    ContainerRef, Digest, DirectoryChange, JobId, ObjectId, PrincipalRef, SystemId, TenantId,
};
use usersync::store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction,
};

/// Waits for one poll: is ready when polled again.
#[derive(Debug, Default)]
pub struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A store that waits before and after every call.
#[derive(Clone, Debug)]
pub struct YieldingStore<S = MemoryStore>(pub S);

/// Waits for one poll, makes the call, and waits for another.
async fn around<T>(call: impl Future<Output = T>) -> T {
    Turn::default().await;
    let answer = call.await;
    Turn::default().await;
    answer
}

#[async_trait::async_trait]
impl<S: StateStore + Clone> StateRead for YieldingStore<S> {
    async fn now(&self) -> Result<DateTime<Utc>> {
        around(self.0.now()).await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        around(self.0.value(tenant, table, key)).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let (store, tenant, prefix) = (self.0.clone(), tenant.clone(), prefix.clone());
        let stream = async move {
            Turn::default().await;
            store.values(&tenant, table, &prefix)
        };
        stream.flatten_stream().boxed()
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        around(self.0.ledger_row(tenant, key)).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        self.0.ledger(tenant, containers)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        around(self.0.counter(tenant, counter)).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        self.0.log(tenant, log, after)
    }
}

#[async_trait::async_trait]
impl<S: StateStore + Clone> StateStore for YieldingStore<S> {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        around(self.0.commit(transaction)).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        around(self.0.acquire(name, holder, ttl)).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        around(self.0.renew(lease, ttl)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        around(self.0.release(lease)).await
    }
}

/// A target that waits before and after every call about single members.
#[derive(Clone, Debug)]
pub struct YieldingTarget(pub MemoryTarget);

#[async_trait::async_trait]
impl MembershipRead for YieldingTarget {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.0.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let (target, context) = (self.0.clone(), context.clone());
        let stream = async move {
            Turn::default().await;
            target.members(containers, &context)
        };
        stream.flatten_stream().boxed()
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        around(self.0.member(container, principal, context)).await
    }
}

#[async_trait::async_trait]
impl MembershipTarget for YieldingTarget {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        around(self.0.apply(container, operations, context)).await
    }
}

/// A directory whose reads take some polls, and that notes which jobs read at the same time.
#[derive(Clone, Debug)]
pub struct YieldingDirectory {
    inner: MemoryDirectory,
    reads: Arc<Mutex<Reads>>,
    polls: usize,
}

/// What reads were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// How many reads each job began.
    pub begun: BTreeMap<JobId, usize>,
    /// How many of them go on.
    pub open: BTreeMap<JobId, usize>,
    /// How many reads of one job went on at once, at most.
    pub most: usize,
}

impl YieldingDirectory {
    /// Over `inner`, with reads that take `polls` polls to begin.
    #[must_use]
    pub fn new(inner: MemoryDirectory, polls: usize) -> Self {
        Self {
            inner,
            reads: Arc::default(),
            polls,
        }
    }

    /// What reads were seen so far.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for YieldingDirectory {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.inner.capabilities()
    }

    fn filter(&self) -> Option<Digest> {
        self.inner.filter()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let (this, job) = (self.clone(), context.job.clone());
        let read = self.inner.read(since, context);
        let stream = async move {
            {
                let mut reads = this.lock();
                *reads.begun.entry(job.clone()).or_default() += 1;
                let open = reads.open.entry(job.clone()).or_default();
                *open += 1;
                let open = *open;
                reads.most = reads.most.max(open);
            }
            for _ in 0..this.polls {
                Turn::default().await;
            }
            if let Some(open) = this.lock().open.get_mut(&job) {
                *open -= 1;
            }
            read
        };
        stream.flatten_stream().boxed()
    }
}

/// Workers that are polled one step at a time.
pub struct Workers<'a, T> {
    futures: Vec<Option<BoxFuture<'a, T>>>,
    ended: Vec<Option<T>>,
}

impl<'a, T> Default for Workers<'a, T> {
    fn default() -> Self {
        Self {
            futures: Vec::new(),
            ended: Vec::new(),
        }
    }
}

impl<T> std::fmt::Debug for Workers<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} workers", self.futures.len())
    }
}

impl<'a, T> Workers<'a, T> {
    /// Adds a worker; answers its number.
    pub fn add(&mut self, future: impl Future<Output = T> + Send + 'a) -> usize {
        self.futures.push(Some(future.boxed()));
        self.ended.push(None);
        self.futures.len() - 1
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.futures.len()
    }

    /// Polls a worker once, if it has not ended; tells whether it has now.
    pub fn step(&mut self, number: usize) -> bool {
        let Some(future) = &mut self.futures[number] else {
            return true;
        };
        match future.as_mut().poll(&mut Context::from_waker(&noop_waker())) {
            Poll::Pending => false,
            Poll::Ready(output) => {
                self.ended[number] = Some(output);
                self.futures[number] = None;
                true
            }
        }
    }

    /// Polls everybody in the order of `choices`, over and over, and in the end everybody in turn; answers what they came to.
    pub fn finish(mut self, choices: &[usize]) -> Vec<T> {
        let count = self.futures.len();
        for choice in choices {
            let _ = self.step(choice % count.max(1));
        }
        for _ in 0..100_000 {
            let open = (0..count).filter(|number| !self.step(*number)).count();
            if open == 0 {
                return self.ended.into_iter().flatten().collect();
            }
        }
        unreachable!("the workers never end")
    }
}
