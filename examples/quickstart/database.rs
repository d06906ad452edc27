//! The application's one database: its own tables, and beside them those in which `usersync` keeps its state.

use std::error::Error as StdError;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, Row};
use usersync::connector::{Error, ErrorKind};
use usersync::model::PrincipalRef;

/// What the names of `usersync`'s tables begin with.
pub(crate) const PREFIX: &str = "usersync_";

/// The application's own tables. People and groups are named by the directory that has them and by their id there.
const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS account (
        system TEXT NOT NULL,
        who TEXT NOT NULL,
        is_active INTEGER NOT NULL,
        is_administrator INTEGER NOT NULL,
        PRIMARY KEY (system, who)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event (
        id TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        owner_system TEXT,
        owner TEXT,
        role TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS selected (
        event TEXT NOT NULL REFERENCES event (id),
        system TEXT NOT NULL,
        who TEXT NOT NULL,
        is_excluded INTEGER NOT NULL,
        PRIMARY KEY (event, is_excluded, system, who)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS attendee (
        event TEXT NOT NULL REFERENCES event (id),
        system TEXT NOT NULL,
        who TEXT NOT NULL,
        role TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'pending')),
        version INTEGER NOT NULL,
        PRIMARY KEY (event, system, who)
    ) STRICT, WITHOUT ROWID;
    -- How often an attendance was changed, which numbers their versions: none comes again.
    CREATE TABLE IF NOT EXISTS change (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        count INTEGER NOT NULL
    ) STRICT;
    INSERT INTO change (id, count) VALUES (1, 0) ON CONFLICT DO NOTHING;
    -- What users are told; the key is that of the news.
    CREATE TABLE IF NOT EXISTS message (
        key TEXT NOT NULL PRIMARY KEY,
        recipient TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    COMMIT;
";

/// The application's connection. Clones share it; `usersync` has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens the application's tables, which are made if they are not there.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        Self::new(connect(path)?)
    }

    pub(crate) fn new(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch(TABLES)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the database holds now, with `usersync`'s tables, to a file that is not there yet.
    pub(crate) fn copy_to(&self, path: &Path) -> rusqlite::Result<()> {
        let name = path
            .to_str()
            .ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
        self.lock().execute("VACUUM INTO ?1", [name]).map(|_| ())
    }

    /// How many tables there are of the application, and how many of `usersync`.
    pub(crate) fn tables(&self) -> rusqlite::Result<(usize, usize)> {
        let connection = self.lock();
        let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        let (mut own, mut others) = (0, 0);
        for name in names.query_map((), |row| row.get::<_, String>(0))? {
            let count = if name?.starts_with(PREFIX) {
                &mut others
            } else {
                &mut own
            };
            *count += 1;
        }
        Ok((own, others))
    }
}

/// A connection to the database: one for the application, one for `usersync`.
///
/// With a write-ahead log, neither hinders the other's reads, and what was committed survives the end of the process in any way.
/// `NORMAL` does not let each commit wait for the disk: a loss of power may undo the last ones. Both connections write one log, so
/// that it undoes them in their order: no change of the calendar outlives the intent that came before it. `FULL` loses none.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// A column's text, read as the id that it is.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::<T::Err>::new(error))
    })
}

/// Somebody named by a column with the system and the next one with the id.
pub(crate) fn principal(row: &Row<'_>, column: usize) -> rusqlite::Result<PrincipalRef> {
    Ok(PrincipalRef::new(parsed(row, column)?, parsed(row, column + 1)?))
}

/// What went wrong, as the engine understands it: the kind decides whether trying again may help.
pub(crate) fn failed(error: rusqlite::Error) -> Error {
    let kind = match (&error, error.sqlite_error_code()) {
        (rusqlite::Error::FromSqlConversionFailure(..), _) => ErrorKind::InvalidData,
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull)) => ErrorKind::Unavailable,
        (_, Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly)) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    // A statement that fails changed nothing.
    Error::new(kind, format!("the database: {error}")).with_unknown_outcome(false)
}
