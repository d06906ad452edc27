//! A host's own database: only the store's tables are touched, and the host goes on with its own.

use std::path::Path;

use futures::executor::block_on;
use rusqlite::Connection;
use usersync_sqlite::{SqliteStore, TablePrefix, TablePrefixError};
use usersync_store::{StateStore, Write};

use crate::support::{Folder, bytes, commit, member, options, ours, put, rows, works};

fn prefix(text: &str) -> TablePrefix {
    TablePrefix::new(text).unwrap()
}

#[test]
fn prefixes_are_checked() {
    for (text, expected) in [
        ("usersync_", None),
        ("a", None),
        ("x9", None),
        ("", Some(TablePrefixError::Start)),
        ("9x", Some(TablePrefixError::Start)),
        ("_x", Some(TablePrefixError::Start)),
        ("Sync_", Some(TablePrefixError::Character { at: 0 })),
        ("a b", Some(TablePrefixError::Character { at: 1 })),
        ("a;--", Some(TablePrefixError::Character { at: 1 })),
        ("aé", Some(TablePrefixError::Character { at: 1 })),
        ("a\"", Some(TablePrefixError::Character { at: 1 })),
        ("sqlite_", Some(TablePrefixError::Reserved)),
        (&"a".repeat(32), None),
        (&"a".repeat(33), Some(TablePrefixError::TooLong { len: 33 })),
    ] {
        assert_eq!(TablePrefix::new(text).err(), expected, "{text:?}");
    }
}

#[test]
fn the_hosts_tables_and_settings_stay_as_they_are() {
    let folder = Folder::new();
    for mode in ["wal", "delete"] {
        let host = Connection::open(folder.join(mode)).unwrap();
        host.pragma_update(None, "journal_mode", mode).unwrap();
        host.execute_batch(
            "PRAGMA user_version = 7; PRAGMA application_id = 9;
             CREATE TABLE event (name TEXT); INSERT INTO event VALUES ('picnic')",
        )
        .unwrap();
        let conn = Connection::open(folder.join(mode)).unwrap();
        let store = SqliteStore::with_connection(conn, &prefix("sync_"), options()).unwrap();
        works(&store);
        host.execute("INSERT INTO event VALUES ('meeting')", ()).unwrap();
        works(&store);
        let settings: (i64, i64, String) = host
            .query_row(
                "SELECT * FROM pragma_user_version, pragma_application_id, pragma_journal_mode",
                (),
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(settings, (7, 9, mode.to_owned()));
        let names = "SELECT count(*) FROM sqlite_schema
            WHERE type = 'table' AND name <> 'event' AND name NOT LIKE 'sync\\_%' ESCAPE '\\'";
        let others: i64 = host.query_row(names, (), |row| row.get(0)).unwrap();
        assert_eq!(others, 0);
        assert!(block_on(store.check_integrity()).unwrap().is_empty());
    }
}

#[test]
fn a_connection_in_a_transaction_is_refused() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("BEGIN").unwrap();
    let error = SqliteStore::with_connection(conn, &prefix("s_"), options()).unwrap_err();
    assert!(error.to_string().contains("transaction"), "{error}");
}

/// SQLite compares texts as they are stored, and in UTF-16 that is another order than the one of keys.
#[test]
fn a_database_in_utf_16_is_refused() {
    let folder = Folder::new();
    let host = |path: &Path, table: &str| {
        let conn = Connection::open(path).unwrap();
        conn.execute_batch(&format!("PRAGMA encoding = 'UTF-16le'; {table}"))
            .unwrap();
        conn
    };
    let conn = host(&folder.file(), "CREATE TABLE event (name TEXT)");
    let hosted = SqliteStore::with_connection(conn, &prefix("s_"), options());
    let emptied = "CREATE TABLE event (name TEXT); DROP TABLE event";
    drop(host(&folder.join("empty"), emptied));
    let own = SqliteStore::open(folder.join("empty"), options());
    for result in [hosted, own] {
        let told = result.as_ref().map_err(ToString::to_string);
        assert!(told.is_err_and(|told| told.contains("UTF-8")), "{result:?}");
    }
    let conn = Connection::open(folder.file()).unwrap();
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn two_prefixes_are_two_stores() {
    let folder = Folder::new();
    let [one, two] = ["one_", "two_"].map(|name| {
        let conn = Connection::open(folder.file()).unwrap();
        SqliteStore::with_connection(conn, &prefix(name), options()).unwrap()
    });
    commit(&one, vec![put("kept", b"one")]).unwrap();
    assert_eq!(bytes(&two, "kept"), None);
    commit(&two, vec![put("kept", b"two")]).unwrap();
    assert_eq!(bytes(&one, "kept").unwrap(), b"one");
}

#[test]
fn a_hosts_transaction_and_a_stream_do_not_hinder_each_other() {
    let folder = Folder::new();
    for mode in ["wal", "delete"] {
        let host = Connection::open(folder.join(mode)).unwrap();
        host.pragma_update(None, "journal_mode", mode).unwrap();
        host.execute_batch("CREATE TABLE event (name TEXT)").unwrap();
        let conn = Connection::open(folder.join(mode)).unwrap();
        let store = SqliteStore::with_connection(conn, &prefix("sync_"), options()).unwrap();
        let writes = (0..3000).map(|n| Write::Ledger {
            key: member("team", &format!("user-{n}")),
            row: Some(ours("job")),
        });
        commit(&store, writes.collect()).unwrap();
        let open: &dyn StateStore = &store;
        let mut stream = open.ledger(&crate::support::acme(), None);
        let first = block_on(futures::StreamExt::next(&mut stream)).unwrap().unwrap();
        // Nothing is locked while a stream waits to be read.
        host.execute("INSERT INTO event VALUES ('picnic')", ()).unwrap();
        works(&store);
        let rest = crate::support::all(stream).unwrap();
        assert_eq!(first.len() + rest.len(), 3000, "{mode}");
        assert_eq!(rows(&store).len(), 3000);
    }
}
