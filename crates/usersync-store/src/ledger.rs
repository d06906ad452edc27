//! Ledger rows with their keys.

use serde::{Deserialize, Serialize};
use usersync_model::LedgerRow;

use crate::key::LedgerKey;

/// A ledger row with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// The key.
    pub key: LedgerKey,
    /// The row.
    pub row: LedgerRow,
}
