//! Questions after one member, while people rename who they are about.
#![allow(clippy::unwrap_used, reason = "tests fail by it")]

use usersync_connector::MembershipRead;
use usersync_model::SystemId;
use usersync_testkit::conformance::sample_context;

use super::*;
use crate::changes::tests::server::{Asked, Say, client_of, entry, success};
use crate::dn::Dn;
use crate::groups::{GroupSettings, LdapGroups};

const GROUP: &str = "00000000-0000-0000-0000-000000000001";
const PERSON: &str = "00000000-0000-0000-0000-000000000002";
/// What the content of a negation begins with.
const EQUALITY: u8 = 0xa3;

/// A server with a group and a person.
#[derive(Clone)]
struct World {
    group: Option<String>,
    person: String,
    /// Whether the group names the person.
    is_member: bool,
}

impl World {
    fn answer(&self, asked: &Asked) -> Vec<Say> {
        let Some(group) = &self.group else {
            return vec![if asked.scope == 0 {
                Say::Done(32, vec![])
            } else {
                success()
            }];
        };
        let found = if asked.scope != 0 {
            let (dn, id, class): (_, _, &[u8]) = if asked.filters_by(GROUP.as_bytes()) {
                (group, GROUP, b"groupOfNames")
            } else {
                (&self.person, PERSON, b"inetOrgPerson")
            };
            Some(entry(
                dn,
                &[
                    ("entryUUID", &[id.as_bytes()]),
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
        found.into_iter().chain([success()]).collect()
    }
}

/// Whether the person is a member, where `people` act before each search, which they are told the number of.
async fn is_member(
    mut world: World,
    people: impl Fn(u32, &mut World) + Send + 'static,
) -> std::result::Result<bool, ErrorKind> {
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
    let groups = LdapGroups::new(SystemId::new("directory").unwrap(), client, settings);
    let person = PrincipalRef::parse("directory", PERSON).unwrap();
    let found = groups
        .member(&ObjectId::new(GROUP).unwrap(), &person, &sample_context())
        .await;
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
            group: Some("cn=g,dc=x".to_owned()),
            person: "uid=p,dc=x".to_owned(),
            is_member: is_one,
        };
        assert_eq!(is_member(world, people).await, expected, "{what}");
    }
}
