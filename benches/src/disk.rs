//! Files to measure with, what a store was asked to write, and the least that a disk must do for it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_model::{ContainerRef, LedgerRow, Subject, TenantId};
use usersync_store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction, Write,
};

/// A folder below the one for temporary files (`TMPDIR`), removed with all that is in it when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder of this process that has this name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("usersync-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whoever runs out of patience removes it by hand.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Appends as many bytes as each turn says, and waits for the disk after each.
///
/// # Errors
/// When the file cannot be made or written.
pub fn append(path: &Path, turns: &[usize]) -> io::Result<()> {
    let mut file = File::create(path)?;
    let bytes = vec![b'x'; turns.iter().copied().max().unwrap_or(0)];
    for turn in turns {
        file.write_all(&bytes[..*turn])?;
        file.sync_data()?;
    }
    Ok(())
}

/// A store that remembers how many bytes each transaction wrote.
#[derive(Clone, Debug)]
pub struct Weighed {
    inner: Arc<dyn StateStore>,
    turns: Arc<Mutex<Vec<usize>>>,
}

impl Weighed {
    /// Weighs what is written to `inner` from now on.
    #[must_use]
    pub fn new(inner: Arc<dyn StateStore>) -> Self {
        Self {
            inner,
            turns: Arc::default(),
        }
    }

    /// The bytes of the keys and values of each transaction until now, in their order.
    #[must_use]
    pub fn turns(&self) -> Vec<usize> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl StateRead for Weighed {
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
impl StateStore for Weighed {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let bytes = transaction.writes.iter().map(weight).sum();
        self.inner.commit(transaction).await?;
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.push(bytes);
        Ok(())
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

/// The bytes of what a write names and says.
fn weight(write: &Write) -> usize {
    match write {
        Write::Add { counter, delta } => counter.as_str().len() + size_of_val(delta),
        Write::Append { key, bytes, .. } | Write::Put { key, bytes, .. } => key.as_str().len() + bytes.len(),
        Write::Delete { key, .. } => key.as_str().len(),
        Write::Deliver { sequence, .. } => size_of_val(sequence),
        Write::Ledger { key, row } => place(key) + row.as_ref().map_or(0, claims),
    }
}

fn place(key: &LedgerKey) -> usize {
    let (system, object) = match &key.subject {
        Subject::Principal(principal) => (&principal.system, &principal.object),
        Subject::Record(record) => (&record.system, &record.object),
    };
    let container = key.container.system.as_str().len() + key.container.object.as_str().len();
    container + system.as_str().len() + object.as_str().len()
}

fn claims(row: &LedgerRow) -> usize {
    row.claims().iter().map(|job| job.as_str().len()).sum()
}
