//! A connection, and how it is opened.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, Row};
use usersync_store::StoreErrorKind;

use crate::error::{Failure, corrupt};
use crate::names::Names;
use crate::options::{Durability, SqliteOptions, TablePrefix};
use crate::schema;
use crate::sql::Sql;

type Result<T> = std::result::Result<T, Failure>;

/// Marks files that are ours, in their header: `usyn`.
const APPLICATION_ID: i64 = 0x7573_796e;

/// A connection with the statements for its tables.
pub(crate) struct Database {
    pub(crate) conn: Connection,
    pub(crate) sql: Arc<Sql>,
    /// Whether the transaction that is open has added ids.
    has_new_names: Cell<bool>,
}

/// What the store remembers beside its content.
pub(crate) struct Meta {
    pub(crate) version: i64,
    /// The latest time told, in microseconds since 1970.
    pub(crate) clock: i64,
    /// Another one once ids were added.
    stamp: i64,
}

/// A database opened, checked and of the newest version.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) options: SqliteOptions,
    pub(crate) prefix: String,
    /// Whether the file is the store's own, with settings of its own.
    pub(crate) is_own: bool,
    /// Whether other connections can read a snapshot while this one writes.
    pub(crate) has_snapshots: bool,
}

impl Database {
    fn new(conn: Connection, sql: Arc<Sql>) -> Self {
        conn.set_prepared_statement_cache_capacity(Sql::COUNT);
        Self {
            conn,
            sql,
            has_new_names: Cell::new(false),
        }
    }

    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// The row that a query finds, if it finds one.
    pub(crate) fn find<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self
            .conn
            .prepare_cached(sql)?
            .query_row(params, read)
            .optional()?)
    }

    /// Adds an id.
    pub(crate) fn add_name(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64> {
        let id = self.add_name_if_new(sql, params)?;
        id.ok_or_else(|| corrupt("an id was not added"))
    }

    /// Adds an id, unless it is there already.
    pub(crate) fn add_name_if_new(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<i64>> {
        if self.execute(sql, params)? == 0 {
            return Ok(None);
        }
        self.has_new_names.set(true);
        Ok(Some(self.conn.last_insert_rowid()))
    }

    pub(crate) fn has_new_names(&self) -> bool {
        self.has_new_names.get()
    }

    /// Begins a transaction, and reads for the first time in it, which fixes what a reading one sees. `names` are those that are
    /// cached for this connection.
    pub(crate) fn begin(&self, sql: &str, names: &mut Names) -> Result<()> {
        self.execute(sql, ())?;
        self.has_new_names.set(false);
        // A newer program may have migrated the tables since they were opened, or somebody restored older ones, which can lack a column.
        let meta = self.meta();
        let version = match &meta {
            Ok(meta) => Some(meta.version),
            Err(_) => self.find(&self.sql.version, (), |row| row.get(0)).ok().flatten(),
        };
        schema::check_open(version.unwrap_or(schema::VERSION))?;
        names.follow(meta?.stamp);
        Ok(())
    }

    pub(crate) fn meta(&self) -> Result<Meta> {
        let read = |row: &Row<'_>| {
            Ok(Meta {
                version: row.get(0)?,
                clock: row.get(1)?,
                stamp: row.get(2)?,
            })
        };
        self.find(&self.sql.meta, (), read)?
            .ok_or_else(|| corrupt("the row of the version is gone; restore the database from a backup"))
    }

    /// Ends a transaction that is still open, whatever became of it.
    pub(crate) fn roll_back(&self) {
        // SQLite may have ended it by itself, and a failure shows again at the next begin.
        if !self.conn.is_autocommit() {
            let _ = self.execute(&self.sql.rollback, ());
        }
    }

    /// Another connection to the same file, to read only. None if there is no such file.
    pub(crate) fn open_reader(&self, options: &SqliteOptions) -> Result<Option<Self>> {
        let Some(path) = self.conn.path().filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(options.busy_timeout)?;
        conn.pragma_update(None, "cell_size_check", true)?;
        Ok(Some(Self::new(conn, Arc::clone(&self.sql))))
    }
}

impl Opened {
    /// Opens a file of the store's own, which is made if it is not there.
    pub(crate) fn file(path: &Path, mut options: SqliteOptions) -> Result<Self> {
        // A path such as `:memory:` or `file:x` means something else to SQLite, unless a folder is in front.
        let path = Path::new(".").join(path);
        let access = if options.read_only {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        };
        let mut conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(options.busy_timeout)?;
        check_owner(&conn)?;
        check_encoding(&conn)?;
        let version = schema::version(&conn, "")?;
        schema::check(version)?;
        options.read_only |= conn.is_readonly(MAIN_DB)?;
        if !options.read_only {
            set_wal(&conn, options.busy_timeout)?;
            conn.pragma_update(None, "synchronous", synchronous(options.durability))?;
            // Where a plain wait does not reach the disk itself.
            conn.pragma_update(None, "fullfsync", true)?;
            // Pages that many transactions change are taken into the file once: 32 MiB of log.
            conn.pragma_update(None, "wal_autocheckpoint", 8192)?;
            // Gives back what one long scan or transaction made the log grow to.
            conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
        }
        conn.pragma_update(None, "cell_size_check", true)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        conn.pragma_update(None, "cache_size", -32 * 1024)?;
        conn.pragma_update(None, "temp_store", "memory")?;
        prepare(&mut conn, "", version, options.read_only, |conn| {
            check_owner(conn)?;
            Ok(conn.pragma_update(None, "application_id", APPLICATION_ID)?)
        })?;
        Ok(Self::new(conn, "", options, true))
    }

    /// Uses a host's database.
    pub(crate) fn host(
        mut conn: Connection,
        prefix: &TablePrefix,
        mut options: SqliteOptions,
    ) -> Result<Self> {
        if !conn.is_autocommit() {
            return Err(Failure::new(
                StoreErrorKind::Unavailable,
                "the connection has a transaction open; end it first",
            ));
        }
        conn.busy_timeout(options.busy_timeout)?;
        check_encoding(&conn)?;
        let version = schema::version(&conn, prefix.as_str())?;
        schema::check(version)?;
        options.read_only |= conn.is_readonly(MAIN_DB)?;
        prepare(&mut conn, prefix.as_str(), version, options.read_only, |_| Ok(()))?;
        Ok(Self::new(conn, prefix.as_str(), options, false))
    }

    fn new(conn: Connection, prefix: &str, options: SqliteOptions, is_own: bool) -> Self {
        let database = Database::new(conn, Arc::new(Sql::new(prefix)));
        let has_snapshots = has_snapshots(&database, &options);
        Self {
            database,
            options,
            prefix: prefix.to_owned(),
            is_own,
            has_snapshots,
        }
    }
}

pub(crate) fn synchronous(durability: Durability) -> &'static str {
    match durability {
        Durability::Full => "FULL",
        Durability::Process => "NORMAL",
    }
}

/// Refuses a database that another program made.
fn check_owner(conn: &Connection) -> Result<()> {
    let id: i64 = conn.query_row("PRAGMA application_id", (), |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if id == 0 && tables == 0 {
        return Ok(());
    }
    Err(Failure::new(
        StoreErrorKind::Corrupt,
        "the file is another program's database; give a file of the store's own, or open it with a table prefix",
    ))
}

/// Refuses a database in another encoding than that of keys: SQLite compares texts as they are stored, so they had another order.
fn check_encoding(conn: &Connection) -> Result<()> {
    let encoding: String = conn.query_row("PRAGMA encoding", (), |row| row.get(0))?;
    if encoding == "UTF-8" {
        return Ok(());
    }
    Err(Failure::new(
        StoreErrorKind::Unavailable,
        format!(
            "the database is in {encoding}, in which keys have another order; give one in UTF-8, or a file of the store's own"
        ),
    ))
}

fn prepare(
    conn: &mut Connection,
    prefix: &str,
    version: i64,
    is_read_only: bool,
    first: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    if version == schema::VERSION {
        return Ok(());
    }
    if is_read_only {
        return Err(Failure::new(
            StoreErrorKind::ReadOnly,
            format!(
                "tables of version {version} must become version {} first; open it once to write",
                schema::VERSION
            ),
        ));
    }
    schema::migrate(conn, prefix, first)
}

/// Switches to a write-ahead log. SQLite does not wait for the lock that this needs, so that two processes that make one file
/// at once would fail.
fn set_wal(conn: &Connection, timeout: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(Failure::new(
                    StoreErrorKind::Unavailable,
                    "the file's file system has no shared memory; use a local disk",
                ));
            }
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < timeout =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a second connection reads what this one sees, and does not hinder its writes. Not so for a database in memory, one
/// without a write-ahead log, or one that needs a key.
fn has_snapshots(database: &Database, options: &SqliteOptions) -> bool {
    let mode = database
        .conn
        .pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    mode.is_ok_and(|mode| mode == "wal")
        && database
            .open_reader(options)
            .is_ok_and(|reader| reader.is_some_and(|reader| reader.meta().is_ok()))
}
