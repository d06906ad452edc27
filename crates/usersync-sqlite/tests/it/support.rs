//! What the tests share.

use std::fs;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::executor::block_on;
use usersync_model::{ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, TenantId};
use usersync_sqlite::{SqliteOptions, SqliteStore};
use usersync_store::{
    Chunks, Key, LedgerEntry, LedgerKey, Result, StateRead, StateStore, StoreErrorKind, Table, Transaction,
    Write,
};

/// A folder of the test's own, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("usersync-sqlite-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                // Left by an earlier process with this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.unwrap();
                    return Self(path);
                }
            }
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("state.db")
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A time that moves when a test says so, in microseconds.
#[derive(Clone)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_767_225_600_000_000)))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }

    /// Also back.
    pub(crate) fn move_by(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub(crate) fn options(&self) -> SqliteOptions {
        let time = self.clone();
        SqliteOptions::default().with_clock(move || time.now())
    }
}

/// The default, but impatient.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default().with_busy_timeout(Duration::from_millis(20))
}

pub(crate) fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, options()).unwrap()
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn acme() -> TenantId {
    tenant("acme")
}

pub(crate) fn key(name: &str) -> Key {
    Key::of(&[name])
}

pub(crate) fn container(name: &str) -> ContainerRef {
    ContainerRef::parse("share", name).unwrap()
}

pub(crate) fn member(of: &str, who: &str) -> LedgerKey {
    LedgerKey::member(container(of), PrincipalRef::parse("directory", who).unwrap())
}

pub(crate) fn ours(job: &str) -> LedgerRow {
    LedgerRow::new(Origin::Ours, [JobId::new(job).unwrap()])
}

pub(crate) fn put(name: &str, bytes: &[u8]) -> Write {
    Write::Put {
        table: Table::Base,
        key: key(name),
        bytes: bytes.to_vec(),
    }
}

pub(crate) fn add(name: &str, delta: i64) -> Write {
    Write::Add {
        counter: key(name),
        delta,
    }
}

pub(crate) fn transaction(writes: Vec<Write>) -> Transaction {
    Transaction {
        writes,
        ..Transaction::new(acme())
    }
}

pub(crate) fn commit(store: &dyn StateStore, writes: Vec<Write>) -> Result<()> {
    block_on(store.commit(transaction(writes)))
}

/// Also that reads and writes go on after it.
pub(crate) fn works(store: &SqliteStore) {
    commit(store, vec![put("works", b"yes")]).unwrap();
    assert_eq!(bytes(store, "works").as_deref(), Some(b"yes".as_slice()));
}

pub(crate) fn bytes(store: &SqliteStore, name: &str) -> Option<Vec<u8>> {
    let stored = block_on(store.value(&acme(), Table::Base, &key(name))).unwrap();
    stored.map(|stored| stored.bytes)
}

pub(crate) fn all<T>(mut chunks: Chunks<T>) -> Result<Vec<T>> {
    block_on(async {
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().await {
            all.extend(chunk?);
        }
        Ok(all)
    })
}

pub(crate) fn rows(store: &dyn StateRead) -> Vec<LedgerEntry> {
    all(store.ledger(&acme(), None)).unwrap()
}

pub(crate) fn kind<T>(result: Result<T>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind())
}

/// A command that runs one test of this program, as a child that does what the variable tells.
pub(crate) fn child(test: &str, variable: &str, value: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(variable, value);
    command
}

/// Random numbers, the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
