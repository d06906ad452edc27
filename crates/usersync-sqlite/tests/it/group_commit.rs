//! Writes that wait together share one wait for the disk, and keep their own results.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures::executor::block_on;
use futures::future::join_all;
use rusqlite::Connection;
use usersync_sqlite::{SqliteOptions, SqliteStore};
use usersync_store::{Check, StateRead, StateStore, StoreErrorKind, Transaction};

use crate::support::{Folder, acme, add, commit, key, kind, open, put, transaction};

/// A conditional write: one more, if there are fewer than `limit`.
fn take(limit: u64) -> Transaction {
    let mut transaction = transaction(vec![add("seats", 1)]);
    transaction.check(Check::AtMost {
        counters: vec![key("seats")],
        limit,
    });
    transaction
}

#[test]
fn of_many_at_once_as_many_succeed_as_may() {
    let folder = Folder::new();
    let store = open(&folder.file());
    let results = block_on(join_all((0..500).map(|_| store.commit(take(120)))));
    let (taken, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (120, 380));
    for result in refused {
        assert_eq!(kind(result), Some(StoreErrorKind::Conflict));
    }
    assert_eq!(block_on(store.counter(&acme(), &key("seats"))).unwrap(), 120);
}

#[test]
fn writes_that_wait_together_are_one_transaction_of_sqlite() {
    let folder = Folder::new();
    // The thread stands still in the clock until all writes wait.
    let is_held = Arc::new(AtomicBool::new(false));
    let hold = Arc::clone(&is_held);
    let clock = SqliteOptions::default();
    let options = clock.with_clock(move || {
        while hold.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        chrono::DateTime::UNIX_EPOCH
    });
    let store = SqliteStore::open(folder.file(), options).unwrap();
    commit(&store, vec![put("first", b"")]).unwrap();
    let watch = Connection::open(folder.file()).unwrap();
    let version = || -> i64 {
        watch
            .query_row("PRAGMA data_version", (), |row| row.get(0))
            .unwrap()
    };
    let log = folder.join("state.db-wal");
    let size = || std::fs::metadata(&log).unwrap().len();
    let (before, size_before) = (version(), size());
    is_held.store(true, Ordering::SeqCst);
    let mut calls: Vec<_> = (0..200)
        .map(|n| store.commit(transaction(vec![put(&format!("{n}"), b"")])))
        .collect();
    let mut now = store.now();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(now.as_mut().poll(&mut context).is_pending());
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    is_held.store(false, Ordering::SeqCst);
    block_on(async {
        now.await.unwrap();
        for call in calls {
            call.await.unwrap();
        }
    });
    assert_ne!(version(), before);
    // Each transaction of its own would have written some pages of 4 KiB.
    let written = size() - size_before;
    assert!(written < 200 * 4096, "{written} bytes were written to the log");
}

#[test]
fn what_was_asked_before_the_last_handle_is_dropped_is_done() {
    let folder = Folder::new();
    let store = open(&folder.file());
    let mut calls: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            Box::pin(async move { store.commit(transaction(vec![put(&format!("{n}"), b"")])).await })
        })
        .collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for call in &mut calls {
        let _ = call.as_mut().poll(&mut context);
    }
    drop(calls);
    drop(store);
    let store = open(&folder.file());
    let missing = (0..100).find(|n| crate::support::bytes(&store, &n.to_string()).is_none());
    assert_eq!(missing, None);
}
