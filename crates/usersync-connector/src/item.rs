//! Systems that keep people's diaries, tasks and contacts.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_model::{ItemKind, ObjectId, OperationId, SystemId};

use crate::context::CallContext;
use crate::error::Result;
use crate::membership::{Applied, Precondition, TargetCapabilities, Version};
use crate::read::{Cursor, ReadStream};

/// One person's diary, tasks or contacts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemCollection {
    /// Whose: the id of the account.
    pub account: ObjectId,
    /// Which of them.
    pub kind: ItemKind,
}

/// An item as a system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it is kept. May change at any time; identifies it only towards the system, until then.
    pub href: ObjectId,
    /// Its version, where the system has conditional writes.
    pub version: Option<Version>,
    /// When it changed last, by the system's clock.
    pub changed: Option<DateTime<Utc>>,
    /// iCalendar or vCard text, with the UID that identifies the item everywhere.
    pub content: Arc<[u8]>,
}

/// One entry of a read of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemEntry {
    /// Nothing is at this place any more; only in a read of changes.
    Removed(ObjectId),
    /// The item is there and looks like this.
    Upsert(Item),
}

/// What a system of items offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCapabilities {
    /// Reads continue from a cursor.
    pub changes: bool,
    /// What its writing half offers; `point_read` is about reading, and `updates` has no meaning: every store of items updates.
    pub target: TargetCapabilities,
}

/// The reading half of an [`ItemStore`].
///
/// # Behavior
/// 1. `items` shows every item of the collection; `Complete` only if nothing was left out. A collection that does not exist fails
///    with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 2. Cursors follow the rules of [`Directory`](crate::Directory), points 6 to 8. An item that moved is told by its new place, with
///    or without the removal of the old one, in any order.
/// 3. With `point_read`, `find` reads one item by its UID as of now, and `None` is proof of absence; without, it fails with
///    [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
/// 4. Content is what was written, or says the same: a system may fold, order and stamp lines as it likes. It never shows part
///    of an item.
/// 5. `now` is the clock by which `changed` is told; `None` where items have no such time.
#[async_trait]
pub trait ItemRead: fmt::Debug + Send + Sync + 'static {
    /// The system that has the items.
    fn system(&self) -> &SystemId;

    /// What it offers.
    fn capabilities(&self) -> ItemCapabilities;

    /// Reads the items of a collection, or what changed since a cursor.
    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry>;

    /// Reads the item with this UID.
    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> Result<Option<Item>>;

    /// The system's own clock.
    async fn now(&self, context: &CallContext) -> Result<Option<DateTime<Utc>>>;
}

/// What is to become of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemChange {
    /// Make it, wherever the system likes.
    Create(Arc<[u8]>),
    /// End it.
    Delete {
        /// Where it is.
        href: ObjectId,
    },
    /// Give it this content.
    Update {
        /// Where it is.
        href: ObjectId,
        /// All of it.
        content: Arc<[u8]>,
    },
}

/// One item operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemOperation {
    /// Names the effect across attempts and restarts.
    pub id: OperationId,
    /// The UID of the item.
    pub uid: ObjectId,
    /// What is to become of it.
    pub change: ItemChange,
    /// What must hold; systems without `conditional_write` ignore it.
    pub precondition: Precondition,
}

/// A system whose items are managed.
///
/// # Behavior
/// 1. `apply` answers one result per operation, in their order. One failing operation does not stop the others.
/// 2. Creating an item whose UID the collection has fails with [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) and has no
///    effect, however often it is tried: one UID, one item.
/// 3. Deleting where nothing is succeeds with `changed: false`; updating there fails with
///    [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 4. A success is visible to the next read, and answers the version that it left, where the system has versions.
/// 5. A failure that is not [`outcome_unknown`](crate::Error::outcome_unknown) had no effect. Where a request may have arrived
///    and its answer did not, the outcome is unknown, whatever broke.
/// 6. With `conditional_write`, an operation whose precondition does not hold fails with
///    [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) and has no effect.
/// 7. With `idempotency_key`, an operation id that had its effect has none again, whatever happened since, and answers what it
///    answered first.
/// 8. A batch larger than `max_batch` fails whole with [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded).
/// 9. Other items and other collections are not touched.
#[async_trait]
pub trait ItemStore: ItemRead {
    /// Applies operations to the items of one collection.
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>>;
}
