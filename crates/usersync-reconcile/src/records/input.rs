//! What planning the records of a collection takes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_model::{PartialReason, Record, RecordRef};

use crate::decide::Standing;
use crate::fingerprint::{Fingerprint, Fingerprinter};
use crate::operation::RecordBase;

/// A record as the source shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The record. A facet that it does not name is not compared; one that it names without attributes is empty.
    pub record: Record,
    /// The name shown to people.
    pub name: String,
    /// When it changed last, by the source's clock.
    pub changed: Option<DateTime<Utc>>,
    /// Its fingerprint under the rules planned with, where it is known without reading the facets.
    pub fingerprint: Option<Fingerprint>,
    /// What the rules planned with write of it, where that is at hand: plans that make copies of it share it.
    pub written: Option<Arc<Record>>,
}

impl SourceRecord {
    /// A record that is planned often under the rules of `fingerprinter`, with all that can be found out beforehand; without
    /// a name and a time.
    #[must_use]
    pub fn prepared(record: Record, fingerprinter: &Fingerprinter<'_>) -> Self {
        Self {
            fingerprint: Some(fingerprinter.fingerprint(&record)),
            written: Some(Arc::new(fingerprinter.rules().written(&record))),
            ..Self::new(record)
        }
    }

    /// A record without a name, a time and a fingerprint.
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self {
            record,
            name: String::new(),
            changed: None,
            fingerprint: None,
            written: None,
        }
    }
}

/// A record as the target shows it, under the id of the record that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRecord {
    /// The record. A facet that it does not name is empty, unless there may be others: then it is not known.
    pub record: Record,
    /// The name shown to people.
    pub name: String,
    /// The version seen.
    pub version: Option<String>,
    /// When it changed last, by the target's clock.
    pub changed: Option<DateTime<Utc>>,
    /// Its fingerprint under the rules planned with, where it is known without reading the facets.
    pub fingerprint: Option<Fingerprint>,
    /// Whether it belongs to an administrator or is otherwise protected.
    pub privileged: bool,
}

impl TargetRecord {
    /// An unprivileged record without a name, a version, a time and a fingerprint.
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self {
            record,
            name: String::new(),
            version: None,
            changed: None,
            fingerprint: None,
            privileged: false,
        }
    }
}

/// What the ledger says about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// Which record.
    pub id: RecordRef,
    /// What the row says, seen from the job.
    pub standing: Standing,
    /// What was stored with it.
    pub base: RecordBase,
}

/// The records of one side, ascending by their ids. A record that comes twice is reported and left alone.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a, I> {
    /// The records seen.
    pub records: I,
    /// Why there may be others; `None`: there are none.
    pub rest: Option<&'a PartialReason>,
    /// Which records surely are not there, though others may be; ascending.
    pub absent: &'a [RecordRef],
}

impl<I> Records<'_, I> {
    /// All records that there are.
    pub fn complete(records: I) -> Self {
        Self {
            records,
            rest: None,
            absent: &[],
        }
    }
}
