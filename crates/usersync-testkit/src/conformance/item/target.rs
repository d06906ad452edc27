//! A store of items under check, and what the checks do with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use usersync_connector::{
    Applied, Cursor, Error, ErrorKind, Extent, Item, ItemCapabilities, ItemChange, ItemCollection, ItemEntry,
    ItemOperation, ItemStore, Precondition, ReadStream,
};
use usersync_model::{Digest, ObjectId, OperationId};

use super::super::cursors::Cursors;
use super::super::read::follow;
use super::super::{Point, Violation, object};
use super::ItemHarness;

pub(super) type Checked = Result<(), Violation>;

/// What items say, by UID.
pub(super) type Said = BTreeMap<String, String>;

pub(super) const fn read_point(number: u8) -> Point {
    Point("ItemRead", number)
}

pub(super) const fn point(number: u8) -> Point {
    Point("ItemStore", number)
}

/// A fresh system and what the checks do with it.
pub(super) struct Target<'h> {
    pub(super) harness: &'h dyn ItemHarness,
    pub(super) connector: Arc<dyn ItemStore>,
    pub(super) can: ItemCapabilities,
    /// The collection that is written.
    pub(super) book: ItemCollection,
    pub(super) other: ItemCollection,
}

impl<'h> Target<'h> {
    /// `book` with the items 0 and 1, `other` with 0 and 2, in their variant 0.
    pub(super) async fn sample(harness: &'h dyn ItemHarness) -> Self {
        let [book, other] = harness.collections();
        let texts = |numbers: [u32; 2]| numbers.map(|number| harness.text(number, 0)).to_vec();
        let content = vec![(book.clone(), texts([0, 1])), (other.clone(), texts([0, 2]))];
        let connector = harness.fresh(content).await;
        Self {
            harness,
            can: connector.capabilities(),
            connector,
            book,
            other,
        }
    }

    /// What items say, given by number and variant.
    pub(super) fn said(&self, items: &[(u32, u32)]) -> Said {
        let items = items.iter();
        items
            .map(|(number, variant)| {
                (
                    format!("item-{number}"),
                    name_of(&self.harness.text(*number, *variant)),
                )
            })
            .collect()
    }

    pub(super) fn create(&self, number: u32, variant: u32) -> ItemChange {
        ItemChange::Create(self.harness.text(number, variant).into())
    }

    pub(super) fn operation(&self, id: u32, number: u32, change: ItemChange) -> ItemOperation {
        ItemOperation {
            id: OperationId::from_digest(&Digest::of("usersync-testkit", &id.to_be_bytes())),
            uid: uid(number),
            change,
            precondition: Precondition::None,
        }
    }

    pub(super) async fn update(
        &self,
        point: Point,
        done: &str,
        number: u32,
        variant: u32,
    ) -> Result<ItemChange, Violation> {
        let href = self.item(point, done, number).await?.href;
        let content = self.harness.text(number, variant).into();
        Ok(ItemChange::Update { href, content })
    }

    pub(super) async fn apply(&self, operations: &[ItemOperation]) -> Vec<Result<Applied, Error>> {
        let context = self.harness.context();
        self.connector.apply(&self.book, operations, &context).await
    }

    pub(super) async fn apply_one(
        &self,
        point: Point,
        done: &str,
        operation: ItemOperation,
    ) -> Result<Result<Applied, Error>, Violation> {
        let mut results = self.apply(&[operation]).await;
        match (results.pop(), results.pop()) {
            (Some(result), None) => Ok(result),
            (result, _) => Err(point.violated(done, "one result", result)),
        }
    }

    pub(super) async fn answers(
        &self,
        point: Point,
        done: &str,
        operation: ItemOperation,
        changed: bool,
    ) -> Result<Applied, Violation> {
        let result = self.apply_one(point, done, operation).await?;
        let applied = point.succeeds(done, result)?;
        let expected = format!("success with changed: {changed}");
        point.holds(applied.changed == changed, done, expected, &applied)?;
        Ok(applied)
    }

    /// Must fail like this, and have no effect.
    pub(super) async fn fails(
        &self,
        point: Point,
        done: &str,
        operation: ItemOperation,
        kind: ErrorKind,
    ) -> Checked {
        let before = self.items_said(point, done, &self.book).await?;
        let result = self.apply_one(point, done, operation).await?;
        point.fails(done, kind, result)?;
        let after = self.items_said(point, done, &self.book).await?;
        point.equal(format!("{done}; items after it"), &before, &after)
    }

    pub(super) fn stream(&self, collection: &ItemCollection, since: Option<Cursor>) -> ReadStream<ItemEntry> {
        self.connector.items(collection, since, &self.harness.context())
    }

    pub(super) async fn items(
        &self,
        point: Point,
        done: &str,
        collection: &ItemCollection,
    ) -> Result<Vec<Item>, Violation> {
        let followed = follow(self.stream(collection, None)).await;
        let (entries, _) = followed.complete(point, done, Extent::Full)?;
        let mut items = Vec::new();
        for entry in entries {
            match entry {
                ItemEntry::Removed(href) => {
                    return Err(point.violated(done, "no removals in a full read", href));
                }
                ItemEntry::Upsert(item) => items.push(item),
            }
        }
        Ok(items)
    }

    /// What a collection's items say; each UID once.
    pub(super) async fn items_said(
        &self,
        point: Point,
        done: &str,
        collection: &ItemCollection,
    ) -> Result<Said, Violation> {
        let mut said = Said::new();
        for item in self.items(point, done, collection).await? {
            let uid = line_of(&item.content, "UID");
            if said.insert(uid.clone(), name_of(&item.content)).is_some() {
                return Err(point.violated(done, "one item of each UID", uid));
            }
        }
        Ok(said)
    }

    pub(super) async fn item(&self, point: Point, done: &str, number: u32) -> Result<Item, Violation> {
        let items = self.items(point, done, &self.book).await?;
        let wanted = format!("item-{number}");
        let found = items
            .into_iter()
            .find(|item| line_of(&item.content, "UID") == wanted);
        found.ok_or_else(|| point.violated(done, format!("the item {wanted}"), "none"))
    }

    pub(super) fn cursors<'a>(
        &self,
        read: &'a (dyn Fn(Option<Cursor>) -> ReadStream<ItemEntry> + Sync),
    ) -> Cursors<'a, ItemEntry, BTreeMap<ObjectId, String>> {
        Cursors {
            point: read_point(2),
            read,
            start: BTreeMap::new(),
            fold: |items, entry| match entry {
                ItemEntry::Removed(href) => drop(items.remove(&href)),
                ItemEntry::Upsert(item) => {
                    // An item that moved is told by its new place; that the old one is empty need not be told.
                    let said = line_of(&item.content, "UID") + " " + &name_of(&item.content);
                    let uid = line_of(&item.content, "UID") + " ";
                    items.retain(|_, old| !old.starts_with(&uid));
                    items.insert(item.href, said);
                }
            },
        }
    }
}

pub(super) fn uid(number: u32) -> ObjectId {
    object(&format!("item-{number}"))
}

pub(super) fn name_of(content: &[u8]) -> String {
    line_of(content, "FN")
}

/// The value of the first line of this name, without folds; empty if there is none.
pub(super) fn line_of(content: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(content)
        .replace("\r\n ", "")
        .replace("\n ", "");
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        let found = found.split(';').next().unwrap_or_default();
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_default()
}
