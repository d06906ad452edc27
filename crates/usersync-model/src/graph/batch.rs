//! Gives many principals their numbers at once.

use std::hint::black_box;

use super::interner::Interner;

/// How many objects are read, and looked up, together.
pub(super) const BLOCK: usize = 256;

/// From how many objects on they are put in parts: with fewer, all that is read lies near anyway.
const MANY: usize = 1 << 15;

/// How many objects are put in parts at a time, so that it takes little memory beside.
const ROUND: usize = 1 << 18;

/// By how many of the first bits of their tags very many objects are put in parts.
const BITS: u32 = 7;

/// Objects on their way to their numbers.
///
/// Very many are put in parts by their tags, and looked up part by part: what one part is looked up in lies together in memory, and
/// what is new gets numbers and memory that lie together for the next time.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// What comes in: systems and their objects.
    block: Vec<(u32, &'a str)>,
    parts: Option<Parts<'a>>,
    numbers: Vec<u32>,
}

#[derive(Debug)]
struct Parts<'a> {
    parts: Vec<Part<'a>>,
    bits: u32,
    /// About how many all parts may hold.
    most: usize,
    waiting: usize,
}

#[derive(Clone, Debug, Default)]
struct Part<'a> {
    tags: Vec<u32>,
    objects: Vec<(u32, &'a str)>,
    /// Where their numbers are wanted.
    places: Vec<usize>,
}

impl<'a> Batch<'a> {
    /// A batch of about so many.
    pub(super) fn new(expected: usize) -> Self {
        let parts = (expected >= MANY).then(|| Parts::new(BITS, ROUND));
        Self::with(parts, expected)
    }

    fn with(parts: Option<Parts<'a>>, expected: usize) -> Self {
        Self {
            block: Vec::with_capacity(BLOCK.min(expected)),
            parts,
            numbers: Vec::with_capacity(expected),
        }
    }

    /// Adds the next object.
    pub(super) fn add(&mut self, ids: &mut Interner, system: u32, object: &'a str) {
        self.block.push((system, object));
        if self.block.len() == BLOCK {
            self.take_block(ids);
        }
    }

    /// The numbers of all, in the order in which they were added.
    pub(super) fn finish(mut self, ids: &mut Interner) -> Vec<u32> {
        self.take_block(ids);
        if let Some(parts) = &mut self.parts {
            parts.intern(ids, &mut self.numbers);
        }
        self.numbers
    }

    fn take_block(&mut self, ids: &mut Interner) {
        match &mut self.parts {
            None => ids.intern_block(&self.block, &mut self.numbers),
            Some(parts) => {
                parts.scatter(ids, &self.block, self.numbers.len());
                if parts.waiting >= parts.most {
                    parts.intern(ids, &mut self.numbers);
                }
            }
        }
        self.block.clear();
    }
}

impl<'a> Parts<'a> {
    fn new(bits: u32, most: usize) -> Self {
        Self {
            parts: vec![Part::default(); 1 << bits],
            bits,
            most,
            waiting: 0,
        }
    }

    /// Adds `block`; before those that are waiting, so many have their numbers.
    fn scatter(&mut self, ids: &Interner, block: &[(u32, &'a str)], done: usize) {
        fetch(block);
        for &(system, object) in block {
            let tag = ids.tag(object);
            let part = &mut self.parts[(u64::from(tag) << self.bits >> u32::BITS) as usize];
            part.tags.push(tag);
            part.objects.push((system, object));
            part.places.push(done + self.waiting);
            self.waiting += 1;
        }
    }

    fn intern(&mut self, ids: &mut Interner, numbers: &mut Vec<u32>) {
        numbers.resize(numbers.len() + self.waiting, 0);
        self.waiting = 0;
        for part in &mut self.parts {
            let places = part.places.chunks(BLOCK);
            for ((tags, block), places) in part
                .tags
                .chunks(BLOCK)
                .zip(part.objects.chunks(BLOCK))
                .zip(places)
            {
                fetch(block);
                let mut places = places.iter();
                ids.intern_tagged_block(tags, block, |number| {
                    if let Some(&place) = places.next() {
                        numbers[place] = number;
                    }
                });
            }
            part.tags.clear();
            part.objects.clear();
            part.places.clear();
        }
    }
}

/// Reads objects that are needed soon, all at once: memory answers many questions in the time of one.
fn fetch(block: &[(u32, &str)]) {
    let ends = |object: &str| match object.as_bytes() {
        [first, .., last] => first ^ last,
        _ => 0,
    };
    black_box(block.iter().fold(0, |all, (_, object)| all ^ ends(object)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::id::SystemId;

    /// Objects of two systems, many of them more than once.
    fn objects() -> impl Strategy<Value = Vec<(u32, String)>> {
        prop::collection::vec((0..2_u32, "[ab]{1,3}|[a-z]{1,40}"), 0..1200)
    }

    fn interner() -> Interner {
        let mut ids = Interner::default();
        for system in ["one", "other"] {
            ids.intern_system(&SystemId::new(system).expect("an id"));
        }
        ids
    }

    /// What an interner must say of numbers: one for each object, all from zero on.
    fn check(ids: &Interner, objects: &[(u32, String)], numbers: &[u32]) -> Result<(), TestCaseError> {
        let mut naive: BTreeMap<&(u32, String), u32> = BTreeMap::new();
        prop_assert_eq!(objects.len(), numbers.len());
        for (object, number) in objects.iter().zip(numbers) {
            prop_assert_eq!(*naive.entry(object).or_insert(*number), *number, "{:?}", object);
            prop_assert_eq!(
                (ids.system_of(*number), ids.object(*number)),
                (object.0, object.1.as_str())
            );
        }
        prop_assert_eq!(ids.len(), naive.len());
        Ok(())
    }

    proptest! {
        /// However many parts there are, and however often they are emptied.
        #[test]
        fn an_object_has_one_number_whatever_the_parts(
            objects in objects(),
            bits in 0..10_u32,
            most in 0..700_usize,
            first in 0..1200_usize,
        ) {
            let mut ids = interner();
            let (first, then) = objects.split_at(first.min(objects.len()));
            let mut numbers = Vec::new();
            for list in [first, then] {
                let parts = (bits < 9).then(|| Parts::new(bits, most));
                let mut batch = Batch::with(parts, list.len());
                for (system, object) in list {
                    batch.add(&mut ids, *system, object);
                }
                numbers.extend(batch.finish(&mut ids));
            }
            check(&ids, &objects, &numbers)?;
            for ((system, object), number) in objects.iter().zip(&numbers) {
                prop_assert_eq!(ids.find(*system, object), Some(*number));
            }
        }

        /// A hash only says where to look: with a few tags for all, the numbers are right all the same.
        #[test]
        fn an_object_has_one_number_whatever_its_tag(objects in objects(), tags in 1..4_u32) {
            let mut ids = interner();
            let mut numbers = Vec::new();
            for block in objects.chunks(BLOCK) {
                let tags: Vec<u32> = block.iter().map(|(_, object)| object.len() as u32 % tags).collect();
                let block: Vec<_> = block.iter().map(|(system, object)| (*system, object.as_str())).collect();
                ids.intern_tagged_block(&tags, &block, |number| numbers.push(number));
            }
            check(&ids, &objects, &numbers)?;
        }
    }
}
