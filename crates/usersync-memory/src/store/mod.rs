//! A store that keeps everything in memory.

mod lease;
mod snapshot;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::Clock;
use usersync_model::{ContainerRef, TenantId};
use usersync_store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction,
};

use self::state::{Ledger, Rows, State, StoredRow, Tenant, values_of};
use crate::call::{CallKind, CallSite, SubjectRef};
use crate::shared::{entries, entries_after, lock};
use crate::sync::Mutex;
use crate::tap::{Tap, tapped};

pub use self::snapshot::StoreSnapshot;

/// A store that keeps everything in memory and claims no durability. Clones share what is stored.
///
/// Streams show what was stored when they were asked for, whatever is committed while they are read. The time is that of
/// the clock given, held back where that goes backwards.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
    tap: Tap,
}

struct Inner {
    stored: Arc<State>,
    latest: DateTime<Utc>,
}

impl Inner {
    /// The time, never earlier than any time told before.
    fn now(&mut self, clock: &dyn Clock) -> DateTime<Utc> {
        self.latest = self.latest.max(clock.now());
        self.latest
    }
}

tapped!(MemoryStore);

impl MemoryStore {
    /// An empty store whose leases expire by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Arc::new(Mutex::new(Inner {
                stored: Arc::default(),
                latest: clock.now(),
            })),
            clock,
            tap: Tap::default(),
        }
    }

    /// A store of its own with the same content and clock, without faults and with an empty record of calls. Takes
    /// constant time: the two share what neither of them has changed since.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.fork_with_clock(Arc::clone(&self.clock))
    }

    /// A fork whose leases expire by another clock.
    #[must_use]
    pub fn fork_with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        let inner = lock(&self.state);
        Self {
            state: Arc::new(Mutex::new(Inner {
                stored: Arc::clone(&inner.stored),
                latest: inner.latest,
            })),
            clock,
            tap: self.tap.fork(),
        }
    }

    /// What `tenant` has stored, to compare. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn snapshot(&self, tenant: &TenantId) -> StoreSnapshot {
        StoreSnapshot::of(&self.tenant(tenant))
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<Tenant> {
        lock(&self.state).stored.tenant(tenant)
    }

    /// Changes what is stored, at a time of the store's clock.
    fn change<T>(&self, change: impl FnOnce(&mut State, DateTime<Utc>) -> Result<T>) -> Result<T> {
        let mut inner = lock(&self.state);
        let now = inner.now(&*self.clock);
        change(Arc::make_mut(&mut inner.stored), now)
    }
}

#[async_trait]
impl StateRead for MemoryStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        let site = CallSite::new(CallKind::Now);
        self.tap
            .call(site, || Ok(lock(&self.state).now(&*self.clock)))
            .await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        let site = CallSite::new(CallKind::Value).tenant(tenant);
        self.tap
            .call(site, || {
                let tenant = self.tenant(tenant);
                Ok(tenant.value(table, key).map(|stored| Stored::clone(stored)))
            })
            .await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let site = CallSite::new(CallKind::Values).tenant(tenant);
        self.tap.chunks(site, || {
            let tenant = self.tenant(tenant);
            let values = tenant.values.get(&table).map(Arc::clone).unwrap_or_default();
            values_of(values, prefix.clone())
        })
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        let site = CallSite::new(CallKind::LedgerRow)
            .tenant(tenant)
            .containers(std::slice::from_ref(&key.container.object))
            .subject(SubjectRef::from(&key.subject));
        self.tap
            .call(site, || {
                let tenant = self.tenant(tenant);
                let found = tenant.ledger_row(key).cloned();
                Ok(found.map(|stored| entry(key.clone(), stored)))
            })
            .await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let objects: Vec<_> = containers.iter().flatten().map(|c| c.object.clone()).collect();
        let site = CallSite::new(CallKind::Ledger)
            .tenant(tenant)
            .containers(&objects);
        self.tap
            .chunks(site, || ledger_of(&self.tenant(tenant).ledger, containers))
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        let site = CallSite::new(CallKind::Counter).tenant(tenant);
        self.tap
            .call(site, || Ok(self.tenant(tenant).counter(counter)))
            .await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let site = CallSite::new(CallKind::Log).tenant(tenant);
        self.tap.chunks(site, || {
            let tenant = self.tenant(tenant);
            let log = tenant.logs.get(&log).map(|log| Arc::clone(&log.entries));
            entries_after(log.unwrap_or_default(), Some(after)).map(|(_, entry)| Arc::unwrap_or_clone(entry))
        })
    }
}

/// Ledger rows in the order of their keys, of `containers` or of all.
fn ledger_of(
    ledger: &Arc<Ledger>,
    containers: Option<Vec<ContainerRef>>,
) -> impl Iterator<Item = LedgerEntry> + Send + use<> {
    let all = containers.is_none().then(|| entries(Arc::clone(ledger)));
    // Only the rows asked for are held on to, so that a commit elsewhere copies nothing.
    let listed: BTreeMap<_, _> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| {
            let rows = Arc::clone(ledger.get(&container)?);
            Some((container, rows))
        })
        .collect();
    let rows_of = |(container, rows): (ContainerRef, Arc<Rows>)| {
        entries(rows).map(move |(subject, stored)| {
            let key = LedgerKey {
                container: container.clone(),
                subject,
            };
            entry(key, stored)
        })
    };
    listed
        .into_iter()
        .chain(all.into_iter().flatten())
        .flat_map(rows_of)
}

fn entry(key: LedgerKey, StoredRow { row, revision }: StoredRow) -> LedgerEntry {
    LedgerEntry { key, row, revision }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let tenant = transaction.tenant.clone();
        let site = CallSite::new(CallKind::Commit).tenant(&tenant);
        self.tap
            .call(site, || self.change(|state, _| state.commit(transaction)))
            .await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        let site = CallSite::new(CallKind::Acquire).tenant(&name.tenant);
        self.tap
            .call(site, || {
                self.change(|state, now| state.leases.acquire(name, holder, ttl, now))
            })
            .await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let site = CallSite::new(CallKind::Renew).tenant(&lease.name.tenant);
        self.tap
            .call(site, || {
                self.change(|state, now| state.leases.renew(lease, ttl, now))
            })
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let site = CallSite::new(CallKind::Release).tenant(&lease.name.tenant);
        self.tap
            .call(site, || {
                self.change(|state, _| {
                    state.leases.release(lease);
                    Ok(())
                })
            })
            .await
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("clock", &self.clock)
            .field("faults", &self.tap.faults)
            .field("calls", &self.tap.calls)
            .finish_non_exhaustive()
    }
}
