//! Removals and questions after one member while a server is about to mend the names of somebody who was renamed.
#![allow(clippy::unwrap_used, reason = "tests fail by it")]

use std::sync::{Arc, Mutex};

use usersync_connector::{
    ErrorKind, MemberChange, MemberOperation, MembershipRead, MembershipTarget, Precondition,
};
use usersync_model::{Digest, OperationId, PrincipalRef, SystemId};
use usersync_testkit::conformance::sample_context;

use super::*;
use crate::changes::tests::server::{Asked, Log, Say, client_of, entry, success};
use crate::groups::LdapGroups;

const GROUP: &str = "00000000-0000-0000-0000-000000000001";
const PERSON: &str = "00000000-0000-0000-0000-000000000002";
const OTHER: &str = "00000000-0000-0000-0000-000000000003";
const GROUP_DN: &str = "cn=g,dc=x";
const UNIT_DN: &str = "ou=u,dc=x";
const OTHER_DN: &str = "uid=q,dc=x";
const FORMER: &str = "uid=former,ou=u,dc=x";
const PRESENT: &str = "uid=present,ou=u,dc=x";
const LONG_AGO: &str = "20200101000000Z";
/// As good as now, which nobody waits for.
const LATELY: &str = "99991231235959Z";
/// What the content of a negation begins with.
const EQUALITY: u8 = 0xa3;
const PRESENCE: u8 = 0x87;

/// What happens after the server refused a change.
type Then = fn(&mut World);

/// A server with a group, which has one member for sure, and a person.
#[derive(Clone)]
struct World {
    person: &'static str,
    values: Vec<&'static str>,
    person_changed: Option<&'static str>,
    unit_changed: Option<&'static str>,
    then: Option<Then>,
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Vec<Say> {
        let named = self
            .values
            .iter()
            .position(|value| asked.filters_by(value.as_bytes()));
        if asked.is_modify {
            if let Some(named) = named {
                self.values.remove(named);
                return vec![success()];
            }
            if let Some(then) = self.then.take() {
                then(self);
            }
            return vec![Say::Done(16, vec![])];
        }
        let stamp = |changed: Option<&'static str>| -> Vec<&'static [u8]> {
            changed.map(str::as_bytes).into_iter().collect()
        };
        let person = |dn, id: &str, changed| {
            let changed = stamp(changed);
            let attributes: [(&str, &[&[u8]]); 2] =
                [("entryUUID", &[id.as_bytes()]), ("modifyTimestamp", &changed)];
            entry(dn, &attributes)
        };
        let found = match asked.base.as_str() {
            "" => Some(entry("", &[("vendorName", &[b"nobody"])])),
            "dc=x" if asked.filters_by(GROUP.as_bytes()) => {
                let values: Vec<&[u8]> = self.values.iter().map(|value| value.as_bytes()).collect();
                let attributes: [(&str, &[&[u8]]); 3] = [
                    ("entryUUID", &[GROUP.as_bytes()]),
                    ("objectClass", &[b"groupOfNames"]),
                    ("member", &values),
                ];
                Some(entry(GROUP_DN, &attributes))
            }
            "dc=x" if asked.scope == 0 => Some(entry("dc=x", &[])),
            "dc=x" => (asked.filters_by(PERSON.as_bytes()) && self.person.ends_with("dc=x"))
                .then(|| person(self.person, PERSON, self.person_changed)),
            GROUP_DN if asked.filter[0] == PRESENCE => None,
            GROUP_DN => (named.is_some() != (asked.filter[0] == EQUALITY)).then(|| entry(GROUP_DN, &[])),
            OTHER_DN => Some(person(OTHER_DN, OTHER, None)),
            UNIT_DN => Some(entry(UNIT_DN, &[("modifyTimestamp", &stamp(self.unit_changed))])),
            dn if dn == self.person => Some(person(self.person, PERSON, None)),
            _ => return vec![Say::Done(32, vec![])],
        };
        found.into_iter().chain([success()]).collect()
    }
}

fn world(values: &[&'static str], person_changed: Option<&'static str>) -> World {
    World {
        person: PRESENT,
        values: values.to_vec(),
        person_changed,
        unit_changed: Some(LONG_AGO),
        then: None,
    }
}

async fn groups_of(world: World) -> (LdapGroups, Log) {
    let world = Arc::new(Mutex::new(world));
    let (client, log) = client_of(move |asked| world.lock().unwrap().answer(asked)).await;
    let settings = GroupSettings::openldap(Dn::parse("dc=x").unwrap());
    let groups = LdapGroups::new(SystemId::new("directory").unwrap(), client, settings);
    (groups, log)
}

fn removal(person: &str) -> MemberOperation {
    MemberOperation {
        id: OperationId::from_digest(&Digest::of("usersync-ldap tests", person.as_bytes())),
        principal: PrincipalRef::parse("directory", person).unwrap(),
        change: MemberChange::Remove,
        precondition: Precondition::None,
    }
}

/// Whether a removal removed somebody, and whether he is a member before it, by a question after him alone.
async fn removed(world: World) -> (Result<bool, ErrorKind>, Result<bool, ErrorKind>) {
    let (groups, _) = groups_of(world).await;
    let person = PrincipalRef::parse("directory", PERSON).unwrap();
    let group = ObjectId::new(GROUP).unwrap();
    let member = groups.member(&group, &person, &sample_context()).await;
    let applied = groups.apply(&group, &[removal(PERSON)], &sample_context()).await;
    let applied = applied.into_iter().next().unwrap();
    (
        applied.map(|applied| applied.changed).map_err(|error| {
            assert!(!error.outcome_unknown(), "{error}");
            error.kind()
        }),
        member
            .map(|member| member.is_some())
            .map_err(|error| error.kind()),
    )
}

/// The group has the former name until the server mends it.
#[tokio::test]
async fn who_was_renamed_is_not_gone_before_his_group_is_mended() {
    let gone = (Ok(false), Ok(false));
    let doubtful = (Err(ErrorKind::Conflict), Err(ErrorKind::Conflict));
    let unit_changed = World {
        unit_changed: Some(LATELY),
        ..world(&[FORMER, OTHER_DN], Some(LONG_AGO))
    };
    let cases = [
        (
            "a member",
            world(&[PRESENT, OTHER_DN], Some(LATELY)),
            (Ok(true), Ok(true)),
        ),
        ("nobody unknown", world(&[OTHER_DN], Some(LATELY)), gone),
        (
            "somebody unknown, but no rename",
            world(&[FORMER, OTHER_DN], Some(LONG_AGO)),
            gone,
        ),
        (
            "somebody unknown after a rename",
            world(&[FORMER, OTHER_DN], Some(LATELY)),
            doubtful,
        ),
        ("somebody unknown after that of a unit", unit_changed, doubtful),
        (
            "somebody unknown and no times",
            world(&[FORMER, OTHER_DN], None),
            doubtful,
        ),
    ];
    for (what, world, expected) in cases {
        assert_eq!(removed(world).await, expected, "{what}");
    }
}

/// Between two answers his names are mended, or he is renamed.
#[tokio::test]
async fn who_turns_out_to_be_a_member_is_removed() {
    let mended: Then = |world| world.values = vec![PRESENT, OTHER_DN];
    let renamed: Then = |world| {
        world.person = "uid=newest,dc=x";
        world.values = vec!["uid=newest,dc=x", OTHER_DN];
    };
    for (what, values, then) in [
        ("mended", [FORMER, OTHER_DN], mended),
        ("renamed", ["uid=somebody,dc=x", OTHER_DN], renamed),
    ] {
        let world = World {
            then: Some(then),
            ..world(&values, Some(LATELY))
        };
        assert_eq!(removed(world).await.0, Ok(true), "{what}");
    }
}

/// Whom the base for members does not show any more may be a member by a name from elsewhere.
#[tokio::test]
async fn who_leaves_the_base_for_members_is_not_gone() {
    let moved: Then = |world| world.person = "uid=p,dc=y";
    for (what, values, expected) in [
        (
            "a member",
            &["uid=p,dc=y", OTHER_DN][..],
            Err(ErrorKind::Conflict),
        ),
        ("no member", &[OTHER_DN], Ok(false)),
    ] {
        let world = World {
            then: Some(moved),
            ..world(values, Some(LONG_AGO))
        };
        assert_eq!(removed(world).await.0, expected, "{what}");
    }
}

/// A group is read once for all of those whom the directory does not have.
#[tokio::test]
async fn removals_of_the_vanished_read_the_group_once() {
    let (groups, log) = groups_of(world(&[OTHER_DN], Some(LONG_AGO))).await;
    let removals: Vec<_> = (0x100..0x120)
        .map(|number| removal(&format!("00000000-0000-0000-0000-000000000{number:x}")))
        .collect();
    let group = ObjectId::new(GROUP).unwrap();
    let applied = groups.apply(&group, &removals, &sample_context()).await;
    assert_eq!(applied.len(), 32);
    assert!(applied.into_iter().all(|applied| !applied.unwrap().changed));
    let log = log.lock().unwrap();
    let reads = |asked: &&Asked| asked.attributes.iter().any(|name| name == "member");
    assert_eq!(log.iter().filter(reads).count(), 1);
}
