//! The store: all or nothing, faults around a commit, leases.

use std::time::Duration;

use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use usersync_memory::{CallKind, Fault, FaultKind, FaultRule, MemoryStore, Moment};
use usersync_model::{ContainerRef, LedgerRow, Origin};
use usersync_store::{
    Check, Chunks, Key, LeaseName, LedgerKey, Log, Result, StateRead, StateStore, StoreErrorKind, Table,
    Transaction, Write,
};

use crate::support::{context, principal, store, tenant};

fn key(name: &str) -> Key {
    Key::of(&[name])
}

fn ledger_key(container: &str, who: &str) -> LedgerKey {
    LedgerKey::member(ContainerRef::parse("share", container).unwrap(), principal(who))
}

fn ours() -> LedgerRow {
    LedgerRow::new(Origin::Ours, [context().job])
}

/// One write of every kind.
fn writes() -> Vec<Write> {
    vec![
        Write::Put {
            table: Table::Base,
            key: key("v"),
            bytes: vec![1],
        },
        Write::Ledger {
            key: ledger_key("team", "a"),
            row: Some(ours()),
        },
        Write::Add {
            counter: key("c"),
            delta: 3,
        },
        Write::Append {
            log: Log::Outbox,
            key: key("n"),
            bytes: vec![2],
        },
    ]
}

fn commit(store: &MemoryStore, checks: Vec<Check>, writes: Vec<Write>) -> Result<()> {
    let transaction = Transaction {
        checks,
        writes,
        ..Transaction::new(tenant("acme"))
    };
    block_on(store.commit(transaction))
}

#[test]
fn a_check_that_fails_leaves_everything_as_it_was() {
    let at_most = |limit| Check::AtMost {
        counters: vec![key("c"), key("none")],
        limit,
    };
    let value = |name, revision| Check::Value {
        table: Table::Base,
        key: key(name),
        revision,
    };
    let row = |who, row| Check::Ledger {
        key: ledger_key("team", who),
        row,
        as_of: None,
    };
    let foreign = || LedgerRow::new(Origin::Foreign, [context().job]);
    // c is 3 before, and 6 after.
    for (checks, failed) in [
        (vec![], None),
        (
            vec![
                at_most(6),
                value("v", Some(1)),
                value("w", None),
                row("a", Some(ours())),
                row("b", None),
            ],
            None,
        ),
        (vec![at_most(5)], Some(0)),
        (vec![at_most(6), value("v", None)], Some(1)),
        (vec![value("v", Some(2))], Some(0)),
        (vec![value("w", Some(1))], Some(0)),
        (vec![row("a", None)], Some(0)),
        (vec![row("b", None), row("a", Some(foreign()))], Some(1)),
        (vec![row("b", Some(ours()))], Some(0)),
    ] {
        let (store, _) = store();
        commit(&store, vec![], writes()).unwrap();
        let before = store.snapshot(&tenant("acme"));
        let shown = format!("{checks:?}");
        match (commit(&store, checks, writes()), failed) {
            (Ok(()), None) => assert_ne!(store.snapshot(&tenant("acme")), before, "{shown}"),
            (Err(error), Some(_)) => {
                assert_eq!(
                    (error.kind(), error.failed_check()),
                    (StoreErrorKind::Conflict, failed),
                    "{shown}"
                );
                assert_eq!(store.snapshot(&tenant("acme")), before, "{shown}");
            }
            (result, _) => panic!("{shown}: {result:?}"),
        }
    }
}

#[test]
fn a_commit_fails_before_or_after_it_counts() {
    for (fault, kind, committed) in [
        (
            Fault::StoreFailed(StoreErrorKind::Full),
            StoreErrorKind::Full,
            false,
        ),
        (
            Fault::StoreFailed(StoreErrorKind::Fenced),
            StoreErrorKind::Fenced,
            false,
        ),
        (Fault::Timeout(Moment::Before), StoreErrorKind::Unavailable, false),
        (Fault::Timeout(Moment::After), StoreErrorKind::Unavailable, true),
    ] {
        let (store, _) = store();
        store
            .faults()
            .inject(FaultRule::new(fault.clone()).on(CallKind::Commit).once());
        assert_eq!(commit(&store, vec![], writes()).unwrap_err().kind(), kind);
        assert_eq!(
            store.snapshot(&tenant("acme")).ledger.len(),
            usize::from(committed),
            "{fault:?}"
        );
        assert_eq!(store.faults().fired(fault.kind()), 1);
        assert!(commit(&store, vec![], writes()).is_ok());
    }
    for (moment, committed) in [(Moment::Before, 0), (Moment::After, 1)] {
        let (store, _) = store();
        store.faults().inject(FaultRule::new(Fault::Hang(moment)));
        let transaction = Transaction {
            writes: writes(),
            ..Transaction::new(tenant("acme"))
        };
        assert!(store.commit(transaction).now_or_never().is_none());
        assert_eq!(
            store.snapshot(&tenant("acme")).ledger.len(),
            committed,
            "{moment:?}"
        );
    }
}

fn drain<T>(stream: Chunks<T>) -> (Vec<T>, Vec<usize>, Option<StoreErrorKind>) {
    let (mut entries, mut sizes, mut error) = (Vec::new(), Vec::new(), None);
    for chunk in block_on(stream.collect::<Vec<_>>()) {
        match chunk {
            Ok(chunk) => {
                sizes.push(chunk.len());
                entries.extend(chunk);
            }
            Err(failed) => error = Some(failed.kind()),
        }
    }
    (entries, sizes, error)
}

#[test]
fn streams_of_a_store_break_out_loud_only() {
    let (store, _) = store();
    let rows = (0..2500).map(|n| Write::Ledger {
        key: ledger_key("team", &format!("{n:04}")),
        row: Some(ours()),
    });
    commit(&store, vec![], rows.collect()).unwrap();
    let read = || drain(store.ledger(&tenant("acme"), None));
    assert_eq!(read().1, [1024, 1024, 452]);
    let unavailable = Some(StoreErrorKind::Unavailable);
    for (fault, seen, error) in [
        (Fault::Timeout(Moment::Before), 0, unavailable),
        (Fault::Timeout(Moment::After), 2500, unavailable),
        (
            Fault::StoreFailed(StoreErrorKind::Corrupt),
            0,
            Some(StoreErrorKind::Corrupt),
        ),
        (
            Fault::Paged {
                size: 7.try_into().unwrap(),
            },
            2500,
            None,
        ),
        // Would be silent: not for stores.
        (Fault::Truncated { shown: 3 }, 2500, None),
        (Fault::Reordered { seed: 1 }, 2500, None),
    ] {
        store.faults().heal();
        store.faults().inject(FaultRule::new(fault.clone()));
        let (entries, _, failed) = read();
        assert_eq!((entries.len(), failed), (seen, error), "{fault:?}");
        assert!(entries.is_sorted_by(|a, b| a.key < b.key), "{fault:?}");
    }
    assert_eq!(store.faults().fired(FaultKind::Truncated), 0);
    store.faults().heal();
    store
        .faults()
        .inject(FaultRule::new(Fault::Stalled { shown: 2000 }));
    let stalled = store
        .ledger(&tenant("acme"), None)
        .flat_map(|chunk| futures::stream::iter(chunk.unwrap()));
    let mut stalled = Box::pin(stalled);
    let shown = std::iter::from_fn(|| stalled.next().now_or_never());
    assert_eq!(shown.take(3000).count(), 2000);
}

#[test]
fn a_read_is_not_disturbed_by_what_is_committed_meanwhile() {
    let (store, _) = store();
    commit(&store, vec![], writes()).unwrap();
    let ledger = store.ledger(&tenant("acme"), None);
    let values = store.values(&tenant("acme"), Table::Base, &Key::of(&[]));
    let log = store.log(&tenant("acme"), Log::Outbox, 0);
    commit(
        &store,
        vec![],
        vec![
            Write::Ledger {
                key: ledger_key("team", "a"),
                row: None,
            },
            Write::Delete {
                table: Table::Base,
                key: key("v"),
            },
            Write::Deliver {
                log: Log::Outbox,
                sequence: 1,
            },
        ],
    )
    .unwrap();
    assert_eq!(
        (drain(ledger).0.len(), drain(values).0.len(), drain(log).0.len()),
        (1, 1, 1)
    );
    let after = store.snapshot(&tenant("acme"));
    assert!(after.ledger.is_empty() && after.values.is_empty() && after.logs.is_empty());
}

#[test]
fn a_lease_whose_answer_was_lost_is_free_once_it_expires() {
    let (store, clock) = store();
    let name = LeaseName {
        tenant: tenant("acme"),
        key: key("job"),
    };
    let ttl = Duration::from_secs(30);
    let acquire = || block_on(store.acquire(&name, "worker", ttl)).map_err(|error| error.kind());
    store
        .faults()
        .inject(FaultRule::new(Fault::Timeout(Moment::After)).once());
    assert_eq!(acquire(), Err(StoreErrorKind::Unavailable));
    assert_eq!(acquire(), Err(StoreErrorKind::Held));
    clock.advance(ttl);
    let lease = acquire().unwrap();
    let fenced = |fence| {
        let transaction = Transaction {
            writes: writes(),
            ..Transaction::new(tenant("acme"))
        }
        .under(fence);
        block_on(store.commit(transaction)).map_err(|error| error.kind())
    };
    // Expired, but nobody else took it.
    clock.advance(2 * ttl);
    assert_eq!(fenced(lease.fence()), Ok(()));
    let next = acquire().unwrap();
    assert!(next.token > lease.token);
    let before = store.snapshot(&tenant("acme"));
    assert_eq!(fenced(lease.fence()), Err(StoreErrorKind::Fenced));
    block_on(store.release(&lease)).unwrap();
    assert_eq!(
        acquire(),
        Err(StoreErrorKind::Held),
        "releasing an old lease does nothing"
    );
    block_on(store.release(&next)).unwrap();
    assert_eq!(fenced(next.fence()), Err(StoreErrorKind::Fenced));
    assert_eq!(store.snapshot(&tenant("acme")), before);
    let renewed = block_on(store.renew(&next, ttl)).map_err(|error| error.kind());
    assert_eq!(renewed, Err(StoreErrorKind::Fenced));
    assert!(acquire().unwrap().token > next.token);
}

#[test]
fn time_is_held_back_where_the_clock_goes_backwards() {
    use chrono::{DateTime, TimeDelta, Utc};
    use std::sync::{Arc, Mutex};

    #[derive(Debug)]
    struct Broken(Mutex<DateTime<Utc>>);

    impl usersync_connector::Clock for Broken {
        fn now(&self) -> DateTime<Utc> {
            let mut now = self.0.lock().unwrap();
            *now -= TimeDelta::seconds(1);
            *now
        }

        fn sleep(&self, _duration: Duration) -> futures::future::BoxFuture<'static, ()> {
            std::future::pending().boxed()
        }
    }

    let store = MemoryStore::new(Arc::new(Broken(Mutex::new(DateTime::UNIX_EPOCH))));
    let (first, second) = block_on(async { (store.now().await.unwrap(), store.now().await.unwrap()) });
    assert!(second >= first);
}

proptest! {
    /// A stream of values is what filtering and sorting all of them gives, and ledgers are cut by container.
    #[test]
    fn streams_are_filtered_and_sorted(
        names in prop::collection::btree_set("[ab]{1,3}", 0..12),
        prefix in prop::collection::vec("[ab]{1,2}", 0..2),
        containers in prop::option::of(prop::collection::vec("[ab]{1,2}", 0..4)),
    ) {
        let (store, _) = store();
        let keys: Vec<Key> = names.iter().map(|name| Key::of(&[&name[..1], name])).collect();
        let rows: Vec<LedgerKey> = names.iter().map(|name| ledger_key(&name[..name.len().min(2)], name)).collect();
        let puts = keys.iter().map(|key| Write::Put { table: Table::Base, key: key.clone(), bytes: vec![] });
        let ledger = rows.iter().map(|key| Write::Ledger { key: key.clone(), row: Some(ours()) });
        commit(&store, vec![], puts.chain(ledger).collect()).unwrap();

        let prefix = Key::of(&prefix.iter().map(String::as_str).collect::<Vec<_>>());
        let mut want: Vec<_> = keys.into_iter().filter(|key| key.starts_with(&prefix)).collect();
        want.sort();
        let seen = drain(store.values(&tenant("acme"), Table::Base, &prefix)).0;
        prop_assert_eq!(seen.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), want);

        let asked: Option<Vec<_>> = containers
            .map(|names| names.iter().map(|name| ContainerRef::parse("share", name).unwrap()).collect());
        let mut want: Vec<_> = rows
            .into_iter()
            .filter(|key| asked.as_ref().is_none_or(|asked| asked.contains(&key.container)))
            .collect();
        want.sort();
        let seen = drain(store.ledger(&tenant("acme"), asked)).0;
        prop_assert_eq!(seen.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), want);
    }

    /// Counters, revisions and logs against a naive account of them.
    #[test]
    fn counters_revisions_and_logs_add_up(
        steps in prop::collection::vec((0_u8..4, 0_u8..3, -3_i64..4), 0..40),
    ) {
        let (store, _) = store();
        let mut counters = [0_i64; 3];
        let mut revisions = [0_u64; 3];
        let mut undelivered: Vec<(u64, u8)> = Vec::new();
        let mut appended = 0;
        for (what, which, delta) in steps {
            let name = key(&which.to_string());
            let at = usize::from(which);
            let write = match what {
                0 => {
                    counters[at] = (counters[at] + delta).max(0);
                    Write::Add { counter: name, delta }
                }
                1 => {
                    if undelivered.iter().all(|(_, key)| *key != which) {
                        appended += 1;
                        undelivered.push((appended, which));
                    }
                    Write::Append { log: Log::Outbox, key: name, bytes: vec![] }
                }
                2 => {
                    let sequence = delta.unsigned_abs();
                    undelivered.retain(|(entry, _)| *entry != sequence);
                    Write::Deliver { log: Log::Outbox, sequence }
                }
                _ if delta < 0 => Write::Delete { table: Table::Seat, key: name },
                _ => Write::Put { table: Table::Seat, key: name, bytes: vec![] },
            };
            let put = matches!(write, Write::Put { .. });
            commit(&store, vec![], vec![write]).unwrap();
            if put {
                let stored = block_on(store.value(&tenant("acme"), Table::Seat, &key(&which.to_string())));
                let revision = stored.unwrap().unwrap().revision;
                prop_assert!(revision > revisions[at]);
                revisions[at] = revision;
            }
        }
        for (at, count) in counters.into_iter().enumerate() {
            let counter = block_on(store.counter(&tenant("acme"), &key(&at.to_string()))).unwrap();
            prop_assert_eq!(i64::try_from(counter).unwrap(), count);
        }
        let after = 1;
        let seen = drain(store.log(&tenant("acme"), Log::Outbox, after)).0;
        let seen: Vec<_> = seen.into_iter().map(|entry| (entry.sequence, entry.key)).collect();
        let want: Vec<_> = undelivered
            .into_iter()
            .filter(|(sequence, _)| *sequence > after)
            .map(|(sequence, which)| (sequence, key(&which.to_string())))
            .collect();
        prop_assert_eq!(seen, want);
        prop_assert_eq!(store.snapshot(&tenant("other")), Default::default());
    }
}
