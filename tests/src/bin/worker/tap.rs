//! Points in a worker's life: each is told on the standard output, and at one of them the worker can be made to wait.

use std::collections::BTreeMap;
use std::io::{Write as _, stdin, stdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use usersync::model::{ContainerRef, TenantId};
use usersync::sqlite::SqliteStore;
use usersync::store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction, Write,
};

/// What a worker says when it waits to be killed, or for a line on its standard input.
pub(crate) const WAITING: &str = "waiting";

/// What a worker says when another one has what it needs, the first time.
pub(crate) const BUSY: &str = "busy";

/// Where a worker is to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At the point of this number, of all points.
    Count(usize),
    /// The nth time that it comes to a point of this name.
    Named(String, usize),
}

/// Tells points.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    stop: Option<Stop>,
    is_told: bool,
    was_busy: AtomicBool,
    passed: Mutex<Passed>,
    /// The fencing token of the run under way.
    token: AtomicU64,
    /// The places of notifications in the outbox, by their keys.
    places: Mutex<BTreeMap<Key, u64>>,
}

#[derive(Debug, Default)]
struct Passed {
    all: usize,
    named: BTreeMap<String, usize>,
}

impl Tap {
    /// One that tells its points, and waits at `stop`.
    pub(crate) fn telling(stop: Option<Stop>) -> Self {
        Self {
            stop,
            is_told: true,
            ..Self::default()
        }
    }

    /// The worker is at a point.
    pub(crate) fn pass(&self, point: &str) {
        if !self.is_told {
            return;
        }
        let is_here = {
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            passed.all += 1;
            let all = passed.all;
            let named = passed.named.entry(point.to_owned()).or_default();
            *named += 1;
            match &self.stop {
                Some(Stop::Count(count)) => *count == all,
                Some(Stop::Named(name, count)) => name == point && count == named,
                None => false,
            }
        };
        say(point);
        if is_here {
            say(WAITING);
            // Whoever closes the input lets it go on as well.
            let _ = stdin().read_line(&mut String::new());
        }
    }

    /// Another worker has what this one needs: let it go on.
    pub(crate) fn wait(&self) {
        if !self.was_busy.swap(true, Ordering::SeqCst) {
            say(BUSY);
        }
        std::thread::yield_now();
    }

    /// How many points were passed.
    pub(crate) fn passed(&self) -> usize {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    pub(crate) fn token(&self) -> u64 {
        self.token.load(Ordering::SeqCst)
    }

    pub(crate) fn place(&self, key: &Key) -> Option<u64> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(key).copied()
    }

    fn note(&self, entries: &[LogEntry]) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.extend(entries.iter().map(|entry| (entry.key.clone(), entry.sequence)));
    }
}

/// Says something to whoever started this process, at once.
pub(crate) fn say(line: &str) {
    let mut out = stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A store that tells of its writes, before and after.
#[derive(Debug)]
pub(crate) struct TappedStore {
    store: SqliteStore,
    tap: Arc<Tap>,
}

impl TappedStore {
    pub(crate) fn new(store: SqliteStore, tap: Arc<Tap>) -> Self {
        Self { store, tap }
    }

    async fn tapped<T>(&self, what: &str, call: impl Future<Output = T>) -> T {
        self.tap.pass(&format!("{what}.before"));
        let answer = call.await;
        self.tap.pass(&format!("{what}.after"));
        answer
    }
}

/// What a transaction is for, by what it writes.
fn purpose(transaction: &Transaction) -> &'static str {
    let puts = |wanted| {
        let mut writes = transaction.writes.iter();
        writes.any(|write| matches!(write, Write::Put { table, .. } if *table == wanted))
    };
    let deletes = |wanted| {
        let mut writes = transaction.writes.iter();
        writes.any(|write| matches!(write, Write::Delete { table, .. } if *table == wanted))
    };
    let delivers = || {
        let mut writes = transaction.writes.iter();
        writes.any(|write| matches!(write, Write::Deliver { .. }))
    };
    match () {
        () if puts(Table::Intent) => "intents",
        () if puts(Table::JobState) => "opening",
        () if deletes(Table::Intent) => "confirmation",
        () if puts(Table::Cursor) => "cursor",
        () if puts(Table::Run) => "report",
        () if puts(Table::Seat) => "seat-taken",
        () if deletes(Table::Seat) => "seat-released",
        () if delivers() => "delivery",
        () => "ledger",
    }
}

#[async_trait]
impl StateRead for TappedStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.store.now().await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        self.store.value(tenant, table, key).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        self.store.values(tenant, table, prefix)
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        self.store.ledger_row(tenant, key).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        self.store.ledger(tenant, containers)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        self.store.counter(tenant, counter).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let tap = Arc::clone(&self.tap);
        let entries = self.store.log(tenant, log, after);
        if log != Log::Outbox {
            return entries;
        }
        entries
            .inspect(move |chunk| {
                if let Ok(chunk) = chunk {
                    tap.note(chunk);
                }
            })
            .boxed()
    }
}

#[async_trait]
impl StateStore for TappedStore {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let what = purpose(&transaction);
        self.tapped(what, self.store.commit(transaction)).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        let is_run = name.key.parts().next() == Some("job");
        let what = if is_run { "lease" } else { "outbox-lease" };
        let lease = self.store.acquire(name, holder, ttl).await?;
        if is_run {
            self.tap.token.store(lease.token.0, Ordering::SeqCst);
        }
        self.tap.pass(&format!("{what}.after"));
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.tapped("renewal", self.store.renew(lease, ttl)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.tapped("release", self.store.release(lease)).await
    }
}
