//! Questions after one member, while people rename who they are about.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by them")]

use usersync_connector::{
    MemberChange, MemberOperation, MembershipRead, MembershipTarget, Precondition, ReadEnd, Reader,
};
use usersync_model::{Digest, OperationId, PartialKind, SystemId};
use usersync_testkit::conformance::sample_context;

use super::*;
use crate::changes::tests::server::{Asked, Say, client_of, entry, success};
use crate::dn::Dn;
use crate::groups::{GroupSettings, LdapGroups};

const GROUP: &str = "00000000-0000-0000-0000-000000000001";
const PERSON: &str = "00000000-0000-0000-0000-000000000002";
const OTHER: &str = "00000000-0000-0000-0000-000000000003";
/// What the content of a negation begins with.
const EQUALITY: u8 = 0xa3;

/// A server with a group and a person.
#[derive(Clone)]
struct World {
    group: Option<String>,
    person: String,
    /// Whether the group names the person.
    is_member: bool,
    /// The ids that the group shows, and those that the person shows.
    group_ids: Vec<&'static str>,
    person_ids: Vec<&'static str>,
    /// Whether the base may be seen. Where not, 389 Directory Server answers success to a search in pages.
    base_is_hidden: bool,
    /// How often an entry is shown to whoever asks for it alone.
    shown: usize,
}

impl Default for World {
    fn default() -> Self {
        Self {
            group: Some("cn=g,dc=x".to_owned()),
            person: "uid=p,dc=x".to_owned(),
            is_member: true,
            group_ids: vec![GROUP],
            person_ids: vec![PERSON],
            base_is_hidden: false,
            shown: 1,
        }
    }
}

impl World {
    fn answer(&self, asked: &Asked) -> Vec<Say> {
        if asked.base == "dc=x" && asked.scope == 0 && !self.base_is_hidden {
            return vec![entry("dc=x", &[]), success()];
        }
        let Some(group) = self.group.as_ref().filter(|_| !self.base_is_hidden) else {
            return vec![if asked.scope == 0 {
                Say::Done(32, vec![])
            } else {
                success()
            }];
        };
        let found = if asked.scope != 0 {
            let (dn, ids, class): (_, _, &[u8]) = if asked.filters_by(GROUP.as_bytes()) {
                (group, &self.group_ids, b"groupOfNames")
            } else {
                (&self.person, &self.person_ids, b"inetOrgPerson")
            };
            let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
            Some(entry(
                dn,
                &[
                    ("entryUUID", &ids),
                    ("objectClass", &[class]),
                    ("modifyTimestamp", &[b"20200101000000Z"]),
                ],
            ))
        } else if asked.base == *group {
            let is_named = self.is_member && asked.filters_by(self.person.as_bytes());
            (is_named != (asked.filter[0] == EQUALITY)).then(|| entry(group, &[]))
        } else {
            return vec![Say::Done(32, vec![])];
        };
        let times = if asked.scope == 0 { self.shown } else { 1 };
        let found = found
            .into_iter()
            .flat_map(|found| std::iter::repeat_n(found, times));
        found.chain([success()]).collect()
    }
}

/// The groups of a world where `people` act before each search, which they are told the number of.
async fn groups_of(mut world: World, people: impl Fn(u32, &mut World) + Send + 'static) -> LdapGroups {
    let mut searches = 0;
    let (client, _) = client_of(move |asked| {
        if asked.base.is_empty() {
            return vec![entry("", &[("vendorName", &[b"nobody"])]), success()];
        }
        people(searches, &mut world);
        searches += 1;
        world.answer(asked)
    })
    .await;
    let settings = GroupSettings::openldap(Dn::parse("dc=x").unwrap());
    LdapGroups::new(SystemId::new("directory").unwrap(), client, settings)
}

fn group() -> ObjectId {
    ObjectId::new(GROUP).unwrap()
}

fn person() -> PrincipalRef {
    PrincipalRef::parse("directory", PERSON).unwrap()
}

/// Whether the person is a member.
async fn is_member(
    world: World,
    people: impl Fn(u32, &mut World) + Send + 'static,
) -> std::result::Result<bool, ErrorKind> {
    let groups = groups_of(world, people).await;
    let found = groups.member(&group(), &person(), &sample_context()).await;
    found.map(|found| found.is_some()).map_err(|error| error.kind())
}

type People = Box<dyn Fn(u32, &mut World) + Send>;

/// Between the search for both, which are the first two, and that for the one in the other.
#[tokio::test]
async fn absence_is_that_of_whoever_has_the_name() {
    let cases: Vec<(&str, bool, People, std::result::Result<bool, ErrorKind>)> = vec![
        ("a member", true, Box::new(|_, _| {}), Ok(true)),
        ("no member", false, Box::new(|_, _| {}), Ok(false)),
        (
            "a renamed member",
            true,
            Box::new(|search, world| {
                if search == 2 {
                    world.person = "uid=new,dc=x".to_owned();
                }
            }),
            Ok(true),
        ),
        (
            "a renamed group",
            true,
            Box::new(|search, world| {
                if search == 2 {
                    world.group = Some("cn=new,dc=x".to_owned());
                }
            }),
            Ok(true),
        ),
        (
            "one who is removed",
            true,
            Box::new(|search, world| world.is_member &= search < 2),
            Ok(false),
        ),
        (
            "a deleted group",
            true,
            Box::new(|search, world| {
                if search == 2 {
                    world.group = None;
                }
            }),
            Ok(false),
        ),
        (
            "one who is renamed all the time",
            true,
            Box::new(|search, world| world.person = format!("uid=p{search},dc=x")),
            Err(ErrorKind::Conflict),
        ),
    ];
    for (what, is_one, people, expected) in cases {
        let world = World {
            is_member: is_one,
            ..World::default()
        };
        assert_eq!(is_member(world, people).await, expected, "{what}");
    }
}

/// Reads the group, and removes the person from it: how the read ended, how many entries it had, and what came of the removal.
async fn read_and_removed(world: World) -> (ReadEnd, usize, std::result::Result<bool, ErrorKind>) {
    let groups = groups_of(world, |_, _| {}).await;
    let reader = Reader::new(groups.members(vec![group()], &sample_context()));
    let (entries, end) = reader.collect().await;
    let operation = MemberOperation {
        id: OperationId::from_digest(&Digest::of("usersync-ldap tests", b"removal")),
        principal: person(),
        change: MemberChange::Remove,
        precondition: Precondition::None,
    };
    let mut applied = groups.apply(&group(), &[operation], &sample_context()).await;
    let applied = applied.remove(0).map(|applied| applied.changed);
    let applied = applied.map_err(|error| {
        assert!(!error.outcome_unknown(), "{error}");
        error.kind()
    });
    (end, entries.len(), applied)
}

#[tokio::test]
async fn promise_09_a_base_that_is_hidden_says_nothing_of_its_groups() {
    let world = World {
        base_is_hidden: true,
        ..World::default()
    };
    let found = is_member(world.clone(), |_, _| {}).await;
    assert_eq!(found, Err(ErrorKind::NotFound));
    let (end, entries, removed) = read_and_removed(world).await;
    assert_eq!((entries, removed), (0, Err(ErrorKind::NotFound)));
    let [(id, _)] = end.partial.as_slice() else {
        panic!("{end:?}")
    };
    assert_eq!(*id, group());

    let deleted = World {
        group: None,
        ..World::default()
    };
    let (end, entries, removed) = read_and_removed(deleted).await;
    assert_eq!((end, entries, removed), (ReadEnd::complete(), 1, Ok(false)));
}

/// The entry is there, whatever it is called.
#[tokio::test]
async fn promise_09_who_shows_no_single_id_is_not_absent() {
    for ids in [&[][..], &[GROUP, OTHER]] {
        let world = World {
            group_ids: ids.to_vec(),
            ..World::default()
        };
        let found = is_member(world.clone(), |_, _| {}).await;
        assert_eq!(found, Err(ErrorKind::InvalidData), "{ids:?}");
        let (end, entries, removed) = read_and_removed(world).await;
        assert_eq!((entries, removed), (0, Err(ErrorKind::InvalidData)), "{ids:?}");
        let [(id, reason)] = end.partial.as_slice() else {
            panic!("{end:?}")
        };
        assert_eq!((id, reason.kind), (&group(), PartialKind::Unreadable), "{ids:?}");
    }
    for ids in [&[][..], &[PERSON, OTHER]] {
        let world = World {
            person_ids: ids.to_vec(),
            ..World::default()
        };
        let found = is_member(world, |_, _| {}).await;
        assert_eq!(found, Err(ErrorKind::InvalidData), "{ids:?}");
    }
}

/// A server that shows one entry many times may never come to an end.
#[tokio::test]
async fn one_entry_is_not_many() {
    let world = World {
        shown: 2,
        ..World::default()
    };
    let found = is_member(world, |_, _| {}).await;
    assert_eq!(found, Err(ErrorKind::InvalidData));
}
