//! A system of records under check, and what the checks do with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use usersync_connector::{
    Applied, Cursor, Error, ErrorKind, Extent, Precondition, PresentRecord, ReadStream, RecordCapabilities,
    RecordChange, RecordEntry, RecordOperation, RecordRequest, RecordTarget, Version,
};
use usersync_model::{Digest, Facet, FacetName, ObjectId, OperationId, Record, RecordRef};

use super::super::cursors::Cursors;
use super::super::read::follow;
use super::super::{Point, Violation};
use super::RecordHarness;

pub(super) type Checked = Result<(), Violation>;
pub(super) type Records = BTreeMap<RecordRef, Record>;

pub(super) const fn read_point(number: u8) -> Point {
    Point("RecordRead", number)
}

pub(super) const fn point(number: u8) -> Point {
    Point("RecordTarget", number)
}

/// A fresh system and what the checks do with it.
pub(super) struct Target<'h> {
    pub(super) harness: &'h dyn RecordHarness,
    pub(super) connector: Arc<dyn RecordTarget>,
    pub(super) can: RecordCapabilities,
    /// The collection that is written.
    pub(super) book: Option<ObjectId>,
    /// Another one, where there is another.
    pub(super) other: Option<Option<ObjectId>>,
}

impl<'h> Target<'h> {
    /// `book` with the records `numbers`, `other` with 0 and 2, in their variant 0.
    pub(super) async fn with(harness: &'h dyn RecordHarness, numbers: &[u32]) -> Self {
        let mut names = harness.collections().into_iter();
        let book = names.next().flatten();
        let other = names.next();
        let records = |numbers: &[u32]| numbers.iter().map(|n| harness.record(*n, 0)).collect::<Vec<_>>();
        let mut content = vec![(book.clone(), records(numbers))];
        content.extend(other.clone().map(|other| (other, records(&[0, 2]))));
        let connector = harness.fresh(content).await;
        Self {
            harness,
            can: connector.capabilities(),
            connector,
            book,
            other,
        }
    }

    /// `book` with the records 0 and 1.
    pub(super) async fn sample(harness: &'h dyn RecordHarness) -> Self {
        Self::with(harness, &[0, 1]).await
    }

    pub(super) fn id(&self, number: u32) -> RecordRef {
        self.harness.record(number, 0).id
    }

    /// The records `numbers` in their variant 0.
    pub(super) fn plain(&self, numbers: &[u32]) -> Records {
        let records = numbers.iter().map(|n| self.harness.record(*n, 0));
        records.map(|record| (record.id.clone(), record)).collect()
    }

    /// One facet of another variant of a record.
    pub(super) fn one_facet(&self, number: u32, variant: u32) -> BTreeMap<FacetName, Facet> {
        self.harness
            .record(number, variant)
            .facets
            .into_iter()
            .take(1)
            .collect()
    }

    pub(super) fn create(&self, number: u32, variant: u32) -> RecordChange {
        RecordChange::Create(self.harness.record(number, variant))
    }

    pub(super) fn operation(&self, id: u32, number: u32, change: RecordChange) -> RecordOperation {
        RecordOperation {
            id: OperationId::from_digest(&Digest::of("usersync-testkit", &id.to_be_bytes())),
            record: self.id(number),
            change,
            precondition: Precondition::None,
        }
    }

    pub(super) fn creations(&self, count: usize) -> Vec<RecordOperation> {
        let numbers = 0..count as u32;
        numbers
            .map(|n| self.operation(n, 100 + n, self.create(100 + n, 0)))
            .collect()
    }

    pub(super) async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
    ) -> Vec<Result<Applied, Error>> {
        self.connector
            .apply(collection, operations, &self.harness.context())
            .await
    }

    pub(super) async fn apply_one(
        &self,
        point: Point,
        done: &str,
        collection: Option<&ObjectId>,
        operation: RecordOperation,
    ) -> Result<Result<Applied, Error>, Violation> {
        let mut results = self.apply(collection, &[operation]).await;
        match (results.pop(), results.pop()) {
            (Some(result), None) => Ok(result),
            (result, _) => Err(point.violated(done, "one result", result)),
        }
    }

    pub(super) async fn succeeds(
        &self,
        point: Point,
        done: &str,
        operation: RecordOperation,
    ) -> Result<Applied, Violation> {
        let result = self.apply_one(point, done, self.book.as_ref(), operation).await?;
        point.succeeds(done, result)
    }

    pub(super) async fn answers(
        &self,
        point: Point,
        done: &str,
        operation: RecordOperation,
        changed: bool,
    ) -> Result<Applied, Violation> {
        let applied = self.succeeds(point, done, operation).await?;
        let expected = format!("success with changed: {changed}");
        point.holds(applied.changed == changed, done, expected, &applied)?;
        Ok(applied)
    }

    /// Must fail like this, and have no effect.
    pub(super) async fn fails(
        &self,
        point: Point,
        done: &str,
        operation: RecordOperation,
        kind: ErrorKind,
    ) -> Checked {
        let before = self.records(point, done).await?;
        let result = self.apply_one(point, done, self.book.as_ref(), operation).await?;
        point.fails(done, kind, result)?;
        let after = self.records(point, done).await?;
        point.equal(format!("{done}; records after it"), &before, &after)
    }

    pub(super) async fn fails_without_effect(
        &self,
        point: Point,
        done: &str,
        operation: RecordOperation,
    ) -> Checked {
        let before = self.records(point, done).await?;
        match self.apply_one(point, done, self.book.as_ref(), operation).await? {
            Ok(applied) => Err(point.violated(done, "a failure", applied)),
            Err(error) if error.outcome_unknown() => Ok(()),
            Err(_) => {
                let after = self.records(point, done).await?;
                point.equal(done, &before, &after)
            }
        }
    }

    pub(super) fn stream(
        &self,
        collection: Option<ObjectId>,
        since: Option<Cursor>,
    ) -> ReadStream<RecordEntry> {
        let request = RecordRequest { collection, since };
        self.connector.records(request, &self.harness.context())
    }

    pub(super) async fn present(
        &self,
        point: Point,
        done: &str,
        collection: Option<ObjectId>,
    ) -> Result<Vec<PresentRecord>, Violation> {
        let followed = follow(self.stream(collection, None)).await;
        let (entries, _) = followed.complete(point, done, Extent::Full)?;
        let mut present = Vec::new();
        for entry in entries {
            match entry {
                RecordEntry::Removed(id) => {
                    return Err(point.violated(done, "no removals in a full read", id));
                }
                RecordEntry::Upsert(record) => present.push(record),
            }
        }
        Ok(present)
    }

    pub(super) async fn records_of(
        &self,
        point: Point,
        done: &str,
        collection: Option<ObjectId>,
    ) -> Result<Records, Violation> {
        let present = self.present(point, done, collection).await?;
        let records = present.into_iter().map(|present| present.record);
        Ok(records.map(|record| (record.id.clone(), record)).collect())
    }

    pub(super) async fn records(&self, point: Point, done: &str) -> Result<Records, Violation> {
        self.records_of(point, done, self.book.clone()).await
    }

    pub(super) async fn record(
        &self,
        point: Point,
        done: &str,
        number: u32,
    ) -> Result<Option<PresentRecord>, Violation> {
        let (id, context) = (self.id(number), self.harness.context());
        let result = self.connector.record(self.book.as_ref(), &id, &context).await;
        point.succeeds(done, result)
    }

    pub(super) async fn version(&self, point: Point, done: &str, number: u32) -> Result<Version, Violation> {
        let present = self.present(point, done, self.book.clone()).await?;
        let id = self.id(number);
        let version = present
            .iter()
            .find(|present| present.record.id == id)
            .and_then(|present| present.version.clone());
        version.ok_or_else(|| point.violated(done, "the record with a version", present))
    }

    pub(super) fn cursors<'a>(
        &self,
        read: &'a (dyn Fn(Option<Cursor>) -> ReadStream<RecordEntry> + Sync),
    ) -> Cursors<'a, RecordEntry, Records> {
        Cursors {
            point: read_point(2),
            read,
            start: Records::new(),
            fold: |records, entry| match entry {
                RecordEntry::Removed(id) => drop(records.remove(&id)),
                RecordEntry::Upsert(present) => {
                    records.insert(present.record.id.clone(), present.record);
                }
            },
        }
    }
}
