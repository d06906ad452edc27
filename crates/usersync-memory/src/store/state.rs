//! What a store keeps, and how a transaction changes it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::quality::RandomState;
use usersync_model::{ContainerRef, LedgerRow, Subject, TenantId};
use usersync_store::{
    Check, Key, LedgerKey, Log, LogEntry, Result, Revision, StoreError, Stored, Table, Transaction, Write,
};

use super::lease::{Leases, fenced};

pub(super) type Values = BTreeMap<Key, Arc<Stored>>;
pub(super) type Rows = BTreeMap<Subject, StoredRow>;
pub(super) type Ledger = BTreeMap<ContainerRef, Arc<Rows>>;

/// A ledger row, and which write it was.
#[derive(Clone, Debug)]
pub(super) struct StoredRow {
    pub(super) row: LedgerRow,
    pub(super) revision: Revision,
}

/// Everything, in shared pieces: a clone shares all of them, and a write copies only those that it touches and
/// somebody else still holds.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    pub(super) leases: Leases,
}

/// What one tenant has.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenant {
    revision: Revision,
    pub(super) values: BTreeMap<Table, Arc<Values>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) counters: Arc<BTreeMap<Key, u64>>,
    pub(super) logs: BTreeMap<Log, Arc<LogState>>,
}

/// A log's entries that are not delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct LogState {
    last: u64,
    pub(super) entries: Arc<BTreeMap<u64, Arc<LogEntry>>>,
    named: HashSet<Named, RandomState>,
}

/// An entry of a log, found by its key.
#[derive(Clone, Debug)]
struct Named(Arc<LogEntry>);

impl Borrow<Key> for Named {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Named {}

impl State {
    pub(super) fn tenant(&self, tenant: &TenantId) -> Arc<Tenant> {
        self.tenants.get(tenant).map(Arc::clone).unwrap_or_default()
    }

    /// Writes everything or nothing: all that can fail comes before the first write.
    pub(super) fn commit(&mut self, transaction: Transaction) -> Result<()> {
        let Transaction {
            tenant,
            fence,
            checks,
            writes,
        } = transaction;
        if let Some(fence) = &fence {
            self.leases.check(fence)?;
            if fence.name.tenant != tenant {
                return Err(fenced("it is a lease of another tenant"));
            }
        }
        match self.tenants.get(&tenant) {
            Some(tenant) => tenant.check(&checks, &writes)?,
            None => Tenant::default().check(&checks, &writes)?,
        }
        if !writes.is_empty() {
            Arc::make_mut(self.tenants.entry(tenant).or_default()).write(writes);
        }
        Ok(())
    }
}

impl Tenant {
    pub(super) fn value(&self, table: Table, key: &Key) -> Option<&Arc<Stored>> {
        self.values.get(&table)?.get(key)
    }

    pub(super) fn ledger_row(&self, key: &LedgerKey) -> Option<&StoredRow> {
        self.ledger.get(&key.container)?.get(&key.subject)
    }

    pub(super) fn counter(&self, counter: &Key) -> u64 {
        self.counters.get(counter).copied().unwrap_or(0)
    }

    fn check(&self, checks: &[Check], writes: &[Write]) -> Result<()> {
        let mut after = None;
        for (index, check) in checks.iter().enumerate() {
            match check {
                Check::AtMost { counters, limit } => {
                    let after: &BTreeMap<_, _> = after.get_or_insert_with(|| self.counters_after(writes));
                    let sum: u128 = counters
                        .iter()
                        .map(|key| u128::from(after.get(key).copied().unwrap_or_else(|| self.counter(key))))
                        .sum();
                    if sum > u128::from(*limit) {
                        return Err(StoreError::conflict(
                            index,
                            format!("the counters {counters:?} would be {sum}, more than {limit}"),
                        ));
                    }
                }
                Check::Ledger { key, row, as_of } => {
                    let present = self.ledger_row(key);
                    let is_later = |stored: &StoredRow| as_of.is_some_and(|as_of| stored.revision > as_of);
                    if present.map(|stored| &stored.row) != row.as_ref() || present.is_some_and(is_later) {
                        return Err(StoreError::conflict(
                            index,
                            format!(
                                "the ledger row of {} in {} is another",
                                key.subject, key.container
                            ),
                        ));
                    }
                }
                Check::Value { table, key, revision } => {
                    let present = self.value(*table, key).map(|stored| stored.revision);
                    if present != *revision {
                        return Err(StoreError::conflict(
                            index,
                            format!(
                                "{} {key:?} is at revision {present:?}, not {revision:?}",
                                table.code()
                            ),
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The counters that the writes touch, as they leave them.
    fn counters_after<'a>(&self, writes: &'a [Write]) -> BTreeMap<&'a Key, u64> {
        let mut after = BTreeMap::new();
        for write in writes {
            if let Write::Add { counter, delta } = write {
                let value = after.entry(counter).or_insert_with(|| self.counter(counter));
                *value = value.saturating_add_signed(*delta);
            }
        }
        after
    }

    fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Add { counter, delta } => {
                    let value = Arc::make_mut(&mut self.counters).entry(counter).or_default();
                    *value = value.saturating_add_signed(delta);
                }
                Write::Append { log, key, bytes } => self.append(log, key, bytes),
                Write::Delete { table, key } => {
                    // Shared values are copied only if there is something to remove.
                    if let Some(values) = self.values.get_mut(&table)
                        && (Arc::get_mut(values).is_some() || values.contains_key(&key))
                    {
                        Arc::make_mut(values).remove(&key);
                    }
                }
                Write::Deliver { log, sequence } => self.deliver(log, sequence),
                Write::Ledger { key, row: Some(row) } => {
                    let rows = Arc::make_mut(&mut self.ledger).entry(key.container).or_default();
                    self.revision += 1;
                    let revision = self.revision;
                    Arc::make_mut(rows).insert(key.subject, StoredRow { row, revision });
                }
                Write::Ledger { key, row: None } => self.forget(&key),
                Write::Put { table, key, bytes } => {
                    self.revision += 1;
                    let stored = Arc::new(Stored {
                        bytes,
                        revision: self.revision,
                    });
                    Arc::make_mut(self.values.entry(table).or_default()).insert(key, stored);
                }
            }
        }
    }

    fn forget(&mut self, key: &LedgerKey) {
        if self.ledger_row(key).is_none() {
            return;
        }
        let ledger = Arc::make_mut(&mut self.ledger);
        if let Some(rows) = ledger.get_mut(&key.container) {
            let rows = Arc::make_mut(rows);
            rows.remove(&key.subject);
            if rows.is_empty() {
                ledger.remove(&key.container);
            }
        }
    }

    fn append(&mut self, log: Log, key: Key, bytes: Vec<u8>) {
        let log = Arc::make_mut(self.logs.entry(log).or_default());
        let sequence = log.last + 1;
        let entry = Arc::new(LogEntry { sequence, key, bytes });
        if log.named.insert(Named(Arc::clone(&entry))) {
            log.last = sequence;
            Arc::make_mut(&mut log.entries).insert(sequence, entry);
        }
    }

    fn deliver(&mut self, log: Log, sequence: u64) {
        let Some(log) = self.logs.get_mut(&log) else {
            return;
        };
        if !log.entries.contains_key(&sequence) {
            return;
        }
        let log = Arc::make_mut(log);
        if let Some(entry) = Arc::make_mut(&mut log.entries).remove(&sequence) {
            log.named.remove(&entry.key);
        }
    }
}

/// The entries of a shared map of values whose keys start with `prefix`, ascending.
pub(super) fn values_of(values: Arc<Values>, prefix: Key) -> impl Iterator<Item = (Key, Stored)> + Send {
    let mut last: Option<Key> = None;
    std::iter::from_fn(move || {
        // The prefix itself is the least key that starts with it.
        let from = last.as_ref().map_or(Bound::Included(&prefix), Bound::Excluded);
        let (key, stored) = values.range((from, Bound::Unbounded)).next()?;
        if !key.starts_with(&prefix) {
            return None;
        }
        last = Some(key.clone());
        Some((key.clone(), Stored::clone(stored)))
    })
}
