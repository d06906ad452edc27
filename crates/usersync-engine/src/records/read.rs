//! Reading one collection.

use std::sync::Arc;

use usersync_connector::{
    CallContext, Cursor, ErrorKind, Extent, PresentRecord, RecordEntry, RecordRead, RecordRequest, Retry,
};
use usersync_model::{Completeness, ObjectId, PartialReason, RecordRef};

use crate::full::told_changes;
use crate::ports::Bounds;

/// The records of one collection as its system shows them.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Ascending by id; a record told twice in the same way is there once.
    pub(crate) records: Vec<PresentRecord>,
    /// Why there may be others.
    pub(crate) rest: Option<PartialReason>,
    /// Whether there surely is no such collection.
    pub(crate) missing: bool,
    /// Where a read of changes continues; only of a complete read.
    pub(super) cursor: Option<Cursor>,
    /// The error that ended the read: its code, and whether trying again may help.
    pub(super) failed: Option<(&'static str, Retry)>,
}

/// What changed in one collection since a cursor.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) entries: Vec<RecordEntry>,
    pub(super) cursor: Option<Cursor>,
}

/// Reads a collection.
pub(crate) async fn read(
    bounds: &Bounds,
    system: &Arc<dyn RecordRead>,
    collection: &ObjectId,
    context: &CallContext,
) -> Shown {
    let request = RecordRequest {
        collection: Some(collection.clone()),
        since: None,
    };
    let mut reader = bounds.follow(system.records(request, context));
    let mut records = Vec::new();
    let mut sound = true;
    while let Some(chunk) = reader.next_chunk().await {
        for entry in chunk {
            match entry {
                RecordEntry::Upsert(record) => records.push(record),
                RecordEntry::Removed(_) => sound = false,
            }
        }
    }
    sound &= reader.extent() != Some(Extent::Changes);
    let error = reader.take_error();
    let error = error.as_ref();
    // Where something was shown, it is the rest that was not found.
    let missing = records.is_empty() && error.is_some_and(|error| error.kind() == ErrorKind::NotFound);
    let failed = error.map(|error| (error.kind().code(), error.retry()));
    let end = reader.finish();
    let limited = |retry| (ErrorKind::RateLimited.code(), retry);
    let failed = failed.or_else(|| end.retry.map(limited));
    let rest = match (
        end.verdict,
        end.partial.into_iter().map(|(_, reason)| reason).min(),
    ) {
        (Completeness::Partial(reason), _) | (Completeness::Complete, Some(reason)) => Some(reason),
        (Completeness::Complete, None) if !sound => Some(told_changes()),
        (Completeness::Complete, None) => None,
    };
    RecordRef::sort(&mut records, |present: &PresentRecord| &present.record.id);
    records.dedup();
    Shown {
        records,
        cursor: end.cursor.filter(|_| rest.is_none()),
        rest,
        missing,
        failed,
    }
}

/// Reads what changed in a collection; `None` unless the answer is complete and is about changes.
pub(super) async fn changes(
    bounds: &Bounds,
    system: &Arc<dyn RecordRead>,
    collection: &ObjectId,
    since: Cursor,
    context: &CallContext,
) -> Option<Changes> {
    let request = RecordRequest {
        collection: Some(collection.clone()),
        since: Some(since),
    };
    let mut reader = bounds.follow(system.records(request, context));
    let mut entries = Vec::new();
    while let Some(chunk) = reader.next_chunk().await {
        entries.extend(chunk);
    }
    let is_changes = reader.extent() == Some(Extent::Changes);
    let end = reader.finish();
    (is_changes && end.verdict.is_complete() && end.partial.is_empty()).then_some(Changes {
        entries,
        cursor: end.cursor,
    })
}

/// The record that an entry is about.
pub(super) fn id_of(entry: &RecordEntry) -> &RecordRef {
    match entry {
        RecordEntry::Removed(id) => id,
        RecordEntry::Upsert(present) => &present.record.id,
    }
}
