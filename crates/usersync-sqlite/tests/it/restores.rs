//! A database that goes back to what it was, or begins anew, while handles are open: nobody is taken for somebody else.

use std::path::Path;

use futures::StreamExt;
use futures::executor::block_on;
use rusqlite::backup::Progress;
use rusqlite::{Connection, MAIN_DB};
use usersync_model::TenantId;
use usersync_sqlite::{SqliteStore, TablePrefix};
use usersync_store::{LedgerKey, StateRead, StateStore, StoreErrorKind, Table, Transaction, Write};

use crate::support::{Folder, acme, all, key, kind, member, open, options, ours, put, tenant, works};

/// A store that keeps its tables in a host's database.
fn hosted(path: &Path) -> SqliteStore {
    let conn = Connection::open(path).unwrap();
    SqliteStore::with_connection(conn, &TablePrefix::new("sync_").unwrap(), options()).unwrap()
}

fn back_up(host: &Connection, folder: &Folder) {
    let backup = folder.join("backup");
    host.backup(MAIN_DB, backup, None::<fn(Progress)>).unwrap();
}

/// By SQLite's own means, as a database in use has to be.
fn restore(host: &mut Connection, folder: &Folder) {
    let backup = folder.join("backup");
    host.restore(MAIN_DB, backup, None::<fn(Progress)>).unwrap();
}

fn set(of: &str, who: &str, job: &str) -> Write {
    Write::Ledger {
        key: member(of, who),
        row: Some(ours(job)),
    }
}

fn commit(store: &SqliteStore, tenant: &TenantId, writes: Vec<Write>) {
    let transaction = Transaction {
        writes,
        ..Transaction::new(tenant.clone())
    };
    block_on(store.commit(transaction)).unwrap();
}

/// A tenant's rows, with the jobs that claim them, and its only value.
fn seen(store: &SqliteStore, tenant: &TenantId) -> (Vec<(LedgerKey, String)>, Option<Vec<u8>>) {
    let rows = all(store.ledger(tenant, None)).unwrap();
    let claims = |entry: usersync_store::LedgerEntry| (entry.key, entry.row.claims()[0].to_string());
    let value = block_on(store.value(tenant, Table::Base, &key("own"))).unwrap();
    (
        rows.into_iter().map(claims).collect(),
        value.map(|value| value.bytes),
    )
}

/// One tenant's row and value, all of it named by `name`.
fn own(name: &str) -> Vec<Write> {
    let (of, who, job) = (
        format!("team-{name}"),
        format!("user-{name}"),
        format!("job-{name}"),
    );
    vec![set(&of, &who, &job), put("own", name.as_bytes())]
}

fn owned(name: &str) -> (Vec<(LedgerKey, String)>, Option<Vec<u8>>) {
    let key = member(&format!("team-{name}"), &format!("user-{name}"));
    (vec![(key, format!("job-{name}"))], Some(name.as_bytes().to_vec()))
}

/// What `first` remembers of acme is not true any more: `second` has given all that acme's ids were to beta.
fn acme_is_not_beta(first: &SqliteStore, second: &SqliteStore, told: &str) {
    let (acme, beta) = (acme(), tenant("beta"));
    commit(second, &beta, own("beta"));
    assert_eq!(seen(first, &acme), (vec![], None), "{told}: what acme reads");
    assert_eq!(seen(first, &beta), owned("beta"), "{told}: what beta reads");
    let row = block_on(first.ledger_row(&acme, &member("team-acme", "user-acme")));
    assert_eq!(row.unwrap(), None, "{told}");
    commit(first, &acme, own("acme"));
    for store in [first, second] {
        assert_eq!(seen(store, &acme), owned("acme"), "{told}");
        assert_eq!(seen(store, &beta), owned("beta"), "{told}");
        assert_eq!(block_on(store.check_integrity()).unwrap(), [], "{told}");
    }
}

#[test]
fn a_backup_that_is_restored_under_an_open_handle_mixes_nobody_up() {
    type Open = fn(&Path) -> SqliteStore;
    for (told, opened) in [("a file", open as Open), ("a host's file", hosted)] {
        let folder = Folder::new();
        let first = opened(&folder.file());
        commit(&first, &tenant("base"), own("base"));
        let mut host = Connection::open(folder.file()).unwrap();
        back_up(&host, &folder);
        commit(&first, &acme(), own("acme"));
        assert_eq!(seen(&first, &acme()), owned("acme"));
        restore(&mut host, &folder);
        acme_is_not_beta(&first, &opened(&folder.file()), told);
        assert_eq!(seen(&first, &tenant("base")), owned("base"));
    }
}

#[test]
fn tables_that_are_made_anew_under_an_open_handle_mix_nobody_up() {
    for mode in ["wal", "delete"] {
        let folder = Folder::new();
        let host = Connection::open(folder.file()).unwrap();
        host.pragma_update(None, "journal_mode", mode).unwrap();
        let first = hosted(&folder.file());
        commit(&first, &acme(), own("acme"));
        assert_eq!(seen(&first, &acme()), owned("acme"));
        let query =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'sync\\_%' ESCAPE '\\'";
        let mut statement = host.prepare(query).unwrap();
        let names = statement.query_map((), |row| row.get::<_, String>(0)).unwrap();
        let names: Vec<_> = names.map(Result::unwrap).collect();
        drop(statement);
        for name in names {
            host.execute_batch(&format!("DROP TABLE {name}")).unwrap();
        }
        acme_is_not_beta(&first, &hosted(&folder.file()), mode);
    }
}

/// A stream goes on in the past that it was asked for in, and the handle does not.
#[test]
fn a_stream_that_was_begun_before_a_restore_shows_what_was_there_then() {
    let folder = Folder::new();
    let first = open(&folder.file());
    commit(&first, &acme(), own("acme"));
    let mut host = Connection::open(folder.file()).unwrap();
    back_up(&host, &folder);
    let many = |job: &str| {
        let row = |n| set("team", &format!("user-{n}"), &format!("{job}-{n}"));
        (0..4000).map(row).collect()
    };
    commit(&first, &acme(), many("before"));
    let before = seen(&first, &acme());
    // The caches hold nothing of the rows yet.
    drop(first);
    let first = open(&folder.file());
    let mut stream = first.ledger(&acme(), None);
    let mut streamed = block_on(stream.next()).unwrap().unwrap();
    restore(&mut host, &folder);
    let second = open(&folder.file());
    commit(&second, &acme(), many("after"));
    let after = seen(&second, &acme());
    assert_eq!(after.0.len(), 4001);
    assert!(seen(&first, &acme()) == after, "the handle is in the past");
    streamed.extend(all(stream).unwrap());
    let streamed = streamed.into_iter();
    let streamed: Vec<_> = streamed
        .map(|entry| (entry.key, entry.row.claims()[0].to_string()))
        .collect();
    assert!(streamed == before.0, "the stream left its moment");
    assert!(seen(&first, &acme()) == after, "the handle followed the stream");
}

#[test]
fn a_backup_of_an_older_version_is_refused_until_the_store_is_opened_anew() {
    let folder = Folder::new();
    let first = open(&folder.file());
    commit(&first, &tenant("base"), own("base"));
    let mut host = Connection::open(folder.file()).unwrap();
    back_up(&host, &folder);
    Connection::open(folder.join("backup"))
        .unwrap()
        .execute_batch("ALTER TABLE meta DROP COLUMN stamp; UPDATE meta SET version = 2")
        .unwrap();
    commit(&first, &acme(), own("acme"));
    restore(&mut host, &folder);
    let read = block_on(first.value(&acme(), Table::Base, &key("own")));
    assert!(
        read.as_ref()
            .unwrap_err()
            .to_string()
            .contains("open the store again"),
        "{read:?}"
    );
    let written = block_on(first.commit(Transaction {
        writes: own("acme"),
        ..Transaction::new(acme())
    }));
    assert_eq!(kind(written), Some(StoreErrorKind::Unavailable));
    assert_eq!(
        kind(all(first.ledger(&acme(), None))),
        Some(StoreErrorKind::Unavailable)
    );
    acme_is_not_beta(&first, &open(&folder.file()), "after a migration");
}

/// A transaction that makes no name costs no write more than its own.
#[test]
fn only_new_names_are_stamped() {
    let folder = Folder::new();
    let store = open(&folder.file());
    let conn = Connection::open(folder.file()).unwrap();
    let stamp = || -> i64 {
        conn.query_row("SELECT stamp FROM meta", (), |row| row.get(0))
            .unwrap()
    };
    commit(&store, &acme(), own("acme"));
    let before = stamp();
    commit(&store, &acme(), own("acme"));
    works(&store);
    assert_eq!(stamp(), before);
    for writes in [
        vec![set("team-new", "user-acme", "job-acme")],
        vec![set("team-acme", "user-new", "job-acme")],
        vec![set("team-acme", "user-acme", "job-new")],
    ] {
        let before = stamp();
        commit(&store, &acme(), writes);
        assert_ne!(stamp(), before);
    }
    let before = stamp();
    commit(&store, &tenant("new"), vec![put("own", b"")]);
    assert_ne!(stamp(), before);
}
