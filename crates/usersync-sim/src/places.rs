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
/// at nothing else would miss items. Where an earlier life of a link was being forgotten and `waits` says that nobody works on the link
/// now, what is left of it counts no more, and is dropped before anything is read.
pub(crate) fn problem_of_places<'a>(
    values: impl Iterator<Item = (Table, &'a Key, &'a [u8])>,
    waits: impl Fn(&Key) -> bool,
) -> Option<String> {
    let (mut expected, mut stored) = (BTreeSet::new(), BTreeSet::new());
    let (mut counted, mut states) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
    let mut left = BTreeSet::new();
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
                let state = &value["value"];
                if state["forgotten"] == true {
                    if !waits(key) {
                        return Some(format!("{key:?} is never forgotten"));
                    }
                    left.insert(first_parts(key, 0));
                }
                if let Some(bases) = state["rows"].as_u64() {
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
    stored.retain(|place| !left.contains(&first_parts(place, 3)));
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is wrong with one base, its places at these sides, and this state of its pair.
    fn problem(base: bool, sides: &[&str], state: Option<Value>, waits: bool) -> Option<String> {
        let pair = ["items", "crm", "p0", "mail", "a0", "task"];
        let key = |last: &[&str]| Key::of(&[&pair, last].concat());
        let text = |value: Value| json!({ "value": value }).to_string().into_bytes();
        let mut values = Vec::new();
        if base {
            let value = json!({ "first": { "href": "one" }, "second": { "href": "two" } });
            values.push((Table::Base, key(&["uid"]), text(value)));
        }
        let hrefs = BTreeMap::from([("first", "one"), ("second", "two")]);
        let places = sides.iter().map(|side| key(&[side, hrefs[side], "uid"]));
        values.extend(places.map(|place| (Table::Place, place, Vec::new())));
        values.extend(state.map(|state| (Table::Cursor, key(&[]), text(state))));
        let values = values.iter().map(|(table, key, bytes)| (*table, key, &**bytes));
        problem_of_places(values, |pair| waits && *pair == key(&[]))
    }

    #[test]
    fn each_base_has_its_places_and_no_other_place_is_there() {
        let (both, one) = (["first", "second"], ["second"]);
        let rows = |count: u64| Some(json!({ "rows": count }));
        assert_eq!(problem(true, &both, rows(1), false), None);
        assert!(
            problem(true, &one, rows(1), false).is_some(),
            "a place is missing"
        );
        assert!(
            problem(false, &one, rows(0), false).is_some(),
            "a place of no base"
        );
        assert!(
            problem(false, &one, rows(0), true).is_some(),
            "nothing is forgotten"
        );
        assert!(problem(true, &both, rows(2), false).is_some(), "two are counted");
        assert!(problem(false, &one, None, true).is_some(), "of no pair");
    }

    #[test]
    fn what_is_left_of_an_earlier_life_waits_only_while_nobody_works_on_the_link() {
        let forgotten = || Some(json!({ "forgotten": true }));
        assert_eq!(problem(true, &["first", "second"], forgotten(), true), None);
        assert_eq!(problem(false, &["second"], forgotten(), true), None);
        assert!(problem(false, &["second"], forgotten(), false).is_some());
        assert!(problem(false, &[], forgotten(), false).is_some());
    }
}
