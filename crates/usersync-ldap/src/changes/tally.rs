//! Hands deltas on, and sees to it that nothing was moved behind the reader's back: servers report the move of an entry,
//! but not that of the entries below it.

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};
use usersync_model::PartialReason;

use super::{Delta, Known, Sink, Spec, expired};
use crate::client::{Base, Item, Pages, Search, Session};
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
    /// Entries that were not known before and may have come with others.
    arrived: Vec<Dn>,
    complete: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(known: &'a dyn Known, sink: Sink<'a>, limit: u64) -> Self {
        Self {
            known,
            sink,
            limit,
            count: 0,
            gone: BTreeSet::new(),
            shown: BTreeSet::new(),
            arrived: Vec::new(),
            complete: false,
        }
    }

    pub(super) fn entry(
        &mut self,
        key: EntryKey,
        entry: Entry,
        missing: Option<PartialReason>,
    ) -> Result<(), Error> {
        if !self.known.contains(&key) && may_be_above(&entry) {
            self.arrived.push(entry.dn().clone());
        }
        self.show(&key);
        self.hand(Delta::Entry { key, entry, missing })
    }

    pub(super) fn entry_without_members(&mut self, key: EntryKey, entry: Entry) -> Result<(), Error> {
        self.show(&key);
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
        self.hand(Delta::OnlyTheseRemain(keys))
    }

    /// Fails with `CursorExpired` if entries came or went of which nothing was said.
    pub(super) async fn check(self, session: &mut Session, spec: &Spec) -> Result<(), Error> {
        let is_told = |key: &EntryKey| self.gone.contains(key) || self.shown.contains(key);
        // After a present phase nobody is left that should have gone.
        if !self.complete {
            for key in &self.gone {
                if !self.known.below(key).iter().all(is_told) {
                    return Err(expired("entries went along with one above them"));
                }
            }
        }
        for top in &self.arrived {
            let search = Search {
                base: Base::Dn(top.clone()),
                scope: Scope::Subtree,
                filter: spec.filter.clone(),
                attributes: vec![spec.key.name().to_owned()],
                controls: Vec::new(),
            };
            let mut pages = Pages::new(search, spec.page);
            while let Some(item) = pages.next(session).await? {
                let Item::Entry(found) = item else { continue };
                let key = spec.key.key(&found.entry)?;
                if !self.shown.contains(&key) && (!self.known.contains(&key) || self.gone.contains(&key)) {
                    return Err(expired("entries came along with one above them"));
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, key: &EntryKey) {
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
