//! By which keys the stored bases of items are found.

use std::collections::{BTreeMap, BTreeSet};

use usersync_store::{Key, Table};

/// The keys by which the base of an item is to be found.
pub(crate) fn places_of(base: &Key, value: &serde_json::Value) -> Vec<Key> {
    let parts: Vec<&str> = base.parts().collect();
    let Some((uid, pair)) = parts.split_last() else {
        return Vec::new();
    };
    let sides = ["first", "second"].into_iter();
    sides
        .filter_map(|side| {
            let last = [side, value[side]["href"].as_str()?, uid];
            Some(Key::of(&[pair, &last].concat()))
        })
        .collect()
}

/// What is wrong with the places and the number of bases that are stored of pairs of collections, if they are kept: a run that looks
/// at nothing else would miss items.
pub(crate) fn problem_of_places<'a>(
    values: impl Iterator<Item = (Table, &'a Key, &'a [u8])>,
) -> Option<String> {
    let (mut expected, mut stored) = (BTreeSet::new(), BTreeSet::new());
    let (mut counted, mut states) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
    for (table, key, bytes) in values {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        match table {
            Table::Base => {
                let places = places_of(key, &value["value"]);
                if !places.is_empty() {
                    *counted.entry(first_parts(key, 1)).or_default() += 1;
                    expected.extend(places);
                }
            }
            Table::Cursor => {
                if let Some(bases) = value["value"]["rows"].as_u64() {
                    states.insert(first_parts(key, 0), bases);
                }
            }
            Table::Place => {
                stored.insert(key.clone());
            }
            _ => {}
        }
    }
    expected.retain(|place| states.contains_key(&first_parts(place, 3)));
    if expected != stored {
        let (missing, idle): (Vec<_>, Vec<_>) = (
            expected.difference(&stored).collect(),
            stored.difference(&expected).collect(),
        );
        return Some(format!("places {missing:?} are missing, {idle:?} are of no base"));
    }
    let wrong = states
        .iter()
        .find(|(pair, bases)| counted.get(*pair).copied().unwrap_or_default() != **bases);
    wrong.map(|(pair, bases)| {
        format!(
            "of {pair} {bases} bases are counted, and {:?} are there",
            counted.get(pair)
        )
    })
}

/// A key without its last parts.
fn first_parts(key: &Key, without: usize) -> String {
    let parts: Vec<&str> = key.parts().collect();
    parts[..parts.len().saturating_sub(without)].join(" ")
}
