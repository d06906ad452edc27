//! Graduated departure over days, with a process started anew every day.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use usersync::model::{Member, MembershipState, Role};
use usersync::reconcile::{Mode, Policy};
use usersync_tests::edit::cases;
use usersync_tests::{World, container, facets, free_policy, user};

const PEOPLE: [&str; 3] = ["ada", "bob", "cleo"];

/// What happens to one of them on a day.
#[derive(Clone, Copy, Debug)]
enum Move {
    Back,
    Depart,
    LeaveGroup,
}

fn moves() -> BoxedStrategy<Vec<Vec<(usize, Move)>>> {
    let one = prop_oneof![3 => Just(Move::Depart), 3 => Just(Move::Back), 1 => Just(Move::LeaveGroup)];
    let day = proptest::collection::vec((0..PEOPLE.len(), one), 0..3);
    proptest::collection::vec(day, 1..15).boxed()
}

/// What one person has, told naively.
#[derive(Clone, Copy, Debug, Default)]
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
    /// What a run on `day` makes of it.
    fn run(&mut self, day: u32, grace: u32) {
        if self.exists {
            self.missed = None;
            self.member = self.in_group;
        } else if self.member {
            let missed = *self.missed.get_or_insert(day);
            self.member = day - missed < grace;
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    /// Who is gone stays for the grace, and is taken out after it; who is back in time keeps everything; another departure has
    /// a grace of its own; merely leaving a group has none.
    #[test]
    fn grace_as_told_naively(grace in 1..6_u32, days in moves(), restarts in any::<u16>(), changes in any::<bool>()) {
        let policy = Policy { grace_hours: Some(grace * 24), ..free_policy(Mode::Managed) };
        let builder = World::builder()
            .group("staff", &PEOPLE.join(" "))
            .container("team", "staff")
            .job("sync", policy);
        let mut world = if changes { builder.with_changes() } else { builder }.build();
        let _ = world.settle("sync");
        let mut people: BTreeMap<&str, Person> = PEOPLE
            .iter()
            .map(|who| (*who, Person { exists: true, in_group: true, member: true, missed: None }))
            .collect();
        for (day, moves) in days.into_iter().enumerate() {
            let day = u32::try_from(day).expect("few days");
            world.clock.advance(Duration::from_secs(24 * 3600));
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
            if restarts >> (day % 16) & 1 == 1 {
                world.restart();
            }
            let _ = world.settle("sync");
            for person in people.values_mut() {
                person.run(day, grace);
            }
            let expected: Vec<&str> = people.iter().filter(|(_, person)| person.member).map(|(who, _)| *who).collect();
            prop_assert_eq!(world.members("team"), expected.join(" "), "on day {}", day);
            // Only of those whose grace goes on something is stored.
            let missed = people.values().filter(|person| person.missed.is_some() && person.member).count();
            prop_assert_eq!(world.end().departures.len(), missed, "on day {}", day);
        }
    }
}

/// Everything is kept: role, state, and what was added by hand.
#[test]
fn who_is_back_in_time_has_everything_back() {
    let policy = Policy {
        grace_hours: Some(72),
        ..free_policy(Mode::Managed)
    };
    let mut world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    let member = Member {
        principal: user("bob"),
        facets: facets(Role::Manager, MembershipState::Active),
    };
    assert!(world.target.set_by_hand(&container("team").object, member));
    let _ = world.settle("sync");
    let (members, row) = (world.members("team"), world.row("team", "bob"));
    world.depart("bob");
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(24 * 3600));
        world.restart();
        let _ = world.settle("sync");
        assert_eq!(
            (world.members("team"), world.row("team", "bob")),
            (members.clone(), row.clone())
        );
    }
    world.join("staff", "bob");
    world.calls.clear();
    let _ = world.settle("sync");
    assert_eq!(world.calls.effects(), 0);
    assert_eq!((world.members("team"), world.row("team", "bob")), (members, row));
}
