//! A damaged, foreign, newer, read-only, locked or full file: a clear error, no change, nothing lost.

use std::fs;
use std::path::Path;

use futures::executor::block_on;
use rusqlite::Connection;
use usersync_sqlite::{SqliteStore, TablePrefix};
use usersync_store::{Check, Key, Log, StateRead, StateStore, StoreErrorKind, Transaction, Write};

use crate::support::{
    Folder, acme, all, bytes, commit, key, kind, member, open, options, ours, put, rows, works,
};

/// A file with something in it, closed.
fn filled(folder: &Folder) {
    let store = open(&folder.file());
    commit(&store, vec![put("kept", b"yes")]).unwrap();
    for part in 0..30 {
        let row = |n| Write::Ledger {
            key: member("team", &format!("user-{n}")),
            row: Some(ours("job")),
        };
        let writes =
            (part * 100..part * 100 + 100).flat_map(|n| [row(n), put(&format!("value-{n}"), &[7; 100])]);
        commit(&store, writes.collect()).unwrap();
    }
}

/// Every way to open it fails like this, and leaves the file as it is.
fn is_refused(path: &Path, expected: StoreErrorKind, told: &str) {
    let before = fs::read(path).unwrap();
    for options in [options(), options().read_only()] {
        let error = SqliteStore::open(path, options).unwrap_err();
        assert_eq!(error.kind(), expected, "{path:?}");
        assert!(error.to_string().contains(told), "{error}");
    }
    assert!(fs::read(path).unwrap() == before, "{path:?} was changed");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = Folder::new();
    for (name, content) in [
        ("text", b"dear diary\n".repeat(100)),
        ("zeros", vec![0; 8192]),
        ("short", b"SQLite for".to_vec()),
    ] {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        is_refused(&path, StoreErrorKind::Corrupt, "restore it");
    }
}

#[test]
fn another_programs_database_is_refused() {
    let folder = Folder::new();
    let conn = Connection::open(folder.file()).unwrap();
    conn.execute_batch("CREATE TABLE diary (entry TEXT); INSERT INTO diary VALUES ('dear')")
        .unwrap();
    drop(conn);
    is_refused(&folder.file(), StoreErrorKind::Corrupt, "table prefix");
}

#[test]
fn a_truncated_file_is_refused() {
    let folder = Folder::new();
    filled(&folder);
    let whole = fs::read(folder.file()).unwrap();
    for part in [whole.len() / 2, 4096, 4095, 512, 100, 99, 50] {
        fs::write(folder.file(), &whole[..part]).unwrap();
        is_refused(&folder.file(), StoreErrorKind::Corrupt, "restore it");
    }
    fs::write(folder.file(), &whole).unwrap();
    works(&open(&folder.file()));
}

#[test]
fn damage_is_told_where_it_is_met_and_the_rest_works() {
    let folder = Folder::new();
    filled(&folder);
    let mut content = fs::read(folder.file()).unwrap();
    let page = 4096;
    // All pages but the first ones, which have the schema and the short tables.
    let from = content.len() / page / 2 * page;
    for byte in &mut content[from..] {
        *byte = 0xa5;
    }
    fs::write(folder.file(), &content).unwrap();
    let store = open(&folder.file());
    let ledger = all(store.ledger(&acme(), None)).map(|rows| rows.len());
    let values = all(store.values(
        &acme(),
        usersync_store::Table::Base,
        &usersync_store::Key::of(&[]),
    ));
    let kinds = [kind(ledger), kind(values)];
    assert!(kinds.contains(&Some(StoreErrorKind::Corrupt)), "{kinds:?}");
    let problems = block_on(store.check_integrity()).unwrap();
    assert!(
        problems.iter().any(|problem| problem.code() == "damaged"),
        "{problems:?}"
    );
    // The thread lives on.
    assert_eq!(block_on(store.counter(&acme(), &key("none"))).unwrap(), 0);
}

#[test]
fn a_newer_version_is_refused_also_when_it_comes_while_the_store_is_open() {
    let folder = Folder::new();
    let store = open(&folder.file());
    works(&store);
    let conn = Connection::open(folder.file()).unwrap();
    let version: i64 = conn
        .query_row("SELECT version FROM meta", (), |row| row.get(0))
        .unwrap();
    conn.execute("UPDATE meta SET version = 99", ()).unwrap();
    assert_eq!(
        kind(commit(&store, vec![put("kept", b"no")])),
        Some(StoreErrorKind::NewerFormat)
    );
    let read = block_on(store.counter(&acme(), &key("c")));
    assert_eq!(kind(read), Some(StoreErrorKind::NewerFormat));
    let scan = all(store.log(&acme(), Log::Audit, 0));
    assert_eq!(kind(scan), Some(StoreErrorKind::NewerFormat));
    drop(store);
    drop(conn);
    is_refused(&folder.file(), StoreErrorKind::NewerFormat, "99");
    Connection::open(folder.file())
        .unwrap()
        .execute("UPDATE meta SET version = ?1", [version])
        .unwrap();
    works(&open(&folder.file()));
}

#[test]
fn tables_that_somebody_changed_are_told_as_damage() {
    let folder = Folder::new();
    let store = open(&folder.file());
    works(&store);
    let conn = Connection::open(folder.file()).unwrap();
    conn.execute("DROP TABLE counter", ()).unwrap();
    let read = block_on(store.counter(&acme(), &key("c")));
    assert_eq!(kind(read), Some(StoreErrorKind::Corrupt));
    works(&store);
}

/// Each is met by some call, is told as damage by it, and ends nothing else.
#[test]
fn rows_that_make_no_sense_are_told_as_damage() {
    let name = usersync_store::LeaseName {
        tenant: acme(),
        key: key("job"),
    };
    let minute = std::time::Duration::from_secs(60);
    for damage in [
        "UPDATE object SET name = ''",
        "UPDATE object SET name = char(7)",
        "UPDATE object SET name = CAST(x'ff' AS TEXT)",
        "UPDATE system SET name = name || char(7)",
        "UPDATE job SET name = CAST(x'ff' AS TEXT)",
        "UPDATE container SET name = CAST(x'ff' AS TEXT)",
        "UPDATE content SET claims = 'x,'",
        "UPDATE content SET claims = '99,'",
        "UPDATE ledger SET subject = -1",
        "UPDATE value SET name = CAST(x'ff' AS TEXT)",
        "UPDATE entry SET name = CAST(x'ff' AS TEXT)",
        "UPDATE lease SET expires = 9223372036854775807",
        "UPDATE meta SET clock = 9223372036854775807",
        "DELETE FROM meta",
    ] {
        let folder = Folder::new();
        let store = open(&folder.file());
        let append = Write::Append {
            log: Log::Audit,
            key: key("deed"),
            bytes: vec![],
        };
        let set = Write::Ledger {
            key: member("team", "ada"),
            row: Some(ours("job")),
        };
        commit(&store, vec![put("kept", b"yes"), append, set]).unwrap();
        block_on(store.acquire(&name, "worker", minute)).unwrap();
        drop(store);
        let conn = Connection::open(folder.file()).unwrap();
        conn.execute_batch(damage).unwrap();
        let told = |store: &SqliteStore| {
            let row = block_on(store.ledger_row(&acme(), &member("team", "ada")));
            let rows = all(store.ledger(&acme(), None));
            let values = all(store.values(&acme(), usersync_store::Table::Base, &Key::of(&[])));
            let entries = all(store.log(&acme(), Log::Audit, 0));
            let lease = block_on(store.acquire(&name, "another", minute));
            let now = block_on(store.now());
            [
                kind(row),
                kind(rows),
                kind(values),
                kind(entries),
                kind(lease),
                kind(now),
            ]
        };
        let Ok(store) = SqliteStore::open(folder.file(), options()) else {
            assert_eq!(damage, "DELETE FROM meta");
            continue;
        };
        for _ in 0..2 {
            let kinds = told(&store);
            assert!(
                kinds.contains(&Some(StoreErrorKind::Corrupt)),
                "{damage}: {kinds:?}"
            );
        }
        commit(&store, vec![put("kept", b"still")]).unwrap();
        block_on(store.check_integrity()).unwrap();
    }
}

#[test]
fn what_only_reads_refuses_every_write_and_reads_everything() {
    let folder = Folder::new();
    filled(&folder);
    let writing = open(&folder.file());
    let name = usersync_store::LeaseName {
        tenant: acme(),
        key: key("job"),
    };
    let minute = std::time::Duration::from_secs(60);
    let lease = block_on(writing.acquire(&name, "worker", minute)).unwrap();
    let store = SqliteStore::open(folder.file(), options().read_only()).unwrap();
    refuses_writes(&store);
    for result in [
        block_on(store.acquire(&name, "worker", minute)).map(drop),
        block_on(store.renew(&lease, minute)).map(drop),
        block_on(store.release(&lease)),
    ] {
        assert_eq!(kind(result), Some(StoreErrorKind::ReadOnly));
    }
    block_on(store.now()).unwrap();
    assert_eq!(rows(&store).len(), 3000);
    // What others commit is seen.
    commit(&writing, vec![put("kept", b"still")]).unwrap();
    assert_eq!(bytes(&store, "kept").unwrap(), b"still");
    assert!(block_on(store.check_integrity()).unwrap().is_empty());
}

fn refuses_writes(store: &SqliteStore) {
    assert_eq!(
        kind(commit(store, vec![put("kept", b"no")])),
        Some(StoreErrorKind::ReadOnly)
    );
    assert_eq!(bytes(store, "kept").unwrap(), b"yes");
}

#[test]
fn a_file_without_the_right_to_write_is_opened_to_read() {
    let folder = Folder::new();
    filled(&folder);
    let mut rights = fs::metadata(folder.file()).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(folder.file(), rights).unwrap();
    // Whoever may do everything does not notice, and gets the same by the option.
    let may_write = fs::OpenOptions::new().append(true).open(folder.file()).is_ok();
    let options = if may_write {
        options().read_only()
    } else {
        options()
    };
    refuses_writes(&SqliteStore::open(folder.file(), options).unwrap());
}

#[test]
fn a_file_to_read_that_is_not_there_or_has_no_tables_is_not_made() {
    let folder = Folder::new();
    let result = SqliteStore::open(folder.file(), options().read_only());
    assert_eq!(kind(result), Some(StoreErrorKind::Unavailable));
    assert!(!folder.file().exists());
    fs::write(folder.file(), "").unwrap();
    let result = SqliteStore::open(folder.file(), options().read_only());
    assert_eq!(kind(result), Some(StoreErrorKind::ReadOnly));
    assert_eq!(fs::metadata(folder.file()).unwrap().len(), 0);
}

#[test]
fn a_path_that_cannot_be_opened_is_unavailable() {
    let folder = Folder::new();
    for path in [folder.join("none/state.db"), folder.to_path_buf(), "a\0b".into()] {
        assert_eq!(
            kind(SqliteStore::open(path, options())),
            Some(StoreErrorKind::Unavailable)
        );
    }
}

#[test]
fn names_that_mean_something_to_sqlite_are_plain_files() {
    let folder = Folder::new();
    for name in [":memory:", "file:x?mode=memory"] {
        let path = folder.join(name);
        works(&open(&path));
        assert!(path.exists());
    }
}

#[test]
fn a_locked_file_is_unavailable_and_loses_nothing() {
    let folder = Folder::new();
    filled(&folder);
    let store = open(&folder.file());
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(
        kind(commit(&store, vec![put("kept", b"no")])),
        Some(StoreErrorKind::Unavailable)
    );
    // Reads go on.
    assert_eq!(bytes(&store, "kept").unwrap(), b"yes");
    assert_eq!(rows(&store).len(), 3000);
    other.execute_batch("ROLLBACK").unwrap();
    works(&store);
    drop(store);
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
        .unwrap();
    assert_eq!(
        kind(SqliteStore::open(folder.file(), options())),
        Some(StoreErrorKind::Unavailable)
    );
    drop(other);
    let store = open(&folder.file());
    assert_eq!(bytes(&store, "kept").unwrap(), b"yes");
    works(&store);
}

#[test]
fn a_full_database_takes_what_fits_and_loses_nothing() {
    let folder = Folder::new();
    let conn = Connection::open(folder.file()).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA max_page_count = 100")
        .unwrap();
    let store = SqliteStore::with_connection(conn, &TablePrefix::new("s_").unwrap(), options()).unwrap();
    commit(&store, vec![put("kept", b"yes")]).unwrap();
    let large = || put("large", &[7; 1 << 20]);
    let too_much = || commit(&store, vec![put("kept", b"no"), large()]);
    assert_eq!(kind(too_much()), Some(StoreErrorKind::Full));
    assert_eq!(bytes(&store, "kept").unwrap(), b"yes");
    // In one batch with others, only the one that does not fit fails.
    let results = block_on(futures::future::join_all((0..20).map(|n| {
        let mut transaction = Transaction::new(acme());
        transaction.write(put(&format!("small-{n}"), b"fits"));
        if n == 7 {
            transaction.write(large());
        }
        transaction.check(Check::Value {
            table: usersync_store::Table::Base,
            key: key("never"),
            revision: (n == 9).then_some(1),
        });
        store.commit(transaction)
    })));
    for (n, result) in results.into_iter().enumerate() {
        let expected = match n {
            7 => Some(StoreErrorKind::Full),
            9 => Some(StoreErrorKind::Conflict),
            _ => None,
        };
        assert_eq!(kind(result), expected, "{n}");
        let is_there = bytes(&store, &format!("small-{n}")).is_some();
        assert_eq!(is_there, expected.is_none(), "{n}");
    }
    drop(store);
    let conn = Connection::open(folder.file()).unwrap();
    let store = SqliteStore::with_connection(conn, &TablePrefix::new("s_").unwrap(), options()).unwrap();
    commit(&store, vec![large()]).unwrap();
    assert_eq!(bytes(&store, "kept").unwrap(), b"yes");
    assert!(block_on(store.check_integrity()).unwrap().is_empty());
}

#[test]
fn ids_of_a_transaction_that_was_undone_are_not_remembered() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("PRAGMA max_page_count = 100").unwrap();
    let store = SqliteStore::with_connection(conn, &TablePrefix::new("s_").unwrap(), options()).unwrap();
    let row = |n: u32| Write::Ledger {
        key: member(&format!("team-{n}"), &format!("user-{n}")),
        row: Some(ours(&format!("job-{n}"))),
    };
    for n in 0..3 {
        let too_much = vec![row(n), put("large", &[7; 1 << 20])];
        assert_eq!(kind(commit(&store, too_much)), Some(StoreErrorKind::Full));
    }
    for n in [2, 0, 1] {
        commit(&store, vec![row(n)]).unwrap();
    }
    let seen = rows(&store).into_iter().map(|entry| (entry.key, Some(entry.row)));
    let expected = (0..3).map(|n| match row(n) {
        Write::Ledger { key, row } => (key, row),
        other => unreachable!("{other:?}"),
    });
    assert!(seen.eq(expected));
}

#[test]
fn a_full_database_has_no_room_for_tables() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE hosts (own TEXT); PRAGMA max_page_count = 6")
        .unwrap();
    let result = SqliteStore::with_connection(conn, &TablePrefix::new("s_").unwrap(), options());
    assert_eq!(kind(result), Some(StoreErrorKind::Full));
}

#[test]
fn a_store_shows_nothing_of_its_content() {
    let folder = Folder::new();
    let store = open(&folder.file());
    commit(&store, vec![put("kept", b"yes")]).unwrap();
    assert_eq!(format!("{store:?}"), "SqliteStore { .. }");
}
