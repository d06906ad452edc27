//! Whole reads of changes, and what servers may do wrong in them.

use std::collections::BTreeMap;
use std::time::Duration;

use usersync_connector::{Error, ErrorKind};

use super::replica::Replica;
use super::server::{Asked, Log, Say, entry, success, with_server};
use crate::changes::content_sync::Dialect;
use crate::changes::cookie::UsnCookie;
use crate::changes::{Changes, Cookie, KeyAttribute, Spec, Way, dir_sync};
use crate::client::ber::{ENUMERATED, INTEGER, OCTETS, SEQUENCE, SET, push, push_boolean, push_number};
use crate::client::{PageLimits, Session, oid};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::index::EntryKey;
use crate::url::Scope;

const BASE: &str = "ou=all,dc=x";
const INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";
const NOW: u64 = 1_800_000_000;

fn changes(way: Way) -> Changes {
    let key = match way {
        Way::ContentSync(Dialect::Ds389) => KeyAttribute::NsUniqueId,
        Way::DirSync(_) | Way::PollUsn => KeyAttribute::ObjectGuid,
        _ => KeyAttribute::EntryUuid,
    };
    Changes {
        spec: Spec {
            base: Dn::parse(BASE).unwrap(),
            scope: Scope::Subtree,
            filter: Filter::parse("(kind=*)").unwrap(),
            attributes: ["cn", "member"].map(str::to_owned).to_vec(),
            member_attributes: vec!["member".to_owned()],
            key,
            page: PageLimits {
                size: 100,
                entries: 20,
                pages: 10,
            },
            values: 100,
            full_every: Duration::from_secs(3600),
        },
        way,
    }
}

fn standard() -> Changes {
    changes(Way::ContentSync(Dialect::Standard))
}

fn of_domain() -> Changes {
    changes(Way::DirSync(Dn::parse("dc=x").unwrap()))
}

fn key(n: u8) -> EntryKey {
    EntryKey::new(&[n; 16])
}

/// What is known: `(key, name, members)`.
fn known(entries: &[(u8, &str, &[&str])]) -> Replica {
    let mut replica = Replica::new(&["member"]);
    for (n, name, members) in entries {
        let mut entry = Entry::new(Dn::parse(&format!("{name},{BASE}")).unwrap());
        for member in *members {
            entry.push("member", format!("{member},{BASE}").as_bytes());
        }
        replica.put(key(*n), &entry);
    }
    replica
}

/// Names and numbers of members by key.
fn shown(replica: &Replica) -> BTreeMap<u8, (String, usize)> {
    let entries = replica.entries.iter();
    let shown = entries.map(|(key, (dn, values))| {
        let name = dn.key().split(',').next().unwrap_or_default().to_owned();
        (
            key.as_bytes()[0],
            (name, values.get("member").map_or(0, |members| members.len())),
        )
    });
    shown.collect()
}

/// Reads on from `cookie`: the copy afterwards, the cookie, and how many searches it took.
fn since(
    changes: Changes,
    cookie: Cookie,
    before: Replica,
    script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static,
) -> Result<(BTreeMap<u8, (String, usize)>, Cookie, usize), ErrorKind> {
    with_server(script, |mut session: Session, log: Log| async move {
        let mut after = before.clone();
        let mut sink = |delta| {
            after.apply(delta);
            Ok(())
        };
        let next = changes
            .since(&mut session, &cookie, NOW, &before, &mut sink)
            .await;
        let next = next.map_err(|error| error.kind())?;
        let searches = log.lock().unwrap().len();
        Ok((shown(&after), next, searches))
    })
}

fn sync(cookie: &str) -> Cookie {
    Cookie::ContentSync(cookie.into())
}

fn state(n: u8, state: i64) -> Vec<u8> {
    let mut fields = Vec::new();
    push_number(&mut fields, ENUMERATED, state);
    push(&mut fields, OCTETS, &[n; 16]);
    wrapped(&fields)
}

fn wrapped(fields: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    push(&mut value, SEQUENCE, fields);
    value
}

fn ids(ids: &[u8], deletes: bool) -> Say {
    let (mut fields, mut set) = (Vec::new(), Vec::new());
    for id in ids {
        push(&mut set, OCTETS, &[*id; 16]);
    }
    push_boolean(&mut fields, deletes);
    push(&mut fields, SET, &set);
    let mut value = Vec::new();
    push(&mut value, 0xa3, &fields);
    Say::Info(INFO, value)
}

fn sync_end(code: u8, cookie: &str, deletes: bool) -> Say {
    let mut fields = Vec::new();
    if !cookie.is_empty() {
        push(&mut fields, OCTETS, cookie.as_bytes());
    }
    push_boolean(&mut fields, deletes);
    Say::Done(code, vec![(oid::SYNC_DONE, wrapped(&fields))])
}

/// An entry below the base with the key `n` in every form.
fn object(n: u8, name: &str, more: &[(&str, &[&[u8]])]) -> Say {
    let hex = format!("{n:02x}").repeat(16);
    let (uuid, guid) = (hex.into_bytes(), [n; 16]);
    let ids: [(&str, &[&[u8]]); 3] = [
        ("entryUUID", &[&uuid]),
        ("nsUniqueId", &[&uuid]),
        ("objectGUID", &[&guid]),
    ];
    let attributes: Vec<_> = ids.iter().chain(more).copied().collect();
    let name = if name.contains(',') {
        name.to_owned()
    } else {
        format!("{name},{BASE}")
    };
    entry(&name, &attributes)
}

/// As DirSync shows it, which leaves out what did not change.
fn changed(n: u8, name: &str, more: &[(&str, &[&[u8]])]) -> Say {
    let Say::Entry {
        dn, mut attributes, ..
    } = object(n, name, more)
    else {
        panic!("not an entry");
    };
    attributes.retain(|(name, _)| name != "entryUUID" && name != "nsUniqueId");
    Say::Entry {
        dn,
        attributes,
        controls: Vec::new(),
    }
}

fn with_state(say: Say, n: u8, number: i64) -> Say {
    let Say::Entry { dn, attributes, .. } = say else {
        panic!("not an entry");
    };
    Say::Entry {
        dn,
        attributes,
        controls: vec![(oid::SYNC_STATE, state(n, number))],
    }
}

fn is_sync(asked: &Asked) -> bool {
    asked.control(oid::SYNC_REQUEST).is_some()
}

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
    let other = since(standard(), Cookie::DirSync(vec![1]), known(&[]), |_| vec![]);
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
    let script = |recorded: bool| {
        move |asked: &Asked| {
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
                    entry("", &[("changelog", &[b"cn=log"]), ("lastChangeNumber", &[b"28"])]),
                    success(),
                ],
                "changeNumber=28,cn=log" if recorded => {
                    vec![entry(&asked.base, &[("targetUniqueId", &[b"1"])]), success()]
                }
                "changeNumber=28,cn=log" => {
                    vec![entry(&asked.base, &[("changeNumber", &[b"28"])]), success()]
                }
                // The second does not match the filter any more.
                _ => vec![object(1, "cn=z", &[]), success()],
            }
        }
    };
    let after = BTreeMap::from([(1, ("cn=z".to_owned(), 0))]);
    assert_eq!(
        since(ds389(), sync("old"), before(), script(true)),
        Ok((after, sync("new"), 4))
    );
    let unrecorded = since(ds389(), sync("old"), before(), script(false));
    assert_eq!(unrecorded.map(|_| ()), Err(ErrorKind::Unsupported));
}

fn dir_sync_end(more: bool, cookie: &[u8]) -> Say {
    let mut fields = Vec::new();
    push_number(&mut fields, INTEGER, more.into());
    push_number(&mut fields, INTEGER, 0);
    push(&mut fields, OCTETS, cookie);
    Say::Done(0, vec![(oid::DIRSYNC, wrapped(&fields))])
}

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
    let read = since(of_domain(), Cookie::DirSync(vec![1]), before, move |asked| {
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
    assert_eq!(read, Ok((expected.into(), Cookie::DirSync(vec![3]), 4)));
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
        let read = since(of_domain(), Cookie::DirSync(vec![1]), known(&[]), move |_| {
            answer.clone()
        });
        assert_eq!(read.map(|_| ()), Err(kind), "{what}");
    }
    let refused = with_server(
        |_| vec![Say::Done(50, vec![])],
        |mut session, _| async move { of_domain().begin(&mut session, NOW).await },
    );
    let refused = refused.map_err(|error| error.to_string()).expect_err("no right");
    assert!(refused.contains("Replicating Directory Changes"), "{refused}");
    let kind =
        |filter| dir_sync::check_filter(&Filter::parse(filter).unwrap()).map_err(|error: Error| error.kind());
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
