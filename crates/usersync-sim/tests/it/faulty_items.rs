//! Systems of items that break their contracts in one way each, and the rules of the office that notice.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use usersync_connector::{
    Applied, CallContext, Cursor, Item, ItemCapabilities, ItemChange, ItemCollection, ItemEntry,
    ItemOperation, ItemRead, ItemStore, Precondition, ReadEvent, ReadStream,
};
use usersync_memory::MemoryItems;
use usersync_model::{ObjectId, SystemId};

use crate::faulty::check;

/// What a faulty system of items does wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// It makes everything twice, at two places.
    DoublesItems,
    /// Reads leave out an item, and say that they are complete.
    HidesItems,
    /// Preconditions are not looked at.
    OverwritesItems,
    /// It says that it did what it did not.
    WritesNothing,
}

#[derive(Clone, Debug)]
struct FaultyItems {
    inner: MemoryItems,
    wrong: Wrong,
}

#[async_trait]
impl ItemRead for FaultyItems {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> ItemCapabilities {
        self.inner.capabilities()
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let read = self.inner.items(collection, since, context);
        let Wrong::HidesItems = self.wrong else {
            return read;
        };
        let hide = |event| match event {
            Ok(ReadEvent::Chunk(mut chunk)) => {
                chunk.pop();
                Ok(ReadEvent::Chunk(chunk))
            }
            event => event,
        };
        read.map(hide).boxed()
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> usersync_connector::Result<Option<Item>> {
        self.inner.find(collection, uid, context).await
    }

    async fn now(&self, context: &CallContext) -> usersync_connector::Result<Option<DateTime<Utc>>> {
        self.inner.now(context).await
    }
}

#[async_trait]
impl ItemStore for FaultyItems {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<usersync_connector::Result<Applied>> {
        match self.wrong {
            Wrong::DoublesItems => {
                let answers = self.inner.apply(collection, operations, context).await;
                for operation in operations {
                    if let ItemChange::Create(content) = &operation.change {
                        let copy = ObjectId::new(format!("copy of {}", operation.uid));
                        let place = copy.expect("it holds no control characters");
                        self.inner.put_by_hand(collection, place, content);
                    }
                }
                answers
            }
            Wrong::HidesItems => self.inner.apply(collection, operations, context).await,
            Wrong::OverwritesItems => {
                let mut careless = operations.to_vec();
                for operation in &mut careless {
                    operation.precondition = Precondition::None;
                }
                self.inner.apply(collection, &careless, context).await
            }
            Wrong::WritesNothing => operations.iter().map(|_| Ok(Applied::changed())).collect(),
        }
    }
}

fn items(wrong: Wrong, rules: &[&str]) {
    check(
        |simulation| simulation.with_items(move |inner| Arc::new(FaultyItems { inner, wrong })),
        rules,
    );
}

#[test]
fn a_system_that_makes_items_twice_is_caught() {
    items(Wrong::DoublesItems, &["item_twice"]);
}

#[test]
fn a_system_that_hides_items_is_caught() {
    items(Wrong::HidesItems, &["item_lost", "no_rest", "sides_differ"]);
}

#[test]
fn a_system_that_overwrites_what_people_write_is_caught() {
    items(Wrong::OverwritesItems, &["item_lost"]);
}

#[test]
fn a_system_that_claims_to_have_written_is_caught() {
    items(Wrong::WritesNothing, &["sides_differ", "item_lost", "no_rest"]);
}
