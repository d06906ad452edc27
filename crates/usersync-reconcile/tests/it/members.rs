//! The promises on planning members, against an oracle that thinks in sets of names.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{JobId, LedgerRow, MemberFacets, MembershipState, Origin, Role};
use usersync_reconcile::{
    Action, ConflictPolicy, Drift, FirstSight, HoldCause, Kept, LedgerStep, Mode, Operation, Policy,
    RunEvidence, Section, Standing, Tally, What, standing,
};

use crate::support::{self, Name, Person, Row, Sight, Wish, World, assemble, name};

/// What a plan says about presence, as sets of names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sets {
    add: BTreeSet<Name>,
    remove: BTreeSet<Name>,
    held_add: BTreeSet<Name>,
    held_remove: BTreeSet<(Name, &'static str)>,
    claim: BTreeSet<Name>,
    forget: BTreeSet<Name>,
    release: BTreeSet<Name>,
    find: BTreeSet<(Name, &'static str)>,
}

impl Sets {
    fn of(section: &Section) -> Self {
        let mut sets = Self::default();
        for operation in &section.operations {
            match operation.action {
                Action::Add(_) => assert!(sets.add.insert(name(&operation.subject))),
                Action::Remove => assert!(sets.remove.insert(name(&operation.subject))),
                _ => {}
            }
        }
        for hold in &section.holds {
            let who = name(&hold.operation.subject);
            match hold.operation.action {
                Action::Add(_) => assert!(sets.held_add.insert(who)),
                Action::Remove => assert!(sets.held_remove.insert((who, hold.cause.code()))),
                _ => {}
            }
        }
        for change in &section.ledger {
            let who = name(&change.subject);
            match change.step {
                LedgerStep::Agree(_) => {}
                LedgerStep::Claim(_) => assert!(sets.claim.insert(who)),
                LedgerStep::Forget => assert!(sets.forget.insert(who)),
                LedgerStep::Release(_) => assert!(sets.release.insert(who)),
            }
        }
        let findings = section
            .findings
            .iter()
            .filter(|finding| finding.what != What::FacetConflict);
        sets.find = findings
            .map(|finding| (name(&finding.subject), finding.what.code()))
            .collect();
        sets
    }

    /// What a plan has to say: unions, intersections and differences of sets of names.
    fn expected(world: &World) -> Self {
        let row = |is: fn(&Row) -> bool| world.names(|person| person.row.as_ref().is_some_and(is));
        let claimed = row(|row| row.claimed);
        let base = row(|row| row.claimed && row.origin == Origin::Ours);
        let others = row(|row| row.others);
        let graced = &world.names(|person| person.wish == Wish::InGrace) & &claimed;
        let rest = &world.names(|_| true) - &graced;
        let certain = &world.names(|person| person.wish == Wish::Certain) & &rest;
        let maybe = &world.names(|person| person.wish == Wish::Maybe) & &rest;
        let unlisted = world.names(|person| matches!(person.wish, Wish::Unlisted | Wish::InGrace));
        let perhaps = world.names(|person| person.wish == Wish::PerhapsInGrace);
        let doubtful = if world.source_partial {
            &perhaps | &(&unlisted & &rest)
        } else {
            perhaps
        };
        let unwanted = &(&(&rest - &certain) - &maybe) - &doubtful;
        let there = world.names(|person| matches!(person.sight, Sight::Present(_)));
        let unseen = world.names(|person| person.sight == Sight::Unseen);
        let unseen = if world.target_partial {
            unseen
        } else {
            BTreeSet::new()
        };
        let gone = &(&world.names(|_| true) - &there) - &unseen;

        let removable = match world.policy.mode {
            Mode::Managed => &base - &others,
            Mode::Mirror => &rest - &others,
            Mode::AddOnly => BTreeSet::new(),
        };
        let respected = match (world.policy.mode, world.policy.drift) {
            (Mode::Managed, Drift::Respect) => base.clone(),
            _ => BTreeSet::new(),
        };
        let left = &there & &unwanted;
        let remove = &left & &removable;
        let stay = &left - &remove;
        let mut sets = Self {
            add: &(&certain & &gone) - &respected,
            held_add: &(&(&maybe & &gone) - &respected) | &(&(&certain & &unseen) - &claimed),
            claim: &(&certain & &there) - &claimed,
            forget: &(&unwanted & &gone) & &claimed,
            release: match world.policy.mode {
                Mode::AddOnly => &(&stay & &claimed) - &base,
                Mode::Managed | Mode::Mirror => &stay & &claimed,
            },
            ..Self::default()
        };
        let mut find =
            |names: BTreeSet<Name>, what| sets.find.extend(names.into_iter().map(|name| (name, what)));
        find(graced, "in_grace");
        find(&(&certain & &gone) & &respected, "removed_by_hand");
        match world.policy.mode {
            Mode::Managed => {}
            Mode::Mirror => find(&stay & &others, "claimed_elsewhere"),
            Mode::AddOnly => find(&stay & &base, "add_only"),
        }
        let hold = |names: BTreeSet<Name>, code| names.into_iter().map(move |name| (name, code));
        sets.held_remove
            .extend(hold(&(&maybe & &there) & &removable, "incomplete_exclusion"));
        sets.held_remove
            .extend(hold(&(&doubtful & &there) & &removable, "incomplete_source"));

        let guards = &world.policy.guards;
        let owner: BTreeSet<Name> = world.owner.into_iter().collect();
        let owners =
            world.names(|person| matches!(&person.sight, Sight::Present(f) if f.role == Role::Owner));
        let leaving = &owners & &(&remove | &demoted(world, &certain, &claimed));
        let last = if leaving == owners {
            owners
        } else {
            BTreeSet::new()
        };
        let mut free = remove;
        let mut protect = |names: BTreeSet<Name>, code| {
            let held = &free & &names;
            free = &free - &held;
            sets.held_remove.extend(hold(held, code));
        };
        if guards.privileged {
            protect(last, "protected_last_owner");
            protect(world.names(|person| person.privileged), "protected_administrator");
            protect(owner, "protected_owner");
        }
        protect(world.names(|person| person.protected), "protected_by_name");
        let countable = match world.policy.mode {
            Mode::Mirror => there.len(),
            Mode::Managed | Mode::AddOnly => (&base & &there).len(),
        };
        let graced_there = world.names(|person| {
            person.wish == Wish::InGrace
                && person.row.as_ref().is_some_and(|row| row.claimed)
                && matches!(person.sight, Sight::Present(_))
        });
        let nobody =
            certain.is_empty() && maybe.is_empty() && !world.source_partial && graced_there.is_empty();
        if guards.emptied && nobody {
            sets.held_remove.extend(hold(free, "container_emptied"));
        } else if guards.container.is_some() && countable >= 10 && free.len() * 2 > countable {
            sets.held_remove.extend(hold(free, "container_shrinks"));
        } else {
            sets.remove = free;
        }
        sets
    }
}

/// The figures of a plan, each by its definition.
fn tally(world: &World) -> Tally {
    let is_claimed = |person: &Person| person.row.as_ref().is_some_and(|row| row.claimed);
    let is_base = |person: &Person| is_claimed(person) && person.row.as_ref().unwrap().origin == Origin::Ours;
    let is_unwanted = |person: &Person| match person.wish {
        Wish::Certain | Wish::Maybe | Wish::PerhapsInGrace => false,
        Wish::Denied => true,
        Wish::InGrace => !is_claimed(person) && !world.source_partial,
        Wish::Unlisted => !world.source_partial,
    };
    let count = |is: &dyn Fn(&Person) -> bool| world.names(is).len() as u64;
    let there = |is: &dyn Fn(&Person) -> bool| {
        count(&|person| matches!(person.sight, Sight::Present(_)) && is(person))
    };
    Tally {
        desired: count(&|person| person.wish == Wish::Certain),
        present: there(&|_| true),
        removable: there(&|person| world.policy.mode == Mode::Mirror || is_base(person)),
        foreign: match world.policy.mode {
            Mode::Mirror => 0,
            Mode::Managed | Mode::AddOnly => there(&|person| is_unwanted(person) && !is_base(person)),
        },
    }
}

/// Whose role or state says something else at the source, at the target and in the base, where nobody wins.
fn in_conflict(world: &World) -> BTreeSet<Name> {
    let undecided = matches!(
        world.policy.conflict,
        ConflictPolicy::Report | ConflictPolicy::Newest
    );
    if !undecided || !world.evidence.updates {
        return BTreeSet::new();
    }
    let differ = |person: &Person| match (&person.sight, &person.row) {
        (Sight::Present(there), Some(row)) if row.claimed || row.others => {
            // Three of the two states cannot differ.
            let roles = BTreeSet::from([&world.role, &there.role, &row.facets.role]);
            person.wish == Wish::Certain && roles.len() == 3
        }
        _ => false,
    };
    world.names(differ)
}

/// Who would lose the role of owner to the merge.
fn demoted(world: &World, certain: &BTreeSet<Name>, claimed: &BTreeSet<Name>) -> BTreeSet<Name> {
    if !world.evidence.updates || world.role == Role::Owner {
        return BTreeSet::new();
    }
    let takes = |name: &Name| match &world.people[name].row {
        Some(row) if claimed.contains(name) || row.others => {
            row.facets.role == Role::Owner
                || (row.facets.role != world.role && world.policy.conflict == ConflictPolicy::SourceWins)
        }
        _ => world.policy.first_sight == FirstSight::Import,
    };
    certain.iter().copied().filter(takes).collect()
}

/// The keys with more than one operation, held or not.
fn repeated(section: &Section) -> Vec<Name> {
    let held = section.holds.iter().map(|hold| &hold.operation);
    let mut seen = BTreeSet::new();
    let names = section
        .operations
        .iter()
        .chain(held)
        .map(|operation| name(&operation.subject));
    names.filter(|name| !seen.insert(*name)).collect()
}

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

/// Six people, of whom some are desired and some are there, and no guard.
fn blank(desired: &BTreeSet<Name>, there: &BTreeSet<Name>) -> World {
    let people = (0..6).map(|name| {
        let person = Person {
            wish: if desired.contains(&name) {
                Wish::Certain
            } else {
                Wish::Unlisted
            },
            sight: if there.contains(&name) {
                Sight::Present(MemberFacets::default())
            } else {
                Sight::Unseen
            },
            row: None,
            privileged: false,
            protected: false,
        };
        (name, person)
    });
    let mut policy = Policy::default();
    policy.guards.emptied = false;
    World {
        people: people.collect(),
        role: Role::Member,
        owner: None,
        source_partial: false,
        target_partial: false,
        policy,
        evidence: RunEvidence::default(),
    }
}

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
