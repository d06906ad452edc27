//! Values and counters.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use usersync_store::{Key, Revision, Stored, Table};

use crate::database::Database;
use crate::error::{Result, corrupt};
use crate::names::Names;
use crate::scan::{CHUNK_BYTES, CHUNK_ROWS, Step, Steps};

pub(crate) fn value(db: &Database, tenant: i64, table: Table, key: &Key) -> Result<Option<Stored>> {
    Ok(
        db.find(&db.sql.value, (tenant, table.code(), key.as_str()), |row| {
            Ok(Stored {
                revision: row.get::<_, i64>(0)?.cast_unsigned(),
                bytes: row.get(1)?,
            })
        })?,
    )
}

pub(crate) fn revision(db: &Database, tenant: i64, table: Table, key: &Key) -> Result<Option<Revision>> {
    let revision = db.find(
        &db.sql.value_revision,
        (tenant, table.code(), key.as_str()),
        |row| row.get::<_, i64>(0),
    )?;
    Ok(revision.map(i64::cast_unsigned))
}

pub(crate) fn put(
    db: &Database,
    tenant: i64,
    table: Table,
    key: &Key,
    bytes: &[u8],
    revision: i64,
) -> Result<()> {
    let params = (tenant, table.code(), key.as_str(), revision, bytes);
    db.execute(&db.sql.value_set, params)?;
    Ok(())
}

pub(crate) fn delete(db: &Database, tenant: i64, table: Table, key: &Key) -> Result<()> {
    db.execute(&db.sql.value_delete, (tenant, table.code(), key.as_str()))?;
    Ok(())
}

/// The revision that the tenant gave last.
pub(crate) fn last_revision(db: &Database, tenant: i64) -> Result<i64> {
    let revision = db.find(&db.sql.revision, [tenant], |row| row.get(0))?;
    Ok(revision.ok_or_else(|| corrupt("a tenant has no row"))?)
}

pub(crate) fn set_last_revision(db: &Database, tenant: i64, revision: i64) -> Result<()> {
    db.execute(&db.sql.revision_set, (tenant, revision))?;
    Ok(())
}

/// Counters have all 64 bits of an unsigned integer, which SQLite keeps as a signed one.
pub(crate) fn counter(db: &Database, tenant: i64, key: &Key) -> Result<u64> {
    let value = db.find(&db.sql.counter, (tenant, key.as_str()), |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(value.map_or(0, i64::cast_unsigned))
}

pub(crate) fn add(db: &Database, tenant: i64, key: &Key, delta: i64) -> Result<()> {
    let value = counter(db, tenant, key)?.saturating_add_signed(delta);
    db.execute(&db.sql.counter_set, (tenant, key.as_str(), value.cast_signed()))?;
    Ok(())
}

/// Reads a key that was stored.
pub(crate) fn key(text: &str) -> Result<Key> {
    let key = Key::deserialize(IntoDeserializer::<ValueError>::into_deserializer(text));
    Ok(key.map_err(|error| corrupt(error.to_string()))?)
}

/// Reads the values of a table whose keys start with a prefix.
pub(crate) struct ValueSteps {
    tenant: i64,
    table: Table,
    prefix: Key,
    /// The last key read.
    last: Option<Key>,
}

impl ValueSteps {
    pub(crate) fn new(tenant: i64, table: Table, prefix: Key) -> Self {
        Self {
            tenant,
            table,
            prefix,
            last: None,
        }
    }
}

impl Steps for ValueSteps {
    type Item = (Key, Stored);

    fn step(&mut self, db: &Database, _: &mut Names) -> Result<Step<(Key, Stored)>> {
        // The prefix itself is the least key that starts with it.
        let (sql, from) = match &self.last {
            Some(last) => (&db.sql.values_after, last),
            None => (&db.sql.values_from, &self.prefix),
        };
        let mut statement = db.conn.prepare_cached(sql)?;
        let mut rows = statement.query((self.tenant, self.table.code(), from.as_str()))?;
        let (mut chunk, mut size) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let key = key(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            if !key.starts_with(&self.prefix) {
                break;
            }
            let stored = Stored {
                revision: row.get::<_, i64>(1)?.cast_unsigned(),
                bytes: row.get(2)?,
            };
            size += stored.bytes.len();
            chunk.push((key, stored));
            if chunk.len() >= CHUNK_ROWS || size >= CHUNK_BYTES {
                break;
            }
        }
        match chunk.last() {
            Some((key, _)) => {
                self.last = Some(key.clone());
                Ok(Step::Chunk(chunk))
            }
            None => Ok(Step::End),
        }
    }
}
