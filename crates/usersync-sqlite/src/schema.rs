//! The tables, their version, and how older versions become the newest.

use rusqlite::{Connection, OptionalExtension};
use usersync_store::StoreErrorKind;

use crate::error::{Failure, Result};

/// What turns version n into version n + 1, in their order; version 0 has no tables. Never changed once published.
const MIGRATIONS: &[&str] = &[
    // Ids are interned: rows are of integers. `subject` is twice the object's id, and one more for a record, so that one integer
    // names it. `content` is one integer for origin, claims and facets together, because few rows differ in them.
    "
    CREATE TABLE {p}meta (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, clock INTEGER NOT NULL)
        STRICT;
    INSERT INTO {p}meta (id, version, clock) VALUES (1, 0, 0);
    CREATE TABLE {p}tenant (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL) STRICT;
    CREATE TABLE {p}system (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE {p}job (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE {p}object (id INTEGER PRIMARY KEY, system INTEGER NOT NULL, name TEXT NOT NULL,
        UNIQUE (system, name)) STRICT;
    CREATE TABLE {p}container (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, system INTEGER NOT NULL,
        name TEXT NOT NULL, UNIQUE (tenant, system, name)) STRICT;
    CREATE TABLE {p}content (id INTEGER PRIMARY KEY, origin INTEGER NOT NULL, claims TEXT NOT NULL,
        facets TEXT NOT NULL, UNIQUE (origin, claims, facets)) STRICT;
    CREATE TABLE {p}ledger (container INTEGER NOT NULL, subject INTEGER NOT NULL, content INTEGER NOT NULL,
        PRIMARY KEY (container, subject)) STRICT, WITHOUT ROWID;
    CREATE TABLE {p}value (tenant INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        revision INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (tenant, kind, name)) STRICT, WITHOUT ROWID;
    CREATE TABLE {p}counter (tenant INTEGER NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,
        PRIMARY KEY (tenant, name)) STRICT, WITHOUT ROWID;
    CREATE TABLE {p}sequence (tenant INTEGER NOT NULL, log TEXT NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (tenant, log)) STRICT, WITHOUT ROWID;
    CREATE TABLE {p}entry (tenant INTEGER NOT NULL, log TEXT NOT NULL, sequence INTEGER NOT NULL,
        name TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (tenant, log, sequence), UNIQUE (tenant, log, name))
        STRICT, WITHOUT ROWID;
    CREATE TABLE {p}lease (tenant INTEGER NOT NULL, name TEXT NOT NULL, token INTEGER NOT NULL,
        expires INTEGER NOT NULL, holder TEXT NOT NULL, released INTEGER NOT NULL, PRIMARY KEY (tenant, name))
        STRICT, WITHOUT ROWID;
    ",
    // Rows that were written before have the lowest revision: whatever is written is of a later one.
    "ALTER TABLE {p}ledger ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;",
    // Two files that have the same stamp have the same ids.
    "
    ALTER TABLE {p}meta ADD COLUMN stamp INTEGER NOT NULL DEFAULT 0;
    UPDATE {p}meta SET stamp = random();
    ",
];

/// The version that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The version of the tables; 0 without tables. Writes nothing.
pub(crate) fn version(conn: &Connection, prefix: &str) -> Result<i64, Failure> {
    let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let meta = format!("{prefix}meta");
    if conn.query_row(exists, [&meta], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    let query = format!("SELECT version FROM {meta} WHERE id = 1");
    let version = conn.query_row(&query, (), |row| row.get(0)).optional()?;
    version.ok_or_else(|| {
        Failure::new(
            StoreErrorKind::Corrupt,
            format!("the table {meta} has no version; restore the database from a backup"),
        )
    })
}

/// Whether tables of this version can be used as they are, or once [`migrate`] was called.
pub(crate) fn check(version: i64) -> Result<(), Failure> {
    check_up_to(version, VERSION)
}

/// Whether tables that were of the newest version when they were opened still are.
pub(crate) fn check_open(version: i64) -> Result<(), Failure> {
    check(version)?;
    if version < VERSION {
        return Err(Failure::new(
            StoreErrorKind::Unavailable,
            format!(
                "the tables are of version {version} again, as those of an older backup are; open the store again, which brings them \
                 to version {VERSION}"
            ),
        ));
    }
    Ok(())
}

/// Brings the tables to the newest version, all or nothing. `prepare` runs before the first change, inside the transaction.
pub(crate) fn migrate(
    conn: &mut Connection,
    prefix: &str,
    prepare: impl FnOnce(&Connection) -> Result<(), Failure>,
) -> Result<(), Failure> {
    migrate_by(conn, prefix, MIGRATIONS, prepare)
}

fn check_up_to(version: i64, newest: i64) -> Result<(), Failure> {
    if version > newest {
        return Err(Failure::new(
            StoreErrorKind::NewerFormat,
            format!(
                "tables of version {version}; this program reads up to version {newest}, so use a newer one"
            ),
        ));
    }
    if version < 0 {
        return Err(Failure::new(
            StoreErrorKind::Corrupt,
            format!("version {version} of the tables never was; restore the database from a backup"),
        ));
    }
    Ok(())
}

fn migrate_by(
    conn: &mut Connection,
    prefix: &str,
    migrations: &[&str],
    prepare: impl FnOnce(&Connection) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let newest = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Read anew: somebody else may have migrated until the lock was given.
    let version = version(&transaction, prefix)?;
    check_up_to(version, newest)?;
    if version == newest {
        return Ok(());
    }
    prepare(&transaction)?;
    let done = usize::try_from(version).unwrap_or(0);
    for script in &migrations[done..] {
        transaction.execute_batch(&script.replace("{p}", prefix))?;
    }
    let query = format!("UPDATE {prefix}meta SET version = ?1 WHERE id = 1");
    transaction.execute(&query, [newest])?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(conn: &mut Connection, migrations: &[&str]) -> Result<(), Failure> {
        migrate_by(conn, "t_", migrations, |_| Ok(()))
    }

    #[test]
    fn each_migration_runs_once_and_in_order() {
        let second = "ALTER TABLE {p}job ADD COLUMN note TEXT NOT NULL DEFAULT 'none'";
        let third = "UPDATE {p}job SET note = note || '!'";
        let mut conn = Connection::open_in_memory().unwrap();
        migrated(&mut conn, &MIGRATIONS[..1]).unwrap();
        conn.execute("INSERT INTO t_job (name) VALUES ('kept')", ())
            .unwrap();
        let all = [MIGRATIONS[0], second, third];
        for _ in 0..2 {
            migrated(&mut conn, &all).unwrap();
            assert_eq!(version(&conn, "t_").unwrap(), 3);
        }
        let note: String = conn
            .query_row("SELECT note FROM t_job WHERE name = 'kept'", (), |row| row.get(0))
            .unwrap();
        assert_eq!(note, "none!");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_old_version() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrated(&mut conn, &MIGRATIONS[..1]).unwrap();
        let all = [MIGRATIONS[0], "DROP TABLE {p}job", "no SQL"];
        assert_eq!(
            migrated(&mut conn, &all).unwrap_err().kind(),
            StoreErrorKind::Corrupt
        );
        assert_eq!(version(&conn, "t_").unwrap(), 1);
        conn.execute("INSERT INTO t_job (name) VALUES ('kept')", ())
            .unwrap();
    }

    #[test]
    fn a_newer_version_is_refused_without_a_change() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrated(&mut conn, MIGRATIONS).unwrap();
        let newer = VERSION + 1;
        conn.execute("UPDATE t_meta SET version = ?1", [newer]).unwrap();
        let before = conn.total_changes();
        assert_eq!(
            migrated(&mut conn, MIGRATIONS).unwrap_err().kind(),
            StoreErrorKind::NewerFormat
        );
        assert_eq!(
            (version(&conn, "t_").unwrap(), conn.total_changes()),
            (newer, before)
        );
    }

    #[test]
    fn equal_files_get_other_stamps() {
        let stamps = [(); 2].map(|()| {
            let mut conn = Connection::open_in_memory().unwrap();
            migrated(&mut conn, &MIGRATIONS[..2]).unwrap();
            migrated(&mut conn, MIGRATIONS).unwrap();
            conn.query_row("SELECT stamp FROM t_meta", (), |row| row.get::<_, i64>(0))
                .unwrap()
        });
        assert_ne!(stamps[0], stamps[1]);
    }

    /// Rows without a revision are older than all that is written from then on.
    #[test]
    fn rows_of_the_first_version_get_the_lowest_revision() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrated(&mut conn, &MIGRATIONS[..1]).unwrap();
        conn.execute(
            "INSERT INTO t_ledger (container, subject, content) VALUES (1, 2, 3)",
            (),
        )
        .unwrap();
        migrated(&mut conn, MIGRATIONS).unwrap();
        let row = conn.query_row(
            "SELECT container, subject, content, revision FROM t_ledger",
            (),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        );
        assert_eq!(row.unwrap(), (1, 2, 3, 0));
    }
}
