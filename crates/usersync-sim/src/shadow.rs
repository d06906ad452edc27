//! A store as its contract describes it, naively: what the real one must have, and what it must have refused.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use usersync_model::{LedgerRow, TenantId};
use usersync_store::{
    Check, FencingToken, Key, LeaseName, LedgerEntry, LedgerKey, Log, Revision, Table, Transaction, Write,
};

use crate::executor::Process;

#[derive(Debug, Default)]
pub(crate) struct Shadow {
    pub(crate) tenants: BTreeMap<TenantId, Stored>,
    pub(crate) leases: BTreeMap<LeaseName, Held>,
}

/// What one tenant has.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) ledger: BTreeMap<LedgerKey, LedgerRow>,
    pub(crate) values: BTreeMap<(Table, Key), Vec<u8>>,
    pub(crate) counters: BTreeMap<Key, u64>,
    /// What is in the outbox and was not delivered.
    pub(crate) outbox: BTreeMap<Key, Vec<u8>>,
    /// The revision of a value, if it was read since it was written.
    revisions: BTreeMap<(Table, Key), Revision>,
    /// The revision of a ledger row, if it was read since it was written.
    row_revisions: BTreeMap<LedgerKey, Revision>,
    /// The sequences of the outbox that were read.
    sequences: BTreeMap<u64, Key>,
}

/// The newest lease of a name.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) by: Process,
    pub(crate) token: FencingToken,
    pub(crate) expires: DateTime<Utc>,
    pub(crate) is_released: bool,
    /// At which step it was given.
    pub(crate) since: u64,
}

impl Shadow {
    pub(crate) fn tenant(&mut self, tenant: &TenantId) -> &mut Stored {
        self.tenants.entry(tenant.clone()).or_default()
    }

    /// Why a store must refuse a transaction, if it must.
    pub(crate) fn refusal(&self, transaction: &Transaction) -> Option<String> {
        if let Some(fence) = &transaction.fence {
            if fence.name.tenant != transaction.tenant {
                return Some("it is written under a lease of another tenant".to_owned());
            }
            let newest = self.leases.get(&fence.name);
            if !newest.is_some_and(|newest| newest.token == fence.token && !newest.is_released) {
                return Some(format!(
                    "its token {} of {:?} is not the newest, or was released",
                    fence.token.0, fence.name.key
                ));
            }
        }
        let none = Stored::default();
        let stored = self.tenants.get(&transaction.tenant).unwrap_or(&none);
        transaction
            .checks
            .iter()
            .find_map(|check| stored.refusal(check, &transaction.writes))
    }
}

impl Stored {
    fn refusal(&self, check: &Check, writes: &[Write]) -> Option<String> {
        match check {
            Check::AtMost { counters, limit } => {
                let after = |key: &Key| {
                    writes.iter().fold(self.counter(key), |value, write| match write {
                        Write::Add { counter, delta } if counter == key => {
                            value.saturating_add_signed(*delta)
                        }
                        _ => value,
                    })
                };
                let sum: u64 = counters.iter().map(after).sum();
                (sum > *limit)
                    .then(|| format!("the counters {counters:?} are {sum} after it, more than {limit}"))
            }
            Check::Ledger { key, row, as_of } => {
                // Nobody knew it before it was read.
                let is_known = |as_of| {
                    self.row_revisions
                        .get(key)
                        .is_some_and(|revision| *revision <= as_of)
                };
                let is_so =
                    self.ledger.get(key) == row.as_ref() && (row.is_none() || as_of.is_none_or(is_known));
                (!is_so).then(|| {
                    format!(
                        "the ledger row of {} in {} is another",
                        key.subject, key.container
                    )
                })
            }
            Check::Value { table, key, revision } => {
                let place = (*table, key.clone());
                let is_so = match revision {
                    None => !self.values.contains_key(&place),
                    // A revision that was read before the last write is an old one.
                    Some(revision) => {
                        self.values.contains_key(&place) && self.revisions.get(&place) == Some(revision)
                    }
                };
                (!is_so).then(|| format!("{} {key:?} is at another revision", table.code()))
            }
        }
    }

    pub(crate) fn counter(&self, key: &Key) -> u64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    /// A value was read at this revision.
    pub(crate) fn seen(&mut self, table: Table, key: &Key, revision: Revision) {
        self.revisions.insert((table, key.clone()), revision);
    }

    /// A ledger row was read.
    pub(crate) fn seen_row(&mut self, entry: &LedgerEntry) {
        self.row_revisions.insert(entry.key.clone(), entry.revision);
    }

    /// An entry of the outbox was read.
    pub(crate) fn seen_entry(&mut self, sequence: u64, key: &Key) {
        self.sequences.insert(sequence, key.clone());
    }

    pub(crate) fn apply(&mut self, write: &Write, log: &mut Vec<(Log, Key)>) {
        match write {
            Write::Add { counter, delta } => {
                let value = self.counters.entry(counter.clone()).or_default();
                *value = value.saturating_add_signed(*delta);
            }
            Write::Append {
                log: name,
                key,
                bytes,
            } => {
                if *name == Log::Outbox {
                    if !self.outbox.contains_key(key) {
                        self.outbox.insert(key.clone(), bytes.clone());
                        log.push((*name, key.clone()));
                    }
                } else {
                    log.push((*name, key.clone()));
                }
            }
            Write::Delete { table, key } => {
                let place = (*table, key.clone());
                self.values.remove(&place);
                self.revisions.remove(&place);
            }
            Write::Deliver { log: name, sequence } => {
                if *name == Log::Outbox
                    && let Some(key) = self.sequences.get(sequence)
                {
                    self.outbox.remove(key);
                }
            }
            Write::Ledger { key, row } => {
                self.row_revisions.remove(key);
                match row {
                    Some(row) => self.ledger.insert(key.clone(), row.clone()),
                    None => self.ledger.remove(key),
                };
            }
            Write::Put { table, key, bytes } => {
                let place = (*table, key.clone());
                self.revisions.remove(&place);
                self.values.insert(place, bytes.clone());
            }
        }
    }
}
