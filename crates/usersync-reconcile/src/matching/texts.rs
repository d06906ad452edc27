//! Which of very many texts are equal, and which of them look alike.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use usersync_model::AddressKey;

use super::look_alike::Look;

/// A place among texts.
pub(super) type Slot = u32;

/// What no address begins with: no UTF-8 has it.
const NO_ADDRESS: u8 = 0xff;

/// About so many texts are put in order at a time: what they are compared by fits the nearest cache.
const BUCKET: usize = 1024;

/// The keys of addresses, and values under rules, in slots. The hash is seeded at random, because systems choose the texts; it
/// serves the search only and never reaches an output.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Of each slot, where its text ends.
    ends: Vec<usize>,
    /// Of each slot, the hash of what its text looks like: the same for equal texts, too.
    hashes: Vec<u64>,
    hasher: RandomState,
    key: String,
    look: Look,
}

impl Texts {
    /// The next slot.
    pub(super) fn next(&self) -> Slot {
        u32::try_from(self.ends.len()).expect("memory ends before there are 2^32 texts")
    }

    /// Adds the key of an address; answers whether it is one.
    pub(super) fn add_address(&mut self, address: &str) -> bool {
        self.key.clear();
        let is_address = AddressKey::write(address, &mut self.key).is_ok();
        if is_address {
            let key = std::mem::take(&mut self.key);
            self.add_key(&key);
            self.key = key;
        }
        is_address
    }

    /// Adds the key of an address.
    pub(super) fn add_key(&mut self, key: &str) {
        self.bytes.extend_from_slice(key.as_bytes());
        let hash = hash(&self.hasher, self.look.of(key));
        self.end(hash);
    }

    /// Adds a value under a rule. Of one rule, no two kinds of value are equal.
    pub(super) fn add_value(&mut self, rule: u32, kind: u8, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.push(NO_ADDRESS);
        self.bytes.extend_from_slice(&rule.to_be_bytes());
        self.bytes.push(kind);
        self.bytes.extend_from_slice(value);
        let hash = hash(&self.hasher, &self.bytes[start..]);
        self.end(hash);
    }

    fn end(&mut self, hash: u64) {
        self.ends.push(self.bytes.len());
        self.hashes.push(hash);
    }

    /// The text in a slot.
    pub(super) fn get(&self, slot: Slot) -> &[u8] {
        let at = slot as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// The key of the address in a slot, if it is one.
    pub(super) fn address(&self, slot: Slot) -> Option<&str> {
        let text = self.get(slot);
        let is_value = text.first() == Some(&NO_ADDRESS);
        std::str::from_utf8(text).ok().filter(|_| !is_value)
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
