//! Who is privileged by groups that name each other.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by them")]

use std::collections::BTreeMap;
use std::time::Duration;

use usersync_connector::{AccountDirectory, AccountEntry, Directory, ReadEnd, Reader};
use usersync_model::{Completeness, SystemId};
use usersync_testkit::conformance::sample_context;

use super::*;
use crate::accounts::LdapAccounts;
use crate::changes::ChangeStrategy;
use crate::changes::tests::server::{Asked, Say, client_of, entry, success};
use crate::read::LdapDirectory;

const PEOPLE: [&str; 2] = ["ada", "bob"];

/// A server with people, and with groups of mail recipients: each by its name, with its addresses and those of its members.
#[derive(Clone)]
struct World {
    groups: Vec<(&'static str, &'static [&'static str], &'static [&'static str])>,
    /// Whether the members of groups that list none may be looked for.
    searchable: bool,
}

impl World {
    fn answer(&self, asked: &Asked) -> Vec<Say> {
        let people = PEOPLE.iter().zip(0..).map(|(name, number)| {
            let id = format!("00000000-0000-0000-0000-00000000000{number}");
            let mail = format!("{name}@x.example");
            entry(
                &format!("uid={name},dc=x"),
                &[
                    ("objectClass", &[b"inetOrgPerson"]),
                    ("entryUUID", &[id.as_bytes()]),
                    ("cn", &[name.as_bytes()]),
                    ("mail", &[mail.as_bytes()]),
                ],
            )
        });
        let groups = self
            .groups
            .iter()
            .zip(10..)
            .map(|((name, addresses, members), number)| {
                let id = format!("00000000-0000-0000-0000-0000000000{number}");
                let octets = |texts: &'static [&'static str]| -> Vec<&'static [u8]> {
                    texts.iter().map(|text| text.as_bytes()).collect()
                };
                let mut attributes: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::from([
                    ("objectClass", vec![&b"mailGroup"[..]]),
                    ("entryUUID", vec![id.as_bytes()]),
                    ("mail", octets(addresses)),
                    ("rfc822MailMember", octets(members)),
                ]);
                attributes.retain(|name, values| {
                    !values.is_empty()
                        && asked
                            .attributes
                            .iter()
                            .any(|asked| asked.eq_ignore_ascii_case(name))
                });
                let attributes: Vec<_> = attributes
                    .iter()
                    .map(|(name, values)| (*name, values.as_slice()))
                    .collect();
                (
                    format!("cn={name},dc=x"),
                    entry(&format!("cn={name},dc=x"), &attributes),
                )
            });
        let found: Vec<Say> = match asked.base.as_str() {
            "" => vec![entry("", &[("vendorName", &[b"nobody"])])],
            "dc=x" if asked.scope == 0 => vec![entry("dc=x", &[])],
            "dc=x" if asked.filters_by(b"inetOrgPerson") => people.collect(),
            "dc=x" => groups.map(|(_, say)| say).collect(),
            _ if asked.filter == b"objectClass" => groups
                .filter(|(dn, _)| *dn == asked.base)
                .map(|(_, say)| say)
                .collect(),
            _ if self.searchable => vec![entry(&asked.base, &[])],
            _ => vec![],
        };
        found.into_iter().chain([success()]).collect()
    }
}

/// Who is privileged by the first group, and how the read ended.
async fn privileged(world: World) -> (Vec<String>, ReadEnd) {
    let mut profile = LdapProfile::openldap(Dn::parse("dc=x").unwrap());
    let first = format!("cn={},dc=x", world.groups[0].0);
    profile.rules.privileged_groups = vec![Dn::parse(&first).unwrap()];
    let (client, _) = client_of(move |asked| world.answer(asked)).await;
    let accounts = LdapAccounts::new(SystemId::new("ldap").unwrap(), client, profile);
    let (entries, end) = Reader::new(accounts.accounts(None, &sample_context()))
        .collect()
        .await;
    let names = entries.into_iter().filter_map(|entry| match entry {
        AccountEntry::Upsert(account) => account.privileged.then_some(account.name),
        AccountEntry::Removed(_) => None,
    });
    (names.collect(), end)
}

#[tokio::test]
async fn groups_that_are_named_by_address_are_followed() {
    let world = World {
        groups: vec![
            ("a", &[], &["Ops@x.example", "outside@y.example"]),
            ("b", &["ops@X.example"], &["c@x.example", "bob@x.example"]),
            ("c", &["c@x.example"], &["ops@x.example"]),
            ("d", &["d@x.example"], &["ada@x.example"]),
        ],
        searchable: true,
    };
    assert_eq!(
        privileged(world).await,
        (vec!["bob".to_owned()], ReadEnd::complete())
    );
}

/// No class demands a member, and yet rights may hide all of them.
#[tokio::test]
async fn promise_09_members_that_may_not_be_looked_for_are_unknown() {
    for (searchable, flaw) in [(true, None), (false, Some(PartialKind::Unreadable))] {
        let world = World {
            groups: vec![("a", &[], &[])],
            searchable,
        };
        let (names, end) = privileged(world).await;
        let kind = match end.verdict {
            Completeness::Complete => None,
            Completeness::Partial(reason) => Some(reason.kind),
        };
        assert_eq!((names.len(), kind), (0, flaw));
    }
}

/// A read that may last for ever ends all the same.
#[tokio::test]
async fn a_read_may_last_for_ever() {
    let world = World {
        groups: vec![("a", &[], &["bob@x.example"])],
        searchable: true,
    };
    let mut profile = LdapProfile::openldap(Dn::parse("dc=x").unwrap());
    profile.limits.duration = Duration::MAX;
    profile.changes = ChangeStrategy::Off;
    let (client, _) = client_of(move |asked| world.answer(asked)).await;
    let system = SystemId::new("ldap").unwrap();
    let accounts = LdapAccounts::new(system.clone(), client.clone(), profile.clone());
    let (entries, end) = Reader::new(accounts.accounts(None, &sample_context()))
        .collect()
        .await;
    assert_eq!((entries.len(), end.verdict), (2, Completeness::Complete));
    let directory = LdapDirectory::new(system, client, profile);
    let (changes, _) = Reader::new(directory.read(None, &sample_context()))
        .collect()
        .await;
    assert!(!changes.is_empty());
}
