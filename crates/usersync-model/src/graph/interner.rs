//! Gives every principal a dense number, and keeps its id and its name in byte arenas.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;
use std::ops::Range;

use foldhash::quality::RandomState;

use super::table::Table;
use crate::id::{ObjectId, PrincipalRef, SystemId};

/// How many objects are looked up together.
pub(super) const BLOCK: usize = 256;

/// Principals by number. The hash is seeded at random, because directories choose the keys; it serves
/// lookups only and never reaches an output.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    systems: Vec<SystemId>,
    system_numbers: BTreeMap<SystemId, u32>,
    /// By system: the numbers of its objects.
    tables: Vec<Table>,
    objects: String,
    ends: Ends,
    system_of: Vec<u32>,
    hasher: RandomState,
}

impl Interner {
    pub(super) fn len(&self) -> usize {
        self.system_of.len()
    }

    pub(super) fn intern_system(&mut self, system: &SystemId) -> u32 {
        if let Some(&number) = self.system_numbers.get(system) {
            return number;
        }
        let number = u32::try_from(self.systems.len()).expect("memory ends before 2^32 systems are named");
        self.systems.push(system.clone());
        self.system_numbers.insert(system.clone(), number);
        self.tables.push(Table::default());
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
        self.intern_tagged(self.tag(object), system, object)
    }

    /// Adds to `numbers` those of `block`, systems and their objects, in its order; [`BLOCK`] of them at most.
    ///
    /// Takes less time than one by one where there are many: what comparing reads is read before, for all of them, so that memory
    /// is not waited for once for each.
    pub(super) fn intern_block(&mut self, block: &[(u32, &str)], numbers: &mut Vec<u32>) {
        let (mut tags, mut likely) = ([0; BLOCK], [None; BLOCK]);
        for (tag, (_, object)) in tags.iter_mut().zip(block) {
            *tag = self.tag(object);
        }
        for ((likely, tag), (system, _)) in likely.iter_mut().zip(tags).zip(block) {
            *likely = self.tables[*system as usize].find(tag, |_| true);
        }
        let begins = |number: &u32| self.objects.as_bytes()[self.ends.range(*number).start];
        let known = likely[..block.len()].iter().flatten();
        black_box(known.map(begins).fold(0, |all, byte| all ^ byte));
        for ((tag, likely), (system, object)) in tags.into_iter().zip(likely).zip(block) {
            numbers.push(match likely {
                Some(number) if self.is_object(number, object) => number,
                _ => self.intern_tagged(tag, *system, object),
            });
        }
    }

    /// Makes room for `more` objects of a system of which none is known.
    pub(super) fn expect(&mut self, system: u32, more: usize) {
        let table = &mut self.tables[system as usize];
        if table.is_empty() {
            table.reserve(more);
        }
    }

    fn intern_tagged(&mut self, tag: u32, system: u32, object: &str) -> u32 {
        let table = &self.tables[system as usize];
        let free = match table.look(tag, |number| self.is_object(number, object)) {
            Ok(number) => return number,
            Err(free) => free,
        };
        let number = u32::try_from(self.len()).ok().filter(|number| *number < u32::MAX);
        let number = number.expect("memory ends before 2^32 principals are named");
        self.objects.push_str(object);
        self.ends.push(self.objects.len());
        self.system_of.push(system);
        self.tables[system as usize].insert(free, tag, number);
        number
    }

    pub(super) fn find(&self, system: u32, object: &str) -> Option<u32> {
        let table = &self.tables[system as usize];
        table.find(self.tag(object), |number| self.is_object(number, object))
    }

    fn is_object(&self, number: u32, object: &str) -> bool {
        &self.objects.as_bytes()[self.ends.range(number)] == object.as_bytes()
    }

    fn tag(&self, object: &str) -> u32 {
        let mut state = self.hasher.build_hasher();
        state.write(object.as_bytes());
        (state.finish() >> 32) as u32
    }

    pub(super) fn system_of(&self, number: u32) -> u32 {
        self.system_of[number as usize]
    }

    pub(super) fn object(&self, number: u32) -> &str {
        &self.objects[self.ends.range(number)]
    }

    /// System and object as text: what outputs are ordered by, since numbers follow the order of entries.
    pub(super) fn key(&self, number: u32) -> (&str, &str) {
        (self.system(self.system_of(number)).as_str(), self.object(number))
    }

    pub(super) fn principal_ref(&self, number: u32) -> PrincipalRef {
        let object = ObjectId::new(self.object(number)).expect("only identifiers are interned");
        PrincipalRef::new(self.system(self.system_of(number)).clone(), object)
    }
}

/// Where texts end that lie behind each other, in four bytes each.
#[derive(Clone, Debug, Default)]
struct Ends {
    /// From the base of its part.
    ends: Vec<u32>,
    /// Where each part begins.
    bases: Vec<usize>,
}

impl Ends {
    /// How many texts a part has: with the longest ids, far less than 2^32 bytes.
    const PART: usize = 1 << 8;

    /// Adds a text that ends at `end` and begins where the last one ended.
    fn push(&mut self, end: usize) {
        if self.ends.len().is_multiple_of(Self::PART) {
            let last = self.ends.last().zip(self.bases.last());
            self.bases
                .push(last.map_or(0, |(end, base)| base + *end as usize));
        }
        self.ends.push((end - self.bases[self.bases.len() - 1]) as u32);
    }

    fn range(&self, number: u32) -> Range<usize> {
        let at = number as usize;
        let base = self.bases[at / Self::PART];
        let start = if at.is_multiple_of(Self::PART) {
            0
        } else {
            self.ends[at - 1]
        };
        base + start as usize..base + self.ends[at] as usize
    }
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
    use super::*;

    /// Names of so many, of a length, each in two versions; what is left of the first ones is stale.
    fn changed_once(count: u32, len: usize) -> (Names, usize) {
        let mut names = Names::default();
        for version in ["a", "b"] {
            for number in 0..count {
                names.set(number, &format!("{number:04}{}", version.repeat(len - 4)));
            }
        }
        (names, count as usize * len)
    }

    #[test]
    fn stale_names_are_kept_while_they_are_few() {
        for (what, count, len) in [
            ("as many as are shown, but little text", 100, 100),
            ("more text, but less than is shown", 1000, 100),
        ] {
            let (mut names, shown) = changed_once(count, len);
            if shown > 1 << 16 {
                // Half of it was stale, and was dropped; now a part is stale again.
                assert!(names.stale <= shown, "{what}");
                for number in 0..count * 4 / 5 {
                    names.set(number, &"c".repeat(len));
                }
            }
            assert_eq!(names.text.len(), shown + names.stale, "{what}");
            assert!(names.stale > shown / 2, "{what}: {} of {shown}", names.stale);
        }
    }

    /// However often names change, and whoever loses theirs.
    #[test]
    fn stale_names_take_no_more_room_than_those_that_are_shown() {
        let (mut names, shown) = changed_once(1000, 100);
        for round in 0..20 {
            for number in 0..1000 {
                names.set(
                    number,
                    &format!("{number:04}{}", ["c", "d"][round % 2].repeat(96)),
                );
                assert_eq!(names.text.len(), shown + names.stale);
                assert!(names.stale <= shown.max(1 << 16), "{}", names.stale);
            }
        }
        for number in (0..1000).step_by(2) {
            names.set(number, "");
        }
        for number in 0..1000 {
            let name = format!("{number:04}{}", "d".repeat(96));
            assert_eq!(names.name(number), if number % 2 == 0 { "" } else { &name });
        }
    }
}
