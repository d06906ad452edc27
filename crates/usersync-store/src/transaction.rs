//! What is written together, as a value.

use usersync_model::{LedgerRow, TenantId};

use crate::key::{Key, LedgerKey, Log, Table};
use crate::lease::Fence;

/// Rises with every write of a value, and is never the same for two writes of one key.
pub type Revision = u64;

/// A stored value: bytes that mean nothing to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The bytes as they were put.
    pub bytes: Vec<u8>,
    /// Which write it was.
    pub revision: Revision,
}

/// What must hold for a transaction to be committed. All checks see the state before the writes, except
/// [`Check::AtMost`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// After the writes, these counters together are at most `limit`.
    AtMost {
        /// The counters; one that was never written is 0.
        counters: Vec<Key>,
        /// The largest sum allowed.
        limit: u64,
    },
    /// The ledger row is still this one; `None`: there is none.
    Ledger {
        /// Which row.
        key: LedgerKey,
        /// What it must be.
        row: Option<LedgerRow>,
        /// And nobody wrote it since: its revision is this one or a lower one, such as the highest of all rows that one
        /// [`ledger`](crate::StateRead::ledger) showed. `None`: it may have been another one meanwhile. Of a row that is not there,
        /// no store remembers since when.
        as_of: Option<Revision>,
    },
    /// The value is still at this revision; `None`: there is none.
    Value {
        /// The table.
        table: Table,
        /// Which value.
        key: Key,
        /// What it must be.
        revision: Option<Revision>,
    },
}

/// One write. Writes take effect in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Adds to a counter, which is never below zero: subtracting more than there is leaves zero.
    Add {
        /// The counter.
        counter: Key,
        /// How much.
        delta: i64,
    },
    /// Appends to a log, unless the log has an undelivered entry with this key.
    Append {
        /// The log.
        log: Log,
        /// Names the entry.
        key: Key,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// Removes a value, if there is one.
    Delete {
        /// The table.
        table: Table,
        /// Which value.
        key: Key,
    },
    /// Marks a log entry delivered: it is not read again.
    Deliver {
        /// The log.
        log: Log,
        /// Which entry.
        sequence: u64,
    },
    /// Sets or removes a ledger row.
    Ledger {
        /// Which row.
        key: LedgerKey,
        /// What it becomes.
        row: Option<LedgerRow>,
    },
    /// Sets a value.
    Put {
        /// The table.
        table: Table,
        /// Which value.
        key: Key,
        /// What it becomes.
        bytes: Vec<u8>,
    },
}

/// Checks and writes of one tenant that are committed together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The tenant.
    pub tenant: TenantId,
    /// The lease under which it is written, if it needs one.
    pub fence: Option<Fence>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What is written.
    pub writes: Vec<Write>,
}

impl Transaction {
    /// An empty transaction.
    #[must_use]
    pub fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            fence: None,
            checks: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// The same transaction under a lease.
    #[must_use]
    pub fn under(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Adds a check.
    pub fn check(&mut self, check: Check) -> &mut Self {
        self.checks.push(check);
        self
    }

    /// Adds a write.
    pub fn write(&mut self, write: Write) -> &mut Self {
        self.writes.push(write);
        self
    }
}
