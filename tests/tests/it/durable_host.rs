//! A store in tables beside those of a host that writes its own.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use rusqlite::Connection;
use usersync::engine::{EngineError, RunEnd, RunRequest};
use usersync::memory::FaultRule;
use usersync::reconcile::Mode;
use usersync::store::{Log, StoreErrorKind};
use usersync_tests::{DurableStore, LEASE, World, free_policy, job};

/// A host that keeps notes in its own table.
struct Host(Connection);

impl Host {
    fn of(store: &DurableStore) -> Self {
        let host = Connection::open(store.file()).expect("the host opens its database");
        host.busy_timeout(Duration::from_secs(60))
            .expect("a connection can wait");
        host.pragma_update(None, "synchronous", "off")
            .expect("a connection can be told not to wait for the disk");
        host.execute_batch("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, note TEXT NOT NULL)")
            .expect("the host makes its table");
        Self(host)
    }

    fn write(&self, note: &str) {
        let written = self.0.execute("INSERT INTO notes (note) VALUES (?1)", [note]);
        assert_eq!(written, Ok(1));
    }

    fn notes(&self) -> i64 {
        self.0
            .query_row("SELECT count(*) FROM notes", (), |row| row.get(0))
            .expect("the host reads its table")
    }
}

fn hosted() -> World<DurableStore> {
    World::builder()
        .group("staff", "ada bob cleo dan eve")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build_over(DurableStore::in_host_database)
}

/// Between any two calls, and at the same time, the host writes; nobody loses anything.
#[test]
fn a_host_writes_its_own_tables_meanwhile() {
    let mut world = hosted();
    let (host, written) = (Host::of(&world.store), Arc::new(AtomicI64::new(0)));
    let (count, beside) = (Arc::clone(&written), Mutex::new(Host::of(&world.store)));
    let meanwhile = move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        beside
            .lock()
            .expect("nobody panics")
            .write(&format!("at call {number}"));
    };
    world.faults.inject(FaultRule::meanwhile(meanwhile));
    let is_over = AtomicBool::new(false);
    let busy = thread::scope(|scope| {
        let (file, faults, is_over) = (world.store.clone(), world.faults.clone(), &is_over);
        let busy = scope.spawn(move || {
            let (host, mut notes, mut seen) = (Host::of(&file), 0, 0);
            // One note during each call, as far as it gets there in time, so that the store has its turns.
            while notes == 0 || !is_over.load(Ordering::SeqCst) {
                let calls = faults.calls();
                if calls == seen {
                    thread::yield_now();
                    continue;
                }
                seen = calls;
                host.write("busy");
                notes += 1;
            }
            notes
        });
        for round in 0..6 {
            assert_eq!(world.run("sync").end, RunEnd::Changed, "round {round}");
            world.restart();
            let who = ["ada", "bob", "cleo"][round / 2];
            if round % 2 == 0 {
                world.leave("staff", who);
            } else {
                world.join("staff", who);
            }
        }
        is_over.store(true, Ordering::SeqCst);
        busy.join().expect("the host does not panic")
    });
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada bob cleo dan eve");
    assert_eq!(world.log_len(Log::Outbox), 0);
    assert_eq!(host.notes(), written.load(Ordering::SeqCst) + busy);
    world.store.assert_sound();
}

/// A host that holds the lock for longer than the store waits makes the run fail, wherever it begins to, and nothing else: once it lets
/// go, the next process ends the work. What the host takes back is not there, and what the store wrote is.
#[test]
fn a_host_that_holds_the_lock_makes_a_run_fail_and_no_more() {
    let undisturbed = hosted();
    let _ = undisturbed.settle("sync");
    let base = hosted();
    let calls = {
        let world = base.fork();
        let _ = world.run("sync");
        world.faults.calls()
    };
    let mut failed = 0;
    for call in (1..=calls).step_by(5) {
        let mut world = base.fork();
        world.store = world.store.clone().with_patience(Duration::from_millis(1));
        world.restart();
        let host = Host::of(&world.store);
        let locker = Arc::new(Mutex::new(Host::of(&world.store)));
        let beside = Arc::clone(&locker);
        let lock = move || {
            let lock = "BEGIN IMMEDIATE; INSERT INTO notes (note) VALUES ('half')";
            let locker = beside.lock().expect("nobody panics");
            locker.0.execute_batch(lock).expect("nobody else holds the lock");
        };
        world
            .faults
            .inject(FaultRule::meanwhile(lock).at_call(call).once());
        let run = block_on(
            world
                .engine()
                .run(&world.tenant, &job("sync"), RunRequest::everything()),
        );
        if let Err(error) = run {
            failed += 1;
            assert!(
                matches!(&error, EngineError::Store(error) if error.kind() == StoreErrorKind::Unavailable),
                "call {call}: {error}"
            );
        }
        // The host's transaction is taken back.
        drop(locker);
        world.faults.heal();
        world.clock.advance(LEASE * 2);
        world.restart();
        let _ = world.settle("sync");
        assert_eq!(world.end(), undisturbed.end(), "call {call}");
        assert_eq!(host.notes(), 0, "call {call}");
        world.store.assert_sound();
    }
    assert!(failed > 5, "{failed} of {calls}");
}
