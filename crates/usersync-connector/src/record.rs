//! Systems that keep records.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_model::{Digest, Facet, FacetName, ObjectId, OperationId, Record, RecordRef, SystemId};

use std::collections::BTreeMap;

use crate::context::CallContext;
use crate::error::Result;
use crate::membership::{Applied, Precondition, TargetCapabilities, Version};
use crate::read::{Cursor, ReadStream};

/// A record as a system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentRecord {
    /// The record.
    pub record: Record,
    /// Its version, where the system has conditional writes.
    pub version: Option<Version>,
    /// When it changed last, by the system's clock, where the system knows.
    pub changed: Option<DateTime<Utc>>,
}

/// One entry of a read of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordEntry {
    /// The record is gone; only in a read of changes.
    Removed(RecordRef),
    /// The record is there and looks like this.
    Upsert(PresentRecord),
}

/// Which records are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordRequest {
    /// The collection (a person's address book, an organisation); `None` is the system's only one.
    pub collection: Option<ObjectId>,
    /// Read only what changed since then.
    pub since: Option<Cursor>,
}

/// A system that shows records: the source of a record job, and the reading half of a [`RecordTarget`].
///
/// # Behavior
/// 1. `records` shows every record of the collection, with every facet that says anything; `Complete` only if nothing was left out.
///    A facet that a record of a partial read does not name is not known. A collection that does not exist fails with
///    [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 2. Cursors follow the rules of [`Directory`](crate::Directory), points 6 to 8.
/// 3. With `point_read`, `record` reads one record as of now, and `None` is proof of absence; without, it fails with
///    [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
/// 4. Two reads without a change between them show equal records: facets are canonical.
/// 5. Connectors that are configured alike have the same `filter`, whatever the system holds.
#[async_trait]
pub trait RecordRead: fmt::Debug + Send + Sync + 'static {
    /// The system that has the records.
    fn system(&self) -> &SystemId;

    /// What it offers.
    fn capabilities(&self) -> RecordCapabilities;

    /// Identifies which records reads show, and by which rules, as [`Directory::filter`](crate::Directory::filter) does.
    fn filter(&self) -> Option<Digest> {
        None
    }

    /// Reads records.
    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry>;

    /// Reads one record.
    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>>;
}

/// What a system of records offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCapabilities {
    /// Reads continue from a cursor.
    pub changes: bool,
    /// What its writing half offers; `point_read` is about reading.
    pub target: TargetCapabilities,
}

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Make it.
    Create(Record),
    /// End it.
    Delete,
    /// Give it these facets; the others stay.
    Update(BTreeMap<FacetName, Facet>),
}

/// One record operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOperation {
    /// Names the effect across attempts and restarts.
    pub id: OperationId,
    /// Which record, by the system and id it comes from.
    pub record: RecordRef,
    /// What is to become of it.
    pub change: RecordChange,
    /// What must hold; targets without `conditional_write` ignore it.
    pub precondition: Precondition,
}

/// A system whose records are managed.
///
/// # Behavior
/// As for [`MembershipTarget`](crate::MembershipTarget), with records for members: creating one that is there with equal facets and deleting one that is
/// not succeed with `changed: false`; creating one that is there with other facets fails with
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists); an update leaves facets that it does not name as they are.
#[async_trait]
pub trait RecordTarget: RecordRead {
    /// Applies operations to the records of one collection.
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>>;
}
