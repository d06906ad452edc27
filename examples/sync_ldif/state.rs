//! What is remembered between runs, and how it is looked at without being written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use usersync::model::{ContainerRef, ObjectId, SystemId, TenantId};
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync::store::{Chunks, Key, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, Stored, Table};

use crate::outcome::{Outcome, Stop, chain};

/// Opens the state, and makes it if it is not there.
pub(crate) fn open(path: &Path) -> Outcome<SqliteStore> {
    open_with(path, SqliteOptions::default())
}

/// Opens the state to look at it; `None` if it is not there. The file is not changed, but SQLite may leave two files beside it,
/// which the next run removes.
pub(crate) fn look_at(path: &Path) -> Outcome<Option<SqliteStore>> {
    if path.exists() {
        open_with(path, SqliteOptions::default().read_only()).map(Some)
    } else {
        Ok(None)
    }
}

fn open_with(path: &Path, options: SqliteOptions) -> Outcome<SqliteStore> {
    SqliteStore::open(path, options)
        .map_err(|error| Stop::failed(format!("the state {}: {}", path.display(), chain(&error))))
}

/// How many members were put into each container of `target`, as far as the state knows.
pub(crate) async fn claims(
    state: &dyn StateRead,
    tenant: &TenantId,
    target: &SystemId,
) -> Outcome<BTreeMap<ObjectId, usize>> {
    let mut claims = BTreeMap::new();
    let mut chunks = state.ledger(tenant, None);
    while let Some(chunk) = chunks.try_next().await? {
        for LedgerEntry { key, .. } in chunk {
            if key.container.system == *target {
                *claims.entry(key.container.object).or_default() += 1;
            }
        }
    }
    Ok(claims)
}

/// A state as it would be if the job were saved in it: a preview reads this, and saves nothing.
#[derive(Debug)]
pub(crate) struct WithJob {
    pub(crate) state: Arc<dyn StateRead>,
    /// A state in which the job is saved, and nothing else.
    pub(crate) job: Arc<dyn StateRead>,
}

#[async_trait]
impl StateRead for WithJob {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.state.now().await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
        if table == Table::Job {
            return self.job.value(tenant, table, key).await;
        }
        match self.state.value(tenant, table, key).await? {
            // What saving the job for the first time begins.
            None if table == Table::JobState => self.job.value(tenant, table, key).await,
            found => Ok(found),
        }
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        let of = if table == Table::Job {
            &self.job
        } else {
            &self.state
        };
        of.values(tenant, table, prefix)
    }

    async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
        self.state.ledger_row(tenant, key).await
    }

    fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        self.state.ledger(tenant, containers)
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
        self.state.counter(tenant, counter).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        self.state.log(tenant, log, after)
    }
}
