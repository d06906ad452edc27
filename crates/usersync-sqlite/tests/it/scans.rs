//! Streams: their order, their snapshot, what becomes of them when they or the store are dropped.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::executor::block_on;
use usersync_model::{ContainerRef, PrincipalRef, RecordRef, Subject};
use usersync_store::{Key, LedgerKey, StateRead, StoreErrorKind, Table, Write};

use crate::support::{Folder, Random, acme, all, commit, kind, open, ours, put, rows, works};

/// Ids whose order by text differs from that of their making.
fn place(random: &mut Random) -> LedgerKey {
    let system = ["share", "Share", "events", "é"][random.below(4) as usize];
    // One container is much larger than a page of rows.
    let object = if random.below(3) == 0 {
        "large".to_owned()
    } else {
        format!("team-{}", random.below(700))
    };
    let who = format!("{:x}", random.below(20_000));
    let from = ["directory", "crm"][random.below(2) as usize];
    let subject = if random.below(2) == 0 {
        Subject::Principal(PrincipalRef::parse(from, &who).unwrap())
    } else {
        Subject::Record(RecordRef::parse(from, &who).unwrap())
    };
    LedgerKey {
        container: ContainerRef::parse(system, &object).unwrap(),
        subject,
    }
}

#[test]
fn ledger_rows_ascend_over_systems_containers_and_pages() {
    let folder = Folder::new();
    let store = open(&folder.file());
    let mut random = Random::new(1);
    let mut expected = BTreeMap::new();
    for n in 0..40_000 {
        expected.insert(place(&mut random), ours(&format!("job-{}", n % 30)));
    }
    // Made in an order that is neither that of the texts nor its reverse.
    let mut made: Vec<_> = expected.clone().into_iter().collect();
    made.sort_by_cached_key(|(key, _)| random.below(1 << 40) ^ key.container.object.as_str().len() as u64);
    for part in made.chunks(4000) {
        let writes = part.iter().map(|(key, row)| Write::Ledger {
            key: key.clone(),
            row: Some(row.clone()),
        });
        commit(&store, writes.collect()).unwrap();
    }
    let largest = expected
        .keys()
        .filter(|key| key.container.object.as_str() == "large");
    assert!(largest.count() > 8192);
    let seen: Vec<_> = rows(&store)
        .into_iter()
        .map(|entry| (entry.key, entry.row))
        .collect();
    assert!(
        seen.into_iter().eq(expected.clone()),
        "another order or other rows"
    );
    let some: Vec<_> = ["team-7", "large", "team-70", "team-7"]
        .iter()
        .map(|object| ContainerRef::parse("é", object).unwrap())
        .collect();
    let seen = all(store.ledger(&acme(), Some(some.clone()))).unwrap();
    let expected = expected
        .into_iter()
        .filter(|(key, _)| some.contains(&key.container));
    assert!(seen.into_iter().map(|entry| (entry.key, entry.row)).eq(expected));
}

#[test]
fn containers_that_were_emptied_end_no_scan() {
    let folder = Folder::new();
    let store = open(&folder.file());
    let key = |n: u32| crate::support::member(&format!("team-{n:04}"), "ada");
    let write = |n, row| Write::Ledger { key: key(n), row };
    commit(&store, (0..2000).map(|n| write(n, Some(ours("job")))).collect()).unwrap();
    commit(&store, (0..1999).map(|n| write(n, None)).collect()).unwrap();
    let seen: Vec<_> = rows(&store).into_iter().map(|entry| entry.key).collect();
    assert_eq!(seen, [key(1999)]);
}

#[test]
fn large_values_come_in_small_chunks() {
    let folder = Folder::new();
    let store = open(&folder.file());
    let writes = (0..12).map(|n| put(&format!("{n:02}"), &vec![n; 400_000]));
    commit(&store, writes.collect()).unwrap();
    let chunks: Vec<_> = block_on(store.values(&acme(), Table::Base, &Key::of(&[])).collect());
    let sizes: Vec<_> = chunks.into_iter().map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(sizes, [3, 3, 3, 3]);
}

#[test]
fn streams_that_are_dropped_leave_nothing_open() {
    let folder = Folder::new();
    let store = open(&folder.file());
    commit(&store, (0..5000).map(|n| put(&format!("{n}"), b"")).collect()).unwrap();
    for n in 0..200 {
        let mut stream = store.values(&acme(), Table::Base, &Key::of(&[]));
        if n % 2 == 0 {
            block_on(stream.next()).unwrap().unwrap();
        }
    }
    works(&store);
    let open_files = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter(|entry| {
            let path = entry
                .as_ref()
                .ok()
                .and_then(|entry| std::fs::read_link(entry.path()).ok());
            path.is_some_and(|path| path == folder.file())
        });
    // The store's own connection and the few that it keeps for streams.
    assert!(open_files.count() <= 1 + 4 + 1);
    // No snapshot holds the log back: it is taken into the file when the last connection closes.
    drop(store);
    let mut log = folder.file().into_os_string();
    log.push("-wal");
    assert!(!std::path::Path::new(&log).exists());
}

#[test]
fn a_stream_read_after_the_store_was_dropped_tells_so() {
    let folder = Folder::new();
    let store = open(&folder.file());
    commit(&store, (0..5000).map(|n| put(&format!("{n}"), b"")).collect()).unwrap();
    let mut stream = store.values(&acme(), Table::Base, &Key::of(&[]));
    block_on(stream.next()).unwrap().unwrap();
    let late = store.clone();
    drop(store);
    works(&late);
    drop(late);
    assert_eq!(kind(all(stream)), Some(StoreErrorKind::Unavailable));
    works(&open(&folder.file()));
}
