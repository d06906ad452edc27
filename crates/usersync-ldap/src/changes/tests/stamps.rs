//! Polls by the time of the last modification: entries that show up late, and clocks that are wrong.

use std::collections::BTreeMap;

use super::scene::{NOW, changes, known, object, since_at};
use super::server::{Asked, Say, success, with_server};
use crate::changes::poll::clock::text;
use crate::changes::{Cookie, Way};

/// What the server shows: when each entry was modified, by its number.
type Shown = BTreeMap<u8, u64>;

/// Those that a search finds by the time that it asks from, and none for other searches.
fn found(asked: &Asked, shown: &Shown) -> Vec<Say> {
    let name = b"modifyTimestamp";
    let place = asked.filter.windows(name.len()).position(|window| window == name);
    let from = place.map(|place| &asked.filter[place + name.len() + 2..][..15]);
    let found = shown.iter().filter_map(|(&n, &at)| {
        let at = text(at).into_bytes();
        let found = from.is_some_and(|from| *at >= *from);
        found.then(|| object(n, &format!("cn={n}"), &[("modifyTimestamp", &[&at])]))
    });
    found.chain([success()]).collect()
}

fn begin(shown: &[(u8, u64)]) -> Cookie {
    let shown: Shown = shown.iter().copied().collect();
    with_server(
        move |asked| found(asked, &shown),
        |mut session, _| async move { changes(Way::PollTime).begin(&mut session, NOW).await },
    )
    .expect("times are shown")
}

/// The entries that a read tells, and where it goes on from.
fn told(cookie: &Cookie, now: u64, shown: &[(u8, u64)]) -> (Vec<u8>, Cookie) {
    let shown: Shown = shown.iter().copied().collect();
    let script = move |asked: &Asked| found(asked, &shown);
    let read = since_at(now, changes(Way::PollTime), cookie.clone(), known(&[]), script);
    let (after, cookie, _) = read.expect("a good cookie");
    (after.into_keys().collect(), cookie)
}

#[test]
fn entries_are_told_that_show_up_late_or_with_a_time_that_is_wrong() {
    let hour = 3600;
    let far = 4_000_000_000;
    for (what, before, now, after) in [
        ("in time", vec![(1, NOW - 60)], NOW + 60, NOW + 30),
        ("after a later one", vec![(1, NOW - 60)], NOW + 60, NOW - 90),
        ("minutes after it", vec![(1, NOW - 60)], NOW + 60, NOW - 500),
        (
            "beside one of the future",
            vec![(1, NOW - 60), (9, far)],
            NOW + 60,
            NOW + 30,
        ),
        ("nothing is of the past", vec![(9, far)], NOW + 60, NOW + 30),
        (
            "the server is slow",
            vec![(1, NOW - 2 * hour), (9, far)],
            NOW + 60,
            NOW - 2 * hour + 30,
        ),
        (
            "the server is fast",
            vec![(1, NOW + hour)],
            NOW + 60,
            NOW + hour + 30,
        ),
        ("the server was fast", vec![(1, NOW + hour)], NOW + 60, NOW + 30),
    ] {
        let (_, cookie) = told(&begin(&before), NOW + 10, &before);
        let with: Vec<_> = before.iter().copied().chain([(2, after)]).collect();
        let (told, _) = told(&cookie, now, &with);
        assert!(told.contains(&2), "{what}: {told:?}");
    }
}

/// Many that changed at once are told again for some minutes, and not until something else changes.
#[test]
fn what_was_told_is_told_again_for_some_minutes() {
    let shown = [(1, NOW - 61), (2, NOW - 60)];
    let mut cookie = begin(&shown);
    let mut tells = Vec::new();
    for minute in 0..30 {
        let (told, next) = told(&cookie, NOW + minute * 60, &shown);
        tells.push(told.len());
        cookie = next;
    }
    let again = tells.iter().take_while(|&&told| told == 2).count();
    assert!((6..=12).contains(&again), "{tells:?}");
    assert!(tells[again..].iter().all(|&told| told == 1), "{tells:?}");

    // A change begins the minutes anew, but not with what is long settled.
    let shown = [(1, NOW - 61), (2, NOW - 60), (3, NOW + 1790), (4, NOW + 1795)];
    let (first, cookie) = told(&cookie, NOW + 1800, &shown);
    assert_eq!(first, [2, 3, 4]);
    let (second, _) = told(&cookie, NOW + 1860, &shown);
    assert_eq!(second, [3, 4]);
}

/// A host whose clock went back together with the server's.
#[test]
fn what_is_told_after_clocks_went_back_is_what_there_is() {
    let shown = [(1, NOW + 1700)];
    let mut cookie = begin(&[(1, NOW - 60)]);
    for minute in 29..50 {
        cookie = told(&cookie, NOW + minute * 60, &shown).1;
    }
    let (told, _) = told(&cookie, NOW + 60, &[shown[0], (2, NOW + 30)]);
    assert_eq!(told, [1, 2]);
}
