//! The store. Each of its calls takes place at one moment: what it does is compared with what its contract says.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync_license::Entitlement;
use usersync_model::{ContainerRef, TenantId};
use usersync_store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    StoreErrorKind, Stored, Table, Transaction,
};

use super::Entitled;
use crate::core::{Broken, Core};
use crate::executor::Process;
use crate::fault::FaultKind;

/// The store as a process sees it.
#[derive(Clone, Debug)]
pub(crate) struct WireStore {
    pub(crate) core: Core,
    pub(crate) process: Process,
    pub(crate) inner: Arc<dyn StateStore>,
    /// What the caller was last told of, if it asks for entitlements.
    pub(crate) entitled: Entitled,
}

impl WireStore {
    async fn call<T>(&self, site: &str, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.core
            .call(FaultKind::OF_STORES, site, async move { act() })
            .await
    }

    /// A read of chunks, taken at one moment.
    fn chunks<T: Send + 'static>(
        &self,
        site: &'static str,
        read: impl FnOnce(&Self) -> Vec<Result<Vec<T>>> + Send + 'static,
    ) -> Chunks<T> {
        let this = self.clone();
        let begin = async move {
            this.core.lock().calls += 1;
            this.core.point().await;
            let fault = this.core.fault(FaultKind::OF_STORES);
            let mut chunks = read(&this);
            if let Some(fault) = fault {
                this.core.fired(fault, site);
            }
            let mut is_stalled = false;
            match fault {
                Some(fault @ FaultKind::FailedBefore) => chunks = vec![Err(Broken::broken(fault))],
                Some(fault @ FaultKind::FailedAfter) => chunks.push(Err(Broken::broken(fault))),
                Some(FaultKind::LateAnswer) => this.core.sleep(this.core.delay()).await,
                Some(FaultKind::Hung) => is_stalled = true,
                _ => this.core.point().await,
            }
            let chunks = stream::iter(chunks);
            match is_stalled {
                true => chunks.chain(stream::pending()).boxed(),
                false => chunks.boxed(),
            }
        };
        stream::once(begin).flatten().boxed()
    }

    /// A transaction arrives at the store.
    fn arrive(&self, transaction: &Transaction, entitled: Option<Entitlement>) -> Result<()> {
        let answer = block_on(self.inner.commit(transaction.clone()));
        let mut state = self.core.lock();
        match &answer {
            Ok(()) => {
                state.trace.say(format_args!(
                    "  {:?} commits {} writes for {}",
                    self.process,
                    transaction.writes.len(),
                    transaction.tenant
                ));
                state.history.committed(transaction, entitled);
            }
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict | StoreErrorKind::Fenced) => {
                state
                    .trace
                    .say(format_args!("  {:?} may not commit: {error}", self.process));
                if state.history.shadow.refusal(transaction).is_none() {
                    let message = format!("{error}, and there is no reason for it");
                    state.history.violate("store_refuses", message);
                }
            }
            Err(_) => {}
        }
        drop(state);
        answer
    }

    fn lies(&self, what: &str, is_true: bool) {
        if !is_true {
            let message = format!("{what} is not what was written");
            self.core.lock().history.violate("store_lies", message);
        }
    }
}

#[async_trait]
impl StateRead for WireStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.call("store now", || block_on(self.inner.now())).await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        self.call("store value", || {
            let found = block_on(self.inner.value(tenant, table, key))?;
            let is_true = {
                let mut state = self.core.lock();
                let shadow = state.history.shadow.tenant(tenant);
                if let Some(found) = &found {
                    shadow.seen(table, key, found.revision);
                }
                shadow.values.get(&(table, key.clone())) == found.as_ref().map(|found| &found.bytes)
            };
            self.lies(&format!("{} {key:?}", table.code()), is_true);
            Ok(found)
        })
        .await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let (tenant, prefix) = (tenant.clone(), prefix.clone());
        self.chunks("store values", move |this| {
            let chunks: Vec<Result<Vec<(Key, Stored)>>> =
                block_on(this.inner.values(&tenant, table, &prefix).collect());
            let is_true = {
                let mut state = this.core.lock();
                let shadow = state.history.shadow.tenant(&tenant);
                let found: Vec<_> = chunks.iter().flatten().flatten().collect();
                for (key, stored) in &found {
                    shadow.seen(table, key, stored.revision);
                }
                let expected = shadow
                    .values
                    .iter()
                    .filter(|((of, key), _)| *of == table && key.starts_with(&prefix))
                    .map(|((_, key), bytes)| (key, bytes));
                expected.eq(found.into_iter().map(|(key, stored)| (key, &stored.bytes)))
            };
            this.lies(&format!("table {}", table.code()), is_true);
            chunks
        })
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        self.call("store row", || {
            let found = block_on(self.inner.ledger_row(tenant, key))?;
            let is_true = {
                let mut state = self.core.lock();
                let shadow = state.history.shadow.tenant(tenant);
                if let Some(found) = &found {
                    shadow.seen_row(found);
                }
                shadow.ledger.get(key) == found.as_ref().map(|found| &found.row)
            };
            self.lies(
                &format!("the row of {} in {}", key.subject, key.container),
                is_true,
            );
            Ok(found)
        })
        .await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let tenant = tenant.clone();
        self.chunks("store ledger", move |this| {
            let chunks: Vec<Result<Vec<LedgerEntry>>> =
                block_on(this.inner.ledger(&tenant, containers.clone()).collect());
            let is_true = {
                let mut state = this.core.lock();
                let shadow = state.history.shadow.tenant(&tenant);
                for entry in chunks.iter().flatten().flatten() {
                    shadow.seen_row(entry);
                }
                let asked = |key: &LedgerKey| {
                    containers
                        .as_ref()
                        .is_none_or(|containers| containers.contains(&key.container))
                };
                let expected = shadow.ledger.iter().filter(|(key, _)| asked(key));
                expected.eq(chunks
                    .iter()
                    .flatten()
                    .flatten()
                    .map(|entry| (&entry.key, &entry.row)))
            };
            this.lies("the ledger", is_true);
            chunks
        })
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        self.call("store counter", || {
            let found = block_on(self.inner.counter(tenant, counter))?;
            let is_true = self.core.lock().history.shadow.tenant(tenant).counter(counter) == found;
            self.lies(&format!("counter {counter:?}"), is_true);
            Ok(found)
        })
        .await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let tenant = tenant.clone();
        self.chunks("store log", move |this| {
            let chunks: Vec<Result<Vec<LogEntry>>> = block_on(this.inner.log(&tenant, log, after).collect());
            if log == Log::Outbox {
                let mut state = this.core.lock();
                let shadow = state.history.shadow.tenant(&tenant);
                for entry in chunks.iter().flatten().flatten() {
                    shadow.seen_entry(entry.sequence, &entry.key);
                }
            }
            chunks
        })
    }
}

#[async_trait]
impl StateStore for WireStore {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        // Of what the caller was told by now, whenever it arrives.
        let entitled = *self.entitled.lock().unwrap_or_else(PoisonError::into_inner);
        let site = "store commit";
        self.core.lock().calls += 1;
        self.core.point().await;
        let fault = self.core.fault(FaultKind::OF_COMMITS);
        if fault == Some(FaultKind::LateEffect) {
            self.core.fired(FaultKind::LateEffect, site);
            let (this, delay) = (self.clone(), self.core.delay());
            let arrival = async move {
                this.core.sleep(delay).await;
                drop(this.arrive(&transaction, entitled));
            };
            self.core.spawn(Process::World, arrival.boxed());
            self.core.sleep(self.core.delay()).await;
            return Err(Broken::broken(FaultKind::LateEffect));
        }
        let arrival = async { self.arrive(&transaction, entitled) };
        self.core.answer(fault, site, arrival).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        self.call("store acquire", || {
            let lease = block_on(self.inner.acquire(name, holder, ttl))?;
            let now = self.core.now();
            let mut state = self.core.lock();
            state.trace.say(format_args!(
                "  {:?} has the lease {:?} of {} with token {}",
                self.process, name.key, name.tenant, lease.token.0
            ));
            if let Some(fault) = state.history.acquired(self.process, now, &lease, ttl) {
                *state.faults.fired.entry(fault).or_default() += 1;
            }
            drop(state);
            Ok(lease)
        })
        .await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.call("store renew", || {
            let renewed = block_on(self.inner.renew(lease, ttl))?;
            let now = self.core.now();
            self.core.lock().history.renewed(now, lease, ttl);
            Ok(renewed)
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.call("store release", || {
            block_on(self.inner.release(lease))?;
            self.core.lock().history.released(lease);
            Ok(())
        })
        .await
    }
}
