//! Names that change, and ids that do not identify.

use std::collections::{BTreeMap, BTreeSet};

use usersync::engine::{RunEnd, RunReport};
use usersync::ldap::{IdAttribute, IdEncoding, LdifDirectory, LdifProfile};
use usersync::model::Principal;
use usersync::reconcile::Mode;
use usersync_tests::records::RecordWorld;
use usersync_tests::{World, free_policy, user};

use crate::failures::{held, run_reading, system, warnings};

/// A person as the directory exports her.
struct Entry {
    dn: &'static str,
    id: &'static str,
    number: &'static str,
}

const ADA: Entry = Entry {
    dn: "uid=ada,ou=sales,dc=example",
    id: "id-ada",
    number: "1001",
};
const BOB: Entry = Entry {
    dn: "uid=bob,ou=sales,dc=example",
    id: "id-bob",
    number: "1002",
};

/// An export of these people in one group.
fn export(people: &[Entry]) -> String {
    let mut file = String::new();
    for Entry { dn, id, number } in people {
        file += &format!("dn: {dn}\nobjectClass: inetOrgPerson\nid: {id}\ngidNumber: {number}\n\n");
    }
    file += "dn: cn=staff,dc=example\nobjectClass: groupOfNames\nid: staff\ngidNumber: staff\n";
    for person in people {
        file += &format!("member: {}\n", person.dn);
    }
    file
}

fn run(world: &World, id_attribute: &str, people: &[Entry]) -> RunReport {
    let mut profile = LdifProfile::default();
    profile.rules.ids = vec![IdAttribute::new(id_attribute, IdEncoding::Text)];
    let directory = LdifDirectory::from_bytes(system("hr"), export(people).into_bytes());
    run_reading(world, directory.with_profile(profile))
}

fn world() -> World {
    World::builder()
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

/// Who marries, and moves to another unit, is who she was.
#[test]
fn f11_a_rename_and_a_move_make_no_new_user() {
    let world = world();
    assert_eq!(run(&world, "id", &[ADA, BOB]).operations.len(), 2);
    let before = world.end();
    let moved = || Entry {
        dn: "uid=ada.berg,ou=research,dc=example",
        ..ADA
    };

    // Whoever goes by names deletes one and makes another.
    let names = |people: &[Entry]| people.iter().map(|person| person.dn).collect::<BTreeSet<_>>();
    let (old, new) = (names(&[ADA, BOB]), names(&[moved(), BOB]));
    assert_eq!(
        (old.difference(&new).count(), new.difference(&old).count()),
        (1, 1)
    );

    let report = run(&world, "id", &[moved(), BOB]);
    assert_eq!((report.end, report.operations.len()), (RunEnd::InSync, 0));
    assert_eq!(world.end(), before);
}

/// Nor does it matter to copies of contacts whose they are called: not the source's, the destination's or the group's.
#[test]
fn f11_a_new_name_costs_nobody_the_contacts() {
    let world = RecordWorld::builder()
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    let _ = world.settle("share");
    for known in world.directory.principals() {
        let name = format!("{} (new)", known.name);
        world.directory.put(Principal { name, ..known });
    }
    world.calls.clear();
    let _ = world.settle("share");
    assert_eq!(world.calls.effects(), 0);
    assert_eq!(
        (world.names("ada"), world.names("bob")),
        ("c1=One".to_owned(), "c1=One".to_owned())
    );
}

/// The administrator took `gidNumber` for the id, which two people come to share: one of them is the other to whoever keeps people in
/// a map. Which one is meant nobody knows, so that the directory is taken to be read in part.
#[test]
fn f12_an_id_that_two_people_share_is_nobodys() {
    let world = world();
    assert_eq!(run(&world, "gidNumber", &[ADA, BOB]).operations.len(), 2);
    assert_eq!(world.members("team"), "1001 1002");
    let same = || {
        [
            ADA,
            Entry {
                number: "1001",
                ..BOB
            },
        ]
    };

    let map: BTreeMap<_, _> = same().iter().map(|person| (person.number, person.dn)).collect();
    assert_eq!(
        map.values().collect::<Vec<_>>(),
        [&BOB.dn],
        "Ada is Bob, and 1002 is to go"
    );

    let report = run(&world, "gidNumber", &same());
    assert!(report.operations.is_empty(), "{report:?}");
    assert_eq!(world.members("team"), "1001 1002");
    assert_eq!(held(&report), ["incomplete_source"].into());
    assert!(warnings(&report).contains("partial_source"));

    // Corrected in the directory.
    assert_eq!(run(&world, "gidNumber", &[ADA, BOB]).end, RunEnd::InSync);
    assert_eq!(world.row("team", "1002").map(|row| row.claims().len()), Some(1));
}

/// The same id told as a person and as a group, by a directory of whatever kind.
#[test]
fn f12_an_id_that_is_a_person_and_a_group_is_taken_for_neither() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    let file = "dn: uid=ada,dc=x\nobjectClass: inetOrgPerson\nid: ada\n\ndn: cn=ada,dc=x\nobjectClass: groupOfNames\nid: ada\nmember:\n\n\
                dn: cn=staff,dc=x\nobjectClass: groupOfNames\nid: staff\nmember: uid=ada,dc=x\n";
    let mut profile = LdifProfile::default();
    profile.rules.ids = vec![IdAttribute::new("id", IdEncoding::Text)];
    let directory = LdifDirectory::from_bytes(system("hr"), file.as_bytes()).with_profile(profile);
    let report = run_reading(&world, directory);
    assert!(report.operations.is_empty());
    assert_eq!(world.members("team"), "ada bob");
    assert_eq!(held(&report), ["incomplete_source"].into());
    assert!(world.directory.principal(&user("bob").object).is_some());
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}
