//! Scenario 6, `apply`, over the durable store: what runs cost in SQLite, beside the store in memory, beside plain appends of
//! the same bytes with as many waits for the disk, and beside SQLite's own answer to the same question.
//!
//! The files lie below `TMPDIR`, which is to be on the disk to measure. `USERSYNC_BENCH_OPERATIONS` says how many operations there
//! are, and `USERSYNC_BENCH_SIZE` how large the ledger is.
#![allow(missing_docs, reason = "made by criterion's macros")]
#![allow(
    clippy::print_stdout,
    reason = "what was written is printed beside criterion's own figures"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use futures::executor::block_on;
use rusqlite::{Connection, OpenFlags};
use usersync_benches::directory::users_wanted;
use usersync_benches::disk::{Folder, Weighed, append};
use usersync_benches::random::SplitMix64;
use usersync_benches::world::{World, wanted_operations};
use usersync_connector::{MembershipRead, Reader};
use usersync_engine::{RunEnd, RunRequest};
use usersync_model::{ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, TenantId};
use usersync_sqlite::{SqliteOptions, SqliteStore};
use usersync_store::{LedgerKey, StateRead, StateStore, Transaction, Write};

/// How many members each container of the ledger has.
const MEMBERS: u64 = 100;

fn apply(criterion: &mut Criterion) {
    let operations = wanted_operations();
    let folder = Folder::new("apply").expect("a folder for temporary files");
    let world = World::new(operations);
    let turns = turns(&world, &folder);
    println!(
        "apply/{operations}: {} bytes in {} transactions",
        turns.iter().sum::<usize>(),
        turns.len()
    );
    let mut group = criterion.benchmark_group(format!("sqlite/apply/{operations}"));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(operations));
    group.bench_function("limit: plain appends of the same bytes", |bencher| {
        bencher.iter(|| append(&folder.file("plain"), &turns).expect("a file to write"));
    });
    group.bench_function("engine, the store in memory", |bencher| {
        bencher.iter_batched(|| world.fork(), applied, BatchSize::PerIteration);
    });
    group.bench_function("engine, the store in SQLite", |bencher| {
        bencher.iter_batched(
            || world.with_store(Arc::new(fresh(&folder.file("apply.db")))),
            applied,
            BatchSize::PerIteration,
        );
    });
    group.finish();
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

fn ledger(criterion: &mut Criterion) {
    let rows = u64::from(users_wanted()) * 10;
    let folder = Folder::new("ledger").expect("a folder for temporary files");
    let path = folder.file("ledger.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).expect("a file to write");
    fill(&store, rows);
    let bare = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a file to read");
    let texts = folder.file("texts");
    let size = write_texts(&texts);
    let mut group = criterion.benchmark_group(format!("sqlite/ledger/{rows}"));
    group.throughput(Throughput::Elements(MEMBERS));
    let mut random = SplitMix64::new(8);
    let mut any = move || u64::from(random.below((rows / MEMBERS) as u32));
    let mut file = File::open(&texts).expect("a file to read");
    group.bench_function("limit: reading the same bytes from a file", |bencher| {
        let mut bytes = vec![0; size];
        bencher.iter(|| {
            file.seek(SeekFrom::Start(0)).expect("a file to read");
            file.read_exact(&mut bytes).expect("a file to read");
            black_box(&bytes);
        });
    });
    group.bench_function("limit: SQLite's own rows", |bencher| {
        bencher.iter(|| assert_eq!(select(&bare, any()).len() as u64, MEMBERS));
    });
    group.bench_function("one container, loaded", |bencher| {
        bencher.iter(|| {
            let chunks = store.ledger(&tenant(), Some(vec![container(any())]));
            let loaded: Vec<_> = block_on(chunks.try_concat()).expect("a store to read");
            assert_eq!(loaded.len() as u64, MEMBERS);
        });
    });
    group.finish();
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
            WHERE ledger.container = (SELECT id FROM container WHERE name = ?1) ORDER BY object.name",
        )
        .expect("the store's tables");
    let rows = statement.query_map([container(number).object.as_str()], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    let rows = rows.and_then(Iterator::collect);
    rows.expect("the store's tables")
}

fn nothing_changed(criterion: &mut Criterion) {
    let memberships = wanted_operations();
    let folder = Folder::new("run").expect("a folder for temporary files");
    let mut group = criterion.benchmark_group(format!("sqlite/run/{memberships}"));
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for size in [1, 10] {
        let world = World::among(memberships, size);
        let world = world.with_store(Arc::new(fresh(&folder.file("run.db"))));
        assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::Changed);
        assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync);
        if size == 1 {
            group.bench_function("limit: reading the target", |bencher| {
                bencher.iter(|| block_on(read(&world)));
            });
        }
        group.bench_function(format!("nothing changed, {size} × the directory"), |bencher| {
            bencher.iter(|| assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync));
        });
        group.bench_function(
            format!("nothing changed, {size} × the directory, one container"),
            |bencher| {
                bencher.iter(|| {
                    let report = block_on(world.run(RunRequest::container(world.first())));
                    assert_eq!(report.end, RunEnd::InSync);
                });
            },
        );
    }
    group.finish();
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

criterion_group!(benches, apply, ledger, nothing_changed);
criterion_main!(benches);
