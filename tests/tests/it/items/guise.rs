//! Systems of items that tell less of themselves than they could, or other than they should.

use async_trait::async_trait;
use futures::StreamExt;
use usersync::connector::{
    Applied, CallContext, Cursor, Extent, Item, ItemCapabilities, ItemCollection, ItemEntry, ItemOperation,
    ItemRead, ItemStore, ReadEvent, ReadStream, Result,
};
use usersync::memory::MemoryItems;
use usersync::model::{ItemKind, ObjectId, SystemId};

use crate::items::{BARE, FEEDING, GENEROUS, Home, SIDES, Where, card, collection, lines, object};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Guise {
    /// Whoever asks for everything is told what changed since nobody knows when.
    Hasty,
    /// They tell what changed, and say that they cannot: no places are stored of them, so that every run looks at all rows.
    Modest,
    /// They tell the difference between two times, and so nothing of what they stored and somebody deleted in between.
    Net,
    #[default]
    Plain,
    /// Whoever asks for everything is told what is there, and of one item that it is not.
    Recanting,
    /// They leave the first of several operations out, and answer for the others.
    Skipping,
    /// They tell what was before each change, and then what is.
    Telling,
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
        let tells_all = since.is_none();
        let events = self.0.items(collection, since, context);
        match self.1 {
            Guise::Hasty if tells_all => events.map(|event| event.map(hasty)).boxed(),
            Guise::Recanting if tells_all => events.map(|event| event.map(recanting)).boxed(),
            Guise::Net if !tells_all => events.map(|event| event.map(net)).boxed(),
            Guise::Telling if !tells_all => events.map(|event| event.map(telling)).boxed(),
            _ => events,
        }
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
        let skipped = usize::from(self.1 == Guise::Skipping && operations.len() > 1);
        self.0.apply(collection, &operations[skipped..], context).await
    }
}

fn hasty(event: ReadEvent<ItemEntry>) -> ReadEvent<ItemEntry> {
    match event {
        ReadEvent::Begin(_) => ReadEvent::Begin(Extent::Changes),
        ReadEvent::Chunk(_) => ReadEvent::Chunk(Vec::new()),
        end @ ReadEvent::End(_) => end,
    }
}

fn recanting(event: ReadEvent<ItemEntry>) -> ReadEvent<ItemEntry> {
    let is_two = |item: &Item| {
        String::from_utf8_lossy(&item.content)
            .lines()
            .any(|line| line.trim() == "UID:2")
    };
    match event {
        ReadEvent::Chunk(mut entries) => {
            let two = entries.iter().find_map(|entry| match entry {
                ItemEntry::Upsert(item) if is_two(item) => Some(item.href.clone()),
                _ => None,
            });
            entries.extend(two.map(ItemEntry::Removed));
            ReadEvent::Chunk(entries)
        }
        other => other,
    }
}

fn net(event: ReadEvent<ItemEntry>) -> ReadEvent<ItemEntry> {
    let is_told =
        |entry: &ItemEntry| !matches!(entry, ItemEntry::Removed(href) if href.as_str().starts_with("made-"));
    match event {
        ReadEvent::Chunk(entries) => ReadEvent::Chunk(entries.into_iter().filter(is_told).collect()),
        other => other,
    }
}

fn telling(event: ReadEvent<ItemEntry>) -> ReadEvent<ItemEntry> {
    let both = |entry| match entry {
        ItemEntry::Removed(href) => vec![was_at(&href), ItemEntry::Removed(href)],
        ItemEntry::Upsert(item) => vec![ItemEntry::Removed(item.href.clone()), ItemEntry::Upsert(item)],
    };
    match event {
        ReadEvent::Chunk(entries) => ReadEvent::Chunk(entries.into_iter().flat_map(both).collect()),
        other => other,
    }
}

/// What somebody put there, at the place that has its UID.
fn was_at(href: &ObjectId) -> ItemEntry {
    let text = card(href.as_str().trim_start_matches("moved-"), &[("FN", "Ada")]);
    ItemEntry::Upsert(Item {
        href: href.clone(),
        version: None,
        changed: None,
        content: text.into_bytes().into(),
    })
}

/// An item that is told, and then that its place is empty, is not there.
#[test]
fn promise_09_what_is_told_last_of_a_place_counts() {
    for offers in [FEEDING, GENEROUS, BARE] {
        for moves in [false, true] {
            let mut home = Home::new(1, offers);
            for uid in ["1", "2", "3"] {
                home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada")]));
            }
            home.settle();
            home.is_still();
            let contacts = collection(Where::Mail, 0, ItemKind::Contact);
            home.edit(Where::Mail, "1", &[("TEL", "1")]);
            if moves {
                home.mail.move_by_hand(&contacts, &object("2"), object("moved-2"));
                home.mail.remove_by_hand(&contacts, &object("moved-2"));
            } else {
                home.remove(Where::Mail, "2");
            }
            home.guise = Guise::Telling;
            home.settle();
            for side in SIDES {
                let cards = home.cards(side);
                assert_eq!(
                    cards.keys().collect::<Vec<_>>(),
                    ["1", "3"],
                    "{offers:?}, {side:?}"
                );
                assert_eq!(cards["1"]["TEL"], "1");
            }
        }
    }
}

/// Nothing is told of what was not there before and is not there now, also if we made it in between.
#[test]
fn promise_09_what_we_wrote_and_nothing_is_told_of_is_looked_for() {
    // What is written is read back one by one there, and not by the cursor that is kept.
    let mut home = Home::new(1, GENEROUS);
    home.guise = Guise::Net;
    home.put(Where::Mail, "0", &card("0", &[("FN", "Ada")]));
    home.settle();
    home.is_still();
    home.put(Where::Crm, "1", &card("1", &[("FN", "Ada")]));
    assert_eq!(lines(&home.run()), ["create 1 on mail: done"]);
    home.remove(Where::Mail, "1");
    home.settle();
    for side in SIDES {
        let cards = home.cards(side);
        assert_eq!(cards.into_keys().collect::<Vec<_>>(), ["0"], "{side:?}");
    }
}

/// What changed while the cursor was lost is not known of a system that answers so; it is once it tells everything again.
#[test]
fn promise_09_changes_told_to_who_asks_for_everything_are_not_everything() {
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

/// Who shows everything says of nothing that it is not there: such a read is not believed to be complete.
#[test]
fn promise_09_a_removal_in_a_read_of_everything_is_not_believed() {
    for offers in [BARE, GENEROUS] {
        let mut home = Home::new(1, offers);
        for uid in ["1", "2", "3"] {
            home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada")]));
        }
        home.settle();
        home.mail.expire_cursors();
        home.crm.expire_cursors();
        home.guise = Guise::Recanting;
        let report = home.run();
        assert!(report.pairs.iter().any(|pair| !pair.failed_reads.is_empty()));
        home.guise = Guise::Plain;
        for side in SIDES {
            assert_eq!(home.cards(side).len(), 3, "{offers:?}, {side:?}");
        }
    }
}

/// Answers that cannot be told apart are answers for no item: what was not done is done by the next run.
#[test]
fn promise_14_answers_that_are_not_counted_right_are_believed_of_no_item() {
    let mut home = Home::new(1, GENEROUS);
    for uid in ["1", "2", "3"] {
        home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada")]));
    }
    home.settle();
    for uid in ["1", "2", "3"] {
        home.remove(Where::Mail, uid);
    }
    home.guise = Guise::Skipping;
    home.run();
    assert_eq!(home.cards(Where::Crm).len(), 1, "one was left out");
    home.guise = Guise::Plain;
    home.settle();
    for side in SIDES {
        assert_eq!(home.cards(side).len(), 0, "{side:?}");
    }
}
