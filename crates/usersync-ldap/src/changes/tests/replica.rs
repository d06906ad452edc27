//! A copy of a directory's content, kept in the simplest way, as the naive index of the tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::changes::{Delta, Known};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::index::EntryKey;

/// The values of attributes, whose names are in lower case.
pub(super) type Values = BTreeMap<String, BTreeSet<Vec<u8>>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    pub(super) members: Vec<String>,
    pub(super) entries: BTreeMap<EntryKey, (Dn, Values)>,
    pub(super) missing: Vec<String>,
    pub(super) deltas: usize,
}

impl Replica {
    pub(super) fn new(members: &[&str]) -> Self {
        Self {
            members: members.iter().map(|name| name.to_ascii_lowercase()).collect(),
            ..Self::default()
        }
    }

    pub(super) fn put(&mut self, key: EntryKey, entry: &Entry) {
        self.entries.insert(key, (entry.dn().clone(), values(entry)));
    }

    pub(super) fn apply(&mut self, delta: Delta) {
        self.deltas += 1;
        match delta {
            Delta::Entry { key, entry, missing } => {
                self.missing.extend(missing.map(|reason| reason.to_string()));
                self.put(key, &entry);
            }
            Delta::EntryWithoutMembers { key, entry } => {
                let mut values = values(&entry);
                let old = self
                    .entries
                    .get(&key)
                    .expect("members are kept of known entries only");
                for name in &self.members {
                    assert!(
                        !values.contains_key(name),
                        "{name} came with what is to be without it"
                    );
                    values.extend(old.1.get(name).map(|old| (name.clone(), old.clone())));
                }
                self.entries.insert(key, (entry.dn().clone(), values));
            }
            Delta::Members {
                key,
                attribute,
                added,
                removed,
            } => {
                let (_, values) = self
                    .entries
                    .get_mut(&key)
                    .expect("members change of known entries only");
                let members = values.entry(attribute.clone()).or_default();
                members.extend(added);
                members.retain(|value| !removed.contains(value));
                if members.is_empty() {
                    values.remove(&attribute);
                }
            }
            Delta::Gone { key } => drop(self.entries.remove(&key)),
            Delta::OnlyTheseRemain(keys) => self.entries.retain(|key, _| keys.contains(key)),
        }
    }
}

impl Known for Replica {
    fn contains(&self, key: &EntryKey) -> bool {
        self.entries.contains_key(key)
    }

    fn below(&self, key: &EntryKey) -> Vec<EntryKey> {
        let Some((top, _)) = self.entries.get(key) else {
            return Vec::new();
        };
        let below = |dn: &Dn| dn != top && dn.is_within(top);
        let entries = self.entries.iter().filter(|(_, (dn, _))| below(dn));
        entries.map(|(key, _)| key.clone()).collect()
    }

    fn dn(&self, key: &EntryKey) -> Option<String> {
        self.entries.get(key).map(|(dn, _)| dn.key().to_owned())
    }

    fn holders(&self, key: &EntryKey) -> Vec<EntryKey> {
        let Some((named, _)) = self.entries.get(key) else {
            return Vec::new();
        };
        let is = |value: &Vec<u8>| {
            std::str::from_utf8(value).is_ok_and(|text| Dn::parse(text).as_ref() == Ok(named))
        };
        let holds = |values: &Values| {
            self.members
                .iter()
                .filter_map(|name| values.get(name))
                .flatten()
                .any(is)
        };
        let entries = self.entries.iter().filter(|(_, (_, values))| holds(values));
        entries.map(|(key, _)| key.clone()).collect()
    }

    fn others(&self, keys: &BTreeSet<EntryKey>) -> Vec<EntryKey> {
        self.entries
            .keys()
            .filter(|key| !keys.contains(key))
            .cloned()
            .collect()
    }
}

fn values(entry: &Entry) -> Values {
    let mut values = Values::new();
    for (name, value) in entry.attributes() {
        if name.eq_ignore_ascii_case("hasSubordinates") {
            continue;
        }
        values
            .entry(name.to_ascii_lowercase())
            .or_default()
            .insert(value.to_vec());
    }
    values
}
