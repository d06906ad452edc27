//! Reads of a directory that changes while it is read: nobody who is in some group all the time is seen in none.
#![allow(clippy::unwrap_used, reason = "tests fail by it")]

use std::sync::{Arc, Mutex};

use usersync_model::{DirectoryChange, SystemId};
use usersync_testkit::generate::DirectoryState;

use super::tests::{BASE, directory, read};
use crate::changes::ChangeStrategy;
use crate::changes::tests::server::{Asked, Say, entry, success};

/// Of all changes; polls ask for whatever is not older than some minutes.
const TIME: &[u8] = b"20260101000000Z";

fn id(n: u8) -> String {
    format!("00000000-0000-0000-0000-0000000000{n:02x}")
}

fn object(n: u8, dn: &str, class: &str, members: &[&[u8]]) -> Say {
    let id = id(n).into_bytes();
    entry(
        dn,
        &[
            ("entryUUID", &[&id]),
            ("objectClass", &[class.as_bytes()]),
            ("member", members),
            ("modifyTimestamp", &[TIME]),
        ],
    )
}

/// A person who is moved to and fro between two groups: into the next before out of the last. `in_early` and `in_late` are what
/// one answer shows of them.
fn answer(in_early: bool, in_late: bool) -> Vec<Say> {
    let person: &[u8] = b"uid=p,dc=x";
    let nobody: &[u8] = b"";
    let member = |is_in: bool| [if is_in { person } else { nobody }];
    vec![
        object(1, BASE, "organization", &[]),
        object(2, "uid=p,dc=x", "inetOrgPerson", &[]),
        object(3, "cn=early,dc=x", "groupOfNames", &member(in_early)),
        object(4, "cn=late,dc=x", "groupOfNames", &member(in_late)),
        success(),
    ]
}

/// A server polled by time, whose `n`th answer about members shows what `script` says.
fn server(script: impl Fn(u32) -> (bool, bool) + Send + 'static) -> impl FnMut(&Asked) -> Vec<Say> + Send {
    let mut answers = 0;
    move |asked| {
        if !asked.attributes.iter().any(|name| name == "member") {
            return answer(false, false);
        }
        answers += 1;
        let (early, late) = script(answers - 1);
        answer(early, late)
    }
}

fn groups_of_the_person(changes: Vec<DirectoryChange>) -> Vec<String> {
    let state = DirectoryState::of(SystemId::new("ldap").unwrap(), changes);
    let has_him = |members: &std::collections::BTreeSet<usersync_model::PrincipalRef>| {
        members.iter().any(|member| member.object.as_str() == id(2))
    };
    let groups = state.members().iter().filter(|(_, members)| has_him(members));
    groups.map(|(group, _)| group.to_string()).collect()
}

/// He is put into the early group after it was read, and out of the late one before that was.
#[tokio::test]
async fn promise_09_whoever_is_moved_while_everything_is_read_is_in_a_group() {
    let script = |answer| {
        if answer == 0 {
            (false, false)
        } else {
            (true, false)
        }
    };
    let (directory, _) = directory(ChangeStrategy::Poll, server(script)).await;
    let (changes, end) = read(&directory, None).await.unwrap();
    assert!(end.verdict.is_complete() && end.partial.is_empty(), "{end:?}");
    assert_eq!(groups_of_the_person(changes), [id(3)]);
    let (changes, end) = read(&directory, end.cursor).await.unwrap();
    assert!(changes.is_empty() && end.verdict.is_complete(), "{changes:?}");
}

/// A read of changes is as good a place to be lost in.
#[tokio::test]
async fn promise_09_whoever_is_moved_while_changes_are_read_is_in_a_group() {
    let script = |answer| match answer {
        0 | 1 => (false, true),
        2 => (false, false),
        _ => (true, false),
    };
    let (directory, _) = directory(ChangeStrategy::Poll, server(script)).await;
    let (mut changes, end) = read(&directory, None).await.unwrap();
    assert_eq!(groups_of_the_person(changes.clone()), [id(4)]);
    let (more, end) = read(&directory, end.cursor).await.unwrap();
    assert!(end.verdict.is_complete() && end.partial.is_empty(), "{end:?}");
    changes.extend(more);
    assert_eq!(groups_of_the_person(changes), [id(3)]);
}

/// In a directory that never rests, he was in neither group whenever it was asked.
#[tokio::test]
async fn promise_09_a_group_that_never_rests_is_partial() {
    let rest = Arc::new(Mutex::new(false));
    let rests = Arc::clone(&rest);
    // Seen in the early group every other time, and in none between.
    let script = move |answer| (*rests.lock().unwrap() || answer % 2 == 0, false);
    let (directory, _) = directory(ChangeStrategy::Poll, server(script)).await;
    let (changes, end) = read(&directory, None).await.unwrap();
    assert!(end.verdict.is_complete(), "{end:?}");
    assert_eq!(groups_of_the_person(changes), Vec::<String>::new());
    let partial: Vec<&str> = end.partial.iter().map(|(group, _)| group.as_str()).collect();
    assert_eq!(partial, [id(3)]);
    *rest.lock().unwrap() = true;
    let (changes, end) = read(&directory, end.cursor).await.unwrap();
    assert!(end.verdict.is_complete() && end.partial.is_empty(), "{end:?}");
    assert_eq!(groups_of_the_person(changes), [id(3)]);
}

/// Where the server cannot say what changed, everything is read twice.
#[tokio::test]
async fn promise_09_what_cannot_be_followed_is_read_until_it_is_the_same_twice() {
    for (seen, verdict) in [([true, true], true), ([false, true], false)] {
        let mut reads = 0;
        let (directory, _) = directory(ChangeStrategy::Poll, move |asked| {
            if asked.filters_by(b"modifyTimestamp") && asked.attributes.len() == 2 {
                // What is elsewhere cannot be followed.
                return vec![Say::Reference, success()];
            }
            if !asked.attributes.iter().any(|name| name == "member") {
                return answer(false, false);
            }
            reads += 1;
            answer(seen[reads - 1], false)
        })
        .await;
        let (changes, end) = read(&directory, None).await.unwrap();
        assert_eq!(end.verdict.is_complete(), verdict, "{end:?}");
        assert_eq!(groups_of_the_person(changes), [id(3)]);
        assert!(end.cursor.is_none());
    }
}
