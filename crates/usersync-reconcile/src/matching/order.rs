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
