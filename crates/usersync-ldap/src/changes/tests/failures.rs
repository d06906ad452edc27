//! Failures of other synchronizers, replayed: what a short naive client makes of the same answers, and what ours does.
//!
//! A test is named after its number in `docs/failures.md`, which names the public records.

use std::collections::BTreeMap;

use usersync_connector::ErrorKind;

use super::scene::{
    NOW, changed, dir_sync, dir_sync_end, ids, known, object, of_domain, shown, since, since_at, standard,
    sync, sync_end, with_state,
};
use super::server::{Asked, Say};
use crate::client::oid;

const DAY: u64 = 24 * 3600;

/// RFC 4533: in a present phase nothing is said of what left. That somebody was not named means something once the end says
/// `refreshDeletes = FALSE`, and nothing before.
#[test]
fn f22_absence_in_a_present_phase_counts_at_its_end_and_not_before() {
    let before = || known(&[(1, "cn=ada", &[]), (2, "cn=bob", &[]), (3, "cn=cleo", &[])]);
    let named = || {
        vec![
            ids(&[1], false),
            with_state(object(3, "cn=cleo example", &[]), 3, 2),
        ]
    };
    // By hand: whoever was not named is gone, whatever comes next.
    let gone: Vec<u8> = [1, 2, 3].into_iter().filter(|n| ![1, 3].contains(n)).collect();
    assert_eq!(gone, [2]);
    let after = BTreeMap::from([
        (1, ("cn=ada".to_owned(), 0)),
        (3, ("cn=cleo example".to_owned(), 0)),
    ]);
    for (what, end, expected) in [
        ("it breaks off", Say::Close, Err(ErrorKind::Unavailable)),
        (
            "it is too busy",
            Say::Done(51, Vec::new()),
            Err(ErrorKind::Unavailable),
        ),
        (
            "it tells so much only",
            Say::Done(4, Vec::new()),
            Err(ErrorKind::CursorExpired),
        ),
        // A delete phase would have named whoever left: both at once cannot be.
        (
            "it says that it named the deleted",
            sync_end(0, "new", true),
            Err(ErrorKind::CursorExpired),
        ),
        ("it ends", sync_end(0, "new", false), Ok((after, sync("new"), 1))),
    ] {
        let answer: Vec<Say> = named().into_iter().chain([end]).collect();
        let read = since(standard(), sync("old"), before(), move |_| answer.clone());
        assert_eq!(read, expected, "{what}");
    }
}

/// The controller knows no deletion any more that is older than its tombstones live (KB 910205: lingering objects). Their lifetime
/// is two days at least ([MS-ADTS] 3.1.1.1.15).
#[test]
fn f23_a_cookie_that_may_be_older_than_tombstones_is_not_continued() {
    // Ada was deleted, and her tombstone as well: the answer is about Bob alone.
    let script = |asked: &Asked| {
        assert!(asked.control(oid::DIRSYNC).is_some());
        let bob: (&str, &[&[u8]]) = ("instanceType", &[b"4"]);
        vec![changed(2, "cn=bob", &[bob]), dir_sync_end(false, &[2])]
    };
    let before = || known(&[(1, "cn=ada", &[]), (2, "cn=bob", &[])]);
    let followed = |age: u64| since_at(NOW + age, of_domain(), dir_sync(1, NOW), before(), script);

    // By hand, and ours while every deletion is still told: what nobody tells of stays.
    let (after, next, _) = followed(2 * DAY - 1).expect("a cookie that is good");
    assert_eq!((after, next), (shown(&before()), dir_sync(2, NOW + 2 * DAY - 1)));

    for age in [2 * DAY, 60 * DAY, 180 * DAY] {
        assert_eq!(
            followed(age).map(|_| ()),
            Err(ErrorKind::CursorExpired),
            "after {age} s"
        );
    }
    // A clock that went back says nothing of the age.
    let back = since_at(NOW - 1, of_domain(), dir_sync(1, NOW), before(), script);
    assert_eq!(back.map(|_| ()), Err(ErrorKind::CursorExpired));
}
