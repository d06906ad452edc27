//! Systems of items that tell less of themselves than they could, or other than they should.

use async_trait::async_trait;
use futures::StreamExt;
use usersync::connector::{
    Applied, CallContext, Cursor, Extent, Item, ItemCapabilities, ItemCollection, ItemEntry, ItemOperation,
    ItemRead, ItemStore, ReadEvent, ReadStream, Result,
};
use usersync::memory::MemoryItems;
use usersync::model::{ObjectId, SystemId};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Guise {
    /// Whoever asks for everything is told what changed since nobody knows when.
    Hasty,
    /// They tell what changed, and say that they cannot: no places are stored of them, so that every run looks at all rows.
    Modest,
    #[default]
    Plain,
}

#[derive(Debug)]
pub(super) struct Guised(pub(super) MemoryItems, pub(super) Guise);

#[async_trait]
impl ItemRead for Guised {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> ItemCapabilities {
        let capabilities = self.0.capabilities();
        ItemCapabilities {
            changes: capabilities.changes && self.1 != Guise::Modest,
            ..capabilities
        }
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let hastes = self.1 == Guise::Hasty && since.is_none();
        let events = self.0.items(collection, since, context);
        if !hastes {
            return events;
        }
        let changes = |event| match event {
            ReadEvent::Begin(_) => ReadEvent::Begin(Extent::Changes),
            ReadEvent::Chunk(_) => ReadEvent::Chunk(Vec::new()),
            end @ ReadEvent::End(_) => end,
        };
        events.map(move |event| event.map(changes)).boxed()
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> Result<Option<Item>> {
        self.0.find(collection, uid, context).await
    }

    async fn now(&self, context: &CallContext) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
        self.0.now(context).await
    }
}

#[async_trait]
impl ItemStore for Guised {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        self.0.apply(collection, operations, context).await
    }
}

/// What changed while the cursor was lost is not known of a system that answers so; it is once it tells everything again.
#[test]
fn promise_09_changes_told_to_who_asks_for_everything_are_not_everything() {
    use crate::items::{FEEDING, GENEROUS, Home, Where, card};

    for offers in [FEEDING, GENEROUS] {
        let mut home = Home::new(1, offers);
        for uid in ["1", "2"] {
            home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada"), ("TEL", "1")]));
        }
        home.settle();
        home.edit(Where::Mail, "1", &[("TEL", "2")]);
        home.remove(Where::Mail, "2");
        home.mail.expire_cursors();
        home.guise = Guise::Hasty;
        let report = home.run();
        assert!(report.pairs.iter().any(|pair| !pair.failed_reads.is_empty()));
        // Somebody needs the text of what the hasty one does not show.
        home.edit(Where::Crm, "1", &[("NOTE", "n")]);
        home.run();
        assert_eq!(home.cards(Where::Crm)["1"]["TEL"], "1", "{offers:?}");
        home.guise = Guise::Plain;
        home.settle();
        for side in [Where::Crm, Where::Mail] {
            let cards = home.cards(side);
            assert_eq!(cards.len(), 1, "{offers:?}, {side:?}");
            assert_eq!(
                (&*cards["1"]["TEL"], &*cards["1"]["NOTE"]),
                ("2", "n"),
                "{offers:?}, {side:?}"
            );
        }
    }
}
