//! What is remembered of each collection that a job fills.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use usersync_connector::Cursor;
use usersync_model::{Digest, ObjectId, PrincipalRef, SystemId};
use usersync_reconcile::Tally;
use usersync_store::{Format, Key, StateRead, Table, Write};

use crate::error::Result;
use crate::job::Job;
use crate::state::job_key;

pub(super) const SERVED: Format = Format {
    name: "usersync.served-collection",
    version: 1,
};

/// A collection that the job has written to, or was about to: durable before its first effect there, until nothing of the
/// job's is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Served {
    /// Whose collection it is, where it is somebody's.
    pub(super) principal: Option<PrincipalRef>,
    /// When it was last known to be as it should be.
    pub(super) agreed: Option<AgreedState>,
}

/// A state in which nothing was to be done: as long as source, policy and target are the same, nothing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgreedState {
    /// Identifies the state of the source.
    pub(super) source: Digest,
    /// The job's policy.
    pub(super) policy: Digest,
    /// Where a read of the target's changes since then begins.
    pub(super) cursor: Cursor,
    /// What was seen.
    pub(super) tally: Tally,
}

fn key(job: &Job, collection: &ObjectId) -> Key {
    Key::of(&[job.id.as_str(), job.target.as_str(), collection.as_str()])
}

/// What is remembered, by the collection at the target.
pub(super) async fn load(state: &dyn StateRead, job: &Job) -> Result<BTreeMap<ObjectId, Served>> {
    let mut chunks = state.values(&job.tenant, Table::Cursor, &job_key(&job.id));
    let mut served = BTreeMap::new();
    while let Some(chunk) = chunks.try_next().await? {
        for (key, stored) in chunk {
            // The cursors of directories have no third part, and another target is not this job's any more.
            let mut parts = key.parts().skip(1);
            let system = parts.next().and_then(|part| SystemId::new(part).ok());
            if system.as_ref() != Some(&job.target) {
                continue;
            }
            if let Some(object) = parts.next().and_then(|part| ObjectId::new(part).ok()) {
                served.insert(object, SERVED.decode(&stored.bytes)?);
            }
        }
    }
    Ok(served)
}

pub(super) fn put(job: &Job, collection: &ObjectId, served: &Served) -> Result<Write> {
    Ok(Write::Put {
        table: Table::Cursor,
        key: key(job, collection),
        bytes: SERVED.encode(served)?,
    })
}

pub(super) fn delete(job: &Job, collection: &ObjectId) -> Write {
    Write::Delete {
        table: Table::Cursor,
        key: key(job, collection),
    }
}
