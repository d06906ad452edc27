//! A store under check, and what the checks do with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use usersync_model::{ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, TenantId};
use usersync_store::{
    Check, Chunks, FencingToken, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result,
    StateStore, StoreErrorKind, Stored, Table, Transaction, Write,
};

use super::super::{Point, Violation};
use super::StoreHarness;

pub(super) type Checked = std::result::Result<(), Violation>;

pub(super) const fn read_point(number: u8) -> Point {
    Point("StateRead", number)
}

pub(super) const fn point(number: u8) -> Point {
    Point("StateStore", number)
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("the suite's own ids hold no control characters")
}

pub(super) fn container(name: &str) -> ContainerRef {
    ContainerRef::parse("target", name).expect("the suite's own ids hold no control characters")
}

pub(super) fn member_key(of: &str, who: &str) -> LedgerKey {
    let who = PrincipalRef::parse("directory", who).expect("the suite's own ids hold no control characters");
    LedgerKey::member(container(of), who)
}

pub(super) fn row(origin: Origin, job: &str) -> LedgerRow {
    LedgerRow::new(
        origin,
        [JobId::new(job).expect("the suite's own ids hold no control characters")],
    )
}

pub(super) fn put(table: Table, key: &Key, bytes: &[u8]) -> Write {
    Write::Put {
        table,
        key: key.clone(),
        bytes: bytes.to_vec(),
    }
}

pub(super) fn add(counter: &Key, delta: i64) -> Write {
    Write::Add {
        counter: counter.clone(),
        delta,
    }
}

pub(super) fn append(log: Log, key: &Key, bytes: &[u8]) -> Write {
    Write::Append {
        log,
        key: key.clone(),
        bytes: bytes.to_vec(),
    }
}

/// All that a tenant has, as far as the checks write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Everything {
    pub(super) values: BTreeMap<(&'static str, Key), Stored>,
    pub(super) ledger: Vec<LedgerEntry>,
    pub(super) counter: u64,
    pub(super) logs: Vec<(&'static str, LogEntry)>,
}

/// A store, a tenant of it, and the point that is checked.
pub(super) struct Subject {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) tenant: TenantId,
    pub(super) point: Point,
}

impl Subject {
    pub(super) async fn fresh(harness: &dyn StoreHarness, point: Point) -> Self {
        Self {
            store: harness.fresh().await,
            tenant: tenant("acme"),
            point,
        }
    }

    /// The same store for another tenant.
    pub(super) fn of(&self, name: &str) -> Self {
        Self {
            store: Arc::clone(&self.store),
            tenant: tenant(name),
            point: self.point,
        }
    }

    pub(super) fn transaction(&self, checks: Vec<Check>, writes: Vec<Write>) -> Transaction {
        Transaction {
            checks,
            writes,
            ..Transaction::new(self.tenant.clone())
        }
    }

    pub(super) fn succeeds<T>(&self, done: &str, result: Result<T>) -> std::result::Result<T, Violation> {
        self.point.succeeds(done, result)
    }

    pub(super) fn fails<T: fmt::Debug>(
        &self,
        done: &str,
        kind: StoreErrorKind,
        result: Result<T>,
    ) -> Checked {
        let expected = format!("an error of kind {kind:?}");
        match result {
            Err(error) if error.kind() == kind => Ok(()),
            seen => Err(self.point.violated(done, expected, seen)),
        }
    }

    pub(super) async fn commit(&self, done: &str, checks: Vec<Check>, writes: Vec<Write>) -> Checked {
        let result = self.store.commit(self.transaction(checks, writes)).await;
        self.succeeds(done, result)
    }

    /// Must conflict at the check of this index, and leave everything as it was.
    pub(super) async fn conflicts(
        &self,
        done: &str,
        index: usize,
        checks: Vec<Check>,
        writes: Vec<Write>,
    ) -> Checked {
        let before = self.everything(done).await?;
        let result = self.store.commit(self.transaction(checks, writes)).await;
        match result {
            Err(error) if error.kind() == StoreErrorKind::Conflict && error.failed_check() == Some(index) => {
            }
            seen => {
                let expected = format!("a conflict at check {index}");
                return Err(self.point.violated(done, expected, seen));
            }
        }
        let after = self.everything(done).await?;
        self.point
            .equal(format!("{done}; what is stored after it"), &before, &after)
    }

    pub(super) async fn value(
        &self,
        done: &str,
        table: Table,
        key: &Key,
    ) -> std::result::Result<Option<Stored>, Violation> {
        self.succeeds(done, self.store.value(&self.tenant, table, key).await)
    }

    pub(super) async fn bytes(
        &self,
        done: &str,
        table: Table,
        key: &Key,
    ) -> std::result::Result<Option<Vec<u8>>, Violation> {
        Ok(self.value(done, table, key).await?.map(|stored| stored.bytes))
    }

    pub(super) async fn counter(&self, done: &str, counter: &Key) -> std::result::Result<u64, Violation> {
        self.succeeds(done, self.store.counter(&self.tenant, counter).await)
    }

    pub(super) async fn values(
        &self,
        done: &str,
        table: Table,
        prefix: &Key,
    ) -> std::result::Result<Vec<(Key, Stored)>, Violation> {
        self.scan(done, self.store.values(&self.tenant, table, prefix))
            .await
    }

    pub(super) async fn ledger(
        &self,
        done: &str,
        containers: Option<Vec<ContainerRef>>,
    ) -> std::result::Result<Vec<LedgerEntry>, Violation> {
        self.scan(done, self.store.ledger(&self.tenant, containers)).await
    }

    pub(super) async fn log(
        &self,
        done: &str,
        log: Log,
        after: u64,
    ) -> std::result::Result<Vec<LogEntry>, Violation> {
        self.scan(done, self.store.log(&self.tenant, log, after)).await
    }

    pub(super) async fn scan<T>(
        &self,
        done: &str,
        mut chunks: Chunks<T>,
    ) -> std::result::Result<Vec<T>, Violation> {
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().await {
            all.extend(self.succeeds(done, chunk)?);
        }
        Ok(all)
    }

    pub(super) async fn everything(&self, done: &str) -> std::result::Result<Everything, Violation> {
        let mut values = BTreeMap::new();
        for table in Table::ALL {
            for (key, stored) in self.values(done, table, &Key::of(&[])).await? {
                values.insert((table.code(), key), stored);
            }
        }
        let mut logs = Vec::new();
        for (name, log) in [("audit", Log::Audit), ("outbox", Log::Outbox)] {
            logs.extend(
                self.log(done, log, 0)
                    .await?
                    .into_iter()
                    .map(|entry| (name, entry)),
            );
        }
        Ok(Everything {
            values,
            ledger: self.ledger(done, None).await?,
            counter: self.counter(done, &counter()).await?,
            logs,
        })
    }

    pub(super) fn lease_name(&self, key: &str) -> LeaseName {
        LeaseName {
            tenant: self.tenant.clone(),
            key: Key::of(&[key]),
        }
    }

    pub(super) async fn acquire(&self, done: &str, key: &str) -> std::result::Result<Lease, Violation> {
        let name = self.lease_name(key);
        self.succeeds(done, self.store.acquire(&name, "worker", MINUTE).await)
    }

    pub(super) async fn is_held(&self, done: &str, key: &str) -> Checked {
        let name = self.lease_name(key);
        let result = self.store.acquire(&name, "another worker", MINUTE).await;
        self.fails(done, StoreErrorKind::Held, result)
    }

    pub(super) fn rises(&self, done: &str, before: FencingToken, after: FencingToken) -> Checked {
        let expected = format!("a token higher than {before:?}");
        self.point.holds(after > before, done, expected, after)
    }

    /// Commits one value under the fence of `lease`.
    pub(super) async fn write_under(&self, lease: &Lease, bytes: &[u8]) -> Result<()> {
        let writes = vec![put(Table::JobState, &Key::of(&["fenced"]), bytes)];
        let transaction = self.transaction(Vec::new(), writes).under(lease.fence());
        self.store.commit(transaction).await
    }

    /// Must be refused as fenced, and write nothing.
    pub(super) async fn is_fenced(&self, done: &str, lease: &Lease) -> Checked {
        let before = self.everything(done).await?;
        let result = self.write_under(lease, b"from the past").await;
        self.fails(done, StoreErrorKind::Fenced, result)?;
        let after = self.everything(done).await?;
        self.point
            .equal(format!("{done}; what is stored after it"), &before, &after)
    }
}

/// The counter that the checks use, where one is enough.
pub(super) fn counter() -> Key {
    Key::of(&["seats", "users"])
}

/// One write of every kind that adds something.
pub(super) fn one_of_each() -> Vec<Write> {
    vec![
        put(Table::Link, &Key::of(&["link", "1"]), b"a link"),
        Write::Ledger {
            key: member_key("team", "ada"),
            row: Some(row(Origin::Ours, "job")),
        },
        add(&counter(), 3),
        append(Log::Outbox, &Key::of(&["news", "1"]), b"news"),
        append(Log::Audit, &Key::of(&["deed", "1"]), b"a deed"),
    ]
}
