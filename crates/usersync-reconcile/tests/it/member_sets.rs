//! What a plan of members is to say, by sets of names: the oracle of [`members`](super::members).

use std::collections::BTreeSet;

use usersync_model::{MemberFacets, Origin, Role};
use usersync_reconcile::{
    Action, ConflictPolicy, Drift, FirstSight, LedgerStep, Mode, Policy, RunEvidence, Section, Tally, What,
};

use crate::support::{Name, Person, Row, Sight, Wish, World, name};

/// What a plan says about presence, as sets of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) add: BTreeSet<Name>,
    pub(super) remove: BTreeSet<Name>,
    pub(super) held_add: BTreeSet<Name>,
    pub(super) held_remove: BTreeSet<(Name, &'static str)>,
    pub(super) claim: BTreeSet<Name>,
    pub(super) forget: BTreeSet<Name>,
    pub(super) release: BTreeSet<Name>,
    pub(super) find: BTreeSet<(Name, &'static str)>,
}

impl Sets {
    pub(super) fn of(section: &Section) -> Self {
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
    pub(super) fn expected(world: &World) -> Self {
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
pub(super) fn tally(world: &World) -> Tally {
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
pub(super) fn in_conflict(world: &World) -> BTreeSet<Name> {
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
pub(super) fn demoted(world: &World, certain: &BTreeSet<Name>, claimed: &BTreeSet<Name>) -> BTreeSet<Name> {
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
pub(super) fn repeated(section: &Section) -> Vec<Name> {
    let held = section.holds.iter().map(|hold| &hold.operation);
    let mut seen = BTreeSet::new();
    let names = section
        .operations
        .iter()
        .chain(held)
        .map(|operation| name(&operation.subject));
    names.filter(|name| !seen.insert(*name)).collect()
}

/// Six people, of whom some are desired and some are there, and no guard.
pub(super) fn blank(desired: &BTreeSet<Name>, there: &BTreeSet<Name>) -> World {
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
