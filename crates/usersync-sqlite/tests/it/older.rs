//! Files of older versions.

use futures::executor::block_on;
use rusqlite::Connection;
use usersync_store::{Check, StateStore, StoreErrorKind, Write};

use super::support::{Folder, kind, member, open, ours, rows, transaction, works};

/// In the first version, ledger rows had no revision.
#[test]
fn rows_of_the_first_version_are_older_than_whatever_is_written() {
    let folder = Folder::new();
    let set = || Write::Ledger {
        key: member("team", "ada"),
        row: Some(ours("job")),
    };
    let store = open(&folder.file());
    block_on(store.commit(transaction(vec![set()]))).unwrap();
    drop(store);
    let conn = Connection::open(folder.file()).unwrap();
    conn.execute_batch(
        "ALTER TABLE ledger DROP COLUMN revision; ALTER TABLE meta DROP COLUMN stamp; UPDATE meta SET version = 1;",
    )
    .unwrap();
    drop(conn);
    let store = open(&folder.file());
    works(&store);
    let seen = rows(&store);
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].row, seen[0].revision), (&ours("job"), 0));
    let mut as_of_then = transaction(vec![set()]);
    as_of_then.check(Check::Ledger {
        key: member("team", "ada"),
        row: Some(ours("job")),
        as_of: Some(0),
    });
    block_on(store.commit(as_of_then.clone())).unwrap();
    assert!(rows(&store)[0].revision > 0);
    assert_eq!(
        kind(block_on(store.commit(as_of_then))),
        Some(StoreErrorKind::Conflict)
    );
    assert_eq!(block_on(store.check_integrity()).unwrap(), []);
}

/// In the second version, nothing told whether the ids of a handle were those of the file.
#[test]
fn a_file_of_the_second_version_keeps_its_content_and_is_stamped() {
    let folder = Folder::new();
    let set = |who| Write::Ledger {
        key: member("team", who),
        row: Some(ours("job")),
    };
    let store = open(&folder.file());
    block_on(store.commit(transaction(vec![set("ada")]))).unwrap();
    let before = rows(&store);
    drop(store);
    let conn = Connection::open(folder.file()).unwrap();
    conn.execute_batch("ALTER TABLE meta DROP COLUMN stamp; UPDATE meta SET version = 2;")
        .unwrap();
    let store = open(&folder.file());
    assert_eq!(rows(&store), before);
    let stamp = || -> i64 {
        conn.query_row("SELECT stamp FROM meta", (), |row| row.get(0))
            .unwrap()
    };
    let stamped = stamp();
    block_on(store.commit(transaction(vec![set("bob")]))).unwrap();
    assert_ne!(stamp(), stamped);
    assert_eq!(block_on(store.check_integrity()).unwrap(), []);
}
