//! Measures the store: the size of a ledger, how fast it is read, and what an operation costs.
//!
//! ```text
//! cargo run --release -p usersync-benches --bin store_figures -- FOLDER [ROWS]
//! ```
//!
//! `FOLDER` is to be on the disk to measure; the files made in it are removed. `ROWS` memberships (1,000,000 by default) are of a
//! tenth as many people in containers of a hundred, with UUIDs for both, claimed by a hundred jobs.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use usersync_model::{ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, TenantId};
use usersync_sqlite::{SqliteOptions, SqliteStore};
use usersync_store::{Key, LedgerKey, Log, StateRead, StateStore, Table, Transaction, Write};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MEMBERS: u64 = 100;
const OPERATIONS: u64 = 100_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("give a folder to measure in")?);
    let rows = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    ledger(&folder.join("figures-ledger.db"), rows)?;
    for batch in [1, 10, 100, 1000] {
        operations(&folder.join("figures-operations.db"), batch)?;
    }
    together(&folder.join("figures-together.db"))
}

/// The size of a ledger, and how fast it is written and read.
fn ledger(path: &Path, rows: u64) -> Result<()> {
    let tenant = TenantId::new("tenant")?;
    let store = open(path)?;
    let people = rows / 10;
    let begun = Instant::now();
    for first in (0..rows / MEMBERS).step_by(10) {
        let mut transaction = Transaction::new(tenant.clone());
        for team in first..(first + 10).min(rows / MEMBERS) {
            for member in 0..MEMBERS {
                // Distinct within a container, scattered over all people.
                let who = (mixed(team) + member * (people / MEMBERS).max(1)) % people;
                let row = LedgerRow::new(Origin::Ours, [JobId::new(format!("job-{}", team % 100))?]);
                let key = LedgerKey::member(
                    ContainerRef::parse("share", &uuid(team | 1 << 40))?,
                    PrincipalRef::parse("directory", &uuid(who))?,
                );
                transaction.write(Write::Ledger { key, row: Some(row) });
            }
        }
        block_on(store.commit(transaction))?;
    }
    let written = begun.elapsed();
    drop(store);
    let size = fs::metadata(path)?.len();
    tell(&format!(
        "ledger: {rows} rows, {size} bytes, {:.1} a row; written at {:.0} rows/s",
        size as f64 / rows as f64,
        per_second(rows, written)
    ))?;

    let store = open(path)?;
    let begun = Instant::now();
    let read: usize = block_on(
        store
            .ledger(&tenant, None)
            .try_fold(0, async |sum, chunk| Ok(sum + chunk.len())),
    )?;
    tell(&format!(
        "ledger: {read} rows read in one scan at {:.0} rows/s",
        per_second(read as u64, begun.elapsed())
    ))?;
    let containers = (rows / MEMBERS).min(10_000);
    let begun = Instant::now();
    let mut read = 0;
    for n in 0..containers {
        let team = mixed(n) % (rows / MEMBERS);
        let container = ContainerRef::parse("share", &uuid(team | 1 << 40))?;
        let mut chunks = store.ledger(&tenant, Some(vec![container]));
        while let Some(chunk) = block_on(chunks.next()) {
            read += chunk?.len();
        }
    }
    tell(&format!(
        "ledger: {containers} containers read one by one in {:.1} µs each, {:.0} rows/s",
        begun.elapsed().as_secs_f64() * 1e6 / containers as f64,
        per_second(read as u64, begun.elapsed())
    ))?;
    let begun = Instant::now();
    let problems = block_on(store.check_integrity())?;
    tell(&format!(
        "ledger: integrity checked in {:.1} s, {} problems",
        begun.elapsed().as_secs_f64(),
        problems.len()
    ))?;
    drop(store);
    Ok(fs::remove_file(path)?)
}

/// What operations cost as the engine writes them, beside plain appends of the same bytes: intents first, then what they came to.
fn operations(path: &Path, batch: u64) -> Result<()> {
    let tenant = TenantId::new("tenant")?;
    let operations = OPERATIONS.min(batch * 2000);
    let store = open(path)?;
    let (mut bytes, mut turns) = (0, Vec::new());
    let mut spent = Duration::ZERO;
    for first in (0..operations).step_by(batch as usize) {
        let (mut intents, mut ends) = (Transaction::new(tenant.clone()), Transaction::new(tenant.clone()));
        let mut size = 0;
        for n in first..first + batch {
            let intent = Key::of(&["job", &uuid(n)]);
            let key = LedgerKey::member(
                ContainerRef::parse("share", &uuid((n / MEMBERS) | (1 << 40)))?,
                PrincipalRef::parse("directory", &uuid(n))?,
            );
            let row = LedgerRow::new(Origin::Ours, [JobId::new("job")?]);
            size += 2 * 200 + 3 * 40 + 80;
            intents.write(Write::Put {
                table: Table::Intent,
                key: intent.clone(),
                bytes: vec![b'x'; 200],
            });
            ends.write(Write::Delete {
                table: Table::Intent,
                key: intent.clone(),
            });
            ends.write(Write::Ledger { key, row: Some(row) });
            ends.write(Write::Append {
                log: Log::Audit,
                key: intent,
                bytes: vec![b'x'; 200],
            });
        }
        let begun = Instant::now();
        block_on(store.commit(intents))?;
        block_on(store.commit(ends))?;
        spent += begun.elapsed();
        bytes += size;
        turns.push(size);
    }
    drop(store);
    fs::remove_file(path)?;
    let mut plain = File::create(path)?;
    let begun = Instant::now();
    for size in turns {
        for half in [size / 2, size - size / 2] {
            plain.write_all(&vec![b'x'; half])?;
            plain.sync_data()?;
        }
    }
    let appended = begun.elapsed();
    fs::remove_file(path)?;
    tell(&format!(
        "operations in batches of {batch}: {:.0}/s; {bytes} bytes appended plainly, with as many waits for the disk: {:.0}/s; \
         {:.2} times as long",
        per_second(operations, spent),
        per_second(operations, appended),
        spent.as_secs_f64() / appended.as_secs_f64()
    ))
}

/// Transactions of one value each, of which many wait together.
fn together(path: &Path) -> Result<()> {
    for waiting in [1, 8, 64] {
        let store = open(path)?;
        let begun = Instant::now();
        for round in 0..4096 / waiting {
            block_on(try_join_all((0..waiting).map(|n| {
                let mut transaction = Transaction::new(TenantId::new("tenant").expect("a literal is an id"));
                transaction.write(Write::Put {
                    table: Table::Base,
                    key: Key::of(&[&uuid(round * waiting + n)]),
                    bytes: vec![b'x'; 200],
                });
                store.commit(transaction)
            })))?;
        }
        let spent = begun.elapsed();
        let times = Instant::now();
        for _ in 0..1000 {
            block_on(store.now())?;
        }
        tell(&format!(
            "transactions, {waiting} at once: {:.0}/s; the time told in {:.0} µs",
            per_second(4096, spent),
            times.elapsed().as_secs_f64() * 1e3
        ))?;
        drop(store);
        fs::remove_file(path)?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<SqliteStore> {
    Ok(SqliteStore::open(path, SqliteOptions::default())?)
}

/// A number that looks random, the same for the same `n`.
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) >> 1
}

fn uuid(n: u64) -> String {
    let (a, b) = (mixed(n), mixed(n ^ 1 << 63));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

fn per_second(count: u64, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64()
}

fn tell(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
