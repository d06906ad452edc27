//! What a change costs, in looks at entries.

use std::fmt::Write as _;

use super::super::{Index, Members};
use super::{entry, index, key, looks, show};
use crate::rules::EntryRules;

const USERS: u32 = 20_000;
const UNITS: u32 = 20;

/// What happens, and what changes by that.
type Case<'c> = (&'c str, &'c dyn Fn(&mut Index), &'c str);

fn user(number: u32, unit: u32, uid: &str) -> crate::entry::Entry {
    entry(
        &format!("uid={uid},ou={unit},dc=x"),
        &format!("objectClass: inetOrgPerson\nuid: {uid}\nmail: {uid}@example.org\nnsUniqueId: u{number}"),
    )
}

/// 20,000 users in 20 units and in 40 groups of 500, and a group of all by login.
fn directory() -> Index {
    let mut index = index(&EntryRules::default());
    for unit in 0..UNITS {
        let lines = format!("objectClass: organizationalUnit\nnsUniqueId: o{unit}");
        index.upsert(
            key(format!("o{unit}")),
            &entry(&format!("ou={unit},dc=x"), &lines),
            Members::Given,
        );
    }
    for number in 0..USERS {
        index.upsert(
            key(number),
            &user(number, number % UNITS, &number.to_string()),
            Members::Given,
        );
    }
    for group in 0..40 {
        let mut lines = format!("objectClass: groupOfNames\nnsUniqueId: g{group}");
        for number in (0..USERS).filter(|number| number % 40 == group) {
            write!(lines, "\nmember: uid={number},ou={},dc=x", number % UNITS).unwrap();
        }
        index.upsert(
            key(format!("g{group}")),
            &entry(&format!("cn={group},dc=x"), &lines),
            Members::Given,
        );
    }
    let mut lines = "objectClass: posixGroup\nnsUniqueId: all".to_owned();
    for number in 0..USERS {
        write!(lines, "\nmemberUid: {number}").unwrap();
    }
    index.upsert(key("all"), &entry("cn=all,dc=x", &lines), Members::Given);
    index.settle();
    index
}

#[test]
fn one_change_among_many_costs_what_it_affects() {
    let settled = directory();
    let none: [&str; 0] = [];
    let cases: [Case; 7] = [
        ("nothing", &|_| {}, ""),
        (
            "a name",
            &|index| index.upsert(key(77), &user(77, 17, "77"), Members::Given),
            "",
        ),
        (
            "an account is disabled",
            &|index| {
                let mut entry = user(77, 17, "77");
                entry.push("loginDisabled", b"TRUE");
                index.upsert(key(77), &entry, Members::Given);
            },
            "u77:user!",
        ),
        (
            "a new login, which the groups do not know",
            &|index| index.upsert(key(77), &user(77, 17, "new"), Members::Given),
            "u77:user all-=u77 g37-=u77",
        ),
        (
            "another unit, which the group does not know",
            &|index| index.upsert(key(77), &user(77, 3, "77"), Members::Given),
            "g37-=u77 o17-=u77 o3=u77",
        ),
        ("somebody goes", &|index| index.remove(&key(77)), "-u77"),
        (
            "members of the group of all",
            &|index| index.change_members(&key("all"), "memberUid", &none, &["5", "6"]),
            "all-=u5,u6",
        ),
    ];
    for (what, change, expected) in cases {
        let mut index = settled.clone();
        let before = looks();
        change(&mut index);
        let changes = index.settle().changes;
        let cost = looks() - before;
        let shown = show(&changes);
        let shown = shown
            .strip_prefix("u77:user ")
            .filter(|_| what != "a new login, which the groups do not know");
        assert_eq!(shown.unwrap_or(&show(&changes)), expected, "{what}");
        assert!(cost < 400, "{what} took {cost} looks");
    }
}

/// A unit that is renamed takes its people along, and costs them.
#[test]
fn a_move_costs_what_moves() {
    let mut index = directory();
    let before = looks();
    let lines = "objectClass: organizationalUnit\nnsUniqueId: o3";
    index.upsert(key("o3"), &entry("ou=3,ou=4,dc=x", lines), Members::Given);
    let changes = index.settle().changes;
    let cost = looks() - before;
    // They are in the unit as before, but no group that names them knows where they went.
    let left: usize = changes
        .iter()
        .map(|change| match change {
            usersync_model::DirectoryChange::MembersRemoved { members, .. } => members.len(),
            _ => 0,
        })
        .sum();
    let people = (USERS / UNITS) as usize;
    assert_eq!(left, people);
    assert_eq!(index.dn_of(&key(3)).unwrap(), "uid=3,ou=3,ou=4,dc=x");
    assert!(cost < 300 * people as u64, "{cost} looks for {people} people");
}
