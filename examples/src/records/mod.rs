//! Records in a table of SQLite, as an application keeps them: a source and a target of records.
//!
//! Every write has a number of its own, which is the record's version from then on and the place of the change in the feed. The suite
//! of `usersync-testkit` runs against it, in `examples/tests/records.rs`.

mod sql;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use usersync::connector::{
    Applied, CallContext, Cursor, Error, ErrorKind, Extent, PresentRecord, ReadEnd, ReadStream,
    RecordCapabilities, RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget, Result,
    TargetCapabilities, failed_read, read_stream,
};
use usersync::model::{ObjectId, Record, RecordRef, SystemId};

use self::sql::{
    COLUMNS, Place, apply, changed, delete, existing, failed, find, is_managed, present, put, upserts, wrong,
};

const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS collection (
        system TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (system, id)
    ) STRICT, WITHOUT ROWID;
    -- Where a record comes from, and the id that it has there; it is managed where the connector made it.
    CREATE TABLE IF NOT EXISTS record (
        system TEXT NOT NULL,
        collection TEXT NOT NULL,
        origin TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        facets TEXT NOT NULL,
        is_managed INTEGER NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (system, collection, origin, id),
        FOREIGN KEY (system, collection) REFERENCES collection (system, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS change (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        system TEXT NOT NULL,
        collection TEXT NOT NULL,
        origin TEXT NOT NULL,
        id TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS change_of ON change (system, collection, number);
    COMMIT;
";

/// The records of one system in a database. Clones share the connection and the counts.
#[derive(Clone, Debug)]
pub struct RecordTable {
    system: SystemId,
    connection: Arc<Mutex<Connection>>,
    counts: Arc<Counts>,
}

/// What was asked of a table through its connector.
#[derive(Debug, Default)]
struct Counts {
    full: AtomicU64,
    changes: AtomicU64,
    writes: AtomicU64,
}

/// What was asked of a table through its connector since the counts were taken last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Reads of all records of a collection.
    pub full: u64,
    /// Reads of what changed in a collection.
    pub changes: u64,
    /// Records made, changed or ended.
    pub writes: u64,
}

impl RecordTable {
    /// Opens the table of `system` in a database file, which is made if it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened, or is something else.
    pub fn open(path: &Path, system: SystemId) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Self::new(connection, system)
    }

    /// The table of `system` in a database.
    ///
    /// # Errors
    /// When the database is something else.
    pub fn new(connection: Connection, system: SystemId) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(TABLES)?;
        Ok(Self {
            system,
            connection: Arc::new(Mutex::new(connection)),
            counts: Arc::default(),
        })
    }

    /// The table of another system in the same database, with counts of its own.
    #[must_use]
    pub fn beside(&self, system: SystemId) -> Self {
        Self {
            system,
            connection: Arc::clone(&self.connection),
            counts: Arc::default(),
        }
    }

    /// Makes a collection, or gives it another name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn create_collection(&self, id: &ObjectId, name: &str) -> rusqlite::Result<()> {
        self.lock().execute(
            "INSERT INTO collection (system, id, name) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET name = excluded.name",
            (self.system.as_str(), id.as_str(), name),
        )?;
        Ok(())
    }

    /// The collections with their names, by id.
    ///
    /// # Errors
    /// When the database fails or holds something else.
    pub fn collections(&self) -> rusqlite::Result<Vec<(ObjectId, String)>> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached("SELECT id, name FROM collection WHERE system = ?1 ORDER BY id")?;
        let rows = query.query_map([self.system.as_str()], |row| {
            let id: String = row.get(0)?;
            Ok((ObjectId::new(id).map_err(|error| wrong(0, error))?, row.get(1)?))
        })?;
        rows.collect()
    }

    /// Ends a collection with all its records.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remove_collection(&self, id: &ObjectId) -> rusqlite::Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in [
            "record WHERE system = ?1 AND collection",
            "collection WHERE system = ?1 AND id",
        ] {
            transaction.execute(
                &format!("DELETE FROM {table} = ?2"),
                (self.system.as_str(), id.as_str()),
            )?;
        }
        transaction.commit()
    }

    /// Makes or replaces a record, or ends it with `None`, as people do in the application. What it is by origin, managed or
    /// somebody's own, it stays.
    ///
    /// # Errors
    /// When there is no such collection, or the database fails.
    pub fn put_by_hand(
        &self,
        collection: &ObjectId,
        id: &RecordRef,
        record: Option<&Record>,
    ) -> rusqlite::Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let place = Place::new(&self.system, collection, id);
        match record {
            Some(record) => {
                let is_managed = is_managed(&transaction, &place)?.unwrap_or(false);
                put(&transaction, &place, record, is_managed)?;
            }
            None => drop(delete(&transaction, &place)?),
        }
        transaction.commit()
    }

    /// The records of a collection by id, each with whether it is managed: those are shown read-only to people.
    ///
    /// # Errors
    /// When the database fails or holds something else.
    pub fn records_of(&self, collection: &ObjectId) -> rusqlite::Result<Vec<(Record, bool)>> {
        let connection = self.lock();
        let query = format!(
            "SELECT {COLUMNS}, is_managed FROM record WHERE system = ?1 AND collection = ?2 ORDER BY origin, id"
        );
        let mut query = connection.prepare_cached(&query)?;
        let rows = query.query_map((self.system.as_str(), collection.as_str()), |row| {
            Ok((present(row)?.record, row.get(5)?))
        })?;
        rows.collect()
    }

    /// What was asked through the connector since this was called last.
    #[must_use]
    pub fn take_counts(&self) -> Taken {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Taken {
            full: take(&self.counts.full),
            changes: take(&self.counts.changes),
            writes: take(&self.counts.writes),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, request: &RecordRequest) -> Result<(Extent, Vec<RecordEntry>, Cursor)> {
        let mut connection = self.lock();
        // One transaction: the cursor is of the state that is shown.
        let transaction = connection.transaction().map_err(failed)?;
        let collection = existing(&transaction, &self.system, request.collection.as_ref())?;
        let here = (self.system.as_str(), collection.as_str());
        let latest: i64 = transaction
            .query_row("SELECT coalesce(max(number), 0) FROM change", (), |row| {
                row.get(0)
            })
            .map_err(failed)?;
        let cursor = Cursor::new(format!("{}\n{collection}\n{latest}", self.system));
        let (extent, entries) = match &request.since {
            None => {
                self.counts.full.fetch_add(1, Ordering::Relaxed);
                let query = format!("SELECT {COLUMNS} FROM record WHERE system = ?1 AND collection = ?2");
                (Extent::Full, upserts(&transaction, &query, here))
            }
            Some(since) => {
                self.counts.changes.fetch_add(1, Ordering::Relaxed);
                let since = self.position(since, collection, latest)?;
                (Extent::Changes, changed(&transaction, here, since))
            }
        };
        Ok((extent, entries.map_err(failed)?, cursor))
    }

    fn position(&self, cursor: &Cursor, collection: &ObjectId, latest: i64) -> Result<i64> {
        let text = std::str::from_utf8(cursor.as_bytes()).unwrap_or_default();
        let number = text
            .strip_prefix(self.system.as_str())
            .and_then(|rest| rest.strip_prefix('\n')?.strip_prefix(collection.as_str()))
            .and_then(|rest| rest.strip_prefix('\n')?.parse().ok());
        number
            .filter(|number| (0..=latest).contains(number))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::CursorExpired,
                    "not a cursor of this collection; read everything",
                )
            })
    }

    fn apply_all(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
    ) -> rusqlite::Result<Vec<Result<Applied>>> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(operations.len());
        for operation in operations {
            // An operation that is refused wrote nothing, so that the others can be kept.
            let result = apply(&transaction, &self.system, collection, operation);
            if result.as_ref().is_ok_and(|applied| applied.changed) {
                self.counts.writes.fetch_add(1, Ordering::Relaxed);
            }
            results.push(result.map_err(|error| error.at(&self.system, "apply")));
        }
        transaction.commit()?;
        Ok(results)
    }
}

#[async_trait]
impl RecordRead for RecordTable {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> RecordCapabilities {
        RecordCapabilities {
            changes: true,
            target: TargetCapabilities {
                conditional_write: true,
                idempotency_key: false,
                max_batch: 64.try_into().expect("64 is not zero"),
                point_read: true,
                updates: true,
            },
        }
    }

    fn records(&self, request: RecordRequest, _context: &CallContext) -> ReadStream<RecordEntry> {
        match self.read(&request) {
            Ok((extent, entries, cursor)) => {
                read_stream(extent, entries, ReadEnd::complete().with_cursor(Some(cursor)))
            }
            Err(error) => failed_read(error.at(&self.system, "records")),
        }
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        _context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let Some(collection) = collection else {
            return Ok(None);
        };
        find(&self.lock(), &Place::new(&self.system, collection, id)).map_err(failed)
    }
}

#[async_trait]
impl RecordTarget for RecordTable {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let all = |error: Error| operations.iter().map(|_| Err(error.copy())).collect();
        if operations.len() > self.capabilities().target.max_batch.get() {
            return all(Error::new(
                ErrorKind::LimitExceeded,
                "at most 64 operations make a call",
            ));
        }
        match self.apply_all(collection, operations) {
            Ok(results) => results,
            Err(error) => all(Error::new(
                ErrorKind::Unavailable,
                format!("the database: {error}"),
            )),
        }
    }
}
