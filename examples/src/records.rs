//! Records in a table of SQLite, as an application keeps them: a source and a target of records.
//!
//! Every write has a number of its own, which is the record's version from then on and the place of the change in the feed. The suite
//! of `usersync-testkit` runs against it, in `examples/tests/records.rs`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior};
use usersync::connector::{
    Applied, CallContext, Cursor, Error, ErrorKind, Extent, Precondition, PresentRecord, ReadEnd, ReadStream,
    RecordCapabilities, RecordChange, RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget,
    Result, TargetCapabilities, Version, failed_read, read_stream,
};
use usersync::model::{ObjectId, Record, RecordKind, RecordRef, SystemId};

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

const COLUMNS: &str = "origin, id, kind, facets, version";

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
        let all = |error: &dyn Fn() -> Error| operations.iter().map(|_| Err(error())).collect();
        if operations.len() > self.capabilities().target.max_batch.get() {
            return all(&|| Error::new(ErrorKind::LimitExceeded, "at most 64 operations make a call"));
        }
        match self.apply_all(collection, operations) {
            Ok(results) => results,
            Err(error) => {
                let message = error.to_string();
                all(&|| Error::new(ErrorKind::Unavailable, format!("the database: {message}")))
            }
        }
    }
}

/// Where a record is.
struct Place<'a> {
    system: &'a str,
    collection: &'a str,
    origin: &'a str,
    id: &'a str,
}

impl<'a> Place<'a> {
    fn new(system: &'a SystemId, collection: &'a ObjectId, id: &'a RecordRef) -> Self {
        Self {
            system: system.as_str(),
            collection: collection.as_str(),
            origin: id.system.as_str(),
            id: id.object.as_str(),
        }
    }

    fn key(&self) -> (&str, &str, &str, &str) {
        (self.system, self.collection, self.origin, self.id)
    }
}

fn apply(
    transaction: &Transaction<'_>,
    system: &SystemId,
    collection: Option<&ObjectId>,
    operation: &RecordOperation,
) -> Result<Applied> {
    let is_deletion = operation.change == RecordChange::Delete;
    let collection = match existing(transaction, system, collection) {
        Err(error) if is_deletion && error.kind() == ErrorKind::NotFound => return Ok(Applied::unchanged()),
        collection => collection?,
    };
    let place = Place::new(system, collection, &operation.record);
    let found = find(transaction, &place).map_err(failed)?;
    let version = found.as_ref().and_then(|found| found.version.as_ref());
    let holds = match &operation.precondition {
        Precondition::None => true,
        Precondition::Absent => found.is_none(),
        Precondition::Version(wanted) => version == Some(wanted),
    };
    if !holds {
        return Err(Error::new(
            ErrorKind::Conflict,
            "it was changed meanwhile; read it again",
        ));
    }
    match (&operation.change, found) {
        // What is wished is so already, whoever did it.
        (RecordChange::Delete, None) => Ok(Applied::unchanged()),
        (RecordChange::Create(record), Some(found)) if found.record.facets == record.facets => {
            Ok(Applied::unchanged())
        }
        (RecordChange::Delete, Some(_)) => {
            delete(transaction, &place).map_err(failed)?;
            Ok(Applied::changed())
        }
        (RecordChange::Create(record), None) => written(put(transaction, &place, record, true)),
        (RecordChange::Create(_), Some(_)) => Err(Error::new(
            ErrorKind::AlreadyExists,
            "it is there, with other content",
        )),
        (RecordChange::Update(_), None) => Err(Error::new(ErrorKind::NotFound, "there is no such record")),
        (RecordChange::Update(facets), Some(found)) => {
            let mut record = found.record.clone();
            record.facets.extend(facets.clone());
            if record == found.record {
                return Ok(Applied::unchanged());
            }
            let is_managed = is_managed(transaction, &place).map_err(failed)?;
            written(put(transaction, &place, &record, is_managed.unwrap_or(false)))
        }
    }
}

fn written(version: rusqlite::Result<i64>) -> Result<Applied> {
    let version = version.map_err(failed)?;
    Ok(Applied {
        version: Some(Version(version.to_string())),
        ..Applied::changed()
    })
}

fn existing<'c>(
    connection: &Connection,
    system: &SystemId,
    collection: Option<&'c ObjectId>,
) -> Result<&'c ObjectId> {
    let missing = || Error::new(ErrorKind::NotFound, "there is no such collection");
    let collection = collection.ok_or_else(missing)?;
    let is_there = connection
        .prepare_cached("SELECT 1 FROM collection WHERE system = ?1 AND id = ?2")
        .and_then(|mut query| query.exists((system.as_str(), collection.as_str())))
        .map_err(failed)?;
    if is_there { Ok(collection) } else { Err(missing()) }
}

fn find(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<Option<PresentRecord>> {
    let query = format!(
        "SELECT {COLUMNS} FROM record WHERE system = ?1 AND collection = ?2 AND origin = ?3 AND id = ?4"
    );
    let mut query = connection.prepare_cached(&query)?;
    query.query_row(place.key(), present).optional()
}

fn is_managed(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<Option<bool>> {
    let mut query = connection.prepare_cached(
        "SELECT is_managed FROM record WHERE system = ?1 AND collection = ?2 AND origin = ?3 AND id = ?4",
    )?;
    query.query_row(place.key(), |row| row.get(0)).optional()
}

fn upserts(connection: &Connection, query: &str, here: (&str, &str)) -> rusqlite::Result<Vec<RecordEntry>> {
    let mut query = connection.prepare_cached(query)?;
    let rows = query.query_map(here, |row| present(row).map(RecordEntry::Upsert))?;
    rows.collect()
}

fn changed(
    connection: &Connection,
    (system, collection): (&str, &str),
    since: i64,
) -> rusqlite::Result<Vec<RecordEntry>> {
    let mut query = connection.prepare_cached(
        "SELECT DISTINCT origin, id FROM change WHERE system = ?1 AND collection = ?2 AND number > ?3",
    )?;
    let touched = query.query_map((system, collection, since), |row| reference(row))?;
    let mut entries = Vec::new();
    for id in touched {
        let id = id?;
        let place = Place {
            system,
            collection,
            origin: id.system.as_str(),
            id: id.object.as_str(),
        };
        entries.push(match find(connection, &place)? {
            Some(present) => RecordEntry::Upsert(present),
            None => RecordEntry::Removed(id),
        });
    }
    Ok(entries)
}

/// Writes a record under a new version, which is answered.
fn put(
    connection: &Connection,
    place: &Place<'_>,
    record: &Record,
    is_managed: bool,
) -> rusqlite::Result<i64> {
    let version = touch(connection, place)?;
    let facets = serde_json::to_string(&record.facets).expect("facets have a JSON form");
    let (system, collection, origin, id) = place.key();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO record (system, collection, origin, id, kind, facets, is_managed, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((system, collection, origin, id, record.kind.as_str(), facets, is_managed, version))?;
    Ok(version)
}

fn delete(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<usize> {
    touch(connection, place)?;
    connection
        .prepare_cached(
            "DELETE FROM record WHERE system = ?1 AND collection = ?2 AND origin = ?3 AND id = ?4",
        )?
        .execute(place.key())
}

fn touch(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO change (system, collection, origin, id) VALUES (?1, ?2, ?3, ?4)")?
        .execute(place.key())?;
    Ok(connection.last_insert_rowid())
}

fn reference(row: &Row<'_>) -> rusqlite::Result<RecordRef> {
    let (system, object): (String, String) = (row.get(0)?, row.get(1)?);
    RecordRef::parse(&system, &object).map_err(|error| wrong(0, error))
}

fn present(row: &Row<'_>) -> rusqlite::Result<PresentRecord> {
    let (kind, facets, version): (String, String, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
    Ok(PresentRecord {
        record: Record {
            id: reference(row)?,
            kind: RecordKind::new(kind).map_err(|error| wrong(2, error))?,
            facets: serde_json::from_str(&facets).map_err(|error| wrong(3, error))?,
        },
        version: Some(Version(version.to_string())),
    })
}

fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// What went wrong, as the engine understands it: the kind decides whether trying again may help.
#[allow(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn failed(error: rusqlite::Error) -> Error {
    let kind = match (&error, error.sqlite_error_code()) {
        (rusqlite::Error::FromSqlConversionFailure(..), _) => ErrorKind::InvalidData,
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull)) => ErrorKind::Unavailable,
        (_, Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly)) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, format!("the database: {error}"))
}
