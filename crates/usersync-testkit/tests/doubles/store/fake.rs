use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt};
use usersync_model::*;
use usersync_store::{Result, *};
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::store::StoreHarness;

use super::Flaw;

const CHUNK: usize = 500;

#[derive(Debug)]
pub(super) struct Double {
    pub(super) flaw: Flaw,
    pub(super) state: Arc<Mutex<State>>,
}

#[async_trait]
impl StoreHarness for Double {
    async fn fresh(&self) -> Arc<dyn StateStore> {
        *self.state.lock().unwrap() = State::default();
        Arc::new(Fake {
            flaw: self.flaw,
            state: Arc::clone(&self.state),
        })
    }

    async fn advance(&self, duration: Duration) -> std::result::Result<(), Cannot> {
        if self.flaw != "stands still" {
            self.state.lock().unwrap().passed += duration;
        }
        Ok(())
    }

    async fn reopen(&self) -> std::result::Result<Arc<dyn StateStore>, Cannot> {
        let mut state = self.state.lock().unwrap();
        match self.flaw {
            "forgets the ledger when reopened" => state.tenants.values_mut().for_each(|t| t.ledger.clear()),
            "forgets leases when reopened" => state.leases.clear(),
            "forgets its last commit when reopened" => state.tenants = state.before_last.clone(),
            "starts revisions anew when reopened" => state.revision = 0,
            "starts tokens anew when reopened" => state.token = 0,
            "starts sequences anew when reopened" => state.sequence = 0,
            _ => {}
        }
        Ok(Arc::new(Fake {
            flaw: self.flaw,
            state: Arc::clone(&self.state),
        }))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    tenants: BTreeMap<String, Tenant>,
    before_last: BTreeMap<String, Tenant>,
    leases: BTreeMap<String, Held>,
    revision: u64,
    sequence: u64,
    token: u64,
    passed: Duration,
    asked: u32,
}

#[derive(Clone, Debug, Default)]
struct Tenant {
    values: BTreeMap<(&'static str, Key), Stored>,
    ledger: BTreeMap<LedgerKey, LedgerEntry>,
    counters: BTreeMap<Key, u64>,
    /// What was subtracted from nothing, for a store that remembers it.
    debts: BTreeMap<Key, u64>,
    logs: BTreeMap<&'static str, Vec<LogEntry>>,
    delivered: BTreeMap<&'static str, BTreeSet<Key>>,
}

#[derive(Clone, Debug)]
struct Held {
    holder: String,
    token: FencingToken,
    expires: DateTime<Utc>,
    is_released: bool,
}

#[derive(Clone)]
struct Fake {
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake")
            .field("flaw", &self.flaw)
            .finish_non_exhaustive()
    }
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn name(&self, tenant: &TenantId) -> String {
        match self.flaw {
            "has one tenant" => String::new(),
            "folds the case of tenants" => tenant.as_str().to_lowercase(),
            _ => tenant.to_string(),
        }
    }

    fn tenant(&self, tenant: &TenantId) -> Tenant {
        self.state()
            .tenants
            .get(&self.name(tenant))
            .cloned()
            .unwrap_or_default()
    }

    fn table(&self, table: Table) -> &'static str {
        if self.flaw == "has one table" {
            ""
        } else {
            table.code()
        }
    }

    fn log_name(&self, log: Log) -> &'static str {
        match log {
            Log::Outbox if self.flaw != "has one log" => "outbox",
            _ => "audit",
        }
    }

    fn lease_key(&self, name: &LeaseName) -> String {
        match self.flaw {
            "has one lease" => String::new(),
            "has one tenant for leases" => format!("{:?}", name.key),
            _ => format!("{} {:?}", name.tenant, name.key),
        }
    }

    fn has_prefix(&self, key: &Key, prefix: &Key) -> bool {
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

    fn values_of(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Vec<(Key, Stored)> {
        let stored = self.tenant(tenant);
        let mut values: Vec<_> = stored
            .values
            .into_iter()
            .filter(|((name, key), _)| *name == self.table(table) && self.has_prefix(key, prefix))
            .map(|((_, key), stored)| (key, stored))
            .collect();
        match self.flaw {
            "orders keys without their case" => values.sort_by_key(|(key, _)| key.as_str().to_lowercase()),
            "orders keys by UTF-16" => {
                values.sort_by_key(|(key, _)| key.as_str().encode_utf16().collect::<Vec<_>>())
            }
            _ => {}
        }
        values
    }

    fn holds(&self, check: &Check, before: &Tenant, after: &Tenant) -> bool {
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

    fn write(&self, state: &mut State, tenant: &mut Tenant, write: Write) {
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
            Write::Ledger { key, row: None } => drop(tenant.ledger.remove(&key)),
            Write::Ledger { key, row: Some(row) } => {
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
            Write::Put { table, key, bytes } => {
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

    /// The writes in the order in which the double makes them.
    fn in_order(&self, mut writes: Vec<Write>) -> Vec<Write> {
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

    fn time(&self, state: &mut State) -> DateTime<Utc> {
        state.asked += 1;
        let now = DateTime::UNIX_EPOCH + state.passed;
        match self.flaw == "goes back in time" && state.asked.is_multiple_of(7) {
            true => now - TimeDelta::seconds(1),
            false => now,
        }
    }

    fn is_fenced(&self, state: &State, tenant: &TenantId, fence: &Fence, now: DateTime<Utc>) -> bool {
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
}

fn chunks<T: Send + 'static>(entries: Vec<T>) -> Chunks<T> {
    let mut entries = entries.into_iter();
    stream::iter(std::iter::from_fn(move || {
        let chunk: Vec<_> = entries.by_ref().take(CHUNK).collect();
        (!chunk.is_empty()).then_some(Ok(chunk))
    }))
    .boxed()
}

#[async_trait]
impl StateRead for Fake {
    async fn now(&self) -> Result<DateTime<Utc>> {
        let mut state = self.state();
        Ok(self.time(&mut state))
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        Ok(self
            .tenant(tenant)
            .values
            .get(&(self.table(table), key.clone()))
            .cloned())
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let values = self.values_of(tenant, table, prefix);
        match self.flaw {
            "scans what is there by now" => {
                let (fake, tenant, prefix) = (self.clone(), tenant.clone(), prefix.clone());
                let mut skip = 0;
                stream::iter(std::iter::from_fn(move || {
                    let now = fake.values_of(&tenant, table, &prefix).into_iter();
                    let chunk: Vec<_> = now.skip(skip).take(CHUNK).collect();
                    skip += chunk.len();
                    (!chunk.is_empty()).then_some(Ok(chunk))
                }))
                .boxed()
            }
            "repeats the last key of a chunk" => {
                let mut all: Vec<(Key, Stored)> = Vec::new();
                for chunk in values.chunks(CHUNK) {
                    all.extend(all.last().cloned());
                    all.extend(chunk.iter().cloned());
                }
                chunks(all)
            }
            "shows one chunk" => chunks(values.into_iter().take(CHUNK).collect()),
            _ => chunks(values),
        }
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        Ok(self.tenant(tenant).ledger.get(key).cloned())
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let rows = self.tenant(tenant).ledger;
        let mut rows: Vec<_> = rows.into_values().collect();
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
        chunks(rows)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        let count = match self.flaw {
            "has one tenant for counters" => {
                let state = self.state();
                let counts = state
                    .tenants
                    .values()
                    .filter_map(|tenant| tenant.counters.get(counter));
                Some(counts.sum())
            }
            _ => self.tenant(tenant).counters.get(counter).copied(),
        };
        match (count, self.flaw) {
            (None, "starts counters at one") => Ok(1),
            (None, "fails on unknown counters") => {
                Err(StoreError::new(StoreErrorKind::Corrupt, "no such counter"))
            }
            (count, _) => Ok(count.unwrap_or(0)),
        }
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let mut entries = self
            .tenant(tenant)
            .logs
            .remove(self.log_name(log))
            .unwrap_or_default();
        let at_too = self.flaw == "shows the entry at the sequence, too";
        entries.retain(|entry| entry.sequence > after || (at_too && entry.sequence == after));
        if self.flaw == "shows the newest first" {
            entries.reverse();
        }
        chunks(entries)
    }
}

#[async_trait]
impl StateStore for Fake {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let mut state = self.state();
        let name = self.name(&transaction.tenant);
        let before = state.tenants.get(&name).cloned().unwrap_or_default();
        let (mut next, mut after) = (state.clone(), before.clone());
        if self.flaw == "gives the entries of a transaction one sequence" {
            next.sequence += 1;
        }
        for write in self.in_order(transaction.writes) {
            self.write(&mut next, &mut after, write);
        }
        let failed = transaction
            .checks
            .iter()
            .position(|check| !self.holds(check, &before, &after));
        let now = DateTime::UNIX_EPOCH + state.passed;
        let fenced = transaction
            .fence
            .is_some_and(|fence| self.is_fenced(&state, &transaction.tenant, &fence, now));
        let writes_anyway = (failed.is_some() && self.flaw == "writes before it checks")
            || (fenced && self.flaw == "writes before it looks at fences");
        if (failed.is_none() && !fenced) || writes_anyway {
            next.before_last = std::mem::take(&mut state.tenants);
            next.tenants.insert(name.clone(), after.clone());
            *state = next;
        } else if failed.is_some() && self.flaw == "counts before it checks" {
            state.tenants.entry(name).or_default().counters = after.counters;
        }
        match (fenced, failed, self.flaw) {
            (true, ..) => Err(StoreError::new(
                StoreErrorKind::Fenced,
                "somebody else works on it",
            )),
            (_, Some(_), "names no check") => Err(StoreError::new(StoreErrorKind::Conflict, "some check")),
            (_, Some(_), "names the first check") => Err(StoreError::conflict(0, "some check")),
            (_, Some(index), _) => Err(StoreError::conflict(index, "this check")),
            (_, None, _) => Ok(()),
        }
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        let mut state = self.state();
        let now = DateTime::UNIX_EPOCH + state.passed;
        let key = self.lease_key(name);
        let last = state.leases.get(&key).cloned();
        if let Some(last) = &last {
            let free = match self.flaw {
                "gives held leases" => true,
                "gives a lease to its holder again" => last.holder == holder,
                _ => false,
            };
            if !last.is_released && last.expires > now && !free {
                return Err(StoreError::new(StoreErrorKind::Held, "somebody else has it"));
            }
        }
        state.token += 1;
        let token = match (&last, self.flaw) {
            (Some(last), "forgets the tokens of the released") if last.is_released => FencingToken(1),
            (Some(last), "gives the token of the expired again") if !last.is_released => last.token,
            _ => FencingToken(state.token),
        };
        let expires = if self.flaw == "lets leases expire at once" {
            now
        } else {
            now + ttl
        };
        let held = Held {
            holder: holder.to_owned(),
            token,
            expires,
            is_released: false,
        };
        state.leases.insert(key, held);
        Ok(Lease {
            name: name.clone(),
            token,
            expires,
        })
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let mut state = self.state();
        let expires = DateTime::UNIX_EPOCH + state.passed + ttl;
        let now = DateTime::UNIX_EPOCH + state.passed;
        let mut token = lease.token;
        if self.flaw == "gives what it renews a new token" {
            state.token += 1;
            token = FencingToken(state.token);
        }
        let key = self.lease_key(&lease.name);
        let held = state.leases.get_mut(&key).unwrap();
        let is_lost = held.token > lease.token || held.is_released;
        let is_refused = match self.flaw {
            "renews any lease" => false,
            "does not renew what expired" => is_lost || held.expires <= now,
            _ => is_lost,
        };
        if is_refused {
            return Err(StoreError::new(StoreErrorKind::Fenced, "somebody else has it"));
        }
        if self.flaw == "does not extend what it renews" {
            return Ok(lease.clone());
        }
        if self.flaw != "tells of an extension only" {
            held.expires = expires;
        }
        held.token = token;
        Ok(Lease {
            token,
            expires,
            ..lease.clone()
        })
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let mut state = self.state();
        let key = self.lease_key(&lease.name);
        let held = state.leases.get_mut(&key).unwrap();
        match self.flaw {
            "releases nothing" => {}
            "fails to release the released" if held.is_released => {
                return Err(StoreError::new(StoreErrorKind::Fenced, "nobody has it"));
            }
            "releases any lease" => held.is_released = true,
            _ if held.token == lease.token => held.is_released = true,
            _ => {}
        }
        Ok(())
    }
}
