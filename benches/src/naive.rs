//! The closure as it is usually written.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Members by group, users and groups alike.
#[derive(Debug)]
pub struct NaiveDirectory<K>(HashMap<K, Vec<K>>);

impl<K: Copy + Eq + Hash> NaiveDirectory<K> {
    /// The directory of these memberships.
    pub fn new(memberships: impl IntoIterator<Item = (K, K)>) -> Self {
        let mut members: HashMap<K, Vec<K>> = HashMap::new();
        for (group, member) in memberships {
            members.entry(group).or_default().push(member);
        }
        Self(members)
    }

    /// Everyone below `picks` who has no members himself.
    #[must_use]
    pub fn expand(&self, picks: impl IntoIterator<Item = K>) -> HashSet<K> {
        let mut waiting: Vec<K> = picks.into_iter().collect();
        let mut seen: HashSet<K> = waiting.iter().copied().collect();
        let mut found = HashSet::new();
        while let Some(principal) = waiting.pop() {
            match self.0.get(&principal) {
                None => {
                    found.insert(principal);
                }
                Some(members) => waiting.extend(members.iter().filter(|&&member| seen.insert(member))),
            }
        }
        found
    }
}
