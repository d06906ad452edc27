//! A growable set of small numbers, one bit each.

#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Makes room for the numbers below `len`; the others are absent.
    pub(super) fn grow(&mut self, len: usize) {
        let words = len.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    pub(super) fn contains(&self, bit: u32) -> bool {
        self.word((bit >> 6) as usize) >> (bit & 63) & 1 == 1
    }

    /// Adds `bit`; whether it was absent. Room must have been made.
    pub(super) fn insert(&mut self, bit: u32) -> bool {
        let word = &mut self.words[(bit >> 6) as usize];
        let mask = 1 << (bit & 63);
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    pub(super) fn put(&mut self, bit: u32, present: bool) {
        self.grow(bit as usize + 1);
        let word = &mut self.words[(bit >> 6) as usize];
        let mask = 1 << (bit & 63);
        if present {
            *word |= mask;
        } else {
            *word &= !mask;
        }
    }

    pub(super) fn remove(&mut self, bit: u32) {
        if let Some(word) = self.words.get_mut((bit >> 6) as usize) {
            *word &= !(1 << (bit & 63));
        }
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }
}

/// A set that is filled, read in order and emptied over and over: a second level of bits tells which words are not
/// zero, so that reading costs what was put in, however large the numbers may be. It may name some that are.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseBits {
    words: Vec<u64>,
    /// One bit per word.
    summary: Vec<u64>,
    /// Whether any word may not be zero, whatever the summary says.
    filled: bool,
}

impl SparseBits {
    /// Makes room for the numbers below `len`.
    pub(super) fn grow(&mut self, len: usize) {
        let summary = len.div_ceil(64 * 64);
        if self.summary.len() < summary {
            self.summary.resize(summary, 0);
            self.words.resize(summary * 64, 0);
        }
    }

    /// Whether adding `count` numbers would leave few words zero, so that reading all words is less work than keeping
    /// account of them.
    pub(super) fn is_filled_by(&self, count: usize) -> bool {
        count >= self.words.len()
    }

    /// Adds all of `bits` without keeping account of words; [`expect_all`](Self::expect_all) has to be called too. Room
    /// must have been made.
    pub(super) fn insert_expected(&mut self, bits: &[u32]) {
        let words = self.words.as_mut_slice();
        for &bit in bits {
            words[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
    }

    /// From here until the set is emptied, any word may not be zero.
    pub(super) fn expect_all(&mut self) {
        self.filled = true;
    }

    /// Whether any word may not be zero.
    pub(super) fn expects_all(&self) -> bool {
        self.filled
    }

    /// Whether nothing was put in since the set was emptied.
    pub(super) fn is_empty(&self) -> bool {
        !self.filled && self.summary.iter().all(|&summary| summary == 0)
    }

    pub(super) fn contains(&self, bit: u32) -> bool {
        self.word((bit >> 6) as usize) >> (bit & 63) & 1 == 1
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    /// Adds all of `bits`. Room must have been made.
    pub(super) fn insert_all(&mut self, bits: &[u32]) {
        let (words, summary) = (self.words.as_mut_slice(), self.summary.as_mut_slice());
        for &bit in bits {
            words[(bit >> 6) as usize] |= 1 << (bit & 63);
            summary[(bit >> 12) as usize] |= 1 << (bit >> 6 & 63);
        }
    }

    /// Empties the set, giving its words away in ascending order. Inlined, so that what `take` counts stays in
    /// registers.
    #[inline(always)]
    pub(super) fn drain(&mut self, mut take: impl FnMut(usize, u64)) {
        let words = self.words.as_mut_slice();
        if std::mem::take(&mut self.filled) {
            self.summary.fill(0);
            for (at, word) in words.iter_mut().enumerate() {
                take(at, std::mem::take(word));
            }
            return;
        }
        for (at, summary) in self.summary.iter_mut().enumerate() {
            let mut left = std::mem::take(summary);
            while left != 0 {
                let word = (at << 6) + left.trailing_zeros() as usize;
                left &= left - 1;
                take(word, std::mem::take(&mut words[word]));
            }
        }
    }
}

/// The numbers whose bits are set in `word`, the `at`-th of a set, in ascending order.
pub(super) fn each_bit(at: usize, mut word: u64, mut found: impl FnMut(u32)) {
    let base = (at as u32) << 6;
    while word != 0 {
        found(base + word.trailing_zeros());
        word &= word - 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Below 64, around the ends of words, and around the ends of what a word of the second level stands for.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![
            0..64_u32,
            60..70_u32,
            120..136_u32,
            4090..4102_u32,
            8185..8200_u32
        ]
    }

    fn all(len: usize, word: impl Fn(usize) -> u64) -> Vec<u32> {
        let mut found = Vec::new();
        (0..len).for_each(|at| each_bit(at, word(at), |bit| found.push(bit)));
        found
    }

    proptest! {
        #[test]
        fn bits_are_a_set(steps in prop::collection::vec((number(), 0..4), 0..40)) {
            let (mut bits, mut set, mut room) = (Bits::default(), BTreeSet::new(), 0);
            for (bit, step) in steps {
                match step {
                    0 => {
                        bits.grow(bit as usize + 1);
                        prop_assert_eq!(bits.insert(bit), set.insert(bit));
                    }
                    1 => bits.remove(bit),
                    put => bits.put(bit, put == 2),
                }
                match step {
                    0 | 2 => set.insert(bit),
                    _ => set.remove(&bit),
                };
                if step != 1 {
                    room = room.max(bit as usize / 64 + 1);
                }
                prop_assert_eq!(bits.words.len(), room);
                let listed = all(room + 1, |at| bits.word(at));
                prop_assert!(listed.iter().eq(&set), "{listed:?}, and not {set:?}");
                prop_assert!((0..8300).all(|bit| bits.contains(bit) == set.contains(&bit)));
            }
        }

        #[test]
        fn sparse_bits_are_a_set_that_is_emptied_in_order(
            rounds in prop::collection::vec((prop::collection::vec(number(), 0..20), any::<bool>()), 1..5),
        ) {
            let mut bits = SparseBits::default();
            let mut room = 0;
            for (numbers, expected) in rounds {
                let set: BTreeSet<u32> = numbers.iter().copied().collect();
                let len = set.last().map_or(0, |last| *last as usize + 1);
                bits.grow(len);
                room = room.max(len);
                prop_assert!(bits.is_empty());
                if expected {
                    bits.expect_all();
                    bits.insert_expected(&numbers);
                } else {
                    bits.insert_all(&numbers);
                    prop_assert_eq!(bits.is_empty(), set.is_empty());
                }
                prop_assert!((0..8300).all(|bit| bits.contains(bit) == set.contains(&bit)));
                let (mut emptied, mut places) = (Vec::new(), Vec::new());
                bits.drain(|at, word| {
                    places.push(at);
                    each_bit(at, word, |bit| emptied.push(bit));
                });
                prop_assert!(emptied.iter().eq(&set), "{emptied:?}, and not {set:?}");
                prop_assert!(places.is_sorted_by(|a, b| a < b), "words twice, or not in order: {places:?}");
                // Reading costs what was put in, and the memory is little more than what was asked for.
                let words: BTreeSet<usize> = set.iter().map(|bit| *bit as usize / 64).collect();
                prop_assert!(expected || places.iter().eq(&words), "{places:?}, and not {words:?}");
                prop_assert_eq!(bits.words.len(), room.div_ceil(4096) * 64);
                prop_assert!(bits.is_empty());
                prop_assert_eq!(all(bits.words.len() + 1, |at| bits.word(at)), Vec::<u32>::new());
            }
        }
    }
}
