//! Which of very many texts are equal, and which of them look alike.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use usersync_model::AddressKey;

use super::ahead::fetch;
use super::look_alike::Look;

/// A place among texts.
pub(super) type Slot = u32;

/// What values begin with, and no address does.
const VALUE: char = '\0';

/// About so many texts are put in order at a time: what they are compared by fits the nearest cache.
const BUCKET: usize = 1024;

/// The keys of addresses, and values under rules, in slots. The hash is seeded at random, because systems choose the texts; it
/// serves the search only and never reaches an output.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: String,
    /// Of each slot, where its text ends.
    ends: Vec<usize>,
    /// Of each slot, the hash of what its text looks like: the same for equal texts, too.
    hashes: Vec<u64>,
    hasher: RandomState,
    look: Look,
}

impl Texts {
    /// The next slot.
    pub(super) fn next(&self) -> Slot {
        u32::try_from(self.ends.len()).expect("memory ends before there are 2^32 texts")
    }

    /// Adds the key of an address; answers whether it is one.
    pub(super) fn add_address(&mut self, address: &str) -> bool {
        let start = self.all.len();
        let is_address = AddressKey::write(address, &mut self.all).is_ok();
        if is_address {
            self.end_address(start);
        }
        is_address
    }

    /// Adds the key of an address.
    pub(super) fn add_key(&mut self, key: &AddressKey) {
        let start = self.all.len();
        self.all.push_str(key.as_str());
        self.end_address(start);
    }

    /// Adds a value under a rule. Values of one rule are equal if they are of one kind and written alike.
    pub(super) fn add_value(&mut self, rule: u32, kind: char, value: impl IntoIterator<Item = char>) {
        let start = self.all.len();
        self.all.extend([VALUE, kind]);
        self.all.push_str(&rule.to_string());
        self.all.push(VALUE);
        self.all.extend(value);
        let hash = hash(&self.hasher, &self.all.as_bytes()[start..]);
        self.end(hash);
    }

    fn end_address(&mut self, start: usize) {
        let hash = hash(&self.hasher, self.look.of(&self.all[start..]));
        self.end(hash);
    }

    fn end(&mut self, hash: u64) {
        self.ends.push(self.all.len());
        self.hashes.push(hash);
    }

    /// The text in a slot.
    pub(super) fn get(&self, slot: Slot) -> &str {
        let at = slot as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.all[start..self.ends[at]]
    }

    /// The key of the address in a slot, if it is one.
    pub(super) fn address(&self, slot: Slot) -> Option<&str> {
        Some(self.get(slot)).filter(|text| !text.starts_with(VALUE))
    }

    /// Gives `each` the slots that may hold equal texts or texts that look alike, ascending: all that may, at once. A text that is
    /// like no other is left out.
    pub(super) fn alike(&self, mut each: impl FnMut(&mut Vec<Slot>)) {
        let bits = (self.hashes.len() / BUCKET).max(1).ilog2();
        let bucket_of = |hash: u64| (hash >> 1 >> (63 - bits)) as usize;
        let mut ends = vec![0; 1 << bits];
        for &hash in &self.hashes {
            ends[bucket_of(hash)] += 1;
        }
        let mut end = 0_usize;
        for bucket in &mut ends {
            end += std::mem::replace(bucket, end);
        }
        let mut entries = vec![0; self.hashes.len()];
        for (slot, &hash) in (0_u64..).zip(&self.hashes) {
            let next = &mut ends[bucket_of(hash)];
            entries[*next] = hash << 32 | slot;
            *next += 1;
        }
        let mut slots = Vec::new();
        let mut start = 0;
        for end in ends {
            let bucket = &mut entries[start..end];
            start = end;
            fetch(
                bucket
                    .iter()
                    .filter_map(|entry| self.get(*entry as Slot).bytes().next()),
            );
            bucket.sort_unstable();
            for run in bucket
                .chunk_by(|a, b| a >> 32 == b >> 32)
                .filter(|run| run.len() > 1)
            {
                slots.clear();
                slots.extend(run.iter().map(|entry| *entry as Slot));
                each(&mut slots);
            }
        }
    }
}

fn hash(hasher: &RandomState, bytes: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(bytes);
    state.finish()
}
