//! Durable store for usersync on one machine: SQLite.
//!
//! [`SqliteStore`] keeps the ledger, values, counters, logs and leases in a file of its own, or in tables of a host's database. It needs
//! no async runtime: one thread owns the connections, and calls wait for its answers.
//!
//! ```
//! use futures::executor::block_on;
//! use usersync_model::TenantId;
//! use usersync_sqlite::{SqliteOptions, SqliteStore};
//! use usersync_store::{Key, StateRead, StateStore, Transaction, Write};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("usersync-doc-{}.db", std::process::id()));
//! let store = SqliteStore::open(&path, SqliteOptions::default())?;
//! let tenant = TenantId::new("acme")?;
//! let counter = Key::of(&["seats", "user"]);
//! let mut transaction = Transaction::new(tenant.clone());
//! transaction.write(Write::Add { counter: counter.clone(), delta: 1 });
//! block_on(store.commit(transaction))?;
//! drop(store);
//!
//! let store = SqliteStore::open(&path, SqliteOptions::default())?;
//! assert_eq!(block_on(store.counter(&tenant, &counter))?, 1);
//! # drop(store);
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//! - What was committed survives the end of the process in any way and, with [`Durability::Full`], a loss of power. Transactions that
//!   wait at the same time share one wait for the disk; each succeeds or is refused by itself.
//! - Several handles and processes may open one file. A lease is held against all of them. Revisions and sequences rise
//!   for ever, and so do fencing tokens. Leases do not wait for the disk: a loss of power, which ends all holders, may undo what happened to
//!   leases, and what the clock noted, since the last commit, so that a token may be given again under which nothing was committed.
//! - The clock never goes back, for no handle, process or restart but that after a loss of power: each time is noted before it is told.
//!   While the system's clock is behind, the store's stands still.
//! - A stream shows what was committed before it was asked for, whatever is committed while it is read. It holds a connection of its own
//!   until it was read or is dropped.
//! - A file that is damaged, foreign, newer, locked or may not be written is refused with the reason, and not changed. SQLite notices
//!   damage to its own structures when it comes across them; [`SqliteStore::check_integrity`] looks for it. It does not notice a bit
//!   that flipped inside a value.
//! - A backup that is restored by SQLite itself, through its backup interface or in a transaction, is followed by the handles that are
//!   open; if its tables are of an older version, they fail until the store is opened again. To put another file in the place of one
//!   that is open, or to take away the two that lie beside it, is never safe. And a store that was restored is in the past: it gives
//!   the revisions, sequences and tokens since then once more. So end all runs before, or one that goes on writes under a token that
//!   another one has as well.
//!
//! # Tables
//! Ids are interned once; a ledger row is four integers: its container, its subject, what it says, and its revision. Ten million memberships of a
//! million people in a hundred thousand containers take about 325 MB, which `cargo run --release -p usersync-benches --bin store_figures`
//! measures. Interned ids stay when the last row that names them is gone.

mod commit;
mod database;
mod error;
mod integrity;
mod lease;
mod ledger;
mod log;
mod names;
mod options;
mod scan;
mod schema;
mod sql;
mod store;
mod values;
mod worker;

pub use integrity::IntegrityProblem;
pub use options::{Durability, SqliteOptions, TablePrefix, TablePrefixError};
pub use store::SqliteStore;
