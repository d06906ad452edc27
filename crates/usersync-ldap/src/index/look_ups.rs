//! What readers ask of an index.

use std::collections::BTreeSet;

use super::names::{Meaning, NameKind};
use super::{EntryKey, Index};

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
}
