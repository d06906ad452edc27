//! Range retrieval on a server that behaves, changes meanwhile, or misbehaves.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use usersync_model::PartialKind;

use super::server::{Asked, Say, entry, success, with_server};
use crate::changes::{RangeLimits, complete_ranges};
use crate::client::{Base, FoundEntry, Item, Search, Session};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::url::Scope;

const DN: &str = "cn=g,dc=example,dc=org";

/// Reads the group, and tells its members and why some are missing.
async fn read(mut session: Session, values: usize) -> (Vec<String>, Option<PartialKind>) {
    let found = find(&mut session).await;
    let limits = RangeLimits {
        values,
        controls: &[],
    };
    let (entry, missing) = complete_ranges(&mut session, found, limits)
        .await
        .expect("a connection");
    assert!(
        entry.attributes().all(|(name, _)| !name.contains(';')),
        "no range is left"
    );
    (
        entry.texts("member").map(str::to_owned).collect(),
        missing.map(|reason| reason.kind),
    )
}

async fn find(session: &mut Session) -> FoundEntry {
    let search = Search {
        base: Base::Dn(Dn::parse(DN).expect("a DN")),
        scope: Scope::Base,
        filter: Filter::present("objectClass").expect("a filter"),
        attributes: vec!["member".to_owned()],
        controls: Vec::new(),
    };
    let mut found = session.search(&search).await.expect("an answer");
    let Ok(Some(Item::Entry(entry))) = found.next().await else {
        panic!("no entry");
    };
    assert!(found.next().await.expect("an end").is_none());
    entry
}

/// Where a request begins: at zero if it says nothing.
fn low(asked: &Asked) -> usize {
    let bounds = asked.attributes[0].split_once(";range=");
    bounds.map_or(0, |(_, bounds)| {
        bounds
            .split_once('-')
            .expect("a range")
            .0
            .parse()
            .expect("a number")
    })
}

/// A page of the members from `low` on.
fn page(members: &[String], low: usize, size: usize) -> Vec<Say> {
    let high = members.len().min(low + size);
    let end = if high == members.len() {
        "*".to_owned()
    } else {
        (high - 1).to_string()
    };
    let values: Vec<&[u8]> = members[low.min(high)..high]
        .iter()
        .map(String::as_bytes)
        .collect();
    if values.is_empty() {
        return vec![Say::Done(1, Vec::new())];
    }
    let name = format!("member;range={low}-{end}");
    vec![
        entry(DN, &[("cn", &[b"g"]), ("member", &[]), (&name, &values)]),
        success(),
    ]
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("cn=m{n}")).collect()
}

#[test]
fn five_thousand_members_take_four_requests() {
    let members = numbered(5000);
    let shown = members.clone();
    let (read, missing, asked) = with_server(
        move |asked| page(&shown, low(asked), 1500),
        |session, log| async move {
            let (read, missing) = read(session, 10_000).await;
            (read, missing, log.lock().expect("a log").len())
        },
    );
    assert_eq!((read, missing, asked), (members, None, 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Members come and go between the pages, at any place. Whoever was there all the time is read, or the group is
    /// partial.
    #[test]
    fn who_stays_is_read(
        count in 2_usize..40,
        size in 2_usize..9,
        changes in prop::collection::vec(prop::option::of((any::<prop::sample::Index>(), any::<bool>())), 0..12),
    ) {
        let mut members = numbered(count);
        let now = Arc::new(Mutex::new(members.clone()));
        let shared = Arc::clone(&now);
        let mut changes = changes.into_iter();
        let (read, missing) = with_server(
            move |asked| {
                let answer = page(&members, low(asked), size);
                match changes.next().flatten() {
                    Some((at, true)) if !members.is_empty() => drop(members.remove(at.index(members.len()))),
                    Some((at, false)) => members.insert(at.index(members.len() + 1), format!("cn=new{}", at.index(1 << 20))),
                    _ => {}
                }
                shared.lock().expect("nobody panicked").clone_from(&members);
                answer
            },
            |session, _| read(session, 10_000),
        );
        let kept = now.lock().expect("nobody panicked").clone();
        for member in kept.into_iter().filter(|member| member.starts_with("cn=m")) {
            prop_assert!(missing.is_some() || read.contains(&member), "{member} is missing: {read:?}");
        }
    }
}

#[test]
fn what_a_server_may_do_wrong() {
    let first = |name: &str, count: usize| {
        let members = numbered(count);
        let values: Vec<&[u8]> = members.iter().map(String::as_bytes).collect();
        vec![entry(DN, &[(name, &values)]), success()]
    };
    let failed = Some(PartialKind::Failed);
    for (what, begin, then, missing, read_members) in [
        (
            "it loops",
            first("member;range=0-1", 2),
            first("member;range=0-1", 2),
            failed,
            2,
        ),
        (
            "it goes back",
            first("member;range=0-2", 3),
            first("member;range=0-*", 3),
            failed,
            3,
        ),
        (
            "it counts wrong",
            first("member;range=0-9", 3),
            vec![success()],
            failed,
            0,
        ),
        (
            "it begins in the middle",
            first("member;range=5-6", 2),
            vec![success()],
            failed,
            0,
        ),
        (
            "it has no such range",
            first("member;range=a-b", 2),
            vec![success()],
            failed,
            0,
        ),
        (
            "the entry goes away",
            first("member;range=0-1", 2),
            vec![Say::Done(32, Vec::new())],
            failed,
            2,
        ),
        (
            "the entry is not shown",
            first("member;range=0-1", 2),
            vec![success()],
            failed,
            2,
        ),
        (
            "the members are not shown",
            first("member;range=0-1", 2),
            vec![entry(DN, &[("cn", &[b"g"])]), success()],
            failed,
            2,
        ),
        (
            "it may not be read on",
            first("member;range=0-1", 2),
            vec![Say::Done(50, Vec::new())],
            Some(PartialKind::Unreadable),
            2,
        ),
        (
            "there are too many",
            first("member;range=0-*", 9),
            vec![],
            Some(PartialKind::Limit),
            5,
        ),
        ("all is well", first("member;range=0-*", 4), vec![], None, 4),
        ("there is no range", first("member", 4), vec![], None, 4),
    ] {
        let mut begin = Some(begin);
        let read = with_server(
            move |_| begin.take().unwrap_or_else(|| then.clone()),
            |session, _| read(session, 5),
        );
        assert_eq!((read.0.len(), read.1), (read_members, missing), "{what}");
    }
}

#[test]
fn a_broken_connection_is_an_error() {
    let mut first = true;
    let error = with_server(
        move |_| {
            if std::mem::take(&mut first) {
                page(&numbered(9), 0, 3)
            } else {
                vec![Say::Close]
            }
        },
        |mut session, _| async move {
            let found = find(&mut session).await;
            let limits = RangeLimits {
                values: 99,
                controls: &[],
            };
            complete_ranges(&mut session, found, limits).await.map(|_| ())
        },
    );
    assert!(error.is_err());
}
