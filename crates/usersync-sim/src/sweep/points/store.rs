//! Stores.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_memory::{Call, CallKind};
use usersync_model::{ContainerRef, TenantId};
use usersync_store::{
    Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
    Stored, Table, Transaction,
};

use super::Points;

impl Points {
    /// Points around a store. The handle given to the process that lives now is the one that is looked into for what was stored.
    #[must_use]
    pub fn store(&self, inner: Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        self.lock().store = Some(Arc::clone(&inner));
        Arc::new(Store {
            points: self.clone(),
            inner,
        })
    }
}

/// Points around a store.
#[derive(Debug)]
struct Store {
    points: Points,
    inner: Arc<dyn StateStore>,
}

fn of_tenant(kind: CallKind, tenant: &TenantId) -> Call {
    let mut call = Call::new(kind);
    call.tenant = Some(tenant.clone());
    call
}

#[async_trait]
impl StateRead for Store {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.points.call(Call::new(CallKind::Now), self.inner.now()).await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        let call = of_tenant(CallKind::Value, tenant);
        self.points.call(call, self.inner.value(tenant, table, key)).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let call = of_tenant(CallKind::Values, tenant);
        let (inner, of, keys) = (Arc::clone(&self.inner), tenant.clone(), prefix.clone());
        self.points
            .stream(call, move || inner.values(&of, table, &keys), |_| false)
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        let mut call = of_tenant(CallKind::LedgerRow, tenant);
        call.containers = vec![key.container.object.clone()];
        call.subject = Some(key.subject.clone());
        self.points.call(call, self.inner.ledger_row(tenant, key)).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let mut call = of_tenant(CallKind::Ledger, tenant);
        call.containers = containers
            .iter()
            .flatten()
            .map(|container| container.object.clone())
            .collect();
        let (inner, of) = (Arc::clone(&self.inner), tenant.clone());
        self.points
            .stream(call, move || inner.ledger(&of, containers), |_| false)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        let call = of_tenant(CallKind::Counter, tenant);
        self.points.call(call, self.inner.counter(tenant, counter)).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        let call = of_tenant(CallKind::Log, tenant);
        let (inner, of) = (Arc::clone(&self.inner), tenant.clone());
        self.points
            .stream(call, move || inner.log(&of, log, after), |_| false)
    }
}

#[async_trait]
impl StateStore for Store {
    async fn commit(&self, transaction: Transaction) -> Result<()> {
        let call = of_tenant(CallKind::Commit, &transaction.tenant);
        let commit = async {
            self.inner.commit(transaction.clone()).await?;
            self.points.witness(|witness| witness.committed(&transaction));
            Ok(())
        };
        self.points.call(call, commit).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
        let call = of_tenant(CallKind::Acquire, &name.tenant);
        self.points
            .call(call, self.inner.acquire(name, holder, ttl))
            .await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let call = of_tenant(CallKind::Renew, &lease.name.tenant);
        self.points.call(call, self.inner.renew(lease, ttl)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let call = of_tenant(CallKind::Release, &lease.name.tenant);
        self.points.call(call, self.inner.release(lease)).await
    }
}
