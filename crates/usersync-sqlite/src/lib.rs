//! Durable store for usersync on one machine: SQLite.
//!
//! [`SqliteStore`] keeps the ledger, values, counters, logs and leases in a file of its own or in tables of a host's database. One thread
//! owns the connections, so that no call blocks its caller's executor.

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
