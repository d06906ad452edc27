//! Faults and records of calls for any store.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use futures::task::noop_waker;
use usersync::memory::{Calls, Faults, ManualClock, MemoryStore};
use usersync::model::{ContainerRef, JobId, LedgerRow, Origin, TenantId};
use usersync::store::{
    Chunks, Key, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore, Stored,
    Table, Transaction, Write,
};

const LONG: Duration = Duration::from_secs(1);

/// Waits for a future that another thread brings to its end. Also inside an executor, unlike that of `futures`.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A store in memory that every call to another store is made to first: what goes wrong there goes wrong here. It holds nothing
/// but marks that tell whether a broken call was broken before or after its effect.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    marks: MemoryStore,
    tapped: MemoryStore,
    names: Arc<AtomicU64>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        // Its own clock stands still, so that its leases never expire.
        let marks = MemoryStore::new(Arc::new(ManualClock::default()));
        Self {
            tapped: marks.clone(),
            marks,
            names: Arc::default(),
        }
    }

    pub(crate) fn tapped(&self, faults: &Faults, calls: &Calls) -> Self {
        let marks = self.marks.clone();
        Self {
            tapped: marks.with_faults(faults).with_calls(calls),
            ..self.clone()
        }
    }

    /// A call that changes nothing.
    pub(crate) async fn read<T, M>(
        call: impl Future<Output = Result<M>>,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        through(call, || false, act).await
    }

    /// What calls are to be made to first.
    pub(crate) fn store(&self) -> &MemoryStore {
        &self.tapped
    }

    pub(crate) async fn commit(&self, tenant: &TenantId, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let counter = Key::of(&["commits"]);
        let passed = || wait(self.marks.counter(tenant, &counter)).unwrap_or_default();
        let before = passed();
        let mut transaction = Transaction::new(tenant.clone());
        transaction.write(Write::Add {
            counter: counter.clone(),
            delta: 1,
        });
        through(self.tapped.commit(transaction), || passed() > before, act).await
    }

    pub(crate) async fn acquire<T>(&self, tenant: &TenantId, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let name = self.new_name(tenant);
        let call = self.tapped.acquire(&name, "gate", LONG);
        through(call, || self.is_held(&name), act).await
    }

    pub(crate) async fn renew<T>(&self, tenant: &TenantId, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let name = self.new_name(tenant);
        let lease = wait(self.marks.acquire(&name, "gate", Duration::ZERO))?;
        through(self.tapped.renew(&lease, LONG), || self.is_held(&name), act).await
    }

    pub(crate) async fn release(&self, tenant: &TenantId, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let name = self.new_name(tenant);
        let lease = wait(self.marks.acquire(&name, "gate", LONG))?;
        through(self.tapped.release(&lease), || !self.is_held(&name), act).await
    }

    pub(crate) fn values(
        &self,
        tenant: &TenantId,
        table: Table,
        prefix: &Key,
        chunks: Chunks<(Key, Stored)>,
    ) -> Chunks<(Key, Stored)> {
        self.mark(
            tenant,
            Write::Put {
                table,
                key: prefix.clone(),
                bytes: Vec::new(),
            },
        );
        behind(self.tapped.values(tenant, table, prefix), chunks)
    }

    pub(crate) fn ledger(
        &self,
        tenant: &TenantId,
        containers: Option<Vec<ContainerRef>>,
        chunks: Chunks<LedgerEntry>,
    ) -> Chunks<LedgerEntry> {
        let any = || ContainerRef::parse("gate", "gate").expect("an id");
        if let Some(container) = containers
            .as_ref()
            .map_or_else(|| Some(any()), |list| list.first().cloned())
        {
            let key = LedgerKey::member(container.clone(), container.as_principal());
            let job = JobId::new("gate").expect("an id");
            let row = Some(LedgerRow::new(Origin::Ours, [job]));
            self.mark(tenant, Write::Ledger { key, row });
        }
        behind(self.tapped.ledger(tenant, containers), chunks)
    }

    pub(crate) fn log(&self, tenant: &TenantId, log: Log, chunks: Chunks<LogEntry>) -> Chunks<LogEntry> {
        let (key, bytes) = (Key::of(&["gate"]), Vec::new());
        self.mark(tenant, Write::Append { log, key, bytes });
        behind(self.tapped.log(tenant, log, 0), chunks)
    }

    fn mark(&self, tenant: &TenantId, write: Write) {
        let mut transaction = Transaction::new(tenant.clone());
        transaction.write(write);
        wait(self.marks.commit(transaction)).expect("marks are without checks");
    }

    fn new_name(&self, tenant: &TenantId) -> LeaseName {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        LeaseName {
            tenant: tenant.clone(),
            key: Key::of(&[&number.to_string()]),
        }
    }

    fn is_held(&self, name: &LeaseName) -> bool {
        wait(self.marks.acquire(name, "gate", Duration::ZERO)).is_err()
    }
}

/// Makes the call to the gate, and `act` if that came to its effect; the answer is that of `act` unless it got lost.
async fn through<T, M>(
    call: impl Future<Output = Result<M>>,
    is_done: impl Fn() -> bool,
    act: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut call = Box::pin(call);
    let first = call.as_mut().poll(&mut Context::from_waker(&noop_waker()));
    drop(call);
    match first {
        Poll::Ready(Ok(_)) => return act(),
        Poll::Ready(Err(error)) => {
            if is_done() {
                drop(act());
            }
            return Err(error);
        }
        Poll::Pending if is_done() => drop(act()),
        Poll::Pending => {}
    }
    std::future::pending().await
}

/// `chunks` in place of the mark that the gate's stream begins with, and behind them whatever follows there.
fn behind<T: Send + 'static>(gate: Chunks<T>, chunks: Chunks<T>) -> Chunks<T> {
    let mut chunks = chunks.fuse();
    let inner = stream::iter(std::iter::from_fn(move || wait(chunks.next())));
    let mut inner = Some(inner);
    gate.flat_map(move |event| match (event, inner.take()) {
        (Ok(_), Some(inner)) => inner.boxed(),
        (Ok(_), None) => stream::empty().boxed(),
        (Err(error), _) => stream::iter([Err(error)]).boxed(),
    })
    .boxed()
}
