//! Failures of other synchronizers, replayed: what a short naive client makes of the same server, and what ours does.
//!
//! A test is named after its number in `docs/failures.md`, which names the public records.
#![allow(clippy::unwrap_used, reason = "tests fail by it")]

use std::collections::BTreeSet;

use usersync_model::{Completeness, DirectoryChange, ObjectId, PrincipalKind};

use super::tests::{BASE, base, directory, is_about_the_base, read};
use crate::changes::ChangeStrategy;
use crate::changes::tests::server::{Asked, Say, entry, page, success};
use crate::client::oid;

/// As many values of one attribute as Active Directory shows at once.
const RANGE: usize = 1500;

/// Other ids than those of the base.
fn id(n: usize) -> String {
    format!("00000000-0000-0000-0001-{n:012x}")
}

fn dn(n: usize) -> String {
    format!("uid=p{n},{BASE}")
}

fn person(n: usize) -> Say {
    let id = id(n);
    let attributes: [(&str, &[&[u8]]); 2] = [
        ("entryUUID", &[id.as_bytes()]),
        ("objectClass", &[b"inetOrgPerson"]),
    ];
    entry(&dn(n), &attributes)
}

/// The group with its members from `low` on, as far as the server shows them at once.
fn group(members: usize, low: usize) -> Say {
    let high = members.min(low + RANGE);
    let shown: Vec<String> = (low..high).map(dn).collect();
    let shown: Vec<&[u8]> = shown.iter().map(String::as_bytes).collect();
    let end = if high == members {
        "*".to_owned()
    } else {
        (high - 1).to_string()
    };
    let name = format!("member;range={low}-{end}");
    let id = id(members);
    let attributes: [(&str, &[&[u8]]); 4] = [
        ("entryUUID", &[id.as_bytes()]),
        ("objectClass", &[b"groupOfNames"]),
        ("member", &[]),
        (&name, &shown),
    ];
    entry(&format!("cn=all,{BASE}"), &attributes)
}

fn low_of(asked: &Asked) -> Option<usize> {
    let range = asked
        .attributes
        .iter()
        .find_map(|name| name.split_once(";range="))?
        .1;
    range.split_once('-')?.0.parse().ok()
}

fn members(changes: &[DirectoryChange]) -> BTreeSet<ObjectId> {
    let members = changes.iter().filter_map(|change| match change {
        DirectoryChange::Members { members, .. } => Some(members.clone()),
        _ => None,
    });
    members.flatten().collect()
}

/// adobe/user-sync.py: thirteen thousand members, an empty group, and no error. larskanis/pg-ldap-sync: member 1,501 came,
/// and everybody lost their rights. apache/ranger: the same limit.
#[tokio::test]
async fn complaint_03_a_group_of_13_000_members_is_read_to_its_end() {
    let all = 13_000;
    // By hand: the attribute that was asked for.
    let Say::Entry { attributes, .. } = group(all, 0) else {
        unreachable!("an entry")
    };
    let by_name = attributes
        .iter()
        .find(|(name, _)| name == "member")
        .map(|(_, values)| values.len());
    assert_eq!(by_name, Some(0));

    for (breaks_at, verdict) in [(None, "all"), (Some(RANGE * 4), "in part")] {
        let (directory, log) = directory(ChangeStrategy::Off, move |asked| match low_of(asked) {
            Some(low) if breaks_at.is_some_and(|at| low >= at) => vec![Say::Done(51, Vec::new())],
            Some(low) => vec![group(all, low), success()],
            None if is_about_the_base(asked) => vec![base(), success()],
            None => [base()]
                .into_iter()
                .chain((0..all).map(person))
                .chain([group(all, 0), success()])
                .collect(),
        })
        .await;
        let (changes, end) = read(&directory, None).await.unwrap();
        let ranges = log
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| low_of(asked).is_some())
            .count();
        let is_whole = end.verdict == Completeness::Complete && end.partial.is_empty();
        match breaks_at {
            None => {
                assert_eq!((members(&changes).len(), is_whole), (all, true), "{verdict}");
                assert_eq!(ranges, all / RANGE, "one request for each range but the first");
            }
            // What is missing is told of, and so removes nobody.
            Some(_) => assert_eq!(
                (members(&changes).len() < all, is_whole),
                (true, false),
                "{verdict}"
            ),
        }
    }
}

/// goauthentik/authentik: 1,460 binds for 730 users.
#[tokio::test]
async fn complaint_13_reading_730_users_takes_pages_and_not_a_bind_for_each() {
    let all = 730;
    // By hand: one bind to look, and one to read.
    assert_eq!((0..all).map(|_| 2).sum::<usize>(), 1460);

    let (directory, log) = directory(ChangeStrategy::Off, move |asked| {
        if is_about_the_base(asked) {
            return vec![base(), success()];
        }
        let is_second = asked
            .control(oid::PAGED_RESULTS)
            .is_some_and(|control| control.ends_with(b"more"));
        let (shown, cookie): (_, &[u8]) = if is_second {
            (500..730, b"")
        } else {
            (0..500, b"more")
        };
        let end = Say::Done(0, vec![(oid::PAGED_RESULTS, page(cookie))]);
        let first = if is_second { None } else { Some(base()) };
        first.into_iter().chain(shown.map(person)).chain([end]).collect()
    })
    .await;
    let (changes, end) = read(&directory, None).await.unwrap();
    let is_user = |change: &&DirectoryChange| matches!(change, DirectoryChange::Upsert(known) if known.kind == PrincipalKind::User);
    assert_eq!(
        (changes.iter().filter(is_user).count(), end.verdict),
        (all, Completeness::Complete)
    );
    let traffic = directory.client().traffic();
    assert_eq!(
        log.lock()
            .unwrap()
            .iter()
            .filter(|asked| !asked.base.is_empty())
            .count(),
        2
    );
    assert!(traffic.connections <= 2 && traffic.requests <= 6, "{traffic:?}");
}

/// adobe user-sync.py, microsoft/o365-moodle: names compared by case, in a system that does not care.
#[tokio::test]
async fn complaint_11_a_member_whose_name_is_written_in_another_way_is_that_entry() {
    let written = [dn(2), "UID=P3, DC=X".to_owned(), "uid=\\704,dc=x".to_owned()];
    // By hand: text.
    let entries: BTreeSet<String> = (2..5).map(dn).collect();
    assert_eq!(written.iter().filter(|name| entries.contains(*name)).count(), 1);

    let (directory, _) = directory(ChangeStrategy::Off, move |asked| {
        if is_about_the_base(asked) {
            return vec![base(), success()];
        }
        let named: Vec<&[u8]> = written.iter().map(String::as_bytes).collect();
        let id = id(9);
        let attributes: [(&str, &[&[u8]]); 3] = [
            ("entryUUID", &[id.as_bytes()]),
            ("objectClass", &[b"groupOfNames"]),
            ("member", &named),
        ];
        let group = entry(&format!("cn=all,{BASE}"), &attributes);
        [base()]
            .into_iter()
            .chain((2..5).map(person))
            .chain([group, success()])
            .collect()
    })
    .await;
    let (changes, end) = read(&directory, None).await.unwrap();
    assert_eq!(
        (members(&changes).len(), end.verdict, end.partial),
        (3, Completeness::Complete, Vec::new())
    );
}
