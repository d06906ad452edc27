//! The traits of a store.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use usersync_model::{ContainerRef, TenantId};

use crate::error::Result;
use crate::key::{Key, LedgerKey, Log, Table};
use crate::lease::{Lease, LeaseName};
use crate::ledger::LedgerEntry;
use crate::transaction::{Stored, Transaction};

/// A stream of chunks in ascending order of their keys.
pub type Chunks<T> = BoxStream<'static, Result<Vec<T>>>;

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Rises with every entry of the log and tenant, also over those that were delivered.
    pub sequence: u64,
    /// Names the entry.
    pub key: Key,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// The reading half of a store.
///
/// # Behavior
/// 1. Every call sees only the tenant it names.
/// 2. A committed transaction is seen whole by every later call, and a part of one never: a stream shows what was stored at one
///    moment.
/// 3. `values` and `ledger` give ascending keys, each once; `values` only keys that start with the prefix; `ledger` only rows of
///    the containers asked for, or all rows of the tenant without any.
/// 4. `counter` is 0 for a counter never written.
/// 5. `log` gives entries not delivered yet, of a higher sequence than `after`, ascending.
/// 6. `now` never goes back.
#[async_trait]
pub trait StateRead: fmt::Debug + Send + Sync + 'static {
    /// The store's own clock, by which leases expire.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// One value.
    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>>;

    /// The values of a table whose keys start with `prefix`.
    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)>;

    /// One ledger row.
    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>>;

    /// The ledger rows of `containers`, or of all.
    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry>;

    /// One counter.
    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64>;

    /// The entries of a log after a sequence; 0 is before the first.
    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry>;
}

/// A store.
///
/// # Behavior
/// 1. `commit` writes everything or nothing. A check that does not hold is a
///    [`Conflict`](crate::StoreErrorKind::Conflict) with its index.
/// 2. A transaction under a fence is refused with [`Fenced`](crate::StoreErrorKind::Fenced) once a higher token was given out for
///    that lease, or the lease was released; and always, if it is a lease of another tenant.
/// 3. Putting a value gives it a revision higher than any it had before, also when it was deleted in between. Setting a ledger row,
///    even to what it is, gives it a revision higher than that of every row that the tenant had before, also of those that are gone.
/// 4. Appending a key that the log has, and has not delivered, does nothing.
/// 5. `acquire` gives a free or expired lease with a token higher than every earlier one of that name; held, it fails with
///    [`Held`](crate::StoreErrorKind::Held), also for the same holder.
/// 6. `renew` extends a lease that is still the newest of its name and was not released, even if it expired; otherwise it fails with
///    [`Fenced`](crate::StoreErrorKind::Fenced).
/// 7. `release` ends a lease if it is still the newest of its name, and otherwise does nothing.
/// 8. What was committed is there after reopening, in a store that claims to be durable.
#[async_trait]
pub trait StateStore: StateRead {
    /// Commits a transaction.
    async fn commit(&self, transaction: Transaction) -> Result<()>;

    /// Takes a lease for `ttl`, in the name of `holder`, which is for people.
    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease>;

    /// Extends a lease to `ttl` from now.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease>;

    /// Ends a lease.
    async fn release(&self, lease: &Lease) -> Result<()>;
}
