//! The rules of a store, and how each flaw bends them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use usersync_model::*;
use usersync_store::*;

use super::fake::{Fake, Held, State, Tenant};

impl Fake {
    pub(super) fn name(&self, tenant: &TenantId) -> String {
        match self.flaw {
            "has one tenant" => String::new(),
            "folds the case of tenants" => tenant.as_str().to_lowercase(),
            _ => tenant.to_string(),
        }
    }

    pub(super) fn table(&self, table: Table) -> &'static str {
        if self.flaw == "has one table" {
            ""
        } else {
            table.code()
        }
    }

    pub(super) fn log_name(&self, log: Log) -> &'static str {
        match log {
            Log::Outbox if self.flaw != "has one log" => "outbox",
            _ => "audit",
        }
    }

    pub(super) fn lease_key(&self, name: &LeaseName) -> String {
        match self.flaw {
            "has one lease" => String::new(),
            "has one tenant for leases" => format!("{:?}", name.key),
            _ => format!("{} {:?}", name.tenant, name.key),
        }
    }

    pub(super) fn has_prefix(&self, key: &Key, prefix: &Key) -> bool {
        match self.flaw {
            "ignores prefixes" => true,
            "takes prefixes for patterns" => {
                let (mut key, prefix) = (key.as_str().chars(), prefix.as_str());
                // Enough of a pattern for the suite: `_` is any character; `%` is any text.
                prefix.starts_with('%')
                    || prefix
                        .chars()
                        .all(|p| key.next().is_some_and(|k| p == '_' || k == p))
            }
            "matches parts of parts" => key
                .as_str()
                .starts_with(prefix.as_str().trim_end_matches('\u{1f}')),
            _ => key.starts_with(prefix),
        }
    }

    pub(super) fn values_in_order(&self, mut values: Vec<(Key, Stored)>) -> Vec<(Key, Stored)> {
        match self.flaw {
            "orders keys without their case" => values.sort_by_key(|(key, _)| key.as_str().to_lowercase()),
            "orders keys by UTF-16" => {
                values.sort_by_key(|(key, _)| key.as_str().encode_utf16().collect::<Vec<_>>());
            }
            _ => {}
        }
        values
    }

    pub(super) fn rows_in_order(
        &self,
        mut rows: Vec<LedgerEntry>,
        containers: Option<&[ContainerRef]>,
    ) -> Vec<LedgerEntry> {
        if let Some(asked) = containers {
            match self.flaw {
                "shows all rows" => {}
                "shows rows in the order asked for" => {
                    let of = |container: &ContainerRef| {
                        let container = container.clone();
                        rows.iter()
                            .filter(move |entry| entry.key.container == container)
                            .cloned()
                    };
                    rows = asked.iter().flat_map(of).collect();
                }
                _ => rows.retain(|entry| asked.contains(&entry.key.container)),
            }
        }
        match self.flaw {
            "shows rows backwards" => rows.reverse(),
            "shows records before members" => {
                rows.sort_by_key(|entry| {
                    let is_member = matches!(entry.key.subject, Subject::Principal(_));
                    (entry.key.container.clone(), is_member, entry.key.subject.clone())
                });
            }
            _ => {}
        }
        rows
    }

    pub(super) fn entries_in_order(&self, mut entries: Vec<LogEntry>, after: u64) -> Vec<LogEntry> {
        let at_too = self.flaw == "shows the entry at the sequence, too";
        entries.retain(|entry| entry.sequence > after || (at_too && entry.sequence == after));
        if self.flaw == "shows the newest first" {
            entries.reverse();
        }
        entries
    }

    pub(super) fn holds(&self, check: &Check, before: &Tenant, after: &Tenant) -> bool {
        let flaw = self.flaw;
        let seen = if flaw == "checks after the writes" {
            after
        } else {
            before
        };
        match check {
            _ if flaw == "ignores checks" => true,
            Check::AtMost { counters, limit } => {
                let seen = if flaw == "counts before the writes" {
                    before
                } else {
                    after
                };
                let count = |counter| seen.counters.get(counter).copied().unwrap_or(0);
                match flaw {
                    "counts each counter alone" => counters.iter().all(|counter| count(counter) <= *limit),
                    "allows less than the limit" => counters.iter().map(count).sum::<u64>() < *limit,
                    _ => counters.iter().map(count).sum::<u64>() <= *limit,
                }
            }
            Check::Ledger { key, row, as_of } => {
                let entry = seen.ledger.get(key);
                let there = entry.map(|entry| &entry.row);
                let is_later = |entry: &LedgerEntry| as_of.is_some_and(|as_of| entry.revision > as_of);
                match flaw {
                    "does not look when rows were written" => there == row.as_ref(),
                    "compares origins only" => {
                        there.map(|row| row.origin) == row.as_ref().map(|row| row.origin)
                    }
                    "compares no facets" => {
                        let content = |row: &LedgerRow| (row.origin, row.claims().to_vec());
                        there.map(content) == row.as_ref().map(content) && !entry.is_some_and(is_later)
                    }
                    "compares claims only" => {
                        there.map(LedgerRow::claims) == row.as_ref().map(LedgerRow::claims)
                    }
                    _ => there == row.as_ref() && !entry.is_some_and(is_later),
                }
            }
            Check::Value { table, key, revision } => {
                let there = seen
                    .values
                    .get(&(self.table(*table), key.clone()))
                    .map(|stored| stored.revision);
                match flaw {
                    "ignores revisions" => there.is_some() == revision.is_some(),
                    "takes lower revisions" => there >= *revision && there.is_some() == revision.is_some(),
                    _ => there == *revision,
                }
            }
        }
    }

    pub(super) fn write(&self, state: &mut State, tenant: &mut Tenant, write: Write) {
        let flaw = self.flaw;
        match write {
            Write::Add { .. } if flaw == "writes no counters" => {}
            Write::Ledger { .. } if flaw == "writes no ledger rows" => {}
            Write::Add { counter, delta } => {
                let by = delta.unsigned_abs();
                let debt = tenant.debts.entry(counter.clone()).or_default();
                let count = tenant.counters.entry(counter).or_default();
                if delta < 0 {
                    *debt = debt.saturating_add(by.saturating_sub(*count));
                    *count = count.saturating_sub(by);
                } else {
                    let owed = if flaw == "owes what it cannot subtract" {
                        by.min(*debt)
                    } else {
                        0
                    };
                    *debt -= owed;
                    *count += by - owed;
                }
            }
            Write::Append { log, key, bytes } => {
                let name = self.log_name(log);
                let entries = tenant.logs.entry(name).or_default();
                if let Some(known) = entries.iter_mut().find(|entry| entry.key == key)
                    && flaw != "appends every time"
                {
                    if flaw == "replaces what is not delivered" {
                        known.bytes = bytes;
                    }
                    return;
                }
                let is_delivered = tenant.delivered.get(name).is_some_and(|keys| keys.contains(&key));
                if flaw == "remembers delivered keys" && is_delivered {
                    return;
                }
                if flaw == "gives sequences after the highest that is left" {
                    state.sequence = entries.last().map_or(0, |entry| entry.sequence);
                }
                if flaw != "gives the entries of a transaction one sequence" {
                    state.sequence += 1;
                }
                entries.push(LogEntry {
                    sequence: state.sequence,
                    key,
                    bytes,
                });
            }
            Write::Delete { table, key } => {
                if flaw == "forgets the revisions of the deleted" {
                    state.revision = 0;
                }
                tenant.values.remove(&(self.table(table), key));
            }
            Write::Deliver { log, sequence } => {
                let name = self.log_name(log);
                let entries = tenant.logs.entry(name).or_default();
                let all_up_to = flaw == "delivers all up to the sequence";
                let is_meant =
                    |entry: &LogEntry| entry.sequence == sequence || (all_up_to && entry.sequence < sequence);
                let keys = entries
                    .iter()
                    .filter(|entry| is_meant(entry))
                    .map(|entry| entry.key.clone());
                tenant.delivered.entry(name).or_default().extend(keys);
                if flaw != "shows delivered entries" {
                    entries.retain(|entry| !is_meant(entry));
                }
            }
            Write::Ledger { key, row: None } => drop(tenant.ledger.remove(&self.ledger_key(key))),
            Write::Ledger { key, row: Some(row) } => {
                let (key, row) = (self.ledger_key(key), self.ledger_content(row));
                let known = tenant.ledger.get(&key);
                let revision = match flaw {
                    "counts the writes of each row alone" => known.map_or(1, |known| known.revision + 1),
                    "gives no revision to equal rows" if known.is_some_and(|known| known.row == row) => {
                        state.revision
                    }
                    _ => state.revision + 1,
                };
                state.revision = state.revision.max(revision);
                tenant
                    .ledger
                    .insert(key.clone(), LedgerEntry { key, row, revision });
            }
            Write::Put {
                table,
                mut key,
                bytes,
            } => {
                if flaw == "cuts long keys" && key.as_str().len() > 2000 {
                    let parts: Vec<_> = key.parts().take(2).collect();
                    key = Key::of(&parts);
                }
                let place = (self.table(table), key);
                let is_equal = tenant
                    .values
                    .get(&place)
                    .is_some_and(|stored| stored.bytes == bytes);
                if !(is_equal && flaw == "gives no revision to equal bytes") {
                    state.revision += 1;
                }
                tenant.values.insert(
                    place,
                    Stored {
                        bytes,
                        revision: state.revision,
                    },
                );
            }
        }
    }

    fn ledger_key(&self, mut key: LedgerKey) -> LedgerKey {
        match (self.flaw, &mut key.subject) {
            ("has one system of members", Subject::Principal(principal)) => {
                principal.system = SystemId::new("directory").unwrap();
            }
            ("has one system of containers", _) => key.container.system = SystemId::new("target").unwrap(),
            ("takes records for members", Subject::Record(record)) => {
                let principal = PrincipalRef::new(record.system.clone(), record.object.clone());
                key.subject = Subject::Principal(principal);
            }
            _ => {}
        }
        key
    }

    fn ledger_content(&self, mut row: LedgerRow) -> LedgerRow {
        match self.flaw {
            "loses facets" => row.facets = None,
            "keeps one claim" => {
                let facets = row.facets.take();
                row = LedgerRow::new(row.origin, row.claims().first().cloned());
                row.facets = facets;
            }
            _ => {}
        }
        row
    }

    /// The writes in the order in which the double makes them.
    pub(super) fn in_order(&self, mut writes: Vec<Write>) -> Vec<Write> {
        let is_delete = |write: &Write| matches!(write, Write::Delete { .. });
        match self.flaw {
            "deletes first" => writes.sort_by_key(|write| !is_delete(write)),
            "deletes last" => writes.sort_by_key(is_delete),
            "writes the last write only" => drop(writes.drain(..writes.len().saturating_sub(1))),
            "adds up a transaction" => {
                let sum = |all: &[Write]| {
                    all.iter().fold(BTreeMap::<Key, i64>::new(), |mut sums, write| {
                        if let Write::Add { counter, delta } = write {
                            let sum = sums.entry(counter.clone()).or_default();
                            *sum = sum.saturating_add(*delta);
                        }
                        sums
                    })
                };
                let sums = sum(&writes);
                writes.retain(|write| !matches!(write, Write::Add { .. }));
                writes.extend(
                    sums.into_iter()
                        .map(|(counter, delta)| Write::Add { counter, delta }),
                );
            }
            _ => {}
        }
        writes
    }

    pub(super) fn time(&self, state: &mut State) -> DateTime<Utc> {
        state.asked += 1;
        let now = DateTime::UNIX_EPOCH + state.passed;
        match self.flaw == "goes back in time" && state.asked.is_multiple_of(7) {
            true => now - TimeDelta::seconds(1),
            false => now,
        }
    }

    pub(super) fn is_fenced(
        &self,
        state: &State,
        tenant: &TenantId,
        fence: &Fence,
        now: DateTime<Utc>,
    ) -> bool {
        let is_theirs = fence.name.tenant != *tenant;
        if is_theirs && self.flaw != "takes the leases of other tenants" {
            return self.flaw != "ignores fences";
        }
        let Some(held) = state.leases.get(&self.lease_key(&fence.name)) else {
            return false;
        };
        match self.flaw {
            "ignores fences" => false,
            "lets the released write" => held.token > fence.token,
            "fences what expired" => held.token > fence.token || held.is_released || held.expires <= now,
            _ => held.token > fence.token || held.is_released,
        }
    }

    /// Whether what a check is about may change until the writes are made.
    pub(super) fn is_unlocked(&self, check: &Check, writes: &[Write], before: &Tenant) -> bool {
        let adds = |counter: &Key| {
            let is_meant =
                |write: &Write| matches!(write, Write::Add { counter: added, .. } if added == counter);
            writes.iter().any(is_meant)
        };
        let (is_row, is_there, is_written) = match check {
            Check::AtMost { counters, .. } => {
                let is_there = |counter| before.counters.contains_key(counter);
                (false, counters.iter().all(is_there), counters.iter().all(adds))
            }
            Check::Ledger { key, .. } => {
                let is_meant = |write: &Write| matches!(write, Write::Ledger { key: set, .. } if set == key);
                (true, before.ledger.contains_key(key), writes.iter().any(is_meant))
            }
            Check::Value { table, key, .. } => {
                let place = (self.table(*table), key.clone());
                let is_meant = |write: &Write| matches!(write, Write::Put { key: put, .. } if put == key);
                (
                    false,
                    before.values.contains_key(&place),
                    writes.iter().any(is_meant),
                )
            }
        };
        match self.flaw {
            "locks no rows" => is_row && is_written,
            "locks no values that are not there yet" => !is_row && !is_there && is_written,
            "locks only what it writes" => !is_written,
            _ => false,
        }
    }

    pub(super) fn is_not_renewed(&self, newest: &Held, lease: &Lease, now: DateTime<Utc>) -> bool {
        let is_lost = newest.token > lease.token;
        match self.flaw {
            "renews any lease" => false,
            "renews the released" => is_lost,
            "does not renew what expired" => is_lost || newest.is_released || newest.expires <= now,
            _ => is_lost || newest.is_released,
        }
    }
}
