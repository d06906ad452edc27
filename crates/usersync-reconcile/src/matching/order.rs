//! Parties in the order of their ids.

use usersync_model::ObjectId;

use super::input::Party;

/// The place of a party below some letters of its id: first those behind what all ids begin with. Numbers are put in order much
/// faster than texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    const LETTERS: usize = 12;

    fn new(id: &ObjectId, common: usize, place: u32) -> Self {
        let letters = &id.as_str().as_bytes()[common..];
        let mut key = [0; 16];
        match letters.first_chunk::<{ Self::LETTERS }>() {
            Some(letters) => key[..Self::LETTERS].copy_from_slice(letters),
            // No id has zeros, so the shorter one comes first.
            None => key[..letters.len()].copy_from_slice(letters),
        }
        key[Self::LETTERS..].copy_from_slice(&place.to_be_bytes());
        Self(u128::from_be_bytes(key))
    }

    fn letters(self) -> u128 {
        self.0 >> u32::BITS
    }

    fn place(self) -> usize {
        self.0 as u32 as usize
    }
}

/// Gives `each` the parties in the order of their ids, and after that of all else: all that may have one id at once.
pub(super) fn by_id<'a>(parties: &[Party<'a>], mut each: impl FnMut(&[Party<'a>])) {
    if parties.is_sorted_by(|a, b| a.id < b.id) {
        parties.chunks(1).for_each(each);
        return;
    }
    let common = common(parties);
    let keys = (0..)
        .zip(parties)
        .map(|(place, party)| Key::new(party.id, common, place));
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_unstable();
    let mut same = Vec::new();
    for keys in keys.chunk_by(|a, b| a.letters() == b.letters()) {
        same.clear();
        same.extend(keys.iter().map(|key| parties[key.place()]));
        if same.len() > 1 {
            same.sort_unstable();
        }
        each(&same);
    }
}

/// How many bytes all ids begin with alike.
fn common(parties: &[Party<'_>]) -> usize {
    let ids = || parties.iter().map(|party| party.id.as_str().as_bytes());
    let first = ids().next().unwrap_or_default();
    ids().fold(first.len(), |common, id| {
        let alike = first[..common].iter().zip(id).take_while(|(a, b)| a == b);
        alike.count()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use usersync_model::{Activity, PrincipalKind};

    use super::*;

    proptest! {
        /// However much ids begin with in common, and however long they are the same after that.
        #[test]
        fn parties_come_in_order(
            common in "[ab]{0,14}",
            ids in prop::collection::vec("[ab]{1,3}|a{11,14}b?|[ab]{12}\u{fc}", 0..12),
        ) {
            let id = |id: &String| ObjectId::new(format!("{common}{id}")).expect("an id");
            let ids: Vec<ObjectId> = ids.iter().map(id).collect();
            let attributes = BTreeMap::new();
            let parties: Vec<Party<'_>> = ids.iter().map(|id| Party {
                id,
                kind: PrincipalKind::User,
                activity: Activity::Active,
                privileged: false,
                ineligible: None,
                addresses: &[],
                attributes: &attributes,
            }).collect();
            let mut sorted = parties.clone();
            sorted.sort();
            let mut seen: Vec<Party<'_>> = Vec::new();
            by_id(&parties, |told| {
                assert!(seen.last().is_none_or(|last| last.id < told[0].id), "one id comes at once");
                seen.extend(told);
            });
            prop_assert_eq!(seen, sorted);
        }
    }
}
