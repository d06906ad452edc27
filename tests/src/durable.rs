//! A store in a file, with faults.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use rusqlite::Connection;
use usersync::connector::Clock;
use usersync::memory::{Calls, Faults, ManualClock, StoreSnapshot};
use usersync::model::{ContainerRef, TenantId};
use usersync::sqlite::{Durability, SqliteOptions, SqliteStore, TablePrefix};
use usersync::store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction,
};

use crate::gate::{Gate, wait};
use crate::store::WorldStore;

/// A folder of the test's own, removed at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Default for Folder {
    /// A folder that is new and empty.
    fn default() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("usersync-tests-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Left by an earlier process with this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("the folder for temporary files can be written");
                    return Self(path);
                }
            }
        }
    }
}

impl Folder {
    /// The database in it, there or not.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("state.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A [`SqliteStore`] whose calls go through faults. They wait for its thread and are ready at once, so that
/// [`crash`](crate::crash) can stop what makes them.
///
/// What it holds is durable against the end of the process, and not against a loss of power: that takes a disk to wait for.
#[derive(Clone, Debug)]
pub struct DurableStore {
    folder: Arc<Folder>,
    /// The beginning of the tables' names, in a database of a host.
    prefix: Option<TablePrefix>,
    clock: ManualClock,
    /// How long a call waits for another connection's lock.
    patience: Duration,
    gate: Gate,
    open: Option<SqliteStore>,
}

impl DurableStore {
    /// An empty store in a file of its own.
    #[must_use]
    pub fn in_file(clock: &ManualClock) -> Self {
        Self::new(Folder::default(), None, clock)
    }

    /// An empty store in tables of a host's database, whose names begin with `sync_`. The host has a write-ahead log.
    #[must_use]
    pub fn in_host_database(clock: &ManualClock) -> Self {
        let folder = Folder::default();
        let host = Connection::open(folder.database()).expect("a database can be made");
        host.pragma_update(None, "journal_mode", "wal")
            .expect("a file can have a write-ahead log");
        Self::new(folder, Some(TablePrefix::new("sync_").expect("a prefix")), clock)
    }

    fn new(folder: Folder, prefix: Option<TablePrefix>, clock: &ManualClock) -> Self {
        let mut store = Self {
            folder: Arc::new(folder),
            prefix,
            clock: clock.clone(),
            patience: Duration::from_secs(60),
            gate: Gate::new(),
            open: None,
        };
        store.reopen();
        store
    }

    /// Another handle to the same file, as a process has it that goes by another clock.
    #[must_use]
    pub fn with_clock(&self, clock: &ManualClock) -> Self {
        let mut store = Self {
            clock: clock.clone(),
            ..self.clone()
        };
        store.reopen();
        store
    }

    /// The same store, which waits no longer than this for another connection's lock, and by default for longer than any test holds it.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self.reopen();
        self
    }

    /// The database's file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.database()
    }

    /// Another handle, opened anew by the same file, as another process has it: without faults, and without waiting for its thread
    /// in calls.
    #[must_use]
    pub fn open_again(&self) -> SqliteStore {
        let clock = self.clock.clone();
        let options = SqliteOptions::default()
            .with_durability(Durability::Process)
            .with_busy_timeout(self.patience)
            .with_clock(move || clock.now());
        match &self.prefix {
            None => SqliteStore::open(self.file(), options),
            Some(prefix) => {
                let connection = Connection::open(self.file()).expect("the database can be opened");
                connection
                    .pragma_update(None, "synchronous", "off")
                    .expect("a connection can be told not to wait for the disk");
                SqliteStore::with_connection(connection, prefix, options)
            }
        }
        .expect("the file can be opened")
    }

    /// Fails unless SQLite and the store find the file to be sound.
    pub fn assert_sound(&self) {
        let problems = wait(self.open().check_integrity()).expect("the file can be read");
        assert!(problems.is_empty(), "{problems:?}");
    }

    fn open(&self) -> &SqliteStore {
        self.open
            .as_ref()
            .expect("it is closed only while it is opened again")
    }
}

impl WorldStore for DurableStore {
    /// The file as a process that is killed leaves it: what is in the write-ahead log stays there.
    fn forked(&self, clock: &ManualClock) -> Self {
        let folder = Folder::default();
        let beside = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
        let (from, to) = (self.file(), folder.database());
        fs::copy(&from, &to).expect("the file can be copied");
        if beside(&from).exists() {
            fs::copy(beside(&from), beside(&to)).expect("the log can be copied");
        }
        Self::new(folder, self.prefix.clone(), clock)
    }

    fn reopen(&mut self) {
        self.open = None;
        self.open = Some(self.open_again());
    }

    fn tapped(&self, faults: &Faults, calls: &Calls) -> Self {
        Self {
            gate: self.gate.tapped(faults, calls),
            ..self.clone()
        }
    }

    /// All but the counters, which cannot be listed.
    fn content(&self, tenant: &TenantId) -> StoreSnapshot {
        let store = self.open();
        let mut content = StoreSnapshot::default();
        let rows = all(store.ledger(tenant, None)).into_iter();
        content.ledger = rows.map(|entry| (entry.key, entry.row)).collect();
        for log in [Log::Audit, Log::Outbox] {
            let entries = all(store.log(tenant, log, 0));
            if !entries.is_empty() {
                let entries = entries.into_iter().map(|entry| (entry.key, entry.bytes));
                content.logs.insert(log, entries.collect());
            }
        }
        for table in Table::ALL {
            let values = all(store.values(tenant, table, &Key::of(&[])));
            if !values.is_empty() {
                let values = values.into_iter().map(|(key, stored)| (key, stored.bytes));
                content.values.insert(table, values.collect());
            }
        }
        content
    }
}

fn all<T>(mut chunks: BoxStream<'static, Result<Vec<T>>>) -> Vec<T> {
    let mut entries = Vec::new();
    while let Some(chunk) = wait(chunks.next()) {
        entries.extend(chunk.expect("the file can be read"));
    }
    entries
}

/// A read that begins when it is polled, and so after whatever happens meanwhile at its call.
fn lazily<T: Send + 'static>(begin: impl FnOnce() -> Chunks<T> + Send + 'static) -> Chunks<T> {
    stream::once(async move { begin() }).flatten().boxed()
}

#[async_trait::async_trait]
impl StateRead for DurableStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        Gate::read(self.gate.store().now(), || wait(self.open().now())).await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        let call = self.gate.store().value(tenant, table, key);
        Gate::read(call, || wait(self.open().value(tenant, table, key))).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let (store, of, keys) = (self.open().clone(), tenant.clone(), prefix.clone());
        let chunks = lazily(move || store.values(&of, table, &keys));
        self.gate.values(tenant, table, prefix, chunks)
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        let call = self.gate.store().ledger_row(tenant, key);
        Gate::read(call, || wait(self.open().ledger_row(tenant, key))).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let (store, of, asked) = (self.open().clone(), tenant.clone(), containers.clone());
        let chunks = lazily(move || store.ledger(&of, asked));
        self.gate.ledger(tenant, containers, chunks)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        let call = self.gate.store().counter(tenant, counter);
        Gate::read(call, || wait(self.open().counter(tenant, counter))).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let (store, of) = (self.open().clone(), tenant.clone());
        let chunks = lazily(move || store.log(&of, log, after));
        self.gate.log(tenant, log, chunks)
    }
}

#[async_trait::async_trait]
impl StateStore for DurableStore {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let tenant = transaction.tenant.clone();
        let act = || wait(self.open().commit(transaction));
        self.gate.commit(&tenant, act).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        let act = || wait(self.open().acquire(name, holder, ttl));
        self.gate.acquire(&name.tenant, act).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let act = || wait(self.open().renew(lease, ttl));
        self.gate.renew(&lease.name.tenant, act).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let act = || wait(self.open().release(lease));
        self.gate.release(&lease.name.tenant, act).await
    }
}
