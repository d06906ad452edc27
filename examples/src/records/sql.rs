//! The rows of the table: how a record is read from them and written to them.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction};
use usersync::connector::{
    Applied, Error, ErrorKind, Precondition, PresentRecord, RecordChange, RecordEntry, RecordOperation,
    Result, Version,
};
use usersync::model::{ObjectId, Record, RecordKind, RecordRef, SystemId};

/// What a record is read from, in this order.
pub(super) const COLUMNS: &str = "origin, id, kind, facets, version";

/// Where a record is.
pub(super) struct Place<'a> {
    system: &'a str,
    collection: &'a str,
    origin: &'a str,
    id: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn new(system: &'a SystemId, collection: &'a ObjectId, id: &'a RecordRef) -> Self {
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

pub(super) fn apply(
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

pub(super) fn existing<'c>(
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

pub(super) fn find(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<Option<PresentRecord>> {
    let query = format!(
        "SELECT {COLUMNS} FROM record WHERE system = ?1 AND collection = ?2 AND origin = ?3 AND id = ?4"
    );
    let mut query = connection.prepare_cached(&query)?;
    query.query_row(place.key(), present).optional()
}

pub(super) fn is_managed(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<Option<bool>> {
    let mut query = connection.prepare_cached(
        "SELECT is_managed FROM record WHERE system = ?1 AND collection = ?2 AND origin = ?3 AND id = ?4",
    )?;
    query.query_row(place.key(), |row| row.get(0)).optional()
}

pub(super) fn upserts(
    connection: &Connection,
    query: &str,
    here: (&str, &str),
) -> rusqlite::Result<Vec<RecordEntry>> {
    let mut query = connection.prepare_cached(query)?;
    let rows = query.query_map(here, |row| present(row).map(RecordEntry::Upsert))?;
    rows.collect()
}

pub(super) fn changed(
    connection: &Connection,
    (system, collection): (&str, &str),
    since: i64,
) -> rusqlite::Result<Vec<RecordEntry>> {
    let mut query = connection.prepare_cached(
        "SELECT DISTINCT origin, id FROM change WHERE system = ?1 AND collection = ?2 AND number > ?3",
    )?;
    let touched = query.query_map((system, collection, since), reference)?;
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
pub(super) fn put(
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

pub(super) fn delete(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<usize> {
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

pub(super) fn present(row: &Row<'_>) -> rusqlite::Result<PresentRecord> {
    let (kind, facets, version): (String, String, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
    Ok(PresentRecord {
        record: Record {
            id: reference(row)?,
            kind: RecordKind::new(kind).map_err(|error| wrong(2, error))?,
            facets: serde_json::from_str(&facets).map_err(|error| wrong(3, error))?,
        },
        version: Some(Version(version.to_string())),
        changed: None,
    })
}

pub(super) fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// What went wrong, as the engine understands it: the kind decides whether trying again may help.
#[allow(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(super) fn failed(error: rusqlite::Error) -> Error {
    let kind = match (&error, error.sqlite_error_code()) {
        (rusqlite::Error::FromSqlConversionFailure(..), _) => ErrorKind::InvalidData,
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull)) => ErrorKind::Unavailable,
        (_, Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly)) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    // A statement that fails changed nothing.
    Error::new(kind, format!("the database: {error}")).with_unknown_outcome(false)
}
