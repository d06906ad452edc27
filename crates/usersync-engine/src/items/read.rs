//! Reading one side of a pair of collections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_connector::{
    CallContext, Cursor, ErrorKind, Extent, Item, ItemCollection, ItemEntry, ItemStore, Version,
};
use usersync_content::{Document, Outline};
use usersync_model::{Completeness, ItemKind, ObjectId, PartialKind, PartialReason};

use super::report::{ItemFinding, ItemProblem};
use super::state::{Row, Side, Written};
use crate::full::told_changes;
use crate::ports::Bounds;
use crate::report::{FailedRead, ReadOf};

/// An item as one side shows it.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) href: ObjectId,
    pub(super) version: Option<Version>,
    pub(super) changed: Option<DateTime<Utc>>,
    pub(super) outline: Outline,
    /// `None` where it did not change since the cursor, so that it was not read.
    pub(super) content: Option<Arc<[u8]>>,
}

/// One side of a pair as it was read.
#[derive(Debug, Default)]
pub(super) struct SideRead {
    /// By UID; more than one is a duplicate.
    pub(super) items: BTreeMap<ObjectId, Vec<Sight>>,
    /// UIDs of items whose texts cannot be worked with: nothing is concluded about them.
    pub(super) alone: BTreeSet<ObjectId>,
    pub(super) findings: Vec<ItemFinding>,
    /// Why there may be more.
    pub(super) rest: Option<PartialReason>,
    /// Why what is not seen may be there: a text could be any item.
    pub(super) doubt: Option<PartialReason>,
    pub(super) cursor: Option<Cursor>,
    pub(super) now: Option<DateTime<Utc>>,
    pub(super) failed: Option<FailedRead>,
}

/// A read that is not understood yet.
pub(super) struct Begun {
    /// `None` if the cursor expired.
    entries: Option<Entries>,
    now: Option<DateTime<Utc>>,
}

impl Begun {
    /// Where the next read continues, if this one showed that nothing changed.
    pub(super) fn quiet(&self) -> Option<&Cursor> {
        let changes = self.changes()?;
        let is_quiet = changes.upserts.is_empty() && changes.removed.is_empty();
        changes.cursor.as_ref().filter(|_| is_quiet)
    }

    /// Lets everything be read, if a read of changes tells nothing of one of these items, which we wrote since its cursor was given: what
    /// somebody undid before it was read looks to such a system as if it had never been.
    pub(super) fn must_tell(&mut self, written: &Written) {
        let Some(changes) = self.changes().filter(|_| !written.is_empty()) else {
            return;
        };
        let places: BTreeSet<&ObjectId> = changes.places().collect();
        let uids = changes.uids();
        let is_told = |(uid, place): (&ObjectId, &Option<ObjectId>)| {
            uids.contains(uid) || place.as_ref().is_some_and(|place| places.contains(place))
        };
        if !written.iter().all(is_told) {
            self.entries = None;
        }
    }

    /// What it showed, if that is all that changed since the cursor.
    pub(super) fn changes(&self) -> Option<&Entries> {
        let entries = self.entries.as_ref()?;
        (entries.extent == Extent::Changes && entries.rest.is_none()).then_some(entries)
    }
}

/// What a read showed, before it is known what it means.
pub(super) struct Entries {
    extent: Extent,
    upserts: BTreeMap<ObjectId, Item>,
    removed: BTreeSet<ObjectId>,
    /// What was told of places that are empty, as was told later.
    passed: Vec<Item>,
    rest: Option<PartialReason>,
    cursor: Option<Cursor>,
    failed: Option<FailedRead>,
}

impl Entries {
    /// The places that it is about.
    pub(super) fn places(&self) -> impl Iterator<Item = &ObjectId> {
        self.upserts.keys().chain(&self.removed)
    }

    /// Every item that was told, whether or not it is still there.
    fn told(&self) -> impl Iterator<Item = &Item> {
        self.upserts.values().chain(&self.passed)
    }

    /// The UIDs of all texts, also of those that are not understood.
    pub(super) fn uids(&self) -> BTreeSet<ObjectId> {
        let mut uids = BTreeSet::new();
        for item in self.told() {
            match Document::parse(&item.content) {
                Ok(document) => uids.extend(document.uid().and_then(|uid| ObjectId::new(uid).ok())),
                Err(_) => uids.extend(rough_uids(&item.content)),
            }
        }
        uids
    }
}

pub(super) struct SideReader<'a> {
    pub(super) side: Side,
    pub(super) store: &'a Arc<dyn ItemStore>,
    pub(super) collection: &'a ItemCollection,
    pub(super) bounds: Bounds,
    pub(super) context: &'a CallContext,
}

impl SideReader<'_> {
    /// Begins to read the side: what changed since `since`, or everything.
    pub(super) async fn begin(&self, since: Option<Cursor>) -> Begun {
        // The clock first: nothing that is read can be younger than now.
        let now = match self.store.now(self.context).await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(name: "usersync.items.clock", system = %self.store.system(), kind = error.kind().code(), "no clock, so that no item counts as newest");
                None
            }
        };
        Begun {
            entries: self.entries(since).await,
            now,
        }
    }

    /// What was read; items that did not change since the cursor are what their rows say. Reads everything after all, where
    /// changes do not tell enough.
    pub(super) async fn finish(&self, begun: Begun, rows: &BTreeMap<ObjectId, Row>) -> SideRead {
        let Begun { entries, now } = begun;
        let entries = match entries {
            // What is missing of a read of changes is not shown by the next one.
            Some(entries)
                if entries.extent == Extent::Full
                    || (entries.rest.is_none() && self.is_clear(&entries, rows)) =>
            {
                Some(entries)
            }
            _ => self.entries(None).await,
        };
        let read = match entries {
            Some(entries) => self.understand(entries, rows),
            None => SideRead {
                rest: Some(PartialReason::new(
                    PartialKind::CursorExpired,
                    "a read without a cursor says that its cursor expired",
                )),
                ..SideRead::default()
            },
        };
        SideRead { now, ..read }
    }

    /// `None` if the cursor expired.
    async fn entries(&self, since: Option<Cursor>) -> Option<Entries> {
        let asked_for_all = since.is_none();
        let mut reader = self
            .bounds
            .follow(self.store.items(self.collection, since, self.context));
        let (mut upserts, mut removed) = (BTreeMap::new(), BTreeSet::new());
        let mut passed = Vec::new();
        let mut says_removed = false;
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                // What is told last of a place counts.
                match entry {
                    ItemEntry::Removed(href) => {
                        says_removed = true;
                        passed.extend(upserts.remove(&href));
                        removed.insert(href);
                    }
                    ItemEntry::Upsert(item) => {
                        removed.remove(&item.href);
                        upserts.insert(item.href.clone(), item);
                    }
                }
            }
        }
        let extent = reader.extent().unwrap_or(Extent::Full);
        let system = self.store.system();
        let error = reader.take_error();
        if error
            .as_ref()
            .is_some_and(|error| error.kind() == ErrorKind::CursorExpired)
        {
            return None;
        }
        let end = reader.finish();
        let partial = end.partial.iter().map(|(_, reason)| reason).next();
        let mut rest = match &end.verdict {
            Completeness::Complete => partial.cloned(),
            Completeness::Partial(reason) => Some(reason.clone()),
        };
        let extent = match extent {
            Extent::Changes if asked_for_all => {
                rest = rest.or_else(|| Some(told_changes()));
                Extent::Full
            }
            extent => extent,
        };
        if extent == Extent::Full && says_removed {
            rest = rest.or_else(|| Some(told_changes()));
        }
        let what = ReadOf::Target(system.clone());
        let failed = FailedRead::partial(what, error.as_ref(), &end, rest.as_ref());
        Some(Entries {
            extent,
            upserts,
            removed,
            passed,
            cursor: end.cursor.filter(|_| rest.is_none()),
            rest,
            failed,
        })
    }

    /// Whether changes tell all there is to know: an item at a new place may have moved, or be there twice, unless the old
    /// place is told to be empty.
    pub(super) fn is_clear(&self, entries: &Entries, rows: &BTreeMap<ObjectId, Row>) -> bool {
        entries.told().all(|item| {
            let uid = Document::parse(&item.content)
                .ok()
                .and_then(|document| ObjectId::new(document.uid()?).ok());
            let row = uid.and_then(|uid| rows.get(&uid));
            row.is_none_or(|row| {
                let old = &row.mark(self.side).href;
                *old == item.href || entries.removed.contains(old)
            })
        })
    }

    fn understand(&self, entries: Entries, rows: &BTreeMap<ObjectId, Row>) -> SideRead {
        let Entries {
            extent,
            upserts,
            removed,
            passed: _,
            rest,
            cursor,
            failed,
        } = entries;
        let mut read = SideRead {
            rest,
            cursor,
            failed,
            ..SideRead::default()
        };
        if extent == Extent::Changes {
            for (uid, row) in rows {
                let mark = row.mark(self.side);
                if !removed.contains(&mark.href) && !upserts.contains_key(&mark.href) {
                    let sight = Sight {
                        href: mark.href.clone(),
                        version: mark.version.clone(),
                        changed: None,
                        outline: mark.outline.clone(),
                        content: None,
                    };
                    read.items.insert(uid.clone(), vec![sight]);
                }
            }
        }
        let by_href: BTreeMap<&ObjectId, &Row> = rows
            .values()
            .map(|row| (&row.mark(self.side).href, row))
            .collect();
        for item in upserts.into_values() {
            let known = by_href.get(&item.href).copied();
            match understand(&item, known, self.side, self.collection.kind) {
                Ok((uid, outline)) => {
                    let sight = Sight {
                        href: item.href,
                        version: item.version,
                        changed: item.changed,
                        outline,
                        content: Some(item.content),
                    };
                    read.items.entry(uid).or_default().push(sight);
                }
                Err((uids, what)) => {
                    if uids.is_empty() && known.is_none() && matches!(what, ItemProblem::NotUnderstood(_)) {
                        let sentence =
                            format!("the text at {} is not understood, and may be any item", item.href);
                        read.doubt = Some(PartialReason::new(PartialKind::Unreadable, sentence));
                    }
                    let only = uids.first().filter(|_| uids.len() == 1).cloned();
                    // Whatever was here before may still be meant.
                    read.alone.extend(known.map(|row| row.uid.clone()));
                    read.alone.extend(uids);
                    read.findings.push(ItemFinding {
                        item: only.unwrap_or(item.href),
                        system: Some(self.store.system().clone()),
                        what,
                    });
                }
            }
        }
        read
    }
}

/// The UID of an item and what it says; or why it is left alone, with the UIDs that it may have, as far as they can be told.
pub(super) fn understand(
    item: &Item,
    known: Option<&Row>,
    side: Side,
    kind: ItemKind,
) -> Result<(ObjectId, Outline), (BTreeSet<ObjectId>, ItemProblem)> {
    // The version that was agreed on says what it said then.
    if let Some(row) = known {
        let mark = row.mark(side);
        if mark.version.is_some() && mark.version == item.version {
            return Ok((row.uid.clone(), mark.outline.clone()));
        }
    }
    let document = Document::parse(&item.content).map_err(|error| {
        (
            rough_uids(&item.content),
            ItemProblem::NotUnderstood(error.to_string()),
        )
    })?;
    let uid = document.uid().and_then(|uid| ObjectId::new(uid).ok());
    let expected = match kind {
        ItemKind::Contact => "VCARD",
        ItemKind::Diary => "VEVENT",
        ItemKind::Task => "VTODO",
    };
    let Some(uid) = uid else {
        return Err((BTreeSet::new(), ItemProblem::NoUid));
    };
    if document.component() != expected {
        let what = ItemProblem::WrongKind(document.component().to_owned());
        return Err((BTreeSet::from([uid]), what));
    }
    Ok((uid, document.outline()))
}

/// What may be the UID of a text that is not understood: it may hold several items, and an alarm has a UID, too.
fn rough_uids(content: &[u8]) -> BTreeSet<ObjectId> {
    let text = String::from_utf8_lossy(content);
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let uids = unfolded.lines().filter_map(|line| {
        let name = line.split([':', ';']).next()?;
        let (_, uid) = line.split_once(':')?;
        // It may be in a group.
        let is_uid = name.rsplit('.').next()?.trim().eq_ignore_ascii_case("UID");
        ObjectId::new(uid.trim()).ok().filter(|_| is_uid)
    });
    uids.collect()
}

/// What people call an item.
pub(super) fn label(content: Option<&Arc<[u8]>>) -> String {
    content
        .and_then(|content| Document::parse(content).ok()?.title())
        .unwrap_or_default()
}
