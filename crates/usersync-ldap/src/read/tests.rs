//! What reads make of servers that are wrong: never a complete directory with something missing.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by them")]

use std::sync::{Arc, Mutex};

use usersync_connector::{Cursor, Directory, Error, ErrorKind, ReadEnd, Reader};
use usersync_model::{Completeness, DirectoryChange, SystemId};
use usersync_testkit::conformance::sample_context;

use super::{LdapDirectory, LdapProfile};
use crate::changes::ChangeStrategy;
use crate::changes::tests::scene::dir_sync_end;
use crate::changes::tests::server::{Asked, Log, Say, client_of, entry, page, success};
use crate::client::{LdapClient, LdapServer, Session, oid};
use crate::dn::Dn;
use crate::filter::Filter;

pub(super) const BASE: &str = "dc=x";

fn uuid(n: u8) -> Vec<u8> {
    format!("00000000-0000-0000-0000-0000000000{n:02x}").into_bytes()
}

fn object(n: u8, dn: &str, class: &str, more: &[(&str, &[&[u8]])]) -> Say {
    let id = uuid(n);
    let own: [(&str, &[&[u8]]); 2] = [("entryUUID", &[&id]), ("objectClass", &[class.as_bytes()])];
    entry(dn, &[&own, more].concat())
}

pub(super) fn base() -> Say {
    object(1, BASE, "organization", &[])
}

fn person(n: u8) -> Say {
    object(n, &format!("uid=p{n},{BASE}"), "inetOrgPerson", &[])
}

/// A directory by time stamps, and what was asked of its server, which answers all but questions about itself by `script`.
pub(super) async fn directory(
    changes: ChangeStrategy,
    mut script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static,
) -> (LdapDirectory, Log) {
    let (client, log) = client_of(move |asked| {
        if asked.base.is_empty() {
            return vec![entry("", &[("vendorName", &[b"nobody"])]), success()];
        }
        script(asked)
    })
    .await;
    let mut profile = LdapProfile::openldap(Dn::parse(BASE).unwrap());
    profile.changes = changes;
    (
        LdapDirectory::new(SystemId::new("ldap").unwrap(), client, profile),
        log,
    )
}

pub(super) async fn read(
    directory: &LdapDirectory,
    since: Option<Cursor>,
) -> Result<(Vec<DirectoryChange>, ReadEnd), Error> {
    let mut reader = Reader::new(directory.read(since, &sample_context()));
    if reader.begin().await.is_none() {
        return Err(reader.take_error().unwrap());
    }
    Ok(reader.collect().await)
}

/// Its verdict, and the codes of its partial groups; or the code of its error.
async fn verdict(script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static) -> String {
    let (directory, _) = directory(ChangeStrategy::Off, script).await;
    match read(&directory, None).await {
        Err(error) => error.kind().code().to_owned(),
        Ok((_, end)) => {
            let partial = end.partial.iter().map(|(_, reason)| reason.kind.code());
            let whole = match &end.verdict {
                Completeness::Complete => "complete",
                Completeness::Partial(reason) => reason.kind.code(),
            };
            let words = [whole].into_iter().chain(partial);
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

pub(super) fn is_about_the_base(asked: &Asked) -> bool {
    asked.scope == 0 && asked.base == BASE
}

/// Promise 9: whoever does not see all there is does not say that it is all.
#[tokio::test]
async fn promise_09_what_is_missing_makes_a_read_partial() {
    let cookie = |cookie: &[u8]| Say::Done(0, vec![(oid::PAGED_RESULTS, page(cookie))]);
    let with = |more: Vec<Say>| [vec![base(), person(2)], more].concat();
    let cases: Vec<(&str, Vec<Say>, &str)> = vec![
        ("all", with(vec![success()]), "complete"),
        ("nothing", vec![success()], "not_found"),
        ("a hidden base", vec![person(2), success()], "failed"),
        ("a referral", with(vec![Say::Reference, success()]), "failed"),
        ("a page without its control", with(vec![Say::Unpaged]), "failed"),
        ("a page again and again", with(vec![cookie(b"more")]), "limit"),
        ("an end in the middle", with(vec![Say::Close]), "failed"),
        ("a time limit", with(vec![Say::Done(3, vec![])]), "limit"),
        ("a size limit", with(vec![Say::Done(4, vec![])]), "limit"),
        (
            "an administrative limit",
            with(vec![Say::Done(11, vec![])]),
            "limit",
        ),
        (
            "a base gone meanwhile",
            with(vec![Say::Done(32, vec![])]),
            "failed",
        ),
        (
            "a right that is missing",
            with(vec![Say::Done(50, vec![])]),
            "unreadable",
        ),
        (
            "no right at all",
            vec![Say::Done(50, vec![])],
            "permission_denied",
        ),
        ("no bind", vec![Say::Done(1, vec![])], "unexpected"),
        ("no base", vec![Say::Done(32, vec![])], "not_found"),
        (
            "an entry without an id",
            with(vec![
                entry("uid=b,dc=x", &[("objectClass", &[b"inetOrgPerson"])]),
                success(),
            ]),
            "failed",
        ),
        (
            "an entry without a name",
            with(vec![entry("nobody", &[]), success()]),
            "failed",
        ),
        ("an entry twice", with(vec![person(2), success()]), "complete"),
        (
            "two entries with one id",
            with(vec![object(2, "uid=other,dc=x", "inetOrgPerson", &[]), success()]),
            "contradiction",
        ),
        (
            "two entries with one id, cut off",
            with(vec![
                object(
                    3,
                    "cn=a,dc=x",
                    "groupOfNames",
                    &[("member;range=0-0", &[b"uid=p2,dc=x"])],
                ),
                object(
                    3,
                    "cn=b,dc=x",
                    "groupOfNames",
                    &[("member;range=0-0", &[b"uid=p2,dc=x"])],
                ),
                success(),
            ]),
            "contradiction",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, answer, want) in cases {
        let got = verdict(move |asked| {
            if is_about_the_base(asked) {
                return vec![success()];
            }
            answer.clone()
        })
        .await;
        if got != want {
            wrong.push(format!("{what}: {got}, not {want}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A directory with nobody in it, and a base that is no place that entries are looked for below.
#[tokio::test]
async fn an_empty_directory_is_complete_where_its_base_is_shown() {
    let got = verdict(|asked| {
        if is_about_the_base(asked) {
            return vec![entry(BASE, &[]), success()];
        }
        vec![success()]
    });
    assert_eq!(got.await, "complete");
}

/// What goes wrong with the query of a group is the group's.
#[tokio::test]
async fn promise_09_queries_that_fail_make_their_group_partial() {
    let url: &[u8] = b"ldap:///dc=x??sub?(sn=q)";
    let cases: Vec<(&str, Vec<Say>, &str)> = vec![
        ("all", vec![person(2), success()], "complete"),
        (
            "a referral",
            vec![person(2), Say::Reference, success()],
            "complete failed",
        ),
        (
            "an entry without an id",
            vec![entry("uid=b,dc=x", &[]), success()],
            "complete failed",
        ),
        ("a limit", vec![person(2), Say::Done(4, vec![])], "complete limit"),
        ("no right", vec![Say::Done(50, vec![])], "complete unreadable"),
        ("no base", vec![Say::Done(32, vec![])], "complete failed"),
    ];
    for (what, answer, want) in cases {
        let got = verdict(move |asked| {
            if asked.filters_by(b"\x02sn") {
                return answer.clone();
            }
            let group = object(3, "cn=g,dc=x", "groupOfURLs", &[("memberURL", &[url])]);
            vec![base(), person(2), group, success()]
        });
        assert_eq!(got.await, want, "{what}");
    }
}

#[tokio::test]
async fn promise_09_a_cursor_is_as_good_after_an_error() {
    let (fails, grown) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(false)));
    let (failing, growing) = (Arc::clone(&fails), Arc::clone(&grown));
    let time: &[u8] = b"20260101000000Z";
    let (directory, _) = directory(ChangeStrategy::Poll, move |asked| {
        let stamp: [(&str, &[&[u8]]); 1] = [("modifyTimestamp", &[time])];
        if *failing.lock().unwrap() && asked.attributes.iter().any(|name| name == "objectClass") {
            let nobody = object(9, "uid=nobody,dc=x", "inetOrgPerson", &stamp);
            return vec![nobody, Say::Done(51, vec![])];
        }
        let mut all = vec![object(1, BASE, "organization", &stamp)];
        if *growing.lock().unwrap() {
            all.push(object(3, "uid=new,dc=x", "inetOrgPerson", &stamp));
        }
        all.push(success());
        all
    })
    .await;
    let (_, end) = read(&directory, None).await.unwrap();
    let cursor = end.cursor.unwrap();
    (*fails.lock().unwrap(), *grown.lock().unwrap()) = (true, true);
    let error = read(&directory, Some(cursor.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    *fails.lock().unwrap() = false;

    // Two at once, as a preview beside a run, see the same.
    let (one, other) = futures::join!(
        read(&directory, Some(cursor.clone())),
        read(&directory, Some(cursor.clone()))
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.0.len(), 1, "{:?}", one.0);
    assert_eq!(one.0, other.0);
    let again = read(&directory, one.1.cursor).await.unwrap();
    assert_eq!(again.0, []);
}

/// Behind one name there may be several servers, each with what it knows and with cookies of its own.
#[tokio::test]
async fn everything_is_read_where_the_cursor_is_from() {
    let others = Arc::new(Mutex::new(Vec::new()));
    let idle = Arc::clone(&others);
    let time: &[u8] = b"20260101000000Z";
    let (directory, _) = directory(ChangeStrategy::Poll, move |asked| {
        let mut all = vec![person(2), success()];
        if asked.filters_by(b"modifyTimestamp") {
            all.remove(0);
            // Others are done with their connections meanwhile.
            let sessions: Vec<(LdapClient, Session)> = std::mem::take(&mut *idle.lock().unwrap());
            sessions
                .into_iter()
                .for_each(|(client, session)| client.keep(session));
        }
        let stamp: [(&str, &[&[u8]]); 1] = [("modifyTimestamp", &[time])];
        all.insert(0, object(1, BASE, "organization", &stamp));
        all
    })
    .await;
    let (other, log) = client_of(|_| vec![base(), success()]).await;
    for _ in 0..8 {
        let session = other.session().await.unwrap();
        let client = directory.client().clone();
        others.lock().unwrap().push((client, session));
    }
    let (changes, end) = read(&directory, None).await.unwrap();
    assert_eq!((changes.len(), end.cursor.is_some()), (1, true), "{changes:?}");
    assert_eq!(log.lock().unwrap().len(), 0);
}

/// A domain does not say that a group changed when its member is renamed, which may happen while everything is read.
#[tokio::test]
async fn groups_of_a_domain_that_name_somebody_unknown_are_read_again() {
    let (client, _) = client_of(|asked| {
        let group = |member: &str| {
            let more: [(&str, &[&[u8]]); 3] = [
                ("objectClass", &[b"group"]),
                ("groupType", &[b"-2147483646"]),
                ("member", &[member.as_bytes()]),
            ];
            entry(
                "cn=g,dc=x",
                &[&[("objectGUID", &[&[2; 16][..]][..])], &more[..]].concat(),
            )
        };
        if asked.base.is_empty() {
            let root: [(&str, &[&[u8]]); 3] = [
                ("namingContexts", &[BASE.as_bytes()]),
                ("supportedCapabilities", &[b"1.2.840.113556.1.4.800"]),
                ("supportedControl", &[oid::DIRSYNC.as_bytes()]),
            ];
            return vec![entry("", &root), success()];
        }
        if asked.control(oid::DIRSYNC).is_some() {
            return vec![dir_sync_end(false, b"cookie")];
        }
        if asked.base == "cn=old,dc=x" {
            return vec![Say::Done(32, vec![])];
        }
        if asked.filters_by(&[2; 16]) {
            return vec![group("cn=new,dc=x"), success()];
        }
        let base = [
            ("objectGUID", &[&[1; 16][..]][..]),
            ("objectClass", &[b"domainDNS"]),
        ];
        let person = [("objectGUID", &[&[3; 16][..]][..]), ("objectClass", &[b"user"])];
        vec![
            entry(BASE, &base),
            group("cn=old,dc=x"),
            entry("cn=new,dc=x", &person),
            success(),
        ]
    })
    .await;
    let profile = LdapProfile::active_directory(Dn::parse(BASE).unwrap());
    let directory = LdapDirectory::new(SystemId::new("ldap").unwrap(), client, profile);
    let (_, end) = read(&directory, None).await.unwrap();
    assert_eq!(end.partial.len(), 1, "{:?}", end.partial);
    let (changes, end) = read(&directory, end.cursor).await.unwrap();
    assert_eq!(end.partial, []);
    let is_members = |change: &DirectoryChange| matches!(change, DirectoryChange::Members { .. });
    assert!(changes.iter().any(is_members), "{changes:?}");
}

#[tokio::test]
async fn hidden_times_of_changes_mean_full_reads() {
    let (directory, _) = directory(ChangeStrategy::Automatic, |asked| {
        if asked.filters_by(b"modifyTimestamp") {
            return vec![success()];
        }
        vec![base(), person(2), success()]
    })
    .await;
    let (_, end) = read(&directory, None).await.unwrap();
    assert!(end.verdict.is_complete());
    assert_eq!(end.cursor, None);
}

/// Whom another base, filter or rule hides looks like somebody who left; how a read is made hides nobody.
#[test]
fn what_is_read_and_by_which_rules_is_told() {
    let filter_of = |change: &dyn Fn(&mut LdapProfile)| {
        let mut profile = LdapProfile::openldap(Dn::parse(BASE).unwrap());
        change(&mut profile);
        let client = LdapClient::new(LdapServer::new("ldaps://directory.example.org").unwrap());
        let directory = LdapDirectory::new(SystemId::new("ldap").unwrap(), client, profile);
        directory.filter().unwrap()
    };
    let before = filter_of(&|_| {});
    assert_eq!(filter_of(&|profile| profile.limits.page = 7), before);
    assert_eq!(
        filter_of(&|profile| profile.changes = ChangeStrategy::Off),
        before
    );
    let changes: [&dyn Fn(&mut LdapProfile); 3] = [
        &|profile| profile.base = Dn::parse("dc=elsewhere").unwrap(),
        &|profile| profile.filter = Some(Filter::equal("l", "here").unwrap()),
        &|profile| profile.rules.logins = Vec::new(),
    ];
    for change in changes {
        assert_ne!(filter_of(change), before);
    }
}

/// 389 Directory Server answers success to a search in pages whose base it does not show.
#[tokio::test]
async fn promise_09_nobody_is_found_below_a_base_that_is_hidden() {
    for is_shown in [true, false] {
        let script = move |asked: &Asked| match asked.scope {
            0 if is_shown => vec![base(), success()],
            0 => vec![Say::Done(32, vec![])],
            _ => vec![success()],
        };
        let (directory, _) = directory(ChangeStrategy::Off, script).await;
        let found = directory.find(&Filter::equal("uid", "ada").unwrap()).await;
        let found = found.map(|found| found.len()).map_err(|error| error.kind());
        assert_eq!(found, if is_shown { Ok(0) } else { Err(ErrorKind::NotFound) });
    }
}
