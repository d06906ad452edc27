//! The store answers as the one in memory does, call by call, whatever the history, and has the same content after reopening.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use rusqlite::Connection;
use usersync_memory::{ManualClock, MemoryStore};
use usersync_model::{
    ContainerRef, JobId, LedgerRow, MemberFacets, MembershipState, Origin, PrincipalRef, RecordRef, Role,
    RoleName, Subject,
};
use usersync_sqlite::{SqliteOptions, SqliteStore, TablePrefix};
use usersync_store::{
    Check, FencingToken, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead,
    StateStore, Stored, Table, Transaction, Write,
};

use crate::support::{Folder, Time, all, tenant};

const TENANTS: [&str; 2] = ["acme", "acme-2"];
const KEYS: [&[&str]; 6] = [&["a"], &["a", "1"], &["a", "12"], &["ab"], &["é", "1"], &["%"]];
const TABLES: [Table; 2] = [Table::Base, Table::Seat];
const LOGS: [Log; 2] = [Log::Audit, Log::Outbox];
const LEASES: [&str; 2] = ["job", "other"];

/// A call, by indexes into the above.
#[derive(Clone, Debug)]
enum Call {
    Acquire {
        lease: (usize, usize),
        seconds: u64,
    },
    Commit {
        tenant: usize,
        fence: Option<(usize, usize, u64)>,
        checks: Vec<Guess>,
        writes: Vec<Write>,
    },
    /// The clocks move on by so many seconds.
    Pass(u64),
    Release {
        lease: (usize, usize),
        back: u64,
    },
    Renew {
        lease: (usize, usize),
        back: u64,
        seconds: u64,
    },
    Reopen,
}

/// A check that may hold or not.
#[derive(Clone, Debug)]
enum Guess {
    AtMost(Vec<Key>, u64),
    /// What is there, or something else; as of the write that it is of, changed by so much.
    Ledger(LedgerKey, Option<LedgerRow>, bool, Option<i64>),
    /// What is there, changed by so much.
    Value(Table, Key, u64),
}

fn any_key() -> impl Strategy<Value = Key> {
    (0..KEYS.len()).prop_map(|at| Key::of(KEYS[at]))
}

fn any_table() -> impl Strategy<Value = Table> {
    (0..TABLES.len()).prop_map(|at| TABLES[at])
}

fn any_log() -> impl Strategy<Value = Log> {
    (0..LOGS.len()).prop_map(|at| LOGS[at])
}

fn any_ledger_key() -> impl Strategy<Value = LedgerKey> {
    let container = (0..2_usize, 0..3_usize).prop_map(|(system, object)| {
        ContainerRef::parse(["share", "events"][system], ["team", "team-2", "Team"][object]).unwrap()
    });
    let subject = (0..2_usize, 0..3_usize, any::<bool>()).prop_map(|(system, object, is_record)| {
        let (system, object) = (["directory", "crm"][system], ["ada", "bob", "Ada"][object]);
        if is_record {
            Subject::Record(RecordRef::parse(system, object).unwrap())
        } else {
            Subject::Principal(PrincipalRef::parse(system, object).unwrap())
        }
    });
    (container, subject).prop_map(|(container, subject)| LedgerKey { container, subject })
}

fn any_row() -> impl Strategy<Value = LedgerRow> {
    let roles = [
        Role::Member,
        Role::Manager,
        Role::Owner,
        Role::Other(RoleName::new("\"own, ours").unwrap()),
    ];
    let jobs = ["job", "job-2", "1,2"];
    let claims = prop::sample::subsequence(jobs.to_vec(), 0..=3);
    let facets = prop::option::of((prop::sample::select(roles.to_vec()), any::<bool>()));
    (any::<bool>(), claims, facets).prop_map(|(is_ours, claims, facets)| {
        let origin = if is_ours { Origin::Ours } else { Origin::Foreign };
        let mut row = LedgerRow::new(origin, claims.into_iter().map(|job| JobId::new(job).unwrap()));
        row.facets = facets.map(|(role, is_pending)| {
            let state = if is_pending {
                MembershipState::Pending
            } else {
                MembershipState::Active
            };
            MemberFacets { role, state }
        });
        row
    })
}

fn any_write() -> impl Strategy<Value = Write> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..4);
    let delta = prop_oneof![8 => -5_i64..6, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    prop_oneof![
        (any_key(), delta).prop_map(|(counter, delta)| Write::Add { counter, delta }),
        (any_log(), any_key(), bytes()).prop_map(|(log, key, bytes)| Write::Append { log, key, bytes }),
        (any_table(), any_key()).prop_map(|(table, key)| Write::Delete { table, key }),
        (any_log(), prop_oneof![9 => 0_u64..12, 1 => Just(u64::MAX)])
            .prop_map(|(log, sequence)| Write::Deliver { log, sequence }),
        (any_ledger_key(), prop::option::weighted(0.8, any_row()))
            .prop_map(|(key, row)| Write::Ledger { key, row }),
        (any_table(), any_key(), bytes()).prop_map(|(table, key, bytes)| Write::Put { table, key, bytes }),
    ]
}

fn any_guess() -> impl Strategy<Value = Guess> {
    prop_oneof![
        (
            prop::collection::vec(any_key(), 0..3),
            prop_oneof![0_u64..10, Just(u64::MAX)]
        )
            .prop_map(|(counters, limit)| Guess::AtMost(counters, limit)),
        (
            any_ledger_key(),
            prop::option::of(any_row()),
            prop::bool::weighted(0.9),
            prop::option::of(prop_oneof![1 => -2_i64..0, 4 => 0_i64..3]),
        )
            .prop_map(|(key, row, is_there, as_of)| Guess::Ledger(key, row, is_there, as_of)),
        (
            any_table(),
            any_key(),
            prop_oneof![9 => Just(0_u64), 1 => Just(1)]
        )
            .prop_map(|(table, key, off)| Guess::Value(table, key, off)),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    let lease = || (0..TENANTS.len(), 0..LEASES.len());
    let fence = prop::option::weighted(0.3, (0..TENANTS.len(), 0..LEASES.len(), 0_u64..2));
    prop_oneof![
        3 => (lease(), 0_u64..20).prop_map(|(lease, seconds)| Call::Acquire { lease, seconds }),
        12 => (
            0..TENANTS.len(),
            fence,
            prop::collection::vec(any_guess(), 0..4),
            prop::collection::vec(any_write(), 0..8),
        )
            .prop_map(|(tenant, fence, checks, writes)| Call::Commit { tenant, fence, checks, writes }),
        2 => (0_u64..30).prop_map(Call::Pass),
        1 => (lease(), 0_u64..2).prop_map(|(lease, back)| Call::Release { lease, back }),
        1 => (lease(), 0_u64..2, 0_u64..20)
            .prop_map(|(lease, back, seconds)| Call::Renew { lease, back, seconds }),
        1 => Just(Call::Reopen),
    ]
}

/// Everything that a store tells about a tenant.
#[derive(Debug, PartialEq)]
struct Content {
    counters: Vec<u64>,
    entries: Vec<Vec<LogEntry>>,
    listed: Vec<LedgerEntry>,
    rows: Vec<LedgerEntry>,
    values: Vec<Vec<(Key, Stored)>>,
}

fn content(store: &dyn StateStore, of: &str) -> Content {
    let tenant = tenant(of);
    let prefixes = || KEYS.iter().map(|parts| Key::of(parts)).chain([Key::of(&[])]);
    let counters = prefixes().map(|key| block_on(store.counter(&tenant, &key)).unwrap());
    let listed = ["team-2", "gone", "team", "team-2"].map(|name| ContainerRef::parse("share", name).unwrap());
    Content {
        counters: counters.collect(),
        entries: LOGS
            .iter()
            .flat_map(|log| [0, 2, u64::MAX].map(|after| all(store.log(&tenant, *log, after)).unwrap()))
            .collect(),
        listed: all(store.ledger(&tenant, Some(listed.into()))).unwrap(),
        rows: all(store.ledger(&tenant, None)).unwrap(),
        values: TABLES
            .iter()
            .flat_map(|table| prefixes().map(|prefix| all(store.values(&tenant, *table, &prefix)).unwrap()))
            .collect(),
    }
}

/// Both stores, and the newest leases that they gave.
struct Pair {
    model: MemoryStore,
    clock: ManualClock,
    store: Option<SqliteStore>,
    time: Time,
    reopen: Box<dyn Fn(SqliteOptions) -> SqliteStore>,
    tokens: [[u64; 2]; 2],
}

impl Pair {
    fn new(reopen: impl Fn(SqliteOptions) -> SqliteStore + 'static) -> Self {
        let time = Time::new();
        let clock = ManualClock::new(time.now());
        Self {
            model: MemoryStore::new(Arc::new(clock.clone())),
            clock,
            store: Some(reopen(time.options())),
            time,
            reopen: Box::new(reopen),
            tokens: [[0; 2]; 2],
        }
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }

    fn lease(&self, (tenant_at, at): (usize, usize), back: u64) -> Lease {
        Lease {
            name: LeaseName {
                tenant: tenant(TENANTS[tenant_at]),
                key: Key::of(&[LEASES[at]]),
            },
            token: FencingToken(self.tokens[tenant_at][at].saturating_sub(back)),
            expires: self.time.now(),
        }
    }

    fn both<T: PartialEq + std::fmt::Debug>(
        &self,
        call: impl AsyncFn(&dyn StateStore) -> Result<T>,
    ) -> std::result::Result<Option<T>, TestCaseError> {
        let told =
            |error: &usersync_store::StoreError| (error.kind(), error.failed_check(), error.to_string());
        let model = block_on(call(&self.model));
        let store = block_on(call(self.store()));
        match (model, store) {
            (Ok(model), Ok(store)) => {
                prop_assert_eq!(&model, &store);
                Ok(Some(store))
            }
            (model, store) => {
                let model = model.as_ref().map_err(told);
                prop_assert_eq!(model, store.as_ref().map_err(told));
                Ok(None)
            }
        }
    }

    fn check(&self, of: &str, guess: Guess) -> Check {
        let tenant = tenant(of);
        match guess {
            Guess::AtMost(counters, limit) => Check::AtMost { counters, limit },
            Guess::Ledger(key, row, is_there, as_of) => {
                let present = block_on(self.model.ledger_row(&tenant, &key)).unwrap();
                let revision = present.as_ref().map_or(0, |entry| entry.revision);
                let row = if is_there {
                    present.map(|entry| entry.row)
                } else {
                    row
                };
                let as_of = as_of.map(|off| revision.saturating_add_signed(off));
                Check::Ledger { key, row, as_of }
            }
            Guess::Value(table, key, off) => {
                let present = block_on(self.model.value(&tenant, table, &key)).unwrap();
                let revision = present.map(|stored| stored.revision + off);
                Check::Value { table, key, revision }
            }
        }
    }

    fn run(&mut self, call: Call) -> std::result::Result<(), TestCaseError> {
        match call {
            Call::Acquire { lease: at, seconds } => {
                let lease = self.lease(at, 0);
                let ttl = Duration::from_secs(seconds);
                let taken = self.both(async |store| store.acquire(&lease.name, "worker", ttl).await)?;
                if let Some(lease) = taken {
                    self.tokens[at.0][at.1] = lease.token.0;
                }
            }
            Call::Commit {
                tenant: of,
                fence,
                checks,
                writes,
            } => {
                let of = TENANTS[of];
                let transaction = Transaction {
                    tenant: tenant(of),
                    fence: fence.map(|(of, at, back)| self.lease((of, at), back).fence()),
                    checks: checks.into_iter().map(|guess| self.check(of, guess)).collect(),
                    writes,
                };
                self.both(async |store| store.commit(transaction.clone()).await)?;
                prop_assert_eq!(content(&self.model, of), content(self.store(), of));
            }
            Call::Pass(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.time.move_by(seconds.cast_signed());
                self.both(async |store| store.now().await)?;
            }
            Call::Release { lease, back } => {
                let lease = self.lease(lease, back);
                self.both(async |store| store.release(&lease).await)?;
            }
            Call::Renew { lease, back, seconds } => {
                let lease = self.lease(lease, back);
                self.both(async |store| store.renew(&lease, Duration::from_secs(seconds)).await)?;
            }
            Call::Reopen => {
                self.store = None;
                self.store = Some((self.reopen)(self.time.options()));
                for of in TENANTS {
                    prop_assert_eq!(content(&self.model, of), content(self.store(), of));
                }
            }
        }
        Ok(())
    }
}

fn behaves(mut pair: Pair, calls: Vec<Call>) -> std::result::Result<(), TestCaseError> {
    for call in calls.into_iter().chain([Call::Reopen]) {
        pair.run(call)?;
    }
    let problems = block_on(pair.store().check_integrity()).unwrap();
    // Histories write seats without counters, and rows without claims, as no engine does.
    let left: Vec<_> = problems
        .iter()
        .filter(|problem| !["rows_without_claims", "seats_disagree"].contains(&problem.code()))
        .collect();
    prop_assert!(left.is_empty(), "{left:?}");
    Ok(())
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(any_call(), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_file_behaves_as_memory_does(calls in calls()) {
        let folder = Folder::new();
        let file = folder.file();
        behaves(Pair::new(move |options| SqliteStore::open(&file, options).unwrap()), calls)?;
    }

    #[test]
    fn a_hosts_database_behaves_as_memory_does(calls in calls(), is_wal in any::<bool>()) {
        let folder = Folder::new();
        let file = folder.file();
        let open = move |options| {
            let conn = Connection::open(&file).unwrap();
            if is_wal {
                conn.pragma_update(None, "journal_mode", "wal").unwrap();
            }
            SqliteStore::with_connection(conn, &TablePrefix::new("sync_").unwrap(), options).unwrap()
        };
        behaves(Pair::new(open), calls)?;
    }
}
