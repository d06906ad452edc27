//! Scenario 6, `apply`, over the durable store: what runs cost in SQLite, beside the store in memory, beside plain appends of
//! the same bytes with as many waits for the disk, and beside SQLite's own answer to the same question.
//!
//! The files lie below `TMPDIR`, which is to be on the disk to measure.

use std::cell::RefCell;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::executor::block_on;
use rusqlite::{Connection, OpenFlags};
use usersync_connector::{MembershipRead, Reader};
use usersync_engine::{RunEnd, RunRequest};
use usersync_model::{ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, TenantId};
use usersync_sqlite::{SqliteOptions, SqliteStore};
use usersync_store::{LedgerKey, StateRead, StateStore, Transaction, Write};

use super::{Aim, Scenario, Target};
use crate::disk::{Folder, Weighed, append};
use crate::random::SplitMix64;
use crate::way::{Part, Way, measured};
use crate::world::World;

const APPENDED: &str = "plain appends of the same bytes, synced as often";
const DURABLE: &str = "the engine, the store in SQLite";
const BARE: &str = "SQLite's own rows";
const LOADED: &str = "one container, loaded";

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, item, sizes, targets, prepare| Scenario {
        name,
        item,
        sizes,
        counted: None,
        targets,
        prepare,
    };
    vec![
        scenario(
            "sqlite/apply",
            "operation",
            [1000, 10_000, 100_000],
            &[Target {
                way: DURABLE,
                aim: Aim::AtMost(2.5, APPENDED),
            }],
            apply,
        ),
        scenario(
            "sqlite/one container of a ledger",
            "row of the ledger",
            [100_000, 1_000_000, 10_000_000],
            &[],
            ledger,
        ),
        scenario(
            "sqlite/nothing changed",
            "membership",
            [1000, 10_000, 100_000],
            &[],
            nothing_changed,
        ),
    ]
}

/// How many members each container of the ledger has.
const MEMBERS: u64 = 100;

fn apply(operations: u64) -> Vec<Way> {
    let folder = Rc::new(Folder::new("apply").expect("a folder for temporary files"));
    let world = Rc::new(World::new(operations));
    let turns = turns(&world, &folder);
    let (fork, plain) = (Rc::clone(&world), Rc::clone(&folder));
    vec![
        Way::new(Part::Limit, APPENDED, move || {
            append(&plain.file("plain"), &turns).expect("a file to write");
        }),
        Way::each(
            Part::Usersync,
            "the engine, the store in memory",
            move || fork.fork(),
            applied,
        ),
        Way::each(
            Part::Usersync,
            DURABLE,
            move || world.with_store(Arc::new(fresh(&folder.file("apply.db")))),
            applied,
        ),
    ]
}

/// Answers with the world, so that closing its store is not part of the measurement.
fn applied(world: World) -> World {
    let report = block_on(world.run(RunRequest::everything()));
    assert_eq!(report.end, RunEnd::Changed);
    world
}

/// What each transaction of the run writes.
fn turns(world: &World, folder: &Folder) -> Vec<usize> {
    let weighed = Weighed::new(Arc::new(fresh(&folder.file("weighed.db"))));
    let world = world.with_store(Arc::new(weighed.clone()));
    // What was written to store the job is no part of the run.
    let before = weighed.turns().len();
    applied(world);
    weighed.turns().split_off(before)
}

fn ledger(rows: u64) -> Vec<Way> {
    let folder = Rc::new(Folder::new("ledger").expect("a folder for temporary files"));
    let path = folder.file("ledger.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).expect("a file to write");
    fill(&store, rows);
    let bare = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a file to read");
    let texts = folder.file("texts");
    let mut bytes = vec![0; write_texts(&texts)];
    let mut file = File::open(&texts).expect("a file to read");
    let any = Rc::new(RefCell::new(SplitMix64::new(8)));
    let any = move || u64::from(any.borrow_mut().below((rows / MEMBERS) as u32));
    let other = any.clone();
    vec![
        Way::new(Part::Limit, "reading the same bytes from a file", move || {
            file.seek(SeekFrom::Start(0)).expect("a file to read");
            file.read_exact(&mut bytes).expect("a file to read");
            black_box(&bytes);
        }),
        Way::new(Part::Limit, BARE, move || {
            assert_eq!(select(&bare, any()).len() as u64, MEMBERS);
        }),
        Way::timed(Part::Usersync, LOADED, move || {
            let container = container(other());
            // Kept as long as what is in it.
            let _ = &folder;
            let (loaded, spent) = measured(|| {
                let chunks = store.ledger(&tenant(), Some(vec![container]));
                block_on(chunks.try_concat()).expect("a store to read")
            });
            assert_eq!(loaded.len() as u64, MEMBERS);
            spent
        }),
    ]
}

/// Rows of a tenth as many people in containers of a hundred.
fn fill(store: &SqliteStore, rows: u64) {
    let (containers, people) = (rows / MEMBERS, rows / 10);
    let row = LedgerRow::new(Origin::Ours, [JobId::new("events").expect("a well-formed id")]);
    for first in (0..containers).step_by(100) {
        let mut transaction = Transaction::new(tenant());
        for number in first..(first + 100).min(containers) {
            for member in 0..MEMBERS {
                // Distinct within a container, spread over all people.
                let person = (number * 37 + member * (people / MEMBERS).max(1)) % people;
                transaction.write(Write::Ledger {
                    key: LedgerKey::member(container(number), principal(person)),
                    row: Some(row.clone()),
                });
            }
        }
        block_on(store.commit(transaction)).expect("a store to write");
    }
}

/// As many bytes as the texts of one container's rows; answers with how many.
fn write_texts(path: &Path) -> usize {
    let line = format!("{}\t{}\tevents\n", container(0), principal(0));
    let texts = line.repeat(MEMBERS as usize);
    fs::write(path, &texts).expect("a file to write");
    texts.len()
}

fn select(bare: &Connection, number: u64) -> Vec<(String, i64)> {
    let mut statement = bare
        .prepare_cached(
            "SELECT object.name, ledger.content FROM ledger JOIN object ON object.id = ledger.subject >> 1
            WHERE ledger.container = (SELECT id FROM container
                WHERE tenant = (SELECT id FROM tenant WHERE name = 'tenant')
                    AND system = (SELECT id FROM system WHERE name = 'calendar') AND name = ?1)
            ORDER BY object.name",
        )
        .expect("the store's tables");
    let rows = statement.query_map([container(number).object.as_str()], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    let rows = rows.and_then(Iterator::collect);
    rows.expect("the store's tables")
}

fn nothing_changed(memberships: u64) -> Vec<Way> {
    let folder = Rc::new(Folder::new("run").expect("a folder for temporary files"));
    let in_step = |size, file| {
        let world = World::among(memberships, size);
        let world = world.with_store(Arc::new(fresh(&folder.file(file))));
        assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::Changed);
        assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync);
        Rc::new(world)
    };
    let (small, large) = (in_step(1, "small.db"), in_step(10, "large.db"));
    let way = |name, world: &Rc<World>, request: fn(&World) -> RunRequest| {
        let (world, folder) = (Rc::clone(world), Rc::clone(&folder));
        Way::new(Part::Usersync, name, move || {
            // Kept as long as what is in it.
            let _ = &folder;
            assert_eq!(block_on(world.run(request(&world))).end, RunEnd::InSync);
        })
    };
    let target = Rc::clone(&small);
    vec![
        Way::new(Part::Limit, "reading the target", move || block_on(read(&target))),
        way("everything", &small, |_| RunRequest::everything()),
        way("everything, ten times the directory", &large, |_| {
            RunRequest::everything()
        }),
        way("one container", &small, |world| {
            RunRequest::container(world.first())
        }),
        way("one container, ten times the directory", &large, |world| {
            RunRequest::container(world.first())
        }),
    ]
}

async fn read(world: &World) {
    let mut reader = Reader::new(world.target.members(world.containers(), &world.context()));
    while let Some(chunk) = reader.next_chunk().await {
        black_box(chunk);
    }
    assert!(reader.finish().verdict.is_complete());
}

/// A store of its own in place of what was there.
fn fresh(path: &Path) -> SqliteStore {
    for end in ["", "-wal", "-shm"] {
        // There may be none.
        let _ = fs::remove_file(format!("{}{end}", path.display()));
    }
    SqliteStore::open(path, SqliteOptions::default()).expect("a file to write")
}

fn tenant() -> TenantId {
    TenantId::new("tenant").expect("a well-formed id")
}

fn container(number: u64) -> ContainerRef {
    ContainerRef::parse("calendar", &uuid(number)).expect("a well-formed id")
}

fn principal(number: u64) -> PrincipalRef {
    PrincipalRef::parse("directory", &uuid(number | 1 << 32)).expect("a well-formed id")
}

/// As long as a UUID, and as random as one.
fn uuid(number: u64) -> String {
    let mut random = SplitMix64::new(number);
    let (a, b) = (random.next_u64(), random.next_u64());
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}
