//! The store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::Connection;
use usersync_model::{ContainerRef, TenantId};
use usersync_store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction,
};

use crate::database::{Database, Opened};
use crate::error::{self, Failure};
use crate::integrity::{self, IntegrityProblem};
use crate::ledger::{self, LedgerSteps};
use crate::log::{self, LogSteps};
use crate::names::Names;
use crate::options::{SqliteOptions, TablePrefix};
use crate::scan::chunks;
use crate::values::{self, ValueSteps};
use crate::worker::{Client, Pending};
use crate::{commit, lease};

/// A durable store for one machine, in SQLite. Clones are handles to the same store; several processes may open one file.
///
/// Dropping the last handle serves what was asked before, closes the database and waits for both. Streams that are read later end with
/// [`Unavailable`](usersync_store::StoreErrorKind::Unavailable).
///
/// # Cost
/// Transactions that wait at the same time are committed with one wait for the disk. A stream gives chunks of at most 1024 entries; one
/// of ledger rows holds the keys of one container at a time. While a stream is read, the write-ahead log grows by what is written
/// meanwhile: read it to the end, or drop it.
#[derive(Clone)]
pub struct SqliteStore(Arc<Handle>);

struct Handle {
    client: Client,
    is_read_only: bool,
    thread: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens a file of the store's own, and makes it if it is not there. Blocks for as long as the disk needs.
    ///
    /// The file is in SQLite's write-ahead mode: two more files lie beside it while it is open, and after a crash. All three
    /// belong together. The disk has to be a local one.
    ///
    /// # Errors
    /// Nothing is changed then.
    /// - [`Corrupt`](usersync_store::StoreErrorKind::Corrupt): the file is damaged, no SQLite database, or another program's.
    /// - [`Full`](usersync_store::StoreErrorKind::Full): there is no room for the tables.
    /// - [`NewerFormat`](usersync_store::StoreErrorKind::NewerFormat): a newer version of this crate wrote it.
    /// - [`ReadOnly`](usersync_store::StoreErrorKind::ReadOnly): it may not be written, and is to be made or brought to a newer version first.
    ///   A file that may not be written and has the newest version is opened to read.
    /// - [`Unavailable`](usersync_store::StoreErrorKind::Unavailable): it cannot be opened, or is locked for longer than
    ///   [its busy timeout](SqliteOptions::with_busy_timeout).
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        Self::start(Opened::file(path.as_ref(), options))
    }

    /// Keeps the store in tables of the host's database, whose names begin with `prefix`. The connection is the store's from now on;
    /// the host keeps connections of its own. What the host set on it, such as its key, journal mode and durability, stays.
    ///
    /// Where no second connection can read what this one writes (a database in memory, without a write-ahead log, or with a
    /// key), a stream's whole answer is held in memory until it was read.
    ///
    /// # Errors
    /// As of [`open`](Self::open); a host's database is never another program's. One whose texts are not in UTF-8 is
    /// [`Unavailable`](usersync_store::StoreErrorKind::Unavailable).
    pub fn with_connection(
        connection: Connection,
        prefix: &TablePrefix,
        options: SqliteOptions,
    ) -> Result<Self> {
        Self::start(Opened::host(connection, prefix, options))
    }

    /// Looks for damage in the database, and for content that contradicts itself. Empty if all is well. Reads everything that is
    /// stored; other calls wait meanwhile.
    ///
    /// Values mean nothing to the store: it counts seats, and cannot say whose they are. `check_links` of `usersync-engine` compares
    /// links, the claims on their accounts, seats and counters, on any store.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub async fn check_integrity(&self) -> Result<Vec<IntegrityProblem>> {
        self.client().read(integrity::check).await
    }

    fn start(opened: Result<Opened, Failure>) -> Result<Self> {
        let opened = opened.map_err(|failure| failure.error())?;
        let is_read_only = opened.options.read_only;
        let (client, thread) = Client::start(opened).map_err(|failure| failure.error())?;
        Ok(Self(Arc::new(Handle {
            client,
            is_read_only,
            thread: Some(thread),
        })))
    }

    /// Asks for a read of one state.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database, &mut Names) -> error::Result<T> + Send + 'static,
    ) -> Pending<T> {
        self.client().read(|worker| worker.in_one_read(read))
    }

    fn client(&self) -> &Client {
        &self.0.client
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.client.close();
        // A waker that the worker calls may drop the last handle: the worker does not wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // If it panicked, its callers were told that the store is closed.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl StateRead for SqliteStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        if self.0.is_read_only {
            return self.client().read(|worker| worker.now()).await;
        }
        // Noted before it is told, so that it never goes back, whoever tells it next.
        self.client().write_without_sync(|worker| worker.now()).await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        let (tenant, key) = (tenant.clone(), key.clone());
        let read = self.read(move |db, names| match names.tenants.find(db, &tenant)? {
            Some(tenant) => values::value(db, tenant, table, &key),
            None => Ok(None),
        });
        read.await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let (tenant, prefix) = (tenant.clone(), prefix.clone());
        chunks(self.client(), move |db, names| {
            let tenant = names.tenants.find(db, &tenant)?;
            Ok(tenant.map(|tenant| ValueSteps::new(tenant, table, prefix)))
        })
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        let (tenant, key) = (tenant.clone(), key.clone());
        let read = self.read(move |db, names| match names.tenants.find(db, &tenant)? {
            Some(tenant) => ledger::row(db, names, tenant, &key),
            None => Ok(None),
        });
        read.await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let tenant = tenant.clone();
        chunks(self.client(), move |db, names| {
            let tenant = names.tenants.find(db, &tenant)?;
            let steps = tenant.map(|tenant| LedgerSteps::new(db, tenant, containers));
            steps.transpose()
        })
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        let (tenant, counter) = (tenant.clone(), counter.clone());
        let read = self.read(move |db, names| match names.tenants.find(db, &tenant)? {
            Some(tenant) => values::counter(db, tenant, &counter),
            None => Ok(0),
        });
        read.await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let tenant = tenant.clone();
        chunks(self.client(), move |db, names| {
            let log = log::code(log)?;
            let tenant = names.tenants.find(db, &tenant)?;
            Ok(tenant.map(|tenant| LogSteps::new(tenant, log, after)))
        })
    }
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let write = self.client().write(move |worker| {
            let (db, names) = worker.parts();
            commit::commit(db, names, &transaction)
        });
        write.await
    }

    // Leases do not wait for the disk. A loss of power ends their holders, who run on this machine, and what one of them committed took its
    // lease to the disk, too.
    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        let (name, holder) = (name.clone(), holder.to_owned());
        let write = self.client().write_without_sync(move |worker| {
            let now = worker.now()?;
            let (db, names) = worker.parts();
            lease::acquire(db, names, &name, &holder, ttl, now)
        });
        write.await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let lease = lease.clone();
        let write = self.client().write_without_sync(move |worker| {
            let now = worker.now()?;
            let (db, names) = worker.parts();
            lease::renew(db, names, &lease, ttl, now)
        });
        write.await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        let write = self.client().write_without_sync(move |worker| {
            let (db, names) = worker.parts();
            lease::release(db, names, &lease)
        });
        write.await
    }
}
