//! Logs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use usersync_store::{Key, Log, LogEntry, StoreErrorKind};

use crate::database::Database;
use crate::error::{Failure, Result};
use crate::names::Names;
use crate::scan::{CHUNK_BYTES, CHUNK_ROWS, Step, Steps};
use crate::values;

/// The name under which a log is stored.
pub(crate) fn code(log: Log) -> Result<&'static str> {
    match log {
        Log::Audit => Ok("audit"),
        Log::Outbox => Ok("outbox"),
        _ => Err(Failure::new(
            StoreErrorKind::Unavailable,
            "this version of the store knows no such log; use a newer one",
        )
        .into()),
    }
}

/// Appends to the logs of a tenant within one transaction. The last sequence of each log is read once, and written at the end.
pub(crate) struct Appends<'a> {
    db: &'a Database,
    tenant: i64,
    last: BTreeMap<&'static str, i64>,
}

impl<'a> Appends<'a> {
    pub(crate) fn new(db: &'a Database, tenant: i64) -> Self {
        Self {
            db,
            tenant,
            last: BTreeMap::new(),
        }
    }

    pub(crate) fn append(&mut self, log: Log, key: &Key, bytes: &[u8]) -> Result<()> {
        let (db, log) = (self.db, code(log)?);
        let last = match self.last.entry(log) {
            Entry::Occupied(last) => last.into_mut(),
            Entry::Vacant(place) => {
                let last = db.find(&db.sql.sequence, (self.tenant, log), |row| row.get(0))?;
                place.insert(last.unwrap_or(0))
            }
        };
        let next = last.saturating_add(1);
        let added = db.execute(&db.sql.entry_add, (self.tenant, log, next, key.as_str(), bytes))?;
        if added > 0 {
            *last = next;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        for (log, last) in self.last {
            self.db
                .execute(&self.db.sql.sequence_set, (self.tenant, log, last))?;
        }
        Ok(())
    }
}

pub(crate) fn deliver(db: &Database, tenant: i64, log: Log, sequence: u64) -> Result<()> {
    // No sequence is above the largest that SQLite has.
    if let Ok(sequence) = i64::try_from(sequence) {
        db.execute(&db.sql.entry_delete, (tenant, code(log)?, sequence))?;
    }
    Ok(())
}

/// Reads the entries of a log after a sequence.
pub(crate) struct LogSteps {
    tenant: i64,
    log: &'static str,
    after: i64,
}

impl LogSteps {
    /// `log` as its code.
    pub(crate) fn new(tenant: i64, log: &'static str, after: u64) -> Self {
        Self {
            tenant,
            log,
            // Nothing comes after the largest sequence that SQLite has.
            after: i64::try_from(after).unwrap_or(i64::MAX),
        }
    }
}

impl Steps for LogSteps {
    type Item = LogEntry;

    fn step(&mut self, db: &Database, _: &mut Names) -> Result<Step<LogEntry>> {
        let mut statement = db.conn.prepare_cached(&db.sql.entries)?;
        let mut rows = statement.query((self.tenant, self.log, self.after))?;
        let (mut chunk, mut size) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            self.after = row.get(0)?;
            let entry = LogEntry {
                sequence: self.after.cast_unsigned(),
                key: values::key(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
                bytes: row.get(2)?,
            };
            size += entry.bytes.len();
            chunk.push(entry);
            if chunk.len() >= CHUNK_ROWS || size >= CHUNK_BYTES {
                break;
            }
        }
        Ok(if chunk.is_empty() {
            Step::End
        } else {
            Step::Chunk(chunk)
        })
    }
}
