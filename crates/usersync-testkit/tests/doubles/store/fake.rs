//! A store in memory, which copies all that it has for every transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
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
            "goes on after the highest revision left when reopened" => {
                let rows = state
                    .tenants
                    .values()
                    .flat_map(|tenant| tenant.ledger.values())
                    .map(|entry| entry.revision);
                state.revision = rows.max().unwrap_or(0);
            }
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
    pub(super) tenants: BTreeMap<String, Tenant>,
    pub(super) before_last: BTreeMap<String, Tenant>,
    pub(super) leases: BTreeMap<String, Held>,
    pub(super) revision: u64,
    pub(super) sequence: u64,
    pub(super) token: u64,
    pub(super) passed: Duration,
    pub(super) asked: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tenant {
    pub(super) values: BTreeMap<(&'static str, Key), Stored>,
    pub(super) ledger: BTreeMap<LedgerKey, LedgerEntry>,
    pub(super) counters: BTreeMap<Key, u64>,
    /// What was subtracted from nothing, for a store that remembers it.
    pub(super) debts: BTreeMap<Key, u64>,
    pub(super) logs: BTreeMap<&'static str, Vec<LogEntry>>,
    pub(super) delivered: BTreeMap<&'static str, BTreeSet<Key>>,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) holder: String,
    pub(super) token: FencingToken,
    pub(super) expires: DateTime<Utc>,
    pub(super) is_released: bool,
}

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) flaw: Flaw,
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

    fn tenant(&self, tenant: &TenantId) -> Tenant {
        self.state()
            .tenants
            .get(&self.name(tenant))
            .cloned()
            .unwrap_or_default()
    }

    fn values_of(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Vec<(Key, Stored)> {
        let stored = self.tenant(tenant);
        let values = stored
            .values
            .into_iter()
            .filter(|((name, key), _)| *name == self.table(table) && self.has_prefix(key, prefix))
            .map(|((_, key), stored)| (key, stored));
        self.values_in_order(values.collect())
    }

    fn rows_of(&self, tenant: &TenantId, containers: Option<&[ContainerRef]>) -> Vec<LedgerEntry> {
        let rows = self.tenant(tenant).ledger.into_values().collect();
        self.rows_in_order(rows, containers)
    }

    fn entries_of(&self, tenant: &TenantId, log: Log, after: u64) -> Vec<LogEntry> {
        let mut logs = self.tenant(tenant).logs;
        let entries = logs.remove(self.log_name(log)).unwrap_or_default();
        self.entries_in_order(entries, after)
    }

    /// What the writes make of what is stored: all of it, and the tenant before and after them.
    fn applied(&self, state: &State, transaction: &Transaction) -> (State, Tenant, Tenant) {
        let name = self.name(&transaction.tenant);
        let before = state.tenants.get(&name).cloned().unwrap_or_default();
        let (mut next, mut after) = (state.clone(), before.clone());
        if self.flaw == "gives the entries of a transaction one sequence" {
            next.sequence += 1;
        }
        for write in self.in_order(transaction.writes.clone()) {
            self.write(&mut next, &mut after, write);
        }
        (next, before, after)
    }

    /// What is stored before others come in between, for a double that decides upon it and does not look again.
    async fn look(&self, flaws: &[Flaw]) -> Option<State> {
        if !flaws.contains(&self.flaw) {
            return None;
        }
        let seen = self.state().clone();
        let mut is_first = true;
        poll_fn(|context| {
            if std::mem::take(&mut is_first) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        Some(seen)
    }
}

/// What `read` gives by the time of each chunk.
fn chunks_by_now<T: Send + 'static>(read: impl Fn() -> Vec<T> + Send + 'static) -> Chunks<T> {
    let mut skip = 0;
    stream::iter(std::iter::from_fn(move || {
        let chunk: Vec<_> = read().into_iter().skip(skip).take(CHUNK).collect();
        skip += chunk.len();
        (!chunk.is_empty()).then_some(Ok(chunk))
    }))
    .boxed()
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
                chunks_by_now(move || fake.values_of(&tenant, table, &prefix))
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
        let mut entry = self.tenant(tenant).ledger.get(key).cloned();
        if self.flaw == "loses facets of single rows"
            && let Some(entry) = &mut entry
        {
            entry.row.facets = None;
        }
        Ok(entry)
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let by_now = match containers {
            None => "pages the ledger as it is by now",
            Some(_) => "pages containers as they are by now",
        };
        let (fake, tenant) = (self.clone(), tenant.clone());
        if self.flaw == by_now {
            return chunks_by_now(move || fake.rows_of(&tenant, containers.as_deref()));
        }
        chunks(self.rows_of(&tenant, containers.as_deref()))
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
        let (fake, tenant) = (self.clone(), tenant.clone());
        if self.flaw == "pages logs as they are by now" {
            return chunks_by_now(move || fake.entries_of(&tenant, log, after));
        }
        chunks(self.entries_of(&tenant, log, after))
    }
}

#[async_trait]
impl StateStore for Fake {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let early = self
            .look(&[
                "locks no rows",
                "locks no values that are not there yet",
                "locks only what it writes",
                "does not lock the leases of fences",
            ])
            .await;
        let mut state = self.state();
        let name = self.name(&transaction.tenant);
        let (mut next, before, after) = self.applied(&state, &transaction);
        let seen_early = early.as_ref().map(|early| self.applied(early, &transaction));
        let failed = transaction.checks.iter().position(|check| {
            let (before, after) = match &seen_early {
                Some((_, before, after)) if self.is_unlocked(check, &transaction.writes, before) => {
                    (before, after)
                }
                _ => (&before, &after),
            };
            !self.holds(check, before, after)
        });
        let now = DateTime::UNIX_EPOCH + state.passed;
        let fences = match &early {
            Some(early) if self.flaw == "does not lock the leases of fences" => early,
            _ => &*state,
        };
        let fence = transaction.fence.as_ref();
        let fenced = fence.is_some_and(|fence| self.is_fenced(fences, &transaction.tenant, fence, now));
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
        let early = self.look(&["does not lock the leases that it gives"]).await;
        let mut state = self.state();
        let now = DateTime::UNIX_EPOCH + state.passed;
        let key = self.lease_key(name);
        let last = early.as_ref().unwrap_or(&state).leases.get(&key).cloned();
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
        let early = self.look(&["does not lock the leases that it renews"]).await;
        let mut state = self.state();
        let now = DateTime::UNIX_EPOCH + state.passed;
        let expires = now + ttl;
        let mut token = lease.token;
        if self.flaw == "gives what it renews a new token" {
            state.token += 1;
            token = FencingToken(state.token);
        }
        let key = self.lease_key(&lease.name);
        let newest = &early.as_ref().unwrap_or(&state).leases[&key];
        let is_refused = self.is_not_renewed(newest, lease, now);
        let held = state.leases.get_mut(&key).unwrap();
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
