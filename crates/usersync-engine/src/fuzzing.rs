//! What fuzz targets reach of the formats in which the engine stores. No part of the API.

use usersync_connector::{Cursor, Notification};
use usersync_reconcile::{Approval, RecordBase};
use usersync_store::{Format, Result};

use crate::job::Job;
use crate::state::{self, AuditRecord, Departure, Intent, JobState};
use crate::{due, history, items, job_audit, links, outbox, records, seats};

/// A format of stored values.
#[derive(Clone, Copy, Debug)]
pub struct StoredFormat {
    /// Its name and version.
    pub format: Format,
    /// Reads a value and writes it again.
    pub rewrite: fn(&[u8]) -> Result<Vec<u8>>,
}

macro_rules! stored {
    ($format:path, $value:ty) => {
        $crate::fuzzing::StoredFormat {
            format: $format,
            rewrite: |bytes| $format.encode(&$format.decode::<$value>(bytes)?),
        }
    };
}
pub(crate) use stored;

/// Every format in which the engine stores.
#[must_use]
pub fn stored_formats() -> Vec<StoredFormat> {
    let mut formats = vec![
        stored!(state::APPROVAL, Approval),
        stored!(state::AUDIT, AuditRecord),
        stored!(state::BASE, RecordBase),
        stored!(state::CURSOR, Cursor),
        stored!(state::DEPARTURE, Departure),
        stored!(state::INTENT, Intent),
        stored!(state::JOB, Job),
        stored!(state::JOB_STATE, JobState),
        stored!(state::NOTIFICATION, Notification),
        due::STORED,
        job_audit::STORED,
        outbox::STORED,
        seats::STORED,
    ];
    formats.extend(history::STORED);
    formats.extend(items::STORED);
    formats.extend(links::STORED);
    formats.extend(records::STORED);
    formats
}
