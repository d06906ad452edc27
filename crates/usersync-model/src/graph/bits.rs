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

    /// Adds all of `bits`. Room must have been made.
    pub(super) fn insert_all(&mut self, bits: &[u32]) {
        let words = self.words.as_mut_slice();
        for &bit in bits {
            words[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
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

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
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
