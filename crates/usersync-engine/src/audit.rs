//! The audit log: who did what, of several kinds in one log.

use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use usersync_model::{OperationId, TenantId};
use usersync_store::{Format, Log, LogEntry, StateRead};

use crate::error::Result;

/// What an entry of the log is about; the first part of its key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Booking,
    Job,
    Link,
    Operation,
}

impl About {
    /// The first part of the keys; those of operations begin with the operation itself.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Booking => "booking",
            Self::Job => "job",
            Self::Link => "link",
            Self::Operation => "",
        }
    }

    fn is_of(self, entry: &LogEntry) -> bool {
        let first = entry.key.parts().next().unwrap_or_default();
        match self {
            Self::Operation => first.parse::<OperationId>().is_ok(),
            _ => first == self.prefix(),
        }
    }
}

/// The entries of one kind, in the order of their writing.
pub(crate) async fn load<T: DeserializeOwned>(
    state: &dyn StateRead,
    tenant: &TenantId,
    about: About,
    format: Format,
) -> Result<Vec<T>> {
    let mut chunks = state.log(tenant, Log::Audit, 0);
    let mut records = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        for entry in chunk.iter().filter(|entry| about.is_of(entry)) {
            records.push(format.decode(&entry.bytes)?);
        }
    }
    Ok(records)
}
