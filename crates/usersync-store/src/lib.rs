//! The traits of `usersync`'s own durable state.
//!
//! A store keeps the ledger, opaque values with revisions, counters, logs and leases. What must be atomic together is one
//! [`Transaction`], a value of checks and writes. Reading ([`StateRead`]) and writing ([`StateStore`]) are apart, so that a
//! preview holds no write handle by type.

mod codec;
mod error;
mod fields;
mod key;
mod lease;
mod ledger;
mod store;
mod transaction;

pub use codec::Format;
pub use error::{Result, StoreError, StoreErrorKind};
pub use fields::{Encoded, Fields};
pub use key::{Key, LedgerKey, Log, Table};
pub use lease::{Fence, FencingToken, Lease, LeaseName};
pub use ledger::LedgerEntry;
pub use store::{Chunks, LogEntry, StateRead, StateStore};
pub use transaction::{Check, Revision, Stored, Transaction, Write};
