//! The entries of one directory, and the principals and memberships that follow from them.
//!
//! [`state`] holds the entries and answers what follows from them, [`names`] what they are called; [`settle`] compares two
//! states. [`tree`] and [`table`] make states cheap to keep.

mod change;
#[cfg(feature = "client")]
mod look_ups;
mod names;
mod node;
mod read;
mod settle;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod warning;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_model::{DirectoryChange, ObjectId, PartialReason, SystemId};

use crate::dn::Dn;
use crate::entry::Entry;
use crate::rules::{EntryRules, MemberSource};

use names::{Claim, NameKind};
use node::Group;
use settle::Report;
use state::{Ref, Referrer, Sources, State};

pub(crate) use node::EntryKey;
pub use warning::DirectoryWarning;

/// How many names and entries may come and go before anybody cares.
#[cfg(not(test))]
const LEEWAY: usize = 100_000;
#[cfg(test)]
const LEEWAY: usize = 1000;

/// Everything known of one directory. Entries go in as they come, in any order; [`settle`](Self::settle) says what that
/// means for principals and memberships: everything the first time, and what changed since then each other time.
///
/// What it says and knows is the same as if all entries had been put into a new index, whatever happened before,
/// and costs what the changes affect, O(log n) each. A clone shares what did not change and costs O(1) right after a
/// settlement, so that one can be kept for each cursor.
///
/// A reader puts in what it reads and settles once at the end of each read:
///
/// - An entry, with all its values: [`upsert`](Self::upsert) with [`Members::Given`]; without those of the member
///   attributes, [`Members::Kept`]. Single member values: [`change_members`](Self::change_members).
/// - An entry that is gone: [`remove`](Self::remove); all but some: [`retain`](Self::retain).
/// - After that, for each of [`queries`](Self::queries), what it found: [`set_found`](Self::set_found),
///   or why it failed: [`mark_unfound`](Self::mark_unfound).
/// - Listed members that could not be read: [`mark_partial`](Self::mark_partial).
///
/// When the DN of an entry changes, the settlement moves the entries below it along, but for those put in since the
/// last one, which are taken to be where they say. Look-ups by DN know that after the settlement.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    system: SystemId,
    rules: Arc<EntryRules>,
    now: State,
    /// As of the last settlement.
    before: State,
    /// Since then; nothing is noted before the first one.
    touched: Touched,
    report: Report,
    /// References not yet among the others, which is quicker for all of them at once.
    loading: Option<Vec<Ref>>,
    settled: bool,
    /// What it weighed at its first settlement.
    first_weight: usize,
}

/// What an entry that is put in says about its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    /// It has all values of its member attributes.
    Given,
    /// It came without its member attributes: the members stay as they are known.
    Kept,
}

/// What changed between two settlements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// For whoever applies them in their order: who is gone, who is there, who is no member any more, who is one; each
    /// part sorted by id. A principal that turned into something else (user, group, resource) is gone first.
    pub(crate) changes: Vec<DirectoryChange>,
    /// All groups that are partial by themselves now, by id.
    pub(crate) partial: Vec<(ObjectId, PartialReason)>,
    /// Why the whole directory is partial now.
    pub(crate) flaw: Option<PartialReason>,
    /// All there is to know now.
    pub(crate) warnings: Vec<DirectoryWarning>,
}

impl Settled {
    /// Lets `next` be what changed after this.
    pub(crate) fn go_on(&mut self, mut next: Self) {
        self.changes.append(&mut next.changes);
        next.changes = std::mem::take(&mut self.changes);
        *self = next;
    }
}

/// What finds the members of a dynamic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query<'i> {
    /// The group.
    pub(crate) group: &'i EntryKey,
    /// The attribute it stands in.
    pub(crate) attribute: &'i str,
    /// LDAP URLs, or filters.
    pub(crate) texts: &'i [String],
    /// The DN below which a filter searches, if the entry says so.
    pub(crate) base: Option<&'i str>,
    /// Whether it was answered, and is the same since.
    pub(crate) answered: bool,
}

/// What may look different now.
#[derive(Clone, Debug, Default)]
struct Touched {
    /// Entries that came, changed, moved or went.
    slots: BTreeSet<u32>,
    /// Those of them that were put in, so that they are where they say.
    placed: BTreeSet<u32>,
    /// Groups that told all their members.
    given: BTreeSet<u32>,
    /// Names that entries got or lost.
    names: BTreeSet<u32>,
    /// The last word on each reference: whether it is there.
    refs: BTreeMap<Ref, bool>,
}

impl Index {
    /// An index without entries.
    pub(crate) fn new(system: SystemId, rules: Arc<EntryRules>) -> Self {
        let mut sources: Vec<_> = rules
            .classes
            .iter()
            .flat_map(|rule| rule.members.clone())
            .collect();
        sources.sort_unstable();
        sources.dedup();
        // More than can be numbered are more than anybody writes down.
        sources.truncate(usize::from(u16::MAX));
        let now = State::new(Sources(sources));
        Self {
            system,
            rules,
            before: now.clone(),
            now,
            touched: Touched::default(),
            report: Report::default(),
            loading: Some(Vec::new()),
            settled: false,
            first_weight: 0,
        }
    }

    /// Lets the entry with this key look like `entry`, whether it was known or not.
    pub(crate) fn upsert(&mut self, key: EntryKey, entry: &Entry, members: Members) {
        let known = self.now.slot(&key);
        if known.is_some() {
            self.end_loading();
        }
        let slot = known.unwrap_or_else(|| self.now.add(&key));
        let read::Reading { node, refs } = read::read(&mut self.now, &self.rules, known, key, entry, members);
        if self.settled {
            self.touched.slots.insert(slot);
            self.touched.placed.insert(slot);
            if members == Members::Given {
                self.touched.given.insert(slot);
            }
        }
        self.note_key_name(&node.key);
        let claims = |node: &node::Node, slot| -> BTreeSet<Claim> {
            let names = node.names.iter().copied().chain([node.dn]);
            let rank = node.rank;
            names.map(|name| Claim { name, rank, slot }).collect()
        };
        let new = claims(&node, slot);
        let old = self
            .now
            .node(slot)
            .map_or_else(BTreeSet::new, |node| claims(node, slot));
        old.difference(&new)
            .for_each(|&claim| self.change_claim(claim, false));
        new.difference(&old)
            .for_each(|&claim| self.change_claim(claim, true));
        self.now.set(slot, Some(node));

        let mut refs: Vec<Ref> = refs
            .into_iter()
            .map(|(source, name)| Ref {
                holder: slot,
                source,
                name,
            })
            .collect();
        refs.sort_unstable();
        refs.dedup();
        if let Some(loading) = &mut self.loading {
            loading.append(&mut refs);
            return;
        }
        let old: Vec<Ref> = self.now.refs_of(slot).collect();
        for &gone in old.iter().filter(|other| refs.binary_search(other).is_err()) {
            self.change_ref(gone, false);
        }
        for new in refs.into_iter().filter(|other| old.binary_search(other).is_err()) {
            self.change_ref(new, true);
        }
    }

    /// Adds values to, and then removes values from, a member attribute of a group. Attributes that no rule names, and entries
    /// that are not known, are left alone.
    pub(crate) fn change_members<V: AsRef<[u8]>>(
        &mut self,
        key: &EntryKey,
        attribute: &str,
        added: &[V],
        removed: &[V],
    ) {
        self.end_loading();
        let Some(slot) = self.now.slot(key) else { return };
        let sources = self
            .now
            .node(slot)
            .map_or_else(Vec::new, |node| node.sources().to_vec());
        for (values, begins) in [(added, true), (removed, false)] {
            for value in values {
                for &source in &sources {
                    let named = read::listed(&mut self.now, source, attribute, value.as_ref());
                    if let Some(name) = named {
                        let holder = slot;
                        self.change_ref(Ref { holder, source, name }, begins);
                    }
                }
            }
        }
    }

    /// Lets `members`, known or not, be what the query in `attribute` of a group found. What else is wrong with the group stays.
    pub(crate) fn set_found(&mut self, key: &EntryKey, attribute: &str, members: Vec<EntryKey>) {
        self.end_loading();
        let Some(slot) = self.now.slot(key) else { return };
        let Some(source) = self.query_source(slot, attribute) else {
            return;
        };
        let mut names: Vec<u32> = members
            .iter()
            .map(|member| self.now.names.number(NameKind::Key, &member.to_hex()))
            .collect();
        names.sort_unstable();
        names.dedup();
        let holder = slot;
        let old: Vec<Ref> = self
            .now
            .refs_of(slot)
            .filter(|other| other.source == source)
            .collect();
        for &gone in old
            .iter()
            .filter(|other| names.binary_search(&other.name).is_err())
        {
            self.change_ref(gone, false);
        }
        for name in names {
            self.change_ref(Ref { holder, source, name }, true);
        }
        self.change_group(slot, |group| {
            group.open.retain(|&other| other != source);
            group.unfound.remove(&source);
        });
    }

    /// Notes that the query in `attribute` of a group failed, until it finds something, or is another one. Those whom it found
    /// before stay.
    pub(crate) fn mark_unfound(&mut self, key: &EntryKey, attribute: &str, reason: PartialReason) {
        if let Some(slot) = self.now.slot(key)
            && let Some(source) = self.query_source(slot, attribute)
        {
            self.change_group(slot, |group| {
                group.open.retain(|&other| other != source);
                group.unfound.insert(source, reason);
            });
        }
    }

    /// Notes that the members that a group lists were not read in full, until they are given again.
    pub(crate) fn mark_partial(&mut self, key: &EntryKey, reason: PartialReason) {
        if let Some(slot) = self.now.slot(key) {
            self.change_group(slot, |group| group.unread = Some(reason));
        }
    }

    /// Lets an entry be gone.
    pub(crate) fn remove(&mut self, key: &EntryKey) {
        self.end_loading();
        if let Some(slot) = self.now.slot(key) {
            self.remove_slot(slot);
        }
    }

    /// Lets all entries be gone but these. Takes time in the number of all entries.
    pub(crate) fn retain(&mut self, keep: &BTreeSet<EntryKey>) {
        self.end_loading();
        let gone: Vec<u32> = self
            .now
            .nodes()
            .filter(|(_, node)| !keep.contains(&node.key))
            .map(|(slot, _)| slot)
            .collect();
        for slot in gone {
            self.remove_slot(slot);
        }
    }

    /// What finds the members of dynamic groups. Takes time in the number of all entries.
    pub(crate) fn queries(&self) -> impl Iterator<Item = Query<'_>> {
        self.now.nodes().flat_map(move |(_, node)| {
            let group = node.group.as_deref();
            group.into_iter().flat_map(move |group| {
                group.queries.iter().map(move |query| Query {
                    group: &node.key,
                    attribute: self.attribute(query.source),
                    texts: &query.texts,
                    base: query.base.as_deref(),
                    answered: !group.open.contains(&query.source),
                })
            })
        })
    }

    /// How many entries there are, principals or not.
    pub(crate) fn len(&self) -> usize {
        self.now.nodes().count()
    }

    /// How much it keeps, in names and entries, those of former times included.
    pub(crate) fn weight(&self) -> usize {
        self.now.names.len() + self.now.len() as usize
    }

    /// Whether most of what it keeps is of former times, so that a new one is due.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.weight() > self.first_weight.saturating_mul(2).saturating_add(LEEWAY)
    }

    /// The canonical DN of an entry.
    pub(crate) fn dn_of(&self, key: &EntryKey) -> Option<String> {
        let node = self.now.node(self.now.slot(key)?)?;
        Some(self.now.names.text(node.dn))
    }

    /// The id of an entry that is a principal, shown or not.
    pub(crate) fn id_of(&self, key: &EntryKey) -> Option<&ObjectId> {
        let principal = self.now.principal(self.now.slot(key)?)?;
        Some(&principal.id)
    }

    /// The only entry with this DN.
    pub(crate) fn key_of_dn(&self, dn: &Dn) -> Option<&EntryKey> {
        let mut claims = self
            .now
            .names
            .claims(self.now.names.find(NameKind::Dn, dn.key())?);
        let slot = claims.next().filter(|_| claims.next().is_none())?.slot;
        Some(&self.now.node(slot)?.key)
    }

    /// The only entry with this id.
    pub(crate) fn key_of_id(&self, id: &ObjectId) -> Option<&EntryKey> {
        let node = self.now.node(self.now.slot_of_id(id)?)?;
        Some(&node.key)
    }

    /// Whether the entry is known.
    pub(crate) fn contains(&self, key: &EntryKey) -> bool {
        self.now.slot(key).is_some()
    }

    fn remove_slot(&mut self, slot: u32) {
        let Some(node) = self.now.node(slot).cloned() else {
            return;
        };
        if self.settled {
            self.touched.slots.insert(slot);
        }
        let rank = node.rank;
        for name in node.names.iter().copied().chain([node.dn]) {
            self.change_claim(Claim { name, rank, slot }, false);
        }
        let refs: Vec<Ref> = self.now.refs_of(slot).collect();
        for other in refs {
            self.change_ref(other, false);
        }
        self.note_key_name(&node.key);
        self.now.set(slot, None);
    }

    /// What found an entry by its key may hear of it.
    fn note_key_name(&mut self, key: &EntryKey) {
        if self.settled
            && let Some(name) = self.now.names.find(NameKind::Key, &key.to_hex())
        {
            self.touched.names.insert(name);
        }
    }

    fn change_claim(&mut self, claim: Claim, begins: bool) {
        if begins {
            self.now.names.claim(claim);
        } else {
            self.now.names.release(claim);
        }
        if self.settled {
            self.touched.names.insert(claim.name);
        }
    }

    fn change_ref(&mut self, other: Ref, begins: bool) {
        let Ref { holder, source, name } = other;
        let referrer = Referrer { name, holder, source };
        if begins {
            self.now.refs.insert(other);
            self.now.referrers.insert(referrer);
        } else {
            self.now.refs.remove(&other);
            self.now.referrers.remove(&referrer);
        }
        if self.settled {
            self.touched.refs.insert(other, begins);
        }
    }

    fn change_group(&mut self, slot: u32, change: impl FnOnce(&mut Group)) {
        self.now.change(slot, |node| {
            if let Some(group) = &mut node.group {
                change(Arc::make_mut(group));
            }
        });
        if self.settled {
            self.touched.slots.insert(slot);
        }
    }

    fn query_source(&self, slot: u32, attribute: &str) -> Option<u16> {
        let group = self.now.node(slot)?.group.as_deref()?;
        let mut sources = group.queries.iter().map(|query| query.source);
        sources.find(|&source| self.attribute(source).eq_ignore_ascii_case(attribute))
    }

    fn attribute(&self, source: u16) -> &str {
        match self.now.sources.0.get(usize::from(source)) {
            Some(MemberSource::Query(name)) => name,
            _ => "",
        }
    }

    /// Puts the references gathered so far where they are looked for.
    fn end_loading(&mut self) {
        self.now.names.end_loading();
        let Some(mut refs) = self.loading.take() else {
            return;
        };
        refs.sort_unstable();
        self.now.refs = tree::Tree::from_sorted(&refs);
        let turned = |other: Ref| {
            let Ref { holder, source, name } = other;
            Referrer { name, holder, source }
        };
        let mut referrers: Vec<Referrer> = refs.into_iter().map(turned).collect();
        referrers.sort_unstable();
        self.now.referrers = tree::Tree::from_sorted(&referrers);
    }
}
