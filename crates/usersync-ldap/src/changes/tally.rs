//! Hands deltas on, and sees to it that nothing happened behind the reader's back: servers report the move of an entry, but
//! not that of the entries below it, and some mend groups that name it without a word.

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};
use usersync_model::PartialReason;

use super::reread::{tell, tell_groups_of};
use super::{Delta, Known, Sink, Spec, expired, next_entry};
use crate::client::{Base, Pages, Search, Session};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::index::EntryKey;
use crate::url::Scope;

/// Asked for where it exists: whether anything is below an entry.
pub(super) const HAS_SUBORDINATES: &str = "hasSubordinates";
/// What has entries below it, where the server does not say.
const CONTAINERS: [&str; 7] = [
    "container",
    "country",
    "domain",
    "domainDNS",
    "locality",
    "organization",
    "organizationalUnit",
];

/// What one read of changes told so far.
pub(super) struct Tally<'a> {
    pub(super) known: &'a dyn Known,
    sink: Sink<'a>,
    limit: u64,
    count: u64,
    gone: BTreeSet<EntryKey>,
    shown: BTreeSet<EntryKey>,
    /// Entries that were not known before.
    arrived: Vec<Dn>,
    /// Entries that others may be below of which it is not certain that they are known, or by which names.
    tops: Vec<Dn>,
    /// Known entries with another name now.
    moved: BTreeSet<EntryKey>,
    groups_change_silently: bool,
    /// Whether what is known was read while this changed, so that what is below an entry may be known by a former name.
    torn: bool,
    complete: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(
        known: &'a dyn Known,
        sink: Sink<'a>,
        limit: u64,
        groups_change_silently: bool,
    ) -> Self {
        Self {
            known,
            sink,
            limit,
            count: 0,
            gone: BTreeSet::new(),
            shown: BTreeSet::new(),
            arrived: Vec::new(),
            tops: Vec::new(),
            moved: BTreeSet::new(),
            groups_change_silently,
            torn: false,
            complete: false,
        }
    }

    /// Takes what is known for read while this changed, or not.
    pub(super) fn with_torn(mut self, torn: bool) -> Self {
        self.torn = torn;
        self
    }

    pub(super) fn entry(
        &mut self,
        key: EntryKey,
        entry: Entry,
        missing: Option<PartialReason>,
    ) -> Result<(), Error> {
        let is_known = self.known.contains(&key);
        if !is_known {
            self.arrived.push(entry.dn().clone());
        }
        if (self.torn || !is_known) && may_be_above(&entry) {
            self.tops.push(entry.dn().clone());
        }
        self.show(&key, entry.dn());
        self.hand(Delta::Entry { key, entry, missing })
    }

    pub(super) fn entry_without_members(&mut self, key: EntryKey, entry: Entry) -> Result<(), Error> {
        if self.torn && may_be_above(&entry) {
            self.tops.push(entry.dn().clone());
        }
        self.show(&key, entry.dn());
        self.hand(Delta::EntryWithoutMembers { key, entry })
    }

    pub(super) fn members(
        &mut self,
        key: EntryKey,
        attribute: String,
        added: Vec<Vec<u8>>,
        removed: Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        self.hand(Delta::Members {
            key,
            attribute,
            added,
            removed,
        })
    }

    /// Whether the entry was shown, or is gone.
    pub(super) fn is_told(&self, key: &EntryKey) -> bool {
        self.gone.contains(key) || self.shown.contains(key)
    }

    /// The entry is gone, if it ever was there.
    pub(super) fn gone(&mut self, key: EntryKey) -> Result<(), Error> {
        if !self.shown.remove(&key) && !self.known.contains(&key) {
            return Ok(());
        }
        self.gone.insert(key.clone());
        self.hand(Delta::Gone { key })
    }

    pub(super) fn only_these_remain(&mut self, keys: BTreeSet<EntryKey>) -> Result<(), Error> {
        self.complete = true;
        self.gone.extend(self.known.others(&keys));
        self.hand(Delta::OnlyTheseRemain(keys))
    }

    /// The end of the read: fails with `CursorExpired` if entries came or went of which nothing was said.
    pub(super) async fn end(mut self, session: &mut Session, spec: &Spec) -> Result<(), Error> {
        if self.groups_change_silently {
            let groups = self.silently_changed();
            tell(session, spec, &groups, true, &mut self).await?;
            let arrived = std::mem::take(&mut self.arrived);
            tell_groups_of(session, spec, &arrived, &mut self).await?;
        }
        self.check(session, spec).await
    }

    async fn check(self, session: &mut Session, spec: &Spec) -> Result<(), Error> {
        // After a present phase nobody is left that should have gone.
        if !self.complete {
            for key in &self.gone {
                if !self.known.below(key).iter().all(|key| self.is_told(key)) {
                    return Err(expired("entries went along with one above them"));
                }
            }
        }
        for top in &self.tops {
            let search = Search {
                base: Base::Dn(top.clone()),
                scope: Scope::Subtree,
                filter: spec.filter.clone(),
                attributes: vec![spec.key.name().to_owned()],
                controls: spec.controls.clone(),
            };
            let mut pages = Pages::new(search, spec.page);
            while let Some(found) = next_entry(&mut pages, session).await? {
                let key = spec.key.key(&found.entry)?;
                let is_it = |known: String| !self.torn || known == found.entry.dn().key();
                let is_known = self.known.dn(&key).is_some_and(is_it) && !self.gone.contains(&key);
                if !self.shown.contains(&key) && !is_known {
                    return Err(expired("entries came or moved along with one above them"));
                }
            }
        }
        Ok(())
    }

    /// The groups that named what has gone or has another name now, unless they were shown anyway.
    fn silently_changed(&self) -> Vec<EntryKey> {
        let below = self.moved.iter().flat_map(|key| self.known.below(key));
        let named: BTreeSet<EntryKey> = self
            .gone
            .iter()
            .chain(&self.moved)
            .cloned()
            .chain(below)
            .collect();
        let groups: BTreeSet<EntryKey> = named.iter().flat_map(|key| self.known.holders(key)).collect();
        groups.into_iter().filter(|key| !self.is_told(key)).collect()
    }

    fn show(&mut self, key: &EntryKey, dn: &Dn) {
        if self.known.dn(key).is_some_and(|known| known != dn.key()) {
            self.moved.insert(key.clone());
        }
        self.gone.remove(key);
        self.shown.insert(key.clone());
    }

    fn hand(&mut self, delta: Delta) -> Result<(), Error> {
        self.count += 1;
        if self.count > self.limit {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "more than {} entries changed; raise the limit if they are real",
                    self.limit
                ),
            ));
        }
        (self.sink)(delta)
    }
}

fn may_be_above(entry: &Entry) -> bool {
    match entry.texts(HAS_SUBORDINATES).next() {
        Some(said) => said.eq_ignore_ascii_case("TRUE"),
        None => entry
            .texts("objectClass")
            .any(|class| CONTAINERS.iter().any(|name| name.eq_ignore_ascii_case(class))),
    }
}
