//! Gives every principal a dense number, and keeps its id and its name in byte arenas.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::id::{ObjectId, PrincipalRef, SystemId};

/// Principals by number. The hash is seeded at random, because directories choose the keys; it serves
/// lookups only and never reaches an output.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    systems: Vec<SystemId>,
    system_numbers: BTreeMap<SystemId, u32>,
    objects: String,
    ends: Vec<usize>,
    system_of: Vec<u32>,
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Interner {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn intern_system(&mut self, system: &SystemId) -> u32 {
        if let Some(&number) = self.system_numbers.get(system) {
            return number;
        }
        let number = u32::try_from(self.systems.len()).expect("memory ends before 2^32 systems are named");
        self.systems.push(system.clone());
        self.system_numbers.insert(system.clone(), number);
        number
    }

    pub(super) fn system_number(&self, system: &SystemId) -> Option<u32> {
        self.system_numbers.get(system).copied()
    }

    pub(super) fn system(&self, number: u32) -> &SystemId {
        &self.systems[number as usize]
    }

    pub(super) fn system_count(&self) -> usize {
        self.systems.len()
    }

    pub(super) fn intern(&mut self, system: u32, object: &str) -> u32 {
        let hash = self.hash(system, object);
        if let Some(number) = self.lookup(hash, system, object) {
            return number;
        }
        let number = u32::try_from(self.ends.len()).expect("memory ends before 2^32 principals are named");
        self.objects.push_str(object);
        self.ends.push(self.objects.len());
        self.system_of.push(system);
        let (hasher, objects, ends, system_of) = (&self.hasher, &self.objects, &self.ends, &self.system_of);
        self.table.insert_unique(hash, number, |&other| {
            hash_parts(hasher, system_of[other as usize], object_in(objects, ends, other))
        });
        number
    }

    pub(super) fn find(&self, system: u32, object: &str) -> Option<u32> {
        self.lookup(self.hash(system, object), system, object)
    }

    pub(super) fn system_of(&self, number: u32) -> u32 {
        self.system_of[number as usize]
    }

    pub(super) fn object(&self, number: u32) -> &str {
        object_in(&self.objects, &self.ends, number)
    }

    /// System and object as text: what outputs are ordered by, since numbers follow the order of entries.
    pub(super) fn key(&self, number: u32) -> (&str, &str) {
        (self.system(self.system_of(number)).as_str(), self.object(number))
    }

    pub(super) fn principal_ref(&self, number: u32) -> PrincipalRef {
        let object = ObjectId::new(self.object(number)).expect("only identifiers are interned");
        PrincipalRef::new(self.system(self.system_of(number)).clone(), object)
    }

    fn hash(&self, system: u32, object: &str) -> u64 {
        hash_parts(&self.hasher, system, object)
    }

    fn lookup(&self, hash: u64, system: u32, object: &str) -> Option<u32> {
        let same = |&number: &u32| self.system_of[number as usize] == system && self.object(number) == object;
        self.table.find(hash, same).copied()
    }
}

fn hash_parts(hasher: &RandomState, system: u32, object: &str) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u32(system);
    state.write(object.as_bytes());
    state.finish()
}

fn object_in<'a>(objects: &'a str, ends: &[usize], number: u32) -> &'a str {
    let at = number as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] };
    &objects[start..ends[at]]
}

/// The names shown to people, by number. They may change: the arena is compacted once half of it is stale.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: String,
    spans: Vec<(usize, usize)>,
    stale: usize,
}

impl Names {
    pub(super) fn grow(&mut self, len: usize) {
        if self.spans.len() < len {
            self.spans.resize(len, (0, 0));
        }
    }

    pub(super) fn name(&self, number: u32) -> &str {
        match self.spans.get(number as usize) {
            Some(&(start, end)) => &self.text[start..end],
            None => "",
        }
    }

    pub(super) fn set(&mut self, number: u32, name: &str) {
        if self.name(number) == name {
            return;
        }
        self.grow(number as usize + 1);
        let (start, end) = self.spans[number as usize];
        self.stale += end - start;
        let start = self.text.len();
        self.text.push_str(name);
        self.spans[number as usize] = (start, self.text.len());
        if self.stale > 1 << 16 && self.stale > self.text.len() / 2 {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut text = String::with_capacity(self.text.len() - self.stale);
        for span in &mut self.spans {
            let start = text.len();
            text.push_str(&self.text[span.0..span.1]);
            *span = (start, text.len());
        }
        self.text = text;
        self.stale = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a list of texts, and with room for twice what they take, or for 64 KiB more than it.
        #[test]
        fn names_are_what_was_set_last_and_their_stale_text_goes(
            steps in prop::collection::vec(
                (0..4_u32, prop_oneof![Just(0), Just(1), Just(0x4000), Just(0x8000), Just(0x10000), 0..0x8000_usize]),
                1..40,
            ),
        ) {
            let mut names = Names::default();
            let mut texts = vec![String::new(); 4];
            let (mut len, mut stale) = (0, 0);
            for (at, (number, size)) in steps.into_iter().enumerate() {
                let letter = char::from(b'a' + u8::try_from(at % 26).expect("a letter"));
                let text = letter.to_string().repeat(size);
                names.set(number, &text);
                let before = std::mem::replace(&mut texts[number as usize], text);
                if before != texts[number as usize] {
                    stale += before.len();
                    len += size;
                }
                if stale > 1 << 16 && stale > len / 2 {
                    len -= std::mem::take(&mut stale);
                }
                for (number, text) in (0..).zip(&texts) {
                    prop_assert!(names.name(number) == text, "{number} after step {at}");
                }
                prop_assert_eq!((names.text.len(), names.stale), (len, stale), "after step {}", at);
            }
        }
    }
}
