//! Puts very many texts in order.

/// The place of a text below some letters of it: those behind what all texts begin with. Numbers are put in order much faster than
/// texts, which lie far apart in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    const LETTERS: usize = 12;

    /// Of a text without what all begin with.
    fn new(letters: &[u8], place: u32) -> Self {
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

/// Brings `items` in the order of their texts, those of one text in the order they were in. No text has a zero.
///
/// O(n log n), and about one look at each text where they differ soon.
pub(crate) fn sort<T>(items: &mut [T], text: impl Fn(&T) -> &str) {
    if items.is_sorted_by(|one, next| text(one) <= text(next)) {
        return;
    }
    if u32::try_from(items.len()).is_err() {
        items.sort_by(|one, other| text(one).cmp(text(other)));
        return;
    }
    let texts: Vec<&str> = items.iter().map(text).collect();
    let order = order(&texts);
    arrange(items, order);
}

/// The places of `texts` in their order.
fn order(texts: &[&str]) -> Vec<usize> {
    // Mostly a few tell what all begin with.
    let few = texts.iter().step_by(texts.len() / 64 + 1);
    let mut keys = keys(texts, common(few)).unwrap_or_else(|| {
        let common = common(texts.iter());
        keys(texts, common).expect("all texts begin with what all begin with")
    });
    keys.sort_unstable();
    let mut order: Vec<usize> = keys.iter().map(|key| key.place()).collect();
    let mut start = 0;
    for same in keys.chunk_by(|a, b| a.letters() == b.letters()) {
        let end = start + same.len();
        if same.len() > 1 {
            order[start..end].sort_by_key(|place| texts[*place]);
        }
        start = end;
    }
    order
}

/// The keys of texts that all begin with `common`; `None` where one does not.
fn keys(texts: &[&str], common: &[u8]) -> Option<Vec<Key>> {
    let key = |(place, text): (u32, &&str)| {
        let letters = text.as_bytes().strip_prefix(common)?;
        Some(Key::new(letters, place))
    };
    (0..).zip(texts).map(key).collect()
}

/// What all of these begin with.
fn common<'a>(mut texts: impl Iterator<Item = &'a &'a str>) -> &'a [u8] {
    let first = texts.next().map_or("", |first| first).as_bytes();
    texts.fold(first, |common, text| {
        let alike = common.iter().zip(text.as_bytes()).take_while(|(a, b)| a == b);
        &common[..alike.count()]
    })
}

/// Brings `items` in this order of their places.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut to = start;
        loop {
            let from = std::mem::replace(&mut order[to], to);
            if from == start {
                break;
            }
            items.swap(to, from);
            to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::id::RecordRef;

    /// Short ones, long ones that differ late or not at all, and some that begin otherwise than all others.
    fn object() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => "common[ab]{0,2}",
            8 => "common[ab]{12}[ab]{0,2}",
            4 => "common(a{11,14}b?|[ab]{12}\u{fc})",
            1 => "c[ao][bm]?",
        ]
    }

    proptest! {
        #[test]
        fn records_come_in_the_order_of_their_ids(
            objects in prop::collection::vec((object(), 0..40_u8), 0..200),
        ) {
            let record = |(at, (object, system)): (usize, &(String, u8))| {
                // Mostly all are of one system.
                let system = if *system == 0 { "other" } else { "system" };
                (RecordRef::parse(system, object).expect("an id"), at)
            };
            let mut records: Vec<_> = objects.iter().enumerate().map(record).collect();
            for systems in [true, false] {
                let mut expected = records.clone();
                expected.sort();
                let mut sorted = records.clone();
                RecordRef::sort(&mut sorted, |(id, _)| id);
                prop_assert_eq!(&sorted, &expected, "of several systems: {}", systems);
                RecordRef::sort(&mut sorted, |(id, _)| id);
                prop_assert_eq!(&sorted, &expected, "again");
                expected.dedup_by(|one, other| one.0 == other.0);
                let mut descending: Vec<_> = expected.iter().rev().cloned().collect();
                RecordRef::sort(&mut descending, |(id, _)| id);
                prop_assert_eq!(&descending, &expected, "from the other end");
                records.retain(|(id, _)| id.system.as_str() == "system");
            }
        }
    }
}
