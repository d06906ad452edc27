//! Two handles and two processes on one file.

use std::path::Path;
use std::time::Duration;

use futures::executor::block_on;
use usersync_sqlite::{SqliteOptions, SqliteStore};
use usersync_store::{Check, FencingToken, LeaseName, Log, StateRead, StateStore, StoreErrorKind, Write};

use crate::support::{
    Folder, acme, add, all, bytes, child, commit, key, kind, member, open, ours, put, rows, transaction,
};

const VARIABLE: &str = "USERSYNC_SQLITE_TOGETHER";
const TURNS: u64 = 60;

#[test]
fn two_handles_see_each_others_commits() {
    let folder = Folder::new();
    let (one, two) = (open(&folder.file()), open(&folder.file()));
    for n in 0..20_u8 {
        let (writing, reading) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let row = Write::Ledger {
            key: member(&format!("team-{}", n % 3), &format!("user-{n}")),
            row: Some(ours(&format!("job-{}", n % 5))),
        };
        commit(writing, vec![put("n", &[n]), row]).unwrap();
        assert_eq!(bytes(reading, "n").unwrap(), [n]);
        assert_eq!(rows(reading), rows(writing));
        assert_eq!(rows(reading).len(), usize::from(n) + 1);
    }
}

#[test]
fn a_lease_is_held_against_other_handles() {
    let folder = Folder::new();
    let (one, two) = (open(&folder.file()), open(&folder.file()));
    let name = LeaseName {
        tenant: acme(),
        key: key("job"),
    };
    let minute = Duration::from_secs(60);
    let lease = block_on(one.acquire(&name, "one", minute)).unwrap();
    let held = block_on(two.acquire(&name, "two", minute));
    assert!(held.as_ref().unwrap_err().to_string().contains("\"one\""));
    assert_eq!(kind(held), Some(StoreErrorKind::Held));
    block_on(one.release(&lease)).unwrap();
    let next = block_on(two.acquire(&name, "two", minute)).unwrap();
    assert_eq!((lease.token, next.token), (FencingToken(1), FencingToken(2)));
    let late = transaction(vec![put("late", b"")]).under(lease.fence());
    assert_eq!(kind(block_on(one.commit(late))), Some(StoreErrorKind::Fenced));
}

/// Takes turns of a lease, and counts under each one's fence by reading and writing back.
fn take_turns(path: &Path, holder: &str) {
    let options = SqliteOptions::default().with_busy_timeout(Duration::from_secs(60));
    let store = SqliteStore::open(path, options).unwrap();
    let name = LeaseName {
        tenant: acme(),
        key: key("job"),
    };
    for turn in 0..TURNS {
        let lease = loop {
            match block_on(store.acquire(&name, holder, Duration::from_secs(3600))) {
                Ok(lease) => break lease,
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Held, "{error}"),
            }
            std::thread::yield_now();
        };
        let count = bytes(&store, "count").map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        let mut counted = transaction(vec![
            put("count", &(count + 1).to_be_bytes()),
            add(holder, 1),
            Write::Append {
                log: Log::Audit,
                key: key(&format!("{holder}-{turn}")),
                bytes: lease.token.0.to_be_bytes().to_vec(),
            },
            Write::Ledger {
                key: member(&format!("team-{turn}"), holder),
                row: Some(ours(&format!("job-{turn}"))),
            },
        ])
        .under(lease.fence());
        counted.check(Check::AtMost {
            counters: vec![key(holder)],
            limit: turn + 1,
        });
        block_on(store.commit(counted)).unwrap();
        block_on(store.release(&lease)).unwrap();
    }
}

#[test]
fn two_processes_take_turns() {
    if let Some(path) = std::env::var_os(VARIABLE) {
        take_turns(Path::new(&path), "child");
        return;
    }
    let folder = Folder::new();
    // Both make the file at once, if they can.
    let mut other = child(
        "processes::two_processes_take_turns",
        VARIABLE,
        folder.file().as_os_str(),
    )
    .stdout(std::process::Stdio::null())
    .spawn()
    .unwrap();
    take_turns(&folder.file(), "parent");
    assert!(other.wait().unwrap().success());
    let store = open(&folder.file());
    assert_eq!(bytes(&store, "count").unwrap(), (2 * TURNS).to_be_bytes());
    let entries = all(store.log(&acme(), Log::Audit, 0)).unwrap();
    let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (1..=2 * TURNS).collect::<Vec<_>>());
    // Nobody had a token that somebody else had, and later ones are higher.
    assert!(entries.is_sorted_by(|a, b| a.bytes < b.bytes));
    assert_eq!(rows(&store).len() as u64, 2 * TURNS);
    assert!(block_on(store.check_integrity()).unwrap().is_empty());
}
