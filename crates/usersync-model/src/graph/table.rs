//! Finds numbers by the hashes of what they stand for.

const EMPTY: u64 = 0;

/// Numbers below 2^32 - 1, each beside a tag: 32 bits of the hash of what it stands for. What has the same tag need not be the
/// same.
///
/// Slots are in the order of tags, but for those that were taken, so growing takes no hash and goes over memory in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// A tag and a number plus one.
    slots: Vec<u64>,
    len: usize,
    /// How many there may be before it grows: a third stays empty, so that places are found soon.
    room: usize,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first number with `tag` that `is_same` knows.
    pub(super) fn find(&self, tag: u32, is_same: impl Fn(u32) -> bool) -> Option<u32> {
        self.look(tag, is_same).ok()
    }

    /// The first number with `tag` that `is_same` knows, or else the empty place where it would be.
    pub(super) fn look(&self, tag: u32, is_same: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mut place = self.place(tag);
        loop {
            // Without slots, there is none.
            let slot = self.slots.get(place).copied().unwrap_or(EMPTY);
            if slot == EMPTY {
                return Err(place);
            }
            let number = slot as u32 - 1;
            if (slot >> 32) as u32 == tag && is_same(number) {
                return Ok(number);
            }
            place = self.after(place);
        }
    }

    /// Adds `number`, which is not there, at the place that was found for it.
    pub(super) fn insert(&mut self, place: usize, tag: u32, number: u32) {
        let slot = u64::from(tag) << 32 | u64::from(number + 1);
        if self.len < self.room {
            self.slots[place] = slot;
        } else {
            self.reserve(self.len / 2 + 8);
            self.put(slot);
        }
        self.len += 1;
    }

    /// Makes room for `more` numbers, with half of it empty.
    pub(super) fn reserve(&mut self, more: usize) {
        let len = (self.len + more) * 2;
        let before = std::mem::replace(&mut self.slots, vec![EMPTY; len]);
        self.room = len / 3 * 2;
        for slot in before.into_iter().filter(|&slot| slot != EMPTY) {
            self.put(slot);
        }
    }

    fn put(&mut self, slot: u64) {
        let mut place = self.place((slot >> 32) as u32);
        while self.slots[place] != EMPTY {
            place = self.after(place);
        }
        self.slots[place] = slot;
    }

    fn place(&self, tag: u32) -> usize {
        ((u128::from(tag) * self.slots.len() as u128) >> 32) as usize
    }

    fn after(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() {
            0
        } else {
            place + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few tags, all over the range, so that many numbers share one and runs go past the end.
        #[test]
        fn a_number_is_found_among_others_of_its_tag(
            tags in proptest::collection::vec(prop_oneof![0_u32..3, any::<u32>(), u32::MAX - 2..=u32::MAX], 0..200),
            reserved in 0_usize..100,
        ) {
            let mut table = Table::default();
            table.reserve(reserved);
            for (number, &tag) in tags.iter().enumerate() {
                let free = table.look(tag, |known| known == number as u32);
                prop_assert!(free.is_err(), "{:?}", free);
                table.insert(free.unwrap_err(), tag, number as u32);
            }
            for (number, &tag) in tags.iter().enumerate() {
                let number = number as u32;
                prop_assert_eq!(table.find(tag, |known| known == number), Some(number));
                prop_assert!(table.find(tag, |_| true).is_some());
                prop_assert_eq!(table.find(tag ^ 1 << 31, |known| known == number), None);
            }
        }
    }
}
