//! Graduated departure where every day has a process of its own, and on some days the directory is read in part.

use std::collections::BTreeMap;

use proptest::prelude::*;
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Member, MembershipState, PartialKind, Role};
use usersync::reconcile::{Mode, Policy};
use usersync_tests::edit::cases;
use usersync_tests::{DurableStore, World, container, facets, free_policy, user};

const PEOPLE: [&str; 3] = ["ada", "bob", "cleo"];
const DAY: u64 = 24 * 3600;

/// What happens to one of them on a day.
#[derive(Clone, Copy, Debug)]
enum Move {
    Back,
    Depart,
    LeaveGroup,
}

/// How the directory is read on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Complete,
    /// It breaks off before it shows anybody.
    Nothing,
    /// It shows so many entries, and says that there are more.
    Part(usize),
}

fn days() -> impl Strategy<Value = Vec<(Vec<(usize, Move)>, Reading)>> {
    let one = prop_oneof![3 => Just(Move::Depart), 3 => Just(Move::Back), 1 => Just(Move::LeaveGroup)];
    let moves = proptest::collection::vec((0..PEOPLE.len(), one), 0..3);
    let reading = prop_oneof![
        3 => Just(Reading::Complete),
        1 => Just(Reading::Nothing),
        1 => (0..6_usize).prop_map(Reading::Part),
    ];
    proptest::collection::vec((moves, reading), 1..12)
}

/// What one person has, told naively.
#[derive(Clone, Copy, Debug)]
struct Person {
    /// In the directory.
    exists: bool,
    in_group: bool,
    /// In the container.
    member: bool,
    /// The day of the first complete read without them.
    missed: Option<u32>,
}

impl Person {
    /// What a run on `day` makes of it, that reads everything.
    fn run(&mut self, day: u32, grace: u32) {
        if self.exists {
            self.missed = None;
            self.member = self.in_group;
        } else if self.member {
            let missed = *self.missed.get_or_insert(day);
            self.member = day - missed < grace;
            if !self.member {
                // Nothing depends on it any more.
                self.missed = None;
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(32))]

    /// The clock of who is gone starts with the first complete read and ends with the next that shows them. Reads in part start none,
    /// end none but that of somebody whom they show, take nobody out, and let in at most who is there.
    #[test]
    fn grace_as_told_naively(grace in 1..6_u32, days in days(), changes in any::<bool>()) {
        let policy = Policy { grace_hours: Some(grace * 24), ..free_policy(Mode::Managed) };
        let builder = World::builder()
            .group("staff", &PEOPLE.join(" "))
            .container("team", "staff")
            .job("sync", policy);
        let builder = if changes { builder.with_changes() } else { builder };
        let mut world = builder.build_over(DurableStore::in_file);
        let _ = world.settle("sync");
        let new = Person { exists: true, in_group: true, member: true, missed: None };
        let mut people: BTreeMap<&str, Person> = PEOPLE.iter().map(|who| (*who, new)).collect();
        for (day, (moves, reading)) in days.into_iter().enumerate() {
            let day = u32::try_from(day).expect("few days");
            world.advance(DAY);
            for (who, what) in moves {
                let who = PEOPLE[who];
                let person = people.get_mut(who).expect("one of them");
                match what {
                    Move::Back => {
                        world.join("staff", who);
                        (person.exists, person.in_group) = (true, true);
                    }
                    Move::Depart => {
                        world.depart(who);
                        (person.exists, person.in_group) = (false, false);
                    }
                    Move::LeaveGroup if person.exists => {
                        world.leave("staff", who);
                        person.in_group = false;
                    }
                    Move::LeaveGroup => {}
                }
            }
            world.restart();
            let fault = match reading {
                Reading::Complete => None,
                Reading::Nothing => Some(Fault::Truncated { shown: 0 }),
                Reading::Part(shown) => Some(Fault::Partial { shown, kind: PartialKind::Limit }),
            };
            if let Some(fault) = fault {
                let before = world.end().departures;
                world.faults.inject(FaultRule::new(fault).on(CallKind::Directory));
                let _ = world.run("sync");
                world.faults.heal();
                let after = world.end().departures;
                prop_assert!(after.iter().all(|(key, since)| before.get(key) == Some(since)), "on day {}, {:?}", day, reading);
                for key in before.keys().filter(|key| !after.contains_key(key)) {
                    let who = key.parts().last().expect("the key ends with who it is");
                    let person = people.get_mut(who).expect("one of them");
                    prop_assert!(person.exists, "{} is still gone on day {}, {:?}", who, day, reading);
                    person.missed = None;
                }
                let now = world.members("team");
                let now: Vec<&str> = now.split(' ').collect();
                for (who, person) in &mut people {
                    let is_there = now.contains(who);
                    prop_assert!(is_there || !person.member, "{} on day {}, {:?}", who, day, reading);
                    prop_assert!(!is_there || person.member || person.in_group, "{} on day {}, {:?}", who, day, reading);
                    person.member = is_there;
                }
                continue;
            }
            let _ = world.settle("sync");
            for person in people.values_mut() {
                person.run(day, grace);
            }
            let expected: Vec<&str> = people.iter().filter(|(_, person)| person.member).map(|(who, _)| *who).collect();
            prop_assert_eq!(world.members("team"), expected.join(" "), "on day {}", day);
            // Only of those who are still missed something is stored.
            let missed = people.values().filter(|person| person.missed.is_some()).count();
            prop_assert_eq!(world.end().departures.len(), missed, "on day {}", day);
        }
        world.store.assert_sound();
    }
}

fn world(grace_hours: u32) -> World<DurableStore> {
    let policy = Policy {
        grace_hours: Some(grace_hours),
        ..free_policy(Mode::Managed)
    };
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", policy)
        .build_over(DurableStore::in_file);
    let _ = world.settle("sync");
    world
}

#[test]
fn who_is_back_in_time_has_everything_back() {
    let mut world = world(72);
    let member = Member {
        principal: user("bob"),
        facets: facets(Role::Manager, MembershipState::Active),
    };
    assert!(world.target.set_by_hand(&container("team").object, member));
    let _ = world.settle("sync");
    let (members, row) = (world.members("team"), world.row("team", "bob"));
    world.depart("bob");
    for _ in 0..2 {
        world.advance(DAY);
        world.restart();
        let _ = world.settle("sync");
        assert_eq!(
            (world.members("team"), world.row("team", "bob")),
            (members.clone(), row.clone())
        );
    }
    world.join("staff", "bob");
    world.restart();
    world.calls.clear();
    let _ = world.settle("sync");
    assert_eq!(world.calls.effects(), 0);
    assert_eq!((world.members("team"), world.row("team", "bob")), (members, row));
    assert!(world.end().departures.is_empty());
}

/// To the second, over two processes; and whoever is gone again has all of the time again.
#[test]
fn the_grace_ends_on_time() {
    let mut world = world(48);
    for _ in 0..2 {
        world.depart("bob");
        world.advance(3 * DAY);
        world.restart();
        let _ = world.settle("sync");
        world.advance(2 * DAY - 1);
        world.restart();
        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "ada bob");
        world.join("staff", "bob");
        world.restart();
        let _ = world.settle("sync");
    }
    world.depart("bob");
    let _ = world.settle("sync");
    world.advance(2 * DAY);
    world.restart();
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada");
}
