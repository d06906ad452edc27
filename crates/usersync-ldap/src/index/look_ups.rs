//! What readers ask of an index.

use std::collections::BTreeSet;

use super::names::{Meaning, NameKind};
use super::{EntryKey, Index};
use usersync_model::ObjectId;

impl Index {
    /// The canonical DNs that groups name and no entry has, as of the last settlement, sorted; of the first `limit` that come
    /// to hand. Takes time in the number of unknown members.
    pub(crate) fn unseen_dns(&self, limit: usize) -> Vec<String> {
        let unseen: BTreeSet<String> = self.unseen_members().map(|(_, dn)| dn).take(limit).collect();
        unseen.into_iter().collect()
    }

    /// Groups with the canonical DNs that they name and no entry has, as of the last settlement.
    pub(crate) fn unseen_members(&self) -> impl Iterator<Item = (EntryKey, String)> + '_ {
        let names = &self.now.names;
        self.report.unknown.iter().filter_map(|(group, name)| {
            let unseen = names.kind(name) == NameKind::Dn && names.meaning(name) == Meaning::Unseen;
            let group = self.now.node(group).filter(|_| unseen)?;
            Some((group.key.clone(), names.text(name)))
        })
    }

    /// Whether a principal with this id is there, and a group.
    pub(crate) fn is_group(&self, id: &ObjectId) -> bool {
        let node = self.now.slot_of_id(id).and_then(|slot| self.now.node(slot));
        node.is_some_and(|node| node.group.is_some())
    }

    /// The entries below the one with this key, at any depth, as of the last settlement; sorted.
    pub(crate) fn below(&self, key: &EntryKey) -> Vec<EntryKey> {
        let node = self.now.slot(key).and_then(|slot| self.now.node(slot));
        let mut keys = Vec::new();
        let mut open: Vec<u32> = node.map(|node| node.dn).into_iter().collect();
        while let Some(name) = open.pop() {
            for below in self.now.names.below(name) {
                let slots = self.now.names.claims(below).map(|claim| claim.slot);
                keys.extend(slots.filter_map(|slot| Some(self.now.node(slot)?.key.clone())));
                open.push(below);
            }
        }
        keys.sort_unstable();
        keys
    }

    /// The groups that name an entry by its DN, as of the last settlement; sorted.
    pub(crate) fn holders(&self, key: &EntryKey) -> Vec<EntryKey> {
        let node = self.now.slot(key).and_then(|slot| self.now.node(slot));
        let holders = node.into_iter().flat_map(|node| self.now.referrers_of(node.dn));
        let mut keys: Vec<EntryKey> = holders
            .filter_map(|holder| Some(self.now.node(holder.holder)?.key.clone()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The keys of all entries that are not among `keys`, sorted. Takes time in the number of all entries.
    pub(crate) fn others(&self, keys: &BTreeSet<EntryKey>) -> Vec<EntryKey> {
        let all = self.now.nodes().map(|(_, node)| &node.key);
        let mut others: Vec<EntryKey> = all.filter(|key| !keys.contains(key)).cloned().collect();
        others.sort_unstable();
        others
    }
}
