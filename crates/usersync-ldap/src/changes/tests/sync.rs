//! Content synchronization, from the request to the copy.

use std::collections::BTreeMap;

use usersync_connector::ErrorKind;

use super::scene::{
    BASE, INFO, NOW, changes, dir_sync, ids, is_sync, known, object, of_domain, shown, since, standard, sync,
    sync_end, with_state,
};
use super::server::{Asked, Say, entry, success, with_server};
use crate::changes::content_sync::Dialect;
use crate::changes::{Changes, Way};
use crate::client::oid;

#[test]
fn a_change_takes_one_search_and_no_change_no_entry() {
    let before = || known(&[(1, "cn=a", &[]), (2, "cn=b", &[]), (3, "cn=c", &["cn=z"])]);
    let read = since(standard(), sync("old"), before(), |asked| {
        assert_eq!(
            asked.control(oid::SYNC_REQUEST),
            Some(&b"\x30\x08\x0a\x01\x01\x04\x03old"[..])
        );
        vec![
            ids(&[2, 9], true),
            with_state(
                object(3, "cn=c", &[("member", &[b"cn=z,dc=x", b"cn=y,dc=x"])]),
                3,
                1,
            ),
            sync_end(0, "new", true),
        ]
    });
    let after = BTreeMap::from([(1, ("cn=a".to_owned(), 0)), (3, ("cn=c".to_owned(), 2))]);
    assert_eq!(read, Ok((after, sync("new"), 1)));

    let read = since(standard(), sync("old"), before(), |_| vec![sync_end(0, "", true)]);
    assert_eq!(read, Ok((shown(&before()), sync("old"), 1)));
}

#[test]
fn what_ends_a_sync_leaves_the_old_cookie() {
    let added = || with_state(object(7, "cn=new", &[]), 7, 1);
    let expired = ErrorKind::CursorExpired;
    for (what, answer, kind) in [
        (
            "the server closes",
            vec![added(), Say::Close],
            ErrorKind::Unavailable,
        ),
        (
            "a refresh is required",
            vec![added(), sync_end(0, "new", false)],
            expired,
        ),
        (
            "the server is older than the cookie",
            vec![Say::Done(53, vec![])],
            expired,
        ),
        (
            "its limits are too small",
            vec![added(), Say::Done(4, vec![])],
            expired,
        ),
        (
            "it denies it",
            vec![Say::Done(50, vec![])],
            ErrorKind::PermissionDenied,
        ),
        (
            "it ignores the control",
            vec![added(), success()],
            ErrorKind::InvalidData,
        ),
        (
            "an entry says nothing",
            vec![object(7, "cn=new", &[]), sync_end(0, "", true)],
            ErrorKind::InvalidData,
        ),
        (
            "an unknown state",
            vec![with_state(object(7, "cn=new", &[]), 7, 9)],
            ErrorKind::InvalidData,
        ),
        (
            "a message of nothing",
            vec![Say::Info(INFO, vec![])],
            ErrorKind::InvalidData,
        ),
        (
            "very many entries",
            (0..30)
                .map(|n| with_state(object(n, &format!("cn={n}"), &[]), n, 1))
                .collect(),
            ErrorKind::LimitExceeded,
        ),
    ] {
        let read = since(standard(), sync("old"), known(&[]), move |_| answer.clone());
        assert_eq!(read.map(|_| ()), Err(kind), "{what}");
    }
    let other = since(standard(), dir_sync(1, NOW), known(&[]), |_| vec![]);
    assert_eq!(other.map(|_| ()), Err(expired), "a cookie of another kind");
}

#[test]
fn presence_tells_who_is_gone() {
    let before = known(&[(1, "cn=a", &[]), (2, "cn=b", &[]), (3, "cn=c", &[])]);
    let read = since(standard(), sync("old"), before, |_| {
        vec![
            ids(&[1], false),
            with_state(object(3, "cn=d", &[]), 3, 1),
            sync_end(0, "new", false),
        ]
    });
    let after = BTreeMap::from([(1, ("cn=a".to_owned(), 0)), (3, ("cn=d".to_owned(), 0))]);
    assert_eq!(read, Ok((after, sync("new"), 1)));
}

#[test]
fn moves_of_subtrees_are_noticed() {
    let tree = || known(&[(1, "ou=u", &[]), (2, "cn=a,ou=u", &[]), (3, "cn=b,ou=u", &[])]);
    let gone = |told: &'static [u8]| {
        since(standard(), sync("old"), tree(), move |_| {
            vec![ids(told, true), sync_end(0, "new", true)]
        })
    };
    assert_eq!(
        gone(&[1]).map(|_| ()),
        Err(ErrorKind::CursorExpired),
        "out of the base"
    );
    assert_eq!(
        gone(&[2, 3, 1]).map(|(after, ..)| after.len()),
        Ok(0),
        "deleted one by one"
    );

    // In: the server shows the top only, and what is below is found by a search.
    for (what, below, expected) in [
        ("a new one", vec![], Ok(4)),
        ("with entries of its own", vec![2, 3], Ok(4)),
        (
            "with entries that were not shown",
            vec![2, 8],
            Err(ErrorKind::CursorExpired),
        ),
    ] {
        let read = since(standard(), sync("old"), tree(), move |asked| {
            if is_sync(asked) {
                let top = object(5, "ou=v", &[("hasSubordinates", &[b"TRUE"])]);
                return vec![with_state(top, 5, 1), sync_end(0, "new", true)];
            }
            let is_check = asked.base.starts_with("ou=v");
            let found = below
                .iter()
                .filter(|_| is_check)
                .map(|&n| object(n, &format!("cn={n},ou=v,{BASE}"), &[]));
            found.chain([success()]).collect()
        });
        assert_eq!(read.map(|(after, ..)| after.len()), expected, "{what}");
    }
}

/// What is below a unit that was renamed while everything was read may be known by its former name, and nothing is said of it.
#[test]
fn what_is_below_a_unit_has_the_name_that_was_read() {
    for (known_as, changes, expected) in [
        ("cn=a,ou=u", standard().after_everything(), Ok(2)),
        (
            "cn=a,ou=former",
            standard().after_everything(),
            Err(ErrorKind::CursorExpired),
        ),
        // As of a settled read, it follows the unit.
        ("cn=a,ou=former", standard(), Ok(2)),
    ] {
        let before = known(&[(1, "ou=u", &[]), (2, known_as, &[])]);
        let read = since(changes, sync("old"), before, |asked| {
            if is_sync(asked) {
                let unit = object(1, "ou=u", &[("hasSubordinates", &[b"TRUE"])]);
                return vec![with_state(unit, 1, 2), sync_end(0, "new", true)];
            }
            let unit = asked.base.starts_with("ou=u").then(|| object(1, "ou=u", &[]));
            let below = [object(2, &format!("cn=a,ou=u,{BASE}"), &[]), success()];
            unit.into_iter().chain(below).collect()
        });
        assert_eq!(read.map(|(after, ..)| after.len()), expected, "{known_as}");
    }
}

#[test]
fn groups_that_the_server_mends_are_read_again() {
    let before = known(&[
        (1, "cn=a", &[]),
        (2, "cn=g", &["cn=a", "cn=b"]),
        (3, "cn=h", &["cn=b"]),
    ]);
    let read = since(standard(), sync("old"), before, |asked| {
        if is_sync(asked) {
            return vec![ids(&[1], true), sync_end(0, "new", true)];
        }
        assert!(asked.filters_by(b"02020202-0202-0202-0202-020202020202"));
        let mended = format!("cn=b,{BASE}");
        vec![object(2, "cn=g", &[("member", &[mended.as_bytes()])]), success()]
    });
    let after = BTreeMap::from([(2, ("cn=g".to_owned(), 1)), (3, ("cn=h".to_owned(), 1))]);
    assert_eq!(read, Ok((after, sync("new"), 2)));
}

#[test]
fn a_cookie_costs_one_entry() {
    let cookie = with_server(
        |asked| {
            assert_eq!(
                (asked.scope, asked.attributes.as_slice()),
                (0, &["1.1".to_owned()][..])
            );
            vec![
                with_state(object(1, BASE, &[]), 1, 1),
                sync_end(0, "begun", false),
            ]
        },
        |mut session, _| async move { standard().begin(&mut session, NOW).await },
    );
    // Of a server whose phases are not what they should be, even here, no content is taken.
    assert_eq!(cookie.map_err(|error| error.kind()), Ok(sync("begun")));
}

#[test]
fn entries_of_389_are_read_by_their_ids() {
    let ds389 = || changes(Way::ContentSync(Dialect::Ds389));
    let before = || known(&[(1, "cn=a", &[]), (2, "cn=b", &[]), (3, "cn=c", &[])]);
    // Of each record of the changelog, whether it shows the id.
    let script = |records: &'static [(u32, bool)], hidden: bool| {
        move |asked: &Asked| {
            if hidden && asked.base == BASE && !is_sync(asked) {
                return vec![success()];
            }
            if is_sync(asked) {
                let shown =
                    [1, 2].map(|n| with_state(object(n, "cn=whatever", &[("member", &[b"x"])]), n, 1));
                return [ids(&[3], true)]
                    .into_iter()
                    .chain(shown)
                    .chain([sync_end(0, "new", false)])
                    .collect();
            }
            match asked.base.as_str() {
                "" => vec![
                    entry(
                        "",
                        &[
                            ("changelog", &[b"cn=log"]),
                            ("firstChangeNumber", &[b"15"]),
                            ("lastChangeNumber", &[b"28"]),
                        ],
                    ),
                    success(),
                ],
                record if record.ends_with(",cn=log") => {
                    let names = |number| record == format!("changeNumber={number},cn=log");
                    match records.iter().find(|&&(number, _)| names(number)) {
                        Some((_, true)) => vec![entry(record, &[("targetUniqueId", &[b"1"])]), success()],
                        Some((_, false)) => vec![entry(record, &[("changeNumber", &[b"1"])]), success()],
                        None => vec![Say::Done(32, vec![])],
                    }
                }
                // The second does not match the filter any more.
                _ => vec![object(1, "cn=z", &[]), success()],
            }
        }
    };
    let after = BTreeMap::from([(1, ("cn=z".to_owned(), 0))]);
    assert_eq!(
        since(ds389(), sync("old"), before(), script(&[(28, true)], false)),
        Ok((after, sync("new"), 5))
    );
    for (what, records, expected) in [
        (
            "the last change is not to be seen yet",
            &[(27, true), (26, true)][..],
            Ok(()),
        ),
        ("nor some before it", &[(20, true)], Ok(())),
        ("only the first is there", &[(15, true)], Ok(())),
        (
            "ids are not recorded",
            &[(28, false), (27, true)],
            Err(ErrorKind::Unsupported),
        ),
        (
            "nor were they",
            &[(27, false), (26, true)],
            Err(ErrorKind::Unsupported),
        ),
        ("no record may be read", &[], Err(ErrorKind::Unsupported)),
    ] {
        let told = since(ds389(), sync("old"), before(), script(records, false));
        assert_eq!(told.map(|_| ()), expected, "{what}");
    }
    // It answers success where nothing may be seen any more, too.
    let hidden = since(ds389(), sync("old"), before(), script(&[(28, true)], true));
    assert_eq!(hidden.map(|_| ()), Err(ErrorKind::NotFound));
}

#[test]
fn fifty_deletions_of_389_may_be_more() {
    let read = |changes, gone: u8, deletes| {
        let gone: Vec<u8> = (1..=gone).collect();
        let read = since(changes, sync("old"), known(&[]), move |asked| {
            if is_sync(asked) {
                return vec![ids(&gone, true), sync_end(0, "old", deletes)];
            }
            vec![object(0, BASE, &[]), success()]
        });
        read.map(|(_, cookie, _)| cookie)
    };
    let ds389 = || changes(Way::ContentSync(Dialect::Ds389));
    assert_eq!(read(ds389(), 49, false), Ok(sync("old")));
    assert_eq!(read(ds389(), 50, false), Err(ErrorKind::CursorExpired));
    assert_eq!(read(standard(), 200, true), Ok(sync("old")));
}

/// What its changelog does not reach back to, 389 leaves out without a word.
#[test]
fn cookies_of_389_end_with_its_changelog() {
    let ds389 = || changes(Way::ContentSync(Dialect::Ds389));
    let expired = Err(ErrorKind::CursorExpired);
    for (old, first, expected) in [
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#20", "1", Ok(())),
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#20", "21", Ok(())),
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#20", "22", expired),
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#0", "2", expired),
        ("localhost:389#cn=sync:dc=x:(cn=a#90)#20", "22", expired),
        (
            "localhost:389#cn=sync:dc=x:(objectClass=*)#18446744073709551615",
            "22",
            Ok(()),
        ),
        // Nothing is known.
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#", "22", Ok(())),
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#-1", "22", Ok(())),
        ("20", "22", Ok(())),
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#20", "", Ok(())),
        ("localhost:389#cn=sync:dc=x:(objectClass=*)#20", "many", Ok(())),
    ] {
        let read = since(ds389(), sync(old), known(&[]), move |asked| {
            let found = match asked.base.as_str() {
                _ if is_sync(asked) => return vec![sync_end(0, "new", false)],
                "" => entry(
                    "",
                    &[
                        ("changelog", &[b"cn=log"]),
                        ("firstChangeNumber", &[first.as_bytes()]),
                        ("lastChangeNumber", &[b"28"]),
                    ],
                ),
                "changeNumber=28,cn=log" => entry(&asked.base, &[("targetUniqueId", &[b"1"])]),
                _ => object(0, BASE, &[]),
            };
            vec![found, success()]
        });
        assert_eq!(read.map(|_| ()), expected, "{old}, {first}");
    }
}

#[test]
fn watching_ends_with_a_change() {
    let watch = |changes: Changes, answer: Vec<Say>| {
        with_server(
            move |_| answer.clone(),
            |session, _| async move {
                changes
                    .watch(session, &sync("old"))
                    .await
                    .map_err(|error| error.kind())
            },
        )
    };
    let idle = [
        Say::Info(INFO, b"\xa1\x00".to_vec()),
        Say::Info(INFO, b"\x80\x01a".to_vec()),
        ids(&[], true),
    ];
    let after_idle = |last: Say| idle.iter().cloned().chain([last]).collect::<Vec<_>>();
    for (what, last, expected) in [
        ("an entry", with_state(object(1, "cn=a", &[]), 1, 2), Ok(())),
        ("deleted ones", ids(&[1], true), Ok(())),
        ("the server goes away", Say::Close, Err(ErrorKind::Unavailable)),
        (
            "its state is another one",
            Say::Done(53, vec![]),
            Err(ErrorKind::CursorExpired),
        ),
    ] {
        assert_eq!(watch(standard(), after_idle(last)), expected, "{what}");
    }
    assert_eq!(watch(of_domain(), vec![]), Err(ErrorKind::Unsupported));
}

/// What a referral stands for is for a read of everything to miss.
#[test]
fn referrals_lead_to_a_full_read() {
    let cut = since(standard(), sync("old"), known(&[]), |_| {
        vec![Say::Reference, sync_end(0, "new", true)]
    });
    assert_eq!(cut.map(|_| ()), Err(ErrorKind::CursorExpired));
}

#[test]
fn floods_of_names_end() {
    let flood = since(standard(), sync("old"), known(&[]), |_| {
        let names: Vec<u8> = (0..30).collect();
        vec![ids(&names, false), sync_end(0, "new", false)]
    });
    assert_eq!(flood.map(|_| ()), Err(ErrorKind::LimitExceeded));
}
