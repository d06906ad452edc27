//! What a store has, to compare.

use std::collections::BTreeMap;

use usersync_model::LedgerRow;
use usersync_store::{Key, LedgerKey, Log, Table};

use super::state::Tenant;

/// What one tenant has stored, without revisions and sequences: two stores that went different ways to the same end are
/// equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSnapshot {
    /// Counters that are not zero.
    pub counters: BTreeMap<Key, u64>,
    /// Ledger rows.
    pub ledger: BTreeMap<LedgerKey, LedgerRow>,
    /// Entries not delivered yet, in their order.
    pub logs: BTreeMap<Log, Vec<(Key, Vec<u8>)>>,
    /// Values; tables without any are left out.
    pub values: BTreeMap<Table, BTreeMap<Key, Vec<u8>>>,
}

impl StoreSnapshot {
    pub(super) fn of(tenant: &Tenant) -> Self {
        let counters = tenant.counters.iter().filter(|(_, value)| **value > 0);
        let ledger = tenant.ledger.iter().flat_map(|(container, rows)| {
            rows.iter().map(|(subject, stored)| {
                let key = LedgerKey {
                    container: container.clone(),
                    subject: subject.clone(),
                };
                (key, stored.row.clone())
            })
        });
        let logs = tenant.logs.iter().filter(|(_, log)| !log.entries.is_empty());
        let values = tenant.values.iter().filter(|(_, values)| !values.is_empty());
        Self {
            counters: counters.map(|(key, value)| (key.clone(), *value)).collect(),
            ledger: ledger.collect(),
            logs: logs
                .map(|(log, state)| {
                    let entries = state.entries.values();
                    let entries = entries.map(|entry| (entry.key.clone(), entry.bytes.clone()));
                    (*log, entries.collect())
                })
                .collect(),
            values: values
                .map(|(table, values)| {
                    let values = values.iter();
                    let values = values.map(|(key, stored)| (key.clone(), stored.bytes.clone()));
                    (*table, values.collect())
                })
                .collect(),
        }
    }
}
