//! The promises on planning members, against an oracle that thinks in sets of names.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{JobId, LedgerRow, MemberFacets, Origin};
use usersync_reconcile::{Action, Drift, LedgerStep, Mode, Operation, What, standing};

use crate::member_sets::{Sets, blank, in_conflict, repeated, tally};
use crate::support::{self, Name, Person, Row, Sight, Wish, World, assemble, name};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_plan_says_what_the_sets_say(world in support::world()) {
        prop_assert_eq!(Sets::of(&world.plan()), Sets::expected(&world));
    }

    #[test]
    fn a_conflict_of_role_or_state_is_told_and_nothing_else_is_one(world in support::world()) {
        let section = world.plan();
        let told = section.findings.iter().filter(|finding| finding.what == What::FacetConflict);
        let told: BTreeSet<Name> = told.map(|finding| name(&finding.subject)).collect();
        prop_assert_eq!(told, in_conflict(&world));
    }

    #[test]
    fn a_member_is_changed_and_removed_only_as_it_was_seen(mut world in support::world(), adopt in any::<bool>()) {
        world.evidence.adopt = adopt;
        let section = world.plan();
        let held = section.holds.iter().map(|hold| &hold.operation);
        for operation in section.operations.iter().chain(held) {
            let seen = match operation.action {
                Action::Remove | Action::Update { .. } => Some(format!("v{}", name(&operation.subject))),
                _ => None,
            };
            prop_assert_eq!(&operation.seen, &seen, "{:?}", operation);
        }
    }

    #[test]
    fn the_tally_counts_what_was_seen(world in support::world()) {
        prop_assert_eq!(world.plan().tally, tally(&world));
    }

    #[test]
    fn promise_01_order_does_not_matter(
        (world, order) in support::world().prop_flat_map(|world| {
            let names: Vec<Name> = world.people.keys().copied().collect();
            (Just(world), Just(names).prop_shuffle())
        })
    ) {
        let plan = assemble([world.plan()], &world.policy, None);
        let shuffled = assemble([world.plan_in_order(order.into_iter())], &world.policy, None);
        prop_assert_eq!(plan.to_json(), shuffled.to_json());
    }

    #[test]
    fn promise_02_one_apply_reaches_what_is_desired(world in support::complete_world()) {
        let section = world.plan();
        let after = world.after(&section);
        let excused: BTreeSet<Name> = section.holds.iter().map(|hold| name(&hold.operation.subject))
            .chain(section.findings.iter().map(|finding| name(&finding.subject)))
            .collect();
        for (name, person) in after.people.iter().filter(|(name, _)| !excused.contains(*name)) {
            let is_there = matches!(person.sight, Sight::Present(_));
            let was_row = world.people[name].row.as_ref();
            let is_ours = was_row.is_some_and(|row| row.claimed && row.origin == Origin::Ours && !row.others);
            match (person.wish == Wish::Certain, world.policy.mode) {
                (true, _) => prop_assert!(is_there, "{name} is missing"),
                (false, Mode::Mirror) => prop_assert!(!is_there, "{name} stayed"),
                (false, Mode::Managed) => prop_assert!(!(is_there && is_ours), "{name} stayed"),
                (false, Mode::AddOnly) => {}
            }
        }
    }

    #[test]
    fn promise_03_planning_again_finds_nothing_to_do(world in support::world()) {
        let section = world.plan();
        let again = world.after(&section).plan();
        // What the plan did may set free what a guard held: a container that gained an owner can spare one.
        let held: BTreeSet<Name> = section.holds.iter().map(|hold| name(&hold.operation.subject)).collect();
        let new = again.operations.iter().filter(|operation| !held.contains(&name(&operation.subject)));
        prop_assert_eq!(new.collect::<Vec<_>>(), Vec::<&Operation>::new());
        prop_assert_eq!(&again.ledger, &[], "the ledger settles at once, too");
    }

    #[test]
    fn promise_03_planning_again_without_guards_finds_nothing_to_do(world in support::unguarded_world()) {
        let again = world.after(&world.plan()).plan();
        prop_assert_eq!(&again.operations, &[]);
    }

    #[test]
    fn promise_03_approved_plans_come_to_an_end_too(mut world in support::complete_world(), adopt in any::<bool>()) {
        world.evidence.adopt = adopt;
        for _ in 0..4 {
            let held = assemble([world.plan()], &world.policy, None).held_digest();
            let plan = assemble([world.plan()], &world.policy, held);
            let Some(section) = plan.sections().first() else { return Ok(()) };
            world = world.after(section);
        }
        let rest = world.plan();
        prop_assert!(rest.operations.is_empty() && rest.holds.is_empty() && rest.ledger.is_empty(), "{:?}", rest);
    }

    #[test]
    fn promise_04_the_plan_is_minimal(mut world in support::unguarded_world()) {
        world.policy.drift = Drift::Restore;
        for person in world.people.values_mut() {
            if person.wish == Wish::InGrace {
                person.wish = Wish::Unlisted;
            }
            if let Some(row) = &mut person.row {
                (row.claimed, row.others) = (true, false);
            }
        }
        let section = world.plan();
        let count = |is: &dyn Fn(&Person) -> bool| world.names(is).len();
        let desired = |person: &Person| person.wish == Wish::Certain;
        let there = |person: &Person| matches!(person.sight, Sight::Present(_));
        let ours = |person: &Person| person.row.as_ref().is_some_and(|row| row.origin == Origin::Ours);
        let presence = section.operations.iter().filter(|o| matches!(o.action, Action::Add(_) | Action::Remove));
        let expected = count(&|p| desired(p) && !there(p)) + match world.policy.mode {
            Mode::Managed => count(&|p| ours(p) && there(p) && !desired(p)),
            Mode::Mirror => count(&|p| there(p) && !desired(p)),
            Mode::AddOnly => 0,
        };
        prop_assert_eq!(presence.count(), expected);
        for operation in &section.operations {
            if let Action::Update { from, to } = &operation.action {
                let person = &world.people[&name(&operation.subject)];
                prop_assert!(from != to && desired(person) && there(person));
            }
        }
    }

    #[test]
    fn promise_04_no_key_has_two_operations(mut world in support::world(), adopt in any::<bool>()) {
        world.evidence.adopt = adopt;
        prop_assert_eq!(repeated(&world.plan()), Vec::<Name>::new());
    }

    #[test]
    fn promise_05_nothing_outside_the_managed_scope_changes(world in support::world()) {
        for operation in &world.plan().operations {
            let person = &world.people[&name(&operation.subject)];
            let in_base = person.row.as_ref().is_some_and(|row| row.claimed && row.origin == Origin::Ours);
            let in_scope = in_base || person.wish == Wish::Certain || world.policy.mode == Mode::Mirror;
            prop_assert!(in_scope, "{:?}", operation);
        }
    }

    #[test]
    fn promise_09_nothing_rests_on_what_was_not_read(
        full in support::complete_world(),
        cut in prop::collection::btree_set(0_u8..40, 0..20),
        source in any::<bool>(),
    ) {
        // What the cut read does not tell may be so or otherwise: what it plans must be right in the full world too.
        let mut partial = full.clone();
        partial.source_partial = source;
        partial.target_partial = !source;
        for (name, person) in &mut partial.people {
            if cut.contains(name) {
                if source && person.wish != Wish::InGrace { person.wish = Wish::Unlisted }
                if !source { person.sight = Sight::Unseen }
            } else if !source && person.sight == Sight::Unseen {
                person.sight = Sight::Absent;
            }
        }
        let mut unguarded = full;
        (unguarded.policy.guards.container, unguarded.policy.guards.emptied) = (None, false);
        unguarded.policy.guards.privileged = false;
        unguarded.policy.guards.protected.clear();
        let (part, whole) = (Sets::of(&partial.plan()), Sets::of(&unguarded.plan()));
        prop_assert!(part.remove.is_subset(&whole.remove));
        prop_assert!(part.add.is_subset(&whole.add));
        prop_assert!(part.forget.is_subset(&whole.forget));
        prop_assert!(part.release.is_subset(&whole.release));
    }

    #[test]
    fn promise_11_add_only_ends_nothing(mut world in support::world(), adopt in any::<bool>()) {
        world.policy.mode = Mode::AddOnly;
        world.evidence.adopt = adopt;
        let held = assemble([world.plan()], &world.policy, None).held_digest();
        let plan = assemble([world.plan()], &world.policy, held);
        let after = plan.sections().first().map_or(world.clone(), |section| world.after(section));
        let there = |world: &World| world.names(|person| matches!(person.sight, Sight::Present(_)));
        prop_assert!(there(&world).is_subset(&there(&after)));
    }

    #[test]
    fn promise_08_managed_removes_only_its_own(
        runs in prop::collection::vec((0_usize..3, prop::collection::btree_set(0_u8..6, 0..6)), 1..12),
        humans in prop::collection::vec((any::<bool>(), 0_u8..6), 12),
    ) {
        let jobs = ["a", "b", "c"].map(|job| JobId::new(job).unwrap());
        let mut ledger: BTreeMap<Name, LedgerRow> = BTreeMap::new();
        let mut there: BTreeSet<Name> = BTreeSet::new();
        // Who was put there by a person and never ended since: no job may end that.
        let mut by_hand: BTreeSet<Name> = BTreeSet::new();
        for ((job, desired), (puts, who)) in runs.into_iter().zip(humans) {
            if puts && there.insert(who) && !ledger.contains_key(&who) {
                by_hand.insert(who);
            } else if !puts {
                there.remove(&who);
                by_hand.remove(&who);
            }
            let job = &jobs[job];
            let mut world = blank(&desired, &there);
            for (name, row) in &ledger {
                let seen = standing(row, job);
                world.people.get_mut(name).unwrap().row = Some(Row {
                    origin: row.origin,
                    claimed: seen.claimed,
                    others: seen.others,
                    facets: MemberFacets::default(),
                });
            }
            let section = world.plan();
            for operation in &section.operations {
                let who = name(&operation.subject);
                let row = ledger.get(&who).cloned();
                if operation.action == Action::Remove {
                    let row = row.expect("in the base");
                    prop_assert!(row.origin == Origin::Ours && row.claims() == [job.clone()]);
                    prop_assert!(there.remove(&who) && !desired.contains(&who) && !by_hand.contains(&who));
                    ledger.remove(&who);
                } else {
                    prop_assert!(there.insert(who));
                    let claims = row.map(|row| row.claims().to_vec()).unwrap_or_default();
                    ledger.insert(who, LedgerRow::new(Origin::Ours, claims).claimed(job));
                }
            }
            for change in &section.ledger {
                let who = name(&change.subject);
                let row = ledger.remove(&who);
                let row = match change.step {
                    LedgerStep::Agree(_) => row,
                    LedgerStep::Claim(_) => {
                        Some(row.unwrap_or_else(|| LedgerRow::new(Origin::Foreign, [])).claimed(job))
                    }
                    LedgerStep::Forget | LedgerStep::Release(_) => row.and_then(|row| row.released(job)),
                };
                ledger.extend(row.map(|row| (who, row)));
            }
        }
    }
}
