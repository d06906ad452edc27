//! Ledger rows as they are stored.

use serde::{Deserialize, Serialize};
use usersync_model::LedgerRow;

use crate::key::LedgerKey;
use crate::transaction::Revision;

/// A ledger row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// The key.
    pub key: LedgerKey,
    /// The row.
    pub row: LedgerRow,
    /// Which write it was: higher than that of every row that the tenant had before.
    pub revision: Revision,
}
