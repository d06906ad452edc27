//! DirSync and polling, from the request to the copy.

use usersync_connector::{Error, ErrorKind};

use super::scene::{BASE, NOW, changed, changes, dir_sync, dir_sync_end, known, object, of_domain, since};
use super::server::{Asked, Log, Say, entry, success, with_server};
use crate::changes::cookie::UsnCookie;
use crate::changes::dir_sync::check_filter;
use crate::changes::{Cookie, Way};
use crate::client::oid;
use crate::filter::Filter;

#[test]
fn dir_sync_reads_what_changed_and_no_more() {
    let before = known(&[
        (1, "cn=g", &["cn=a", "cn=b"]),
        (2, "cn=renamed", &["cn=a"]),
        (3, "cn=deleted", &[]),
        (4, "cn=moved", &[]),
        (5, "cn=hidden", &[]),
        (6, "cn=same", &[]),
    ]);
    let (a, b, c) = (
        format!("cn=a,{BASE}"),
        format!("cn=b,{BASE}"),
        format!("cn=c,{BASE}"),
    );
    let read = since(of_domain(), dir_sync(1, NOW), before, move |asked| {
        let always: (&str, &[&[u8]]) = ("instanceType", &[b"4"]);
        if let Some(request) = asked.control(oid::DIRSYNC) {
            assert_eq!(asked.base, "dc=x");
            assert!(
                asked.attributes.iter().any(|name| name == "kind"),
                "what the filter is about"
            );
            if request.ends_with(&[1]) {
                return vec![
                    changed(
                        1,
                        "cn=g",
                        &[
                            ("member;range=0-0", &[a.as_bytes(), b.as_bytes()]),
                            ("member;range=1-1", &[c.as_bytes()]),
                            always,
                        ],
                    ),
                    changed(
                        2,
                        "cn=x",
                        &[("name", &[b"x"]), ("member;range=1-1", &[c.as_bytes()])],
                    ),
                    changed(
                        3,
                        "cn=deleted,cn=Deleted Objects,dc=x",
                        &[("isDeleted", &[b"TRUE"]), ("member", &[])],
                    ),
                    dir_sync_end(true, &[2]),
                ];
            }
            return vec![
                changed(1, "cn=g", &[("member;range=1-1", &[b.as_bytes()])]),
                changed(4, "cn=moved,ou=other,dc=x", &[("name", &[b"moved"])]),
                changed(5, "cn=hidden", &[("kind", &[])]),
                changed(6, "cn=same", &[always]),
                changed(7, "cn=new", &[("member;range=1-1", &[a.as_bytes()])]),
                dir_sync_end(false, &[3]),
            ];
        }
        let whole = asked.attributes.iter().any(|name| name == "member");
        if whole {
            vec![
                object(7, "cn=new", &[("member", &[a.as_bytes(), b.as_bytes()])]),
                success(),
            ]
        } else {
            vec![object(2, "cn=x", &[]), success()]
        }
    });
    let expected = [
        (1, "cn=g", 2),
        (2, "cn=x", 2),
        (6, "cn=same", 0),
        (7, "cn=new", 2),
    ];
    let expected = expected.map(|(n, name, members)| (n, (name.to_owned(), members)));
    assert_eq!(read, Ok((expected.into(), dir_sync(3, NOW), 4)));
}

#[test]
fn what_ends_dir_sync() {
    for (what, answer, kind) in [
        (
            "no right",
            vec![Say::Done(50, vec![])],
            ErrorKind::PermissionDenied,
        ),
        (
            "an unknown cookie",
            vec![Say::Done(1, vec![])],
            ErrorKind::CursorExpired,
        ),
        ("no control", vec![success()], ErrorKind::InvalidData),
        ("no end", vec![dir_sync_end(true, &[1])], ErrorKind::LimitExceeded),
        (
            "no id",
            vec![entry("cn=a,dc=x", &[("cn", &[b"a"])]), dir_sync_end(false, &[2])],
            ErrorKind::InvalidData,
        ),
        (
            "half an id",
            vec![entry("cn=a,dc=x", &[("objectGUID", &[&[1; 15]])])],
            ErrorKind::InvalidData,
        ),
        (
            "a range of nothing",
            vec![object(1, "cn=a", &[("member;range=a", &[b"x"])])],
            ErrorKind::InvalidData,
        ),
    ] {
        let answer = if answer.len() == 1 && matches!(answer[0], Say::Entry { .. }) {
            vec![answer[0].clone(), dir_sync_end(false, &[2])]
        } else {
            answer
        };
        let read = since(of_domain(), dir_sync(1, NOW), known(&[]), move |_| answer.clone());
        assert_eq!(read.map(|_| ()), Err(kind), "{what}");
    }
    let refused = with_server(
        |_| vec![Say::Done(50, vec![])],
        |mut session, _| async move { of_domain().begin(&mut session, NOW).await },
    );
    let refused = refused.map_err(|error| error.to_string()).expect_err("no right");
    assert!(refused.contains("Replicating Directory Changes"), "{refused}");
    let kind = |filter| check_filter(&Filter::parse(filter).unwrap()).map_err(|error: Error| error.kind());
    assert_eq!(
        kind("(&(objectClass=user)(!(memberof=cn=g)))"),
        Err(ErrorKind::Unsupported)
    );
    assert_eq!(kind(r"(&(cn=\28memberOf=a\29)(member=a))"), Ok(()));
}

#[test]
fn polls_ask_one_controller_by_its_numbers() {
    let cookie = |full| {
        Cookie::Usn(UsnCookie {
            controller: "cn=dc1".to_owned(),
            invocation: b"i".to_vec(),
            seen: 7,
            full,
        })
    };
    let script = |controller: &'static [u8], highest: &'static [u8]| {
        move |asked: &Asked| match asked.base.as_str() {
            "" => {
                let time: (&str, &[&[u8]]) = ("currentTime", &[b"20270115080000.0Z"]);
                let root: [(&str, &[&[u8]]); 2] = [
                    ("dsServiceName", &[controller]),
                    ("highestCommittedUSN", &[highest]),
                ];
                vec![entry("", &[root[0], root[1], time]), success()]
            }
            BASE => {
                assert!(asked.filters_by(b"uSNChanged"));
                let found = if asked.filters_by(b"kind") {
                    &[1][..]
                } else {
                    &[1, 2, 9]
                };
                found
                    .iter()
                    .map(|&n| object(n, &format!("cn=now{n}"), &[]))
                    .chain([success()])
                    .collect()
            }
            _ => vec![entry(&asked.base, &[("invocationId", &[b"i"])]), success()],
        }
    };
    // 2027-01-15 08:00 is `NOW`.
    let read = |full, controller, highest| {
        let before = known(&[(1, "cn=a", &[]), (2, "cn=b", &[]), (3, "cn=c", &[])]);
        since(
            changes(Way::PollUsn),
            cookie(full),
            before,
            script(controller, highest),
        )
    };
    let (after, next, searches) = read(NOW - 60, b"CN=dc1", b"9").expect("a good cookie");
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert!(matches!(next, Cookie::Usn(UsnCookie { seen: 9, full, .. }) if full == NOW - 60));
    assert_eq!(searches, 4);
    let (_, _, searches) = read(NOW - 60, b"CN=dc1", b"7").expect("a good cookie");
    assert_eq!(searches, 2, "nothing changed");
    let expired = |full, controller, highest| read(full, controller, highest).map(|_| ());
    for (what, read) in [
        ("another controller", expired(NOW - 60, b"CN=dc2", b"9")),
        ("one that was restored", expired(NOW - 60, b"CN=dc1", b"6")),
        ("after an hour", expired(NOW - 3600, b"CN=dc1", b"9")),
        ("before its time", expired(NOW + 60, b"CN=dc1", b"9")),
    ] {
        assert_eq!(read, Err(ErrorKind::CursorExpired), "{what}");
    }
}

#[test]
fn polls_begin_at_the_latest_modification() {
    let cookie = with_server(
        |asked| {
            // Nothing in the last hour and in the last day.
            let wide = asked.filters_by(b"20261216080000Z");
            let found = wide.then(|| {
                let times: [&[u8]; 3] = [b"20270101000000Z", b"20270102000000.5Z", b"20261231000000Z"];
                times.map(|time| object(1, "cn=a", &[("modifyTimestamp", &[time])]))
            });
            found.into_iter().flatten().chain([success()]).collect()
        },
        |mut session, log: Log| async move {
            let cookie = changes(Way::PollTime).begin(&mut session, NOW).await;
            assert_eq!(log.lock().unwrap().len(), 3);
            cookie
        },
    );
    let Ok(Cookie::Time(cookie)) = cookie else {
        panic!("{cookie:?}");
    };
    assert_eq!((cookie.seen.as_str(), cookie.full), ("20270102000000Z", NOW));
}

/// Whoever is not shown when entries changed, would be told for ever that none did.
#[test]
fn polls_do_not_begin_where_times_are_hidden() {
    let begun = with_server(
        |_| vec![success()],
        |mut session, _| async move { changes(Way::PollTime).begin(&mut session, NOW).await },
    );
    assert_eq!(begun.map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
}
