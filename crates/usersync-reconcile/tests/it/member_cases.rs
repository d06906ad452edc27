//! Single cases of planning members.

use std::collections::BTreeSet;

use usersync_model::{JobId, LedgerRow, MemberFacets, MembershipState, Origin, Role};
use usersync_reconcile::{
    ConflictPolicy, FirstSight, HoldCause, Kept, LedgerStep, Section, Standing, standing,
};

use crate::member_sets::{Sets, blank, tally};
use crate::support::{self, Name, Row, Sight, Wish, World, assemble, name};

fn ours() -> Option<Row> {
    Some(Row {
        origin: Origin::Ours,
        claimed: true,
        others: false,
        facets: MemberFacets::default(),
    })
}

/// `there` are there and ours; of them, `desired` are desired.
fn settled(desired: &[Name], there: &[Name]) -> World {
    let set = |names: &[Name]| names.iter().copied().collect();
    let mut world = blank(&set(desired), &set(there));
    for name in there {
        world.people.get_mut(name).unwrap().row = ours();
    }
    world
}

fn owners(world: &mut World, names: &[Name]) {
    for name in names {
        let facets = MemberFacets {
            role: Role::Owner,
            ..MemberFacets::default()
        };
        world.people.get_mut(name).unwrap().sight = Sight::Present(facets);
    }
}

fn causes(section: &Section) -> Vec<(Name, &'static str)> {
    section
        .holds
        .iter()
        .map(|hold| (name(&hold.operation.subject), hold.cause.code()))
        .collect()
}

#[test]
fn an_approval_for_less_does_not_reach_the_last_owner() {
    let mut world = settled(&[0], &[0, 1, 2]);
    owners(&mut world, &[1, 2]);
    world.policy.guards.protected.insert(support::principal(1));
    assert_eq!(
        causes(&world.plan()),
        [(1, "protected_last_owner"), (2, "protected_last_owner")]
    );
    let mut world = settled(&[0, 2], &[0, 1, 2]);
    owners(&mut world, &[1, 2]);
    world.policy.guards.protected.insert(support::principal(1));
    assert_eq!(causes(&world.plan()), [(1, "protected_by_name")]);
}

#[test]
fn the_last_owner_is_not_made_a_member() {
    let mut world = settled(&[0, 1], &[0, 1]);
    owners(&mut world, &[1]);
    world.evidence.updates = true;
    world
        .people
        .get_mut(&1)
        .unwrap()
        .row
        .as_mut()
        .unwrap()
        .facets
        .role = Role::Owner;
    assert_eq!(causes(&world.plan()), [(1, "protected_last_owner")]);
    owners(&mut world, &[0, 1]);
    assert!(world.plan().holds.is_empty(), "the other stays");
}

#[test]
fn what_nobody_knows_comes_before_who_is_protected() {
    let mut world = settled(&[0], &[0, 1, 2]);
    world.people.get_mut(&1).unwrap().privileged = true;
    world.evidence.removals = Some(HoldCause::IncompleteSource(support::reason()));
    assert_eq!(
        causes(&world.plan()),
        [(1, "incomplete_source"), (2, "incomplete_source")]
    );
    world.evidence.removals = Some(HoldCause::PolicyChanged);
    assert_eq!(
        causes(&world.plan()),
        [(1, "protected_administrator"), (2, "policy_changed")]
    );
}

#[test]
fn where_there_is_no_answer_no_approval_lifts_anything() {
    let mut world = settled(&[0, 3], &[0, 1, 2]);
    world.people.get_mut(&1).unwrap().privileged = true;
    world.evidence.everything = Some(HoldCause::Undecidable);
    let section = world.plan();
    assert_eq!(
        causes(&section),
        [(1, "undecidable"), (2, "undecidable"), (3, "undecidable")]
    );
    assert_eq!(assemble([section], &world.policy, None).held_digest(), None);
}

#[test]
fn who_stays_for_now_keeps_the_container_from_counting_as_emptied() {
    let mut world = settled(&[], &[0, 1]);
    world.policy.guards.emptied = true;
    assert_eq!(
        causes(&world.plan()),
        [(0, "container_emptied"), (1, "container_emptied")]
    );
    world.people.get_mut(&0).unwrap().wish = Wish::InGrace;
    assert_eq!(Sets::of(&world.plan()).remove, BTreeSet::from([1]));
}

#[test]
fn who_may_be_in_grace_stays_whatever_is_selected_and_nobody_can_approve_otherwise() {
    let mut world = settled(&[0], &[0, 1]);
    world.people.get_mut(&1).unwrap().wish = Wish::PerhapsInGrace;
    let section = world.plan();
    assert!(section.operations.is_empty() && section.ledger.is_empty());
    assert_eq!(causes(&section), [(1, "incomplete_source")]);
    assert_eq!(assemble([section], &world.policy, None).held_digest(), None);
}

#[test]
fn who_left_and_was_removed_by_a_person_keeps_the_claim_for_now() {
    let mut world = settled(&[0], &[0, 1]);
    let person = world.people.get_mut(&1).unwrap();
    (person.wish, person.sight) = (Wish::InGrace, Sight::Unseen);
    let section = world.plan();
    assert!(section.operations.is_empty() && section.ledger.is_empty());
    assert_eq!(section.findings.len(), 1);
}

#[test]
fn a_declined_invitation_is_not_overwritten_by_a_change_of_role() {
    let mut world = settled(&[0], &[0]);
    world.evidence.updates = true;
    world.role = Role::Manager;
    let declined = MemberFacets {
        state: MembershipState::Pending,
        ..MemberFacets::default()
    };
    world.people.get_mut(&0).unwrap().sight = Sight::Present(declined);
    let after = world.after(&world.plan());
    let expected = MemberFacets {
        role: Role::Manager,
        state: MembershipState::Pending,
    };
    assert_eq!(after.people[&0].sight, Sight::Present(expected));
    let again = after.plan();
    assert!(
        again.operations.is_empty() && again.ledger.is_empty(),
        "{again:?}"
    );
}

#[test]
fn a_conflict_is_told_until_somebody_settles_it() {
    let mut world = settled(&[0], &[0]);
    world.evidence.updates = true;
    world.role = Role::Manager;
    owners(&mut world, &[0]);
    world.policy.guards.privileged = false;
    world.policy.conflict = ConflictPolicy::Report;
    for _ in 0..2 {
        let section = world.plan();
        assert_eq!(section.findings.len(), 1);
        world = world.after(&section);
    }
    world.policy.conflict = ConflictPolicy::SourceWins;
    assert_eq!(world.plan().operations.len(), 1);
}

#[test]
fn an_import_that_failed_is_tried_again() {
    let mut world = settled(&[0], &[0]);
    world.people.get_mut(&0).unwrap().row = None;
    owners(&mut world, &[0, 1]);
    world.evidence.updates = true;
    world.policy.first_sight = FirstSight::Import;
    let mut section = world.plan();
    let planned = std::mem::take(&mut section.operations);
    assert_eq!(planned.len(), 1);
    assert_eq!(world.after(&section).plan().operations, planned);
}

/// The short way past what is as it should be is taken only where it is.
#[test]
fn every_world_of_three_plain_people_is_planned_as_the_sets_say() {
    for case in 0..512_u32 {
        let marked = |bit: u32| (0..3).filter(move |who| case >> (3 * u32::from(*who) + bit) & 1 == 1);
        let mut world = blank(&marked(0).collect(), &marked(1).collect());
        for who in marked(2) {
            world.people.get_mut(&who).unwrap().row = ours();
        }
        for updates in [false, true] {
            world.evidence.updates = updates;
            let section = world.plan();
            assert_eq!(Sets::of(&section), Sets::expected(&world), "{case:o}");
            assert_eq!(section.tally, tally(&world), "{case:o}");
        }
    }
}

#[test]
fn who_is_made_something_else_takes_no_owner_away() {
    let mut world = settled(&[0, 1], &[0, 1]);
    world.evidence.updates = true;
    world.role = Role::Manager;
    owners(&mut world, &[0]);
    // A person made 0 the owner; the source changed the role of both.
    world
        .people
        .get_mut(&0)
        .unwrap()
        .row
        .as_mut()
        .unwrap()
        .facets
        .role = Role::Manager;
    let section = world.plan();
    assert_eq!(causes(&section), []);
    let changed: Vec<Name> = section
        .operations
        .iter()
        .map(|operation| name(&operation.subject))
        .collect();
    assert_eq!(changed, [1]);
}

#[test]
fn a_standing_is_a_row_as_one_job_sees_it() {
    let job = |name: &str| JobId::new(name).unwrap();
    for (origin, claims, expected) in [
        (Origin::Ours, vec!["a"], (true, false)),
        (Origin::Foreign, vec!["a", "b"], (true, true)),
        (Origin::Ours, vec!["b"], (false, true)),
    ] {
        let row = LedgerRow::new(origin, claims.into_iter().map(job));
        let (claimed, others) = expected;
        let expected = Standing {
            claimed,
            origin: Some(origin),
            others,
        };
        assert_eq!(standing(&row, &job("a")), expected, "{row:?}");
    }
}

#[test]
fn release_says_why() {
    let mut world = settled(&[], &[0]);
    world.people.get_mut(&0).unwrap().row.as_mut().unwrap().others = true;
    assert_eq!(
        world.plan().ledger[0].step,
        LedgerStep::Release(Kept::ClaimedElsewhere)
    );
}
